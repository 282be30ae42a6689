"""WebSockets to servers of HTTP/2: extended CONNECT (RFC 8441) behind clients of HTTP/1.1."""

import threading
import time

import pytest

from harness.door import Door, cluster, route
from harness.h2 import ENABLE_CONNECT, H2
from harness.h2origin import CANCEL, Code, H2Origin
from harness.net import Client, build, fetch, poll

WS = {"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version": "13"}


@pytest.fixture(scope="module")
def server():
    o = H2Origin(settings={Code.ENABLE_CONNECT_PROTOCOL: 1})
    yield o
    o.stop()


@pytest.fixture(scope="module")
def plain():
    """A server that knows no extended CONNECT."""
    o = H2Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, server, plain):
    d = Door(
        tmp_path_factory.mktemp("h2tunnel"), workers=1,
        clusters=[cluster("ws", server.address, protocol="h2", tunnel_timeout="1s"), cluster("plain", plain.address, protocol="h2"),
                  cluster("denied", server.address, protocol="h2", upgrade="deny")],
        routes=[route("*", "ws"), route("plain.test", "plain"), route("denied.test", "denied")],
    ).start()
    yield d
    d.stop()


def echo(s):
    """Opens, and sends back all that comes in capitals, until the client's end."""
    s.head(200, [("sec-websocket-protocol", "chat")])
    done = 0
    while True:
        s.conn.changed(lambda: len(s.body) > done or s.complete or s.reset_code is not None, 20)
        piece = s.body[done:]
        done += len(piece)
        if piece:
            s.data(piece.upper())
        elif s.complete or s.reset_code is not None:
            break
    if s.reset_code is None:
        s.data(b"", end=True)


def open_socket(door, **kw):
    c = Client(door.port)
    c.send(build(target="/ws?a=b", headers=WS, **kw))
    r = c.response()
    assert r.status == 101, r
    return c, r


def test_websocket(door, server):
    server.script(echo, early=True)
    c, r = open_socket(door)
    with c:
        assert r.get("upgrade") == "websocket" and r.get("connection").lower() == "upgrade"
        assert r.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3
        assert r.get("sec-websocket-protocol") == "chat" and r.get("content-length") is None
        for i in range(20):
            c.send(b"hello %d\n" % i)
            assert c.until(b"\n") == b"HELLO %d" % i
        big = b"x" * 3000000
        threading.Thread(target=c.send, args=(big,), daemon=True).start()
        assert c.exactly(len(big)) == big.upper()
        assert door.cluster("ws")["tunnels"] == 1
    s = server.one() if server.requests[0].complete else server.requests[0]
    assert (s.method, s.get(":protocol"), s.target, s.get(":scheme")) == ("CONNECT", "websocket", "/ws?a=b", "http")
    assert s.get("sec-websocket-version") == "13" and s.get("sec-websocket-key") is None
    assert s.get("upgrade") is None and s.get("connection") is None


def test_tunnels_and_requests_share_a_connection(door, server):
    server.script(lambda s: echo(s) if s.method == "CONNECT" else s.reply(), early=True)
    c, _ = open_socket(door)
    d, _ = open_socket(door)
    with c, d:
        assert fetch(door.port).status == 200
        for x in (c, d):
            x.send(b"one\n")
            assert x.until(b"\n") == b"ONE"
    assert len({s.conn for s in server.requests}) == 1


def test_half_close(door, server):
    server.script(echo, early=True)
    c, _ = open_socket(door)
    with c:
        c.send(b"last words")
        c.half_close()
        assert c.rest() == b"LAST WORDS"


def test_the_server_ends_it(door, server):
    server.script(lambda s: (s.head(200), s.data(b"bye", end=True)), early=True)
    c, _ = open_socket(door)
    with c:
        assert c.exactly(3) == b"bye" and c.closed()


def test_the_server_resets_it(door, server):
    server.script(lambda s: (s.head(200), s.data(b"bye"), s.reset(CANCEL)), early=True)
    c, _ = open_socket(door)
    with c:
        assert c.rest() == b"bye"


def test_the_client_leaves(door, server):
    server.script(echo, early=True)
    c, _ = open_socket(door)
    c.send(b"x\n")
    assert c.until(b"\n") == b"X"
    c.reset()
    assert server.requests[0].wait_reset() == CANCEL


def test_refused_by_the_server(door, server):
    server.script(lambda s: s.reply(b"no", status=403), early=True)
    with Client(door.port) as c:
        for _ in range(2):
            c.send(build(headers=WS))
            r = c.response()
            assert (r.status, r.body) == (403, b"no") and r.get("upgrade") is None


def test_idle_timeout(door, server):
    server.script(echo, early=True)
    c, _ = open_socket(door)
    with c:
        begin = time.monotonic()
        for _ in range(5):  # what flows keeps it open
            time.sleep(0.3)
            c.send(b".")
        assert c.rest() == b"." * 5
        assert time.monotonic() - begin > 2.2


def test_server_without_extended_connect(door, plain):
    """It may ignore the wish (RFC 9110 7.8), and so it is not told of it."""
    for _ in range(2):
        r = fetch(door.port, host="plain.test", headers=WS)
        assert (r.status, r.body) == (200, b"ok")
    s = plain.requests[0]
    assert s.method == "GET" and s.get(":protocol") is None and s.get("upgrade") is None


def test_denied_by_the_cluster(door, server):
    assert fetch(door.port, host="denied.test", headers=WS).status == 200
    assert server.one().method == "GET"


def test_websocket_over_http2_on_both_sides(door, server):
    """RFC 8441 twice: what one side says reaches the other, and each may end first."""
    server.script(echo, early=True)
    with H2(door.port) as c:
        c.until(lambda: ENABLE_CONNECT in c.theirs)
        st = c.headers([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"),
                        (":authority", "web.test"), ("sec-websocket-version", "13")], end=False)
        c.until(lambda: st in c.streams and c.streams[st].status)
        assert c.streams[st].status == 200 and c.streams[st].get("sec-websocket-protocol") == "chat"
        for i in range(10):
            c.data(st, b"hello %d" % i)
            c.until(lambda: len(c.streams[st].body) == 7 * (i + 1))
        c.data(st, b"", end=True)
        r = c.response(st)
        assert r.body == b"".join(b"HELLO %d" % i for i in range(10)) and r.ended and r.reset is None
    s = server.one()
    assert (s.method, s.get(":protocol"), s.target) == ("CONNECT", "websocket", "/ws") and s.get("sec-websocket-key") is None
