"""TLS toward servers: who they must be, what they are told, and what a cut stream is."""

import re
import socket
import subprocess
import time

import pytest

from harness.door import Door, cluster, route
from harness.net import Client, Truncated, build, fetch, free_port, poll
from harness.origin import Origin, chunked, reply
from harness.tls import Authority


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other"), name="Other CA")


@pytest.fixture(scope="module")
def secure(ca):
    """A server whose certificate is for a name and an address, and that notes what it was asked for."""
    ctx = ca.server_context(ca.issue("inner.test", "127.0.0.1"), alpn=["http/1.1"])
    o = Origin(tls=ctx)
    o.asked = []
    ctx.sni_callback = lambda sock, name, context: o.asked.append(name)
    yield o
    o.stop()


@pytest.fixture(scope="module")
def strict(ca):
    """One that wants to see a certificate."""
    o = Origin(tls=ca.server_context(ca.issue("127.0.0.1"), ask=True))
    yield o
    o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, ca, other_ca, secure, strict):
    client = ca.issue("door.test")
    tls = {"enabled": True, "ca": ca.cert}

    def one(name, server, **more):
        return cluster(name, server.address, retries=0, eject_failures=0, tls=dict(tls, **more))

    d = Door(
        tmp_path_factory.mktemp("servers"),
        workers=1,
        clusters=[
            one("address", secure),
            one("name", secure, hostname="inner.test"),
            one("sni", secure, sni="asked.test"),
            one("wrong_name", secure, hostname="outer.test"),
            one("wrong_ca", secure, ca=other_ca.cert),
            one("unchecked", secure, ca=other_ca.cert, verify=False, hostname="outer.test"),
            cluster("system", secure.address, retries=0, eject_failures=0, tls={"enabled": True}),
            one("strict", strict, cert=client.cert, key=client.key),
            one("nobody", strict),
            one("old", secure, max_version="1.2"),
        ],
        routes=[route(n + ".test", n) for n in
                ("address", "name", "sni", "wrong_name", "wrong_ca", "unchecked", "system", "strict", "nobody", "old")],
    ).start()
    yield d
    d.stop()


@pytest.mark.parametrize("name, asked", [("address", None), ("name", "inner.test"), ("sni", "asked.test"),
                                         ("unchecked", "outer.test"), ("old", None)])
def test_request_to_a_tls_server(door, secure, name, asked):
    secure.asked.clear()
    with Client(door.port) as c:
        for i in range(20):
            c.send(build("POST", "/%d" % i, host=name + ".test", body=b"x" * i))
            assert c.response().body == b"ok"
    assert [r.target for r in secure.requests] == ["/%d" % i for i in range(20)]
    assert secure.accepted <= 1, "connections are kept, tickets or not"
    assert set(secure.asked) <= {asked}
    sock = secure.requests[0].conn.sock
    assert sock.version() == ("TLSv1.2" if name == "old" else "TLSv1.3")
    assert sock.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("name", ["wrong_name", "wrong_ca", "system"])
def test_a_server_that_is_not_the_one_gets_nothing(door, secure, name):
    r = fetch(door.port, host=name + ".test", headers={"Cookie": "secret"})
    assert r.status == 502
    assert not secure.requests
    assert "TLS handshake: certificate" in door.log()


def test_client_certificate(door, strict):
    assert fetch(door.port, host="strict.test").status == 200
    names = dict(x[0] for x in strict.one().conn.sock.getpeercert()["subject"])
    assert names["commonName"] == "door.test"
    assert fetch(door.port, host="nobody.test").status == 502
    assert len(strict.requests) == 1


def test_sessions_are_resumed(door, secure):
    """Tickets of TLS 1.3 come behind the handshake; the next connection uses one."""
    seen = []

    def close_after(conn, request):
        seen.append(conn.sock.session_reused)
        conn.send(reply(headers={"Connection": "close"}))
        return False

    secure.script(close_after)
    for name in ("name", "old"):
        seen.clear()
        for _ in range(3):
            assert fetch(door.port, host=name + ".test").status == 200
        assert seen[1:] == [True, True], (name, seen)


def test_retried_when_the_kept_connection_is_gone(door, secure):
    assert fetch(door.port, host="name.test").status == 200
    secure.drop()
    for _ in range(3):
        assert fetch(door.port, host="name.test").status == 200


def test_whole_without_close_notify_when_the_length_says_so(door, secure):
    def rude(conn, request):
        conn.send(reply(b"all of it", headers={"Connection": "close"}))
        socket.socket.shutdown(conn.sock, socket.SHUT_WR)
        return False

    secure.script(rude)
    assert fetch(door.port, host="name.test").body == b"all of it"


def test_cut_answer_is_told_from_a_whole_one(door, secure):
    """Until the close is the length here, and only a close_notify is a close (RFC 9112 9.8)."""

    def goodbye(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")
        conn.sock.unwrap()
        return False

    def cut(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")
        socket.socket.shutdown(conn.sock, socket.SHUT_WR)
        conn.drain()
        return False

    secure.script(goodbye)
    assert fetch(door.port, host="name.test").body == b"to the end"
    secure.script(cut)
    with pytest.raises((Truncated, ConnectionError)):
        fetch(door.port, host="name.test")


def test_big_answers_and_trailers(door, secure):
    body = bytes(range(256)) * 16384
    secure.script(lambda conn, r: conn.send(chunked(body, trailers=[(b"X-Sum", b"1")])))
    r = fetch(door.port, host="name.test")
    assert r.body == body and r.trailers == [("X-Sum", "1")]


def plain_server(script):
    """A server without TLS."""
    return Origin().raw(script)


def test_H28_text_before_the_handshake_is_no_answer(make_door, ca):
    """What somebody on the way puts in front of the server's hello never reaches the client (CVE-2026-1642)."""
    ctx = ca.server_context(ca.issue("127.0.0.1"))

    def inject(conn):
        conn.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        conn.sock = ctx.wrap_socket(conn.sock, server_side=True)
        conn.head()
        conn.send(reply(b"real"))

    origin = plain_server(inject)
    try:
        door = make_door(clusters=[cluster("c", origin.address, retries=0, tls={"enabled": True, "ca": ca.cert})],
                         routes=[route("*", "c")])
        r = fetch(door.port)
        assert r.status == 502 and b"forged" not in r.body
    finally:
        origin.stop()


def test_server_that_speaks_no_tls(make_door, ca):
    seen = []

    def listen(conn):
        try:
            conn.until(b"\r\n\r\n")
        finally:
            seen.append(bytes(conn.received))

    origin = plain_server(listen)
    try:
        door = make_door(clusters=[cluster("c", origin.address, retries=0, connect_timeout="300ms",
                                           tls={"enabled": True, "ca": ca.cert})], routes=[route("*", "c")])
        assert fetch(door.port, headers={"Cookie": "secret"}).status == 504
        poll(lambda: seen, message="the server's connection to end")
        assert seen[0][:1] == b"\x16" and b"secret" not in seen[0]
    finally:
        origin.stop()


def test_config_errors(make_door, ca):
    door = make_door(start=False, clusters=[
        cluster("a", "127.0.0.1:1", tls={"ca": ca.cert}),
        cluster("b", "127.0.0.1:1", tls={"enabled": True, "ca": "/does/not/exist.pem"}),
        cluster("c", "127.0.0.1:1", tls={"enabled": True, "key": ca.pair.key}),
    ], routes=[route("*", "a")])
    with pytest.raises(AssertionError):
        door.start()
    log = door.log()
    assert "needs enabled = true" in log and "/does/not/exist.pem" in log and "a key without cert" in log
    door.process.wait(5)
    Door.living.remove(door)
    door.process = None


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_probes_speak_tls(make_door, ca, other_ca, strict, kind):
    """With the cluster's certificate, its CA, and its judgement."""
    client = ca.issue("door.test")
    tls = {"enabled": True, "ca": ca.cert, "cert": client.cert, "key": client.key}
    probe = {"kind": kind, "interval": "50ms", "fall": 1}
    door = make_door(clusters=[
        cluster("good", strict.address, tls=tls, probe=probe),
        cluster("stranger", strict.address, tls=dict(tls, ca=other_ca.cert), probe=probe),
    ], routes=[route("*", "good")])

    def health(name):
        return door.cluster(name)["endpoints"][0]["health"]

    poll(lambda: health("good") == "up" and health("stranger") == "down", 10, "both verdicts")
    poll(lambda: re.search("of stranger is unhealthy: (self-signed|unable to get)", door.log()), 5, "the reason in the log")
    if kind == "http":
        assert strict.wait(1)[0].get("user-agent") == "coxswain-probe"


def test_probe_of_a_server_without_tls(make_door, ca, make_origin):
    """A port that opens is not yet a server that speaks TLS."""
    plain = make_origin()
    door = make_door(clusters=[cluster("c", plain.address, tls={"enabled": True, "ca": ca.cert},
                                       probe={"kind": "tcp", "interval": "50ms", "fall": 1, "timeout": "300ms"})],
                     routes=[route("*", "c")])
    poll(lambda: door.cluster("c")["endpoints"][0]["health"] == "down", 10, "the verdict")


def test_H33_key_updates_of_a_server_are_bounded(make_door, ca, tmp_path):
    """A server that changes its keys again and again loses the connection (RFC 8446 4.6.3); a few are fine."""
    pair = ca.issue("127.0.0.1")
    for updates, status in ((3, 200), (40, 502)):
        port = free_port()
        server = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-cert", pair.cert, "-key", pair.key, "-tls1_3"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            assert server.stdout.readline()
            door = make_door(clusters=[cluster("web", "127.0.0.1:%d" % port, retries=0, tls={"enabled": True, "ca": ca.cert, "max_key_updates": 8})],
                             routes=[route("*", "web")])
            with Client(door.port) as c:
                c.send(build())
                while b"Host:" not in server.stdout.readline():
                    pass
                try:
                    for _ in range(updates):  # each line is a command when it comes alone
                        server.stdin.write(b"K\n")
                        server.stdin.flush()
                        time.sleep(0.05)
                    for line in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\n", b"\r\n"):
                        server.stdin.write(line)
                        server.stdin.flush()
                except BrokenPipeError:
                    assert updates > 8
                assert c.response().status == status
        finally:
            server.kill()
            server.wait()
            server.stdin.close() if status == 200 else None
            server.stdout.close()
