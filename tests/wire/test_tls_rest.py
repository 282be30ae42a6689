"""TLS connections that rest: OpenSSL's state is gone, and neither client nor server may notice."""
import contextlib
import os
import socket
import ssl
import subprocess
import time

import pytest

from harness import h2
from harness.door import SANITIZED, Door, cluster, route
from harness.net import SLOW, Client, build, fetch, poll
from harness.resting import go_to_rest
from harness.tls import Authority, TlsClient

BIG = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("users"), name="Users")


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, ca, users):
    rest = {"client_rest_after": "1ms"}
    tls = {"certificates": [ca.issue("web.test").config()]}
    asking = dict(tls, client_auth={"mode": "optional", "ca": users.cert})
    d = Door(
        tmp_path_factory.mktemp("rest"), workers=1,
        listeners={"web": dict(rest, tls=tls), "plain": rest, "short": dict(rest, client_idle_timeout="2s", tls=tls),
                   "awake": dict(rest, tls=dict(tls, rest=False)), "asking": dict(rest, tls=asking)},
        clusters=[cluster("web", origin.address)], routes=[route("*", "web")],
    ).start()
    yield d
    d.stop()


def rest(door):
    """All that are idle now: the next tick looks at them in the order in which they became so."""
    with Client(door.ports["plain"]) as last:
        last.send(build())
        assert last.response().status == 200
        go_to_rest(door, last)


def ask(c, **kw):
    c.send(build(**kw))
    r = c.response()
    assert r.status == 200
    return r


def memory(door):
    """Proportional set size of the proxy."""
    total = 0
    for pid in door.children("proxy"):
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += next(int(line.split()[1]) << 10 for line in f if line.startswith("Pss:"))
    return total


def connect_h2(port, ca):
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    return h2.H2(port, sock=ca.client_context(alpn=["h2"]).wrap_socket(sock, server_hostname="web.test"))


def one_idle(door, ca, listener, protocol):
    if protocol == "h2":
        c = connect_h2(door.ports[listener], ca)
        assert c.fetch().status == 200
    else:
        c = TlsClient(door.ports[listener], ca.client_context())
        ask(c)
    return c


def bytes_a_connection(door, ca, listener, protocol):
    """Waves of connections that stay, each after the one before has come to rest: what one gave back serves the next."""
    wave, before = 100, 0
    with contextlib.ExitStack() as stack:
        for n in range(4):
            for _ in range(wave):
                stack.enter_context(one_idle(door, ca, listener, protocol))
            rest(door)
            if n == 0:
                before = memory(door)
        return (memory(door) - before) / (3 * wave)


@pytest.mark.skipif(SANITIZED, reason="sanitizers make every block larger")
@pytest.mark.parametrize("protocol,most", [("h1", 5 << 10), ("h2", 13 << 10)])
def test_they_hold_little_memory(door, ca, protocol, most):
    assert bytes_a_connection(door, ca, "web", protocol) < most
    assert bytes_a_connection(door, ca, "awake", protocol) > most  # rest = false


def test_requests_before_and_after_a_rest(door, origin, ca):
    with TlsClient(door.port, ca.client_context()) as c:
        ask(c)
        for _ in range(2):
            rest(door)
            ask(c)
        ask(c)


def test_bodies_after_a_rest(door, origin, ca):
    """Both ways, larger than any buffer on the way."""
    origin.script(lambda conn, r: conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG))
    with TlsClient(door.port, ca.client_context()) as c:
        assert ask(c).body == BIG
        rest(door)
        assert ask(c, method="POST", body=BIG).body == BIG
        assert origin.requests[-1].body == BIG
        assert ask(c).body == BIG


def test_h2_after_a_rest(door, origin, ca):
    with connect_h2(door.port, ca) as c:
        assert c.fetch().status == 200
        rest(door)
        assert c.fetch().status == 200
        c.ping()
        rest(door)
        s = c.headers(h2.request("POST", scheme="https"), end=False)
        c.upload(s, BIG)
        assert c.response(s).status == 200
        assert origin.requests[-1].body == BIG
        assert not c.goaways


def test_a_request_that_is_there_before_the_rest(door, ca):
    """Half a head is no idle connection; the other half comes later."""
    with TlsClient(door.port, ca.client_context()) as c:
        ask(c)
        raw = build()
        c.send(raw[:9])
        rest(door)
        c.send(raw[9:])
        assert c.response().status == 200


def test_the_idle_time_out_says_goodbye(door, ca):
    with TlsClient(door.ports["short"], ca.client_context()) as c:
        ask(c)
        rest(door)
        assert c.closed(6)  # without close_notify this raises


def test_a_client_that_leaves(door, ca):
    poll(lambda: door.status()["sessions"] == 0, 5, "no session left")
    goodbye, silent = (TlsClient(door.port, ca.client_context()) for _ in range(2))
    for c in (goodbye, silent):
        ask(c)
    rest(door)
    assert door.status()["sessions"] == 2
    goodbye.sock.unwrap()  # ends when ours has come back
    os.close(silent.sock.detach())
    goodbye.close()
    poll(lambda: door.status()["sessions"] == 0, 5, "no session left")


def test_garbage_after_a_rest_ends_it(door, ca):
    with TlsClient(door.port, ca.client_context()) as c:
        ask(c)
        rest(door)
        fd = socket.socket(fileno=os.dup(c.sock.fileno()))
        fd.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        fd.close()
        with pytest.raises((ssl.SSLError, ConnectionError)) as e:
            c.sock.recv(1)
        assert "bad record mac" in str(e.value).lower()
    assert fetch(door.ports["plain"]).status == 200


def test_key_updates_after_a_rest(door, ca):
    """As the openssl program asks for them."""
    p = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % door.port, "-tls1_3", "-CAfile", ca.cert],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seen = b""

    def wait_for(mark, times):
        nonlocal seen
        while seen.count(mark) < times:
            more = p.stdout.read1(65536)
            assert more, seen
            seen += more

    def say(line):
        p.stdin.write(line)
        p.stdin.flush()

    try:
        say(build())
        wait_for(b"HTTP/1.1 200", 1)
        rest(door)
        for n in range(3):
            say(b"K\n")
            wait_for(b"KEYUPDATE", n + 1)
            say(build())
            wait_for(b"HTTP/1.1 200", n + 2)
    finally:
        p.kill()
        p.wait(5 * SLOW)


def test_clients_with_a_certificate_keep_it(door, origin, ca, users):
    alice = users.issue(name="Alice")
    with TlsClient(door.ports["asking"], ca.client_context(alice)) as c:
        ask(c)
        rest(door)
        ask(c)
        assert origin.requests[-1].get("x-client-cert-subject") == "CN=Alice"
    with TlsClient(door.ports["asking"], ca.client_context()) as c:
        ask(c)
        rest(door)
        ask(c)
        assert origin.requests[-1].get("x-client-cert-verify") == "NONE"


def test_a_reload_is_told_with_the_next_answer(make_door, origin, ca):
    d = make_door(workers=1, listeners={"web": {"client_rest_after": "1ms", "tls": {"certificates": [ca.issue("web.test").config()]}},
                                        "plain": {"client_rest_after": "1ms"}},
                  clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    with TlsClient(d.port, ca.client_context()) as c, connect_h2(d.port, ca) as two:
        ask(c)
        assert two.fetch().status == 200
        rest(d)
        d.reload()
        assert ask(c).get("connection") == "close"
        assert c.closed()
        two.until(lambda: two.goaways)


def test_a_record_that_was_sent_in_part(make_door, ca, origin):
    """A slow client of HTTP/2 cancels its only stream: idle, with a half of a record in the socket. Then it asks again."""
    tls = {"certificates": [ca.issue("web.test").config()]}
    door = make_door(workers=1, listeners={"web": {"client_rest_after": "1ms", "tls": tls}}, clusters=[cluster("web", origin.address)],
                     routes=[route("*", "web")])
    origin.script(lambda conn, r: conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % int(r.target[1:]) + b"x" * int(r.target[1:])))
    clients = []
    for _ in range(5):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.settimeout(15 * SLOW)
        sock.connect(("127.0.0.1", door.port))
        c = h2.H2(door.port, sock=ca.client_context(alpn=["h2"]).wrap_socket(sock, server_hostname="web.test"), window=1 << 24)
        c.refill = False
        clients.append((c, c.get("/8000000")))
    time.sleep(1)  # all buffers are full: nothing tells when
    for c, stream in clients:
        c.reset(stream)
    time.sleep(2.5)  # longer than it takes to go to rest
    for c, _ in clients:
        answer = c.streams.setdefault(c.get("/10"), h2.Stream())
        while not answer.ended and c.step():
            pass
        assert answer.body == b"x" * 10
        c.close()
