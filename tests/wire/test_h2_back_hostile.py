"""Servers that break HTTP/2 (RFC 9113, RFC 7541) or wear it out, rows H28 and T1 to T17 from behind. The client gets a whole
502, the server is cut off where the connection is at fault, and the next request finds a healthy connection."""

import struct

import pytest

from harness.door import Door, cluster, route
from harness.h2origin import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, H2Origin, HEADERS, PING,
                              PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, greet,
                              next_request, read_frame, settings)
from harness.net import Client, build, fetch, poll
from harness.origin import Gone

OK_HEAD = block((":status", "200"))


@pytest.fixture(scope="module")
def server():
    o = H2Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, server):
    d = Door(
        tmp_path_factory.mktemp("h2hostile"), workers=1,
        clusters=[cluster("one", server.address, protocol="h2", retries=0, eject_failures=0, response_timeout="3s",
                          max_response_header_size="8k", h2={"max_control_frames": 100})],
        routes=[route("*", "one")],
    ).start()
    yield d
    d.stop()


def serve(server, *frames, drain=True):
    """Each connection answers its first request by these bytes. What the proxy sends afterwards is collected."""
    seen = []

    def script(conn):
        greet(conn)
        stream = next_request(conn)
        try:
            for f in frames:
                conn.send(f(stream) if callable(f) else f)
            while drain:
                seen.append(read_frame(conn))
        finally:
            seen.append(conn.ended)

    server.raw(script)
    server.drop()
    poll(lambda: not server.living, 5, "old connections gone")
    return seen


def answer(seen):
    return [f for f in seen if isinstance(f, tuple)]


def reset_codes(seen):
    return [int.from_bytes(p, "big") for f in answer(seen) for kind, _, _, p in [f] if kind == RST_STREAM]


def goaway_codes(seen):
    return [struct.unpack(">II", p[:8])[1] for f in answer(seen) for kind, _, _, p in [f] if kind == GOAWAY]


def head(*fields, flags=END_HEADERS):
    return lambda s: frame(HEADERS, flags, s, block(*fields))


def healthy(door, server):
    server.raw(None)
    assert fetch(door.port, target="/healthy").status == 200
    assert server.requests[-1].target == "/healthy"


# ---- malformed answers: a stream error, and the client a 502 (RFC 9113 8.1.1) ----

MALFORMED = {
    "no_status": [head(("content-type", "a"))],
    "status_text": [head((":status", "OK!"))],
    "status_twice": [head((":status", "200"), (":status", "200"))],
    "status_late": [head(("a", "b"), (":status", "200"))],
    "request_pseudo": [head((":status", "200"), (":path", "/"))],
    "unknown_pseudo": [head((":status", "200"), (":x", "/"))],
    "101": [head((":status", "101"))],
    "upper_case": [head((":status", "200"), ("X-A", "b"))],
    "space_in_name": [head((":status", "200"), ("x a", "b"))],
    "line_end_in_value": [head((":status", "200"), ("x", "a\r\nset-cookie: b"))],
    "nul_in_value": [head((":status", "200"), ("x", "a\0b"))],
    "connection": [head((":status", "200"), ("connection", "close"))],
    "transfer_encoding": [head((":status", "200"), ("transfer-encoding", "chunked"))],
    "two_lengths": [head((":status", "200"), ("content-length", "1"), ("content-length", "2"))],
    "length_sign": [head((":status", "200"), ("content-length", "+1"))],
    "length_without_body": [head((":status", "200"), ("content-length", "1"), flags=END_HEADERS | END_STREAM)],
    "interim_that_ends": [head((":status", "103"), flags=END_HEADERS | END_STREAM)],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_T7_malformed_answer(door, server, name):
    seen = serve(server, *MALFORMED[name])
    assert fetch(door.port).status == 502
    poll(lambda: PROTOCOL_ERROR in reset_codes(seen), 5, "RST_STREAM PROTOCOL_ERROR; %r" % seen)
    healthy_again(door, server)


def healthy_again(door, server):
    server.drop()
    poll(lambda: not server.living, 5, "gone")
    healthy(door, server)


def test_T10_body_longer_than_its_length(door, server):
    serve(server, head((":status", "200"), ("content-length", "3")), lambda s: frame(DATA, END_STREAM, s, b"12345"))
    with Client(door.port) as c:
        c.send(build())
        assert c.head().status == 200
        assert len(c.rest()) < 5
    healthy_again(door, server)


def test_T10_body_shorter_than_its_length(door, server):
    serve(server, head((":status", "200"), ("content-length", "9")), lambda s: frame(DATA, END_STREAM, s, b"12345"))
    with Client(door.port) as c:
        c.send(build())
        assert c.head().status == 200
        assert c.rest() == b"12345"  # and then the end of the stream, four bytes early
    healthy_again(door, server)


def test_T16_trailers_that_do_not_end(door, server):
    seen = serve(server, head((":status", "200")), lambda s: frame(DATA, 0, s, b"12345"), head(("x", "y")))
    with Client(door.port) as c:
        c.send(build())
        assert c.head().status == 200
        rest = c.rest()
        assert rest.startswith(b"5\r\n12345") and b"\r\n0\r\n" not in rest
    poll(lambda: PROTOCOL_ERROR in reset_codes(seen), 5, "RST_STREAM")
    healthy_again(door, server)


# ---- the connection is at fault (RFC 9113 5.4.1) ----

BROKEN = {
    "T13_idle_stream": [lambda s: frame(HEADERS, END_HEADERS, s + 20, OK_HEAD)],
    "T13_even_stream": [lambda s: frame(HEADERS, END_HEADERS, 2, OK_HEAD)],
    "T13_stream_zero": [lambda s: frame(HEADERS, END_HEADERS, 0, OK_HEAD)],
    "T13_huge_frame": [lambda s: frame(DATA, 0, s, b"x" * 16385)],
    "T13_data_on_zero": [lambda s: frame(DATA, 0, 0, b"x")],
    "T13_padding": [lambda s: frame(HEADERS, END_HEADERS, s, OK_HEAD), lambda s: frame(DATA, 8, s, b"\xffx")],
    "T13_interleaved_head": [lambda s: frame(HEADERS, 0, s, OK_HEAD), frame(PING, 0, 0, b"12345678")],
    "T13_lone_continuation": [lambda s: frame(CONTINUATION, END_HEADERS, s, OK_HEAD)],
    "T13_ping_length": [frame(PING, 0, 0, b"123")],
    "T13_settings_length": [frame(SETTINGS, 0, 0, b"123")],
    "T13_settings_ack_with_payload": [frame(SETTINGS, ACK, 0, b"123456")],
    "T13_settings_on_a_stream": [lambda s: frame(SETTINGS, 0, s, b"")],
    "T13_settings_window": [settings((4, 1 << 31))],
    "T13_settings_frame_size": [settings((5, 100))],
    "T13_reset_of_an_idle_stream": [lambda s: frame(RST_STREAM, 0, s + 20, b"\0\0\0\0")],
    "T13_window_zero": [frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0")],
    "T13_window_overflow": [frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")],
    "T14_push": [lambda s: frame(PUSH_PROMISE, END_HEADERS, s, struct.pack(">I", 2) + block((":method", "GET"), (":path", "/")))],
    "T14_settings_push": [settings((2, 1))],
    "T15_index": [lambda s: frame(HEADERS, END_HEADERS, s, b"\xff\xff\xff\x0f")],
    "T15_huffman": [lambda s: frame(HEADERS, END_HEADERS, s, b"\x00\x84\xff\xff\xff\xff\x01a")],
    "T15_table_size": [lambda s: frame(HEADERS, END_HEADERS, s, b"\x3f\xe1\xff\x03" + OK_HEAD)],
    "T15_truncated": [lambda s: frame(HEADERS, END_HEADERS, s, b"\x00\x0aabc")],
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_connection(door, server, name):
    seen = serve(server, *BROKEN[name])
    with Client(door.port) as c:
        c.send(build())
        first = c.head()
        if first.status == 200:  # the fault came after a head
            c.rest()
        else:
            assert first.status == 502
    poll(lambda: seen and not isinstance(seen[-1], tuple), 5, "the proxy ends the connection: %r" % seen)
    assert all(code != 0 for code in goaway_codes(seen)), seen
    healthy(door, server)


def test_T13_first_frame_is_no_settings(door, server):
    def script(conn):
        conn.send(frame(PING, 0, 0, b"12345678"))
        conn.drain()

    server.raw(script)
    server.drop()
    poll(lambda: not server.living, 5, "gone")
    assert fetch(door.port, "POST", body=b"x").status == 502
    healthy(door, server)


def test_T13_data_beyond_the_window(door, server):
    """RFC 9113 6.9.1: a slow client lets the window run out, and a server that goes on all the same is cut off."""
    flood = [lambda s: frame(DATA, 0, s, b"x" * 16384)] * 600
    seen = serve(server, head((":status", "200")), *flood)
    with Client(door.port, rcvbuf=4096) as c:
        c.send(build())
        poll(lambda: seen and not isinstance(seen[-1], tuple) or 3 in reset_codes(seen) + goaway_codes(seen), 10, "FLOW_CONTROL_ERROR")
        c.reset()
    healthy_again(door, server)


# ---- floods ----


def cut_off(door, server, *frames, method="GET", body=None):
    """A server that sends this has its connection ended, before all of it was looked at."""
    before = door.rss()
    seen = serve(server, *frames)
    with Client(door.port, timeout=20) as c:
        c.send(build(method, body=body, headers=[("Connection", "close")]))
        answer = c.rest()
        assert not answer or answer[9:12] in (b"200", b"502"), answer
    poll(lambda: seen and not isinstance(seen[-1], tuple), 10, "the proxy ends the connection")
    assert door.rss() - before < 16 << 20
    healthy(door, server)


def test_T3_continuation_flood(door, server):
    """VU#421644"""
    one = block(("x-a", "b" * 100))
    cut_off(door, server, lambda s: frame(HEADERS, 0, s, OK_HEAD), lambda s: frame(CONTINUATION, 0, s, one) * 5000)


def test_T3_empty_continuations(door, server):
    cut_off(door, server, lambda s: frame(HEADERS, 0, s, OK_HEAD), lambda s: frame(CONTINUATION, 0, s, b"") * 5000)


def test_T4_many_fields(door, server):
    """More fields than any limit allows, all of them one byte on the wire."""
    first = b"\x40\x01a\x01b"
    seen = serve(server, lambda s: frame(HEADERS, END_HEADERS, s, OK_HEAD + first + b"\xbe" * 700))
    assert fetch(door.port).status == 502
    poll(lambda: reset_codes(seen), 5, "RST_STREAM")
    healthy_again(door, server)


def test_T4_bomb(door, server):
    """A field of 4000 bytes, named again by one byte each: decoding stops far before it is all out."""
    first = b"\x40\x01a\x7f" + bytes([0xA0 - 127 & 0x7F | 0x80, 0x1F - 1]) + b"v" * (127 + ((0xA0 - 127 & 0x7F) + ((0x1F - 1) << 7)))
    cut_off(door, server, lambda s: frame(HEADERS, END_HEADERS, s, OK_HEAD + first + b"\xbe" * 8000))


@pytest.mark.parametrize("over", [False, True])
def test_T4_head_limit(door, server, over):
    """Below and above max_response_header_size; the connection goes on either way."""
    value = "v" * (8192 - 32 - 42 - 200 + (400 if over else 0))
    server.script(lambda s: s.reply(headers=[("x", value)]))
    assert fetch(door.port).status == (502 if over else 200)
    server.script(None)
    assert fetch(door.port).status == 200
    assert len({s.conn for s in server.requests}) == 1


def test_T4_trailer_limit(door, server):
    server.script(lambda s: s.reply(b"body", trailers=[("x", "v" * 9000)]))
    with Client(door.port) as c:
        c.send(build())
        assert c.head().status == 200
        assert b"\r\n0\r\n" not in c.rest()
    server.script(None)
    assert fetch(door.port).status == 200


FLOODS = {
    "ping": frame(PING, 0, 0, b"12345678"),
    "ping_ack": frame(PING, ACK, 0, b"12345678"),
    "settings": settings((3, 100)),
    "empty_settings": frame(SETTINGS),
    "window_update": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "unknown_type": frame(0x77, 0, 0, b"x"),
    "goaway": frame(GOAWAY, 0, 0, struct.pack(">II", 2**31 - 1, 0)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_T5_flood(door, server, name):
    cut_off(door, server, FLOODS[name] * 20000)


STREAM_FLOODS = {
    "priority": lambda s: frame(PRIORITY, 0, s, b"\0\0\0\0\1"),
    "empty_data": lambda s: frame(DATA, 0, s, b""),
    "padding_alone": lambda s: frame(DATA, 8, s, b"\0"),
    "stream_window_update": lambda s: frame(WINDOW_UPDATE, 0, s, b"\0\0\0\1"),
    "resets": lambda s: frame(RST_STREAM, 0, s, b"\0\0\0\x02"),
}


@pytest.mark.parametrize("name", STREAM_FLOODS)
def test_T5_flood_on_a_stream(door, server, name):
    cut_off(door, server, head((":status", "200")), lambda s: STREAM_FLOODS[name](s) * 20000)


def test_T6_windows_byte_by_byte(door, server):
    """A window that is opened by one byte at a time makes us send crumbs; a body of 100 kB is not sent that way."""
    crumb = lambda s: (frame(WINDOW_UPDATE, 0, s, b"\0\0\0\1") + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")) * 20000

    def script(conn):
        greet(conn, (4, 0))
        stream = next_request(conn)
        conn.send(crumb(stream))
        conn.drain()

    server.raw(script)
    server.drop()
    poll(lambda: not server.living, 5, "gone")
    assert fetch(door.port, "POST", body=b"x" * 100000, timeout=20).status == 502
    healthy(door, server)


def test_T17_server_that_does_not_read(door, server):
    """Answers to its PINGs pile up only so far."""
    seen = serve(server, frame(PING, 0, 0, b"12345678") * 90, head((":status", "200"), flags=END_HEADERS | END_STREAM),
                 frame(PING, 0, 0, b"12345678") * 100000, drain=False)
    assert fetch(door.port).status in (200, 502)
    poll(lambda: seen, 10, "the proxy ends the connection")
    healthy(door, server)


def test_legitimate_server_is_not_cut_off(door, server):
    """T5's budget from below: many requests, windows, and a few PINGs on one connection."""
    server.script(lambda s: (s.conn.act(lambda c: c.ping(b"12345678")), s.reply(b"x" * 20000)))
    for _ in range(60):
        assert len(fetch(door.port, "POST", body=b"y" * 40000).body) == 20000
    assert len({s.conn for s in server.requests}) == 1
