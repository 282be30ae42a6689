"""Every limit and time-out: just below, at, and above where the number is exact."""

import socket
import time

import pytest

from harness.door import Door, cluster, route
from harness.net import SLOW, Client, build, fetch, poll
from harness.origin import OK, reply

SHORT = {"client_header_timeout": "600ms", "client_idle_timeout": "900ms", "client_body_timeout": "700ms",
         "client_write_timeout": "1s"}


@pytest.fixture(scope="module")
def hole():
    """A listener whose queue is full: connecting to it hangs."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    fill = []
    for _ in range(3):
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(s.getsockname())
        fill.append(c)
    yield "127.0.0.1:%d" % s.getsockname()[1]
    for c in fill + [s]:
        c.close()


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, hole):
    d = Door(
        tmp_path_factory.mktemp("limits"),
        listeners={
            "web": {"max_line_size": "1k", "max_header_size": "4k", "max_header_count": 20, "max_body_size": "10000"},
            "short": SHORT, "rate": {"client_body_min_rate": 1000, "client_body_timeout": "20s"},
            "few": {"max_requests": 3}, "crowd": {"max_sessions_per_client": 3, "limit_loopback": True},
            "friends": {"max_sessions_per_client": 3, "limit_loopback": True, "trusted": ["127.0.0.0/8"]},
        },
        clusters=[
            cluster("web", origin.address), cluster("hang", hole, connect_timeout="500ms", retries=0),
            cluster("slow", origin.address, response_timeout="500ms", retries=0),
            cluster("stall", origin.address, body_timeout="500ms", retries=0),
            cluster("tunnel", origin.address, tunnel_timeout="500ms"),
            cluster("heads", origin.address, max_response_header_size="4k"),
            cluster("interim", origin.address, max_interim=3),
        ],
        routes=[route("web.test", "web")] + [route(n + ".test", n) for n in ("hang", "slow", "stall", "tunnel", "heads", "interim")],
    ).start()
    yield d
    d.stop()


def line_of(n):
    """A request whose first line, without its CRLF, is n bytes long."""
    raw = build(target="/" + "a" * (n - len("GET / HTTP/1.1")))
    assert len(raw.split(b"\r\n")[0]) == n
    return raw


@pytest.mark.parametrize("size,status", [(900, 200), (1020, 200), (1027, 414), (3000, 414), (100000, 414)])
def test_line_limit(door, origin, size, status):
    with Client(door.port) as c:
        c.send_quietly(line_of(size))
        assert c.response().status == status
        assert c.closed() if status == 414 else True
    assert len(origin.requests) == (status == 200)


@pytest.mark.parametrize("size,status", [(3000, 200), (3900, 200), (4200, 431), (50000, 431)])
def test_header_size_limit(door, origin, size, status):
    raw = build(headers=[("X-A", "a" * 500)] * (size // 508) + [("X-B", "b" * (size % 508))])
    with Client(door.port) as c:
        c.send_quietly(raw)
        assert c.response().status == status
    assert len(origin.requests) == (status == 200)


@pytest.mark.parametrize("count,status", [(19, 200), (20, 200), (21, 431), (200, 431)])
def test_header_count_limit(door, origin, count, status):
    with Client(door.port) as c:  # Host is one of them
        c.send_quietly(build(headers=[("X", "y")] * (count - 1)))
        assert c.response().status == status
    assert len(origin.requests) == (status == 200)


@pytest.mark.parametrize("size,status", [(9999, 200), (10000, 200), (10001, 413), (10 ** 12, 413)])
def test_body_limit_by_length(door, origin, size, status):
    with Client(door.port) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: %d\r\n\r\n" % size)
        c.send_quietly(b"x" * min(size, 20000))
        assert c.response().status == status
    assert len(origin.requests) == (status == 200)


@pytest.mark.parametrize("size,status", [(10000, 200), (10001, 413), (30000, 413)])
def test_body_limit_in_chunks(door, origin, size, status):
    with Client(door.port) as c:
        c.send(build("POST", headers={"Transfer-Encoding": "chunked"}))
        for i in range(0, size, 1000):
            n = min(1000, size - i)
            c.send_quietly(b"%x\r\n" % n + b"x" * n + b"\r\n")
        c.send_quietly(b"0\r\n\r\n")
        assert c.response().status == status
    assert len(origin.completed) == (status == 200)


def test_body_limit_and_expectation(door, origin):
    """A body that is too large is refused before it is sent."""
    with Client(door.port) as c:
        c.send(build("POST", headers={"Expect": "100-continue", "Content-Length": "20000"}))
        r = c.response()
        assert r.status == 413 and r.interim == []
    assert origin.bytes == b""


def test_request_limit_of_a_connection(door):
    with Client(door.ports["few"]) as c:
        c.send(build() * 5)
        got = [c.response() for _ in range(3)]
        assert [r.status for r in got] == [200] * 3
        assert [r.get("connection") for r in got][2] == "close" and c.closed()


def timed(low, high, begin):
    took = time.monotonic() - begin
    assert low * 0.8 <= took <= high * SLOW, "took %.2f s" % took


def test_header_timeout(door, origin):
    with Client(door.ports["short"]) as c:
        begin = time.monotonic()
        c.send(b"GET / HTTP/1.1\r\nHost: web")
        r = c.response()
        assert r.status == 408 and r.get("connection") == "close" and c.closed()
        timed(0.6, 2.5, begin)
    assert origin.bytes == b""


def test_header_timeout_of_a_second_request(door):
    with Client(door.ports["short"]) as c:
        c.send(build() + b"GET / HT")
        assert c.response().status == 200
        assert c.response().status == 408 and c.closed()


def test_header_in_time(door):
    with Client(door.ports["short"]) as c:
        c.send(b"GET / HTTP/1.1\r\n", b"Host: web.test\r\n\r\n", delay=0.3)
        assert c.response().status == 200


@pytest.mark.parametrize("requests", [0, 1])
def test_idle_timeout(door, requests):
    with Client(door.ports["short"]) as c:
        for _ in range(requests):
            c.send(build())
            assert c.response().status == 200
        begin = time.monotonic()
        assert c.closed()  # with a FIN and without a word
        timed(0.5, 3, begin)


def test_requests_reset_the_idle_timeout(door):
    with Client(door.ports["short"]) as c:
        for _ in range(6):
            c.send(build())
            assert c.response().status == 200
            time.sleep(0.3)


def test_body_stall(door, origin):
    with Client(door.ports["short"]) as c:
        begin = time.monotonic()
        c.send(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 10\r\n\r\nhello")
        assert c.response().status == 408 and c.closed()
        timed(0.7, 3, begin)
    assert not origin.completed


def test_slow_body_that_moves(door, origin):
    with Client(door.ports["short"]) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 5\r\n\r\n")
        c.send(b"h", b"e", b"l", b"l", b"o", delay=0.3)
        assert c.response().status == 200
    assert origin.one().body == b"hello"


def test_body_rate(door, origin):
    """Moves all the time and is still too slow on average: given up after the first ten seconds."""
    with Client(door.ports["rate"]) as c:
        begin = time.monotonic()
        c.send(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 1000000\r\n\r\n")
        c.sock.settimeout(0.2)
        while time.monotonic() - begin < 20 * SLOW and not c.buf:
            c.send_quietly(b"x" * 20)
            try:
                if not c.more():
                    break
            except socket.timeout:
                pass
        assert b" 408 " in c.buf
        timed(8, 18, begin)
    assert not origin.completed


def test_client_that_does_not_read(door, origin):
    total = 200 << 20

    def flood(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total >> 16):
            conn.send(b"x" * 65536)

    origin.script(flood)
    with Client(door.ports["short"], rcvbuf=4096) as c:
        c.send(build())
        c.head()
        poll(lambda: origin.requests and origin.requests[0].conn not in origin.living, 8, "given up")


def test_connect_timeout(door):
    begin = time.monotonic()
    assert fetch(door.port, host="hang.test").status == 504
    timed(0.5, 3, begin)


def test_response_timeout(door, origin):
    origin.script(lambda conn, r: conn.drain() or False)
    begin = time.monotonic()
    assert fetch(door.port, "POST", host="slow.test", body=b"x").status == 504
    timed(0.5, 3, begin)
    poll(lambda: origin.requests[0].conn not in origin.living, message="uplink closed")


def test_response_in_time(door, origin):
    origin.script(lambda conn, r: time.sleep(0.2) or conn.send(OK))
    assert fetch(door.port, host="slow.test").status == 200


def test_response_timeout_begins_when_the_request_is_sent(door, origin):
    """A slow upload is not the server's fault."""
    with Client(door.port) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: slow.test\r\nContent-Length: 5\r\n\r\n")
        c.send(b"h", b"e", b"l", b"l", b"o", delay=0.2)
        assert c.response().status == 200


def test_answer_that_stalls(door, origin):
    def stall(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        conn.drain()
        return False

    origin.script(stall)
    with Client(door.port) as c:
        c.send(build(host="stall.test"))
        assert c.head().status == 200
        begin = time.monotonic()
        try:
            assert c.rest() == b"hello"
        except ConnectionResetError:
            pass
        timed(0.3, 3, begin)


def test_answer_that_drips(door, origin):
    def drip(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        for b in b"hello":
            time.sleep(0.2)
            conn.send(bytes([b]))

    origin.script(drip)
    assert fetch(door.port, host="stall.test").body == b"hello"


def test_tunnel_timeout(door, origin):
    def tunnel(conn, request):
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        conn.drain()
        return False

    origin.script(tunnel)
    with Client(door.port) as c:
        c.send(build(host="tunnel.test", headers={"Connection": "Upgrade", "Upgrade": "x"}))
        assert c.response().status == 101
        begin = time.monotonic()
        assert c.closed()
        timed(0.4, 3, begin)


@pytest.mark.parametrize("size,status", [(3500, 200), (4500, 502), (100000, 502)])
def test_response_header_limit(door, origin, size, status):
    origin.script(lambda conn, r: conn.send(reply(headers=[("X-Big", "b" * 990)] * (size // 1000) + [("X", "y" * (size % 1000))])))
    assert fetch(door.port, host="heads.test").status == status


@pytest.mark.parametrize("count,status", [(3, 200), (4, 502)])
def test_interim_limit(door, origin, count, status):
    origin.script(lambda conn, r: conn.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * count + OK))
    assert fetch(door.port, host="interim.test").status == status


def test_connections_of_one_client(door, origin):
    """At the limit all are served, one above is closed unread, and a place that is given back can be had again (H32)."""
    clients = [Client(door.ports["crowd"]) for _ in range(3)]
    for c in clients:
        c.send(build(host="web.test"))
        assert c.response().status == 200
    with Client(door.ports["crowd"]) as late:  # says nothing: what it said would be unread, and the close a reset
        assert late.closed()
    clients.pop().close()

    def served():
        with Client(door.ports["crowd"]) as c:
            try:
                return c.send_quietly(build(host="web.test")) and c.response().status == 200
            except (OSError, AssertionError):
                return False

    poll(served, message="a place that was given back")
    for c in clients:
        c.close()


def test_trusted_clients_are_not_limited(door, origin):
    clients = [Client(door.ports["friends"]) for _ in range(6)]
    for c in clients:
        c.send(build(host="web.test"))
        assert c.response().status == 200
        c.close()
