"""A scripted HTTP/2 server (python3-h2) with prior knowledge, and single frames for those that lie."""

import select
import ssl
import struct
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack

from .net import SLOW, Fields
from .origin import Gone, Origin

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 2, 3, 7, 8
ENHANCE_YOUR_CALM = 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Code = h2.settings.SettingCodes


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(*fields):
    """A header block that needs no table."""
    return hpack.Encoder().encode([(n, v) for n, v in fields], huffman=False)


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v) for k, v in pairs))


class Stream(Fields):
    """One request, and the ways to answer it."""

    def __init__(self, conn, number, headers):
        self.conn, self.id, self.headers = conn, number, headers
        self.body, self.trailers, self.reset_code = b"", [], None
        self.done = threading.Event()  # the request is complete, or the stream is gone
        self.complete = False
        self.hold_window = False  # received bytes are not given back
        self.held = 0

    def __repr__(self):
        return "<stream %d %r %r>" % (self.id, self.headers, self.body[:100])

    @property
    def method(self):
        return self.get(":method")

    @property
    def target(self):
        return self.get(":path")

    def read_body(self):
        assert self.done.wait(20 * SLOW), "the request does not end: %r" % self
        return self

    def head(self, status=200, headers=(), end=False):
        self.conn.act(lambda c: c.send_headers(self.id, [(":status", str(status))] + list(headers), end_stream=end))

    def data(self, data, end=False):
        """All of it, waiting for windows."""
        at = 0
        while at < len(data) or (end and at == 0):
            with self.conn.cond:  # nobody else may take the window in between
                room = self.conn.wait_window(self) if data else 0
                n = min(room, len(data) - at, 16384)
                last = end and at + n == len(data)
                self.conn.act(lambda c: c.send_data(self.id, data[at : at + n], end_stream=last))
            at += n
            if last:
                return

    def trail(self, *fields):
        self.conn.act(lambda c: c.send_headers(self.id, list(fields), end_stream=True))

    def reply(self, body=b"ok", status=200, headers=(), trailers=()):
        headers = list(headers)
        if not trailers:
            headers.append(("content-length", str(len(body))))
        self.head(status, headers, end=not body and not trailers)
        if body:
            self.data(body, end=not trailers)
        if trailers:
            self.trail(*trailers)

    def reset(self, code=CANCEL):
        self.conn.act(lambda c: c.reset_stream(self.id, code))

    def wait_reset(self, seconds=5.0):
        """The code that the proxy reset it with."""
        assert self.conn.changed(lambda: self.reset_code is not None, seconds), "not reset: %r" % self
        return self.reset_code


class H2Conn:
    """The HTTP/2 state of one connection; scripts run in threads of their own."""

    def __init__(self, origin, conn):
        self.origin, self.conn = origin, conn
        self.cond = threading.Condition(threading.RLock())
        config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1", validate_outbound_headers=False,
                                           normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=dict(
            {Code.MAX_CONCURRENT_STREAMS: 100}, **{}))
        for code, value in origin.settings.items():
            self.h2.local_settings[code] = value
        self.h2.local_settings.acknowledge()
        self.streams, self.pings, self.goaway, self.settings_acks, self.dead = {}, 0, None, 0, False
        self.sent_settings = False
        self.begin()

    def begin(self):
        self.h2.initiate_connection()
        if self.origin.connection_window:
            self.h2.increment_flow_control_window(self.origin.connection_window)
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.conn.send(data)

    def act(self, what):
        with self.cond:
            if self.dead:
                raise Gone("connection")
            try:
                what(self.h2)
            except h2.exceptions.StreamClosedError:
                raise Gone("stream")
            self.flush()

    def changed(self, what, seconds=5.0):
        with self.cond:
            return self.cond.wait_for(what, seconds * SLOW)

    def wait_window(self, stream):
        def room():
            return self.dead or stream.reset_code is not None or self.h2.local_flow_control_window(stream.id) > 0

        with self.cond:
            if not self.cond.wait_for(room, 20 * SLOW):
                raise AssertionError("no window for %r" % stream)
            if self.dead or stream.reset_code is not None:
                raise Gone("stream")
            return self.h2.local_flow_control_window(stream.id)

    def receive(self):
        """A socket of TLS must not be read and written at the same time."""
        sock = self.conn.sock
        if not isinstance(sock, ssl.SSLSocket):
            return sock.recv(65536)
        while True:
            if not sock.pending():
                select.select([sock], [], [])
            with self.cond:
                sock.settimeout(0)
                try:
                    return sock.recv(65536)
                except ssl.SSLWantReadError:
                    pass
                finally:
                    sock.settimeout(None)

    def run(self):
        try:
            while True:
                data = self.receive()
                if not data:
                    self.conn.ended = "eof"
                    break
                self.conn.received += data if self.conn.keep else b""
                with self.cond:
                    for event in self.h2.receive_data(data):
                        self.on_event(event)
                    self.flush()
                    self.cond.notify_all()
        except (OSError, ValueError):  # or it was closed here meanwhile
            self.conn.ended = "reset"
        finally:
            with self.cond:
                self.dead = True
                for s in self.streams.values():
                    s.done.set()
                self.cond.notify_all()

    def on_event(self, e):
        if isinstance(e, h2.events.RequestReceived):
            self.on_request(e)
        elif isinstance(e, h2.events.DataReceived):
            s = self.streams[e.stream_id]
            s.body += e.data
            n = e.flow_controlled_length
            if n and s.hold_window:
                s.held += n
                self.h2.increment_flow_control_window(n)
            elif n:
                self.h2.acknowledge_received_data(n, e.stream_id)
        elif isinstance(e, h2.events.TrailersReceived):
            self.streams[e.stream_id].trailers = list(e.headers)
        elif isinstance(e, h2.events.StreamEnded):
            self.on_end(self.streams[e.stream_id])
        elif isinstance(e, h2.events.StreamReset):
            s = self.streams.get(e.stream_id)
            if s:
                s.reset_code = int(e.error_code)
                s.done.set()
        elif isinstance(e, h2.events.PingReceived):
            self.pings += 1
        elif isinstance(e, h2.events.SettingsAcknowledged):
            self.settings_acks += 1
        elif isinstance(e, h2.events.ConnectionTerminated):
            self.goaway = (int(e.error_code), e.last_stream_id)

    def on_request(self, e):
        s = Stream(self, e.stream_id, list(e.headers))
        self.streams[e.stream_id] = s
        s.hold_window = self.origin.hold_window
        with self.origin.lock:
            self.origin.requests.append(s)
        if self.origin.early and self.origin.handler:
            self.spawn(s)

    def on_end(self, s):
        s.complete = True
        s.done.set()
        if not (self.origin.early and self.origin.handler):
            self.spawn(s)

    def spawn(self, s):
        threading.Thread(target=self.answer, args=(s,), daemon=True).start()

    def answer(self, s):
        try:
            if self.origin.handler:
                self.origin.handler(s)
            else:
                s.reply()
        except (Gone, OSError, h2.exceptions.ProtocolError):
            pass
        except Exception as e:
            self.origin.trouble.append(e)

    def send_goaway(self, last, code=NO_ERROR):
        with self.cond:
            self.conn.send(frame(GOAWAY, 0, 0, struct.pack(">II", last, code)))


class H2Origin(Origin):
    """script(f): f(stream), once the request is complete; early=True: once its head is there. raw(f) has the bytes."""

    def __init__(self, settings=None, connection_window=1 << 20, **kw):
        self.settings, self.connection_window, self.h2_conns, self.hold_window = dict(settings or {}), connection_window, [], False
        super().__init__(**kw)

    def clear(self):
        super().clear()
        self.hold_window = False

    def forget(self):
        super().forget()
        self.h2_conns = [c for c in self.h2_conns if not c.dead] if hasattr(self, "h2_conns") else []

    def serve(self, conn):
        if self.whole:
            super().serve(conn)
            return
        try:
            if self.tls:
                conn.sock = self.tls.wrap_socket(conn.sock, server_side=True, suppress_ragged_eofs=False)
            h2conn = H2Conn(self, conn)
            with self.lock:
                self.h2_conns.append(h2conn)
            h2conn.run()
        except (Gone, OSError):
            pass
        except Exception as e:
            self.trouble.append(e)
        finally:
            conn.close()
            with self.lock:
                self.living.discard(conn)


def read_frame(conn):
    """(type, flags, stream, payload) of the proxy, from a raw connection."""
    head = conn.exactly(9)
    n = int.from_bytes(head[:3], "big")
    return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, conn.exactly(n)


def greet(conn, *pairs):
    """A raw server's first words; takes the preface."""
    conn.send(settings(*pairs))
    assert conn.exactly(len(PREFACE)) == PREFACE


def next_request(conn):
    """The stream id of the next request; everything before it is looked over, SETTINGS are acknowledged."""
    while True:
        kind, flags, stream, _ = read_frame(conn)
        if kind == SETTINGS and not flags & ACK:
            conn.send(frame(SETTINGS, ACK))
        if kind == HEADERS:
            return stream
