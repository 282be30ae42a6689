"""Sockets for tests: free ports, polling with a deadline, and a raw HTTP/1 client that hides nothing."""

import collections
import os
import random
import socket
import struct
import time

# Sanitizer builds are several times slower: WIRE_SLOW=4 stretches every deadline of the harness.
SLOW = float(os.environ.get("WIRE_SLOW", "1"))


GIVEN = collections.deque(maxlen=1000)


def free_port():
    """A port that nobody listens on, from below the range the kernel deals to outgoing connections, and that was not given lately:
    whoever got it may not listen yet."""
    for _ in range(2000):
        port = random.randrange(20000, 31000)
        if port in GIVEN:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                GIVEN.append(port)
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def poll(what, seconds=5.0, message="condition"):
    """Calls what() until it is true; its last value is returned. Fails after the deadline."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %.1f s: %s (last value %r)" % (seconds * SLOW, message, value))
        time.sleep(0.005)


def reset(sock):
    """Closes with a RST instead of a FIN; nothing to do when its own thread was first to close it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        if sock.fileno() >= 0:
            raise
    sock.close()


def parse_fields(lines):
    out = []
    for line in lines:
        name, colon, value = line.partition(b":")
        assert colon, "field line without a colon: %r" % line
        out.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
    return out


class Fields:
    """Field look-up shared by requests and responses; `headers` keeps order and spelling."""

    def get(self, name, default=None):
        for n, v in self.headers:
            if n.lower() == name.lower():
                return v
        return default

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]


class Response(Fields):
    def __init__(self):
        self.status = 0
        self.version = ""
        self.reason = ""
        self.headers = []
        self.trailers = []
        self.interim = []  # Responses with 1xx statuses that came before
        self.body = b""
        self.head = b""
        self.chunks = []  # sizes of chunks as they came
        self.framing = ""  # none, length, chunked, close

    def __repr__(self):
        return "<%s %s %r %r>" % (self.version, self.status, self.headers, self.body[:200])


class Truncated(AssertionError):
    """The connection ended inside a response."""


class Client:
    """One raw client connection."""

    def __init__(self, port, timeout=10.0, rcvbuf=None, sndbuf=None, address="127.0.0.1", source=None):
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if sndbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        self.sock.settimeout(timeout * SLOW)
        try:
            if source:
                self.sock.bind((source, 0))
            self.sock.connect((address, port))
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.eof = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *pieces, delay=0.0):
        for i, piece in enumerate(pieces):
            if i and delay:
                time.sleep(delay)
            self.sock.sendall(piece)
        return self

    def send_quietly(self, data):
        """For peers that may be gone already."""
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        reset(self.sock)

    def close(self):
        self.sock.close()

    def more(self):
        """One more read; False at the end of the stream. A reset is an error: the program lingers."""
        data = self.sock.recv(65536)
        if not data:
            self.eof = True
            return False
        self.buf += data
        return True

    def until(self, mark):
        while mark not in self.buf:
            if not self.more():
                raise Truncated("end of stream before %r; have %r" % (mark, self.buf[:300]))
        head, self.buf = self.buf.split(mark, 1)
        return head

    def exactly(self, n):
        parts, have = [], 0
        while have < n:
            if not self.buf and not self.more():
                raise Truncated("end of stream %d bytes early; have %r" % (n - have, b"".join(parts)[-200:]))
            piece, self.buf = self.buf[: n - have], self.buf[n - have :]
            parts.append(piece)
            have += len(piece)
        return b"".join(parts)

    def rest(self):
        """Everything up to the end of the stream."""
        parts = [self.buf]
        self.buf = b""
        while not self.eof:
            data = self.sock.recv(1 << 16)
            if not data:
                self.eof = True
            parts.append(data)
        return b"".join(parts)

    def closed(self, seconds=5.0):
        """True when the peer ends the stream with a FIN and says nothing more."""
        self.sock.settimeout(seconds * SLOW)
        try:
            return not self.buf and not self.more()
        except socket.timeout:
            return False

    def silent(self, seconds=0.2):
        """True when nothing comes for a while: for what must NOT happen, so a wait is the only way."""
        if self.buf:
            return False
        self.sock.settimeout(seconds)
        try:
            self.more()
            return False
        except socket.timeout:
            return True
        finally:
            self.sock.settimeout(10 * SLOW)

    def head(self):
        """One response head; interim ones too."""
        r = Response()
        r.head = self.until(b"\r\n\r\n") + b"\r\n\r\n"
        lines = r.head[:-4].split(b"\r\n")
        assert b"\n" not in b"".join(lines), "bare LF in %r" % r.head
        version, status, reason = (lines[0].split(b" ", 2) + [b""])[:3]
        r.version, r.status, r.reason = version.decode(), int(status), reason.decode("latin-1")
        assert r.version == "HTTP/1.1", r.head
        r.headers = parse_fields(lines[1:])
        return r

    def response(self, method="GET"):
        """The next final response, its body taken by its framing and checked strictly."""
        interim = []
        while True:
            r = self.head()
            if r.status >= 200 or r.status == 101:
                break
            interim.append(r)
        r.interim = interim
        self.body(r, method)
        return r

    def body(self, r, method="GET"):
        length, coding = r.all("content-length"), r.all("transfer-encoding")
        assert len(length) <= 1 and len(coding) <= 1 and not (length and coding), r
        if method == "HEAD" or r.status in (101, 204, 304):
            r.framing = "none"
            if r.status in (101, 204):
                assert not length and not coding, r
        elif coding:
            assert coding == ["chunked"], r
            r.framing = "chunked"
            self.chunked(r)
        elif length:
            r.framing = "length"
            r.body = self.exactly(int(length[0]))
        else:
            r.framing = "close"
            assert (r.get("connection") or "").lower() == "close", "close-delimited but not announced: %r" % r
            r.body = self.rest()

    def chunked(self, r):
        parts = []
        while True:
            line = self.until(b"\r\n")
            assert line and all(c in b"0123456789abcdefABCDEF" for c in line), "chunk size %r" % line
            size = int(line, 16)
            if size == 0:
                break
            r.chunks.append(size)
            parts.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        lines = []
        while True:
            line = self.until(b"\r\n")
            if not line:
                break
            lines.append(line)
        r.trailers = parse_fields(lines)
        r.body = b"".join(parts)


def build(method="GET", target="/", host="web.test", headers=(), body=None, version="HTTP/1.1"):
    """The bytes of one request. body adds Content-Length; host=None leaves Host out."""
    lines = ["%s %s %s" % (method, target, version)]
    if host is not None:
        lines.append("Host: " + host)
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        lines.append("%s: %s" % (name, value))
    if body is not None:
        lines.append("Content-Length: %d" % len(body))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def fetch(port, method="GET", target="/", timeout=10.0, **kw):
    """One request on a connection of its own."""
    with Client(port, timeout=timeout) as c:
        c.send(build(method, target, **kw))
        return c.response(method)
