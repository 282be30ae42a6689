"""Answers of servers that were asked by another path (rewrite_prefix): Location and cookies as the client sees them."""

import pytest

from harness.door import Door, cluster, route
from harness.h2 import H2, request
from harness.h2origin import H2Origin
from harness.net import fetch
from harness.origin import reply


@pytest.fixture(scope="module")
def h2_server():
    o = H2Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, h2_server):
    d = Door(
        tmp_path_factory.mktemp("answers"),
        clusters=[cluster("plain", origin.address), cluster("named", origin.address, host="app.internal:8000"),
                  cluster("h2", h2_server.address, protocol="h2")],
        routes=[
            dict(route("strip.test", "plain", "/api"), rewrite_prefix="/"),
            dict(route("move.test", "plain", "/api/"), rewrite_prefix="/v2/x"),
            dict(route("root.test", "plain"), rewrite_prefix="/v2"),
            dict(route("longer.test", "plain", "/v2/x"), rewrite_prefix="/v2"),
            dict(route("named.test", "named", "/api"), rewrite_prefix="/"),
            dict(route("off.test", "plain", "/api"), rewrite_prefix="/", rewrite_answers=False),
            dict(route("set.test", "plain", "/api"), rewrite_prefix="/", response_headers={"set": ["Location: /own"]}),
            dict(route("h2.test", "h2", "/api"), rewrite_prefix="/"),
            route("as.test", "plain", "/api"),
        ],
    ).start()
    yield d
    d.stop()


LOCATIONS = [
    # host, what the server says, what the client hears
    ("strip.test", "/login?next=/a", "/api/login?next=/a"),
    ("strip.test", "/", "/api/"),
    ("strip.test", "/api/x", "/api/x"),  # an application that knows
    ("strip.test", "/apis", "/api/apis"),
    ("strip.test", "//other.test/x", "//other.test/x"),
    ("strip.test", "x/y", "x/y"),
    ("strip.test", "?page=2", "?page=2"),
    ("strip.test", "http://strip.test/x#y", "http://strip.test/api/x#y"),
    ("strip.test", "https://STRIP.test/x", "https://STRIP.test/api/x"),
    ("strip.test", "http://strip.test", "http://strip.test"),
    ("strip.test", "http://strip.test:81/x", "http://strip.test:81/x"),  # another port is another site
    ("strip.test", "http://other.test/x", "http://other.test/x"),
    ("strip.test", "http://SERVER/x", "/api/x"),
    ("strip.test", "mailto:a@b", "mailto:a@b"),
    ("strip.test", "", ""),
    ("move.test", "/v2/x/y", "/api/y"),
    ("move.test", "/v2/x", "/api"),
    ("move.test", "/v2/x?a", "/api?a"),
    ("move.test", "/v2/xy", "/v2/xy"),
    ("move.test", "/elsewhere", "/elsewhere"),
    ("root.test", "/v2/y", "/y"),
    ("root.test", "/v2", "/"),
    ("root.test", "/v2?a", "/?a"),
    ("root.test", "/v2//evil.test/", "/evil.test/"),  # else it would name a host
    ("root.test", "/v2/\\evil.test/", "/v2/\\evil.test/"),  # so it would to a browser
    ("root.test", "/v2//\\evil.test/", "/v2//\\evil.test/"),
    ("root.test", "/v2/\t/evil.test/", "/v2/\t/evil.test/"),
    ("root.test", "/v2/a\\b", "/a\\b"),
    ("strip.test", "/\\evil.test/", "/api/\\evil.test/"),
    ("longer.test", "/v2/y", "/v2/x/y"),
    ("longer.test", "/v2/x/y", "/v2/x/y"),
    ("named.test", "http://app.internal:8000/x", "/api/x"),
    ("named.test", "http://app.internal/x", "http://app.internal/x"),
    ("off.test", "/x", "/x"),
    ("set.test", "/x", "/own"),
    ("as.test", "/x", "/x"),
]


def asked(host):
    return "/v2/x/q" if host == "longer.test" else "/api/q"


def say(origin, *headers):
    origin.script(lambda conn, r: conn.send(reply(b"", "302 Found", [*headers, ("X-Last", "1")])))


@pytest.mark.parametrize("host, said, heard", LOCATIONS)
def test_location(door, origin, host, said, heard):
    say(origin, ("Location", said.replace("SERVER", origin.address)), ("Content-Location", said.replace("SERVER", origin.address)))
    r = fetch(door.port, host=host, target=asked(host))
    assert r.status == 302 and r.all("location") == [heard] and r.get("x-last") == "1"
    assert r.all("content-location") == [said.replace("SERVER", origin.address) if host == "set.test" else heard] or host == "set.test"


COOKIES = [
    ("strip.test", "a=1; Path=/; HttpOnly", "a=1; Path=/api; HttpOnly"),
    ("strip.test", "a=1; HttpOnly; path=/x/", "a=1; HttpOnly; Path=/api/x/"),
    ("strip.test", "a=1; Path=/api", "a=1; Path=/api"),
    ("strip.test", "a=1", "a=1"),
    ("strip.test", "a=/; Secure", "a=/; Secure"),
    ("strip.test", "__Host-a=1; Secure; Path=/", "__Host-a=1; Secure; Path=/"),
    ("strip.test", "a=1; Path=x", "a=1; Path=x"),
    ("strip.test", "a=1; Path", "a=1; Path"),
    ("strip.test", "a=1; Domain=strip.test; Path=/", "a=1; Domain=strip.test; Path=/api"),
    ("strip.test", "a=1;" + " Path=/;" * 40, "a=1;" + " Path=/;" * 40),  # nobody means that
    ("move.test", "a=1; Path=/v2/x; Secure", "a=1; Path=/api; Secure"),
    ("move.test", "a=1; Path=/v2/x/", "a=1; Path=/api"),
    ("move.test", "a=1; Path=/", "a=1; Path=/"),
    ("root.test", "a=1; Path=/v2", "a=1; Path=/"),
    ("named.test", "a=1; Domain=app.internal; Path=/x", "a=1; Path=/api/x"),
    ("named.test", "a=1; Domain=.INTERNAL", "a=1"),
    ("named.test", "a=1; Domain=other.internal", "a=1; Domain=other.internal"),
    ("named.test", "a=1; Domain=test", "a=1; Domain=test"),
    ("off.test", "a=1; Path=/", "a=1; Path=/"),
    ("as.test", "a=1; Path=/", "a=1; Path=/"),
]


@pytest.mark.parametrize("host, said, heard", COOKIES)
def test_cookie(door, origin, host, said, heard):
    say(origin, ("Set-Cookie", said), ("Set-Cookie", "other=1"))
    r = fetch(door.port, host=host, target=asked(host))
    assert sorted(r.all("set-cookie")) == sorted([heard, "other=1"])


def test_over_http2(door, origin, h2_server):
    """On both sides the same."""
    say(origin, ("Location", "/login"), ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/"))
    h2_server.script(lambda s: s.reply(status=302, headers=[("location", "/login"), ("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2; Path=/")]))
    with H2(door.port) as c:
        for host in ("strip.test", "h2.test"):
            r = c.response(c.headers(request(path="/api/q", host=host)))
            assert r.status == 302 and r.get("location") == "/api/login"
            assert [v for n, v in r.headers if n == "set-cookie"] == ["a=1; Path=/api", "b=2; Path=/api"]


def test_many_fields(door, origin):
    """More changes than the head that came has room for."""
    cookies = [("Set-Cookie", "c%d=%s; Path=/%d" % (i, "v" * 100, i)) for i in range(90)]
    say(origin, *cookies)
    r = fetch(door.port, host="strip.test", target="/api/q")
    assert r.all("set-cookie") == ["c%d=%s; Path=/api/%d" % (i, "v" * 100, i) for i in range(90)]
