"""HTTP/2 in front and behind: what one side says reaches the other, stream by stream."""

import threading

import pytest

from harness.door import Door, cluster, route
from harness.h2 import CANCEL, H2, NO_ERROR, REFUSED_STREAM, request
from harness.h2origin import H2Origin
from harness.net import poll

BIG = bytes(i * 13 & 255 for i in range(2 << 20))


@pytest.fixture(scope="module")
def server():
    o = H2Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, server):
    d = Door(tmp_path_factory.mktemp("h2h2"), workers=1, clusters=[cluster("c", server.address, protocol="h2", retries=1)],
             routes=[route("*", "c")]).start()
    yield d
    d.stop()


def test_request_and_answer(door, server):
    server.script(lambda s: s.reply(b"hello", headers=[("x-answer", "a"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]))
    with H2(door.port) as c:
        r = c.fetch("/a?b=c", headers=[("x-one", "1"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")])
    assert r.status == 200 and r.body == b"hello" and r.get("x-answer") == "a" and r.get("content-length") == "5"
    assert [v for n, v in r.headers if n == "set-cookie"] == ["a=1", "b=2"]
    s = server.one()
    assert s.target == "/a?b=c" and s.get("x-one") == "1" and s.get("cookie") == "a=1; b=2" and s.get("te") == "trailers"


@pytest.mark.parametrize("size", [0, 1, 16384, 100000, len(BIG)])
def test_bodies_of_unknown_length(door, server, size):
    server.script(lambda s: (s.head(200), s.data(s.body, end=True)))
    with H2(door.port) as c:
        st = c.headers(request("POST"), end=False)
        if size:
            c.upload(st, BIG[:size])
        else:
            c.data(st, b"", end=True)
        r = c.response(st)
        assert r.status == 200 and r.body == BIG[:size] and r.get("content-length") is None
    assert server.one().get("content-length") is None


def test_trailers_both_ways(door, server):
    server.script(lambda s: s.reply(s.body, trailers=[("x-sum", "3"), ("grpc-status", "0")]))
    with H2(door.port) as c:
        st = c.headers(request("POST"), end=False)
        c.data(st, b"abc")
        c.headers([("x-late", "1")], stream=st)
        r = c.response(st)
        assert r.body == b"abc" and r.trailers == [("x-sum", "3"), ("grpc-status", "0")]
    assert server.one().trailers == [("x-late", "1")]


def test_trailers_behind_a_body_that_waits(door, server):
    """The client reads late: what the server said last must not be lost meanwhile."""
    server.script(lambda s: s.reply(b"x" * 60000, trailers=[("grpc-status", "0")]))
    with H2(door.port, window=1000) as c:
        c.refill = False
        st = c.get()
        c.until(lambda: len(c.streams.get(st).body if st in c.streams else b"") == 1000)
        c.window(st, 100000)
        r = c.response(st)
        assert len(r.body) == 60000 and r.trailers == [("grpc-status", "0")]


def test_bidirectional(door, server):
    """Each side speaks when it likes."""
    def script(s):
        s.head(200)
        done = 0
        while not s.complete or done < len(s.body):
            s.conn.changed(lambda: len(s.body) > done or s.complete, 10)
            piece = s.body[done:]
            done += len(piece)
            if piece:
                s.data(piece.upper())
        s.data(b"", end=True)

    server.script(script, early=True)
    with H2(door.port) as c:
        st = c.headers(request("POST"), end=False)
        for i in range(20):
            c.data(st, b"word%02d" % i)
            c.until(lambda: st in c.streams and len(c.streams[st].body) == (i + 1) * 6)
        c.data(st, b"", end=True)
        assert c.response(st).body == b"".join(b"WORD%02d" % i for i in range(20))


def test_streams_in_parallel(door, server):
    """Fifty on one connection, over one connection, ended in another order."""
    server.script(lambda s: s.reply(BIG[: int(s.target[1:])]))
    with H2(door.port) as c:
        sizes = [(i * 7919) % 70000 for i in range(50)]
        streams = [c.get("/%d" % n) for n in sizes]
        for st, n in zip(streams, sizes):
            r = c.response(st)
            assert r.status == 200 and r.body == BIG[:n]
    assert len({s.conn for s in server.requests}) == 1


def test_stalled_stream_leaves_the_others_alone(door, server):
    server.script(lambda s: s.reply(BIG if s.target == "/big" else b"small"))
    with H2(door.port, window=1000) as c:
        c.refill = False
        big = c.get("/big")
        for _ in range(20):
            assert c.fetch("/small").body == b"small"
        s = server.requests[0]
        poll(lambda: s.conn.h2.local_flow_control_window(s.id) == 0, 10, "the server waits")
        c.reset(big)
        c.ping()
        assert s.wait_reset() == CANCEL
    assert len({s.conn for s in server.requests}) == 1


def test_cancel_reaches_the_server(door, server):
    begun = threading.Event()
    server.script(lambda s: (begun.set(), s.wait_reset()))
    with H2(door.port) as c:
        st = c.get()
        begun.wait(10)
        c.reset(st)
        c.ping()
        assert server.requests[0].wait_reset() == CANCEL
        server.script(None)
        assert c.fetch().status == 200


def test_reset_reaches_the_client(door, server):
    server.script(lambda s: (s.head(200), s.data(b"half"), s.reset(2)))
    with H2(door.port) as c:
        r = c.fetch()
        assert r.status in (0, 200) and not r.ended and r.reset not in (None, NO_ERROR)
        server.script(None)
        assert c.fetch().status == 200


def test_refused_stream_is_tried_again(door, server):
    left = [1]

    def script(s):
        if left[0]:
            left[0] -= 1
            s.reset(REFUSED_STREAM)
        else:
            s.reply(s.body)

    server.script(script)
    with H2(door.port) as c:
        st = c.headers(request("POST"), end=False)
        c.data(st, b"order", end=True)
        assert c.response(st).body == b"order"


def test_early_answer(door, server):
    server.script(lambda s: s.reply(b"no", status=413), early=True)
    with H2(door.port) as c:
        st = c.headers(request("POST"), end=False)
        c.data(st, b"x" * 1000)
        r = c.response(st)
        assert (r.status, r.body, r.ended) == (413, b"no", True)


def test_head_and_interim(door, server):
    def script(s):
        s.conn.act(lambda c: c.send_headers(s.id, [(":status", "103"), ("link", "</a>")]))
        s.head(200, [("content-length", "1000")], end=True)

    server.script(script)
    with H2(door.port) as c:
        r = c.response(c.headers(request("HEAD")))
        assert r.status == 200 and r.get("content-length") == "1000" and r.body == b"" and r.ended
        assert [i[0] for i in r.interim] == [103]


def test_slow_server_holds_the_upload(door, server):
    """Its closed window closes that of the client; nothing piles up in between."""
    server.script(lambda s: s.reply() if s.method == "GET" else s.done.wait(20), early=True)
    server.hold_window = True
    with H2(door.port) as c:
        st = c.headers(request("POST"), end=False)
        sent = 0
        while sent < (1 << 20):
            room = min(c.room(st), c.room(0), 16384)
            if room <= 0:
                before = len(c.order)
                c.ping()
                if min(c.room(st), c.room(0)) <= 0 and len(c.order) - before <= 1:
                    break
                continue
            c.data(st, b"u" * room)
            c.given[st] = c.given.get(st, 0) - room
            c.given[0] = c.given.get(0, 0) - room
            sent += room
        assert 65535 < sent < 600000
        assert c.fetch().status == 200
        c.reset(st)
        c.ping()
