"""Rows H1 to H38: hostile HTTP/1 input, each looked at from both ends. A refused request has a status at the
client, a connection that is closed, and not a byte of it at the server."""

import socket
import time

import pytest

from harness.door import Door, cluster, route
from harness.fcgi import page
from harness.net import Client, build, fetch, poll
from harness.origin import OK, chunked, reply

EVIL = b"GET /evil HTTP/1.1\r\nHost: web.test\r\n\r\n"


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, origin2, fcgi):
    d = Door(
        tmp_path_factory.mktemp("h"),
        listeners={
            "web": {},
            "short": {"client_header_timeout": "1s", "client_body_timeout": "1s", "client_idle_timeout": "2s"},
            "trace": {"trace": True},
            "slashes": {"merge_slashes": False},
            "trusting": {"trusted": ["127.0.0.0/8"]},
        },
        clusters=[
            cluster("web", origin.address, max_interim=16, response_timeout="3s"),
            cluster("other", origin2.address),
            cluster("php", fcgi.address, protocol="fastcgi",
                    fastcgi={"document_root": "/srv/app"}),
        ],
        routes=[
            route("*.test", "web"), route("web.test", "web"), route("other.test", "other"), route("php.test", "php"),
            route("web.test", "other", "/admin"),
        ],
    ).start()
    yield d
    d.stop()


def refused(door, origin, raw, status=400, listener="web"):
    """Sends raw, and a request behind it: one answer with this status, the end, and a server that saw nothing."""
    wanted = status if isinstance(status, (set, tuple)) else {status}
    with Client(door.ports[listener]) as c:
        c.send_quietly(raw + EVIL)
        r = c.response()
        assert r.status in wanted, r
        assert r.get("connection") == "close"
        assert c.closed()
    assert origin.bytes == b""
    return r


def refused_body(door, origin, raw, status=400):
    """As refused, for a body that goes wrong: its head may have reached the server, its end must not have."""
    wanted = status if isinstance(status, (set, tuple)) else {status}
    with Client(door.ports["web"]) as c:
        c.send_quietly(raw + EVIL)
        r = c.response()
        assert r.status in wanted, r
        assert r.get("connection") == "close"
        assert c.closed()
    poll(lambda: not origin.requests or all(x.conn not in origin.living or x.complete for x in origin.requests),
         message="the server's connection to end")
    assert not origin.completed
    assert b"evil" not in origin.bytes


def post(*lines, body=b"", version="HTTP/1.1"):
    return ("POST /x %s\r\nHost: web.test\r\n" % version).encode() + b"".join(x + b"\r\n" for x in lines) + b"\r\n" + body


# framing


@pytest.mark.parametrize("lines", [
    (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    (b"Transfer-Encoding: chunked", b"X-Between: 1", b"Content-Length: 0"),
    (b"transfer-encoding: CHUNKED", b"CONTENT-LENGTH: 44"),
])
def test_H1_cl_and_te(door, origin, lines):
    refused(door, origin, post(*lines, body=b"0\r\n\r\n"))


@pytest.mark.parametrize("lines", [
    (b"Content-Length: 5", b"Content-Length: 6"),
    (b"Content-Length: 5, 6",),
    (b"Content-Length: 6", b"X-Between: 1", b"content-length: 5"),
    (b"Content-Length: 5,6",),
])
def test_H2_several_content_lengths(door, origin, lines):
    refused(door, origin, post(*lines, body=b"hello"))


@pytest.mark.parametrize("lines", [(b"Content-Length: 5", b"Content-Length: 5"), (b"Content-Length: 5, 5",)])
def test_H2_identical_repeats_are_refused_too(door, origin, lines):
    refused(door, origin, post(*lines, body=b"hello"))


@pytest.mark.parametrize("value", [
    b"+5", b"-5", b"0x5", b"5_0", b"5 5", b"", b" ", b"5a", b"five", b"5.0", b"5;", b"\"5\"", b"\xb2",
])
def test_H3_content_length_is_digits(door, origin, value):
    refused(door, origin, post(b"Content-Length: " + value, body=b"hello"))


@pytest.mark.parametrize("value", [b"9223372036854775808", b"18446744073709551616", b"18446744073709551621", b"9" * 40])
def test_H3_content_length_overflow(door, origin, value):
    refused(door, origin, post(b"Content-Length: " + value, body=b"hello"), {400, 413})


@pytest.mark.parametrize("value,status", [
    (b"xchunked", {501, 400}), (b"chunked\x0b", {400}), (b"\x0bchunked", {400}), (b"chunked,", {400}),
    (b",chunked", {400}), (b"chunked, chunked", {400}), (b"identity", {400, 501}), (b"identity, chunked", {400, 501}),
    (b"gzip, chunked", {501}), (b"chunked, gzip", {400, 501}), (b"", {400}), (b"chunked;q=1", {400, 501}),
    (b"\"chunked\"", {400, 501}), (b"chunked chunked", {400, 501}), (b"chun ked", {400, 501}),
    (b"chunked\x00", {400}), (b"chunked\xa0", {400, 501}),
])
def test_H4_transfer_encoding_disguised(door, origin, value, status):
    refused(door, origin, post(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n"), status)


@pytest.mark.parametrize("lines", [
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    (b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: ", b"Transfer-Encoding: chunked"),
])
def test_H4_two_transfer_encodings(door, origin, lines):
    refused(door, origin, post(*lines, body=b"0\r\n\r\n"), {400, 501})


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED", b"\tchunked", b"chunked \t "])
def test_H4_one_chunked_is_taken(door, origin, value):
    with Client(door.port) as c:
        c.send(post(b"Transfer-Encoding:" + value, body=b"5\r\nhello\r\n0\r\n\r\n"))
        assert c.response().status == 200
    assert origin.one().body == b"hello"


def test_H5_te_in_http10_request(door, origin):
    refused(door, origin, post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", version="HTTP/1.0"))


def test_H5_te_in_http10_response(door, origin):
    origin.script(lambda conn, r: conn.send(
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
    assert fetch(door.port).status == 502


CHUNKED = (b"Transfer-Encoding: chunked",)


@pytest.mark.parametrize("size", [
    b" 5", b"+5", b"-5", b"0x5", b"5_", b"", b"g", b"5h", b"\t5", b"\x005", b"5\x0b",
    b"11111111111111111", b"10000000000000005", b"f" * 300,
])
def test_H6_chunk_size(door, origin, size):
    refused_body(door, origin, post(*CHUNKED, body=size + b"\r\nhello\r\n0\r\n\r\n"), {400, 413})


@pytest.mark.parametrize("size", [b"ffffffffffffffff", b"8000000000000000", b"7fffffffffffffff"])
def test_H6_chunk_size_that_overflows_a_sum(door, origin, size):
    refused_body(door, origin, post(*CHUNKED, body=b"5\r\nhello\r\n" + size + b"\r\nhello\r\n0\r\n\r\n"), {400, 413})


def test_H6_sizes_are_our_own(door, origin):
    with Client(door.port) as c:
        c.send(post(*CHUNKED, body=b"0005\r\nhello\r\n0000B\r\nhello world\r\n000\r\n\r\n"))
        assert c.response().status == 200
    assert origin.one().body == b"hellohello world"
    assert b"0005\r\n" not in origin.bytes and b"0000B" not in origin.bytes


@pytest.mark.parametrize("body", [
    b"5\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n",
    b"5;ext\nhello\r\n0\r\n\r\n", b"5;a=\rb\r\nhello\r\n0\r\n\r\n", b"5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n",
    b"5;a=\"unbalanced\r\nhello\r\n0\r\n\r\n", b"5;a=b\x00\r\nhello\r\n0\r\n\r\n", b"5\r\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\r\n\n",
])
def test_H7_chunk_line_ends(door, origin, body):
    refused_body(door, origin, post(*CHUNKED, body=body))


def test_H7_extensions_are_bounded(door, origin):
    body = b"".join(b"1;a=" + b"x" * 250 + b"\r\ny\r\n" for _ in range(40)) + b"0\r\n\r\n"
    refused_body(door, origin, post(*CHUNKED, body=body))


def test_H7_extensions_are_dropped(door, origin):
    with Client(door.port) as c:
        c.send(post(*CHUNKED, body=b"5;secret=b;c=\"d;e\"\r\nhello\r\n0;last\r\n\r\n"))
        assert c.response().status == 200
    assert origin.one().body == b"hello"
    assert b"secret" not in origin.bytes and b"last" not in origin.bytes


@pytest.mark.parametrize("body", [
    b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhel\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\r0\n\r\n",
    b"1\r\nhello\r\n0\r\n\r\n",
])
def test_H8_data_not_of_its_size(door, origin, body):
    refused_body(door, origin, post(*CHUNKED, body=body))


@pytest.mark.parametrize("name,value", [
    ("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Host", "evil.test"), ("Authorization", "Basic eA=="),
    ("Cookie", "a=b"), ("X-Forwarded-For", "6.6.6.6"), ("Content-Type", "text/evil"), ("Connection", "close"),
])
def test_H9_forbidden_trailers(door, origin, name, value):
    trailer = ("%s: %s" % (name, value)).encode()
    with Client(door.port) as c:
        c.send(post(*CHUNKED, body=b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n"))
        assert c.response().status in (200, 400)
    for request in origin.requests:
        assert not any(v == value for v in request.all(name) if name != "Transfer-Encoding")
        assert name.lower() not in [n.lower() for n, _ in request.trailers]


def test_H9_plain_trailer_stays_a_trailer(door, origin):
    with Client(door.port) as c:
        c.send(post(*CHUNKED, b"Trailer: X-Sum", body=b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"))
        assert c.response().status == 200
    request = origin.one()
    assert request.get("x-sum") is None
    assert request.trailers in ([], [("X-Sum", "1")])


@pytest.mark.parametrize("trailers", [b"X-T: y\r\n" * 500, b"X-T: " + b"y" * 60000 + b"\r\n"])
def test_H9_trailers_are_bounded(door, origin, trailers):
    refused_body(door, origin, post(*CHUNKED, body=b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n"), {400, 431})


@pytest.mark.parametrize("line", [
    b"X-A: a\x00b", b"X-A: a\rb", b"X-A: a\nb", b"X-\x00A: b", b"X-A: b\r", b"X-\rA: b", b"X-A: \x01", b"X-A: a\x7fb",
    b"X-A: a\r\r", b"X-A: a\nX-B: b", b"X-A:\x0b b",
])
def test_H10_control_bytes(door, origin, line):
    refused(door, origin, b"GET / HTTP/1.1\r\nHost: web.test\r\n" + line + b"\r\n\r\n")


@pytest.mark.parametrize("line", [
    b"X-A : b", b"X-A\t: b", b": b", b"nocolon", b"X A: b", b"X(A): b", b"X-\xe4: b", b"\"X\": b", b"X-A,: b",
])
def test_H11_field_names(door, origin, line):
    refused(door, origin, b"GET / HTTP/1.1\r\nHost: web.test\r\n" + line + b"\r\n\r\n")


@pytest.mark.parametrize("blank", [b" ", b"\t"])
def test_H11_whitespace_before_the_first_field(door, origin, blank):
    refused(door, origin, b"GET / HTTP/1.1\r\n" + blank + b"X-A: b\r\nHost: web.test\r\n\r\n")


@pytest.mark.parametrize("line", [b"X-A : b", b": b", b"nocolon"])
def test_H11_field_names_of_the_server(door, origin, line):
    origin.script(lambda conn, r: conn.send(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\nok"))
    r = fetch(door.port)
    assert r.status == 502 or b" :" not in r.head and b"\r\n:" not in r.head and b"nocolon" not in r.head


@pytest.mark.parametrize("fold", [b"\r\n b", b"\r\n\tb", b"\r\n  Transfer-Encoding: chunked"])
def test_H12_folded_lines(door, origin, fold):
    refused(door, origin, b"GET / HTTP/1.1\r\nHost: web.test\r\nX-A: a" + fold + b"\r\n\r\n")


def test_H12_folded_line_of_the_server(door, origin):
    origin.script(lambda conn, r: conn.send(b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok"))
    r = fetch(door.port)
    assert r.status == 502 or r.get("x-a") == "a b"


@pytest.mark.parametrize("raw", [
    b"GET / HTTP/1.1\nHost: web.test\n\n", b"GET / HTTP/1.1\r\nHost: web.test\n\r\n", b"GET / HTTP/1.1\nHost: web.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: web.test\r\n\n", b"GET / HTTP/1.1\rHost: web.test\r\r",
])
def test_H13_bare_line_feeds(door, origin, raw):
    refused(door, origin, raw)


@pytest.mark.parametrize("line,status", [
    (b"GET  / HTTP/1.1", {400}), (b"GET /  HTTP/1.1", {400}), (b"GET\t/ HTTP/1.1", {400}), (b"GET /\tHTTP/1.1", {400}),
    (b" GET / HTTP/1.1", {400}), (b"GET / HTTP/1.1 ", {400}), (b"GET /a b HTTP/1.1", {400}), (b"GET /\x01 HTTP/1.1", {400}),
    (b"GET /\x7f HTTP/1.1", {400}), (b"GET /\x80 HTTP/1.1", {400}), (b"GET /\x00 HTTP/1.1", {400}), (b"GET /", {400}),
    (b"GET", {400}), (b"GET / HTTP/1.10", {400}), (b"GET / HTTP/1.1x", {400}), (b"GET / http/1.1", {400}),
    (b"GET / HTTP/1", {400}), (b"GET / HTTP/1.", {400}), (b"GET / HTTP/11", {400}), (b"GET / HTTP/2.0", {505}),
    (b"GET / HTTP/3.0", {505}), (b"GET / HTTP/0.9", {400, 505}), (b"G@T / HTTP/1.1", {400}), (b"G\xe4T / HTTP/1.1", {400}),
    (b"GET / XTTP/1.1", {400}), (b"PRI * HTTP/2.0", {400, 505}), (b"GET HTTP/1.1", {400}), (b"GET x HTTP/1.1", {400}),
])
def test_H14_request_line(door, origin, line, status):
    refused(door, origin, line + b"\r\nHost: web.test\r\n\r\n", status)


def test_H14_http09(door, origin):
    refused(door, origin, b"GET /\r\n\r\n")


@pytest.mark.parametrize("lines", [
    b"", b"Host: web.test\r\nHost: web.test\r\n", b"Host: web.test\r\nHost: evil.test\r\n", b"Host:\r\n", b"Host: \r\n",
    b"Host: web.test\r\nX: y\r\nhost: evil.test\r\n",
])
def test_H15_host_exactly_once(door, origin, lines):
    refused(door, origin, b"GET / HTTP/1.1\r\n" + lines + b"\r\n")


def test_H16_absolute_form_and_another_host(door, origin, origin2):
    with Client(door.port) as c:
        c.send(b"GET http://web.test/p HTTP/1.1\r\nHost: other.test\r\n\r\n")
        status = c.response().status
    assert origin2.bytes == b""  # never by the field beside the target
    if status == 200:
        request = origin.one()
        assert request.get("host") == "web.test" and request.target == "/p"
    else:
        assert status == 400 and origin.bytes == b""


def test_H16_absolute_form_and_its_host(door, origin):
    with Client(door.port) as c:
        c.send(b"GET http://web.test/p?q HTTP/1.1\r\nHost: web.test\r\n\r\n")
        assert c.response().status == 200
    request = origin.one()
    assert request.target == "/p?q" and request.all("host") == ["web.test"]


@pytest.mark.parametrize("host", [
    b"user@web.test", b"u:p@web.test", b"web.test,evil.test", b"web.test evil", b"web.test/x", b"web.test:80x", b"web.test:99999",
    b"web.test:80:80", b"[::1", b"[::1]x", b"web.test?x", b"web.test#x", b"web.test\\x", b"<script>", b"web.test:-1", b"[]",
    b"w\xc3\xa4b.test", b"web%00.test", b"[v1.x", b"a" * 300 + b".test",
])
def test_H17_host_is_an_authority(door, origin, host):
    refused(door, origin, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", {400, 404} if len(host) > 255 else 400)


@pytest.mark.parametrize("target", [b"http://user@web.test/", b"http:///x", b"http://web.test:x/", b"http://", b"http://[::1/"])
def test_H17_authority_of_the_target(door, origin, target):
    refused(door, origin, b"GET " + target + b" HTTP/1.1\r\nHost: web.test\r\n\r\n")


@pytest.mark.parametrize("target", [b"/a#b", b"/#", b"/a?b#c", b"/a%00", b"/a%0a", b"/a%0D%0Ab", b"/a\\b", b"/%5c"])
def test_H18_target(door, origin, target):
    refused(door, origin, b"GET " + target + b" HTTP/1.1\r\nHost: web.test\r\n\r\n")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_H19_body_on_any_method(door, origin, method):
    with Client(door.port) as c:
        c.send(build(method, "/first", body=EVIL) + build("GET", "/second"))
        assert c.response(method).status == 200
        assert c.response().status == 200
    first, second = origin.wait(2)
    assert first.target == "/first" and first.body == EVIL
    assert second.target == "/second"


def test_H19_chunked_body_on_get(door, origin):
    with Client(door.port) as c:
        c.send(b"GET /first HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        c.send(b"%x\r\n" % len(EVIL) + EVIL + b"\r\n0\r\n\r\n" + build("GET", "/second"))
        assert c.response().status == 200 and c.response().status == 200
    assert [r.target for r in origin.wait(2)] == ["/first", "/second"]


@pytest.mark.parametrize("host", ["nowhere.invalid", "web.test"])
def test_H20_error_before_the_body(door, origin, host):
    """Whatever is answered early: what follows in the body is never a request."""
    target = "/x" if host == "nowhere.invalid" else "/%00"
    raw = ("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 5000\r\n\r\n" % (target, host)).encode()
    with Client(door.port) as c:
        c.send(raw)
        r = c.response()
        assert r.status in (400, 404)
        c.send_quietly(EVIL * 50 + b"x" * (5000 - 50 * len(EVIL)))
        if (r.get("connection") or "") != "close":
            c.send_quietly(build("GET", "/after"))
            assert c.response().status == 200
    assert b"evil" not in origin.bytes


def test_H20_early_answer_of_the_server(door, origin):
    def early(conn, request):
        conn.send(reply(b"no", "403 Forbidden"))
        return False

    origin.script(early, early=True)
    body = EVIL * 2000
    with Client(door.port) as c:
        c.send(("POST /early HTTP/1.1\r\nHost: web.test\r\nContent-Length: %d\r\n\r\n" % len(body)).encode())
        c.send_quietly(body[:100])
        assert c.response().status == 403
        c.send_quietly(body[100:])
        c.send_quietly(build("GET", "/after"))
        c.sock.settimeout(2)
        try:
            rest = c.rest()
        except OSError:
            rest = b""
    assert rest.count(b"HTTP/1.1") <= 1
    assert all(r.target in ("/early", "/after") for r in origin.requests)


@pytest.mark.parametrize("value", ["y 100-continue", "100-continue, y", "", "200-ok", "100-continued", "100-continue;x"])
def test_H21_unknown_expectation(door, origin, value):
    with Client(door.port) as c:
        c.send(post(b"Expect: " + value.encode(), b"Content-Length: %d" % len(EVIL), body=EVIL))
        assert c.response().status == 417
    assert origin.bytes == b""


def test_H21_continue_exactly_once(door, origin):
    def answers_too(conn, request):
        if (request.get("expect") or "").lower() == "100-continue":
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.read_body()
        conn.send(OK)

    origin.script(answers_too, early=True)
    with Client(door.port) as c:
        c.send(post(b"Expect: 100-Continue", b"Content-Length: 5"))
        assert c.head().status == 100
        c.send(b"hello")
        r = c.response()
        assert r.status == 200 and r.interim == []
    assert origin.one().body == b"hello"


def test_H21_final_answer_instead_of_continue(door, origin):
    def refuse(conn, request):
        conn.send(reply(b"no", "403 Forbidden", {"Connection": "close"}))
        return False

    origin.script(refuse, early=True)
    with Client(door.port) as c:
        c.send(post(b"Expect: 100-continue", b"Content-Length: %d" % len(EVIL)))
        r = c.response()
        assert r.status == 403 and [i.status for i in r.interim] in ([], [100])
        c.send_quietly(EVIL)
        c.send_quietly(build("GET", "/after"))
        try:
            c.sock.settimeout(2)
            c.rest()
        except OSError:
            pass
    assert all(r.target in ("/x", "/after") for r in origin.requests)


WS = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n"


def test_H22_no_tunnel_before_the_server_says_101(door, origin):
    seen = []

    def late(conn, request):
        time.sleep(0.2)
        conn.sock.setblocking(False)
        try:
            seen.append(conn.sock.recv(100))
        except BlockingIOError:
            seen.append(b"")
        conn.sock.setblocking(True)
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        seen.append(conn.exactly(5))
        conn.send(b"done!")
        return False

    origin.script(late)
    with Client(door.port) as c:
        c.send(b"GET /ws HTTP/1.1\r\nHost: web.test\r\n" + WS + b"\r\nHELLO")
        assert c.response().status == 101
        assert c.exactly(5) == b"done!"
    assert seen == [b"", b"HELLO"]


def test_H22_refused_upgrade_stays_http(door, origin):
    with Client(door.port) as c:
        c.send(b"GET /ws HTTP/1.1\r\nHost: web.test\r\n" + WS + b"\r\nGET /b HTTP/1.1\r\nHost: nowhere.invalid\r\n\r\n")
        assert c.response().status == 200
        assert c.response().status == 404  # went through the rules, not through a tunnel
    assert [r.target for r in origin.requests] == ["/ws"]


@pytest.mark.parametrize("extra", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
def test_H22_upgrade_with_a_body(door, origin, extra):
    refused(door, origin, b"GET /ws HTTP/1.1\r\nHost: web.test\r\n" + WS + extra)


def test_H22_upgrade_in_http10_is_ignored(door, origin):
    with Client(door.port) as c:
        c.send(b"GET /ws HTTP/1.0\r\nHost: web.test\r\n" + WS + b"\r\n")
        assert c.response().status == 200
    assert origin.one().get("upgrade") is None


def test_H22_switch_that_nobody_asked_for(door, origin):
    origin.script(lambda conn, r: conn.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET"))
    assert fetch(door.port).status == 502


@pytest.mark.parametrize("lines", [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Connection: Upgrade\r\nUpgrade: H2C\r\nHTTP2-Settings: AA\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: AA\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n", b"HTTP2-Settings: AA\r\n",
])
def test_H23_h2c_is_stripped(door, origin, lines):
    with Client(door.port) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: web.test\r\n" + lines + b"\r\n")
        assert c.response().status == 200
    request = origin.one()
    assert b"h2c" not in request.head.lower() and b"http2-settings" not in request.head.lower()


@pytest.mark.parametrize("raw", [
    b"CONNECT web.test:443 HTTP/1.1\r\nHost: web.test:443\r\n\r\n",
    b"CONNECT web.test:443 HTTP/1.1\r\nHost: web.test:443\r\nContent-Length: 5\r\n\r\nhello",
    b"CONNECT / HTTP/1.1\r\nHost: web.test\r\n\r\n",
])
def test_H24_connect(door, origin, raw):
    refused(door, origin, raw, {400, 405})


def test_H25_trace_is_off(door, origin):
    with Client(door.port) as c:
        c.send(build("TRACE", "/"))
        assert c.response().status == 405
    assert origin.bytes == b""


def test_H25_trace_when_asked_for(door, origin):
    assert fetch(door.ports["trace"], "TRACE").status == 200
    assert origin.one().method == "TRACE"


@pytest.mark.parametrize("method", ["PURGE", "M-SEARCH", "get", "X!#$%&'*+-.^_`|~"])
def test_H25_unknown_methods_pass_as_they_are(door, origin, method):
    assert fetch(door.port, method).status == 200
    assert origin.one().method == method


def test_H26_connection_cannot_remove_what_matters(door, origin):
    fields = [("Connection", "X-Forwarded-For, Authorization, Host, Cookie, Content-Type, Via, X-Custom, Content-Length"),
              ("Authorization", "Basic eA=="), ("Cookie", "a=b"), ("Content-Type", "text/plain"), ("X-Custom", "gone")]
    assert fetch(door.port, "POST", headers=fields, body=b"hello").status == 200
    request = origin.one()
    assert request.get("authorization") == "Basic eA==" and request.get("cookie") == "a=b"
    assert request.get("content-type") == "text/plain" and request.get("host") == "web.test"
    assert request.get("x-forwarded-for") == "127.0.0.1" and request.get("via")
    assert request.body == b"hello" and request.get("x-custom") is None


def test_H27_hop_by_hop(door, origin):
    fields = [("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("TE", "gzip, trailers"), ("Connection", "TE"),
              ("Proxy-Authorization", "Basic eA=="), ("X-End", "stays")]
    origin.script(lambda conn, r: conn.send(reply(b"ok", headers=[
        ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "close"), ("Connection", "X-Hop"), ("X-Hop", "1"), ("X-End", "stays")])))
    r = fetch(door.port, headers=fields)
    request = origin.one()
    for name in ("keep-alive", "proxy-connection"):
        assert request.get(name) is None and r.get(name) is None
    assert request.get("te") in (None, "trailers") and "gzip" not in (request.get("te") or "")
    assert request.get("x-end") == "stays" and r.get("x-end") == "stays" and r.get("x-hop") is None


@pytest.mark.parametrize("head", [
    b"HTTP/1.1 2000 OK\r\nContent-Length: 2", b"HTTP/1.1 20 OK\r\nContent-Length: 2", b"HTP/1.1 200 OK\r\nContent-Length: 2",
    b"HTTP/1.1 2x0 OK\r\nContent-Length: 2", b"HTTP/2.0 200 OK\r\nContent-Length: 2", b"ICY 200 OK\r\nContent-Length: 2",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3",
    b"HTTP/1.1 200 OK\r\nContent-Length: -2", b"HTTP/1.1 200 OK\r\nContent-Length: 2x", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked", b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2",
    b"HTTP/1.1 099 Odd\r\nContent-Length: 2", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999", b"garbage",
    b"HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 2", b"220 smtp.test ESMTP ready", b"HTTP/1.1 0200 OK\r\nContent-Length: 2",
])
def test_H28_malformed_answer(door, origin, head):
    origin.script(lambda conn, r: conn.send(head + b"\r\n\r\nok"))
    r = fetch(door.port)
    assert r.status == 502
    poll(lambda: all(c not in origin.living for c in {q.conn for q in origin.requests}), message="uplink closed")


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints", b"102 Processing"])
def test_H28_flood_of_interim_answers(door, origin, status):
    def flood(conn, request):
        conn.send((b"HTTP/1.1 " + status + b"\r\n\r\n") * 1000)
        conn.send(OK)

    origin.script(flood)
    with Client(door.port) as c:
        c.send(build())
        r = c.response()
        assert r.status == 502 and len(r.interim) <= 16


@pytest.mark.parametrize("head,method", [
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "GET"),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", "GET"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HEAD"),
    (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "GET"),
])
def test_H28_body_where_none_may_be(door, origin, head, method):
    origin.script(lambda conn, r: conn.send(head) if r.target == "/first" else conn.send(OK))
    with Client(door.port) as c:
        c.send(build(method, "/first"))
        assert c.response(method).status in (200, 204, 304, 502)
        time.sleep(0.05)
        c.send(build("GET", "/second"))
        r = c.response()
        assert r.status == 200 and r.body == b"ok"


@pytest.mark.parametrize("extra", [b"X", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"])
def test_H29_bytes_behind_the_answer(door, origin, extra):
    origin.script(lambda conn, r: conn.send(reply(b"first") + extra) if r.target == "/first" else conn.send(reply(b"second")))
    with Client(door.port) as c:
        c.send(build("GET", "/first"))
        assert c.response().body == b"first"
        c.send(build("GET", "/second"))
        assert c.response().body == b"second"
    first, second = origin.wait(2)
    assert first.conn is not second.conn


def test_H29_bytes_on_an_idle_uplink(door, origin):
    origin.script(lambda conn, r: conn.send(reply(b"first")))
    assert fetch(door.port).body == b"first"
    conn = origin.one().conn
    conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    poll(lambda: conn not in origin.living, message="uplink with unasked bytes closed")
    origin.script(lambda c, r: c.send(reply(b"second")))
    assert fetch(door.port).body == b"second"


def test_H29_answer_before_the_request_is_complete(door, origin):
    origin.script(lambda conn, r: conn.send(reply(b"early")) or (r.read_body() and True), early=True)
    with Client(door.port) as c:
        c.send(b"POST /p HTTP/1.1\r\nHost: web.test\r\nContent-Length: 10\r\n\r\nhello")
        assert c.response().body == b"early"
        c.send_quietly(b"world")
    origin.script(None)
    r = fetch(door.port, target="/second")
    assert r.status == 200 and r.body == b"ok"


def test_H30_pipelining_judges_each_request(door, origin, origin2):
    origin.script(lambda conn, r: conn.send(reply(b"web")))
    origin2.script(lambda conn, r: conn.send(reply(b"other")))
    with Client(door.port) as c:
        c.send(build(host="web.test") + build(host="other.test") + build(host="no.invalid") + build(host="web.test", target="/admin")
               + build(host="web.test", target="/\x7f"))
        got = [c.response() for _ in range(5)]
        assert c.closed()
    assert [r.status for r in got] == [200, 200, 404, 200, 400]
    assert [r.body for r in got if r.status == 200] == [b"web", b"other", b"other"]


@pytest.mark.parametrize("raw,status", [
    (build(target="/" + "a" * 20000), 414), (build(headers={"X-A": "a" * 40000}), 431),
    (build(headers=[("X-A", "a")] * 150), 431), (build(headers=[("X-A", "a" * 1000)] * 50), 431),
], ids=["line", "one field", "count", "sum"])
def test_H31_header_overflow(door, origin, raw, status):
    refused(door, origin, raw, status)


def test_H32_slow_head(door, origin):
    """A byte now and then does not help: the time-out is for the whole head."""
    with Client(door.ports["short"]) as c:
        begin = time.monotonic()
        for byte in build(headers={"X": "y" * 100}):
            if not c.send_quietly(bytes([byte])) or time.monotonic() - begin > 4:
                break
            c.sock.settimeout(0.1)
            try:
                if not c.more() or c.buf:
                    break
            except socket.timeout:
                pass
        c.sock.settimeout(5)
        assert c.response().status == 408
        assert time.monotonic() - begin < 4
    assert origin.bytes == b""


def test_H32_slow_post(door, origin):
    with Client(door.ports["short"]) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 100\r\n\r\nhello")
        assert c.response().status == 408
        assert c.closed()
    assert not origin.completed


def test_H33_connection_flood(make_door, origin):
    """More idle clients than sessions: the oldest idle ones go, and a new one is served."""
    d = make_door(max_sessions=40, clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    idle = [Client(d.port) for _ in range(80)]
    try:
        d.served(5.0)
    finally:
        for c in idle:
            c.close()


def test_H34_nothing_is_decompressed(door, origin):
    body = b"\x1f\x8b\x08\x00" + bytes(range(256)) * 4
    origin.script(lambda conn, r: conn.send(reply(body, headers={"Content-Encoding": "gzip"})))
    r = fetch(door.port, headers={"Accept-Encoding": "gzip"})
    assert r.body == body and r.get("content-encoding") == "gzip"
    assert origin.one().get("accept-encoding") == "gzip"


@pytest.mark.parametrize("sent,forwarded", [
    ("/a/../b", "/b"), ("/a/./b", "/a/b"), ("//x", "/x"), ("/a//b///c", "/a/b/c"), ("/%7euser", "/~user"), ("/%41", "/A"),
    ("/a;x=1/b", "/a;x=1/b"), ("/%252e%252e/x", "/%252e%252e/x"), ("/a/b/..", "/a/"), ("/x%c3%a4", "/x%C3%A4"), ("/?a=/../b", "/?a=/../b"),
    ("/a?x=%00%2f", "/a?x=%00%2f"), ("/.hidden", "/.hidden"), ("/..a/b..", "/..a/b.."), ("/a/.", "/a/"),
])
def test_H35_paths_are_normalised(door, origin, sent, forwarded):
    assert fetch(door.port, target=sent).status == 200
    assert origin.one().target == forwarded


@pytest.mark.parametrize("target", [
    "/%2e%2e/x", "/a/%2e%2e/b", "/a/.%2e/b", "/a/%2E/b", "/a%2fb", "/a%2Fb", "/a%5cb", "/../x", "/a/../../x", "/%zz", "/%4", "/%", "/a%00",
])
def test_H35_ambiguous_paths(door, origin, target):
    refused(door, origin, build(target=target))


@pytest.mark.parametrize("target", ["/admin", "/x/../admin", "//admin", "/%61dmin", "/./admin", "/admin/x"])
def test_H35_routes_see_what_is_forwarded(door, origin, origin2, target):
    assert fetch(door.port, target=target).status == 200
    assert origin2.one().target in ("/admin", "/admin/x")
    assert origin.bytes == b""


def test_H35_slashes_kept_when_asked(door, origin):
    assert fetch(door.ports["slashes"], target="/a//b").status == 200
    assert origin.one().target == "/a//b"


def test_H36_log_lines_cannot_be_forged(door, origin):
    agent = 'x" 200 "evil\\ \xe4'
    assert fetch(door.port, target='/h36?"forged', headers={"User-Agent": agent, "Referer": '"a" "b"'}).status in (200, 400)
    assert fetch(door.port, target="/h36-mark", headers={"User-Agent": agent, "Referer": '"a" "b"'}).status == 200

    def lines():
        with open(door.access, "rb") as f:
            return [x for x in f.read().split(b"\n") if b"h36-mark" in x]

    line = poll(lines, 3, "access log line")
    assert len(line) == 1
    assert b'x" 200 "evil' not in line[0] and b'"a" "b"' not in line[0]
    assert all(32 <= b < 127 for b in line[0])


def test_H37_reserved_names_in_both_forms(door, origin):
    fields = [("X_Forwarded_For", "6.6.6.6"), ("X-Forwarded_For", "6.6.6.6"), ("X_Real_IP", "6.6.6.6"), ("X-Forwarded-For", "6.6.6.6"),
              ("X-Real-IP", "6.6.6.6"), ("Forwarded", "for=6.6.6.6")]
    assert fetch(door.port, headers=fields).status == 200
    assert b"6.6.6.6" not in origin.one().head


def test_H37_names_for_fastcgi(door, fcgi):
    fields = [("X_Forwarded_For", "6.6.6.6"), ("Proxy", "http://evil.test/"), ("X.Dot", "1"), ("X-Plain", "yes"), ("X_Plain", "evil"),
              ("X!Bang", "1")]
    assert fetch(door.port, host="php.test", headers=fields).status == 200
    request = fcgi.one()
    assert "HTTP_PROXY" not in request
    assert request["HTTP_X_PLAIN"] == "yes" and request["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert not any(b"." in n or b"!" in n or n.startswith(b"HTTP_X_DOT") for n in request.params)


def test_H38_cookies_pass_untouched(door, origin, fcgi):
    cookies = [("Cookie", '$Version=1; a="b,c"; d=e,f=g'), ("Cookie", "h=i")]
    assert fetch(door.port, headers=cookies).status == 200
    assert "; ".join(origin.one().all("cookie")) == '$Version=1; a="b,c"; d=e,f=g; h=i'
    fcgi.script(lambda conn, r: conn.send(page(head=b"Set-Cookie: a=b, c\r\nSet-Cookie: d=e\r\nContent-Type: text/plain\r\n")))
    r = fetch(door.port, host="php.test", headers=cookies)
    assert fcgi.one()["HTTP_COOKIE"] == '$Version=1; a="b,c"; d=e,f=g; h=i'
    assert r.all("set-cookie") == ["a=b, c", "d=e"]


def test_rows_leave_a_working_proxy(door, origin):
    """After all of the above: keep-alive, chunks and a body still work on one connection."""
    origin.script(lambda conn, r: conn.send(chunked(b"hello", b" world")))
    with Client(door.port) as c:
        for _ in range(20):
            c.send(build("POST", "/x", body=b"y" * 1000))
            assert c.response().body == b"hello world"
