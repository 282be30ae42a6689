"""gzip on the way to the client: what arrives is what was sent, whichever back it came from and however slowly it was
read; and everything that must be left alone is."""

import gzip
import os
import subprocess
import threading
import zlib

import pytest

from harness import fcgi as f
from harness.door import COXSWAIN, Door, cluster, route
from harness.fcgi import FcgiServer
from harness.net import Client, build, fetch, poll
from harness.origin import chunked, reply

HTML = ("Content-Type", "text/html; charset=utf-8")
TEXT = b"".join(b"line %d of a text that can be made shorter\n" % i for i in range(2000))
BIG = b"".join(b"%d\n" % (i * 7919 % 100003) for i in range(400000))
GZIP = {"Accept-Encoding": "gzip"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    r = tmp_path_factory.mktemp("www")
    (r / "page.html").write_bytes(TEXT)
    (r / "big.txt").write_bytes(BIG)
    (r / "small.html").write_bytes(b"<p>")
    (r / "picture.png").write_bytes(os.urandom(5000))
    os.chmod(r.parent, 0o755)
    os.chmod(r, 0o755)
    return r


@pytest.fixture(scope="module")
def php():
    o = FcgiServer()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, php, root):
    on = {"gzip": True}
    d = Door(
        tmp_path_factory.mktemp("gzip"), workers=1, listeners={"web": {}}, max_compressions=2,
        clusters=[
            cluster("web", origin.address, compress=on, body_timeout="20s"),
            cluster("any", origin.address, compress={"gzip": True, "types": ["*"], "min_length": 0, "level": 9}),
            cluster("events", origin.address, compress={"gzip": True, "types": ["text/event-stream"]}),
            cluster("off", origin.address),
            cluster("php", php.address, protocol="fastcgi", fastcgi={"document_root": "/srv/app"}, compress=on),
            dict(cluster("files", protocol="files", files={"root": str(root)}, compress=on)),
        ],
        routes=[route(n + ".test", n) for n in ("web", "any", "events", "off", "php", "files")],
    ).start()
    yield d
    d.stop()


def plain(r):
    """The body as it was before."""
    assert r.get("content-encoding") == "gzip" and r.get("content-length") is None, r
    assert "accept-encoding" in (r.get("vary") or "").lower()
    d = zlib.decompressobj(31)
    body = d.decompress(r.body) + d.flush()
    assert d.eof and not d.unused_data
    return body


def untouched(r, body):
    assert r.get("content-encoding") is None and r.body == body, r
    return r


def test_an_answer_with_a_length(door, origin):
    origin.script(lambda c, r: c.send(reply(TEXT, headers=[HTML, ("ETag", '"v1"'), ("Accept-Ranges", "bytes")])))
    r = fetch(door.port, headers=GZIP)
    assert plain(r) == TEXT and len(r.body) < len(TEXT) // 4
    assert r.get("etag") == 'W/"v1"' and r.get("accept-ranges") is None and r.framing == "chunked"
    assert origin.one().get("accept-encoding") == "gzip"


def test_chunks_with_trailers(door, origin):
    origin.script(lambda c, r: c.send(chunked(TEXT[:10], TEXT[10:50000], TEXT[50000:], headers=[HTML], trailers=[(b"X-Sum", b"1")])))
    r = fetch(door.port, headers=GZIP)
    assert plain(r) == TEXT and r.trailers == [("X-Sum", "1")]


def test_until_the_connection_ends(door, origin):
    def script(c, r):
        c.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + TEXT)
        c.close()
        return False

    origin.script(script)
    assert plain(fetch(door.port, headers=GZIP)) == TEXT


def test_a_cut_answer_is_cut(door, origin):
    """Half of what was announced: the client must not take it for the whole."""
    def script(c, r):
        c.send(reply(TEXT, headers=[HTML])[:20000])
        c.reset()
        return False

    origin.script(script)
    with Client(door.port) as c:
        c.send(build(headers=GZIP))
        with pytest.raises((AssertionError, OSError)):
            c.response()


def test_fastcgi(door, php):
    php.script(lambda c, r: c.send(f.page(TEXT, b"Content-Type: text/html\r\n")))
    assert plain(fetch(door.port, host="php.test", headers=GZIP)) == TEXT
    untouched(fetch(door.port, host="php.test"), TEXT)


@pytest.mark.parametrize("name", ["page.html", "big.txt"])
def test_files(door, name):
    body = {"page.html": TEXT, "big.txt": BIG}[name]
    r = fetch(door.port, host="files.test", target="/" + name, headers=GZIP)
    assert plain(r) == body and r.get("etag").startswith("W/")
    with Client(door.port) as c:  # the tag comes back weak, and is still the file's
        c.send(build(target="/" + name, host="files.test", headers={"If-None-Match": r.get("etag"), **GZIP}))
        assert c.response().status == 304
        c.send(build(target="/" + name, host="files.test", headers={"Range": "bytes=1-10", **GZIP}))
        part = c.response()
    assert part.status == 206 and untouched(part, body[1:11]).get("content-range")
    r = untouched(fetch(door.port, host="files.test", target="/" + name), body)
    assert r.get("vary") == "Accept-Encoding" and r.get("etag").startswith('"') and r.framing == "length"


@pytest.mark.parametrize("name", ["small.html", "picture.png"])
def test_files_not_worth_it(door, root, name):
    r = fetch(door.port, host="files.test", target="/" + name, headers=GZIP)
    assert untouched(r, (root / name).read_bytes()).get("vary") is None


@pytest.mark.parametrize("headers,status", [
    ([HTML, ("Content-Encoding", "br")], "200 OK"), ([HTML, ("Cache-Control", "no-transform")], "200 OK"),
    ([HTML, ("Content-Range", "bytes 0-9/100")], "206 Partial Content"), ([("Content-Type", "image/png")], "200 OK"), ([], "200 OK"),
])
def test_left_alone(door, origin, headers, status):
    origin.script(lambda c, r: c.send(reply(TEXT, status=status, headers=headers + [("ETag", '"v"')])))
    r = fetch(door.port, headers=GZIP)
    assert r.body == TEXT and r.framing == "length" and r.get("etag") == '"v"' and r.get("vary") is None
    assert r.get("content-encoding") == dict(headers).get("Content-Encoding")


def test_clients_that_do_not_want_it(door, origin):
    origin.script(lambda c, r: c.send(reply(TEXT, headers=[HTML])))
    for headers in ({}, {"Accept-Encoding": "gzip;q=0"}, {"Accept-Encoding": "br"}, {"Accept-Encoding": "identity, gzip;q=0.5"}):
        assert untouched(fetch(door.port, headers=headers), TEXT).get("vary") == "Accept-Encoding"


def test_http_10(door, origin):
    origin.script(lambda c, r: c.send(reply(TEXT, headers=[HTML])))
    r = fetch(door.port, headers=GZIP, version="HTTP/1.0")
    assert untouched(r, TEXT).framing == "length"


def test_head_is_the_head_of_get(door, origin):
    origin.script(lambda c, r: c.send(reply(TEXT, headers=[HTML, ("ETag", '"v"')])[: None if r.method == "GET" else -len(TEXT)]))
    got, head = fetch(door.port, headers=GZIP), fetch(door.port, method="HEAD", headers=GZIP)
    names = ("content-encoding", "vary", "etag", "content-length", "content-type")
    assert [head.get(n) for n in names] == [got.get(n) for n in names] == ["gzip", "Accept-Encoding", 'W/"v"', None, HTML[1]]


def test_off_is_off(door, origin):
    origin.script(lambda c, r: c.send(reply(TEXT, headers=[HTML])))
    assert untouched(fetch(door.port, host="off.test", headers=GZIP), TEXT).get("vary") is None


def test_smallest_answers(door, origin):
    origin.script(lambda c, r: c.send(reply(b"x" if r.target == "/1" else b"", headers=[("Content-Type", "a/b")])))
    assert plain(fetch(door.port, host="any.test", target="/1", headers=GZIP)) == b"x"
    untouched(fetch(door.port, host="any.test", target="/0", headers=GZIP), b"")


@pytest.mark.parametrize("host,kind", [("events.test", "text/event-stream"), ("web.test", "text/html")])
def test_what_is_written_is_heard(door, origin, host, kind):
    """A server that says something now and then: each piece can be read before the next is sent."""
    heard = threading.Semaphore(0)

    def script(c, r):
        c.send(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % kind.encode())
        for i in range(3):
            data = b"data: %d\n\n" % i
            c.send(b"%x\r\n%s\r\n" % (len(data), data))
            assert heard.acquire(timeout=20)
        c.send(b"0\r\n\r\n")

    origin.script(script)
    with Client(door.port) as c:
        c.send(build(host=host, headers=GZIP))
        assert c.head().get("content-encoding") == "gzip"
        d, text = zlib.decompressobj(31), b""
        for i in range(3):
            while b"data: %d\n\n" % i not in text:
                size = int(c.until(b"\r\n"), 16)
                text += d.decompress(c.exactly(size + 2)[:-2])
            heard.release()
        while True:
            size = int(c.until(b"\r\n"), 16)
            data = c.exactly(size + 2)[:-2]
            if not size:
                break
            text += d.decompress(data)
    assert d.eof and text == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_a_client_that_reads_slowly(door, origin):
    """Back-pressure reaches the server, and not a byte is lost or doubled."""
    data = os.urandom(1 << 16)
    state = {"sent": 0}

    def script(c, r):
        c.send(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\n" % (len(data) * 256))
        for _ in range(256):
            c.send(data)
            state["sent"] += len(data)

    origin.script(script)
    with Client(door.port, rcvbuf=4096) as c:
        c.send(build(host="any.test", headers=GZIP))
        assert c.head().get("content-encoding") == "gzip"
        poll(lambda: state["sent"] > 0, 5)
        seen = -1
        while seen != state["sent"]:  # until it stands still
            seen = state["sent"]
            assert c.sock.fileno() >= 0
            threading.Event().wait(0.3)
        assert seen < 256 * len(data), "nothing held the server back"
        d, got = zlib.decompressobj(31), 0
        while True:
            size = int(c.until(b"\r\n"), 16)
            piece = d.decompress(c.exactly(size + 2)[:-2])
            for i in range(0, len(piece), 1 << 16):
                part = piece[i:i + (1 << 16)]
                at = (got + i) % (1 << 16)
                assert (data + data)[at:at + len(part)] == part
            got += len(piece)
            if not size:
                break
    assert got == 256 * len(data) and d.eof


def test_no_more_than_max_compressions(door, origin):
    """Two at a time on this worker: the third goes out as it is, and after the first has ended there is room again."""
    go = threading.Event()

    def script(c, r):
        c.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        if r.target == "/wait":
            assert go.wait(20)
        c.send(b"0\r\n\r\n")

    origin.script(script)
    held = [Client(door.port) for _ in range(2)]
    try:
        for c in held:
            c.send(build(target="/wait", headers=GZIP))
            assert c.head().get("content-encoding") == "gzip"
        r = fetch(door.port, headers=GZIP)
        assert untouched(r, b"hello").get("vary") == "Accept-Encoding"
        held[0].reset()  # a client that leaves gives its place back as well
        poll(lambda: fetch(door.port, headers=GZIP).get("content-encoding") == "gzip", 5, "a place")
    finally:
        go.set()
        for c in held:
            c.close()


def test_many_on_one_connection(door, origin):
    """The state of one answer is nothing to the next."""
    origin.script(lambda c, r: c.send(reply(TEXT + r.target.encode(), headers=[HTML])))
    with Client(door.port) as c:
        for i in range(50):
            c.send(build(target="/%d" % i, headers=GZIP if i % 3 else {}))
            r = c.response()
            assert (plain(r) if i % 3 else r.body) == TEXT + b"/%d" % i


def test_types_are_checked(make_door):
    door = make_door(start=False, clusters=[cluster("web", "127.0.0.1:1", compress={"types": ["text", "a/b/c"]})], routes=[route("*", "web")])
    door.write()
    done = subprocess.run([COXSWAIN, "-t", "-c", door.file], capture_output=True, text=True)
    assert done.returncode == 2 and '"text" in compress' in done.stderr and '"a/b/c" in compress' in done.stderr


def test_gzip_module_agrees(door, origin):
    origin.script(lambda c, r: c.send(reply(TEXT, headers=[HTML])))
    assert gzip.decompress(fetch(door.port, headers=GZIP).body) == TEXT
