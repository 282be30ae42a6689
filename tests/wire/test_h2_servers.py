"""HTTP/2 to servers over TLS (ALPN, RFC 9113 3.2), and to real ones: nghttpd and nginx."""

import os
import re
import shutil
import socket
import subprocess
import threading

import pytest

from harness.door import COXSWAIN, Door, cluster, route
from harness.h2origin import H2Origin
from harness.net import Client, build, fetch, free_port, poll
from harness.origin import Origin
from harness.peers import NGINX, nginx
from harness.tls import Authority

NGHTTPD = shutil.which("nghttpd")
BIG = bytes(i * 13 & 255 for i in range(3 << 20))


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(ca):
    return ca.issue("127.0.0.1")


@pytest.fixture(scope="module")
def secure(ca, pair):
    o = H2Origin(tls=ca.server_context(pair, alpn=["h2"]))
    yield o
    o.stop()


@pytest.fixture(scope="module")
def old(ca, pair):
    """Speaks TLS, but not HTTP/2."""
    o = Origin(tls=ca.server_context(pair, alpn=["http/1.1"]))
    yield o
    o.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "small").write_bytes(b"small\n")
    (folder / "big").write_bytes(BIG)
    for p in (folder, folder / "small", folder / "big"):
        os.chmod(p, 0o755)
    return str(folder)


def listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def nghttpd(site, pair):
    """Ports of one in clear and one over TLS."""
    ports, running = (free_port(), free_port()), []
    for port, args in ((ports[0], ["--no-tls", str(ports[0])]), (ports[1], [str(ports[1]), pair.key, pair.cert])):
        running.append(subprocess.Popen([NGHTTPD, "-a", "127.0.0.1", "-d", site, "--echo-upload", *args],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        poll(lambda: listening(port), 10, "nghttpd listens")
    yield ports
    for p in running:
        p.terminate()
        p.wait()


@pytest.fixture(scope="module")
def nginx_port(tmp_path_factory, site, pair):
    port = free_port()
    n = nginx(tmp_path_factory.mktemp("nginx"), "server { listen 127.0.0.1:%d ssl http2; ssl_certificate %s; ssl_certificate_key %s; "
              "root %s; location /proto { return 200 $server_protocol; } }" % (port, pair.cert, pair.key, site), port)
    yield port
    n.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, ca, secure, old, nghttpd, nginx_port):
    tls = {"enabled": True, "ca": ca.cert}

    def one(name, address, **more):
        return cluster(name, address, protocol="h2", retries=0, eject_failures=0, **more)

    d = Door(
        tmp_path_factory.mktemp("h2servers"), workers=1,
        clusters=[one("secure", secure.address, tls=tls), one("old", old.address, tls=tls),
                  one("wrong", secure.address, tls=dict(tls, hostname="other.test")),
                  one("plain", secure.address), one("nginx", "127.0.0.1:%d" % nginx_port, tls=tls),
                  one("nghttpd", "127.0.0.1:%d" % nghttpd[0]), one("nghttpds", "127.0.0.1:%d" % nghttpd[1], tls=tls)],
        routes=[route(n + ".test", n) for n in ("secure", "old", "wrong", "plain", "nginx", "nghttpd", "nghttpds")],
    ).start()
    yield d
    d.stop()


def test_requests_over_tls_share_a_connection(door, secure):
    secure.script(lambda s: s.reply(s.body + b"!"))
    for i in range(20):
        assert fetch(door.port, "POST", host="secure.test", body=b"x" * i * 1000).body == b"x" * i * 1000 + b"!"
    assert len({s.conn for s in secure.requests}) == 1
    assert secure.requests[0].conn.conn.sock.selected_alpn_protocol() == "h2"


def test_big_bodies_over_tls(door, secure):
    secure.script(lambda s: s.reply(s.body))
    assert fetch(door.port, "POST", host="secure.test", body=BIG).body == BIG


def test_idle_connection_cut_over_tls(door, secure):
    for i in range(3):
        assert fetch(door.port, "POST", host="secure.test", body=b"x").status == 200
        secure.drop()
        poll(lambda: not secure.living, 5, "closed")


def test_server_without_h2(door, old):
    """Nothing is sent to a server that did not agree to HTTP/2."""
    assert fetch(door.port, host="old.test").status == 502
    assert old.bytes == b""
    poll(lambda: "server_tls" in open(door.access).read(), 5, "the reason in the log")


def test_server_that_is_another(door, secure):
    assert fetch(door.port, host="wrong.test").status == 502
    assert not secure.requests


def test_clear_text_to_a_tls_server(door, secure):
    assert fetch(door.port, "POST", host="plain.test", body=b"x").status == 502
    assert not secure.requests


def test_nginx(door):
    assert fetch(door.port, target="/proto", host="nginx.test").body == b"HTTP/2.0"
    assert fetch(door.port, target="/small", host="nginx.test").body == b"small\n"
    assert fetch(door.port, target="/nothing", host="nginx.test").status == 404
    assert fetch(door.port, "HEAD", "/big", host="nginx.test").get("content-length") == str(len(BIG))
    with Client(door.port) as c:
        for _ in range(5):
            c.send(build(target="/big", host="nginx.test"))
            assert c.response().body == BIG


@pytest.mark.parametrize("host", ["nghttpd.test", "nghttpds.test"])
def test_nghttpd(door, host):
    assert fetch(door.port, target="/small", host=host).body == b"small\n"
    assert fetch(door.port, target="/big", host=host).body == BIG
    for size in (0, 1, 70000, 1 << 20):
        assert fetch(door.port, "POST", "/echo", host=host, body=BIG[:size]).body == BIG[:size]


@pytest.mark.parametrize("host", ["nghttpd.test", "nghttpds.test", "nginx.test"])
def test_load(door, host):
    """Many clients at once, small and big, and every byte is right."""
    failures = []

    def run(n):
        with Client(door.port, timeout=20) as c:
            for i in range(15):
                big = (n + i) % 5 == 0
                c.send(build(target="/big" if big else "/small", host=host))
                r = c.response()
                if r.status != 200 or r.body != (BIG if big else b"small\n"):
                    failures.append(r)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


@pytest.mark.parametrize("options, why", [
    ({"protocol": "h2", "tls": {"enabled": True, "alpn": ["http/1.1"]}}, r'd/coxswain\.cfg:\d+: alpn without "h2"'),
    ({"tls": {"enabled": True, "alpn": ["h2", "http/1.1"]}}, r'd/coxswain\.cfg:\d+: "h2" in alpn needs protocol'),
    ({"protocol": "h2", "tls": {"enabled": True, "alpn": ["h2"]}}, None),
])
def test_alpn_must_suit_the_protocol(tmp_path, options, why):
    d = Door(tmp_path / "d", clusters=[cluster("a", "127.0.0.1:1", **options)], routes=[route("*", "a")])
    d.write()
    done = subprocess.run([COXSWAIN, "-t", "-c", d.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    assert done.returncode == (2 if why else 0) and (not why or re.search(why, done.stdout)), done.stdout
