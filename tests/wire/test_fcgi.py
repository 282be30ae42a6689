"""FastCGI: rows F1 to F12, a real php-fpm, and a server that lies."""

import hashlib
import json
import os
import struct
import threading
import time

import pytest

from harness import fcgi as f
from harness.door import SANITIZED, Door, cluster, route
from harness.net import Client, build, fetch, free_port, poll
from harness.php import Php, find_fpm

needs_php = pytest.mark.skipif(not find_fpm(), reason="no php-fpm")


@pytest.fixture(scope="module")
def php(tmp_path_factory):
    p = Php(tmp_path_factory.mktemp("fpm"))
    yield p
    p.stop()


@pytest.fixture(scope="module")
def php_unix(tmp_path_factory):
    p = Php(tmp_path_factory.mktemp("fpmu"), unix=True, children=2)
    yield p
    p.stop()


@pytest.fixture(scope="module")
def real(tmp_path_factory, php, php_unix):
    """The door in front of php-fpm, once per way of talking to it."""
    root = php.root

    def fpm(name, address=php.address, extra=None, **options):
        return cluster(name, address, protocol="fastcgi", fastcgi=dict({"document_root": root}, **(extra or {})), **options)

    names = ["tcp", "unix", "info", "script", "keep", "plain", "small", "params"]
    d = Door(
        tmp_path_factory.mktemp("real"), listeners={"web": {"max_body_size": "60m"}},
        clusters=[
            fpm("tcp"), cluster("unix", php_unix.address, protocol="fastcgi", fastcgi={"document_root": php_unix.root}),
            fpm("info", extra={"path_info": True}), fpm("script", extra={"mode": "script"}),
            fpm("keep", extra={"keep_conn": True}, max_idle=2, idle_timeout="1s"),
            fpm("plain", request_buffer=False, response_buffer=False),
            fpm("small", buffer_memory="16k", buffer_file="100k"),
            fpm("params", extra={"params": {"APP_ENV": "test", "PHP_VALUE": "precision=3"}, "server_name": "fixed.example"}),
        ],
        routes=[route(n + ".test", n) for n in names],
    ).start()
    yield d
    d.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, fcgi):
    def lying(name, extra=None, **options):
        return cluster(name, fcgi.address, protocol="fastcgi", fastcgi=dict({"document_root": "/srv/app"}, **(extra or {})), **options)

    d = Door(
        tmp_path_factory.mktemp("lies"), listeners={"web": {"max_header_size": "160k", "max_line_size": "120k", "max_header_count": 300}},
        clusters=[
            lying("front", response_timeout="3s", max_response_header_size="32k"), lying("keep", extra={"keep_conn": True}),
            lying("script", extra={"mode": "script"}), lying("info", extra={"path_info": True}),
            lying("stream", request_buffer=False, response_buffer=False), lying("again", retries=2),
            lying("slow", response_timeout="500ms", retries=0),
        ],
        routes=[route("web.test", "front")] + [route(n + ".test", n) for n in ("keep", "script", "info", "stream", "again", "slow")],
    ).start()
    yield d
    d.stop()


def seen(door, target="/", host="tcp.test", method="GET", **kw):
    """What PHP saw of this request."""
    r = fetch(door.port, method, target, host=host, **kw)
    assert r.status == 200, r
    return json.loads(r.body)


# rows


@pytest.mark.parametrize("host", ["web.test", "script.test", "info.test"])
@pytest.mark.parametrize("path", ["/index.php%0a/x", "/%0d%0aindex.php", "/x.php%00.jpg", "/a%0Ab.php"])
def test_F1_newline_in_the_path(door, fcgi, host, path):
    assert fetch(door.port, target=path, host=host).status == 400
    assert fcgi.bytes == b""


def test_F1_path_info_is_whole_or_absent(door, fcgi):
    for target, info in (("/script.php", None), ("/script.php/", "/"), ("/script.php/a/b", "/a/b")):
        fcgi.clear()
        assert fetch(door.port, target=target, host="script.test").status == 200
        request = fcgi.one()
        assert request["SCRIPT_NAME"] == "/script.php" and request["SCRIPT_FILENAME"] == "/srv/app/script.php"
        assert request.params.get(b"PATH_INFO") == (info.encode() if info else None)


@pytest.mark.parametrize("path", ["/upload.jpg/x.php", "/upload.jpg/.php", "/upload.jpg"])
def test_F2_uploads_are_never_scripts(door, fcgi, path):
    """Front mode: the URL never names the script."""
    assert fetch(door.port, target=path).status == 200
    request = fcgi.one()
    assert request["SCRIPT_FILENAME"] == "/srv/app/index.php" and request["SCRIPT_NAME"] == "/index.php"
    assert request["REQUEST_URI"] == path


@needs_php
@pytest.mark.parametrize("path", ["/upload.jpg/x.php", "/upload.jpg/.php", "/upload.jpg"])
def test_F2_uploads_are_not_executed(real, path):
    for host in ("tcp.test", "script.test", "info.test"):
        assert b"upload-ran-as-code" not in fetch(real.port, target=path, host=host).body


@pytest.mark.parametrize("path", ["/a.PHP", "/a.Php", "/a.php5", "/a.p%C4%B1p", "/a.%EF%BD%90hp", "/a.php%20", "/a.php.", "/a.phtml", "/a"])
def test_F3_only_exactly_php(door, fcgi, path):
    status = fetch(door.port, target=path, host="script.test").status
    if status == 200:  # the index script may answer; the URL's own file may not
        assert fcgi.one()["SCRIPT_FILENAME"] == "/srv/app/index.php"
    else:
        assert status in (400, 403, 404) and fcgi.bytes == b""


def test_F4_encoded_question_mark(door, fcgi):
    assert fetch(door.port, target="/a%3fb.php?c=d").status == 200
    request = fcgi.one()
    assert request["REQUEST_URI"] in ("/a%3fb.php?c=d", "/a%3Fb.php?c=d") and request["QUERY_STRING"] == "c=d"
    fcgi.clear()
    assert fetch(door.port, target="/a%3fb.php", host="script.test").status in (400, 403, 404)
    assert fcgi.bytes == b""


@pytest.mark.parametrize("path", ["/../etc/passwd.php", "/a/../../x.php", "/..%2fx.php", "/%2e%2e/x.php", "/a%5c..%5cx.php"])
def test_F5_no_way_out_of_the_root(door, fcgi, path):
    assert fetch(door.port, target=path, host="script.test").status == 400
    assert fcgi.bytes == b""


@pytest.mark.parametrize("path,script", [("/a/../x.php", "/x.php"), ("//x.php", "/x.php"), ("/a//b.php", "/a/b.php")])
def test_F5_paths_are_normalised(door, fcgi, path, script):
    assert fetch(door.port, target=path, host="script.test").status == 200
    assert fcgi.one()["SCRIPT_FILENAME"] == "/srv/app" + script


@pytest.mark.parametrize("size", [65527, 65528, 65529, 65535, 65536, 99000, 131072])
def test_F6_bodies_around_the_record_limit(door, fcgi, size):
    body = os.urandom(size)
    fcgi.script(lambda conn, r: conn.send(f.page(r.body)))
    for host in ("web.test", "stream.test"):
        fcgi.requests.clear()
        r = fetch(door.port, "POST", host=host, body=body)
        assert r.status == 200 and r.body == body
        assert fcgi.one().body == body and fcgi.one()["CONTENT_LENGTH"] == str(size)


@pytest.mark.parametrize("size", [65400, 65535, 65536, 99000])
def test_F6_params_around_the_record_limit(door, fcgi, size):
    value = "v" * size
    assert fetch(door.port, headers={"X-Large": value}).status == 200
    request = fcgi.one()
    assert request["HTTP_X_LARGE"] == value and request["SCRIPT_FILENAME"] == "/srv/app/index.php"


LIES = {
    "record of id 0": f.record(f.STDOUT, b"Content-Type: a/b\r\n\r\nx", request_id=0) + f.end(),
    "another id": f.record(f.STDOUT, b"Content-Type: a/b\r\n\r\nx", request_id=2) + f.end(),
    "unknown type": f.record(99, b"x") + f.end(),
    "type of the other side": f.record(f.STDIN, b"x") + f.end(),
    "version 2": f.record(f.STDOUT, b"Content-Type: a/b\r\n\r\n", version=2) + f.end(),
    "end without stdout": f.end(),
    "stdout without a head": f.record(f.STDOUT) + f.end(),
    "body without a head": f.record(f.STDOUT, b"hello world") + f.record(f.STDOUT) + f.end(),
    "head that never ends": f.record(f.STDOUT, b"Content-Type: a/b\r\n") + f.record(f.STDOUT) + f.end(),
    "huge head": b"".join(f.record(f.STDOUT, b"X-A: " + b"a" * 1000 + b"\r\n") for _ in range(100)) + f.end(),
    "long end record": f.record(f.END, b"\0" * 20),
    "short end record": f.record(f.END, b"\0" * 4),
    "head with NUL": f.record(f.STDOUT, b"X: a\0b\r\n\r\nx") + f.end(),
    "status of words": f.record(f.STDOUT, b"Status: fine\r\n\r\nx") + f.end(),
    "status too large": f.record(f.STDOUT, b"Status: 2000 OK\r\n\r\nx") + f.end(),
    "status 101": f.record(f.STDOUT, b"Status: 101 Switching\r\nUpgrade: x\r\n\r\nx") + f.end(),
    "management record": f.record(10, b"", request_id=0) + f.end(),
    "http instead": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "nothing": b"",
    "half a record": f.record(f.STDOUT, b"Content-Type: a/b\r\n\r\nx")[:6],
    "unknown role": f.end(0, 3),
}


@pytest.mark.parametrize("lie", list(LIES))
def test_F7_lies(door, fcgi, lie):
    fcgi.script(lambda conn, r: conn.send(LIES[lie]) and False or False)
    for host in ("web.test", "stream.test"):
        assert fetch(door.port, "POST", host=host, body=b"x").status == 502
    fcgi.script(None)
    assert fetch(door.port).body == b"ok"


def test_F7_padding_and_tiny_records(door, fcgi):
    def padded(conn, request):
        data = b"Content-Type: text/plain\r\n\r\nhello"
        for i, byte in enumerate(data):
            conn.send(f.record(f.STDOUT, bytes([byte]), padding=i * 7 % 256))
        conn.send(f.record(f.STDOUT, b"x" * 65535, padding=255) + f.record(f.STDOUT, padding=8) + f.end())

    fcgi.script(padded)
    for host in ("web.test", "keep.test", "stream.test"):
        r = fetch(door.port, host=host)
        assert r.status == 200 and r.body == b"hello" + b"x" * 65535


def test_F7_body_cut_short(door, fcgi):
    """The connection ends without END_REQUEST: the client must be able to see it."""
    fcgi.script(lambda conn, r: conn.send(f.record(f.STDOUT, b"Content-Type: a/b\r\n\r\nhello")) and False or False)
    with Client(door.port) as c:
        c.send(build(host="stream.test"))
        r = c.head()
        if r.status == 200:
            assert b"0\r\n\r\n" not in c.rest()
        else:
            assert r.status == 502


def test_F7_cannot_multiplex(door, fcgi):
    """The server refused the request unseen: as good as overloaded."""
    fcgi.script(lambda conn, r: conn.send(f.end(0, 1)))
    assert fetch(door.port, "POST", body=b"x").status in (502, 503)


def test_F7_bytes_behind_the_end(door, fcgi):
    for host in ("keep.test", "web.test"):
        fcgi.script(lambda conn, r: conn.send(f.page(b"right") + f.page(b"wrong")))
        assert fetch(door.port, host=host).body == b"right"
        fcgi.script(lambda conn, r: conn.send(f.page(b"second")))
        assert fetch(door.port, host=host).body == b"second"


def test_F7_content_length_that_lies(door, fcgi):
    for n in (3, 50):
        fcgi.script(lambda conn, r: conn.send(f.page(b"hello", b"Content-Length: %d\r\nContent-Type: a/b\r\n" % n)))
        with Client(door.port) as c:
            c.send(build())
            r = c.head()
            rest = c.rest() if r.status == 200 and n == 50 else b""
            assert r.status in (200, 502) and len(rest) <= 50
            if n == 3 and r.status == 200:
                assert c.exactly(3) == b"hel" and not c.buf


def test_F8_fields_become_params_once(door, fcgi):
    fields = [("X-A", "1"), ("x-a", "2"), ("Cookie", "a=b"), ("Cookie", "c=d"), ("Proxy", "evil"), ("X_A", "evil"), ("Content-Type", "text/x"),
              ("Content_Length", "99"), ("Authorization", "Basic eA=="), ("Accept", "a/b")]
    assert fetch(door.port, "POST", headers=fields, body=b"hello").status == 200
    request = fcgi.one()
    assert request["HTTP_X_A"] == "1, 2" and request["HTTP_COOKIE"] == "a=b; c=d"
    assert request["CONTENT_LENGTH"] == "5" and request["CONTENT_TYPE"] == "text/x"
    for name in ("HTTP_PROXY", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_CONNECTION", "HTTP_TRANSFER_ENCODING", "HTTP_KEEP_ALIVE"):
        assert name not in request
    assert request["HTTP_AUTHORIZATION"] == "Basic eA=="
    assert request["HTTP_HOST"] == "web.test" and request["HTTP_ACCEPT"] == "a/b"


@pytest.mark.parametrize("name", ["PHP_VALUE", "PHP-VALUE", "PHP_ADMIN_VALUE", "SCRIPT_FILENAME", "SCRIPT-FILENAME", "DOCUMENT-ROOT"])
def test_F9_clients_name_no_params(door, fcgi, name):
    assert fetch(door.port, headers={name: "auto_prepend_file=/tmp/evil"}).status == 200
    request = fcgi.one()
    assert request["SCRIPT_FILENAME"] == "/srv/app/index.php" and request["DOCUMENT_ROOT"] == "/srv/app"
    assert b"PHP_VALUE" not in request.params and b"PHP_ADMIN_VALUE" not in request.params


@needs_php
def test_F9_the_config_names_them(real):
    server = seen(real, host="params.test")["server"]
    assert server["APP_ENV"] == "test" and server["SERVER_NAME"] == "fixed.example"


@needs_php
def test_F10_unix_socket(real, php_unix):
    """The way that opens no port: the manual recommends it."""
    assert seen(real, host="unix.test")["server"]["DOCUMENT_ROOT"] == php_unix.root


@pytest.mark.parametrize("head,status,location", [
    (b"Location: /x\r\n", 302, "/x"), (b"Status: 301 Moved\r\nLocation: /x\r\n", 301, "/x"), (b"Status: 404\r\n", 404, None),
    (b"Status: 201 Created\r\nLocation: /new\r\n", 201, "/new"), (b"Content-Type: a/b\r\n", 200, None), (b"status: 418 teapot\r\n", 418, None),
])
def test_F11_status_and_location(door, fcgi, head, status, location):
    fcgi.script(lambda conn, r: conn.send(f.page(b"x", head)))
    r = fetch(door.port)
    assert r.status == status and r.get("location") == location and r.get("status") is None


@pytest.mark.parametrize("head", [b"Status: 200\rX: y\r\n", b"Status: 200 OK\r\nStatus: 404 No\r\n", b"Status: \r\n", b"Status: 20\r\n",
                                  b"X : y\r\n", b"X\r\n"])
def test_F11_strict_heads(door, fcgi, head):
    fcgi.script(lambda conn, r: conn.send(f.page(b"x", head)))
    r = fetch(door.port)
    assert r.status == 502 and r.get("x") is None


def test_F11_bare_line_feeds_from_scripts(door, fcgi):
    """CGI programs may end their head lines with LF alone; what goes out is CRLF."""
    fcgi.script(lambda conn, r: conn.send(f.record(f.STDOUT, b"Content-Type: a/b\nX-Y: z\n\nhello") + f.record(f.STDOUT) + f.end()))
    r = fetch(door.port)
    assert r.status == 502 or r.get("x-y") == "z" and r.body == b"hello"


def test_F12_body_of_unknown_length(door, fcgi):
    """Buffered, so that the server is told its length and never waits for an end that does not come."""
    for host in ("web.test", "stream.test"):
        fcgi.requests.clear()
        with Client(door.port) as c:
            c.send(build("POST", host=host, headers={"Transfer-Encoding": "chunked"}))
            c.send(b"5\r\nhello\r\n", b"6\r\n world\r\n0\r\n\r\n", delay=0.1)
            assert c.response().status == 200
        request = fcgi.one()
        assert request.body == b"hello world" and request["CONTENT_LENGTH"] == "11"


# the lying server: other behaviour


def test_connections_are_not_kept_by_default(door, fcgi):
    for _ in range(3):
        assert fetch(door.port).status == 200
    assert [r.flags for r in fcgi.requests] == [0, 0, 0] and len({r.conn for r in fcgi.requests}) == 3


def test_connections_are_kept_when_asked(door, fcgi):
    for _ in range(5):
        assert fetch(door.port, host="keep.test").status == 200
    assert {r.flags for r in fcgi.requests} == {1}
    assert len({r.conn for r in fcgi.requests}) <= 2  # one a worker


def test_kept_connection_closed_by_the_server(door, fcgi):
    for i in range(5):
        assert fetch(door.port, host="keep.test").status == 200
        fcgi.drop()
        assert fetch(door.port, "POST" if i % 2 else "GET", host="keep.test", body=b"x").status in (200, 502 if i % 2 else 200)


def test_overloaded_goes_elsewhere_or_503(door, fcgi):
    calls = []
    fcgi.script(lambda conn, r: conn.send(f.end(0, 2) if len(calls) == 0 else f.page(b"second")) or calls.append(1))
    r = fetch(door.port, "POST", host="again.test", body=b"x")
    assert r.status in (200, 503)
    assert r.body == b"second" if r.status == 200 else True


def test_stderr_is_logged(door, fcgi):
    mark = "warning-%d" % time.monotonic_ns()
    lines = b"PHP message: " + mark.encode() + b"\x1b[31m\nsecond " + mark.encode()
    fcgi.script(lambda conn, r: conn.send(f.record(f.STDERR, lines) + f.record(f.STDERR) + f.page()))
    assert fetch(door.port).body == b"ok"
    poll(lambda: mark in door.log(), 3, "stderr in the log")
    assert "\x1b" not in door.log()


def test_stderr_flood_is_bounded(door, fcgi):
    before = len(door.log())
    fcgi.script(lambda conn, r: conn.send(f.record(f.STDERR, b"e" * 60000) * 50 + f.page()))
    assert fetch(door.port).status == 200
    time.sleep(0.1)
    assert len(door.log()) - before < 300000


def test_slow_server_times_out(door, fcgi):
    fcgi.script(lambda conn, r: conn.drain() or False)
    assert fetch(door.port, "POST", host="slow.test", body=b"x").status == 504


def test_head_has_no_body(door, fcgi):
    fcgi.script(lambda conn, r: conn.send(f.page(b"body", b"Content-Type: a/b\r\nContent-Length: 4\r\n")))
    with Client(door.port) as c:
        for _ in range(2):
            c.send(build("HEAD"))
            assert c.response("HEAD").status == 200
        c.send(build())
        assert c.response().body == b"body"


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_body(door, fcgi, status):
    fcgi.script(lambda conn, r: conn.send(f.page(b"" if r["REQUEST_URI"] == "/a" else b"illegal", b"Status: %d\r\n" % status)))
    with Client(door.port) as c:
        for target in ("/a", "/b", "/a"):
            c.send(build(target=target))
            assert c.response().status in (status, 502)


def test_client_that_leaves_frees_the_server(door, fcgi):
    """A reset client: the server's connection is closed or it is sent ABORT_REQUEST."""
    done = threading.Event()

    def work(conn, request):
        conn.drain()
        done.set()
        return False

    fcgi.script(work)
    c = Client(door.port)
    c.send(build())
    fcgi.wait(1)
    c.reset()
    assert done.wait(5)


def test_slow_upload_pins_no_server(door, fcgi):
    with Client(door.port) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 100\r\n\r\n")
        for _ in range(9):
            c.send(b"x" * 10)
            time.sleep(0.02)
        assert fcgi.accepted == 0 and fcgi.bytes == b""
        c.send(b"x" * 10)
        assert c.response().status == 200
    assert len(fcgi.one().body) == 100


def test_slow_download_pins_no_server(door, fcgi):
    total = 20 << 20
    finished = threading.Event()

    def big(conn, request):
        conn.send(f.record(f.STDOUT, b"Content-Type: a/b\r\n\r\n"))
        for _ in range(total // 32768):
            conn.send(f.record(f.STDOUT, b"x" * 32768))
        conn.send(f.record(f.STDOUT) + f.end())
        finished.set()

    fcgi.script(big)
    before = door.rss()
    with Client(door.port, rcvbuf=4096) as c:
        c.send(build())
        r = c.head()
        assert finished.wait(10), "the server waits for a slow client"
        assert SANITIZED or door.rss() - before < 8 << 20
        c.body(r)
        assert len(r.body) == total


def test_chunked_answer_streams_unbuffered(door, fcgi):
    go = threading.Event()

    def stream(conn, request):
        conn.send(f.record(f.STDOUT, b"Content-Type: text/event-stream\r\n\r\ndata: 1\n\n"))
        assert go.wait(10)
        conn.send(f.record(f.STDOUT, b"data: 2\n\n") + f.record(f.STDOUT) + f.end())

    fcgi.script(stream)
    for host in ("stream.test", "web.test"):  # an event stream is never held back
        go.clear()
        with Client(door.port) as c:
            c.send(build(host=host))
            r = c.head()
            assert c.until(b"data: 1\n\n").endswith(b"\r\n")
            go.set()
            c.body(r) if False else c.until(b"0\r\n\r\n")


def test_params_of_a_request(door, fcgi):
    assert fetch(door.port, "POST", "/a/b?c=d%20e", host="Web.Test:8080", body=b"x").status == 200
    request = fcgi.one()
    want = {"REQUEST_METHOD": "POST", "REQUEST_URI": "/a/b?c=d%20e", "QUERY_STRING": "c=d%20e", "SCRIPT_NAME": "/index.php",
            "SCRIPT_FILENAME": "/srv/app/index.php", "DOCUMENT_ROOT": "/srv/app", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
            "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_SCHEME": "http", "REDIRECT_STATUS": "200", "SERVER_PORT": None}
    for name, value in want.items():
        assert name in request, name
        assert value is None or request[name] == value, name
    assert request["SERVER_NAME"].lower() == "web.test" and "HTTPS" not in request
    assert request["SERVER_SOFTWARE"].startswith("coxswain")


def test_local_address_of_a_connection(tmp_path, fcgi):
    """A listener at one address knows it; behind one at all addresses each connection has its own."""
    one, every = free_port(), free_port()
    d = Door(tmp_path, listeners={"one": {"address": "127.0.0.3:%d" % one}, "every": {"address": "0.0.0.0:%d" % every}},
             clusters=[cluster("app", fcgi.address, protocol="fastcgi", fastcgi={"document_root": "/srv/app"})],
             routes=[route("*", "app")]).start()
    try:
        for address, port in (("127.0.0.3", one), ("127.0.0.4", every), ("127.0.0.5", every)):
            fcgi.clear()
            with Client(port, address=address) as c:
                c.send(build("GET", "/"))
                assert c.response("GET").status == 200
            request = fcgi.one()
            assert (request["SERVER_ADDR"], request["SERVER_PORT"]) == (address, str(port))
    finally:
        d.stop()


# php-fpm


def multipart(files, fields=()):
    mark = b"----coxswain-boundary"
    out = b""
    for name, value in fields:
        out += b"--" + mark + b'\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name, value)
    for name, filename, data in files:
        out += b"--" + mark + (b'\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: application/octet-stream\r\n\r\n'
                              % (name, filename)) + data + b"\r\n"
    return out + b"--" + mark + b"--\r\n", {"Content-Type": "multipart/form-data; boundary=" + mark.decode()}


@needs_php
@pytest.mark.parametrize("host", ["tcp.test", "unix.test", "keep.test", "plain.test"])
@pytest.mark.parametrize("size", [0, 100, 70000, 20 << 20])
def test_php_upload(real, host, size):
    data = os.urandom(size)
    body, headers = multipart([(b"file", b"a.bin", data)], [(b"note", b"hello & co")])
    r = fetch(real.port, "POST", "/upload", host=host, headers=headers, body=body, timeout=20)
    assert r.status == 200
    got = json.loads(r.body)
    assert got["files"]["file"] == {"name": "a.bin", "size": size, "error": 0, "sha1": hashlib.sha1(data).hexdigest()}
    assert got["post"] == {"note": "hello & co"}


@needs_php
@pytest.mark.parametrize("host", ["tcp.test", "keep.test", "plain.test"])
def test_php_chunked_request(real, host):
    data = os.urandom(300000)
    with Client(real.port) as c:
        c.send(build("POST", "/sha1", host=host, headers={"Transfer-Encoding": "chunked"}))
        for i in range(0, len(data), 10000):
            c.send(b"%x\r\n%s\r\n" % (len(data[i : i + 10000]), data[i : i + 10000]))
        c.send(b"0\r\n\r\n")
        assert c.response().body == hashlib.sha1(data).hexdigest().encode()


@needs_php
@pytest.mark.parametrize("kib", [0, 1, 64, 1024, 30000])
@pytest.mark.parametrize("host", ["tcp.test", "plain.test"])
def test_php_big_answer(real, kib, host):
    r = fetch(real.port, target="/big?kib=%d" % kib, host=host, timeout=20)
    assert r.status == 200 and len(r.body) == kib * 1024


@needs_php
def test_php_spill_limit(real):
    """buffer_file is a limit of the spill, with back-pressure behind it: nothing is lost."""
    with Client(real.port, rcvbuf=4096, timeout=20) as c:
        c.send(build(target="/big?kib=3000", host="small.test"))
        r = c.head()
        time.sleep(0.2)
        c.body(r)
        assert len(r.body) == 3000 * 1024


@needs_php
def test_php_spill_limit_for_requests(real):
    r = fetch(real.port, "POST", "/sha1", host="small.test", body=b"x" * 50000)
    assert r.body == hashlib.sha1(b"x" * 50000).hexdigest().encode()
    body = b"x" * 2000000
    with Client(real.port) as c:  # what does not fit is refused, or waits at the client
        c.send_quietly(build("POST", "/sha1", host="small.test", body=body))
        r = c.response()
        assert r.status == 413 or r.body == hashlib.sha1(body).hexdigest().encode()
    with Client(real.port) as c:  # of unknown length: it would have to fit
        c.send(build("POST", "/sha1", host="small.test", headers={"Transfer-Encoding": "chunked"}))
        for _ in range(20):
            c.send_quietly(b"2710\r\n" + b"x" * 10000 + b"\r\n")
        c.send_quietly(b"0\r\n\r\n")
        assert c.response().status in (413, 503)


@needs_php
def test_php_redirects(real):
    r = fetch(real.port, target="/redirect", host="tcp.test")
    assert r.status == 302 and r.get("location") == "/elsewhere?a=b"
    assert fetch(real.port, target="/moved", host="tcp.test").status == 301


@needs_php
@pytest.mark.parametrize("code", [201, 400, 404, 418, 500, 503])
def test_php_status(real, code):
    r = fetch(real.port, target="/status-code?code=%d" % code, host="tcp.test")
    assert r.status == code and r.body == b"body"


@needs_php
def test_php_cookies(real):
    r = fetch(real.port, target="/cookies", host="tcp.test", headers={"Cookie": "x=1; y=two"})
    assert json.loads(r.body) == {"x": "1", "y": "two"} and len(r.all("set-cookie")) == 2


@needs_php
def test_php_large_headers(real):
    r = fetch(real.port, target="/large-headers", host="tcp.test")
    assert r.status == 200 and len(r.get("x-large-39")) == 1000


@needs_php
def test_php_keep_alive_and_head(real):
    with Client(real.port) as c:
        for i in range(20):
            c.send(build("HEAD", "/length", host="keep.test") + build(target="/length", host="keep.test") + build(target="/nothing", host="keep.test"))
            assert c.response("HEAD").status == 200
            assert c.response().body == b"hello"
            assert c.response().status == 204


@needs_php
def test_php_path_info(real):
    server = seen(real, "/a/b?c=d", host="info.test")["server"]
    assert server["PATH_INFO"] == "/a/b" and server["SCRIPT_NAME"] == "/index.php" and server["REQUEST_URI"] == "/a/b?c=d"
    assert seen(real, "/a/b", host="tcp.test")["server"].get("PATH_INFO", "") == ""


@needs_php
def test_php_script_mode(real):
    got = seen(real, "/sub/script.php/extra?x=y", host="script.test")
    assert got["script"] == "sub" and got["server"]["PATH_INFO"] == "/extra" and got["server"]["QUERY_STRING"] == "x=y"
    assert fetch(real.port, target="/sub/missing.php", host="script.test").status == 404


@needs_php
def test_php_sees_the_client(real):
    server = seen(real, headers={"X-Forwarded-For": "6.6.6.6"})["server"]
    assert server["REMOTE_ADDR"] == "127.0.0.1" and server["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert int(server["REMOTE_PORT"]) > 0 and server["SERVER_PORT"] == str(real.port)


@needs_php
def test_php_stderr(real, php):
    mark = "mark%d" % time.monotonic_ns()
    assert fetch(real.port, target="/stderr?mark=" + mark, host="tcp.test").body == b"ok"
    poll(lambda: mark in real.log() or mark in php.log(), 3, "stderr logged")


@needs_php
def test_php_child_that_dies(real):
    assert fetch(real.port, "POST", "/exit", host="tcp.test", body=b"x").status == 502
    assert fetch(real.port, target="/length", host="tcp.test").status == 200


@needs_php
def test_php_event_stream(real):
    with Client(real.port) as c:
        begin = time.monotonic()
        c.send(build(target="/flush?ms=1000", host="tcp.test"))
        c.head()
        c.until(b"first")
        assert time.monotonic() - begin < 0.9
        c.until(b"0\r\n\r\n")


@needs_php
def test_php_kept_connections_are_bounded(real, php):
    """More clients at once than children: all are served, and idle connections do not pin the pool."""
    clients = [Client(real.port) for _ in range(12)]
    for c in clients:
        c.send(build(target="/slow?ms=50", host="keep.test"))
    for c in clients:
        assert c.response().status == 200
        c.close()
    begin = time.monotonic()
    assert fetch(real.port, target="/length", host="tcp.test").status == 200
    assert time.monotonic() - begin < 4


@needs_php
def test_php_probes(make_door, tmp_path):
    """ping.path as health check: kill php-fpm and the endpoint is seen to be down, and up again."""
    own = Php(tmp_path / "fpm")
    try:
        d = make_door(clusters=[dict(cluster("php", own.address, protocol="fastcgi", fastcgi={"document_root": own.root}),
                                     probe={"kind": "fastcgi", "path": "/ping", "interval": "200ms", "timeout": "500ms", "fall": 2})],
                      routes=[route("*", "php")])
        assert fetch(d.port, target="/length").status == 200
        health = lambda: json.dumps(d.status()["clusters"]).lower()
        poll(lambda: "up" in health() or "healthy" in health(), 5, "endpoint up")
        own.stop()
        poll(lambda: "unhealthy" in health() or "down" in health(), 5, "endpoint down: " + health())
        own.start()
        poll(lambda: "unhealthy" not in health() and "down" not in health(), 5, "endpoint up again")
        assert fetch(d.port, target="/length").status == 200
    finally:
        own.stop()
