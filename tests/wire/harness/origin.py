"""A scripted HTTP/1 server that records every byte it was sent, connection by connection."""

import socket
import threading

from .net import Fields, parse_fields, poll, reset

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def reply(body=b"ok", status="200 OK", headers=()):
    head = "HTTP/1.1 %s\r\n" % status
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        head += "%s: %s\r\n" % (name, value)
    return (head + "Content-Length: %d\r\n\r\n" % len(body)).encode("latin-1") + body


def chunked(*parts, headers=(), trailers=(), status="200 OK"):
    head = "HTTP/1.1 %s\r\nTransfer-Encoding: chunked\r\n" % status
    for name, value in headers:
        head += "%s: %s\r\n" % (name, value)
    out = (head + "\r\n").encode()
    for p in parts:
        out += b"%x\r\n%s\r\n" % (len(p), p)
    return out + b"0\r\n" + b"".join(b"%s: %s\r\n" % t for t in trailers) + b"\r\n"


class Gone(Exception):
    """The proxy closed or reset the connection."""


class Request(Fields):
    def __init__(self, conn, head):
        self.conn, self.head = conn, head
        lines = head[:-4].split(b"\r\n")
        self.method, self.target, self.version = (x.decode("latin-1") for x in lines[0].split(b" ", 2))
        self.headers = parse_fields(lines[1:])
        self.trailers = []
        self.body = b""
        self.complete = False
        self.framing = "none"

    def __repr__(self):
        return "<%s %s %r %r>" % (self.method, self.target, self.headers, self.body[:100])

    def read_body(self):
        if self.complete:
            return self
        coding, length = self.get("transfer-encoding"), self.get("content-length")
        assert not (coding and length), "both framings reached the server: %r" % self.head
        if coding:
            assert coding.lower() == "chunked", coding
            self.framing = "chunked"
            self.read_chunks()
        elif length:
            self.framing = "length"
            self.body = self.conn.exactly(int(length))
        self.complete = True
        return self

    def read_chunks(self):
        while True:
            line = self.conn.line()
            assert line and all(c in b"0123456789abcdefABCDEF" for c in line), "chunk size %r" % line
            if int(line, 16) == 0:
                break
            self.body += self.conn.exactly(int(line, 16))
            assert self.conn.exactly(2) == b"\r\n"
        lines = []
        while True:
            line = self.conn.line()
            if not line:
                break
            lines.append(line)
        self.trailers = parse_fields(lines)


class Conn:
    """One connection from the proxy."""

    def __init__(self, origin, sock, number):
        self.origin, self.sock, self.number = origin, sock, number
        self.received = bytearray()
        self.buf = bytearray()
        self.keep = True  # received grows; off for tests that move gigabytes
        self.open = True
        self.ended = ""  # "eof" or "reset": how the proxy ended it

    def more(self, n=65536):
        try:
            data = self.sock.recv(n)
        except OSError:
            self.ended = "reset"
            raise Gone("reset")
        if not data:
            self.ended = "eof"
            raise Gone("eof")
        if self.keep:
            self.received += data
        self.buf += data

    def until(self, mark):
        while mark not in self.buf:
            self.more()
        at = self.buf.index(mark) + len(mark)
        out = bytes(self.buf[:at])
        del self.buf[:at]
        return out

    def line(self):
        return self.until(b"\r\n")[:-2]

    def exactly(self, n):
        while len(self.buf) < n:
            self.more()
        out = bytes(self.buf[:n])
        del self.buf[:n]
        return out

    def head(self):
        """The next request head, or Gone."""
        return Request(self, self.until(b"\r\n\r\n"))

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            self.ended = self.ended or "reset"
            raise Gone("send")

    def drain(self):
        """Reads until the proxy ends the connection."""
        try:
            while True:
                self.more()
        except Gone:
            pass

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.open = False
        reset(self.sock)

    def close(self):
        if self.open:
            self.open = False
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.sock.close()


class Origin:
    """Listens on `port`. Every request goes to the script of the moment, a function (conn, request) that sends
    what it likes; without one the answer is 200 "ok". Returning False closes the connection.

    script(f)             called when the request is complete
    script(f, early=True) called when its head is there: the script takes the body with request.read_body()
    raw(f)                f(conn) has the whole connection"""

    running = []

    def __init__(self, family=socket.AF_INET, path=None, port=0, backlog=512, tls=None):
        self.tls = tls  # an ssl.SSLContext: every connection begins with a handshake
        self.sock = socket.socket(socket.AF_UNIX if path else family)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(path if path else ("127.0.0.1", port))
        self.sock.listen(backlog)
        self.port = 0 if path else self.sock.getsockname()[1]
        self.address = "unix:" + path if path else "127.0.0.1:%d" % self.port
        self.lock = threading.Lock()
        self.total = 0
        self.stopped = False
        self.trouble = []  # assertion errors of scripts, raised again by check()
        self.living = set()
        self.keep = True
        self.clear()
        Origin.running.append(self)
        threading.Thread(target=self.accept, daemon=True).start()

    def clear(self):
        """Forgets what was seen and goes back to the default script."""
        self.forget()
        self.handler, self.early, self.whole = None, False, None
        self.trouble = []

    def forget(self):
        """Forgets what was seen."""
        with self.lock:
            self.requests = []
            self.conns = []
            for c in self.living:
                c.received.clear()
                self.conns.append(c)
            self.accepted = 0

    def script(self, handler, early=False):
        self.handler, self.early = handler, early
        return self

    def raw(self, handler):
        self.whole = handler
        return self

    @property
    def bytes(self):
        """All bytes received since clear(), connection after connection."""
        with self.lock:
            return b"".join(bytes(c.received) for c in self.conns)

    @property
    def completed(self):
        return [r for r in self.requests if r.complete]

    def wait(self, count=1, seconds=5.0):
        """Waits for so many complete requests and returns them."""
        poll(lambda: len(self.completed) >= count, seconds, "%d requests at the server" % count)
        return self.completed

    def one(self):
        """The one and only request since clear()."""
        self.wait(1)
        assert len(self.requests) == 1, self.requests
        return self.requests[0]

    def check(self):
        if self.trouble:
            raise self.trouble[0]

    def accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            if self.stopped:
                sock.close()
                return
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.total += 1
                self.accepted += 1
                conn = Conn(self, sock, self.total)
                conn.keep = self.keep
                self.conns.append(conn)
                self.living.add(conn)
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        try:
            if self.tls:
                conn.sock = self.tls.wrap_socket(conn.sock, server_side=True, suppress_ragged_eofs=False)
            if self.whole:
                self.whole(conn)
            else:
                while conn.open and self.serve_one(conn):
                    pass
        except (Gone, OSError):
            pass
        except Exception as e:  # a script's own assertion: the test's thread raises it in check()
            self.trouble.append(e)
        finally:
            conn.close()
            with self.lock:
                self.living.discard(conn)

    def serve_one(self, conn):
        request = conn.head()
        self.requests.append(request)
        if not self.early or not self.handler:
            request.read_body()
        going = self.answer(conn, request)
        request.read_body() if conn.open and going is not False else None
        return going is not False and (request.get("connection") or "").lower() != "close"

    def answer(self, conn, request):
        if self.handler:
            return self.handler(conn, request)
        conn.send(OK)
        return True

    def drop(self):
        """Closes all connections, keeps listening."""
        with self.lock:
            living = list(self.living)
        for c in living:
            c.close()

    def stop(self):
        self.stopped = True
        if self in Origin.running:
            Origin.running.remove(self)
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.drop()
