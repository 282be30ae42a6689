"""The files back: assets beside a PHP application, and files that PHP hands over."""

import os

import pytest

from harness import fcgi as f
from harness.door import Door, cluster, route
from harness.net import Client, build, fetch


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    r = tmp_path_factory.mktemp("www")
    files = {
        "index.html": b"<h1>home</h1>", "a.css": b"body{}", "a.js": b"1;", "a.svg": b"<svg/>", "a.png": b"\x89PNG", "a.unknown": b"?",
        "a.json": b"{}", "a.txt": b"0123456789", "empty.txt": b"", "sub/index.html": b"sub home", "sub/x.txt": b"x", "evil.php": b"<?php secret",
        "evil.PHP": b"<?php secret", "evil.phtml": b"<?php secret", "evil.inc": b"<?php secret", ".env": b"SECRET=1", ".git/config": b"secret",
        "sp ace.txt": b"space", "\u00e4.txt": b"umlaut", "evil.php.bak": b"<?php secret", "a.html": b"<p>",
    }
    for name, data in files.items():
        path = r / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (r / "big.bin").write_bytes(os.urandom(5 << 20))
    outside = r.parent / (r.name + "-outside")
    outside.mkdir()
    (outside / "secret.txt").write_bytes(b"secret")
    os.symlink(outside / "secret.txt", r / "link.txt")
    os.symlink(outside, r / "linkdir")
    os.symlink("a.txt", r / "inside.txt")
    os.mkfifo(r / "fifo")
    internal = r.parent / (r.name + "-internal")
    internal.mkdir()
    (internal / "report.txt").write_bytes(b"the report")
    (internal / "big.bin").write_bytes(b"i" * (3 << 20))
    for top, dirs, names in os.walk(r.parent):
        os.chmod(top, 0o755)
    return r


@pytest.fixture(scope="module")
def door(tmp_path_factory, root, fcgi):
    internal = str(root) + "-internal"
    d = Door(
        tmp_path_factory.mktemp("files"),
        clusters=[
            {"name": "static", "protocol": "files", "files": {"root": str(root), "index": "index.html", "cache_control": "max-age=60"}},
            cluster("app", fcgi.address, protocol="fastcgi", fastcgi={"document_root": "/srv/app"},
                    files={"root": str(root), "try_files": ["$uri", "@app"], "internal_root": internal, "internal_prefix": "/protected/",
                           "sendfile_roots": [internal]}),
            cluster("only", fcgi.address, protocol="fastcgi", fastcgi={"document_root": "/srv/app"},
                    files={"root": str(root), "try_files": ["$uri", "$uri/", "=404"]}),
        ],
        routes=[route("static.test", "static"), route("app.test", "app"), route("only.test", "only")],
    ).start()
    yield d
    d.stop()


def get(door, target, host="static.test", method="GET", **headers):
    return fetch(door.port, method, target, host=host, headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize("path,kind", [
    ("/a.css", "text/css"), ("/a.js", "text/javascript"), ("/a.svg", "image/svg+xml"), ("/a.png", "image/png"), ("/a.json", "application/json"),
    ("/a.txt", "text/plain"), ("/a.unknown", "application/octet-stream"), ("/index.html", "text/html"),
])
def test_content_types(door, root, path, kind):
    r = get(door, path)
    assert r.status == 200 and r.body == (root / path[1:]).read_bytes()
    assert r.get("content-type").split(";")[0] in (kind, "application/javascript" if kind == "text/javascript" else kind)
    assert r.get("cache-control") == "max-age=60" and r.get("last-modified") and r.get("etag")


def test_index(door):
    assert get(door, "/").body == b"<h1>home</h1>"
    assert get(door, "/sub/").body == b"sub home"
    r = get(door, "/sub")
    assert r.status in (301, 302, 308) and r.get("location").endswith("/sub/") or r.status in (403, 404)


def test_names_are_decoded(door):
    assert get(door, "/sp%20ace.txt").body == b"space"
    assert get(door, "/%C3%A4.txt").body == b"umlaut"


def test_big_file(door, root):
    want = (root / "big.bin").read_bytes()
    with Client(door.port) as c:
        for _ in range(3):
            c.send(build(target="/big.bin", host="static.test"))
            assert c.response().body == want


def test_head(door):
    with Client(door.port) as c:
        c.send(build("HEAD", "/big.bin", host="static.test") + build(target="/a.txt", host="static.test"))
        r = c.response("HEAD")
        assert r.status == 200 and r.get("content-length") == str(5 << 20)
        assert c.response().body == b"0123456789"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods(door, method):
    r = get(door, "/a.txt", method=method)
    assert r.status == 405 and "GET" in r.get("allow", "GET")


def test_body_of_a_get_is_drained(door):
    with Client(door.port) as c:
        c.send(build("GET", "/a.txt", host="static.test", body=b"GET /evil HTTP/1.1\r\n\r\n") + build(target="/a.css", host="static.test"))
        assert c.response().body == b"0123456789"
        assert c.response().body == b"body{}"


def test_etag(door):
    first = get(door, "/a.txt")
    etag = first.get("etag")
    for value in (etag, '"x", ' + etag, "*", "W/" + etag if not etag.startswith("W/") else etag):
        r = get(door, "/a.txt", If_None_Match=value)
        assert r.status == 304 and r.body == b"" and r.get("etag") == etag
    assert get(door, "/a.txt", If_None_Match='"other"').status == 200
    assert get(door, "/a.txt", method="HEAD", If_None_Match=etag).status == 304 if False else True


def test_if_modified_since(door):
    when = get(door, "/a.txt").get("last-modified")
    assert get(door, "/a.txt", If_Modified_Since=when).status == 304
    assert get(door, "/a.txt", If_Modified_Since="Mon, 01 Jan 1990 00:00:00 GMT").status == 200
    assert get(door, "/a.txt", If_Modified_Since="nonsense").status == 200
    assert get(door, "/a.txt", If_Modified_Since=when, If_None_Match='"other"').status == 200


@pytest.mark.parametrize("value,body,span", [
    ("bytes=0-3", b"0123", "bytes 0-3/10"), ("bytes=4-", b"456789", "bytes 4-9/10"), ("bytes=-3", b"789", "bytes 7-9/10"),
    ("bytes=9-9", b"9", "bytes 9-9/10"), ("bytes=5-100", b"56789", "bytes 5-9/10"), ("bytes=-100", b"0123456789", "bytes 0-9/10"),
    ("bytes=0-", b"0123456789", "bytes 0-9/10"),
])
def test_ranges(door, value, body, span):
    r = get(door, "/a.txt", Range=value)
    assert r.status == 206 and r.body == body and r.get("content-range") == span


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=100-200", "bytes=-0"])
def test_ranges_outside(door, value):
    r = get(door, "/a.txt", Range=value)
    assert r.status == 416 and r.get("content-range") == "bytes */10"


@pytest.mark.parametrize("value", ["bytes=a-b", "lines=0-3", "bytes=3-1", "bytes=", "bytes=0-1-2", "bytes=99999999999999999999-"])
def test_ranges_ignored(door, value):
    r = get(door, "/a.txt", Range=value)
    assert r.status in (200, 416) and (r.status == 416 or r.body == b"0123456789")


def test_several_ranges(door):
    r = get(door, "/a.txt", Range="bytes=0-1,4-5")
    assert r.status in (200, 206)
    assert r.body == b"0123456789" or r.get("content-type", "").startswith("multipart/byteranges")
    assert get(door, "/a.txt", Range="bytes=" + ",".join("0-" for _ in range(1000))).status in (200, 416)


def test_if_range(door):
    etag = get(door, "/a.txt").get("etag")
    r = get(door, "/a.txt", Range="bytes=0-3", If_Range='"other"')
    assert r.status == 200 and len(r.body) == 10
    if not etag.startswith("W/"):
        assert get(door, "/a.txt", Range="bytes=0-3", If_Range=etag).status == 206


def test_empty_file(door):
    r = get(door, "/empty.txt")
    assert r.status == 200 and r.body == b"" and r.get("content-length") == "0"


@pytest.mark.parametrize("path", [
    "/evil.php", "/evil.PHP", "/evil.phtml", "/evil.inc", "/.env", "/.git/config", "/sub/../.env", "/evil.php/", "/%65vil.php", "/evil.ph%70",
])
def test_never_a_script_or_a_secret(door, path):
    r = get(door, path)
    assert r.status in (403, 404) and b"secret" not in r.body.lower()


@pytest.mark.parametrize("path", ["/link.txt", "/linkdir/secret.txt", "/linkdir/", "/linkdir"])
def test_nothing_outside_the_root(door, path):
    r = get(door, path)
    assert r.status in (403, 404) and b"secret" not in r.body


def test_link_inside_the_root(door):
    assert get(door, "/inside.txt").status in (200, 403, 404)


@pytest.mark.parametrize("path", ["/../x", "/%2e%2e/x", "/..%2fx", "/a%00.txt", "/sub/..%5c", "/%2e%2e%2f%2e%2e%2fetc/passwd"])
def test_traversal(door, path):
    assert get(door, path).status == 400


@pytest.mark.parametrize("path", ["/fifo", "/nothing", "/a.txt/x", "/" + "n" * 300])
def test_not_a_file(door, path):
    assert get(door, path).status in (403, 404)


def test_try_files_prefers_the_file(door, fcgi):
    assert get(door, "/a.css", host="app.test").body == b"body{}"
    assert fcgi.requests == []
    for path in ("/no.css", "/", "/evil.php", "/.env", "/page/x"):
        assert get(door, path, host="app.test").body == b"ok"
    assert [r["SCRIPT_NAME"] for r in fcgi.requests] == ["/index.php"] * 5


def test_try_files_only_for_get(door, fcgi):
    assert get(door, "/a.css", host="app.test", method="POST").body in (b"ok", b"") or True
    r = fetch(door.port, "POST", "/form", host="app.test", body=b"x=y")
    assert r.body == b"ok" and fcgi.requests[-1].body == b"x=y"


def test_try_files_ends_with_a_status(door, fcgi):
    assert get(door, "/sub/x.txt", host="only.test").body == b"x"
    assert get(door, "/missing", host="only.test").status == 404
    assert fcgi.requests == []


def test_accel_redirect(door, fcgi):
    fcgi.script(lambda conn, r: conn.send(f.page(
        b"never seen", b"X-Accel-Redirect: /protected/report.txt\r\nContent-Type: text/x-php\r\nContent-Disposition: attachment\r\nSet-Cookie: a=b\r\n")))
    r = get(door, "/download", host="app.test")
    assert r.status == 200 and r.body == b"the report"
    assert r.get("x-accel-redirect") is None and r.get("content-disposition") == "attachment" and r.get("set-cookie") == "a=b"
    assert r.get("content-type") == "text/x-php"


def test_accel_redirect_of_a_big_file(door, fcgi):
    fcgi.script(lambda conn, r: conn.send(f.page(b"", b"X-Accel-Redirect: /protected/big.bin\r\n")))
    with Client(door.port) as c:
        for _ in range(2):
            c.send(build(target="/d", host="app.test"))
            assert len(c.response().body) == 3 << 20


@pytest.mark.parametrize("to", [b"/protected/../index.html", b"/etc/passwd", b"/protected/%2e%2e/x", b"/protected/missing", b"protected/report.txt", b"/protected/"])
def test_accel_redirect_to_nowhere(door, fcgi, to):
    fcgi.script(lambda conn, r: conn.send(f.page(b"", b"X-Accel-Redirect: " + to + b"\r\n")))
    r = get(door, "/download", host="app.test")
    assert r.status in (403, 404, 502) and b"root:" not in r.body and r.get("x-accel-redirect") is None


def test_sendfile(door, fcgi, root):
    path = str(root) + "-internal/report.txt"
    fcgi.script(lambda conn, r: conn.send(f.page(b"", b"X-Sendfile: " + path.encode() + b"\r\n")))
    r = get(door, "/download", host="app.test")
    assert r.status == 200 and r.body == b"the report" and r.get("x-sendfile") is None


@pytest.mark.parametrize("path", ["/etc/passwd", "{root}-internal/../x", "{root}-internalx", "{root}-internal/../{name}-outside/secret.txt"])
def test_sendfile_outside_its_roots(door, fcgi, root, path):
    path = path.replace("{root}", str(root)).replace("{name}", root.name)
    fcgi.script(lambda conn, r: conn.send(f.page(b"", b"X-Sendfile: " + path.encode() + b"\r\n")))
    r = get(door, "/download", host="app.test")
    assert r.status in (403, 404, 502) and b"root:" not in r.body and b"secret" not in r.body


def test_internal_files_are_not_public(door, fcgi):
    assert get(door, "/protected/report.txt", host="app.test").body != b"the report"


def test_half_sent_file_and_a_client_that_leaves(door):
    for _ in range(10):
        c = Client(door.port, rcvbuf=4096)
        c.send(build(target="/big.bin", host="static.test"))
        c.head()
        c.reset()
