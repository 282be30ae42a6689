"""The HTTP/2 rows of the hostile-input table, T1 to T18, each by its id: what the client sees, and what reached the
server."""

import random
import struct
import time

import pytest

from harness import h2
from harness.door import Door, cluster, route
from harness.h2 import H2, frame, request
from harness.net import SLOW, Client, build, poll
from harness.origin import OK, reply


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin):
    d = Door(
        tmp_path_factory.mktemp("trows"),
        listeners={
            "web": {},
            "low": {"h2": {"max_resets": 20, "reset_rate": 0, "max_control": 50, "control_rate": 0,
                           "max_streams": 10, "max_continuations": 3}},
            "queue": {"h2": {"max_queued_frames": 20}},
            "quick": {"client_header_timeout": "400ms", "client_write_timeout": "800ms", "h2": {"min_rate": "10k"}},
        },
        clusters=[cluster("o", origin.address, retries=0)],
        routes=[route("*", "o")],
    ).start()
    yield d
    d.stop()


def raw_block(*fields):
    """Literal fields without indexing, as the bytes are: HPACK itself would refuse or repair some."""
    out = b""
    for name, value in fields:
        out += b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value
    return out


def integer(n, bits):
    limit = (1 << bits) - 1
    if n < limit:
        return bytes([n])
    out, n = bytes([limit]), n - limit
    while n >= 128:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"web.test")]


def refused(c, block, origin, flags=5, before=0):
    """A stream error, nothing forwarded, and the connection goes on."""
    s = c.stream()
    c.frame(h2.HEADERS, flags, s, block)
    r = c.response(s)
    assert r.reset == h2.PROTOCOL_ERROR and r.status == 0, r
    assert len(origin.requests) == before, origin.requests
    return s


def is_well(port):
    with H2(port) as c:
        return c.fetch().status == 200


# ---- T1, T2: resets ----


def test_T1_rapid_reset(door, origin):
    """Streams opened and reset at once: the budget, then ENHANCE_YOUR_CALM. The work behind ends with each reset."""
    origin.script(lambda conn, r: (conn.drain(), False)[1])
    with H2(door.ports["low"]) as c:
        for _ in range(100):
            s = c.get()
            if not c.send_quietly(frame(h2.RST, 0, s, struct.pack(">I", h2.CANCEL))):
                break
        assert c.ended() in (h2.ENHANCE_YOUR_CALM, "reset")
    assert len(origin.requests) <= 21
    poll(lambda: door.cluster("o")["serving"] == 0, 5, "all cancelled")
    origin.clear()
    assert is_well(door.ports["low"])


def test_T1_the_budget_is_exact_and_honest_work_refills_it(door, origin):
    with H2(door.ports["low"]) as c:
        for _ in range(60):  # three times the budget, but as many good ones
            assert c.fetch().status == 200
            c.reset(c.headers(request("POST"), end=False))
        for _ in range(20):
            c.ping() if _ % 5 == 0 else None
            c.reset(c.headers(request("POST"), end=False))
    with H2(door.ports["low"]) as c:
        for i in range(20):
            c.reset(c.headers(request("POST"), end=False))
        c.ping()
        assert not c.goaways  # at the limit
        c.reset(c.headers(request("POST"), end=False))
        assert c.ended() == h2.ENHANCE_YOUR_CALM  # above it


def provoke_window(c, s):
    c.window(s, 0x7FFFFFFF)  # RFC 9113 6.9.1: above 2^31-1 is a stream error


def provoke_malformed(c, s):
    c.frame(h2.HEADERS, 4, s, b"\x82")  # a second head that is no trailer section


@pytest.mark.parametrize("provoke", [provoke_window, provoke_malformed])
def test_T2_made_you_reset(door, origin, provoke):
    """Our own resets for the client's faults count like the client's, and cancel the work behind."""
    origin.script(lambda conn, r: (conn.drain(), False)[1], early=True)
    with H2(door.ports["low"]) as c:
        count = 0
        try:
            while count < 100 and not c.goaways:
                s = c.headers(request("POST"), end=False)
                provoke(c, s)
                c.until(lambda: c.goaways or (s in c.streams and c.streams[s].reset is not None))
                count += 1
        except (OSError, AssertionError):
            pass
        assert c.ended() in (h2.ENHANCE_YOUR_CALM, "reset") or c.goaways[-1][1] == h2.ENHANCE_YOUR_CALM
        assert 20 <= count <= 22
    poll(lambda: door.cluster("o")["serving"] == 0, 5, "all cancelled")


@pytest.mark.parametrize("take_back", [(h2.RST, struct.pack(">I", h2.CANCEL)), (h2.WINDOW, b"\x7f\xff\xff\xff")], ids=["reset", "made-you-reset"])
def test_T1_what_is_taken_back_at_once_is_asked_of_no_server(door, origin, take_back):
    """Ten requests that are over before their bytes are read to the end; the eleventh of the same write is answered."""
    kind, payload = take_back
    with H2(door.port) as c:
        assert c.fetch("/first").status == 200
        text = b""
        for _ in range(10):
            s = c.stream()
            text += frame(h2.HEADERS, 5, s, raw_block(*GET[:2], (b":path", b"/back"), GET[3])) + frame(kind, 0, s, payload)
        s = c.stream()
        c.send(text + frame(h2.HEADERS, 5, s, raw_block(*GET[:2], (b":path", b"/last"), GET[3])))
        assert c.response(s).status == 200
        assert c.fetch("/then").status == 200
    assert [r.target for r in origin.requests if r.target != "/"] == ["/first", "/last", "/then"]  # "/": late, of the test before
    poll(lambda: door.status()["quiet"] is True, 5, "nothing is in flight")


# ---- T3, T4: heads ----


def test_T3_continuation_flood(door, origin):
    for count, well in ((3, True), (4, False)):
        with H2(door.ports["low"]) as c:
            block = raw_block(*GET)
            s = c.stream()
            c.frame(h2.HEADERS, 1, s, block)
            for i in range(count):
                c.send_quietly(frame(h2.CONTINUATION, 4 if well and i == count - 1 else 0, s, b""))
            if well:
                assert c.response(s).status == 200
            else:
                assert c.ended() == h2.ENHANCE_YOUR_CALM
    assert [r.method for r in origin.requests].count("GET") == 1  # a POST may be late from the test before


def test_T3_a_block_that_never_ends(door, origin):
    """The time limit is for the whole head; more frames do not prolong it."""
    with H2(door.ports["quick"]) as c:
        c.ping()
        begin = time.monotonic()
        c.frame(h2.HEADERS, 1, 1, raw_block(*GET))
        for _ in range(5):
            time.sleep(0.1)
            c.send_quietly(frame(h2.CONTINUATION, 0, 1, b""))
        assert c.ended() in (h2.ENHANCE_YOUR_CALM, "reset")
        assert time.monotonic() - begin < 6 * SLOW
    assert not origin.requests


def test_T4_hpack_bomb(door, origin):
    """One entry of 4 KB in the table, named thousands of times by one byte each."""
    with H2(door.port) as c:
        c.ping()
        before = door.rss()
        entry = b"\x40" + integer(1, 7) + b"x" + integer(3900, 7) + b"v" * 3900
        block = raw_block(*GET) + entry + b"\xbe" * 10000
        c.frame(h2.HEADERS, 5, 1, block)
        assert c.ended() == h2.ENHANCE_YOUR_CALM
        assert door.rss() - before < 4 << 20
    assert not origin.requests and is_well(door.port)


@pytest.mark.parametrize("name", [b"x", b"cookie"])
def test_T4_fields_are_counted_after_decoding(door, origin, name):
    """100 of them, the authority among them; crumbs are fields, too."""
    with H2(door.port) as c:
        for count, status in ((99, 200), (100, 431), (101, 431)):
            s = c.stream()
            c.frame(h2.HEADERS, 5, s, raw_block(*GET, *[(name, b"v")] * count))
            assert c.response(s).status == status
    assert len(origin.requests) == 1


def test_T4_bytes_are_counted_after_decoding(door, origin):
    """By one-byte references: 32 KB with 32 for each field."""
    with H2(door.port) as c:
        for count, status in ((7, 200), (8, 431)):
            s = c.stream()
            c.frame(h2.HEADERS, 5, s, raw_block(*GET) + b"\x40" + integer(1, 7) + b"x" + integer(3967, 7) + b"v" * 3967 + b"\xbe" * count)
            assert c.response(s).status == (status if count < 8 else 431)
    assert len(origin.requests) == 1


def test_T4_trailers_have_the_same_limits(door, origin):
    origin.script(lambda conn, r: (r.read_body(), conn.send(OK))[1], early=True)
    with H2(door.port) as c:
        for count in (100, 101):
            s = c.headers(request("POST"), end=False)
            c.data(s, b"abc")
            c.frame(h2.HEADERS, 5, s, raw_block(*[(b"x", b"v")] * count))
            r = c.response(s)
            assert r.status == 200 if count == 100 else r.reset == h2.PROTOCOL_ERROR
    done, *cut = [r.complete for r in origin.requests]
    assert done and not any(cut)  # the second may be gone before a server hears of it


# ---- T5, T6, T17: floods and stalls ----


def flood_data(c):
    s = c.headers(request("POST"), end=False)
    return frame(h2.DATA, 0, s, b"")


FLOODS = {
    "ping": lambda c: frame(h2.PING, 0, 0, b"12345678"),
    "settings": lambda c: frame(h2.SETTINGS),
    "priority": lambda c: frame(h2.PRIORITY, 0, 7, struct.pack(">IB", 0, 1)),
    "priority_update": lambda c: frame(h2.PRIORITY_UPDATE, 0, 0, struct.pack(">I", 7) + b"u=1"),
    "window": lambda c: frame(h2.WINDOW, 0, 0, struct.pack(">I", 1)),
    "unknown": lambda c: frame(0xBB, 0, 0, b"x"),
    "data": flood_data,
    "padding": lambda c: frame(h2.DATA, h2.PADDED, c.headers(request("POST"), end=False), b"\x07" + b"\0" * 7),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_T5_frames_that_carry_nothing(door, origin, kind):
    origin.script(lambda conn, r: conn.drain(), early=True)
    with H2(door.ports["low"]) as c:
        one = FLOODS[kind](c)
        for _ in range(40):
            c.send(one)
        seen = len(c.pongs)
        c.ping(b"the last")
        assert not c.goaways and len(c.pongs) > seen
        for _ in range(40):
            c.send_quietly(one)
        assert c.ended() in (h2.ENHANCE_YOUR_CALM, "reset")
    origin.clear()
    assert is_well(door.ports["low"])


def test_T5_window_updates_of_an_honest_download_are_free(door, origin):
    """One for every frame that came, many more than the budget."""
    big = b"z" * 3000000
    origin.script(lambda conn, r: conn.send(reply(big)))
    with H2(door.ports["low"], window=16384) as c:
        assert c.fetch().body == big


def test_T6_zero_window(door, origin):
    """The answer is given up and the server's connection with it; the connection lives."""
    origin.script(lambda conn, r: conn.send(reply(b"x" * 3000000 if r.target == "/big" else b"")))
    with H2(door.ports["quick"], window=0) as c:
        r = c.response(c.get("/big"))
        assert r.reset == h2.CANCEL and r.body == b""
        assert c.fetch().status == 200


def test_T6_tiny_windows(door, origin):
    """A byte now and then is no progress."""
    origin.script(lambda conn, r: conn.send(reply(b"x" * 3000000)))
    with H2(door.ports["quick"], window=0) as c:
        c.refill = False
        s = c.get("/big")
        c.sock.settimeout(0.05)
        end = time.monotonic() + 8 * SLOW
        while (s not in c.streams or c.streams[s].reset is None) and time.monotonic() < end:
            c.window(s, 1)
            time.sleep(0.02)  # the attack's own pace
            try:
                c.step()
            except TimeoutError:
                pass
        assert c.streams[s].reset == h2.CANCEL
        assert 0 < len(c.streams[s].body) < 10000


def test_T6_a_client_that_does_not_read(door, origin):
    """The socket itself is full: the connection goes after client_write_timeout."""
    origin.script(lambda conn, r: conn.send(reply(b"x" * 3000000)))
    with H2(door.ports["quick"], window=(1 << 31) - 1, rcvbuf=4096) as c:
        for _ in range(10):
            c.get("/big")
        origin.wait(1)
        poll(lambda: door.cluster("o")["serving"] + door.cluster("o")["finishing"] == 0, 8, "given up")


def test_T17_queued_answers(door, origin):
    """Acknowledgements for a client that reads nothing."""
    origin.script(lambda conn, r: conn.send(reply(b"x" * 6000000)))
    with H2(door.ports["queue"], window=(1 << 31) - 1, rcvbuf=4096) as c:
        c.get("/big")
        time.sleep(0.3)  # nothing shows from outside that the socket is full
        for _ in range(200):
            if not c.send_quietly(frame(h2.PING, 0, 0, b"12345678")):
                break
        assert c.ended() in (h2.ENHANCE_YOUR_CALM, "reset")


def test_T5_a_byte_a_frame(door, origin):
    """The server gets what came together in pieces that are worth a write."""
    origin.script(lambda conn, r: (r.read_body(), conn.send(reply(b"%d" % len(r.body))))[1], early=True)
    with H2(door.port) as c:
        s = c.headers(request("POST"), end=False)
        c.send(frame(h2.DATA, 0, s, b"x") * 5000 + frame(h2.DATA, 1, s, b"y"))
        assert c.response(s).body == b"5001"
    assert len(bytes(origin.conns[0].received)) < 5001 + 1500


# ---- T7 to T12: what a request may not be ----

T7 = [(b"X-Upper", b"v"), (b"a b", b"v"), (b"a:b", b"v"), (b"", b"v"), (b"a\r\nb", b"v"), (b"a\0", b"v"), (b"a\xff", b"v"),
      (b"a", b"x\r\ny: z"), (b"a", b"x\ny"), (b"a", b"x\ry"), (b"a", b"x\0y"), (b"a", b" x"), (b"a", b"x "), (b"a", b"x\t"),
      (b"a", b"\x01"), (b"a", b"\x7f")]


@pytest.mark.parametrize("field", T7)
def test_T7_what_would_split_a_head_of_http1(door, origin, field):
    with H2(door.port) as c:
        refused(c, raw_block(*GET, field), origin)
        assert c.response(c.headers(request())).status == 200


def swapped(name, value):
    return [(n, value if n == name else v) for n, v in GET]


T8 = {
    "path_space": swapped(b":path", b"/a b"), "path_ctl": swapped(b":path", b"/a\r\nX: y"), "path_none": swapped(b":path", b""),
    "path_relative": swapped(b":path", b"a"), "path_asterisk": swapped(b":path", b"*"), "path_fragment": swapped(b":path", b"/a#b"),
    "path_high": swapped(b":path", b"/\xff"), "method_space": swapped(b":method", b"GET /x HTTP/1.1\r\nA: b"),
    "method_empty": swapped(b":method", b""), "scheme": swapped(b":scheme", b"http://evil/"), "unknown": GET + [(b":x", b"y")],
    "status": GET + [(b":status", b"200")], "late": [(b"a", b"b")] + GET, "late_path": GET[:2] + [(b"a", b"b")] + GET[2:],
    "twice": GET + [(b":path", b"/")], "no_method": GET[1:], "no_scheme": GET[:1] + GET[2:], "no_path": GET[:2] + GET[3:],
}


@pytest.mark.parametrize("case", T8)
def test_T8_pseudo_header_fields(door, origin, case):
    with H2(door.port) as c:
        refused(c, raw_block(*T8[case]), origin)
        assert c.fetch().status == 200


@pytest.mark.parametrize("field", [(b"connection", b"x"), (b"connection", b"close"), (b"transfer-encoding", b"chunked"), (b"upgrade", b"h2c"),
                                   (b"keep-alive", b"5"), (b"proxy-connection", b"x"), (b"te", b"gzip"), (b"te", b"trailers, gzip")])
def test_T9_fields_of_one_connection(door, origin, field):
    with H2(door.port) as c:
        refused(c, raw_block(*GET, field), origin)
        assert c.fetch().status == 200


@pytest.mark.parametrize("length,body,trailers", [(b"5", b"abc", False), (b"5", b"abcdef", False), (b"5", b"", False), (b"0", b"a", False),
                                                  (b"5", b"abc", True)])
def test_T10_a_length_that_lies(door, origin, length, body, trailers):
    """The server never sees a complete request, and never bytes that could be another one."""
    origin.script(lambda conn, r: (conn.drain(), False)[1], early=True)
    with H2(door.port) as c:
        s = c.stream()
        c.frame(h2.HEADERS, 4, s, raw_block((b":method", b"POST"), *GET[1:], (b"content-length", length)))
        c.data(s, body, end=not trailers)
        if trailers:
            c.frame(h2.HEADERS, 5, s, raw_block((b"x", b"y")))
        assert c.response(s).reset == h2.PROTOCOL_ERROR
        poll(lambda: all(o.ended for o in origin.conns), 5, "the server's connection ended")
        assert all(len(r.conn.buf) <= int(length) for r in origin.requests)
        origin.clear()
        assert c.fetch().status == 200


@pytest.mark.parametrize("fields", [[(b"content-length", b"5")], [(b"content-length", b"x")], [(b"content-length", b"-1")],
                                    [(b"content-length", b"0"), (b"content-length", b"0")], [(b"content-length", b"0, 0")],
                                    [(b"content-length", b"99999999999999999999")], [(b"content-length", b"+0")]])
def test_T10_lengths_with_the_head(door, origin, fields):
    with H2(door.port) as c:
        refused(c, raw_block(*GET, *fields), origin)


@pytest.mark.parametrize("fields", [GET + [(b"host", b"evil.test")], GET + [(b"host", b"")], swapped(b":authority", b"user@web.test"),
                                    swapped(b":authority", b""), swapped(b":authority", b"a b"), swapped(b":authority", b"a/b"),
                                    swapped(b":authority", b"a,b"), GET[:3] + [(b"host", b"a"), (b"host", b"a")]])
def test_T11_authority_and_host(door, origin, fields):
    with H2(door.port) as c:
        refused(c, raw_block(*fields), origin)
        s = c.stream()
        c.frame(h2.HEADERS, 5, s, raw_block(*GET, (b"host", b"web.test")))
        assert c.response(s).status == 200
    assert origin.one().all("host") == ["web.test"]


def test_T11_host_alone_and_neither(door, origin):
    with H2(door.port) as c:
        s = c.stream()
        c.frame(h2.HEADERS, 5, s, raw_block(*GET[:3], (b"host", b"web.test")))
        assert c.response(s).status == 200
        refused(c, raw_block(*GET[:3]), origin, before=1)
    assert origin.one().get("host") == "web.test"


@pytest.mark.parametrize("fields,plain", [
    ([(b":method", b"CONNECT"), (b":authority", b"a:1"), (b":path", b"/"), (b":scheme", b"http")], False),
    ([(b":method", b"CONNECT"), (b":path", b"/")], False),
    ([(b":method", b"CONNECT"), (b":authority", b"a:1")], True),
    (GET + [(b":protocol", b"websocket")], False),
])
def test_T12_connect(door, origin, fields, plain):
    with H2(door.port) as c:
        if plain:
            s = c.stream()
            c.frame(h2.HEADERS, 5, s, raw_block(*fields))
            assert c.response(s).status == 405
        else:
            refused(c, raw_block(*fields), origin)
    assert not origin.requests


# ---- T13 to T16: frames out of order ----

POST = raw_block((b":method", b"POST"), *GET[1:])
ONE = frame(h2.HEADERS, 5, 1, raw_block(*GET))
OPEN = frame(h2.HEADERS, 4, 1, POST)
T13 = {  # RFC 9113 section: bytes, code
    "4.2 frame above the maximum": (frame(h2.DATA, 0, 1, b"x" * 16385), h2.FRAME_SIZE_ERROR),
    "5.1 DATA on an idle stream": (frame(h2.DATA, 1, 1, b"x"), h2.PROTOCOL_ERROR),
    "5.1 RST_STREAM on an idle stream": (frame(h2.RST, 0, 1, b"\0\0\0\0"), h2.PROTOCOL_ERROR),
    "5.1 WINDOW_UPDATE on an idle stream": (frame(h2.WINDOW, 0, 1, b"\0\0\0\1"), h2.PROTOCOL_ERROR),
    "5.1 CONTINUATION on an idle stream": (frame(h2.CONTINUATION, 4, 1, b""), h2.PROTOCOL_ERROR),
    "5.1 DATA after END_STREAM": (ONE + frame(h2.DATA, 1, 1, b"x"), h2.STREAM_CLOSED),
    "5.1 HEADERS after END_STREAM": (ONE + ONE, h2.STREAM_CLOSED),
    "5.1 DATA after RST_STREAM": (OPEN + frame(h2.RST, 0, 1, b"\0\0\0\x08") + frame(h2.DATA, 1, 1, b"x"), h2.STREAM_CLOSED),
    "5.1 HEADERS after RST_STREAM": (OPEN + frame(h2.RST, 0, 1, b"\0\0\0\x08") + ONE, h2.STREAM_CLOSED),
    "5.1.1 even stream": (frame(h2.HEADERS, 5, 2, raw_block(*GET)), h2.PROTOCOL_ERROR),
    "5.1.1 smaller stream": (frame(h2.HEADERS, 5, 5, raw_block(*GET)) + frame(h2.HEADERS, 5, 3, raw_block(*GET)), h2.PROTOCOL_ERROR),
    "6.1 DATA on stream 0": (frame(h2.DATA, 0, 0, b"x"), h2.PROTOCOL_ERROR),
    "6.1 padding longer than the frame": (OPEN + frame(h2.DATA, 8, 1, b"\x05x"), h2.PROTOCOL_ERROR),
    "6.2 HEADERS on stream 0": (frame(h2.HEADERS, 5, 0, raw_block(*GET)), h2.PROTOCOL_ERROR),
    "6.2 padding longer than the frame": (frame(h2.HEADERS, 13, 1, b"\xff" + raw_block(*GET)), h2.PROTOCOL_ERROR),
    "6.2 another frame inside a block": (frame(h2.HEADERS, 1, 1, raw_block(*GET)) + frame(h2.PING, 0, 0, b"12345678"), h2.PROTOCOL_ERROR),
    "6.2 another stream inside a block": (frame(h2.HEADERS, 1, 1, raw_block(*GET)) + frame(h2.CONTINUATION, 4, 3, b""), h2.PROTOCOL_ERROR),
    "5.3.1 HEADERS that depend on themselves": (frame(h2.HEADERS, 0x25, 1, struct.pack(">IB", 1, 9) + raw_block(*GET)), h2.PROTOCOL_ERROR),
    "5.3.1 PRIORITY that depends on itself": (frame(h2.PRIORITY, 0, 3, struct.pack(">IB", 3, 1)), h2.PROTOCOL_ERROR),
    "6.3 PRIORITY on stream 0": (frame(h2.PRIORITY, 0, 0, b"\0\0\0\0\0"), h2.PROTOCOL_ERROR),
    "6.4 RST_STREAM on stream 0": (frame(h2.RST, 0, 0, b"\0\0\0\0"), h2.PROTOCOL_ERROR),
    "6.4 RST_STREAM of a wrong size": (OPEN + frame(h2.RST, 0, 1, b"\0\0\0"), h2.FRAME_SIZE_ERROR),
    "6.5 SETTINGS on a stream": (frame(h2.SETTINGS, 0, 1, b""), h2.PROTOCOL_ERROR),
    "6.5 SETTINGS of a wrong size": (frame(h2.SETTINGS, 0, 0, b"\0\0\0"), h2.FRAME_SIZE_ERROR),
    "6.5 SETTINGS ACK with payload": (frame(h2.SETTINGS, 1, 0, b"\0" * 6), h2.FRAME_SIZE_ERROR),
    "6.5.2 ENABLE_PUSH 2": (frame(h2.SETTINGS, 0, 0, h2.settings({h2.ENABLE_PUSH: 2})), h2.PROTOCOL_ERROR),
    "6.5.2 INITIAL_WINDOW_SIZE above 2^31-1": (frame(h2.SETTINGS, 0, 0, h2.settings({h2.INITIAL_WINDOW: 1 << 31})), h2.FLOW_CONTROL_ERROR),
    "6.5.2 MAX_FRAME_SIZE below 16384": (frame(h2.SETTINGS, 0, 0, h2.settings({h2.MAX_FRAME: 16383})), h2.PROTOCOL_ERROR),
    "6.5.2 MAX_FRAME_SIZE above 2^24-1": (frame(h2.SETTINGS, 0, 0, h2.settings({h2.MAX_FRAME: 1 << 24})), h2.PROTOCOL_ERROR),
    "6.7 PING on a stream": (frame(h2.PING, 0, 1, b"12345678"), h2.PROTOCOL_ERROR),
    "6.7 PING of a wrong size": (frame(h2.PING, 0, 0, b"1234567"), h2.FRAME_SIZE_ERROR),
    "6.8 GOAWAY on a stream": (frame(h2.GOAWAY, 0, 1, b"\0" * 8), h2.PROTOCOL_ERROR),
    "6.9 WINDOW_UPDATE of 0": (frame(h2.WINDOW, 0, 0, b"\0\0\0\0"), h2.PROTOCOL_ERROR),
    "6.9 WINDOW_UPDATE of a wrong size": (frame(h2.WINDOW, 0, 0, b"\0\0\1"), h2.FRAME_SIZE_ERROR),
    "6.9.1 window above 2^31-1": (frame(h2.WINDOW, 0, 0, b"\x7f\xff\xff\xff"), h2.FLOW_CONTROL_ERROR),
    "6.10 CONTINUATION after the end": (ONE + frame(h2.CONTINUATION, 4, 1, b""), h2.PROTOCOL_ERROR),
    "6.10 CONTINUATION on stream 0": (frame(h2.HEADERS, 1, 1, b"\x82") + frame(h2.CONTINUATION, 4, 0, b""), h2.PROTOCOL_ERROR),
    "8.4 PUSH_PROMISE": (frame(h2.PUSH, 4, 1, b"\0\0\0\2" + raw_block(*GET)), h2.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("case", T13)
def test_T13_connection_errors(door, origin, case):
    data, code = T13[case]
    with H2(door.port) as c:
        c.send(data)
        assert c.ended() == code
    assert is_well(door.port)


def test_T13_a_bad_preface(door, origin):
    with H2(door.port, preface=False) as c:
        c.send(h2.PREFACE + frame(h2.PING, 0, 0, b"12345678"))  # RFC 9113 3.4: SETTINGS comes first
        assert c.ended() == h2.PROTOCOL_ERROR


@pytest.mark.parametrize("more", [frame(h2.DATA, 1, 1, b"x"), frame(h2.HEADERS, 5, 1, raw_block((b"x", b"y")))])
def test_T13_frames_on_a_half_closed_stream(door, origin, more):
    """RFC 9113 5.1: STREAM_CLOSED, on the stream or the connection; the request is answered at most once."""
    origin.script(lambda conn, r: (time.sleep(0.2), conn.send(OK))[1])
    with H2(door.port) as c:
        c.send(ONE + more)
        c.until(lambda: c.goaways or (1 in c.streams and (c.streams[1].reset is not None or c.streams[1].ended)))
        code = c.goaways[-1][1] if c.goaways else c.streams[1].reset
        assert code == h2.STREAM_CLOSED
    assert len(origin.requests) <= 1


def test_T13_too_many_streams(door, origin):
    """RFC 9113 5.1.2"""
    origin.script(lambda conn, r: (conn.drain(), False)[1])
    with H2(door.ports["low"]) as c:
        c.ping()
        assert c.theirs[h2.MAX_STREAMS] == 10
        streams = [c.get() for _ in range(11)]
        c.until(lambda: c.goaways or (streams[10] in c.streams and c.streams[streams[10]].reset is not None))
        code = c.goaways[-1][1] if c.goaways else c.streams[streams[10]].reset
        assert code in (h2.REFUSED_STREAM, h2.PROTOCOL_ERROR)
        assert len(origin.requests) <= 10


def test_T14_no_push_and_priorities(door, origin):
    with H2(door.port) as c:
        c.frame(h2.PRIORITY, 0, 1, struct.pack(">IB", 7, 5))
        c.send(frame(h2.PRIORITY_UPDATE, 0, 0, struct.pack(">I", 3) + b"u=0, i"))
        assert c.response(c.headers(request(), flags=0)).status == 200
        assert c.theirs.get(h2.ENABLE_PUSH, 0) == 0
        s = c.stream()
        c.frame(h2.HEADERS, 5 | h2.HAS_PRIORITY, s, struct.pack(">IB", 0, 9) + raw_block(*GET))
        assert c.response(s).status == 200


T15 = {
    "index 0": b"\x80", "index behind the table": b"\xff\x7f", "huge integer": b"\xff" + b"\xff" * 20 + b"\x01",
    "table size above the setting": b"\x3f\xe2\x1f", "table size not first": raw_block(*GET) + b"\x20",
    "huffman with EOS": b"\x00\x85\xff\xff\xff\xff\xff\x01y", "huffman padding of more than 7 bits": b"\x00\x82\x1f\xff\x01y",
    "string longer than the block": b"\x00\x7f\x80\x80\x01x",
}


@pytest.mark.parametrize("case", T15)
def test_T15_hpack(door, origin, case):
    """RFC 7541 4.2, 5.1, 5.2, 6.1, 6.3"""
    with H2(door.port) as c:
        c.frame(h2.HEADERS, 5, 1, T15[case])
        assert c.ended() == h2.COMPRESSION_ERROR
    assert not origin.requests and is_well(door.port)


def test_T16_trailers_that_end_nothing(door, origin):
    origin.script(lambda conn, r: (conn.drain(), False)[1], early=True)
    with H2(door.port) as c:
        s = c.headers(request("POST"), end=False)
        c.data(s, b"abc")
        poll(lambda: origin.requests, 5, "at the server")
        c.frame(h2.HEADERS, 4, s, raw_block((b"x", b"y")))
        assert c.response(s).reset == h2.PROTOCOL_ERROR
        poll(lambda: origin.conns[-1].ended, 5, "the server's connection ended")
        origin.clear()
        assert c.fetch().status == 200
    assert all(r.complete for r in origin.requests)


def test_T18_anything_in_any_order(door, origin):
    """For the sanitizers: streams that end in every way at any moment."""
    dice = random.Random(7)

    def script(conn, r):
        body = reply(b"x" * 50000)
        at = hash(r.target) % 4
        conn.send(body[: [0, 20, 30000, len(body)][at]])
        return at == 3

    origin.script(script, early=True)
    for _ in range(12):
        c = H2(door.port, window=dice.choice([0, 100, 100000]))
        c.refill = dice.random() < 0.5
        open_streams = []
        for i in range(60):
            what = dice.randrange(6)
            if what <= 1:
                open_streams.append(c.headers(request("POST", "/%d" % dice.randrange(40)), end=dice.random() < 0.3))
            elif open_streams:
                s = dice.choice(open_streams)
                data = [frame(h2.DATA, 0, s, b"y" * 100), frame(h2.RST, 0, s, b"\0\0\0\x08"), frame(h2.WINDOW, 0, s, b"\0\0\x10\0"),
                        frame(h2.DATA, 1, s, b"end")][what - 2]
                if not c.send_quietly(data):
                    break
        c.abort() if dice.random() < 0.5 else c.close()
    poll(lambda: door.cluster("o")["serving"] == 0, 5, "nothing left")
    origin.clear()
    assert is_well(door.port)


def test_a_well_behaved_client_beside_them(door, origin):
    """While another connection resets as fast as it can, one that does not is served every time."""
    origin.script(lambda conn, r: conn.send(OK))
    with H2(door.port) as good:
        for _ in range(20):
            with H2(door.port) as bad:
                for _ in range(150):
                    s = bad.get()
                    if not bad.send_quietly(frame(h2.RST, 0, s, b"\0\0\0\x08")):
                        break
                assert good.fetch().status == 200
    with Client(door.port) as c:
        c.send(build())
        assert c.response().status == 200
