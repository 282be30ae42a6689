"""Uplinks that are used again, and what may be sent a second time (RFC 9110 9.2.2)."""

import collections
import socket
import threading
import time

import pytest

from harness.door import Door, cluster, route
from harness.load import Load
from harness.net import Client, build, fetch, free_port, poll
from harness.origin import OK, Gone, reply

DEAD = "127.0.0.1:1"  # nothing listens there


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, origin2):
    d = Door(
        tmp_path_factory.mktemp("reuse"), workers=1,
        clusters=[
            cluster("one", origin.address), cluster("two", origin.address, origin2.address, balance="round_robin"),
            cluster("half", DEAD, origin.address, balance="round_robin"), cluster("dead", DEAD, retries=2, retry_after=3),
            cluster("short", origin.address, idle_timeout="300ms"), cluster("few", origin.address, max_uplink_requests=3),
            cluster("never", origin.address, origin2.address, retries=0, balance="round_robin"),
            cluster("small", origin.address, origin2.address, replay_limit="1k", balance="round_robin"),
        ],
        routes=[route(n + ".test", n) for n in ("one", "two", "half", "dead", "short", "few", "never", "small")],
    ).start()
    yield d
    d.stop()


def close_after_next_request(origin, count=1):
    """The wrong moment: an uplink that has served before is closed as the next request arrives on it."""
    left = [count]
    served = set()

    def script(conn, request):
        if conn in served and left[0] > 0:
            left[0] -= 1
            return False
        served.add(conn)
        conn.send(reply(b"" if request.method == "HEAD" else request.target.encode()))
        return True

    origin.script(script)


def test_uplinks_are_reused(door, origin):
    for i in range(20):
        assert fetch(door.port, host="one.test").status == 200
    assert len({r.conn for r in origin.requests}) == 1


def test_uplink_closed_while_idle(door, origin):
    for _ in range(10):
        assert fetch(door.port, host="one.test").status == 200
        origin.drop()
        assert fetch(door.port, host="one.test").status == 200


def test_uplink_reset_while_idle(door, origin):
    for _ in range(10):
        assert fetch(door.port, host="one.test").status == 200
        for c in list(origin.living):
            c.reset()
        assert fetch(door.port, host="one.test").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_closed_at_the_wrong_moment(door, origin, method):
    close_after_next_request(origin)
    body = b"same again" if method == "PUT" else None
    assert fetch(door.port, method, "/1", host="one.test", body=body).status == 200
    assert fetch(door.port, method, "/2", host="one.test", body=body).status == 200
    assert [r.target for r in origin.requests if r.complete] == ["/1", "/2", "/2"]
    assert all(r.body == (body or b"") for r in origin.requests)


def test_post_is_never_sent_twice(door, origin):
    close_after_next_request(origin)
    assert fetch(door.port, "POST", "/1", host="one.test", body=b"order 1").status == 200
    assert fetch(door.port, "POST", "/2", host="one.test", body=b"order 2").status == 502
    assert [r.target for r in origin.requests] == ["/1", "/2"]


def test_post_on_an_uplink_that_was_closed_before(door, origin):
    """Nothing was sent on it that counts: a POST takes another connection and succeeds."""
    for i in range(10):
        assert fetch(door.port, host="one.test", target="/warm").status == 200
        origin.drop()
        time.sleep(0.02)  # lets the FIN arrive; the race without it is the test above
        assert fetch(door.port, "POST", "/%d" % i, host="one.test", body=b"x").status == 200
    posts = [r.target for r in origin.requests if r.method == "POST"]
    assert posts == ["/%d" % i for i in range(10)]


def test_answer_begun_is_never_repeated(door, origin):
    def half(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhell")
        return False

    origin.script(half)
    with Client(door.port) as c:
        c.send(build(host="one.test"))
        assert c.head().status == 200
        assert c.rest() == b"hell"
    assert len(origin.requests) == 1


def die_once(seen):
    """Takes a whole request and dies; from the second on it answers. The bodies go to `seen`."""
    def script(conn, request):
        seen.append(request.read_body().body)
        if len(seen) == 1:
            return False
        conn.send(OK)
        return True

    return script


def test_body_above_the_replay_limit_is_not_repeated(door, origin, origin2):
    seen = []
    for o in (origin, origin2):
        o.script(die_once(seen), early=True)
    assert fetch(door.port, "PUT", host="small.test", body=b"x" * 5000).status == 502
    assert seen == [b"x" * 5000]


@pytest.mark.parametrize("size", [1, 900])
def test_body_within_the_replay_limit_is_repeated(door, origin, origin2, size):
    seen = []
    for o in (origin, origin2):
        o.script(die_once(seen), early=True)
    assert fetch(door.port, "PUT", host="small.test", body=b"y" * size).status == 200
    assert seen == [b"y" * size] * 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_connection_goes_to_another_endpoint(door, origin, method):
    for _ in range(20):
        assert fetch(door.port, method, host="half.test", body=b"x").status == 200
    assert len(origin.requests) == 20


def test_failed_server_goes_to_another_endpoint(door, origin, origin2):
    origin.script(lambda conn, r: False)
    for _ in range(10):
        assert fetch(door.port, host="two.test").status == 200
    assert len(origin2.completed) == 10


def test_no_retries_when_none_are_allowed(door, origin, origin2):
    origin.script(lambda conn, r: False)
    got = collections.Counter(fetch(door.port, host="never.test").status for _ in range(10))
    assert got == {200: 5, 502: 5}


def test_all_endpoints_down(door):
    with Client(door.port) as c:
        for _ in range(3):
            c.send(build(host="dead.test"))
            assert c.response().status in (502, 503)


def test_idle_timeout_of_uplinks(door, origin):
    assert fetch(door.port, host="short.test").status == 200
    conn = origin.one().conn
    begin = time.monotonic()
    poll(lambda: conn not in origin.living, 3, "idle uplink closed")
    assert 0.2 < time.monotonic() - begin + 0.1
    assert conn.ended == "eof"


def test_requests_of_one_uplink_are_bounded(door, origin):
    for _ in range(9):
        assert fetch(door.port, host="few.test").status == 200
    per_conn = collections.Counter(r.conn for r in origin.requests)
    assert max(per_conn.values()) <= 3


def test_retries_are_counted_in(door, origin):
    """Every attempt fails: the first and two more, then 502."""
    origin.script(lambda conn, r: False)
    assert fetch(door.port, host="one.test").status == 502
    assert 1 <= len(origin.requests) <= 3


@pytest.mark.guard(60)
def test_no_post_twice_under_fire(door, origin, origin2):
    """Servers die at random moments under load: POSTs may fail, none arrives twice, and no GET fails."""
    import random

    rng = random.Random(7)
    lock = threading.Lock()
    seen = collections.Counter()

    def shaky(conn, request):
        with lock:
            seen[(request.method, request.target)] += 1
            chance = rng.random()
        if chance < 0.05 and request.method == "POST":
            conn.reset() if chance < 0.025 else None
            return False
        conn.send(OK)
        return chance < 0.9  # now and then the connection ends after a good answer

    origin.script(shaky)
    origin2.script(shaky)
    with Load(door.port, 3, host="two.test", target="/p{n}", method="POST", body=b"x", accept=(200, 502)) as posts, \
            Load(door.port, 3, host="two.test", target="/g{n}") as gets:
        posts.wait(1500, 40)
        gets.wait(500, 40)
    assert not gets.failures and not posts.failures, (gets.failures[:3], posts.failures[:3])
    assert not [k for k, n in seen.items() if k[0] == "POST" and n > 1]


def test_many_idle_uplinks_die_at_once(door, origin):
    """Fill the pool, cut it, and not one GET of the next wave fails."""
    gate = threading.Barrier(20)

    def together(conn, request):
        if request.target == "/fill":
            gate.wait(10)
        conn.send(OK)

    origin.script(together)
    clients = [Client(door.port) for _ in range(20)]
    for c in clients:
        c.send(build(target="/fill", host="one.test"))
    for c in clients:
        assert c.response().status == 200
    for c in list(origin.living):
        c.reset()
    for c in clients:
        c.send(build(target="/next", host="one.test"))
    for c in clients:
        assert c.response().status == 200
        c.close()
