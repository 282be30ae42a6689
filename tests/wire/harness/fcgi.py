"""FastCGI 1.0 at the level of records: a server that can tell the truth or lie, one byte at a time."""

import struct

from .origin import Gone, Origin

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)


def record(kind, data=b"", request_id=1, padding=0, version=1):
    assert len(data) <= 65535
    return struct.pack(">BBHHBB", version, kind, request_id, len(data), padding, 0) + data + b"\0" * padding


def end(app_status=0, protocol_status=0):
    return record(END, struct.pack(">IB3x", app_status, protocol_status))


def page(body=b"ok", head=b"Content-Type: text/plain\r\n"):
    """A whole truthful answer."""
    out, data = b"", head + b"\r\n" + body
    for at in range(0, len(data), 65535):
        out += record(STDOUT, data[at : at + 65535])
    return out + record(STDOUT) + end()


def pairs(data):
    """Decodes name-value pairs to a dict of bytes; a name that comes twice is an error."""
    out, at = {}, 0

    def length():
        nonlocal at
        if data[at] < 128:
            at += 1
            return data[at - 1]
        at += 4
        return struct.unpack(">I", data[at - 4 : at])[0] & 0x7FFFFFFF

    while at < len(data):
        n, v = length(), length()
        name, value = data[at : at + n], data[at + n : at + n + v]
        at += n + v
        assert at <= len(data), "pair runs over the stream"
        assert name not in out, "param %r twice" % name
        out[name] = value
    return out


class FcgiRequest:
    def __init__(self, conn):
        self.conn, self.params, self.body, self.complete = conn, {}, b"", False
        self.record_sizes, self.flags, self.aborted = [], 0, False

    def __getitem__(self, name):
        return self.params.get(name.encode(), b"").decode("latin-1")

    def __contains__(self, name):
        return name.encode() in self.params


class FcgiServer(Origin):
    """Scripts get (conn, request); request.params are bytes by bytes. Without one: a small page."""

    def read_record(self, conn):
        version, kind, rid, length, padding, _ = struct.unpack(">BBHHBB", conn.exactly(8))
        assert version == 1 and rid == 1, (version, rid)
        data = conn.exactly(length)
        conn.exactly(padding)
        return kind, data

    def serve_one(self, conn):
        request = FcgiRequest(conn)
        kind, data = self.read_record(conn)
        assert kind == BEGIN and len(data) == 8 and data[:2] == b"\0\1", (kind, data)
        request.flags = data[2]
        raw = self.stream(conn, PARAMS, request)
        request.params = pairs(raw)
        self.requests.append(request)
        if not (self.early and self.handler):
            self.take_body(conn, request)
        if self.handler:
            going = self.handler(conn, request)
        else:
            going = conn.send(page())
        return going is not False and request.flags & 1

    def take_body(self, conn, request):
        request.body = self.stream(conn, STDIN, request)
        request.complete = True

    def stream(self, conn, kind, request):
        out = []
        while True:
            got, data = self.read_record(conn)
            if got == ABORT:
                request.aborted = True
                raise Gone("abort")
            assert got == kind, "record type %d where %d was due" % (got, kind)
            request.record_sizes.append(len(data))
            if not data:
                return b"".join(out)
            out.append(data)
