"""TLS toward clients: handshakes, certificates, the ends of streams, and what is thrown at it."""

import re
import socket
import ssl
import threading
import time

import pytest

from harness.door import Door, cluster, route
from harness.net import Client, Truncated, build, free_port, poll
from harness.origin import reply
from harness.tls import Authority, MemoryTls, TlsClient, fetch_tls

MIB = 1 << 20


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def web(ca):
    return ca.issue("web.test", "*.wild.test", "127.0.0.1")


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, web):
    d = Door(
        tmp_path_factory.mktemp("tls"),
        listeners={"web": {"tls": {"certificates": [web.config()]}, "max_body_size": "0"}, "plain": {}},
        clusters=[cluster("web", origin.address, tunnel_timeout="2s")],
        routes=[route("*", "web")],
    ).start()
    yield d
    d.stop()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_request_over_tls(door, origin, ca, version):
    with TlsClient(door.port, ca.client_context(version=version)) as c:
        assert c.sock.version() == "TLSv" + version
        for i in range(20):
            c.send(build(target="/%d" % i))
            assert c.response().body == b"ok"
    assert [r.target for r in origin.requests] == ["/%d" % i for i in range(20)]
    assert all(r.get("x-forwarded-proto") == "https" for r in origin.requests)


def test_plain_listener_beside_it(door, origin):
    with Client(door.ports["plain"]) as c:
        c.send(build())
        assert c.response().status == 200
    assert origin.one().get("x-forwarded-proto") == "http"


def test_alpn(door, ca):
    with TlsClient(door.port, ca.client_context(alpn=["http/1.1"])) as c:
        assert c.sock.selected_alpn_protocol() == "http/1.1"
    with TlsClient(door.port, ca.client_context()) as c:
        assert c.sock.selected_alpn_protocol() is None
        c.send(build())
        assert c.response().status == 200
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        TlsClient(door.port, ca.client_context(alpn=["smtp"]))


def test_old_versions_are_refused(door, ca):
    ctx = ca.client_context(version="1.1", ciphers="ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version|alert"):
        TlsClient(door.port, ctx)


def test_weak_ciphers_are_refused(door, ca):
    ctx = ca.client_context(version="1.2", ciphers="AES128-SHA:AES256-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="(?i)handshake.failure"):
        TlsClient(door.port, ctx)


@pytest.mark.guard(60)
def test_big_bodies_both_ways(door, origin, ca):
    body = bytes(range(256)) * (8 * MIB // 256)
    origin.script(lambda conn, r: conn.send(reply(r.body)))
    with TlsClient(door.port, ca.client_context()) as c:
        sender = threading.Thread(target=c.send, args=(build("POST", body=body),))
        sender.start()
        r = c.response()
        sender.join()
    assert r.body == body


def test_slow_reader_gets_all(door, origin, ca):
    body = b"x" * (4 * MIB)
    origin.script(lambda conn, r: conn.send(reply(body)))
    with TlsClient(door.port, ca.client_context(), rcvbuf=8192) as c:
        c.send(build())
        time.sleep(0.3)
        assert c.response().body == body


def test_byte_by_byte_handshake_and_request(door, origin, ca):
    """Every record arrives in pieces of one byte."""
    m = MemoryTls(door.port, ca.client_context())
    with m:
        m.client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def trickle():
            for byte in m.outgoing.read():
                m.client.sock.send(bytes([byte]))

        m.flush = trickle
        m.handshake()
        m.send(build(target="/slow"))
        assert m.read().startswith(b"HTTP/1.1 200")
    assert origin.one().target == "/slow"


def test_request_in_the_same_segment_as_the_end_of_the_handshake(door, origin, ca):
    with MemoryTls(door.port, ca.client_context(version="1.3")) as m:
        with pytest.raises(ssl.SSLWantReadError):
            m.tls.do_handshake()
        m.flush()
        while True:
            try:
                m.feed()
                m.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        m.tls.write(build(target="/together"))
        m.flush()  # Finished and the request in one send
        assert m.read().startswith(b"HTTP/1.1 200")
    assert origin.one().target == "/together"


def test_pipelining(door, origin, ca):
    with TlsClient(door.port, ca.client_context()) as c:
        c.send(b"".join(build(target="/%d" % i) for i in range(100)))
        for i in range(100):
            assert c.response().status == 200
    assert len(origin.requests) == 100


# the end of a stream


def test_close_notify_at_the_end(door, origin, ca):
    """rest() raises when the stream ends without one."""
    with TlsClient(door.port, ca.client_context()) as c:
        c.send(build(headers={"Connection": "close"}))
        assert c.response().body == b"ok"
        assert c.rest() == b""


def test_client_close_notify_ends_the_session(door, ca):
    with MemoryTls(door.port, ca.client_context(version="1.3")) as m:
        m.handshake()
        m.send(build())
        assert b"ok" in m.read()
        with pytest.raises(ssl.SSLWantReadError):
            m.tls.unwrap()
        m.flush()
        m.run(m.tls.unwrap)  # the other close_notify
        assert not m.feed()


def test_truncated_request_is_no_request(door, origin, ca):
    """The FIN of anybody on the way must not pass for the end of a request (RFC 9112 9.8)."""
    with MemoryTls(door.port, ca.client_context()) as m:
        m.handshake()
        m.send(b"POST /cut HTTP/1.1\r\nHost: web.test\r\nContent-Length: 10\r\n\r\nhalf")
        poll(lambda: origin.requests, message="the head at the server")
        m.client.half_close()
        try:
            while m.feed():
                pass
        except ConnectionError:
            pass
    poll(lambda: origin.conns[-1].ended, message="the server's connection to end")
    assert not origin.completed


def test_cut_answer_is_no_whole_answer(door, origin, ca):
    """A server that ends in the middle: the client sees no close_notify-terminated whole, but a short body."""

    def half(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        return False

    origin.script(half)
    with TlsClient(door.port, ca.client_context()) as c:
        c.send(build())
        with pytest.raises((Truncated, ssl.SSLError, ConnectionError)):
            c.response()


# what is thrown at it


def test_plain_http_at_a_tls_port(door, origin):
    with Client(door.port) as c:
        c.send(build())
        c.rest()
    assert not origin.requests


def test_H28_data_before_the_handshake_is_discarded(door, origin, ca):
    """A request in clear in front of the handshake is never answered, nor taken for part of what follows."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        TlsClient(door.port, ca.client_context(), before=build(target="/smuggled"))
    assert not origin.requests


def test_garbage(door, origin):
    for junk in (b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\x80\x80\x01\x03\x01" + b"\1" * 200, b"\x16\x03\x01\0\x05hello",
                 b"\x15\x03\x03\0\x02\x02\x28", b"\0" * 1000):
        with Client(door.port) as c:
            c.send_quietly(junk)
            c.half_close()
            try:
                c.rest()
            except ConnectionError:
                pass
    assert not origin.requests


def test_handshake_timeout(make_door, origin, ca, web):
    door = make_door(listeners={"web": {"tls": {"certificates": [web.config()], "handshake_timeout": "300ms"}}},
                     clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    with Client(door.port) as c:
        assert c.closed()
    with Client(door.port) as c:
        c.send(b"\x16\x03\x01")
        assert c.closed()
    assert fetch_tls(door.port, ca.client_context()).status == 200


def test_tunnel_over_tls(door, origin, ca):
    """Half closes pass through: close_notify here, FIN there."""

    def upgrade(conn, request):
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        try:
            while True:
                conn.more()
                conn.send(bytes(conn.buf))
                conn.buf.clear()
        finally:
            conn.half_close()

    origin.script(upgrade, early=True)
    with MemoryTls(door.port, ca.client_context(version="1.3")) as m:
        m.handshake()
        m.send(build(headers={"Connection": "Upgrade", "Upgrade": "echo"}))
        assert b" 101 " in m.read()
        for i in range(10):
            m.send(b"ping %d" % i)
            assert m.read() == b"ping %d" % i
        with pytest.raises(ssl.SSLWantReadError):
            m.tls.unwrap()
        m.flush()
        m.run(m.tls.unwrap)


def test_many_handshakes_at_once_do_not_stop_requests(door, origin, ca):
    """Requests on open connections are answered while others shake hands."""
    ctx = ca.client_context()
    errors = []

    def shake():
        for _ in range(10):
            try:
                with TlsClient(door.port, ctx) as c:
                    c.send(build())
                    assert c.response().status == 200
            except Exception as e:  # reported by the test's thread
                errors.append(e)

    with TlsClient(door.port, ctx) as steady:
        threads = [threading.Thread(target=shake) for _ in range(8)]
        for t in threads:
            t.start()
        for _ in range(50):
            steady.send(build())
            assert steady.response().status == 200
        for t in threads:
            t.join()
    assert not errors, errors[0]


# what is counted and shown


def figures(port):
    """The samples of /metrics whose names begin with coxswain_tls, sums over generations."""
    with Client(port) as c:
        c.send(build(target="/metrics", host="127.0.0.1"))
        text = c.response().body.decode()
    out = {}
    for line in text.splitlines():
        if line.startswith("coxswain_tls"):
            name, value = line.rsplit(" ", 1)
            name = name.replace("coxswain_tls_", "").split("{generation")[0]
            out[name] = out.get(name, 0) + float(value)
    return out


def test_counted_and_shown(make_door, origin, ca):
    web = ca.issue("shown.test", days=20)
    admin = free_port()
    door = make_door(
        listeners={"web": {"tls": {"certificates": [web.config()], "handshake_timeout": "300ms"}}},
        admin={"address": "127.0.0.1:%d" % admin}, tls_check_interval="50ms",
        clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    ctx = ca.client_context()
    with TlsClient(door.port, ctx, host="shown.test") as c:
        c.send(build())
        assert c.response().status == 200
        session = c.sock.session
    fetch_tls(door.port, ctx, host="shown.test", session=session)
    with Client(door.port) as c:
        c.send(build())
        c.rest()  # not TLS
    with Client(door.port) as c:
        assert c.closed()  # timed out
    with pytest.raises(ssl.SSLError):
        TlsClient(door.port, ca.client_context(alpn=["smtp"]), host="shown.test")

    def counted():
        f = figures(admin)
        return f if f['failures_total{reason="tls_alpn"}'] == 1 else None

    f = poll(counted, message="the counters")
    assert f["handshakes_total"] == 2 and f["resumed_total"] == 1
    assert f['failures_total{reason="tls_not_tls"}'] == 1 and f['failures_total{reason="tls_timeout"}'] == 1
    assert f['failures_total{reason="tls_alert"}'] == 0
    labels = '{listener="web",host="shown.test",file="%s"}' % web.cert
    assert 19 < f["certificate_days" + labels] < 20.1
    status = door.status()
    assert status["tls_handshakes"] == 2 and status["tls_resumed"] == 1
    (shown,) = status["certificates"]
    assert (shown["listener"], shown["host"], shown["file"], shown["broken"]) == ("web", "shown.test", web.cert, False)
    text = door.ctl("status").stdout.decode()
    assert re.search(r"web +shown\.test +(19|20) +" + re.escape(web.cert), text)
    with open(web.key, "w") as f:
        f.write("broken")
    poll(lambda: door.status()["certificates"][0]["broken"], 10, "the broken pair to show")
    assert figures(admin)["certificate_broken" + labels] == 1
