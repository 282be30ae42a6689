"""HTTP/2 with clients (RFC 9113), an HTTP/1 server behind: both ends are looked at."""

import gzip
import os
import re
import subprocess
import threading
import time

import pytest

from harness import h2
from harness.door import SANITIZED, Door, cluster, route
from harness.h2 import H2, request
from harness.net import SLOW, fetch, poll
from harness.origin import OK, chunked, reply


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, fcgi):
    d = Door(
        tmp_path_factory.mktemp("h2"),
        listeners={
            "web": {"max_body_size": "8m"},
            "quick": {"client_idle_timeout": "300ms", "client_body_timeout": "400ms", "client_header_timeout": "400ms",
                      "client_write_timeout": "600ms"},
            "few": {"max_requests": 3},
            "off": {"h2": {"prior_knowledge": False}},
        },
        clusters=[cluster("o", origin.address, retries=1),
                  cluster("php", fcgi.address, protocol="fastcgi", fastcgi={"document_root": "/srv", "index": "index.php"}),
                  cluster("sticky", origin.address, sticky={"cookie": "at"}),
                  cluster("none", "127.0.0.1:9")],
        routes=[route("*", "o"), route("*", "php", "/php"), route("*", "sticky", "/sticky"), route("*", "none", "/none")],
        sticky_secret="0123456789abcdef0123456789abcdef",
    ).start()
    yield d
    d.stop()


def lines(door):
    with open(door.access) as f:
        return f.read().splitlines()


# ---- messages ----


def test_a_request_and_its_answer(door, origin):
    origin.script(lambda conn, r: conn.send(reply(b"hello", headers={"X-Up": "A b", "Connection": "x-gone", "X-Gone": "1"})))
    with H2(door.port) as c:
        r = c.fetch("/a/../b?c=d", headers=[("x-one", "1"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")])
        assert r.status == 200 and r.body == b"hello" and r.ended and r.reset is None
        assert r.get("x-up") == "A b" and r.get("content-length") == "5" and r.get("x-gone") is None and r.get("date")
    got = origin.one()
    assert (got.method, got.target, got.version) == ("GET", "/b?c=d", "HTTP/1.1")
    assert got.get("host") == "web.test" and got.get("x-one") == "1" and got.all("cookie") == ["a=1; b=2"]
    assert got.get("x-forwarded-for") == "127.0.0.1" and got.get("te") == "trailers" and got.framing == "none"
    assert got.get("via").startswith("2.0 ")
    poll(lambda: any('"GET /a/../b?c=d HTTP/2.0" 200 5' in line for line in lines(door)), 5, "access log")


def test_many_streams_answered_in_any_order(door, origin):
    """RFC 9113 5: the slowest does not hold up the others."""
    gate = threading.Event()

    def script(conn, r):
        if r.target == "/slow":
            gate.wait(10)
        conn.send(reply(r.target.encode()))

    origin.script(script)
    with H2(door.port) as c:
        slow = c.get("/slow")
        others = [c.get("/%d" % i) for i in range(40)]
        for i, s in enumerate(others):
            assert c.response(s).body == b"/%d" % i
        assert not c.streams.get(slow) or not c.streams[slow].ended
        gate.set()
        assert c.response(slow).body == b"/slow"
    assert len(origin.completed) == 41


@pytest.mark.parametrize("method,status,body", [("HEAD", "200 OK", b""), ("GET", "204 No Content", b""), ("GET", "304 Not Modified", b"")])
def test_answers_without_a_body(door, origin, method, status, body):
    head = "HTTP/1.1 %s\r\n%s\r\n" % (status, "Content-Length: 5\r\n" if method == "HEAD" else "")
    origin.script(lambda conn, r: conn.send(head.encode()))
    with H2(door.port) as c:
        r = c.response(c.headers(request(method)))
        assert r.status == int(status[:3]) and r.body == b"" and r.ended and r.frames == 0  # END_STREAM with the head
        assert r.get("content-length") == ("5" if method == "HEAD" else None)
        origin.clear()
        assert c.fetch().status == 200


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("size", [1, 16384, 16385, 300000])
def test_bodies_both_ways(door, origin, size, length):
    body = bytes(i * 7 & 255 for i in range(size))
    origin.script(lambda conn, r: conn.send(reply(r.body) if length else chunked(r.body)))
    with H2(door.port) as c:
        s = c.headers(request("POST", headers=[("content-length", str(size))] if length else []), end=False)
        r = c.upload(s, body).response(s)
        assert r.status == 200 and r.body == body and r.reset is None
        assert r.get("content-length") == (str(size) if length else None)
    got = origin.one()
    assert got.body == body and got.framing == ("length" if length else "chunked")


def test_trailers_both_ways(door, origin):
    """RFC 9113 8.1; forbidden ones stay behind (RFC 9110 6.5.1)."""
    origin.script(lambda conn, r: conn.send(chunked(b"hello", trailers=[(b"Grpc-Status", b"0"), (b"Content-Length", b"9")])))
    with H2(door.port) as c:
        s = c.headers(request("POST", headers=[("te", "trailers"), ("trailer", "x-sum")]), end=False)
        c.data(s, b"abc")
        c.headers([("x-sum", "7"), ("authorization", "x")], stream=s)
        r = c.response(s)
        assert r.body == b"hello" and r.trailers == [("grpc-status", "0")]
    got = origin.one()
    assert got.body == b"abc" and got.trailers == [("x-sum", "7")]


def test_trailers_alone(door, origin):
    origin.script(lambda conn, r: conn.send(chunked(trailers=[(b"Grpc-Status", b"5")])))
    with H2(door.port) as c:
        r = c.fetch()
        assert r.body == b"" and r.trailers == [("grpc-status", "5")] and r.ended


def test_interim_answers(door, origin):
    """RFC 9113 8.1: any number of 1xx before the final head; 100 only when asked for."""
    origin.script(lambda conn, r: conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK))
    with H2(door.port) as c:
        r = c.fetch()
        assert [i[0] for i in r.interim] == [103] and r.interim[0][1] == [("link", "</a>")] and r.status == 200


def test_expect_continue(door, origin):
    def script(conn, r):
        conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        r.read_body()
        conn.send(reply(r.body))

    origin.script(script, early=True)
    with H2(door.port) as c:
        s = c.headers(request("POST", headers=[("expect", "100-continue"), ("content-length", "3")]), end=False)
        c.until(lambda: s in c.streams and c.streams[s].interim)
        assert c.data(s, b"abc", end=True).response(s).body == b"abc"
        assert [i[0] for i in c.streams[s].interim] == [100]


def test_fastcgi_behind(door, fcgi):
    with H2(door.port) as c:
        s = c.headers(request("POST", "/php/x"), end=False)
        r = c.data(s, b"abc", end=True).response(s)
        assert r.status == 200 and r.reset is None, r


def test_sticky_cookie(door, origin):
    with H2(door.port) as c:
        cookie = c.fetch("/sticky").get("set-cookie")
        assert cookie and cookie.startswith("at=")
        assert c.fetch("/sticky", headers=[("cookie", cookie.split(";")[0])]).get("set-cookie") is None


def test_local_replies(door, origin):
    with H2(door.port) as c:
        assert c.fetch("/none").status == 502
        assert c.fetch("/a%00").status == 400
        assert c.response(c.headers(request("TRACE"))).status == 405
        assert c.response(c.headers([(":method", "CONNECT"), (":authority", "a:1")])).status == 405
        assert c.response(c.headers(request("GET", headers=[("expect", "x")]))).status == 417
        s = c.headers(request("POST", headers=[("content-length", str(9 << 20))]), end=False)
        r = c.response(s)
        assert r.status == 413 and r.ended
        c.until(lambda: r.reset == h2.NO_ERROR)  # RFC 9113 8.1: complete, and the rest is not wanted
        assert c.fetch().status == 200
    assert len(origin.requests) == 1


def test_an_early_answer_stops_the_upload(door, origin):
    """RFC 9113 8.1: END_STREAM first, then RST_STREAM with NO_ERROR, and the connection goes on."""
    origin.script(lambda conn, r: (conn.send(reply(b"no", "403 Forbidden", {"Connection": "close"})), False)[1], early=True)
    with H2(door.port) as c:
        s = c.headers(request("POST"), end=False)
        c.data(s, b"x" * 1000)
        r = c.response(s)
        assert (r.status, r.body, r.ended) == (403, b"no", True)
        c.until(lambda: r.reset is not None)
        assert r.reset == h2.NO_ERROR
        origin.clear()
        assert c.fetch().status == 200


@pytest.mark.parametrize("kib", [0, 60, 200, 2000])
def test_a_local_grpc_answer_before_the_body(door, kib):
    """Complete at once, whatever of the body is still to come. What fits into 256 KiB may all be sent and no reset
    follows; of a longer body the client is asked to stop, after END_STREAM (RFC 9113 8.1)."""
    with H2(door.port) as c:
        s = c.headers(request("POST", "/none", headers=[("content-type", "application/grpc"), ("te", "trailers")]), end=False)
        r = c.response(s)
        assert (r.status, r.body, r.ended, r.reset) == (200, b"", True, None) and r.get("grpc-status") == "14", r
        body = b"x" * (kib << 10)
        if kib < 256:
            c.upload(s, body) if kib else c.data(s, end=True)
            assert c.ping() and r.reset is None
        else:
            while r.reset is None:
                c.upload(s, body[:16384], end=False)
                c.ping()
            assert r.reset == h2.NO_ERROR
        assert c.fetch().status == 200


def test_trailers_whose_end_comes_after_the_answer(door, origin):
    """The exchange is over while half of a trailers frame is here: the other half goes nowhere (a sanitizer looks on)."""
    origin.script(lambda conn, r: (conn.send(reply(b"no", "403 Forbidden", {"Connection": "close"})), False)[1], early=True)
    block = b"\0\x03x-a\x7f\x91\x01" + b"v" * 272
    for _ in range(5):
        with H2(door.port) as c:
            c.refill = False  # nothing else is to be said in the middle of the frame
            c.ping()
            s = c.headers(request("POST"), end=False)
            c.data(s, b"x" * 10)
            c.send(h2.frame(h2.HEADERS, 5, s, block)[:20])
            r = c.response(s)
            assert r.status == 403 and r.body == b"no"
            c.send(h2.frame(h2.HEADERS, 5, s, block)[20:])
            c.ping()


def test_a_head_without_its_bytes_is_not_waited_for_long(make_door, origin):
    """H32: the head of a HEADERS frame that says END_HEADERS, and then nothing."""
    d = make_door(listeners={"web": {"client_header_timeout": "400ms"}}, clusters=[cluster("o", origin.address)], routes=[route("*", "o")])
    with H2(d.port) as c:
        c.ping()
        c.send(b"\0\0\x64\x01\x05\0\0\0\x01")
        begin = time.monotonic()
        c.ended()
        assert time.monotonic() - begin < 4 * SLOW


@pytest.mark.parametrize("total", [60000, 66000, 120000])
def test_large_heads_of_servers(make_door, origin, total):
    d = make_door(clusters=[cluster("o", origin.address, max_response_header_size="128k")], routes=[route("*", "o")])
    n = total // 1000
    origin.script(lambda conn, r: conn.send(reply(b"ok", headers={"X-Large-%d" % i: "v" * 985 for i in range(n)})))
    with H2(d.port) as c:
        r = c.fetch()
        assert r.status == 200 and r.body == b"ok" and r.get("x-large-%d" % (n - 1)) == "v" * 985


def test_a_cut_answer_is_a_reset(door, origin):
    """What is not whole must not look whole."""
    origin.script(lambda conn, r: (conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), False)[1])
    with H2(door.port) as c:
        r = c.fetch()
        assert r.status == 200 and not r.ended and r.reset == h2.INTERNAL_ERROR
        origin.clear()
        assert c.fetch().status == 200


def test_a_reset_cancels_the_work_behind(door, origin):
    """RFC 9113 5.4.2: the server's connection is closed at once, and nothing stays in flight."""
    seen = threading.Event()

    def script(conn, r):
        seen.set()
        conn.drain()
        return False

    origin.script(script)
    with H2(door.port) as c:
        s = c.get("/long")
        assert seen.wait(10)
        c.reset(s)
        poll(lambda: origin.conns[-1].ended, 5, "the server's connection ended")
        origin.clear()
        assert c.fetch().status == 200
    poll(lambda: any("/long" in line and "client_gone" in line for line in lines(door)), 5, "access log")


def test_in_flight_counts_streams(door, origin):
    gate = threading.Event()
    origin.script(lambda conn, r: (gate.wait(10), conn.send(OK))[1])
    with H2(door.port) as c:
        streams = [c.get("/%d" % i) for i in range(7)]
        poll(lambda: door.cluster("o")["serving"] == 7, 5, "7 in flight on one connection")
        gate.set()
        assert all(c.response(s).status == 200 for s in streams)


# ---- flow control ----


def test_a_slow_server_stops_its_own_stream_only(door, origin):
    """RFC 9113 5.2: the window of a stream whose server does not read is not refilled; others go on."""
    gate = threading.Event()

    def script(conn, r):
        if r.target == "/stuck":
            gate.wait(20)
        r.read_body()
        conn.send(reply(b"%d" % len(r.body)))

    origin.script(script, early=True)
    with H2(door.port) as c:
        c.ping()
        before = door.rss()
        stuck = c.headers(request("POST", "/stuck"), end=False)
        sent = 0
        while sent < 7 << 20:  # until nothing moves
            room = min(c.room(stuck), c.room(0), 16384)
            if room <= 0:
                have = c.given.get(stuck, 0)
                c.ping()
                if c.given.get(stuck, 0) == have and c.room(stuck) <= 0:
                    break
                continue
            c.data(stuck, b"x" * room)
            for k in (stuck, 0):
                c.given[k] = c.given.get(k, 0) - room
            sent += room
        assert 65536 <= sent < 7 << 20
        for _ in range(3):
            s = c.headers(request("POST", "/other"), end=False)
            assert c.upload(s, b"y" * 100000).response(s).body == b"100000"
        assert door.rss() - before < 8 << 20
        gate.set()
        c.data(stuck, b"", end=True)
        assert c.response(stuck).body == b"%d" % sent


def test_a_slow_stream_holds_its_own_answer_only(door, origin):
    big = b"z" * 3000000

    origin.script(lambda conn, r: conn.send(reply(big if r.target == "/big" else b"small")))
    with H2(door.port, window=1000) as c:
        c.refill = False
        big_stream = c.get("/big")
        c.until(lambda: len(c.streams.get(big_stream, h2.Stream()).body) == 1000)
        for _ in range(20):
            assert c.fetch("/small").body == b"small"
        assert len(c.streams[big_stream].body) == 1000
        c.refill = True
        c.window(big_stream, 100000)
        c.until(lambda: c.streams[big_stream].ended)
        assert c.streams[big_stream].body == big


def test_answers_for_one_client_are_bounded(door, origin):
    """A client that opens a hundred big answers and takes none: what is not read stays with the servers, and comes when
    there is room."""
    big = b"q" * 500000
    origin.script(lambda conn, r: conn.send(reply(big)))
    with H2(door.port, window=0) as c:
        c.ping()
        before = door.rss()
        streams = [c.get("/%d" % i) for i in range(100)]
        c.until(lambda: len(c.streams) >= 1)
        poll(lambda: len(origin.completed) == 100, 10, "all asked")
        c.ping()
        c.sock.settimeout(0.3)
        try:
            while c.step():
                pass
        except TimeoutError:
            pass
        c.sock.settimeout(30)
        assert len([s for s in streams if s in c.streams]) < 20  # heads of a few, the others wait
        assert SANITIZED or door.rss() - before < 4 << 20
        c.send(h2.frame(h2.SETTINGS, 0, 0, h2.settings({h2.INITIAL_WINDOW: 1 << 20})))
        for s in streams:
            assert c.response(s).body == big


# ---- WebSocket (RFC 8441) ----

CONNECT = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"), (":authority", "web.test"),
           ("sec-websocket-version", "13"), ("origin", "http://web.test")]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\nX-Up: 1\r\n\r\n"


def echo(conn, r):
    conn.send(SWITCH)
    while True:
        conn.more()
        conn.send(bytes(conn.buf))
        conn.buf.clear()


def test_websocket_over_a_stream(door, origin):
    origin.script(echo)
    with H2(door.port) as c:
        c.ping()
        assert c.theirs[h2.ENABLE_CONNECT] == 1
        s = c.headers(CONNECT, end=False)
        c.until(lambda: s in c.streams and c.streams[s].status)
        st = c.streams[s]
        assert st.status == 200 and st.get("x-up") == "1" and st.get("sec-websocket-accept") is None and not st.ended
        poll(lambda: door.cluster("o")["tunnels"] == 1, 5, "counted as a tunnel")
        for piece in (b"hello", b"x" * 100000):
            want = st.body + piece
            c.upload(s, piece, end=False)
            c.until(lambda: len(st.body) >= len(want))
            assert st.body == want
        c.data(s, b"", end=True)
        assert c.response(s).ended and st.reset is None
    got = origin.requests[0]
    assert (got.method, got.target, got.version) == ("GET", "/chat", "HTTP/1.1")
    assert got.get("upgrade") == "websocket" and got.get("connection").lower() == "upgrade"
    assert len(got.get("sec-websocket-key")) == 24 and got.get("sec-websocket-version") == "13" and got.get("content-length") is None


def test_websocket_refused_by_the_server(door, origin):
    with H2(door.port) as c:
        origin.script(lambda conn, r: conn.send(reply(b"no", "403 Forbidden")))
        r = c.response(c.headers(CONNECT, end=False))
        assert r.status == 403 and r.body == b"no" and r.ended
        origin.script(lambda conn, r: conn.send(reply(b"page")))
        assert c.response(c.headers(CONNECT, end=False)).status == 502  # 200 would mean that a tunnel stands


def test_a_reset_ends_the_tunnel_behind(door, origin):
    origin.script(echo)
    with H2(door.port) as c:
        s = c.headers(CONNECT, end=False)
        c.until(lambda: s in c.streams and c.streams[s].status)
        c.reset(s)
        poll(lambda: origin.conns[-1].ended, 5, "the server's connection ended")
        origin.clear()
        assert c.fetch().status == 200


def test_data_before_the_tunnel_stands(door, origin):
    """H22 over HTTP/2: payload never reaches a server that has not switched."""
    origin.script(lambda conn, r: (conn.drain(), False)[1])
    with H2(door.port) as c:
        s = c.headers(CONNECT, end=False)
        c.data(s, b"GET /evil HTTP/1.1\r\n\r\n")
        assert c.response(s).reset == h2.PROTOCOL_ERROR
    assert b"evil" not in origin.bytes


# ---- priorities (RFC 9218) ----


def test_urgency_decides_who_is_first(door, origin):
    """Three answers wait for the connection's window; when it opens the most urgent goes first and whole."""
    # 20000 bytes come in one piece, and so all three are there when the window opens.
    origin.script(lambda conn, r: conn.send(reply(b"x" * (60000 if r.target in ("/first", "/eat") else 20000))))
    with H2(door.port, window=1 << 20) as c:
        c.refill = False
        first = c.get("/first")  # takes the connection's window of 65535 and 2^24 more
        assert c.response(first).ended
    c = H2(door.port, preface=False)
    c.refill = False
    c.send(h2.PREFACE + h2.frame(h2.SETTINGS, 0, 0, h2.settings({h2.INITIAL_WINDOW: 1 << 20})))
    eat = c.headers(request(path="/eat"))
    c.until(lambda: len(c.streams.get(eat, h2.Stream()).body) == 60000)
    low = c.headers(request(path="/low", headers=[("priority", "u=6")]))
    c.until(lambda: len(c.streams.get(low, h2.Stream()).body) == 5535)  # the window is used up
    mid = c.headers(request(path="/mid", headers=[("priority", "u=3")]))
    high = c.headers(request(path="/high", headers=[("priority", "u=0")]))
    c.until(lambda: c.streams.get(mid) and c.streams[mid].status and c.streams.get(high) and c.streams[high].status)
    c.ping()
    c.order.clear()
    c.window(0, 200000)
    for s in (low, mid, high):
        assert c.response(s).body == b"x" * 20000
    data = [s for kind, s in c.order if kind == h2.DATA]
    assert data == sorted(data, key=[high, mid, low].index), data
    c.close()


# ---- life of a connection ----


def test_both_protocols_on_one_port(door, origin):
    with H2(door.port) as c:
        assert c.fetch().status == 200
    assert fetch(door.port).status == 200
    assert len(origin.requests) == 2


def test_the_preface_may_come_in_pieces(door, origin):
    """RFC 9113 3.4"""
    c = H2(door.port, preface=False)
    whole = h2.PREFACE + h2.frame(h2.SETTINGS) + h2.frame(h2.HEADERS, 5, 1, c.fields(request()))
    for at in range(len(whole)):
        c.send(whole[at : at + 1])
    assert c.response(1).status == 200
    c.close()


def test_prior_knowledge_can_be_off(door, origin):
    with H2(door.ports["off"]) as c:
        c.send_quietly(h2.frame(h2.HEADERS, 5, 1, c.fields(request())))
        assert c.sock.recv(100).startswith(b"HTTP/1.1 ")
    assert not origin.requests


def test_max_requests_ends_gracefully(door, origin):
    """RFC 9113 6.8: a warning first, then the number of the last stream; what came in between is answered."""
    with H2(door.ports["few"]) as c:
        streams = [c.get("/%d" % i) for i in range(3)]
        assert all(c.response(s).status == 200 for s in streams)
        assert c.ended() == h2.NO_ERROR
        assert c.goaways[0] == (0x7FFFFFFF, 0) and c.goaways[-1][0] >= streams[-1]


def test_a_client_says_goodbye(door, origin):
    """RFC 9113 6.8: what is open is finished, then the connection ends, and that is no error."""
    gate = threading.Event()
    origin.script(lambda conn, r: (gate.wait(10), conn.send(OK))[1])
    with H2(door.port) as c:
        s = c.get()
        poll(lambda: door.cluster("o")["serving"] == 1, 5, "in flight")
        c.frame(h2.GOAWAY, 0, 0, b"\0" * 8)
        gate.set()
        assert c.response(s).status == 200
        assert c.ended() in (None, h2.NO_ERROR)
    with H2(door.port) as c:
        c.frame(h2.GOAWAY, 0, 0, b"\0" * 8)
        assert c.ended() in (None, h2.NO_ERROR)


def test_idle_connections_leave_with_goaway(door):
    with H2(door.ports["quick"]) as c:
        assert c.ended() == h2.NO_ERROR


def test_reload_sends_clients_elsewhere(make_door, origin):
    """Two steps, and not one request fails; what is in flight is finished."""
    d = make_door(clusters=[cluster("o", origin.address)], routes=[route("*", "o")])
    gate = threading.Event()
    origin.script(lambda conn, r: (gate.wait(10) if r.target == "/slow" else None, conn.send(reply(b"done")))[1])
    with H2(d.port) as idle, H2(d.port) as busy:
        idle.ping()
        slow = busy.get("/slow")
        poll(lambda: d.cluster("o")["serving"] == 1, 5, "in flight")
        assert d.reload().returncode == 0
        assert idle.ended() == h2.NO_ERROR
        busy.until(lambda: busy.goaways)
        assert busy.goaways[0] == (0x7FFFFFFF, 0)
        busy.until(lambda: len(busy.goaways) == 2)
        assert busy.goaways[1] == (slow, 0)
        gate.set()
        assert busy.response(slow).body == b"done"
        assert busy.ended() == h2.NO_ERROR


def test_a_stopped_program_finishes_its_streams(make_door, origin):
    d = make_door(clusters=[cluster("o", origin.address)], routes=[route("*", "o")])
    gate = threading.Event()
    origin.script(lambda conn, r: (gate.wait(10), conn.send(reply(b"done")))[1])
    with H2(d.port) as c:
        s = c.get()
        poll(lambda: d.cluster("o")["serving"] == 1, 5, "in flight")
        stopper = threading.Thread(target=d.stop)
        stopper.start()
        c.until(lambda: c.goaways)
        gate.set()
        assert c.response(s).body == b"done"
        assert c.ended() == h2.NO_ERROR
        stopper.join()


def test_a_broken_client_frees_everything(door, origin):
    gate = threading.Event()
    origin.script(lambda conn, r: (gate.wait(10), conn.send(OK))[1])
    c = H2(door.port)
    for i in range(20):
        c.get("/%d" % i)
    poll(lambda: door.cluster("o")["serving"] == 20, 5, "in flight")
    c.abort()
    poll(lambda: door.cluster("o")["serving"] == 0, 5, "all cancelled")
    gate.set()


# ---- time ----


def test_slow_bodies_time_out(door, origin):
    """H32: 408 on the stream, the connection goes on."""
    origin.script(lambda conn, r: r.read_body(), early=True)
    with H2(door.ports["quick"]) as c:
        s = c.headers(request("POST", headers=[("content-length", "10")]), end=False)
        c.data(s, b"abc")
        assert c.response(s).status == 408
        origin.clear()
        assert c.fetch().status == 200
    poll(lambda: any(" client_body_timeout " in line for line in lines(door)), 5, "access log")


def test_clients_that_give_no_window_time_out(door, origin):
    """T6: an answer that waits for a window is given up; the server's connection was not held."""
    origin.script(lambda conn, r: conn.send(reply(b"x" * 5000000 if r.target == "/big" else b"ok")))
    with H2(door.ports["quick"], window=0) as c:
        r = c.response(c.get("/big"))
        assert r.status == 200 and r.body == b"" and r.reset == h2.CANCEL
    poll(lambda: any(" client_write_timeout " in line for line in lines(door)), 5, "access log")


# ---- the same behind every back ----


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, origin):
    root = tmp_path_factory.mktemp("files")
    os.chmod(root.parent, 0o755)
    os.chmod(root, 0o755)
    (root / "big.bin").write_bytes(bytes(i * 11 & 255 for i in range(700000)))
    (root / "small.txt").write_bytes(b"small")
    d = Door(
        tmp_path_factory.mktemp("h2kinds"),
        clusters=[cluster("files", protocol="files", files={"root": str(root)}),
                  cluster("zip", origin.address, compress={"gzip": True}),
                  cluster("spill", origin.address, response_buffer=True, buffer_memory="16k", buffer_file="4m"),
                  cluster("rest", origin.address, response_buffer=True),
                  cluster("collect", origin.address, request_buffer=True, buffer_memory="16k", buffer_file="4m")],
        routes=[route("*", "files")] + [route(n + ".test", n) for n in ("zip", "spill", "rest", "collect")],
    ).start()
    yield d
    d.stop()


def test_files(kinds):
    with H2(kinds.port) as c:
        r = c.fetch("/big.bin")
        assert r.status == 200 and r.body == bytes(i * 11 & 255 for i in range(700000)) and r.get("content-length") == "700000"
        assert c.fetch("/small.txt").body == b"small"
        r = c.fetch("/big.bin", headers=[("range", "bytes=5-9")])
        assert r.status == 206 and len(r.body) == 5
        etag = c.fetch("/small.txt").get("etag")
        assert c.fetch("/small.txt", headers=[("if-none-match", etag)]).status == 304
        assert c.response(c.headers(request("HEAD", "/big.bin"))).get("content-length") == "700000"
        assert c.fetch("/none").status == 404


def test_compressed_answers(kinds, origin):
    text = b"hello " * 20000
    origin.script(lambda conn, r: conn.send(reply(text, headers={"Content-Type": "text/plain"})))
    with H2(kinds.port) as c:
        r = c.fetch(host="zip.test", headers=[("accept-encoding", "gzip")])
        assert r.get("content-encoding") == "gzip" and r.get("content-length") is None
        assert gzip.decompress(r.body) == text and r.ended
        assert c.fetch(host="zip.test").body == text


def test_an_answer_that_spills(kinds, origin):
    """The server is done at its own speed; the client takes its time."""
    big = bytes(i * 13 & 255 for i in range(2000000))
    origin.script(lambda conn, r: conn.send(chunked(big, trailers=[(b"X-Sum", b"1")])))
    with H2(kinds.port, window=0) as c:
        s = c.get("/", host="spill.test")
        poll(lambda: kinds.cluster("spill")["finishing"] == 1, 5, "the server is through")
        c.send(h2.frame(h2.SETTINGS, 0, 0, h2.settings({h2.INITIAL_WINDOW: 1 << 20})))
        r = c.response(s)
        assert r.body == big and r.trailers == [("x-sum", "1")]


def test_many_answers_that_spilled_keep_nobody_waiting(kinds, origin):
    """Twenty downloads rest in their files: they take nothing of max_memory, and a small answer comes at once."""
    big = bytes(i * 13 & 255 for i in range(400000))
    origin.script(lambda conn, r: conn.send(reply(big if r.target == "/big" else b"small")))
    with H2(kinds.port, window=0) as c:
        c.refill = False
        resting = []
        for _ in range(20):
            s = c.get("/big", host="rest.test")
            resting.append(s)
            poll(lambda: kinds.cluster("rest")["finishing"] == len(resting), 5, "the server is through")
            c.window(s, 150000)  # what lies in memory, and some of the file
            c.until(lambda: s in c.streams and len(c.streams[s].body) == 150000)
        s = c.get("/small", host="rest.test")
        c.window(s, 5)
        assert c.response(s).body == b"small"
        for s in resting:
            c.window(s, 400000)
        for s in resting:
            assert c.response(s).body == big


def test_a_request_that_is_collected(kinds, origin):
    body = bytes(i * 13 & 255 for i in range(1000000))
    with H2(kinds.port) as c:
        s = c.headers(request("POST", host="collect.test"), end=False)
        assert c.upload(s, body).response(s).status == 200
    got = origin.one()
    assert got.body == body and got.framing == "length"


# ---- programs ----


def run(*args):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30).stdout.decode()


def test_curl(door, origin):
    origin.script(lambda conn, r: conn.send(reply(r.body or b"hello")))
    url = "http://127.0.0.1:%d/" % door.port
    assert run("curl", "-s", "--http2-prior-knowledge", url) == "hello"
    assert run("curl", "-s", "--http2-prior-knowledge", "-d", "x" * 100000, url) == "x" * 100000


def test_nghttp(door, origin):
    origin.script(lambda conn, r: conn.send(reply(b"hello")))
    out = run("nghttp", "-v", "http://127.0.0.1:%d/" % door.port)
    assert ":status: 200" in out and "hello" in out


def test_h2load(door, origin):
    out = run("h2load", "-n", "2000", "-c", "4", "-m", "20", "http://127.0.0.1:%d/" % door.port)
    assert re.search(r"2000 succeeded, 0 failed, 0 errored", out), out


@pytest.mark.parametrize("window", [1 << 24, 40000, 16384])
def test_large_answers_side_by_side_arrive_as_they_were_sent(door, origin, window):
    """They go from the servers' reads into frames, or by way of the pipe when windows are narrow, and in turns."""
    bodies = {"/%d" % i: os.urandom(700001 + i) for i in range(4)}
    pieces = [bodies["/2"][i:i + 50000] for i in range(0, 700003, 50000)]
    origin.script(lambda conn, r: conn.send(chunked(*pieces) if r.target == "/2" else reply(bodies[r.target])))
    with H2(door.port, window=window) as c:
        streams = {path: c.get(path) for path in bodies}
        c.until(lambda: all(s in c.streams and c.streams[s].ended for s in streams.values()), 20)
        for path, s in streams.items():
            assert c.streams[s].body == bodies[path], path
    poll(lambda: sum('HTTP/2.0" 200 70000' in line for line in lines(door)) >= 4, 5, "their sizes in the log")


# ---- counting ----


def test_what_sessions_do_is_counted(door, origin):
    gate = threading.Event()

    def script(conn, r):
        if r.target == "/held":
            gate.wait(10)
        conn.send(reply(b"x" * 300000 if r.target == "/big" else b"x"))

    origin.script(script)
    begin = poll(lambda: (lambda s: s if s["h2_sessions"] == s["h2_streams"] == 0 else None)(door.status()), 8, "nobody there")

    def more():
        now = door.status()
        grown = {k[3:]: now[k] - begin[k] for k in now if k.startswith("h2_") and k != "h2_goaways"}
        return grown | {k: n - begin["h2_goaways"][k] for k, n in now["h2_goaways"].items()}

    with H2(door.port) as c:
        assert c.fetch("/").status == 200
        held = c.get("/held")
        poll(lambda: more()["sessions"] == 1 and more()["streams"] == 1, 5, "one of each")
        c.reset(held)
        c.headers([(":method", "GET")])  # half a head
        poll(lambda: more()["resets_sent"] == 1, 5, "ours")
        assert more() == {"sessions": 1, "sessions_begun": 1, "streams": 0, "streams_begun": 3, "resets_received": 1,
                          "resets_sent": 1, "stalls": 0, "done": 0, "flood": 0, "malformed": 0, "internal": 0}
        gate.set()
        c.frame(h2.WINDOW, 0, 0, b"\0\0\0\0")  # RFC 9113 6.9
        c.until(lambda: c.goaways)
    with H2(door.ports["quick"], window=0) as c:
        assert c.response(c.get("/big")).reset == h2.CANCEL
        c.until(lambda: c.goaways)  # idle
    grown = poll(lambda: (lambda m: m if m["sessions"] == 0 else None)(more()), 5, "both gone")
    assert (grown["stalls"], grown["malformed"], grown["done"], grown["resets_sent"]) == (1, 1, 1, 2)
