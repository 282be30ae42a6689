"""What a route asks beyond host and path, and what it does: conditions, splits, redirects, fixed replies, rewrites, backups."""

import re
import subprocess
import threading

import pytest

from harness.door import COXSWAIN, Door, cluster, route
from harness.net import Client, build, fetch, poll
from harness.origin import Origin, reply


def rule(host, name=None, path="/", **options):
    out = {"host": host, "path": path}
    if name:
        out["cluster"] = name
    return dict(out, **options)


@pytest.fixture(scope="module")
def shadow():
    o = Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def judge():
    o = Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, origin2, shadow, judge):
    folder = tmp_path_factory.mktemp("rules")
    (folder / "page.html").write_text("<h1>\"back\" soon</h1>\n")
    names = ["plain", "get", "beta", "beta1", "both", "debug", "cookie", "absent", "short"]
    clusters = [cluster(n, origin.address, host=n + ".seen") for n in names]
    clusters += [cluster("a", origin.address), cluster("b", origin2.address), cluster("shadow", shadow.address, host="shadow.seen"),
                 cluster("judge", judge.address), cluster("files", protocol="files", files={"root": str(folder)})]
    line = ["X-Client: $client_ip", "X-Uri: $method $scheme://$host:$port$uri", "X-Rest: <$rest> <$query> $$", "X-None: $request_id"]
    d = Door(
        folder, listeners={"web": {"max_body_size": "1m"}, "proxied": {"trusted": ["loopback"]}, "raw": {"merge_slashes": False}},
        clusters=clusters,
        routes=[
            route("cond.test", "plain"), rule("cond.test", "get", methods=["DELETE", "PATCH"]),
            rule("cond.test", "beta", headers=["X-Beta"]), rule("cond.test", "beta1", headers=["X-Beta=1"], priority=1),
            rule("cond.test", "both", headers=["X-Beta^=2", "!X-Old"], cookies=["id"]),
            rule("cond.test", "debug", query=["debug=a b"]), rule("cond.test", "cookie", cookies=["lang^=de"]),
            rule("cond.test", "absent", path="/deep", headers=["X-Deep"]), rule("only.test", "short", path="/x", methods=["GET"]),
            rule("split.test", clusters=["a=75", {"cluster": "b", "weight": 25}]),
            rule("stick.test", clusters=["a=50", "b=50"], split_on="cookie:who"),
            rule("half.test", clusters=["a=1", "missing=99"]),
            rule("old.test", path="/old", redirect={"location": "https://new.test/moved$rest?from=$host&$query"}),
            rule("here.test", redirect={"location": "$uri", "code": 302}), rule("ask.test", redirect={"location": "/$query", "code": 302}),
            rule("tls.test", "a", redirect={"https": True}), rule("tls8.test", "a", redirect={"https": True, "port": 8443, "code": 301}),
            rule("gone.test", reply={"status": 410, "body": "line 1\nline 2\n", "content_type": "text/x-plain"}, response_headers={"set": ["X-Who: $client_ip"]}),
            rule("file.test", reply={"status": 503, "file": "page.html", "content_type": "text/html"}),
            rule("empty.test", reply={"status": 204}),
            rule("strip.test", "a", path="/api", rewrite_prefix="/"), rule("move.test", "a", path="/api/", rewrite_prefix="/v2/x"),
            rule("fstrip.test", "files", path="/assets", rewrite_prefix="/"),
            rule("head.test", "a", path="/h",
                 request_headers={"set": line, "add": ["X-Add: 1", "X-Add: 2"], "remove": ["X-Secret", "X-Forwarded-For", "Via"]},
                 response_headers={"set": ["Server: us", "X-Up: $cluster $endpoint"], "add": ["Set-Cookie: a=$client_port"], "remove": ["X-Powered-By"]}),
            rule("err.test", "none", response_headers={"set": ["X-Always: yes"]}),
            rule("mirror.test", "a", mirror={"cluster": "shadow", "max_body": "1k"}, request_headers={"set": ["X-Way: m"]}),
            rule("few.test", "a", mirror={"cluster": "shadow", "percent": 25.0}),
            rule("one.test", "a", mirror={"cluster": "shadow", "max_in_flight": 1}),
            rule("denied.test", redirect={"location": "/x"}, guard="never"),
            rule("said.test", "a", guard="judged", request_headers={"set": line, "remove": ["X-Secret", "X-Forwarded-For"]}),
            rule("judged.test", "a", guard="judged", mirror={"cluster": "shadow", "max_body": "1k"}),
        ],
        guards=[{"name": "never", "deny": ["0.0.0.0/0"]}, {"name": "judged", "external": {"cluster": "judge"}}],
        plugins=[{"name": "file", "path": str(folder / "view.json")}],
    )
    (folder / "view.json").write_text("{}")
    yield d.start()
    d.stop()


# ---- conditions ----


@pytest.mark.parametrize("name,method,target,headers", [
    ("plain", "GET", "/", []),
    ("plain", "GET", "/?debug=ab", []), ("plain", "GET", "/?xdebug=a+b", []), ("plain", "GET", "/?debug", []),
    ("plain", "GET", "/", [("Cookie", "lang=en; x=lang=de")]),
    ("get", "DELETE", "/", []), ("get", "PATCH", "/x", []), ("plain", "PUT", "/", []),
    ("beta", "GET", "/", [("x-beta", "0")]), ("beta", "GET", "/", [("X-Beta", "")]),
    ("beta1", "GET", "/", [("X-BETA", "1")]), ("beta1", "GET", "/", [("X-Beta", "0"), ("X-Beta", "1")]),
    ("beta1", "DELETE", "/?debug=a+b", [("X-Beta", "1"), ("Cookie", "id=1")]),  # priority comes before the number of conditions
    ("both", "GET", "/", [("X-Beta", "22"), ("Cookie", "a=b; id=7")]),
    ("beta", "GET", "/", [("X-Beta", "22"), ("Cookie", "a=b; id=7"), ("X-Old", "")]),
    ("debug", "GET", "/p?x=1&debug=a+b", []), ("debug", "GET", "/?de%62ug=a%20b&debug=c", []), ("plain", "GET", "/?debug=a%2520b", []),
    ("cookie", "GET", "/", [("Cookie", "lang=de-CH")]), ("cookie", "GET", "/", [("Cookie", "a=1"), ("Cookie", 'lang="de"')]),
    ("absent", "GET", "/deep/x", [("X-Deep", "y")]), ("plain", "GET", "/deep/x", []), ("beta", "GET", "/deep", [("X-Beta", "2")]),
])
def test_conditions(door, origin, name, method, target, headers):
    assert fetch(door.port, method, target, host="cond.test", headers=headers).status == 200
    assert origin.one().get("host") == name + ".seen"


def test_conditions_do_not_see_what_is_dropped(door, origin):
    """A field that Connection nominates is not there for anybody behind us, so it is not there for routing."""
    assert fetch(door.port, host="cond.test", headers=[("X-Beta", "1"), ("Connection", "x-beta")]).status == 200
    assert origin.one().get("host") == "plain.seen"


def test_nothing_fits(door, origin):
    assert fetch(door.port, "POST", "/x", host="only.test", body=b"").status == 404
    assert fetch(door.port, "GET", "/x", host="only.test").status == 200
    assert len(origin.requests) == 1


# ---- splits ----


def test_split_by_weight(door, origin, origin2):
    with Client(door.port) as c:
        for _ in range(400):
            c.send(build(host="split.test"))
            assert c.response().status == 200
    assert 240 <= len(origin.requests) <= 360 and len(origin.requests) + len(origin2.requests) == 400


def test_split_by_cookie_is_sticky(door, origin, origin2):
    homes = {}
    with Client(door.port) as c:
        for n in range(90):
            who = "u%d" % (n % 30)
            before = len(origin.requests)
            c.send(build(host="stick.test", headers=[("Cookie", "who=" + who)]))
            assert c.response().status == 200
            homes.setdefault(who, set()).add(len(origin.requests) > before)
    assert all(len(h) == 1 for h in homes.values())  # each always at the same
    assert 3 <= sum(h == {True} for h in homes.values()) <= 27  # and not all at one


def test_split_leaves_out_what_does_not_exist(door, origin):
    with Client(door.port) as c:
        for _ in range(20):
            c.send(build(host="half.test"))
            assert c.response().status == 200
    assert len(origin.requests) == 20


# ---- redirects and fixed replies ----


@pytest.mark.parametrize("host,target,status,location", [
    ("old.test", "/old", 308, "https://new.test/moved?from=old.test&"),
    ("old.test:99", "/old/a%20b/?x=1&y", 308, "https://new.test/moved/a%20b/?from=old.test&x=1&y"),
    ("here.test", "/a/../b?c", 302, "/b?c"),
    ("tls.test", "/x?y", 308, "https://tls.test/x?y"), ("tls.test:8080", "/", 308, "https://tls.test/"),
    ("tls8.test", "/x", 301, "https://tls8.test:8443/x"),
])
def test_redirect(door, origin, host, target, status, location):
    with Client(door.port) as c:
        for _ in range(2):  # and the connection goes on
            c.send(build(host=host, target=target))
            r = c.response()
            assert (r.status, r.get("location"), r.body) == (status, location, b"")
    assert origin.bytes == b""


@pytest.mark.parametrize("host,target", [("here.test", "//evil.test/x"), ("ask.test", "/?/evil.test/x"), ("ask.test", "/?\\evil.test/x"),
                                         ("ask.test", "/?/\\/\\evil.test/x")])
def test_redirect_leads_to_no_other_host(door, host, target):
    """"//evil" as a path would be an authority in Location; browsers take a backslash for a slash."""
    r = fetch(door.ports["raw"], target=target, host=host)
    assert (r.status, r.get("location")) == (302, "/evil.test/x")


def test_redirect_wants_a_host(door):
    r = fetch(door.port, host=None, version="HTTP/1.0", target="/old")
    assert r.status == 404  # "old.test" was not asked for


def test_https_behind_a_trusted_proxy(door, origin):
    told = [("X-Forwarded-Proto", "https")]
    assert fetch(door.port, host="tls.test", headers=told).status == 308
    assert fetch(door.ports["proxied"], host="tls.test", headers=told).status == 200
    assert fetch(door.ports["proxied"], host="tls.test").status == 308
    assert len(origin.requests) == 1


def test_fixed_reply(door, origin):
    with Client(door.port) as c:
        c.send(build(host="gone.test", target="/x"))
        r = c.response()
        assert (r.status, r.body, r.get("content-type"), r.get("x-who")) == (410, b"line 1\nline 2\n", "text/x-plain", "127.0.0.1")
        c.send(build("HEAD", host="gone.test"))
        r = c.response("HEAD")
        assert r.status == 410 and r.get("content-length") == "14"
        c.send(build("POST", host="gone.test", body=b"x" * 1000))
        assert c.response().status == 410
    r = fetch(door.port, host="file.test")
    assert (r.status, r.body, r.get("content-type")) == (503, b"<h1>\"back\" soon</h1>\n", "text/html")
    r = fetch(door.port, host="empty.test")
    assert (r.status, r.body, r.get("content-type")) == (204, b"", None)
    assert origin.bytes == b""


def test_answers_of_routes_are_logged(door):
    assert fetch(door.port, host="gone.test", target="/logged").status == 410
    line = poll(lambda: re.search(r'"GET /logged HTTP/1.1" 410 .*', open(door.access).read()), 5)
    assert " route_reply " in line.group()


# ---- rewrites ----


@pytest.mark.parametrize("host,target,seen", [
    ("strip.test", "/api", "/"), ("strip.test", "/api/", "/"), ("strip.test", "/api/x/y?q=/api", "/x/y?q=/api"),
    ("strip.test", "/api/%7Ea//b?", "/~a/b?"), ("move.test", "/api/z", "/v2/x/z"), ("move.test", "/api/", "/v2/x/"),
])
def test_prefix_rewrite(door, origin, host, target, seen):
    assert fetch(door.port, host=host, target=target).status == 200
    assert origin.one().target == seen


def test_prefix_rewrite_never_begins_with_two_slashes(door, origin):
    assert fetch(door.ports["raw"], host="strip.test", target="/api//evil.test/x").status == 200
    assert origin.one().target == "/evil.test/x"


def test_prefix_rewrite_before_files(door):
    r = fetch(door.port, host="fstrip.test", target="/assets/page.html")
    assert r.status == 200 and r.body == b"<h1>\"back\" soon</h1>\n"


def test_request_headers(door, origin):
    given = [("X-Secret", "1"), ("x-client", "forged"), ("X-Add", "0"), ("X-Request-Id", "id-1"), ("X-Other", "o")]
    assert fetch(door.port, target="/h/a/b?c=d", host="head.test", headers=given).status == 200
    r = origin.one()
    assert r.all("x-client") == ["127.0.0.1"]
    assert r.get("x-uri") == "GET http://head.test:%d/h/a/b?c=d" % door.port
    assert r.get("x-rest") == "</a/b> <c=d> $"
    assert r.all("x-add") == ["0", "1", "2"]
    assert r.get("x-none") == "id-1" and r.get("x-other") == "o"
    assert r.get("x-secret") is None and r.get("x-forwarded-for") is None and r.get("via") is None
    assert r.get("x-forwarded-host") == "head.test"


def test_answer_headers_are_not_said_again_in_trailers(make_door, make_origin):
    """What the route sets or removes, and what only the proxy says, in any spelling."""
    o = make_origin().script(lambda conn, r: conn.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Secret: a\r\n\r\n2\r\nok\r\n0\r\n"
        b"x-secret: b\r\nX-Set: forged\r\nX-Sum: 7\r\nx-coxswain-reason: forged\r\n\r\n") or True)
    door = make_door(clusters=[cluster("web", o.address)], reason_header=True,
                     routes=[dict(route("*", "web"), response_headers={"remove": ["X-Secret"], "set": ["X-Set: 1"]})])
    with Client(door.port) as c:
        c.send(build(headers=[("TE", "trailers"), ("Connection", "TE")]))
        r = c.response()
    assert r.body == b"ok" and r.get("x-secret") is None and r.get("x-set") == "1"
    assert r.trailers == [("X-Sum", "7")]


@pytest.mark.parametrize("host,after_guard", [("head.test", False), ("said.test", True)])
def test_request_headers_are_not_said_again_in_trailers(door, origin, judge, host, after_guard):
    """What the route sets or removes, in any spelling; also when they came before the guard had decided."""
    came = threading.Event()
    judge.script(lambda conn, r: came.wait(20) and conn.send(reply()))
    lines = b"X-Client: forged\r\nx_secret: 1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Add: 3\r\nX-Sum: 7\r\n"
    with Client(door.port) as c:
        c.send(build("POST", target="/h", host=host, headers=[("Transfer-Encoding", "chunked")]), b"3\r\nabc\r\n0\r\n" + lines + b"\r\n")
        if after_guard:
            judge.wait(1)
            fetch(door.port, host="empty.test")  # a turn of the loop: the trailers have been read
        came.set()
        assert c.response().status == 200
    r = origin.one()
    assert r.all("x-client") == ["127.0.0.1"] and r.body == b"abc"
    assert r.trailers == [("X-Add", "3"), ("X-Sum", "7")]


def test_response_headers(door, origin):
    origin.script(lambda conn, r: conn.send(reply(headers=[("Server", "them"), ("X-Powered-By", "PHP"), ("x-up", "no"), ("Set-Cookie", "b=2"),
                                                          ("Connection", "X-Up")])))
    with Client(door.port) as c:
        c.send(build(target="/h", host="head.test"))
        r = c.response()
        assert r.all("server") == ["us"] and r.get("x-powered-by") is None
        assert r.all("x-up") == ["a " + origin.address]  # although the server called its own hop-by-hop
        assert r.all("set-cookie") == ["b=2", "a=%d" % c.sock.getsockname()[1]] and r.body == b"ok"


def test_response_headers_of_our_own_answers(door):
    r = fetch(door.port, host="err.test")
    assert r.status == 503 and r.get("x-always") == "yes"


# ---- mirroring ----


def mirrored(door):
    return door.cluster("shadow")["mirrored"]


def moved(door, before, **want):
    """Waits until the cells have moved by so much, and nothing is under way."""
    def reached():
        now = mirrored(door)
        return now["now"] == 0 and all(now[k] - before[k] == v for k, v in want.items())
    poll(reached, 5, "mirror cells %s from %s, now %s" % (want, before, mirrored(door)))


def test_mirror_gets_a_copy(door, origin, shadow):
    before, cells = mirrored(door), door.cluster("shadow")
    for body in (None, b"", b"x" * 1024):
        assert fetch(door.port, "POST" if body is not None else "GET", "/m?a", host="mirror.test", body=body).status == 200
    origin.wait(3), shadow.wait(3)
    for a, b in zip(sorted(origin.requests, key=lambda r: r.method + str(len(r.body))), sorted(shadow.requests, key=lambda r: r.method + str(len(r.body)))):
        assert (a.method, a.target, a.body, a.get("x-way")) == (b.method, b.target, b.body, "m")
        assert a.get("x-request-id") == b.get("x-request-id")
        assert a.get("host") == "mirror.test" and b.get("host") == "shadow.seen"
    moved(door, before, sent=3, failures=0, skipped=0)
    after = door.cluster("shadow")
    assert after["requests"] == cells["requests"] and after["completed"] == cells["completed"]  # cells of their own


def test_mirror_of_chunked_bodies(door, origin, shadow):
    before = mirrored(door)
    with Client(door.port) as c:
        c.send(build("POST", host="mirror.test", headers=[("Transfer-Encoding", "chunked")]), b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n", delay=0.02)
        assert c.response().status == 200
    assert shadow.one().body == b"abcde" and origin.one().body == b"abcde"
    moved(door, before, sent=1, failures=0, skipped=0)


def test_mirror_skips_large_bodies(door, origin, shadow):
    before = mirrored(door)
    assert fetch(door.port, "POST", host="mirror.test", body=b"x" * 1025).status == 200
    with Client(door.port) as c:
        c.send(build("POST", host="mirror.test", headers=[("Transfer-Encoding", "chunked")]), b"401\r\n" + b"x" * 1025 + b"\r\n0\r\n\r\n")
        assert c.response().status == 200
    moved(door, before, sent=0, skipped=2)
    assert len(origin.wait(2)) == 2 and shadow.bytes == b""


def test_mirror_of_a_request_that_is_not_completed(door, shadow):
    before = mirrored(door)
    with Client(door.port) as c:
        c.send(build("POST", host="mirror.test", headers=[("Content-Length", "10")]), b"abc")
        poll(lambda: mirrored(door)["now"] == 1, 5)
        c.reset()
    moved(door, before, sent=0, skipped=1)
    assert shadow.bytes == b""


def test_shadow_that_hangs_delays_nobody(door, origin, shadow):
    go = threading.Event()
    shadow.script(lambda conn, r: go.wait(10) and conn.send(reply()))
    before = mirrored(door)
    with Client(door.port, timeout=3) as c:
        for _ in range(5):
            c.send(build(host="mirror.test"))
            assert c.response().status == 200
    poll(lambda: mirrored(door)["now"] == 5, 5)
    status = door.cluster("shadow")
    assert status["serving"] == 0 and status["held"] == 0
    go.set()
    moved(door, before, sent=5, failures=0)


def test_shadow_that_breaks_fails_nobody(door, origin, shadow):
    before = mirrored(door)
    shadow.script(lambda conn, r: conn.reset())
    for _ in range(3):
        assert fetch(door.port, host="mirror.test").status == 200
    moved(door, before, sent=3, failures=3)


def test_mirror_large_answer_is_read_and_forgotten(door, shadow):
    before = mirrored(door)
    shadow.script(lambda conn, r: conn.send(reply(b"z" * (1 << 20), status="500 no")))
    assert fetch(door.port, host="mirror.test").body == b"ok"
    moved(door, before, sent=1, failures=0)


def test_mirror_percent(door, shadow):
    before = mirrored(door)
    with Client(door.port) as c:
        for _ in range(200):
            c.send(build(host="few.test"))
            assert c.response().status == 200
    poll(lambda: mirrored(door)["now"] == 0, 5)
    assert 20 <= mirrored(door)["sent"] - before["sent"] <= 80


def test_mirror_max_in_flight(door, shadow):
    go = threading.Event()
    shadow.script(lambda conn, r: go.wait(10) and conn.send(reply()))
    before = mirrored(door)
    with Client(door.port) as c:  # one connection: one worker
        for _ in range(4):
            c.send(build(host="one.test"))
            assert c.response().status == 200
    go.set()
    moved(door, before, sent=1, skipped=3)


# ---- guards of routes ----


def test_a_guard_comes_before_what_the_route_says(door):
    assert fetch(door.port, host="denied.test").status == 403


@pytest.mark.parametrize("method,body", [("GET", None), ("POST", b"y" * 600)])
def test_no_copy_of_what_may_not_pass(door, judge, shadow, method, body):
    judge.script(lambda conn, r: conn.send(reply(status="403 no")))
    before = mirrored(door)
    assert fetch(door.port, method, host="judged.test", body=body).status == 403
    moved(door, before, sent=0)
    assert shadow.bytes == b""


def test_a_copy_has_what_came_while_its_guard_thought(door, origin, judge, shadow):
    go = threading.Event()
    judge.script(lambda conn, r: go.wait(10) and conn.send(reply()))
    before, body = mirrored(door), bytes(range(33, 123)) * 6
    with Client(door.port) as c:
        c.send(build("POST", host="judged.test", headers=[("Content-Length", str(len(body)))]), body[:300])
        judge.wait(1)
        c.send(body[300:])
        assert c.silent(0.05)
        go.set()
        assert c.response().status == 200
    moved(door, before, sent=1, skipped=0)
    assert origin.one().body == body and shadow.one().body == body


# ---- tiers and backups ----


def spread(door, origins, host, n=30):
    with Client(door.port) as c:
        for _ in range(n):
            c.send(build(host=host))
            assert c.response().status == 200
    return [len(o.requests) for o in origins]


def test_tiers(make_door, make_origin):
    origins = [make_origin() for _ in range(4)]
    first = [o.address for o in origins[:2]]
    spare = [{"address": o.address, "priority": 7} for o in origins[2:]]
    d = make_door(clusters=[cluster("low", *first, *spare, balance="round_robin"),
                            cluster("half", *first, *spare, balance="round_robin", tier_min_percent=60)],
                  routes=[route("low.test", "low"), route("half.test", "half")], workers=1)

    def forget():
        for o in origins:
            o.forget()

    assert spread(d, origins, "low.test") == [15, 15, 0, 0]
    forget()
    d.ctl("drain", origins[0].address)
    poll(lambda: [e["service"] for e in d.cluster("low")["endpoints"]].count("draining") == 1, 5)
    poll(lambda: (forget(), fetch(d.port, host="half.test"), len(origins[2].requests) + len(origins[3].requests))[2], 5)
    forget()
    assert spread(d, origins, "low.test") == [0, 30, 0, 0]
    forget()
    assert spread(d, origins, "half.test") == [0, 10, 10, 10]
    d.ctl("drain", origins[1].address)
    poll(lambda: (forget(), fetch(d.port, host="low.test"), len(origins[1].requests))[2] == 0, 5)
    forget()
    assert spread(d, origins, "low.test") == [0, 0, 15, 15]


def test_tier_that_real_traffic_finds_broken(make_door, make_origin):
    """Without probes: each request that finds the first tier dead is served by the next, and once it is ejected none asks
    it any more; when it is well and may come back, it serves again."""
    first, spare = make_origin(), make_origin()
    well = threading.Event()
    first.script(lambda conn, r: conn.send(reply(b"first")) if well.is_set() else False)
    spare.script(lambda conn, r: conn.send(reply(b"spare")))
    d = make_door(clusters=[cluster("c", first.address, {"address": spare.address, "priority": 1}, eject_failures=3,
                                    eject_time="2s")], routes=[route("*", "c")], workers=1)
    assert [fetch(d.port).body for _ in range(10)] == [b"spare"] * 10
    assert (len(first.requests), len(spare.requests)) == (3, 10)
    well.set()
    poll(lambda: fetch(d.port).body == b"first", 10, "the first tier serves again")


def test_backup(make_door, origin, origin2):
    d = make_door(clusters=[cluster("main", origin.address, backup="spare"), cluster("spare", origin2.address),
                            cluster("nobody", backup="chain"), cluster("chain", backup="spare"), cluster("alone", backup="alone2"), cluster("alone2")],
                  routes=[route("main.test", "main"), route("nobody.test", "nobody"), route("alone.test", "alone")])
    assert fetch(d.port, host="main.test").status == 200 and len(origin.requests) == 1
    assert fetch(d.port, host="nobody.test").status == 200 and len(origin2.requests) == 1
    assert fetch(d.port, host="alone.test").status == 503
    d.ctl("drain", origin.address)
    poll(lambda: (origin.forget(), fetch(d.port, host="main.test").status, len(origin.requests))[1:] == (200, 0), 5)
    assert d.cluster("spare")["requests"] >= 2
    d.ctl("undrain", origin.address)
    poll(lambda: fetch(d.port, host="main.test").status == 200 and origin.requests, 5)


# ---- seen from outside ----


def test_topology_shows_rules(door):
    told = door.ctl("topology").stdout.decode()
    assert re.search(r"cond\.test +/ +both if header\(X-Beta\^=2\) header\(!X-Old\) cookie\(id\)", told), told
    assert re.search(r"split\.test +/ +a 75, b 25", told)
    assert re.search(r"old\.test +/old +redirect 308 to https://new", told)
    assert re.search(r"mirror\.test +/ +a, 100 % copied to shadow", told)


def test_discovery_may_put_rules(door, origin, origin2):
    """A plugin's routes take the same keys."""
    view = door.folder + "/view.json"
    new = '''{ "routes": [
        { "host": "file.plugin", "cluster": "a", "methods": ["GET"], "response_headers": { "set": ["X-From: $cluster"] } },
        { "host": "file.plugin", "clusters": ["b=1"] },
        { "host": "file.plugin", "path": "/r", "redirect": { "location": "/$method", "code": 303 } } ] }'''
    with open(view + ".new", "w") as f:
        f.write(new)
    subprocess.run(["mv", view + ".new", view], check=True)
    poll(lambda: fetch(door.port, host="file.plugin").status == 200, 5)
    assert fetch(door.port, host="file.plugin").get("x-from") == "a"
    assert fetch(door.port, "PUT", host="file.plugin", body=b"").status == 200 and len(origin2.requests) == 1
    r = fetch(door.port, target="/r", host="file.plugin")
    assert (r.status, r.get("location")) == (303, "/GET")
    with open(view + ".new", "w") as f:
        f.write("{}")
    subprocess.run(["mv", view + ".new", view], check=True)
    poll(lambda: fetch(door.port, host="file.plugin").status == 404, 5)


@pytest.mark.parametrize("change,said", [
    ({"request_headers": {"set": ["Content-Length: 3"]}}, "Content-Length cannot be changed by a route"),
    ({"response_headers": {"remove": ["transfer-encoding"]}}, "transfer-encoding cannot be changed by a route"),
    ({"response_headers": {"add": ["no colon"]}}, 'expected "Name: value"'),
    ({"request_headers": {"set": ["X: $endpoint"]}}, "known in response_headers only"),
    ({"request_headers": {"set": ["X: $nothing"]}}, "is no variable"),
    ({"redirect": {"location": "/"}}, "one of cluster, clusters, redirect and reply"),
    ({"reply": {"body": "x"}}, "needs a status"),
    ({"reply": {"status": 200, "file": "nowhere"}}, "No such file"),
    ({"rewrite_prefix": "/a/../b"}, "is no path prefix"),
    ({"headers": ["X Y"]}, "in headers: expected"),
    ({"mirror": {"cluster": "nowhere"}}, 'copies for cluster "nowhere", which nothing makes'),
    ({"split_on": "moon"}, '"moon": expected "source"'),
])
def test_errors_name_file_and_line(make_door, origin, change, said):
    d = make_door(start=False, clusters=[cluster("a", origin.address)], routes=[rule("x.test", "a", **change)])
    d.write()
    done = subprocess.run([COXSWAIN, "-t", "-c", d.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 2 and said in done.stdout and re.search(r"coxswain\.cfg:\d+: ", done.stdout), done.stdout
