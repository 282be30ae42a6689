"""HTTP/2 over TLS, chosen by ALPN (RFC 9113 3.2, 3.3)."""

import subprocess

import pytest

from harness import h2
from harness.door import Door, cluster, route
from harness.h2 import H2, request
from harness.net import poll
from harness.origin import reply
from harness.tls import Authority, TlsClient, fetch_tls


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, ca):
    certificates = [ca.issue("web.test", "127.0.0.1").config()]
    d = Door(
        tmp_path_factory.mktemp("h2tls"),
        listeners={"web": {"tls": {"certificates": certificates}},
                   "quick": {"tls": {"certificates": certificates}, "client_idle_timeout": "300ms"}},
        clusters=[cluster("o", origin.address)],
        routes=[route("*", "o")],
    ).start()
    yield d
    d.stop()


def connect(port, ca):
    c = TlsClient(port, ca.client_context(alpn=["h2", "http/1.1"]))
    assert c.sock.selected_alpn_protocol() == "h2"
    return H2(port, sock=c.sock)


def test_h2_is_preferred(door, ca, origin):
    origin.script(lambda conn, r: conn.send(reply(r.body or b"hello")))
    with connect(door.port, ca) as c:
        assert c.fetch(scheme="https").body == b"hello"
        body = bytes(i * 5 & 255 for i in range(400000))
        s = c.headers(request("POST", scheme="https"), end=False)
        assert c.upload(s, body).response(s).body == body
    assert all(r.get("x-forwarded-proto") == "https" for r in origin.requests)


def test_h1_still_works(door, ca, origin):
    assert fetch_tls(door.port, ca.client_context(alpn=["http/1.1"])).status == 200
    assert fetch_tls(door.port, ca.client_context()).status == 200


def test_the_preface_alone_is_not_enough(door, ca, origin):
    """RFC 9113 3.3: over TLS ALPN decides; the preface of one who chose HTTP/1.1 is a bad request."""
    with TlsClient(door.port, ca.client_context(alpn=["http/1.1"])) as c:
        c.send(h2.PREFACE)
        assert c.response().status in (400, 505)
    assert not origin.requests


def test_idle_connections_leave(door, ca):
    with connect(door.ports["quick"], ca) as c:
        assert c.ended() == h2.NO_ERROR


def test_many_big_answers(door, ca, origin):
    big = bytes(i * 3 & 255 for i in range(1 << 20))
    origin.script(lambda conn, r: conn.send(reply(big)))
    with connect(door.port, ca) as c:
        streams = [c.get("/%d" % i, scheme="https") for i in range(5)]
        for s in streams:
            assert c.response(s).body == big


def test_curl(door, ca, origin):
    origin.script(lambda conn, r: conn.send(reply(b"hello")))
    out = subprocess.run(["curl", "-s", "-k", "-w", "%{http_version}", "https://127.0.0.1:%d/" % door.port],
                         stdout=subprocess.PIPE, timeout=30).stdout
    assert out == b"hello2"


def test_a_client_that_leaves_without_goodbye(door, ca, origin):
    origin.script(lambda conn, r: (conn.drain(), False)[1])
    c = connect(door.port, ca)
    c.get(scheme="https")
    poll(lambda: door.cluster("o")["serving"] == 1, 5, "in flight")
    c.close()
    poll(lambda: door.cluster("o")["serving"] == 0, 5, "cancelled")
