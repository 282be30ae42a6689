"""A raw HTTP/2 client: frames as bytes, nothing hidden and nothing forbidden. Field blocks by python3-hpack."""

import socket
import struct
import time

import hpack

from .net import SLOW, reset

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY, ACK = 1, 4, 8, 32, 1
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(7, 12)
TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_HEADER_LIST, ENABLE_CONNECT = 1, 2, 3, 4, 5, 6, 8


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(pairs):
    return b"".join(struct.pack(">HI", k, v) for k, v in pairs.items())


def request(method="GET", path="/", host="web.test", scheme="http", headers=()):
    return [(":method", method), (":scheme", scheme), (":path", path), (":authority", host), *headers]


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    def __repr__(self):
        return "<frame %d flags %x stream %d %r>" % (self.kind, self.flags, self.stream, self.payload[:40])


class Stream:
    """What came back on one stream."""

    def __init__(self):
        self.status, self.headers, self.trailers, self.interim = 0, [], None, []
        self.body, self.ended, self.reset = b"", False, None
        self.frames = 0  # DATA frames

    def get(self, name, default=None):
        return next((v for n, v in self.headers if n == name), default)

    def __repr__(self):
        return "<%s %r %r ended %s reset %s>" % (self.status, self.headers, self.body[:80], self.ended, self.reset)


class H2:
    def __init__(self, port, ours=None, preface=True, timeout=10.0, window=1 << 20, rcvbuf=None, sock=None):
        if sock is None:
            sock = socket.socket()
            if rcvbuf:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            sock.settimeout(timeout * SLOW)
            sock.connect(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self.buf, self.streams, self.theirs = b"", {}, {}
        self.goaways, self.pongs, self.acked, self.eof = [], [], 0, False
        self.refill = True  # WINDOW_UPDATE for all DATA that comes
        self.given = {}  # stream: bytes that we may send; 0: the connection
        self.block, self.order = b"", []
        self.auto = True  # answer SETTINGS and PING
        self.next_id = 1
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings(dict({INITIAL_WINDOW: window}, **(ours or {}))))
                      + frame(WINDOW, 0, 0, struct.pack(">I", (1 << 24))))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def abort(self):
        reset(self.sock)

    # sending

    def send(self, data):
        self.sock.sendall(data)
        return self

    def send_quietly(self, data):
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def frame(self, kind, flags=0, stream=0, payload=b""):
        return self.send(frame(kind, flags, stream, payload))

    def fields(self, fields):
        return self.encoder.encode(fields, huffman=False)

    def stream(self):
        self.next_id += 2
        return self.next_id - 2

    def headers(self, fields, end=True, stream=None, flags=0):
        stream = self.stream() if stream is None else stream
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0) | flags, stream, self.fields(fields))
        return stream

    def get(self, path="/", **kw):
        return self.headers(request(path=path, **kw))

    def data(self, stream, payload=b"", end=False):
        return self.frame(DATA, END_STREAM if end else 0, stream, payload)

    def reset(self, stream, code=CANCEL):
        return self.frame(RST, 0, stream, struct.pack(">I", code))

    def window(self, stream, n):
        return self.frame(WINDOW, 0, stream, struct.pack(">I", n))

    def upload(self, stream, body, end=True, piece=16384):
        """As much as the windows allow at a time."""
        at = 0
        while at < len(body):
            room = min(self.room(stream), self.room(0), piece, len(body) - at)
            if room <= 0:
                self.step()
                continue
            self.data(stream, body[at : at + room], end and at + room == len(body))
            self.given[stream] = self.given.get(stream, 0) - room
            self.given[0] = self.given.get(0, 0) - room
            at += room
        return self

    def room(self, stream):
        first = self.theirs.get(INITIAL_WINDOW, 65535) if stream else 65535
        return first + self.given.get(stream, 0)

    # receiving

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            self.eof = True
            return False
        self.buf += data
        return True

    def next_frame(self):
        """The next frame, or None at the end of the connection."""
        while len(self.buf) < 9 or len(self.buf) < 9 + int.from_bytes(self.buf[:3], "big"):
            if not self.more():
                assert not self.buf, "the connection ended inside a frame: %r" % self.buf[:50]
                return None
        n = int.from_bytes(self.buf[:3], "big")
        f = Frame(self.buf[3], self.buf[4], int.from_bytes(self.buf[5:9], "big"), self.buf[9 : 9 + n])
        self.buf = self.buf[9 + n :]
        assert n <= 16384, "a frame above SETTINGS_MAX_FRAME_SIZE: %r" % f
        return f

    def step(self):
        """Takes one frame; False at the end."""
        f = self.next_frame()
        if f is None:
            return False
        self.order.append((f.kind, f.stream))
        self.take(f)
        return True

    def take(self, f):
        st = self.streams.setdefault(f.stream, Stream()) if f.stream else None
        if f.kind == DATA:
            assert not f.flags & PADDED and st.status >= 200 and not st.ended, f
            st.body += f.payload
            st.frames += 1
            st.ended = bool(f.flags & END_STREAM)
            if self.refill and f.payload:
                up = struct.pack(">I", len(f.payload))
                self.send_quietly(frame(WINDOW, 0, 0, up) + (b"" if st.ended else frame(WINDOW, 0, f.stream, up)))
        elif f.kind in (HEADERS, CONTINUATION):
            self.block += f.payload
            if f.kind == HEADERS:
                self.ends = bool(f.flags & END_STREAM)
            if f.flags & END_HEADERS:
                self.take_head(st, self.decoder.decode(self.block))
                self.block = b""
        elif f.kind == RST:
            st.reset = int.from_bytes(f.payload, "big")
        elif f.kind == SETTINGS:
            self.take_settings(f)
        elif f.kind == PING:
            if f.flags & ACK:
                self.pongs.append(f.payload)
            elif self.auto:
                self.send_quietly(frame(PING, ACK, 0, f.payload))
        elif f.kind == GOAWAY:
            self.goaways.append((int.from_bytes(f.payload[:4], "big"), int.from_bytes(f.payload[4:8], "big")))
        elif f.kind == WINDOW:
            self.given[f.stream] = self.given.get(f.stream, 0) + int.from_bytes(f.payload, "big")
        else:
            raise AssertionError("a server never sends this: %r" % f)

    def take_settings(self, f):
        if f.flags & ACK:
            self.acked += 1
            return
        for at in range(0, len(f.payload), 6):
            key, value = struct.unpack(">HI", f.payload[at : at + 6])
            self.theirs[key] = value
        if self.auto:
            self.send_quietly(frame(SETTINGS, ACK))

    def take_head(self, st, fields):
        assert not st.ended
        for name, value in fields:
            assert name == name.lower() and name not in ("connection", "transfer-encoding", "keep-alive", "upgrade"), fields
            assert value == value.strip(), fields
        if st.status >= 200:
            assert self.ends and not any(n.startswith(":") for n, _ in fields), fields
            st.trailers = fields
        else:
            assert fields[0][0] == ":status", fields
            status = int(fields[0][1])
            if status < 200:
                st.interim.append((status, fields[1:]))
                assert not self.ends
                return
            st.status, st.headers = status, fields[1:]
        st.ended = st.ended or self.ends

    def until(self, what, seconds=8.0):
        """Frames until what() is true; its value. Fails at the end of the connection."""
        end = time.monotonic() + seconds * SLOW
        while True:
            value = what()
            if value:
                return value
            assert time.monotonic() < end, "not in time; %r %r" % (self.streams, self.goaways)
            assert self.step(), "the connection ended; %r %r" % (self.streams, self.goaways)

    def response(self, stream):
        """What came, when it is complete or reset."""
        st = self.streams.setdefault(stream, Stream())
        self.until(lambda: st.ended or st.reset is not None)
        return st

    def fetch(self, path="/", **kw):
        return self.response(self.get(path, **kw))

    def ping(self, payload=b"12345678"):
        """A round trip: everything before it has been looked at."""
        have = len(self.pongs)
        self.frame(PING, 0, 0, payload)
        self.until(lambda: len(self.pongs) > have)
        return self

    def ended(self):
        """Reads to the end of the connection: the code of the last GOAWAY, None without one, "reset" when it was
        cut."""
        try:
            while self.step():
                pass
        except ConnectionError:
            if not self.goaways:
                return "reset"
        return self.goaways[-1][1] if self.goaways else None
