"""A name server on loopback, UDP and TCP, that says what a test tells it to."""

import ipaddress
import socket
import struct
import threading

A, CNAME, AAAA = 1, 5, 28
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def encode_name(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.strip(".").split(".")) + b"\0"


def decode_name(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
        at += 1 + data[at]
    return ".".join(labels), at + 1


class NameServer:
    """records: {name: (ttl, [address or name of an alias, ...])}. `broken`: "" or how it fails all questions: "silent" or
    "servfail". Everything asked is in `asked` as (name, type, "udp" or "tcp")."""

    def __init__(self, **records):
        self.records, self.broken, self.asked, self.idents, self.stopped = {}, "", [], [], False
        self.udp_max = 1232
        self.noise = None  # of an answer over UDP: the datagrams to send before it
        self.lock = threading.Lock()
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for _ in range(100):  # one port for both
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(("127.0.0.1", 0))
            self.port = self.udp.getsockname()[1]
            try:
                self.tcp.bind(("127.0.0.1", self.port))
                break
            except OSError:
                self.udp.close()
        self.tcp.listen(16)
        self.address = "127.0.0.1:%d" % self.port
        for target in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=target, daemon=True).start()

    def set(self, name, *addresses, ttl=60):
        with self.lock:
            self.records[name] = (ttl, list(addresses))

    def remove(self, name):
        with self.lock:
            del self.records[name]

    def count(self, name, kind=A):
        with self.lock:
            return sum(1 for n, k, _ in self.asked if n == name and k == kind)

    def rows(self, name, kind):
        """Resource records of an answer, aliases followed; None: there is no such name."""
        out = []
        while name in self.records:
            ttl, values = self.records[name]
            alias = [v for v in values if not is_address(v)]
            if not alias:
                for v in map(ipaddress.ip_address, values):
                    if (v.version == 4) == (kind == A):
                        out.append((name, kind, ttl, v.packed))
                return out
            out.append((name, CNAME, ttl, encode_name(alias[0])))
            name = alias[0]
        return out or None

    def answer(self, data, over):
        ident, _, _ = struct.unpack(">HHH", data[:6])
        name, at = decode_name(data, 12)
        kind = struct.unpack(">H", data[at : at + 2])[0]
        question = data[12 : at + 4]
        with self.lock:
            self.asked.append((name, kind, over))
            self.idents.append(ident)
            if self.broken == "silent":
                return None
            rows = self.rows(name, kind)
            code = SERVFAIL if self.broken == "servfail" else NXDOMAIN if rows is None else NOERROR
        body = b""
        if code == NOERROR:
            for owner, k, ttl, value in rows:
                body += encode_name(owner) + struct.pack(">HHIH", k, 1, ttl, len(value)) + value
        flags, rows = 0x8180 | code, rows if code == NOERROR else []
        if over == "udp" and len(body) + len(question) + 12 > self.udp_max:
            flags, rows, body = flags | 0x200, [], b""
        return struct.pack(">HHHHHH", ident, flags, 1, len(rows), 0, 0) + question + body

    def serve_udp(self):
        while not self.stopped:
            try:
                data, peer = self.udp.recvfrom(4096)
                reply = len(data) > 12 and self.answer(data, "udp")
                for forged in self.noise(reply) if reply and self.noise else ():
                    self.udp.sendto(forged, peer)
                if reply:
                    self.udp.sendto(reply, peer)
            except OSError:
                return

    def serve_tcp(self):
        while not self.stopped:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_connection, args=(sock,), daemon=True).start()

    def serve_connection(self, sock):
        stream = sock.makefile("rb")
        with sock, stream:
            try:
                while True:
                    head = stream.read(2)
                    if len(head) < 2:
                        return
                    reply = self.answer(stream.read(struct.unpack(">H", head)[0]), "tcp")
                    if reply:
                        sock.sendall(struct.pack(">H", len(reply)) + reply)
            except OSError:
                return

    def stop(self):
        self.stopped = True
        for s in (self.tcp, self.udp):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()


def is_address(text):
    try:
        ipaddress.ip_address(text)
        return True
    except ValueError:
        return False
