"""HTTP/2 section by section, each case in clear and over TLS. Numbers are of RFC 9113, with "hpack" in front of RFC 7541, and
"use" for what a client does every day.

    section      what                                                     where
    3.4          the preface                                              test_preface, test_T13_a_bad_preface (test_t_rows)
    4.1          unknown types, flags and the reserved bit are ignored    TAKEN
    4.2          frame sizes at and above the limit                       TAKEN, BROKEN
    4.3          field blocks                                             BROKEN
    5.1          idle, half closed and closed streams                     TAKEN, BROKEN
    5.1.1        identifiers                                              BROKEN
    5.1.2        too many streams                                         test_T13_too_many_streams
    5.3          priorities, also those of streams on themselves          TAKEN, BROKEN
    5.4.1        GOAWAY, then the end                                     every case of BROKEN
    5.5          extension frames                                         TAKEN, BROKEN
    6.1 to 6.10  each type of frame                                       TAKEN, BROKEN, MALFORMED
    6.5.3        settings in their order, each acknowledged               test_settings_in_order
    6.9          windows: one byte, changed, negative                     test_window_*
    7            unknown error codes                                      TAKEN
    8.1          trailers, lengths of bodies                              TAKEN, MALFORMED
    8.2, 8.3     fields and pseudo-header fields                          MALFORMED
    8.4          no push of clients                                       BROKEN
    hpack 2.3.3, 4.2, 5.2, 6.1, 6.3                                       BROKEN, TAKEN
    floods and limits                                                     test_t_rows
"""

import socket
import struct

import hpack
import pytest

from harness import h2
from harness.door import Door, cluster, route
from harness.h2 import H2, frame
from harness.net import SLOW
from harness.origin import OK, reply
from harness.tls import Authority
from test_t_rows import GET, integer, raw_block

BIG = (1 << 31) - 1
G, POST = raw_block(*GET), raw_block((b":method", b"POST"), *GET[1:])


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, ca):
    d = Door(tmp_path_factory.mktemp("conformance"),
             listeners={"web": {}, "tls": {"tls": {"certificates": [ca.issue("web.test").config()]}}},
             clusters=[cluster("o", origin.address, retries=0)], routes=[route("*", "o")]).start()
    yield d
    d.stop()


@pytest.fixture(params=["clear", "tls"])
def connect(request, door, ca):
    """Makes connections that have said the preface."""
    def make(**kw):
        if request.param == "clear":
            return H2(door.port, **kw)
        raw = socket.create_connection(("127.0.0.1", door.ports["tls"]), 10 * SLOW)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = ca.client_context(alpn=["h2"]).wrap_socket(raw, server_hostname="web.test")
        assert sock.selected_alpn_protocol() == "h2"
        return H2(0, sock=sock, **kw)
    return make


def heads(stream=1, block=G, flags=h2.END_STREAM | h2.END_HEADERS):
    return frame(h2.HEADERS, flags, stream, block)


def more(stream=1, block=b"", flags=h2.END_HEADERS):
    return frame(h2.CONTINUATION, flags, stream, block)


def data(payload=b"x", stream=1, flags=h2.END_STREAM):
    return frame(h2.DATA, flags, stream, payload)


def priority(stream, on=0, weight=15):
    return frame(h2.PRIORITY, 0, stream, struct.pack(">IB", on, weight))


def window(stream, by):
    return frame(h2.WINDOW, 0, stream, struct.pack(">I", by))


def settings(**kw):
    return frame(h2.SETTINGS, 0, 0, h2.settings({getattr(h2, k): v for k, v in kw.items()}))


def rst(stream=1, code=h2.CANCEL):
    return frame(h2.RST, 0, stream, struct.pack(">I", code))


def swap(name, value):
    return raw_block(*((n, value if n == name else v) for n, v in GET))


def huffman(*fields):
    """Literals without indexing, names and values in Huffman code."""
    coder = hpack.huffman.HuffmanEncoder(hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH)
    out = b""
    for name, value in fields:
        out += b"\0"
        for text in (name, value):
            code = coder.encode(text)
            out += bytes([0x80 | integer(len(code), 7)[0]]) + integer(len(code), 7)[1:] + code
    return out


OPEN, ONE, THREE = heads(block=POST, flags=h2.END_HEADERS), heads(), heads(3)
PING = frame(h2.PING, 0, 0, b"12345678")
ANSWER = "the answer of stream 1"

# What must be taken: bytes in order, and the stream that is answered.
TAKEN = {
    "use HEAD": ((heads(block=swap(b":method", b"HEAD")),), 1),
    "use POST": ((OPEN + data(),), 1),
    "use POST in several frames": ((OPEN + data(flags=0) + data(flags=0) + data(b""),), 1),
    "use POST with trailers": ((OPEN + data(flags=0) + heads(block=raw_block((b"x-end", b"1"))),), 1),
    "use POST with its length": ((heads(block=POST + raw_block((b"content-length", b"2")), flags=4) + data(flags=0) + data(),), 1),
    "4.1 unknown type": ((frame(0x16, 0, 0, b"\0" * 8) + ONE,), 1),
    "4.1 unknown flags": ((frame(h2.PING, 0x16, 0, b"\0" * 8) + ONE,), 1),
    "4.1 reserved bit": ((frame(h2.PING, 0, 1 << 31, b"\0" * 8) + heads(1 << 31 | 1),), 1),
    "4.2 a frame of 16384": ((OPEN + data(b"x" * 16384),), 1),
    "5.1 PRIORITY on an idle stream": ((priority(1) + ONE,), 1),
    "5.1 PRIORITY on a higher idle stream": ((priority(9) + ONE,), 1),
    "5.1 PRIORITY on a half closed stream": ((ONE + priority(1),), 1),
    "5.1 PRIORITY on a closed stream": ((ONE, ANSWER, priority(1) + THREE), 3),
    "5.1 WINDOW_UPDATE on a half closed stream": ((ONE + window(1, 1),), 1),
    "5.1 WINDOW_UPDATE on a closed stream": ((ONE, ANSWER, window(1, 1) + THREE), 3),
    "5.1 RST_STREAM on a half closed stream": ((ONE + rst() + THREE,), 3),
    "5.1 RST_STREAM on a closed stream": ((ONE, ANSWER, rst() + THREE), 3),
    "5.3 weight 1": ((heads(flags=0x25, block=struct.pack(">IB", 0, 0) + G),), 1),
    "5.3 weight 256, exclusive": ((heads(flags=0x25, block=struct.pack(">IB", 1 << 31, 255) + G),), 1),
    "5.3 dependency on an idle stream": ((heads(flags=0x25, block=struct.pack(">IB", 7, 15) + G),), 1),
    "5.5 extension frame on a stream": ((OPEN + frame(0xBB, 0, 1, b"x") + data(),), 1),
    "6.1 padding": ((OPEN + data(b"\3x\0\0\0", flags=h2.END_STREAM | h2.PADDED),), 1),
    "6.1 nothing but padding": ((OPEN + data(b"\3\0\0\0", flags=h2.END_STREAM | h2.PADDED),), 1),
    "6.2 padding": ((heads(flags=13, block=b"\2" + G + b"\0\0"),), 1),
    "6.2 padding and priority": ((heads(flags=0x2D, block=b"\1" + struct.pack(">IB", 0, 15) + G + b"\0"),), 1),
    "6.5 empty SETTINGS": ((frame(h2.SETTINGS) + ONE,), 1),
    "6.5.2 unknown setting": ((frame(h2.SETTINGS, 0, 0, h2.settings({0xFF: 1})) + ONE,), 1),
    "6.5.2 limits at their edges": ((settings(MAX_FRAME=16384, INITIAL_WINDOW=BIG) + settings(MAX_FRAME=(1 << 24) - 1) + ONE,), 1),
    "6.7 PING with ACK": ((frame(h2.PING, h2.ACK, 0, b"unasked!") + ONE,), 1),
    "6.9 windows": ((window(0, 1) + ONE + window(1, 1),), 1),
    "6.9.1 the largest window": ((ONE + window(1, BIG - (1 << 20)),), 1),
    "6.10 CONTINUATION": ((heads(block=G[:7], flags=1) + more(block=G[7:]),), 1),
    "6.10 several": ((heads(block=G[:1], flags=1) + more(block=G[1:20], flags=0) + more(flags=0) + more(block=G[20:]),), 1),
    "7 RST_STREAM with an unknown code": ((OPEN + rst(code=0xFF) + THREE,), 3),
    "7 GOAWAY with an unknown code": ((ONE + frame(h2.GOAWAY, 0, 0, struct.pack(">II", 0, 0xFF)),), 1),
    "8.2.2 te: trailers": ((heads(block=G + raw_block((b"te", b"trailers"))),), 1),
    "8.2.3 cookies in crumbs": ((heads(block=G + raw_block((b"cookie", b"a=1"), (b"cookie", b"b=2"))),), 1),
    "hpack 6.1 indexed": ((heads(block=b"\x82\x86\x84" + raw_block(GET[3])),), 1),
    "hpack 6.2.1 incremental indexing": ((heads(block=G + b"\x40\1a\1b\xbe"),), 1),
    "hpack 6.2.1 indexed name": ((heads(block=G + b"\x7a\1b"),), 1),  # user-agent
    "hpack 6.2.2 indexed name": ((heads(block=G + b"\x0f\x2b\1b"),), 1),
    "hpack 6.2.3 never indexed": ((heads(block=G + b"\x10\1a\1b" + b"\x1f\x2b\1b"),), 1),
    "hpack 5.2 Huffman code": ((heads(block=huffman(*GET)),), 1),
    "hpack 6.3 table size": ((heads(block=b"\x20" + G),), 1),
    "hpack 6.3 table size twice": ((heads(block=b"\x20\x3f\xe1\x1f" + G),), 1),
}

# Errors of the connection: bytes in order, and the codes of which one is told.
PROTOCOL, CLOSED, SIZE, FLOW, COMPRESSION = ({getattr(h2, n)} for n in (
    "PROTOCOL_ERROR", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "FLOW_CONTROL_ERROR", "COMPRESSION_ERROR"))
BROKEN = {
    "4.2 DATA above 16384": ((OPEN + data(b"x" * 16385),), SIZE),
    "4.2 HEADERS above 16384": ((heads(block=G + raw_block((b"a", b"b" * 16384))),), SIZE),
    "4.3 a block that is no HPACK": ((heads(block=b"\x40\x01"),), COMPRESSION),
    "4.3 PRIORITY inside a block": ((heads(flags=1) + priority(1),), PROTOCOL),
    "4.3 HEADERS of another stream inside a block": ((heads(flags=1) + THREE,), PROTOCOL),
    "5.1 DATA on an idle stream": ((data(),), PROTOCOL),
    "5.1 RST_STREAM on an idle stream": ((rst(),), PROTOCOL),
    "5.1 WINDOW_UPDATE on an idle stream": ((window(1, 1),), PROTOCOL),
    "5.1 CONTINUATION on an idle stream": ((more(),), PROTOCOL),
    "5.1 CONTINUATION on a half closed stream": ((ONE + more(),), PROTOCOL | CLOSED),
    "5.1 HEADERS on a half closed stream": ((ONE + ONE,), CLOSED),
    "5.1 DATA on a stream that was reset": ((OPEN + rst() + data(),), CLOSED),
    "5.1 HEADERS on a stream that was reset": ((OPEN + rst() + ONE,), CLOSED),
    "5.1 CONTINUATION on a stream that was reset": ((OPEN + rst() + more(),), PROTOCOL | CLOSED),
    "5.1 DATA on a closed stream": ((ONE, ANSWER, data()), CLOSED),
    "5.1 HEADERS on a closed stream": ((ONE, ANSWER, ONE), CLOSED | PROTOCOL),
    "5.1 CONTINUATION on a closed stream": ((ONE, ANSWER, more()), PROTOCOL | CLOSED),
    "5.1.1 even identifier": ((heads(2),), PROTOCOL),
    "5.1.1 smaller identifier": ((heads(5) + THREE,), PROTOCOL),
    "5.1.1 stream 0": ((heads(0),), PROTOCOL),
    "5.4.1 a broken PING": ((frame(h2.PING, 0, 0, b"123"),), SIZE),
    "5.5 extension frame inside a block": ((heads(flags=1) + frame(0xBB, 0, 1, b"x"),), PROTOCOL),
    "6.1 DATA on stream 0": ((data(stream=0),), PROTOCOL),
    "6.1 padding as long as the frame": ((OPEN + data(b"\4\0\0\0", flags=9),), PROTOCOL),
    "6.2 padding as long as the frame": ((heads(flags=13, block=bytes([len(G) + 1]) + G),), PROTOCOL),
    "6.2 too short for its priority": ((heads(flags=0x25, block=b"\0\0"),), SIZE | PROTOCOL),
    "6.3 PRIORITY on stream 0": ((priority(0),), PROTOCOL),
    "6.3 PRIORITY of a wrong size": ((frame(h2.PRIORITY, 0, 1, b"\0" * 4),), SIZE),
    "6.4 RST_STREAM on stream 0": ((rst(0),), PROTOCOL),
    "6.4 RST_STREAM of a wrong size": ((OPEN + frame(h2.RST, 0, 1, b"\0" * 3),), SIZE),
    "6.5 acknowledgement with payload": ((frame(h2.SETTINGS, h2.ACK, 0, b"\0" * 6),), SIZE),
    "6.5 SETTINGS on a stream": ((frame(h2.SETTINGS, 0, 1, b""),), PROTOCOL),
    "6.5 SETTINGS of a wrong size": ((frame(h2.SETTINGS, 0, 0, b"\0" * 3),), SIZE),
    "6.5.2 ENABLE_PUSH 2": ((settings(ENABLE_PUSH=2),), PROTOCOL),
    "6.5.2 INITIAL_WINDOW_SIZE": ((settings(INITIAL_WINDOW=BIG + 1),), FLOW),
    "6.5.2 MAX_FRAME_SIZE below": ((settings(MAX_FRAME=16383),), PROTOCOL),
    "6.5.2 MAX_FRAME_SIZE above": ((settings(MAX_FRAME=1 << 24),), PROTOCOL),
    "6.7 PING on a stream": ((frame(h2.PING, 0, 1, b"12345678"),), PROTOCOL),
    "6.7 PING of 6": ((frame(h2.PING, 0, 0, b"123456"),), SIZE),
    "6.7 PING of 9": ((frame(h2.PING, 0, 0, b"123456789"),), SIZE),
    "6.8 GOAWAY on a stream": ((frame(h2.GOAWAY, 0, 1, b"\0" * 8),), PROTOCOL),
    "6.8 GOAWAY too short": ((frame(h2.GOAWAY, 0, 0, b"\0" * 7),), SIZE),
    "6.9 by 0": ((window(0, 0),), PROTOCOL),
    "6.9 WINDOW_UPDATE of a wrong size": ((frame(h2.WINDOW, 0, 0, b"\0\0\1"),), SIZE),
    "6.9.1 the connection's window overflows": ((window(0, BIG) + window(0, BIG),), FLOW),
    "6.10 CONTINUATION without a block": ((OPEN + data(flags=0) + more(),), PROTOCOL),
    "6.10 CONTINUATION behind the end": ((ONE + more(),), PROTOCOL | CLOSED),
    "6.10 CONTINUATION behind the last": ((heads(flags=1, block=G[:9]) + more(block=G[9:]) + more(),), PROTOCOL | CLOSED),
    "6.10 CONTINUATION on stream 0": ((heads(flags=1, block=G[:9]) + more(0, block=G[9:]),), PROTOCOL),
    "6.10 CONTINUATION of another stream": ((heads(flags=1, block=G[:9]) + more(3, block=G[9:]),), PROTOCOL),
    "8.4 PUSH_PROMISE": ((frame(h2.PUSH, 4, 1, b"\0\0\0\2" + G),), PROTOCOL),
    "hpack 2.3.3 index behind the tables": ((heads(block=G + b"\xc6"),), COMPRESSION),
    "hpack 2.3.3 name behind the tables": ((heads(block=G + b"\x7f\x07\1a"),), COMPRESSION),
    "hpack 4.2 table size at the end": ((heads(block=G + b"\x20"),), COMPRESSION),
    "hpack 5.2 padding of a whole byte": ((heads(block=G + b"\0\1a\x82\x1f\xff"),), COMPRESSION),
    "hpack 5.2 padding of zeros": ((heads(block=G + b"\0\1a\x81\x18"),), COMPRESSION),
    "hpack 5.2 EOS": ((heads(block=G + b"\0\1a\x84\xff\xff\xff\xff"),), COMPRESSION),
    "hpack 6.1 index 0": ((heads(block=G + b"\x80"),), COMPRESSION),
    "hpack 6.3 table size above the setting": ((heads(block=b"\x3f\xe2\x1f" + G),), COMPRESSION),
}

# Errors of stream 1, after which the connection goes on; RFC 9113 5.4 lets an endpoint end it instead.
MALFORMED = {
    "5.1 DATA on a half closed stream": (ONE + data(), CLOSED),
    "5.3.1 HEADERS on themselves": (heads(flags=0x25, block=struct.pack(">IB", 1, 15) + G), PROTOCOL),
    "5.3.1 PRIORITY on itself": (OPEN + priority(1, on=1), PROTOCOL),
    "6.9 a stream's window by 0": (OPEN + window(1, 0), PROTOCOL),
    "6.9.1 a stream's window overflows": (OPEN + window(1, BIG) + window(1, BIG), FLOW),
    # 6.9.2 wants the connection to end; nghttp2 ends the stream.
    "6.9.2 a setting makes a stream's window overflow": (OPEN + window(1, BIG - (1 << 20)) + settings(INITIAL_WINDOW=BIG), FLOW),
    "8.1 trailers without END_STREAM": (OPEN + data(flags=0) + heads(block=raw_block((b"a", b"b")), flags=4), PROTOCOL),
    "8.1 pseudo-header field in trailers": (OPEN + data(flags=0) + heads(block=raw_block((b":path", b"/"))), PROTOCOL),
    "8.1.1 content-length and less": (heads(block=POST + raw_block((b"content-length", b"2")), flags=4) + data(), PROTOCOL),
    "8.1.1 content-length and more": (heads(block=POST + raw_block((b"content-length", b"1")), flags=4) + data(b"xx"), PROTOCOL),
    "8.1.1 content-length and nothing": (heads(block=POST + raw_block((b"content-length", b"1"))), PROTOCOL),
    "8.2.1 capitals": (heads(block=G + raw_block((b"X-Test", b"1"))), PROTOCOL),
    "8.2.2 connection": (heads(block=G + raw_block((b"connection", b"keep-alive"))), PROTOCOL),
    "8.2.2 transfer-encoding": (heads(block=G + raw_block((b"transfer-encoding", b"chunked"))), PROTOCOL),
    "8.2.2 te": (heads(block=G + raw_block((b"te", b"trailers, deflate;q=0.5"))), PROTOCOL),
    "8.3 unknown": (heads(block=raw_block((b":test", b"1")) + G), PROTOCOL),
    "8.3 of answers": (heads(block=raw_block((b":status", b"200")) + G), PROTOCOL),
    "8.3 behind a field": (heads(block=raw_block(*GET[:3], (b"a", b"b"), *GET[3:])), PROTOCOL),
    "8.3.1 :path empty": (heads(block=swap(b":path", b"")), PROTOCOL),
    **{"8.3.1 no %s" % n.decode(): (heads(block=raw_block(*(f for f in GET if f[0] != n))), PROTOCOL)
       for n in (b":method", b":scheme", b":path")},
    **{"8.3.1 two %s" % n.decode(): (heads(block=raw_block(*GET, *(f for f in GET if f[0] == n))), PROTOCOL)
       for n in (b":method", b":scheme", b":path")},
}


def play(c, steps):
    for step in steps:
        if step is ANSWER:
            assert c.response(1).status == 200
        else:
            c.send(step)


@pytest.mark.parametrize("case", TAKEN)
def test_taken(connect, case):
    steps, stream = TAKEN[case]
    with connect() as c:
        play(c, steps)
        r = c.response(stream)
        assert r.status == 200 and r.ended and r.reset is None, r
        if "GOAWAY" not in case:
            c.ping()
        assert not c.goaways and c.acked >= 1


@pytest.mark.parametrize("case", BROKEN)
def test_broken(connect, origin, case):
    steps, codes = BROKEN[case]
    with connect() as c:
        if ANSWER not in steps:
            origin.script(lambda conn, r: (conn.drain(), False)[1])  # nothing is closed by an answer
        play(c, steps)
        assert c.ended() in codes
    origin.script(lambda conn, r: conn.send(OK))
    with connect() as c:
        assert c.fetch().status == 200


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(connect, origin, case):
    steps, codes = MALFORMED[case]
    origin.script(lambda conn, r: (conn.drain(), False)[1])
    with connect() as c:
        c.send(steps)
        st = c.streams.setdefault(1, h2.Stream())
        c.until(lambda: st.reset is not None or c.goaways)
        assert st.status == 0 and (c.goaways[-1][1] if st.reset is None else st.reset) in codes
        if st.reset is not None:
            c.ping()
    assert not any(r.complete for r in origin.requests if "8." in case), origin.requests


@pytest.mark.parametrize("preface", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", b"INVALID CONNECTION PREFACE\r\n\r\n", h2.PREFACE + PING])
def test_preface(connect, origin, preface):
    with connect(preface=False) as c:
        c.send(preface)
        while c.more():  # over TLS the protocol is agreed on; in clear it may also be no HTTP/2 at all
            pass
    assert not origin.requests


def test_settings_in_order(connect, origin):
    """The last value counts, in one frame and in several; each frame is acknowledged."""
    origin.script(lambda conn, r: conn.send(reply(b"12345")))
    with connect() as c:
        c.refill = False
        two = struct.pack(">HIHI", h2.INITIAL_WINDOW, 100, h2.INITIAL_WINDOW, 1)
        c.send(frame(h2.SETTINGS, 0, 0, two) + settings() + ONE)
        st = c.streams.setdefault(1, h2.Stream())
        c.until(lambda: st.body)
        c.ping()
        assert st.body == b"1" and not st.ended and c.acked == 3
        c.window(1, 4)
        assert c.response(1).body == b"12345"


def test_window_that_a_setting_opens(connect, origin):
    origin.script(lambda conn, r: conn.send(reply(b"12345")))
    with connect(window=0) as c:
        c.refill = False
        c.send(ONE)
        st = c.streams.setdefault(1, h2.Stream())
        c.until(lambda: st.status)
        c.ping()
        assert not st.body
        c.send(settings(INITIAL_WINDOW=1))
        c.until(lambda: st.body)
        c.ping()
        assert st.body == b"1"
        c.send(settings(INITIAL_WINDOW=5))
        assert c.response(1).body == b"12345"


def test_window_below_zero(connect, origin):
    """A setting takes more away than is left; what is given then counts from there (6.9.2)."""
    origin.script(lambda conn, r: conn.send(reply(b"1234567890")))
    with connect(window=4) as c:
        c.refill = False
        c.send(ONE)
        st = c.streams.setdefault(1, h2.Stream())
        c.until(lambda: len(st.body) == 4)
        c.send(settings(INITIAL_WINDOW=1)).window(1, 2)  # 4 sent, 1 + 2 given: one below zero
        c.ping()
        assert len(st.body) == 4
        c.window(1, 2)
        c.until(lambda: len(st.body) > 4)
        c.ping()
        assert len(st.body) == 5 and not st.ended
        c.window(1, 5)
        assert c.response(1).body == b"1234567890"
