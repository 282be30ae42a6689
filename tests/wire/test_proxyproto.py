"""The PROXY protocol in and out: rows P1 to P4 of the hostile input, the client's address everywhere it matters, uplinks that
are not shared, and real HAProxy and nginx at both ends."""

import os
import re
import socket
import ssl
import subprocess
import time

import pytest

from harness.door import COXSWAIN, Door, cluster, config_text, route
from harness.h2 import H2
from harness.net import SLOW, Client, build, fetch, free_port, poll
from harness.origin import OK, Origin
from harness.peers import HAPROXY, NGINX, haproxy, nginx
from harness.pp import LOCAL, Header, ssl_tlv, tlv, tlvs_of, v1, v2
from harness.tls import Authority, TlsClient

HERE = ["127.0.0.0/8"]
REQUIRED = {"proxy_protocol": "required", "proxy_protocol_from": HERE}


class Listener(Origin):
    """A server that wants a PROXY header on every connection; conn.header is what it read."""

    def __init__(self, **kw):
        super().__init__(**kw)
        self.headers = []

    def clear(self):
        super().clear()
        self.headers = []
        self.whole = self.read

    def read(self, conn):
        conn.header = Header(conn)
        self.headers.append(conn.header)
        while conn.open and self.serve_one(conn):
            pass


@pytest.fixture(scope="module")
def servers():
    made = [Listener(), Listener()]
    yield made
    for o in made:
        o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, servers):
    path = str(tmp_path_factory.mktemp("pp"))
    d = Door(
        os.path.join(path, "door"),
        listeners={
            "web": {},
            "in": dict(REQUIRED, max_proxy_header_size="1k"),
            "short": dict(REQUIRED, client_header_timeout="600ms"),
            "elsewhere": {"proxy_protocol": "required", "proxy_protocol_from": ["10.0.0.0/8", "2001:db8::/32"]},
            "crowd": dict(REQUIRED, max_sessions_per_client=2),
            "trusting": dict(REQUIRED, trusted=["192.0.2.0/24"]),
        },
        clusters=[
            cluster("web", origin.address), cluster("v1", servers[0].address, send_proxy="v1"),
            cluster("v2", servers[1].address, send_proxy="v2"),
        ],
        routes=[route("*", "web"), route("v1.test", "v1"), route("v2.test", "v2")],
    )
    unix = os.path.join(path, "u.sock")
    d.config["listeners"].append({"name": "unix", "address": "unix:" + unix, "proxy_protocol": "required"})
    d.unix = unix
    d.start()
    yield d
    d.stop()


def ask(port, first, *more, host="web.test", **kw):
    with Client(port) as c:
        c.send(first + build(host=host, **kw), *more)
        return c.response()


def closed_without_a_word(c):
    try:
        return c.rest() == b""
    except ConnectionResetError:
        return True


def refused(door, origin, first, listener="in"):
    with Client(door.ports[listener]) as c:
        c.send_quietly(first + build())
        assert closed_without_a_word(c)
    assert origin.bytes == b""


# ---- what comes in ----

@pytest.mark.parametrize("header", [v1(), v2(), v2(crc=True), v2(tlvs=tlv(4, b"\0" * 100)), v2(tlvs=tlv(0xE5, b"own"), crc=True)],
                         ids=["v1", "v2", "crc", "noop", "unknown-tlv"])
def test_address_follows_the_header(door, origin, header):
    """To the server, and into the access log."""
    r = ask(door.ports["in"], header, target="/seen")
    assert r.status == 200
    seen = origin.one()
    assert seen.get("x-forwarded-for") == "192.0.2.7" and "for=192.0.2.7" in (seen.get("forwarded") or "for=192.0.2.7")
    assert seen.get("x-forwarded-port") in (None, "443")
    assert origin.bytes.startswith(b"GET /seen ")
    poll(lambda: re.search(r"^192\.0\.2\.7 .*GET /seen ", open(door.access).read(), re.M), 5, "line in the access log")


def test_ipv6_address(door, origin):
    ask(door.ports["in"], v1("2001:db8::7", "2001:db8::1", family="TCP6"))
    ask(door.ports["in"], v2("2001:db8::8", "2001:db8::1"))
    assert [r.get("x-forwarded-for") for r in origin.wait(2)] == ["2001:db8::7", "2001:db8::8"]


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 1.2.3.4 junk\r\n", v2(command=0, family=0x11),
                                    v2(command=0, family=0x99, body=b"\xff\xff\xff"), v2(family=0, body=b"")],
                         ids=["local", "unknown", "unknown-rest", "local-with-addresses", "local-junk", "unspec"])
def test_P2_local_and_unknown_use_the_socket(door, origin, header):
    assert ask(door.ports["in"], header).status == 200
    assert origin.one().get("x-forwarded-for") == "127.0.0.1"


def test_P2_unix_family(door, origin):
    r = ask(door.ports["in"], v2(family=0x31, body=b"/run/a".ljust(108, b"\0") + b"\xff" * 108))
    assert r.status == 200
    assert "127.0.0.1" not in (origin.one().get("x-forwarded-for") or "")


def test_header_in_pieces(door, origin):
    """Byte by byte, and with the request right behind it or later."""
    for header in (v1(), v2(crc=True)):
        with Client(door.ports["in"]) as c:
            c.send(*[header[i:i + 1] for i in range(len(header))], delay=0.001)
            c.send(build() + build())
            assert c.response().status == 200 and c.response().status == 200
    assert [r.get("x-forwarded-for") for r in origin.wait(4)] == ["192.0.2.7"] * 4


def test_keep_alive_body_and_pipelining_behind_the_header(door, origin):
    with Client(door.ports["in"]) as c:
        c.send(v2() + build("POST", body=b"x" * 100000) + build(target="/2"))
        assert c.response("POST").status == 200 and c.response().status == 200
        c.send(build(target="/3"))
        assert c.response().status == 200
    assert [len(r.body) for r in origin.wait(3)] == [100000, 0, 0]


def test_half_close_right_behind(door, origin):
    with Client(door.ports["in"]) as c:
        c.send(v1() + build())
        c.half_close()
        assert c.response().status == 200 and c.closed()


def test_unix_listener_trusts_who_may_connect(door, origin):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10 * SLOW)
    s.connect(door.unix)
    s.sendall(v1() + build(headers={"Connection": "close"}))
    data = b""
    while True:
        more = s.recv(65536)
        if not more:
            break
        data += more
    s.close()
    assert data.startswith(b"HTTP/1.1 200 ")
    assert origin.one().get("x-forwarded-for") == "192.0.2.7"


# ---- P1: who, and whether at all ----

@pytest.mark.parametrize("header", [v1(), v2(), LOCAL, b""], ids=["v1", "v2", "local", "none"])
def test_P1_from_an_untrusted_peer(door, origin, header):
    refused(door, origin, header, "elsewhere")
    poll(lambda: "not in proxy_protocol_from" in door.log(), 5, "line in the log")


@pytest.mark.parametrize("first", [b"", b"\r\n", b" ", b"\0", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
                         ids=["http", "crlf", "blank", "nul", "tls", "h2"])
def test_P1_missing_header(door, origin, first):
    refused(door, origin, first)


def test_P1_header_where_none_is_wanted(door, origin):
    """Nothing is sniffed: to a plain listener it is a malformed request."""
    for header in (v1(), v2()):
        with Client(door.ports["web"]) as c:
            c.send(header + build())
            assert c.response().status == 400 and c.closed()
    assert origin.bytes == b""


def test_P1_a_second_header_is_no_request(door, origin):
    with Client(door.ports["in"]) as c:
        c.send(v1() + v1("203.0.113.9") + build())
        assert c.response().status == 400 and c.closed()
    assert origin.bytes == b""


@pytest.mark.parametrize("part", [b"", v1()[:20], v2()[:13], v2()[:20], v2(length=900)], ids=["nothing", "v1", "v2", "v2-body", "v2-long"])
def test_P1_header_must_come_in_time(door, origin, part):
    begin = time.monotonic()
    with Client(door.ports["short"]) as c:
        c.send(part)
        assert closed_without_a_word(c)
    assert 0.4 <= time.monotonic() - begin < 3 * SLOW
    assert origin.bytes == b""


def test_P1_dripping_does_not_prolong_it(door, origin):
    with Client(door.ports["short"]) as c:
        begin = time.monotonic()
        for byte in v1("111.111.111.111", "222.222.222.222", 65535, 65535):
            if not c.send_quietly(bytes([byte])) or time.monotonic() - begin > 3 * SLOW:
                break
            time.sleep(0.05)
        assert time.monotonic() - begin < 2.5 * SLOW
    assert origin.bytes == b""


# ---- P2: strict ----

BAD = {
    "v1-long": b"PROXY UNKNOWN " + b"x" * 93 + b"\r\n", "v1-endless": b"PROXY UNKNOWN " + b"x" * 5000, "v1-port": v1(dport=65536),
    "v1-port-sign": v1().replace(b"443", b"+443"), "v1-port-zero": v1().replace(b"443", b"0443"), "v1-lf": v1().replace(b"\r\n", b"\n"),
    "v1-blanks": v1().replace(b" 443", b"  443"), "v1-family": v1(family="TCP6"), "v1-udp": v1(family="UDP4"), "v1-lower": v1().lower(),
    "v1-host": v1("localhost"), "v1-octet": v1("192.0.2.256"), "v1-more": v1().replace(b"\r\n", b" 1\r\n"),
    "v1-nul": v1().replace(b" 443", b"\x00443"), "v2-version": v2().replace(b"QUIT\n\x21", b"QUIT\n\x31"), "v2-command": v2(command=2),
    "v2-dgram": v2(family=0x12), "v2-family": v2(family=0x41), "v2-short": v2(body=b"\x7f\0\0\1" * 2), "v2-six-as-four": v2(family=0x21),
    "v2-limit": v2(tlvs=tlv(4, b"\0" * 994)), "v2-length": v2(length=65535), "v2-tlv-overrun": v2(tlvs=b"\x05\x00\x09x"),
    "v2-tlv-stub": v2(tlvs=b"\x05"), "v2-crc": v2(tlvs=tlv(3, b"\1\2\3\4")), "v2-crc-size": v2(tlvs=tlv(3, b"\1\2\3")),
    "v2-crc-changed": v2(crc=True).replace(b"\xc0\x00\x02\x07", b"\xc0\x00\x02\x08"), "v2-id-long": v2(tlvs=tlv(5, b"i" * 129)),
    "v2-id-crlf": v2(tlvs=tlv(5, b"a\r\nX: y")), "v2-id-twice": v2(tlvs=tlv(5, b"a") * 2), "v2-ssl-stub": v2(tlvs=tlv(0x20, b"\1\0\0\0")),
    "v2-ssl-overrun": v2(tlvs=tlv(0x20, b"\1\0\0\0\0\x21\0\xffx")), "P5-cn-nul": v2(tlvs=ssl_tlv(name=b"admin\0.example.com")),
}


@pytest.mark.parametrize("name", BAD)
def test_P2_malformed(door, origin, name):
    refused(door, origin, BAD[name])


def test_P2_limit_is_exact(door, origin):
    """max_proxy_header_size is 1k here: 28 bytes of header, 3 of the TLV, and what is in it."""
    assert ask(door.ports["in"], v2(tlvs=tlv(4, b"\0" * (1024 - 31)))).status == 200
    origin.forget()
    refused(door, origin, v2(tlvs=tlv(4, b"\0" * (1024 - 30))))


# ---- P4, limits: whose connection it is ----

def test_P4_claims_of_the_named_client(door, origin):
    """trusted is about the client that the header names, not about the proxy in between."""
    claims = {"X-Forwarded-For": "203.0.113.1", "X-Real-IP": "203.0.113.1", "Forwarded": "for=203.0.113.1"}
    ask(door.ports["in"], v1("192.0.2.7"), headers=claims)
    seen = origin.one()
    assert seen.get("x-forwarded-for") == "192.0.2.7" and b"203.0.113.1" not in seen.head
    origin.forget()
    ask(door.ports["trusting"], v1("192.0.2.7"), headers={"X-Forwarded-For": "203.0.113.1"})
    assert origin.one().get("x-forwarded-for") == "203.0.113.1, 192.0.2.7"
    origin.forget()
    ask(door.ports["trusting"], v1("198.51.100.9"), headers=claims)
    assert origin.one().get("x-forwarded-for") == "198.51.100.9"


def test_limits_are_the_clients(door, origin):
    """Two connections a client: a third of the same is closed, one of another is not."""
    port = door.ports["crowd"]
    kept = []
    try:
        for source in ("192.0.2.7", "192.0.2.7", "192.0.2.8"):
            c = Client(port)
            kept.append(c)
            c.send(v1(source) + build())
            assert c.response().status == 200
        with Client(port) as c:
            c.send_quietly(v1("192.0.2.7") + build())
            assert closed_without_a_word(c)
    finally:
        for c in kept:
            c.close()

    def again():
        try:
            return ask(port, v1("192.0.2.7")).status == 200
        except (AssertionError, OSError):
            return False

    poll(again, 5, "the place of a closed connection")


# ---- what goes out ----

def test_out_v1_and_v2(door, servers):
    for listener, header in (("web", b""), ("in", v1()), ("in", v2("2001:db8::7", "2001:db8::1", 7, 8))):
        for host, server in (("v1.test", servers[0]), ("v2.test", servers[1])):
            server.forget()
            server.headers.clear()
            with Client(door.ports[listener]) as c:
                c.send(header + build(host=host))
                assert c.response().status == 200
                own = c.sock.getsockname()
            h = server.headers[0]
            assert h.version == (1 if host == "v1.test" else 2) and not h.local
            want = {b"": ("127.0.0.1", own[1], "127.0.0.1", door.ports["web"]), v1(): ("192.0.2.7", 5001, "198.51.100.1", 443)}.get(
                header, ("2001:db8::7", 7, "2001:db8::1", 8))
            assert (h.source, h.sport, h.target, h.dport) == want
            assert server.one().get("x-forwarded-for") == want[0]


def test_out_is_before_a_body_and_once_a_connection(door, servers):
    with Client(door.ports["web"]) as c:
        for i in range(5):
            c.send(build("POST", "/%d" % i, host="v2.test", body=b"b" * 50000))
            assert c.response("POST").status == 200
    assert len(servers[1].headers) == 1 and len(servers[1].wait(5)) == 5


def test_out_connections_are_not_shared(door, servers):
    """Many clients in turn and at once: every request came over a connection that named its own client."""
    server = servers[1]
    clients = [Client(door.ports["in"]) for _ in range(12)]
    try:
        for n, c in enumerate(clients):
            c.send(v1("192.0.2.%d" % (n + 1), sport=n + 1))
        for turn in range(4):
            for c in clients:
                c.send(build(host="v2.test"))
            for c in clients:
                assert c.response().status == 200
    finally:
        for c in clients:
            c.close()
    seen = server.wait(48)
    assert {r.get("x-forwarded-for") for r in seen} == {"192.0.2.%d" % (n + 1) for n in range(12)}
    for r in seen:
        assert r.get("x-forwarded-for") == r.conn.header.source
    assert len(server.headers) == 12


def test_out_connection_closes_with_its_client(door, servers):
    with Client(door.ports["web"]) as c:
        c.send(build(host="v1.test"))
        assert c.response().status == 200
        assert servers[0].living
    begin = time.monotonic()
    poll(lambda: not servers[0].living, 3, "the idle connection closed")
    assert time.monotonic() - begin < 3 * SLOW


def test_out_from_a_unix_listener(door, servers):
    for host, server in (("v1.test", servers[0]), ("v2.test", servers[1])):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10 * SLOW)
        s.connect(door.unix)
        s.sendall(v2(family=0x31, body=b"\0" * 216) + build(host=host, headers={"Connection": "close"}))
        assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
        s.close()
        assert server.headers[0].source == "" and server.headers[0].local == (host == "v1.test")


def test_out_passes_on_what_came_in(door, servers):
    extra = tlv(1, b"http/1.1") + tlv(2, b"shop.example.com") + tlv(5, b"4f7a-1") + ssl_tlv(3, 0, name=b"J. Doe")
    assert ask(door.ports["in"], v2(tlvs=extra, crc=True), host="v2.test").status == 200
    got = servers[1].headers[0].tlvs
    assert got[1] == b"http/1.1" and got[2] == b"shop.example.com" and got[5] == b"4f7a-1"
    assert got[0x20][:5] == b"\x03\0\0\0\0" and b"TLSv1.3" in got[0x20] and b"J. Doe" in got[0x20]


def test_out_new_connection_after_the_server_closed(door, servers):
    """A stale uplink of this client is not used, and the next one begins with a header of its own."""
    with Client(door.ports["in"]) as c:
        c.send(v1() + build(host="v1.test"))
        assert c.response().status == 200
        servers[0].drop()
        poll(lambda: not servers[0].living, 5, "closed")
        c.send(build("POST", host="v1.test", body=b"x"))
        assert c.response("POST").status == 200
    assert [h.source for h in servers[0].headers] == ["192.0.2.7"] * 2


@pytest.mark.parametrize("kind", ["tcp", "http"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_probes_say_local(make_door, version, kind):
    server = Listener()
    try:
        door = make_door(clusters=[cluster("a", server.address, send_proxy=version, probe={"kind": kind, "interval": "50ms"})],
                         routes=[route("*", "a")])
        poll(lambda: len(server.headers) >= 3, 5, "three probes")
        assert all(h.local and h.version == int(version[1]) for h in server.headers)
        assert fetch(door.port).status == 200
        assert any(not h.local for h in server.headers)
        poll(lambda: door.cluster("a")["endpoints"][0]["health"] == "up", 5, "healthy")
    finally:
        server.stop()


def test_reload_changes_send_proxy(make_door, tmp_path):
    """Connections from before are not used for what needs a header, nor the other way round."""
    plain, strict = Origin(), Listener()
    try:
        door = make_door(clusters=[cluster("a", plain.address)], routes=[route("*", "a")])
        with Client(door.port) as c:
            c.send(build())
            assert c.response().status == 200
        door.config["clusters"] = [cluster("a", strict.address, send_proxy="v2")]
        assert door.reload().returncode == 0
        assert fetch(door.port).status == 200 and len(strict.headers) == 1
        door.config["clusters"] = [cluster("a", plain.address)]
        assert door.reload().returncode == 0
        assert fetch(door.port).status == 200
    finally:
        plain.stop()
        strict.stop()


# ---- the config ----

def complaint(tmp_path, **config):
    file = tmp_path / "t.cfg"
    base = {"control": str(tmp_path / "c.sock"), "listeners": [{"name": "web", "address": "127.0.0.1:%d" % free_port()}], "clusters": [], "routes": []}
    base.update(config)
    file.write_text(config_text(base))
    done = subprocess.run([COXSWAIN, "-t", "-c", str(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    return done.returncode, done.stdout.decode()


def test_required_without_networks_is_an_error(tmp_path):
    code, text = complaint(tmp_path, listeners=[{"name": "web", "address": "127.0.0.1:8099", "proxy_protocol": "required"}])
    assert code == 2 and "proxy_protocol_from" in text and re.search(r"t\.cfg:\d+:", text)


@pytest.mark.parametrize("protocol", ["fastcgi", "files", "h2"])
def test_send_proxy_is_for_http(tmp_path, protocol):
    c = {"name": "a", "protocol": protocol, "send_proxy": "v2", "fastcgi": {"document_root": "/srv"}, "files": {"root": str(tmp_path)}}
    code, text = complaint(tmp_path, clusters=[c])
    assert code == 2 and re.search(r"t\.cfg:\d+: send_proxy works with", text), text


# ---- real peers ----

needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="no haproxy")
needs_nginx = pytest.mark.skipif(not NGINX, reason="no nginx")


@needs_haproxy
@pytest.mark.parametrize("way", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"], ids=["v1", "v2", "options"])
def test_haproxy_in_front(door, origin, tmp_path, way):
    port = free_port()
    extra = " unique-id-format %[uuid()]\n" if "unique-id" in way else ""
    peer = haproxy(tmp_path, "listen l\n mode tcp\n bind 127.0.0.1:%d\n%s server s 127.0.0.1:%d %s\n" % (port, extra, door.ports["in"], way), port)
    try:
        poll(lambda: True)
        origin.forget()
        s = socket.socket()
        s.bind(("127.0.0.5", 0))
        s.settimeout(10 * SLOW)
        s.connect(("127.0.0.1", port))
        s.sendall(build(headers={"Connection": "close"}))
        assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
        s.close()
        assert origin.one().get("x-forwarded-for") == "127.0.0.5"
    finally:
        peer.stop()


@needs_haproxy
def test_haproxy_checks_in_front(door, origin, tmp_path):
    """check-send-proxy says LOCAL, then asks: answered, and the address is HAProxy's own."""
    port = free_port()
    peer = haproxy(tmp_path, "listen l\n bind 127.0.0.1:%d\n option httpchk GET /check\n http-check send hdr host web.test\n"
                   " server s 127.0.0.1:%d send-proxy-v2 check-send-proxy check inter 100ms\n" % (port, door.ports["in"]), port)
    try:
        seen = poll(lambda: [r for r in origin.completed if r.target == "/check"], 10, "a check")
        assert seen[0].get("x-forwarded-for") == "127.0.0.1"
    finally:
        peer.stop()


@needs_haproxy
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_behind(make_door, tmp_path, version):
    port = free_port()
    peer = haproxy(tmp_path / "h", "listen l\n bind 127.0.0.1:%d accept-proxy\n http-request return status 200 content-type text/plain "
                   "lf-string \"%%[src] %%[dst_port]\"\n" % port, port)
    try:
        door = make_door(listeners={"in": REQUIRED}, clusters=[cluster("a", "127.0.0.1:%d" % port, send_proxy=version, probe={"kind": "tcp", "interval": "100ms"})],
                         routes=[route("*", "a")])
        assert ask(door.port, v1("192.0.2.99")).body == b"192.0.2.99 443"
        assert ask(door.port, v2("2001:db8::99", "2001:db8::1", 1, 8443)).body == b"2001:db8::99 8443"
    finally:
        peer.stop()


@needs_nginx
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_behind(make_door, tmp_path, version):
    port = free_port()
    peer = nginx(tmp_path / "n", "server { listen 127.0.0.1:%d proxy_protocol; location / { return 200 \"$proxy_protocol_addr "
                 "$proxy_protocol_port $proxy_protocol_server_port\"; } }" % port, port)
    try:
        door = make_door(listeners={"in": REQUIRED}, clusters=[cluster("a", "127.0.0.1:%d" % port, send_proxy=version, probe={"kind": "http", "interval": "100ms"})],
                         routes=[route("*", "a")])
        assert ask(door.port, v1("192.0.2.99")).body == b"192.0.2.99 5001 443"
        with Client(door.port) as c:
            c.send(v2("192.0.2.98", sport=9))
            for _ in range(3):
                c.send(build())
                assert c.response().body == b"192.0.2.98 9 443"
    finally:
        peer.stop()


# ---- with TLS: the header stands before it, and v2 tells about it ----

@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def tls_door(tmp_path_factory, origin, servers, authority):
    pair = authority.issue("web.test", "v2.test")
    tls = {"certificates": [pair.config()], "client_auth": {"mode": "optional", "ca": authority.cert}}
    d = Door(
        tmp_path_factory.mktemp("pptls"),
        listeners={"tls": {"tls": tls}, "in": dict(REQUIRED, tls=tls), "clear": dict(REQUIRED)},
        clusters=[cluster("web", origin.address), cluster("v2", servers[1].address, send_proxy="v2"), cluster("v1", servers[0].address, send_proxy="v1")],
        routes=[route("*", "web"), route("v2.test", "v2"), route("v1.test", "v1")],
    ).start()
    yield d
    d.stop()


@pytest.mark.parametrize("header", [v1(), v2(crc=True)], ids=["v1", "v2"])
def test_header_before_tls(tls_door, origin, authority, header):
    with TlsClient(tls_door.ports["in"], authority.client_context(), before=header) as c:
        for _ in range(3):
            c.send(build())
            assert c.response().status == 200
    seen = origin.wait(3)
    assert {r.get("x-forwarded-for") for r in seen} == {"192.0.2.7"} and {r.get("x-forwarded-proto") for r in seen} == {"https"}


def test_P1_tls_without_its_header(tls_door, origin, authority):
    with pytest.raises((OSError, ssl.SSLError)):
        TlsClient(tls_door.ports["in"], authority.client_context())
    assert origin.bytes == b""


def test_header_inside_tls_is_no_header(tls_door, origin, authority):
    with TlsClient(tls_door.ports["tls"], authority.client_context()) as c:
        c.send(v1() + build())
        assert c.response().status == 400
    assert origin.bytes == b""


@pytest.mark.parametrize("certificate", [False, True], ids=["anonymous", "certificate"])
def test_out_tells_about_tls(tls_door, servers, authority, certificate):
    own = authority.issue("client.test", name="J. Doe") if certificate else None
    with TlsClient(tls_door.ports["tls"], authority.client_context(own, alpn=["http/1.1"]), host="v2.test") as c:
        c.send(build(host="v2.test"))
        assert c.response().status == 200
        version, cipher = c.sock.version(), c.sock.cipher()[0]
    h = servers[1].headers[0]
    assert h.source == "127.0.0.1" and h.dport == tls_door.ports["tls"]
    assert h.tlvs[1] == b"http/1.1" and h.tlvs[2] == b"v2.test"
    ssl_part = h.tlvs[0x20]
    inner = tlvs_of(ssl_part[5:])
    assert ssl_part[0] == (7 if certificate else 1) and (ssl_part[1:5] == b"\0\0\0\0") == certificate
    assert inner[0x21].decode() == version and inner[0x23].decode() == cipher
    assert inner.get(0x22) == (b"J. Doe" if certificate else None)
    assert servers[1].one().get("x-forwarded-proto") == "https"


def test_tls_at_the_proxy_in_front_is_https(tls_door, origin):
    """A proxy that ends TLS says so in its header: the server is told https, though no byte here was encrypted."""
    for client, want in ((1, "https"), (0, "http")):
        origin.forget()
        assert ask(tls_door.ports["clear"], v2(tlvs=ssl_tlv(client))).status == 200
        assert origin.one().get("x-forwarded-proto") == want


def test_header_before_tls_to_the_server(make_door, authority):
    """send_proxy and tls together: the header in clear, then the handshake, then the request."""
    pair = authority.issue("back.test")
    context = authority.server_context(pair)

    def serve(conn):
        conn.header = Header(conn)
        server.headers.append(conn.header)
        assert not conn.buf  # nothing of TLS was read along
        with context.wrap_socket(conn.sock, server_side=True) as t:
            data = b""
            while b"\r\n\r\n" not in data:
                data += t.recv(65536)
            t.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntls")

    class Exact(Listener):
        """Takes a v1 line byte by byte, so that the ClientHello behind it stays in the socket."""

        def clear(self):
            super().clear()
            self.whole = self.by_hand

        def by_hand(self, conn):
            line = b""
            while not line.endswith(b"\r\n"):
                line += conn.sock.recv(1)
            conn.buf += line
            serve(conn)

    server = Exact()
    try:
        door = make_door(listeners={"in": REQUIRED}, routes=[route("*", "a")],
                         clusters=[cluster("a", server.address, send_proxy="v1", tls={"enabled": True, "ca": authority.cert, "hostname": "back.test"})])
        assert ask(door.port, v1("192.0.2.77")).body == b"tls"
        assert server.headers[0].source == "192.0.2.77"
    finally:
        server.stop()


def test_refusals_are_counted(make_door, origin):
    """By reason, with the requests that came to no cluster."""
    admin = free_port()
    door = make_door(listeners={"in": REQUIRED, "elsewhere": {"proxy_protocol": "required", "proxy_protocol_from": ["10.0.0.0/8"]}},
                     admin={"address": "127.0.0.1:%d" % admin}, clusters=[cluster("a", origin.address)], routes=[route("*", "a")])
    for _ in range(3):
        with Client(door.ports["in"]) as c:
            c.send_quietly(build())
            assert closed_without_a_word(c)
    with Client(door.ports["elsewhere"]) as c:
        c.send_quietly(v1() + build())
        assert closed_without_a_word(c)

    def counted():
        text = fetch(admin, target="/metrics", host="127.0.0.1:%d" % admin).body.decode()
        return ('unrouted_reasons_total{reason="proxy_header"} 3' in text and 'unrouted_reasons_total{reason="proxy_peer"} 1' in text)

    poll(counted, 5, "both reasons in the metrics")


# ---- with HTTP/2 in front ----

def h2_behind(port, header):
    s = socket.create_connection(("127.0.0.1", port), timeout=10 * SLOW)
    s.sendall(header)
    return H2(port, sock=s)


@pytest.mark.parametrize("header", [v1(), v2(crc=True)], ids=["v1", "v2"])
def test_header_before_h2(door, origin, header):
    with h2_behind(door.ports["in"], header) as c:
        ids = [c.get("/%d" % i) for i in range(5)]
        for i in ids:
            assert c.response(i).status == 200
    assert {r.get("x-forwarded-for") for r in origin.wait(5)} == {"192.0.2.7"}


def test_out_with_h2_in_front(door, servers):
    """Streams at once over several uplinks, each of which names this client; none is left for another one."""
    server = servers[1]
    server.script(lambda conn, request: time.sleep(0.05) or conn.send(OK) or True)
    with h2_behind(door.ports["in"], v1("192.0.2.50")) as c:
        for _ in range(2):
            ids = [c.get("/x", host="v2.test") for i in range(6)]
            for i in ids:
                assert c.response(i).status == 200
    with h2_behind(door.ports["in"], v1("192.0.2.51")) as c:
        assert c.response(c.get("/x", host="v2.test")).status == 200
    seen = server.wait(13)
    for r in seen:
        assert r.get("x-forwarded-for") == r.conn.header.source
    assert 2 <= len(server.headers) <= 8 and {h.source for h in server.headers} == {"192.0.2.50", "192.0.2.51"}
    poll(lambda: not server.living, 5, "uplinks closed with their clients")
