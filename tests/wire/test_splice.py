"""Large bodies from socket to socket (splice): every byte arrives, whoever is slow, leaves or breaks off, and what has
to be looked at is not passed by."""

import gzip
import hashlib
import os
import random
import threading

import pytest

from harness.door import Door, cluster, route
from harness.net import SLOW, Client, Truncated, build, fetch, poll

MIB = 1 << 20
BODY = random.Random(7).randbytes(5 * MIB + 12345)


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin):
    d = Door(tmp_path_factory.mktemp("splice"), listeners={"web": {"max_body_size": "0"}},
             clusters=[cluster("web", origin.address), cluster("buffered", origin.address, response_buffer=True),
                       cluster("gzip", origin.address, compress={"gzip": True})],
             routes=[route("*", "web"), route("buffered.test", "buffered"), route("gzip.test", "gzip")]).start()
    yield d
    d.stop()


@pytest.fixture
def plain_door(make_door, origin):
    return make_door(splice_pipes=0, workers=1, listeners={"web": {"max_body_size": "0"}},
                     clusters=[cluster("web", origin.address)], routes=[route("*", "web")])


def pipes(door):
    """Pipes that the proxy has open."""
    ends = []
    for pid in door.children("proxy"):
        for fd in os.listdir("/proc/%d/fd" % pid):
            try:
                ends.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
            except FileNotFoundError:
                pass
    return sum(1 for e in ends if e.startswith("pipe:")) // 2


def answer(body, head=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"):
    def script(conn, request):
        conn.send(head % len(body) if b"%d" in head else head)
        conn.send(body)
        return b"%d" in head  # without a length the end is the end

    return script


def digest(data):
    return hashlib.sha256(data).hexdigest()


def test_download_with_a_length(door, origin):
    before = pipes(door)
    origin.script(answer(BODY))
    with Client(door.port) as c:
        for _ in range(3):
            c.send(build())
            r = c.response()
            assert r.status == 200 and digest(r.body) == digest(BODY)
    assert pipes(door) > before  # so it did not go through our memory
    assert len({r.conn for r in origin.requests}) == 1  # and the uplink was used again


def test_download_up_to_the_end_of_the_connection(door, origin):
    origin.script(answer(BODY, head=b"HTTP/1.0 200 OK\r\n\r\n"))
    with Client(door.port) as c:
        c.send(b"GET / HTTP/1.0\r\nHost: web.test\r\n\r\n")
        c.head()
        assert digest(c.rest()) == digest(BODY)
    with Client(door.port) as c:  # HTTP/1.1 gets chunks
        c.send(build())
        r = c.response()
        assert r.framing == "chunked" and digest(r.body) == digest(BODY)


def test_upload(door, origin):
    with Client(door.port) as c:
        for _ in range(3):
            c.send(build("PUT", "/", body=BODY))
            assert c.response().status == 200
    for r in origin.wait(3):
        assert digest(r.body) == digest(BODY)


def test_both_ways_at_once(door, origin):
    def echo(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        have = 0
        while have < len(BODY):
            data = bytes(conn.buf) or conn.sock.recv(65536)
            conn.buf.clear()
            have += len(data)
            conn.send(data)
        request.complete = True

    origin.script(echo, early=True)
    with Client(door.port) as c:
        t = threading.Thread(target=c.send, args=(build("PUT", "/", body=BODY),), daemon=True)
        t.start()
        assert digest(c.response().body) == digest(BODY)
        t.join()


@pytest.mark.parametrize("size", [(64 << 10) - 1, 64 << 10, (64 << 10) + 1, 128 << 10, (512 << 10) + 1])
def test_sizes_around_what_is_worth_it(door, origin, size):
    origin.script(answer(BODY[:size]))
    with Client(door.port) as c:
        for _ in range(4):
            c.send(build("PUT", "/", body=BODY[:size]))
            r = c.response()
            assert r.status == 200 and r.body == BODY[:size]
    assert all(r.body == BODY[:size] for r in origin.wait(4))
    assert len({r.conn for r in origin.requests}) == 1


def test_a_server_that_says_more_than_it_announced(door, origin):
    def script(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MIB)
        conn.send(BODY[:MIB] + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    origin.script(script)
    with Client(door.port) as c:
        c.send(build())
        assert c.response().body == BODY[:MIB]
        origin.script(answer(b"mine"))
        c.send(build())
        assert c.response().body == b"mine"
    assert len({r.conn for r in origin.requests}) == 2


def test_a_client_that_pipelines_behind_its_body(door, origin):
    with Client(door.port) as c:
        c.send(build("PUT", "/1", body=BODY[:MIB]) + build("PUT", "/2", body=b"small") + build("GET", "/3"))
        for _ in range(3):
            assert c.response().status == 200
    first, second, third = origin.wait(3)
    assert (first.body, second.body, third.target) == (BODY[:MIB], b"small", "/3")


def test_slow_client_gets_all(door, origin):
    origin.script(answer(BODY))
    with Client(door.port, rcvbuf=4096, timeout=30) as c:
        c.send(build())
        assert digest(c.response().body) == digest(BODY)


def test_more_slow_clients_than_pipes(make_door, origin):
    small = make_door(splice_pipes=2, workers=1, clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    origin.script(answer(BODY))
    before = pipes(small)
    clients = [Client(small.port, rcvbuf=4096, timeout=60) for _ in range(6)]
    for c in clients:
        c.send(build())
    for c in clients:
        c.head()
    poll(lambda: pipes(small) == before + 2, 5, "both pipes in use")
    assert fetch(small.port).body == BODY
    assert pipes(small) == before + 2
    rest = [None] * 6

    def read(i):
        rest[i] = clients[i].exactly(len(BODY))

    threads = [threading.Thread(target=read, args=(i,), daemon=True) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * SLOW)
    assert [digest(r) for r in rest] == [digest(BODY)] * 6
    for c in clients:
        c.close()


def test_client_that_leaves_in_the_middle(door, origin):
    origin.script(answer(BODY))
    for how in ("close", "reset"):
        with Client(door.port, rcvbuf=4096) as c:
            c.send(build())
            c.head()
            getattr(c, how)()
    origin.script(None)
    assert fetch(door.port).status == 200
    door.check_quiet()


def test_client_that_stops_uploading(door, origin):
    started = threading.Event()

    def script(conn, request):
        started.set()
        conn.drain()
        return False

    origin.script(script, early=True)
    with Client(door.port) as c:
        c.send(b"PUT / HTTP/1.1\r\nHost: web.test\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY[:2 * MIB])
        assert started.wait(10 * SLOW)
        c.reset()
    door.check_quiet()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_server_that_breaks_off(door, origin, how):
    def script(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        conn.send(BODY[:2 * MIB])
        getattr(conn, how)()
        return False

    origin.script(script)
    with Client(door.port) as c:
        c.send(build())
        with pytest.raises((Truncated, ConnectionError)):
            c.response()
    origin.script(None)
    assert fetch(door.port).status == 200


def test_server_that_answers_before_it_has_read_all(door, origin):
    def script(conn, request):
        conn.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")
        conn.half_close()
        conn.drain()
        return False

    origin.script(script, early=True)
    with Client(door.port) as c:
        threading.Thread(target=c.send_quietly, args=(build("PUT", "/", body=BODY),), daemon=True).start()
        r = c.response()
        assert r.status == 413 and r.body == b"much"
    door.check_quiet()


def test_bytes_are_counted(door, origin):
    def sums():
        c = door.cluster("web")
        e = c["endpoints"][0]
        return [c["rx_bytes"], c["tx_bytes"], e["rx_bytes"], e["tx_bytes"]]

    origin.script(answer(BODY))
    before = sums()
    with Client(door.port) as c:
        c.send(build("PUT", "/", body=BODY))
        assert len(c.response().body) == len(BODY)
    door.check_quiet()
    for was, now in zip(before, sums()):
        assert len(BODY) <= now - was < len(BODY) + 4096


def test_what_is_looked_at_is_not_passed_by(door, origin):
    origin.script(answer(BODY))
    r = fetch(door.port, host="buffered.test")
    assert digest(r.body) == digest(BODY)
    r = fetch(door.port, host="gzip.test", headers={"Accept-Encoding": "gzip"})
    assert r.get("content-encoding") == "gzip"
    assert digest(gzip.decompress(r.body)) == digest(BODY)


def test_switched_off_no_pipe_is_made(plain_door, origin):
    before = pipes(plain_door)
    origin.script(answer(BODY))
    with Client(plain_door.port) as c:
        c.send(build("PUT", "/", body=BODY))
        assert digest(c.response().body) == digest(BODY)
    assert pipes(plain_door) == before
    assert digest(origin.one().body) == digest(BODY)
