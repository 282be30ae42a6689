"""Nothing waits for ever: exchanges that stand still once their answer has begun, clients that left unseen, servers
that reset unseen."""

import threading
import time

import pytest

from harness import h2
from harness.door import Door, cluster, route
from harness.fcgi import STDOUT, end, record
from harness.h2 import H2, request
from harness.h2origin import H2Origin
from harness.net import SLOW, Client, build, fetch, poll
from harness.origin import OK, Origin, reply

MIB = 1 << 20
BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
REST = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def server2():
    o = H2Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    root = tmp_path_factory.mktemp("docs")
    (root / "index.php").write_bytes(b"<?php")
    return str(root)


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, server2, fcgi, docs):
    short = {"body_timeout": "500ms", "response_timeout": "500ms", "stream_idle_timeout": "1500ms", "retries": 0}
    php = {"protocol": "fastcgi", "request_buffer": False, "response_buffer": False,
           "fastcgi": {"document_root": docs, "index": "index.php"}}
    never = dict(short, stream_idle_timeout="0s")
    none = {"hold_max": 100, "hold_timeout": "60s"}
    d = Door(
        tmp_path_factory.mktemp("patience"), workers=1,
        listeners={"web": {"client_body_timeout": "20s"}, "quick": {"client_write_timeout": "700ms"}},
        clusters=[cluster("web", origin.address), cluster("short", origin.address, **short),
                  cluster("short2", server2.address, protocol="h2", **short),
                  cluster("never", origin.address, **never), cluster("never2", server2.address, protocol="h2", **never),
                  cluster("php", fcgi.address, **dict(short, **php)),
                  cluster("slowphp", fcgi.address, **php),
                  cluster("buffered", origin.address, response_buffer=True, buffer_memory="64k", buffer_file="16m"),
                  cluster("none", **none)],
        routes=[route("web.test", "web")] + [route(n + ".test", n) for n in
                                             ("short", "short2", "never", "never2", "php", "slowphp", "buffered", "none")],
    ).start()
    yield d
    d.stop()


def lines(door):
    with open(door.access) as f:
        return f.read().splitlines()


def ended_as(door, name, reason):
    """So says the access log of a request to this cluster."""
    return any(" %s " % reason in line and " %s " % name in line for line in lines(door))


def push(c, most=100 * MIB, quiet=0.3):
    """Sends until nothing more is taken, or the connection ends; the bytes that went."""
    sent, piece = 0, b"x" * 65536
    c.sock.settimeout(quiet)
    try:
        while sent < most:
            sent += c.sock.send(piece[: most - sent])
    except OSError:
        pass
    c.sock.settimeout(10 * SLOW)
    return sent


def is_over(c):
    """The connection ends, in whatever way; the seconds that took."""
    begin = time.monotonic()
    try:
        while c.more():
            pass
    except ConnectionError:
        pass
    return time.monotonic() - begin


def serving(door, name):
    status = door.cluster(name)
    return status["serving"] + status["finishing"]


# ---- whose turn is it? ----


@pytest.mark.parametrize("host,name", [("short.test", "short"), ("short2.test", "short2"), ("php.test", "php")])
@pytest.mark.parametrize("leaves", [False, True])
def test_a_server_that_takes_nothing_is_given_up(door, origin, server2, fcgi, host, name, leaves):
    """Its answer has begun, and it neither reads the upload nor says more."""
    idle = threading.Event()
    origin.script(lambda conn, r: conn.send(BEGUN) or idle.wait(60) and False, early=True)
    fcgi.script(lambda conn, r: conn.send(record(STDOUT, b"Content-Type: a/b\r\n\r\nhello")) or idle.wait(60) and False, early=True)
    server2.hold_window = True
    server2.script(lambda s: s.head() or s.data(b"hello") or idle.wait(60), early=True)
    try:
        with Client(door.port) as c:
            c.send(build("POST", host=host, headers={"Content-Length": "%d" % (100 * MIB)}) + b"x" * 100)
            assert c.head().status == 200
            assert push(c) < 90 * MIB
            if leaves:
                c.close()
            else:
                is_over(c)
            poll(lambda: serving(door, name) == 0, 5, "given up")
            poll(lambda: leaves or ended_as(door, name, "server_stall"), 5, "its reason")
    finally:
        idle.set()


@pytest.mark.parametrize("host", ["short.test", "short2.test", "php.test", "slowphp.test"])
def test_a_slow_client_is_not_the_servers_fault(door, origin, server2, fcgi, host):
    """An upload that drips, behind an answer that began before it: longer in all than body_timeout."""
    origin.script(lambda conn, r: conn.send(BEGUN) or r.read_body() and conn.send(REST), early=True)
    server2.script(lambda s: s.head() or s.data(b"hello") or s.read_body() and s.data(b"", end=True), early=True)

    def script(conn, r):
        conn.send(record(STDOUT, b"Content-Type: a/b\r\n\r\nhello"))
        fcgi.take_body(conn, r)
        conn.send(record(STDOUT) + end())

    fcgi.script(script, early=True)
    with Client(door.port) as c:
        c.send(build("POST", host=host, headers={"Content-Length": "8"}) + b"a")
        r = c.head()
        assert r.status == 200
        for b in b"bcdefg":
            time.sleep(0.3)
            c.send(bytes([b]))
        time.sleep(0.9)  # silent for longer than body_timeout: still the client's turn
        c.send(b"h")
        c.chunked(r)
        assert r.body == b"hello"
    got = (fcgi if "php" in host else server2 if "2" in host else origin).wait(1)[0].body
    assert got == b"abcdefgh"


def test_a_server_that_takes_slowly_is_waited_for(door, origin):
    """It reads a little every 200 ms, and says nothing: no silence of 500 ms."""
    size = 12 * MIB

    def script(conn, r):
        conn.keep = False
        conn.send(BEGUN)
        left = size - len(conn.buf)
        for _ in range(8):
            time.sleep(0.2)
            step = 0
            while step < MIB:
                got = len(conn.sock.recv(min(65536, MIB - step)))
                assert got
                step += got
            left -= step
        while left:
            got = len(conn.sock.recv(65536))
            assert got
            left -= got
        r.complete = True
        conn.send(REST)
        return False

    origin.script(script, early=True)
    with Client(door.port) as c:
        c.send(build("POST", host="short.test", headers={"Content-Length": "%d" % size}))
        r = c.head()
        c.send(b"x" * size)
        c.chunked(r)
        assert r.body == b"hello"


@pytest.mark.parametrize("host,name", [("short.test", "short"), ("short2.test", "short2")])
def test_a_conversation_in_which_nobody_speaks_ends(door, origin, server2, host, name):
    """Both may speak and neither does: stream_idle_timeout, and no blame on the server."""
    idle = threading.Event()
    origin.script(lambda conn, r: conn.send(BEGUN) or idle.wait(60) and False, early=True)
    server2.script(lambda s: s.head() or s.data(b"hello") or idle.wait(60), early=True)
    try:
        with H2(door.port) as c:
            s = c.headers(request("POST", host=host), end=False)
            c.until(lambda: s in c.streams and c.streams[s].body == b"hello")
            begin = time.monotonic()
            c.until(lambda: c.streams[s].reset is not None, 5)
            assert 1.2 < time.monotonic() - begin < 4 + SLOW
            assert c.streams[s].reset == h2.CANCEL
        poll(lambda: ended_as(door, name, "stream_idle"), 5, "its reason")
        assert serving(door, name) == 0
    finally:
        idle.set()


@pytest.mark.parametrize("host", ["never.test", "never2.test"])
def test_a_conversation_may_rest_for_ever(door, origin, server2, host):
    """stream_idle_timeout = 0; then both sides speak again."""
    origin.script(lambda conn, r: conn.send(BEGUN) or r.read_body() and conn.send(REST), early=True)
    server2.script(lambda s: s.head() or s.data(b"hello") or s.read_body() and s.data(b"", end=True), early=True)
    with H2(door.port) as c:
        s = c.headers(request("POST", host=host), end=False)
        c.until(lambda: s in c.streams and c.streams[s].body == b"hello")
        time.sleep(2)  # four times body_timeout
        c.data(s, b"hi", end=True)
        r = c.response(s)
        assert r.ended and r.reset is None
    assert (server2 if "2" in host else origin).wait(1)[0].body == b"hi"


def test_an_end_after_which_the_server_is_silent_is_not_waited_for(door, server2):
    """stream_idle_timeout = 0 is for conversations only."""
    idle = threading.Event()
    server2.script(lambda s: s.head() or s.data(b"hello") or idle.wait(60), early=True)
    try:
        with H2(door.port) as c:
            s = c.headers(request("POST", host="never2.test"), end=False)
            c.until(lambda: s in c.streams and c.streams[s].body == b"hello")
            c.data(s, b"", end=True)
            c.until(lambda: c.streams[s].reset is not None, 5)
        poll(lambda: ended_as(door, "never2", "server_stall"), 5, "its reason")
    finally:
        idle.set()


def test_a_conversation_in_which_the_server_takes_nothing_goes_on(door, server2):
    """For three times body_timeout it leaves its window closed and says nothing; then it takes all."""
    body, opened = b"x" * 100000, threading.Event()

    def script(s):
        s.head()
        s.data(b"hello")
        opened.wait(60)
        time.sleep(1.5)

        def give(codec):
            n, s.hold_window, s.held = s.held, False, 0
            codec.increment_flow_control_window(n, s.id)

        s.conn.act(give)
        s.read_body()
        s.data(b"", end=True)

    server2.hold_window = True
    server2.script(script, early=True)
    with H2(door.port) as c:
        s = c.headers(request("POST", host="never2.test"), end=False)
        c.until(lambda: s in c.streams and c.streams[s].body == b"hello")
        c.upload(s, body, end=False)
        opened.set()
        poll(lambda: server2.requests[-1].body == body, 8, "all of it is there")
        c.data(s, b"", end=True)
        r = c.response(s)
        assert r.ended and r.reset is None
    assert server2.wait(1)[0].body == body


@pytest.mark.parametrize("host", ["short.test", "short2.test"])
def test_a_conversation_goes_on_while_one_side_speaks(door, origin, server2, host):
    """For longer than stream_idle_timeout, with pauses longer than body_timeout: first the client, then the server."""

    def talk(conn, r):
        conn.send(BEGUN)
        for _ in range(3):
            time.sleep(0.8)
            conn.send(b"5\r\nhello\r\n")
        r.read_body()
        conn.send(REST)

    def talk2(s):
        s.head()
        for _ in range(4):
            s.data(b"hello")
            time.sleep(0.8)
        s.read_body()
        s.data(b"", end=True)

    origin.script(talk, early=True)
    server2.script(talk2, early=True)
    with H2(door.port) as c:
        s = c.headers(request("POST", host=host), end=False)
        c.until(lambda: s in c.streams and c.streams[s].body == b"hello" * 4)
        for _ in range(3):
            time.sleep(0.8)
            c.data(s, b"hi")
        c.data(s, b"", end=True)
        r = c.response(s)
        assert r.ended and r.reset is None
    assert (server2 if "2" in host else origin).wait(1)[0].body == b"hi" * 3


@pytest.mark.parametrize("host,name", [("short.test", "short"), ("short2.test", "short2")])
def test_the_end_of_the_request_makes_it_the_servers_turn(door, origin, server2, host, name):
    idle = threading.Event()
    origin.script(lambda conn, r: conn.send(BEGUN) or idle.wait(60) and False, early=True)
    server2.script(lambda s: s.head() or s.data(b"hello") or idle.wait(60), early=True)
    try:
        with H2(door.port) as c:
            s = c.headers(request("POST", host=host), end=False)
            c.until(lambda: s in c.streams and c.streams[s].body == b"hello")
            time.sleep(0.7)
            begin = time.monotonic()
            c.data(s, b"", end=True)
            c.until(lambda: c.streams[s].reset is not None, 5)
            assert 0.4 < time.monotonic() - begin < 1.3 + SLOW / 2
        poll(lambda: ended_as(door, name, "server_stall"), 5, "its reason")
    finally:
        idle.set()


@pytest.mark.parametrize("host,name", [("short.test", "short"), ("short2.test", "short2")])
@pytest.mark.parametrize("version", [1, 2])
def test_a_100_that_never_comes_is_not_waited_for(door, origin, server2, host, name, version):
    """The client sends nothing before it, so it is the server's turn."""
    idle = threading.Event()
    origin.script(lambda conn, r: idle.wait(60) and False, early=True)
    server2.script(lambda s: idle.wait(60), early=True)
    fields = {"Expect": "100-continue", "Content-Length": "5"}
    try:
        if version == 1:
            with Client(door.port) as c:
                c.send(build("POST", host=host, headers=fields))
                assert c.response().status == 504
        else:
            with H2(door.port) as c:
                s = c.headers(request("POST", host=host, headers=[(n.lower(), v) for n, v in fields.items()]), end=False)
                assert c.response(s).status == 504
        poll(lambda: serving(door, name) == 0, 5, "given up")
    finally:
        idle.set()


def test_a_head_that_the_client_does_not_take(door, origin):
    """Heads fill what lies between, until one has no room; that server is slow with its body, and nothing of it is
    ever tried."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + b"X: %s\r\n" % (b"y" * 7000) * 3 + b"\r\n"
    origin.script(lambda conn, r: conn.send(head) or time.sleep(0.005) or conn.send(b"hello"))
    with Client(door.ports["quick"], rcvbuf=4096) as c:
        c.send(build() * 1000)
        poll(lambda: ended_as(door, "web", "client_write_timeout"), 10, "given up")
        assert 10 < len(origin.requests) < 1000


# ---- who left? ----


def sockets(door, port):
    """(unread bytes, state) of our end of the connection that this client port made."""
    with open("/proc/net/tcp") as f:
        for line in f.readlines()[1:]:
            part = line.split()
            if int(part[1][-4:], 16) == door.port and int(part[2][-4:], 16) == port:
                return int(part[4].split(":")[1], 16), int(part[3], 16)
    return 0, 0


def fill(door, c, most=8 * MIB):
    """Sends until our end reads no more, though it could, and then the rest of `most` if there is one; the bytes that
    went until then."""
    sent, port = 0, c.sock.getsockname()[1]
    while sent < most:
        step = min(8192, most - sent)
        c.send(b"x" * step)
        sent += step
        end = time.monotonic() + 0.1
        while sockets(door, port)[0]:
            if time.monotonic() > end:
                c.send(b"x" * (most - sent) if most < 8 * MIB else b"")
                return sent
    raise AssertionError("it takes all")


@pytest.fixture
def deaf(tmp_path, make_door):
    """A server at a unix socket, whose buffers do not grow, and which reads nothing until `go` is set."""
    o = Origin(path=str(tmp_path / "o"))
    o.go = threading.Event()

    def script(conn, r):
        conn.keep = False
        o.go.wait(60)
        r.read_body()
        conn.send(OK)

    o.script(script, early=True)
    o.door = make_door(workers=1, clusters=[cluster("o", o.address)], routes=[route("*", "o")])
    yield o
    o.go.set()
    o.stop()


def begin_upload(deaf, size):
    c = Client(deaf.door.port)
    have = len(deaf.requests)
    c.send(build("POST", headers={"Content-Length": "%d" % size}))
    poll(lambda: len(deaf.requests) > have, 5, "it arrived")
    return c


CLOSE_WAIT = 8  # a FIN came, and we have sent none


def test_a_cut_upload_is_noticed_while_it_is_paused(deaf):
    """FIN behind less than was announced, before a server that reads nothing; body_timeout is a minute."""
    with begin_upload(deaf, 10 * MIB) as c:
        fill(deaf.door, c)
        assert serving(deaf.door, "o") == 1
        c.half_close()
        poll(lambda: serving(deaf.door, "o") == 0, 5, "given up")


def test_a_paused_upload_that_is_whole_is_served(deaf):
    """FIN behind all of it is a half-close (RFC 9112 9.6), however long the server takes its time."""
    with begin_upload(deaf, 10 * MIB) as c:
        size = fill(deaf.door, c) + 20000
    with begin_upload(deaf, size) as c:
        fill(deaf.door, c, size)
        c.half_close()
        port = c.sock.getsockname()[1]
        poll(lambda: sockets(deaf.door, port)[1] == CLOSE_WAIT, 5, "the FIN came")
        assert sockets(deaf.door, port)[0] > 0
        deaf.go.set()
        assert c.response().status == 200


def test_a_reset_upload_is_noticed_while_it_is_paused(door, origin):
    idle = threading.Event()
    origin.script(lambda conn, r: idle.wait(60) and False, early=True)
    try:
        with Client(door.port) as c:
            c.send(build("POST", headers={"Content-Length": "%d" % (100 * MIB)}))
            poll(lambda: origin.requests, 5, "it arrived")
            assert push(c) < 90 * MIB
            c.reset()
            poll(lambda: serving(door, "web") == 0, 5, "given up")
    finally:
        idle.set()


def post(size):
    return build("POST", host="none.test", headers={"Content-Length": "%d" % size}) + b"x" * size


@pytest.mark.parametrize("what", [build(host="none.test"), post(100), post(100000)], ids=["get", "small", "large"])
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_who_leaves_with_its_request_is_not_held(door, what, how):
    """Request and departure in one event, as often as not. The largest fits where a held request may lie: behind more a FIN does not arrive."""
    for _ in range(20):
        c = Client(door.port)
        c.send_quietly(what)
        c.reset() if how == "reset" else c.close()
    assert fetch(door.port).status == 200  # it came after them
    poll(lambda: door.cluster("none")["held"] == 0, 5, "nobody is held")


def test_who_leaves_with_its_stream_is_not_held(door):
    held = lambda: door.cluster("none")["held"]
    for how in ("reset", "fin") * 5:
        c = H2(door.port)
        c.ping()
        c.get(host="none.test")
        c.abort() if how == "reset" else c.close()
    poll(lambda: held() == 0, 5, "nobody is held")
    with H2(door.port) as c:
        s = c.get(host="none.test")
        poll(lambda: held() == 1, 5, "who stays is held")
        c.reset(s)
        poll(lambda: held() == 0, 5, "and leaves")


def test_a_conversation_whose_client_resets_with_its_last_words(make_door, server2):
    """The reset comes along with data and is not announced again; nobody writes anything."""
    d = make_door(workers=1, clusters=[cluster("o", server2.address, protocol="h2")], routes=[route("*", "o")])
    idle = threading.Event()
    server2.script(lambda s: s.head() or s.data(b"hello") or idle.wait(60), early=True)
    try:
        for _ in range(10):
            c = H2(d.port)
            s = c.headers(request("POST"), end=False)
            c.until(lambda: s in c.streams and c.streams[s].body == b"hello")
            c.data(s, b"last words")
            c.abort()
        poll(lambda: serving(d, "o") == 0, 5, "all are given up")
    finally:
        idle.set()


# ---- servers that reset ----


def test_a_reset_along_with_the_answer_is_seen(door, fcgi):
    """FastCGI: part of the answer and the reset in one event; body_timeout is a minute."""

    def script(conn, r):
        conn.send(record(STDOUT, b"Content-Type: text/plain\r\n\r\npartial"))
        conn.reset()
        return False

    fcgi.script(script)
    for _ in range(12):
        with Client(door.port) as c:
            c.send(build(host="slowphp.test"))
            assert is_over(c) < 5
    assert serving(door, "slowphp") == 0


# ---- early answers ----


@pytest.mark.parametrize("version", [1, 2])
def test_an_early_answer_that_lies_here_does_not_stop_the_upload(door, origin, version):
    """The server has said all and gone; the client reads nothing before it has sent all."""
    size, answer, done = 30 * MIB, b"y" * (12 * MIB), threading.Event()

    def script(conn, r):
        conn.keep = False
        time.sleep(0.3)
        conn.send(reply(answer, status="403 Forbidden"))
        done.wait(60)
        return False

    origin.script(script, early=True)
    fields = [("content-length", str(size))]
    if version == 1:
        with Client(door.port) as c:
            c.send(build("POST", host="buffered.test", headers=fields))
            c.sock.settimeout(5 * SLOW)
            c.sock.sendall(b"x" * size)
            r = c.response()
            assert r.status == 403 and r.body == answer
    else:
        with H2(door.port, window=0) as c:
            s = c.headers(request("POST", host="buffered.test", headers=fields), end=False)
            c.upload(s, b"x" * size)
            c.window(s, 16 * MIB)
            r = c.response(s)
            assert r.status == 403 and r.body == answer
