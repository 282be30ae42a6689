"""HTTP/2 clients that ask for more than they take, or for much at once: what is left with the kernel, who gets a turn in between,
and that every answer comes in the end."""

import os
import signal
import time

import pytest

from harness import h2
from harness.door import Door, cluster, route
from harness.h2 import H2, request
from harness.net import Client, build, poll
from harness.origin import reply

BODY = b"x" * 150000  # all of them are more than the kernel takes
OPEN = 60


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin):
    d = Door(tmp_path_factory.mktemp("unread"), workers=1, listeners={"web": {}, "brief": {"client_body_timeout": "2s"}},
             clusters=[cluster("o", origin.address, retries=0)], routes=[route("web.test", "o")])
    d.config["log"]["access_format"] = "$target"
    d.start()
    yield d
    d.stop()


@pytest.fixture(autouse=True)
def answers(origin):
    origin.script(lambda conn, r: (r.read_body(), conn.send(reply(BODY))), early=True)


def unread_bytes(port, client):
    """What the kernel holds for the proxy's end of that connection; 0 as well when its line was passed over, as happens while others change."""
    pair = ["0100007F:%04X" % port, "0100007F:%04X" % client.sock.getsockname()[1]]
    with open("/proc/net/tcp") as f:
        line = next((words for words in map(str.split, f) if words[1:3] == pair), None)
    return int(line[4].split(":")[1], 16) if line else 0


def look(door):
    """A few turns of the only worker."""
    for _ in range(3):
        with Client(door.port) as other:
            other.send(build(host="nobody.test"))
            assert other.response().status == 404


def choke(door, port, c, origin):
    """Requests whose answers fill the socket, until the proxy reads no more. Returns how many were read."""
    for _ in range(OPEN):
        c.get()

    def is_left():
        c.frame(h2.PING, 0, 0, b"12345678")
        look(door)
        return unread_bytes(port, c)

    poll(is_left, 10, "it is not read any more")
    return len(origin.requests)


def settled(origin):
    """How many requests the server has, once none has come for a quarter of a second: some were on their way."""
    seen, since = -1, 0.0

    def is_calm():
        nonlocal seen, since
        if len(origin.requests) != seen:
            seen, since = len(origin.requests), time.monotonic()
        return time.monotonic() - since > 0.25

    poll(is_calm, 10, "no further request")
    return seen


def test_t17_who_takes_no_answers_asks_for_no_more(door, origin):
    port = door.port
    with H2(port, window=1 << 24, rcvbuf=4096) as c:
        choke(door, port, c, origin)
        read = settled(origin)
        assert read >= 16
        for _ in range(20):
            c.get()
        look(door)
        assert settled(origin) == read
        for s in range(1, c.next_id, 2):
            assert c.response(s).body == BODY
    assert len(origin.completed) == OPEN + 20


def test_t17_few_requests_are_read_all_the_same(door, origin):
    """Their uploads, resets and window updates are worth more than what they can cost."""
    with H2(door.port, window=1 << 24, rcvbuf=4096) as c:
        for _ in range(10):
            c.get("/much")
        poll(lambda: len(origin.requests) == 10, 10, "all are with the server")
        for n in range(11, 16):
            c.get()
            poll(lambda: len(origin.requests) == n, 10, "another one is")
        for s in range(1, c.next_id, 2):
            assert c.response(s).body == BODY


def test_t17_who_is_not_read_is_not_slow(door, origin):
    """The time in which a client is not read is not that of its body."""
    port = door.ports["brief"]
    with H2(port, window=1 << 24, rcvbuf=4096) as c, H2(port) as other:
        post = c.headers(request("POST"), end=False)
        c.data(post, b"first")
        choke(door, port, c, origin)
        c.data(post, b"second", end=True)
        late = other.headers(request("POST"), end=False)
        other.data(late, b"first")
        assert other.response(late).status == 408  # by now it would be c's turn
        for s in range(1, c.next_id, 2):
            assert (c.response(s).status, c.response(s).body) == (200, BODY)
    assert b"firstsecond" in [r.body for r in origin.completed]


CROWD, EACH = 100, 100


@pytest.mark.guard(60)
def test_ten_thousand_requests_at_once_do_not_keep_others_waiting(door):
    """A hundred connections have a hundred requests each; whoever comes last has one and need not wait for all of them."""
    crowd = [H2(door.port) for _ in range(CROWD)]
    last = Client(door.port)
    try:
        for c in crowd:
            c.ping()
        last.send(build(host="nobody.test", target="/first"))
        assert last.response().status == 404
        sent = [b"".join(h2.frame(h2.HEADERS, h2.END_STREAM | h2.END_HEADERS, c.stream(), c.fields(request(host="nobody.test")))
                         for _ in range(EACH)) for c in crowd]
        proxies = door.children("proxy")
        for p in proxies:
            os.kill(p, signal.SIGSTOP)
        try:
            for c, data in zip(crowd, sent):
                c.send(data)
            last.send(build(host="nobody.test", target="/last"))
        finally:
            for p in proxies:
                os.kill(p, signal.SIGCONT)
        assert last.response().status == 404
        for c in crowd:
            for s in range(1, c.next_id, 2):
                assert c.response(s).status == 404
    finally:
        for c in [*crowd, last]:
            c.close()

    def lines():
        with open(door.access) as f:
            found = f.read().splitlines()
        return found[found.index("/first") + 1:] if "/first" in found else []

    poll(lambda: len(lines()) == CROWD * EACH + 1, 10, "all are in the log")
    at = lines().index("/last")
    assert at < CROWD * EACH * 2 // 3, "the last one came as number %d" % at
