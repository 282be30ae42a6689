"""Servers that speak HTTP/2 (RFC 9113) behind HTTP/1 clients: framing, multiplexing, flow control, retries."""

import threading
import time

import pytest

from harness.door import cluster, Door, route
from harness.h2origin import CANCEL, Code, H2Origin, NO_ERROR, REFUSED_STREAM
from harness.net import Client, build, fetch, poll

DEAD = "127.0.0.1:1"


@pytest.fixture(scope="module")
def server():
    o = H2Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def server2():
    o = H2Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, server, server2):
    def h2(name, *addresses, **options):
        return cluster(name, *addresses, protocol="h2", **options)

    d = Door(
        tmp_path_factory.mktemp("h2back"), workers=1,
        clusters=[
            h2("one", server.address), h2("two", server.address, server2.address, balance="round_robin"),
            h2("short", server.address, idle_timeout="300ms", response_timeout="400ms", body_timeout="400ms"),
            h2("few", server.address, h2={"max_streams": 2}), h2("thrice", server.address, max_uplink_requests=3),
            h2("ping", server.address, idle_timeout="1h", h2={"ping_interval": "100ms", "ping_timeout": "200ms"}),
            h2("easy", server.address, h2={"max_resets": 3}), h2("named", server.address, host="inside.test"),
            h2("dead", DEAD, retries=1), h2("small", server.address, max_response_header_size="1k"),
            h2("spill", server.address, response_buffer=True, buffer_memory="16k"),
        ],
        routes=[route(n + ".test", n) for n in ("one", "two", "short", "few", "thrice", "ping", "easy", "named", "dead", "small",
                                                "spill")],
    ).start()
    yield d
    d.stop()


def ask(door, host="one.test", method="GET", target="/", **kw):
    return fetch(door.port, method, target, host=host, **kw)


# ---- requests and answers (RFC 9113 8) ----


def test_request_and_answer(door, server):
    server.script(lambda s: s.reply(b"hello", headers=[("x-answer", "yes"), ("content-type", "text/plain")]))
    r = ask(door, target="/a/b?c=d", headers={"X-Thing": "Some Value", "Accept": "*/*"})
    assert (r.status, r.body, r.get("x-answer"), r.framing) == (200, b"hello", "yes", "length")
    s = server.one()
    names = [n for n, _ in s.headers]
    assert names[:4] == [":method", ":scheme", ":authority", ":path"]
    assert (s.method, s.target, s.get(":authority"), s.get(":scheme")) == ("GET", "/a/b?c=d", "one.test", "http")
    assert s.get("x-thing") == "Some Value" and s.get("x-forwarded-for") == "127.0.0.1" and s.get("x-request-id")
    assert all(n == n.lower() for n in names)
    assert not {"host", "connection", "transfer-encoding", "keep-alive", "te", "upgrade"} & set(names)


def test_host_of_the_cluster(door, server):
    assert ask(door, "named.test").status == 200
    assert server.one().get(":authority") == "inside.test"


def test_connection_fields_do_not_pass(door, server):
    """RFC 9113 8.2.2; TE: trailers alone may."""
    assert ask(door, headers=[("Connection", "x-mine, TE"), ("X-Mine", "1"), ("TE", "trailers, gzip"), ("Keep-Alive", "5")]).status == 200
    s = server.one()
    assert s.get("x-mine") is None and s.get("keep-alive") is None and s.get("te") == "trailers"


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 200000])
def test_bodies_both_ways(door, server, size):
    body = bytes(i * 7 & 255 for i in range(size))
    server.script(lambda s: s.reply(s.body))
    r = ask(door, method="POST", body=body)
    assert r.status == 200 and r.body == body
    s = server.one()
    assert s.get("content-length") == str(size) and s.body == body


def test_chunked_body_and_trailers(door, server):
    """RFC 9113 8.1: trailers both ways."""
    server.script(lambda s: s.reply(s.body, trailers=[("x-sum", "42"), ("grpc-status", "0")]))
    with Client(door.port) as c:
        c.send(build("POST", host="one.test", headers=[("Transfer-Encoding", "chunked"), ("Trailer", "x-late")]),
               b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Late: indeed\r\nContent-Length: 5\r\n\r\n")
        r = c.response()
    assert (r.body, r.framing) == (b"hello world", "chunked")
    assert r.trailers == [("x-sum", "42"), ("grpc-status", "0")]
    s = server.one()
    assert s.get("content-length") is None and s.trailers == [("x-late", "indeed")]


def test_trailers_only(door, server):
    server.script(lambda s: s.head(200, [("grpc-status", "5")], end=True))
    r = ask(door)
    assert (r.status, r.body, r.get("grpc-status"), r.get("content-length")) == (200, b"", "5", "0")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(door, server, status):
    server.script(lambda s: s.head(status, [("etag", '"x"')], end=True))
    with Client(door.port) as c:
        for _ in range(2):
            c.send(build(host="one.test"))
            assert c.response().status == status


def test_head(door, server):
    server.script(lambda s: s.head(200, [("content-length", "1000")], end=True))
    with Client(door.port) as c:
        for _ in range(2):
            c.send(build("HEAD", host="one.test"))
            r = c.response("HEAD")
            assert r.status == 200 and r.get("content-length") == "1000"


def test_interim_answers(door, server):
    def script(s):
        s.conn.act(lambda c: c.send_headers(s.id, [(":status", "103"), ("link", "</a.css>")]))
        s.reply()

    server.script(script)
    r = ask(door)
    assert [i.status for i in r.interim] == [103] and r.interim[0].get("link") == "</a.css>" and r.status == 200


def test_expect_continue(door, server):
    def script(s):
        s.conn.act(lambda c: c.send_headers(s.id, [(":status", "100")]))
        s.read_body()
        s.reply(s.body)

    server.script(script, early=True)
    with Client(door.port) as c:
        c.send(build("POST", host="one.test", headers=[("Expect", "100-continue"), ("Content-Length", "4")]))
        assert c.head().status == 100
        c.send(b"body")
        assert c.response().body == b"body"
    assert server.one().get("expect") == "100-continue"


def test_too_many_interim_answers(door, server):
    def script(s):
        for _ in range(20):
            s.conn.act(lambda c: c.send_headers(s.id, [(":status", "103")]))

    server.script(script)
    assert ask(door, method="POST", body=b"").status == 502
    server.script(None)
    assert ask(door).status == 200
    assert server.accepted <= 1  # the connection lives


def test_early_answer(door, server):
    """RFC 9113 8.1: the server answers before it has the request; the rest of it is not wanted."""
    server.script(lambda s: s.reply(b"no", status=413), early=True)
    with Client(door.port) as c:
        c.send(build("POST", host="one.test", headers=[("Content-Length", "1000000")]), b"x" * 1000)
        r = c.response()
        assert (r.status, r.body) == (413, b"no")
    assert server.requests[0].wait_reset() in (NO_ERROR, CANCEL)
    server.script(None)
    assert ask(door).status == 200


def test_cookies_and_repeated_fields(door, server):
    server.script(lambda s: s.reply(headers=[("set-cookie", "a=1"), ("set-cookie", "b=2")]))
    r = ask(door, headers=[("Cookie", "c=3; d=4"), ("X-Many", "1"), ("X-Many", "2")])
    assert r.all("set-cookie") == ["a=1", "b=2"]
    s = server.one()
    assert s.get("cookie") == "c=3; d=4" and s.all("x-many") == ["1", "2"]


# ---- connections (RFC 9113 5, 9.1) ----


def test_requests_share_a_connection(door, server):
    started = threading.Barrier(11)
    server.script(lambda s: (started.wait(10), s.reply(s.target.encode())))
    got, threads = [], []
    for i in range(10):
        t = threading.Thread(target=lambda i=i: got.append((i, ask(door, target="/%d" % i).body)))
        t.start()
        threads.append(t)
    started.wait(10)
    for t in threads:
        t.join()
    assert sorted(got) == [(i, b"/%d" % i) for i in range(10)]
    assert len({s.conn for s in server.requests}) == 1


def test_in_flight_counts_streams(door, server):
    """Balancing and scaling see requests, not connections."""
    go = threading.Event()
    server.script(lambda s: (go.wait(10), s.reply()))
    threads = [threading.Thread(target=ask, args=(door,)) for _ in range(7)]
    for t in threads:
        t.start()
    poll(lambda: door.cluster("one")["serving"] == 7 and door.cluster("one")["endpoints"][0]["attempts"] == 7, 5, "7 in flight")
    go.set()
    for t in threads:
        t.join()
    assert len({s.conn for s in server.requests}) == 1


def in_parallel(door, host, count, server):
    """The connections that so many requests at a time go over."""
    go = threading.Event()
    server.script(lambda s: (go.wait(10), s.reply()))
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(ask(door, host).status)) for _ in range(count)]
    for t in threads:
        t.start()
    poll(lambda: len(server.requests) == count, 5, "%d requests at the server" % count)
    used = {}
    for s in server.requests:
        used[s.conn] = used.get(s.conn, 0) + 1
    go.set()
    for t in threads:
        t.join()
    assert statuses == [200] * count
    return used


def test_own_stream_limit(door, server):
    used = in_parallel(door, "few.test", 5, server)
    assert sorted(used.values()) == [1, 2, 2]


def test_stream_limit_of_the_server(make_door):
    """RFC 9113 5.1.2"""
    server = H2Origin(settings={Code.MAX_CONCURRENT_STREAMS: 3})
    try:
        door = make_door(workers=1, clusters=[cluster("c", server.address, protocol="h2")], routes=[route("*", "c")])
        assert ask(door).status == 200
        server.forget()
        used = in_parallel(door, "c.test", 8, server)
        assert max(used.values()) <= 3
    finally:
        server.stop()


def test_server_that_takes_no_streams(make_door):
    server = H2Origin(settings={Code.MAX_CONCURRENT_STREAMS: 0})
    try:
        door = make_door(workers=1, clusters=[cluster("c", server.address, protocol="h2", retries=1)], routes=[route("*", "c")])
        for _ in range(3):
            assert ask(door).status in (502, 503)
        assert server.accepted <= 9
    finally:
        server.stop()


def test_request_limit_of_a_connection(door, server):
    for _ in range(7):
        assert ask(door, "thrice.test").status == 200
    used = {}
    for s in server.requests:
        used[s.conn] = used.get(s.conn, 0) + 1
    assert list(used.values()) == [3, 3, 1]
    poll(lambda: list(used)[0].goaway == (NO_ERROR, 0) and list(used)[0].conn.ended, 5, "GOAWAY and the end")


def test_idle_connections_close_with_goaway(door, server):
    assert ask(door, "short.test").status == 200
    conn = server.requests[0].conn
    poll(lambda: conn.goaway == (NO_ERROR, 0) and conn.conn.ended == "eof", 5, "GOAWAY and FIN")


def test_ping_keeps_watch(door, server):
    assert ask(door, "ping.test").status == 200
    conn = server.requests[0].conn
    poll(lambda: conn.pings >= 2, 5, "PINGs on an idle connection")
    assert ask(door, "ping.test").status == 200
    assert server.requests[1].conn is conn


def test_ping_without_an_answer(door, server):
    """A server that is gone without a word: its connection is given up, and the request with it."""
    from harness.h2origin import greet, next_request

    def dead(conn):
        greet(conn)
        next_request(conn)
        conn.drain()

    server.raw(dead)
    server.drop()
    begin = time.monotonic()
    assert ask(door, "ping.test", method="POST", body=b"x").status == 504
    assert time.monotonic() - begin < 20


# ---- flow control (RFC 9113 5.2, 6.9) ----


def test_slow_client_does_not_stop_others(door, server):
    big = b"z" * (8 << 20)
    server.script(lambda s: s.reply(big if s.target == "/big" else b"small"))
    with Client(door.port, rcvbuf=4096) as slow:
        slow.send(build("GET", "/big", host="one.test"))
        poll(lambda: server.requests and server.requests[0].conn.h2.local_flow_control_window(server.requests[0].id) == 0, 10,
             "the window of the slow one is used up")
        before = door.rss()
        for _ in range(20):
            assert ask(door, target="/small").body == b"small"
        assert len({s.conn for s in server.requests}) == 1
        assert door.rss() - before < 8 << 20
        assert slow.response().body == big


def test_slow_client_costs_a_window(door, server):
    """What waits here for a client is at most the stream's window, and the server is told to wait."""
    big = b"y" * (4 << 20)
    server.script(lambda s: s.reply(big))
    with Client(door.port, rcvbuf=4096) as slow:
        slow.send(build("GET", "/big", host="one.test"))
        assert slow.head().status == 200
        s = server.requests[0]
        poll(lambda: s.conn.h2.local_flow_control_window(s.id) == 0, 10, "window used up")
        left = []
        poll(lambda: left.append(door.cluster("one")["endpoints"][0].get("rx_bytes", 0)) or len(left) > 1 and left[-1] == left[-2], 5, "quiet")
    assert s.wait_reset() == CANCEL


def test_slow_server_stops_the_upload(door, server):
    """The body waits at the client while the server's window is closed, and other requests go on."""
    release = threading.Event()

    def script(s):
        if s.method == "GET":
            s.reply()
            return
        release.wait(20)
        s.hold_window = False
        s.conn.act(lambda c: c.increment_flow_control_window(s.held, s.id))
        s.read_body()
        s.reply(b"%d" % len(s.body))

    server.script(script, early=True)
    server.hold_window = True
    size = 3 << 20
    with Client(door.port, sndbuf=65536) as c:
        c.send(build("POST", host="one.test", headers=[("Content-Length", str(size))]))
        sender = threading.Thread(target=c.send, args=(b"u" * size,))
        sender.start()
        poll(lambda: server.requests and server.requests[0].held == 65535, 5, "the first window at the server")
        assert ask(door).status == 200
        assert server.requests[0].held == 65535
        release.set()
        sender.join()
        r = c.response()
        assert r.body == b"%d" % size


def test_answers_larger_than_every_window(door, server):
    big = bytes(i & 255 for i in range(5 << 20))
    server.script(lambda s: s.reply(big))
    assert ask(door).body == big


def test_buffered_answers(door, server):
    """response_buffer: the server is done long before its client."""
    big = b"b" * (3 << 20)
    done = threading.Event()
    server.script(lambda s: (s.reply(big), done.set()))
    with Client(door.port, rcvbuf=4096) as slow:
        slow.send(build(host="spill.test"))
        assert done.wait(20)
        assert slow.response().body == big


# ---- trouble ----


def test_refused_stream_is_tried_elsewhere(door, server, server2):
    """RFC 9113 8.7: nothing was done, so even a POST may go again."""
    server.script(lambda s: s.reset(REFUSED_STREAM))
    for i in range(4):
        assert ask(door, "two.test", method="POST", body=b"order").status == 200
    assert len(server2.requests) == 4


def test_goaway_is_heeded(door, server):
    assert ask(door).status == 200
    first = server.requests[0].conn
    first.send_goaway(2**31 - 1)
    first.conn.half_close()
    for _ in range(5):
        assert ask(door, method="POST", body=b"x").status == 200
    assert all(s.conn is not first for s in server.requests[1:])


def test_goaway_lets_streams_end(door, server):
    """RFC 9113 6.8: up to the last id they are served, and a new connection takes the others."""
    begun, go = threading.Event(), threading.Event()

    def script(s):
        if s.target == "/slow":
            begun.set()
            go.wait(10)
        s.reply(s.target.encode())

    server.script(script)
    got = []
    t = threading.Thread(target=lambda: got.append(ask(door, target="/slow", method="POST", body=b"1").body))
    t.start()
    begun.wait(10)
    s = server.requests[0]
    s.conn.send_goaway(s.id)
    assert ask(door, target="/new").body == b"/new"
    go.set()
    t.join()
    assert got == [b"/slow"]
    assert server.requests[1].conn is not s.conn


def test_goaway_before_a_stream(door, server):
    """RFC 9113 6.8: above the last id nothing was done, so a POST goes again, without a failure in the books."""
    left = [1]

    def script(s):
        if left[0]:
            left[0] = 0
            s.conn.send_goaway(0)
            return
        s.reply(s.body)

    server.script(script)
    assert ask(door).status == 200 if not left[0] else True
    failures = door.cluster("one")["endpoints"][0].get("failures", 0)
    r = ask(door, method="POST", body=b"again")
    assert r.status == 200 and r.body == b"again"
    assert [s.method for s in server.requests] == ["POST", "POST"]
    assert door.cluster("one")["endpoints"][0].get("failures", 0) == failures


def test_post_is_not_sent_twice(door, server):
    server.script(lambda s: s.conn.conn.close())
    assert ask(door).status == 502
    server.forget()
    assert ask(door, method="POST", body=b"order").status == 502
    assert len(server.requests) == 1


def test_get_on_a_dying_connection(door, server):
    assert ask(door).status == 200
    left = [1]

    def script(s):
        if left[0]:
            left[0] -= 1
            s.conn.conn.reset()
        else:
            s.reply()

    server.script(script)
    assert ask(door).status == 200
    assert len(server.requests) == 3


def test_connection_closed_while_idle(door, server):
    for _ in range(5):
        assert ask(door, method="POST", body=b"x").status == 200
        server.drop()
        poll(lambda: not server.living, 5, "closed")
        time.sleep(0.02)
    assert [len(s.body) for s in server.requests] == [1] * 5


def test_reset_before_the_answer(door, server):
    server.script(lambda s: s.reset(2))
    assert ask(door, method="POST", body=b"x").status == 502
    server.script(None)
    assert ask(door).status == 200
    assert len({s.conn for s in server.requests}) == 1


def test_reset_in_the_answer(door, server):
    server.script(lambda s: (s.head(200, [("content-length", "10")]), s.data(b"half"), s.reset(2)))
    with Client(door.port) as c:
        c.send(build(host="one.test"))
        assert c.head().status == 200
        assert c.rest() == b"half"


def test_client_leaves(door, server):
    """The server's work is cancelled, its connection stays."""
    begun = threading.Event()
    server.script(lambda s: (begun.set(), s.wait_reset()))
    with Client(door.port) as c:
        c.send(build(host="one.test"))
        begun.wait(10)
        c.reset()
    assert server.requests[0].wait_reset() == CANCEL
    server.script(None)
    assert ask(door).status == 200
    assert len({s.conn for s in server.requests}) == 1


def test_many_resets_of_ours_retire_a_connection(door, server):
    """T1: servers end connections of those who cancel much, and everybody's requests with them."""
    server.script(lambda s: s.reply() if s.method == "POST" else s.wait_reset())
    for i in range(3):
        with Client(door.port) as c:
            c.send(build(host="easy.test"))
            poll(lambda: len(server.requests) == i + 1, 5, "request %d" % i)
            c.reset()
        server.requests[i].wait_reset()
    assert ask(door, "easy.test", method="POST", body=b"").status == 200
    assert len({s.conn for s in server.requests[:3]}) == 1 and server.requests[3].conn is not server.requests[0].conn


def test_timeouts(door, server):
    server.script(lambda s: s.wait_reset())
    assert ask(door, "short.test").status == 504
    assert server.requests[0].wait_reset() == CANCEL
    server.script(lambda s: (s.head(200, [("content-length", "10")]), s.data(b"half"), s.wait_reset()))
    with Client(door.port) as c:
        c.send(build(host="short.test"))
        assert c.head().status == 200
        assert c.rest() == b"half"


def test_big_upload_goes_to_another_server_when_one_is_not_there(make_door, server):
    """Nothing of a body is taken before there is a connection: it can still go elsewhere, however big."""
    door = make_door(workers=1, clusters=[cluster("c", DEAD, server.address, protocol="h2", balance="round_robin", eject_failures=0)],
                     routes=[route("*", "c")])
    server.script(lambda s: s.reply(b"%d" % len(s.body)))
    for _ in range(4):
        assert ask(door, method="POST", body=b"u" * 300000).body == b"300000"


def test_nobody_listens(door):
    assert ask(door, "dead.test").status == 502


def test_server_speaks_http1(door, server):
    server.raw(lambda conn: (conn.more(), conn.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), conn.drain()))
    server.drop()
    poll(lambda: not server.living, 5, "closed")
    assert ask(door, method="POST", body=b"x").status == 502


def test_reload_under_load(door, server):
    """The old generation ends its connections in order, and no request fails."""
    from harness.load import Load

    with Load(door.port, host="one.test", threads=4) as load:
        load.wait(50)
        assert door.reload().returncode == 0
        load.wait(50)
    load.clean()
