"""The PROXY protocol, made and read by other code than the program's own."""

import socket
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def v1(source="192.0.2.7", target="198.51.100.1", sport=5001, dport=443, family="TCP4"):
    return ("PROXY %s %s %s %d %d\r\n" % (family, source, target, sport, dport)).encode()


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def ssl_tlv(client=1, verify=0, version=b"TLSv1.3", cipher=b"TLS_AES_128_GCM_SHA256", name=b""):
    out = struct.pack(">BI", client, verify) + tlv(0x21, version) + tlv(0x23, cipher)
    return tlv(0x20, out + (tlv(0x22, name) if name else b""))


def v2(source="192.0.2.7", target="198.51.100.1", sport=5001, dport=443, tlvs=b"", crc=False, command=1, family=None, body=None, length=None):
    """Any part may be made wrong."""
    six = ":" in source
    if body is None:
        kind = socket.AF_INET6 if six else socket.AF_INET
        body = socket.inet_pton(kind, source) + socket.inet_pton(kind, target) + struct.pack(">HH", sport, dport)
    family = (0x21 if six else 0x11) if family is None else family
    body += tlvs + (tlv(3, b"\0\0\0\0") if crc else b"")
    out = SIGNATURE + struct.pack(">BBH", 0x20 | command, family, len(body) if length is None else length) + body
    return out[:-4] + struct.pack(">I", crc32c(out)) if crc else out


LOCAL = v2(command=0, family=0, body=b"")


class Header:
    """What a server reads off the front of a connection (harness.origin.Conn). Strict: anything odd is an assertion."""

    def __init__(self, conn):
        while len(conn.buf) < 12:
            conn.more()
        self.local, self.tlvs, self.source, self.target, self.sport, self.dport = False, {}, "", "", 0, 0
        if conn.buf.startswith(SIGNATURE):
            self.read_v2(conn)
        else:
            self.read_v1(conn.until(b"\r\n"))

    def read_v1(self, line):
        self.version = 1
        assert len(line) <= 107 and line.startswith(b"PROXY ") and line.endswith(b"\r\n"), line
        words = line[:-2].decode().split(" ")
        self.family = words[1]
        if self.family == "UNKNOWN":
            assert len(words) == 2
            self.local = True
            return
        assert len(words) == 6 and self.family in ("TCP4", "TCP6"), line
        kind = socket.AF_INET if self.family == "TCP4" else socket.AF_INET6
        self.source, self.target = (socket.inet_ntop(kind, socket.inet_pton(kind, w)) for w in words[2:4])
        self.sport, self.dport = (int(w) for w in words[4:])

    def read_v2(self, conn):
        self.version = 2
        command, family, length = struct.unpack(">BBH", conn.exactly(16)[12:])
        body = conn.exactly(length)
        assert command in (0x20, 0x21), command
        self.local, self.family = command == 0x20, family
        if family == 0:
            assert not body
            return
        n, kind = {0x11: (4, socket.AF_INET), 0x21: (16, socket.AF_INET6)}[family]
        self.source, self.target = socket.inet_ntop(kind, body[:n]), socket.inet_ntop(kind, body[n:2 * n])
        self.sport, self.dport = struct.unpack(">HH", body[2 * n:2 * n + 4])
        self.tlvs = tlvs_of(body[2 * n + 4:])


def tlvs_of(data):
    out = {}
    while data:
        kind, n = struct.unpack(">BH", data[:3])
        assert len(data) >= 3 + n and kind not in out, data
        out[kind], data = data[3:3 + n], data[3 + n:]
    return out
