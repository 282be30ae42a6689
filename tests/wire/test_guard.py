"""Guards: addresses, limits, passwords, external authentication, own pages, maintenance."""

import base64
import ctypes
import json
import os
import re
import subprocess
import threading
import time

import pytest

from harness.door import COXSWAIN, Door, cluster, route
from harness.h2 import H2, request
from harness.load import Load
from harness.net import SLOW, Client, build, fetch, poll
from harness.origin import OK, Origin, reply

PROXIES = {"trusted": ["127.0.0.0/8"]}


def lines(door):
    with open(door.access) as f:
        return f.read().splitlines()


def last_reason(door, reason, seconds=5):
    """The access log says so (it is written once a second)."""
    poll(lambda: os.path.exists(door.access) and any(" %s " % reason in l for l in lines(door)), seconds, "%s in the access log" % reason)


def guard_cells(door, name):
    return door.cluster(name)["guard"]


def from_ip(ip, **kw):
    return dict(kw, headers=list(kw.get("headers", [])) + [("X-Forwarded-For", ip)])


LIBCRYPT = ctypes.CDLL("libcrypt.so.1")
LIBCRYPT.crypt.restype = ctypes.c_char_p


def hashed(password, salt="$6$rounds=1000$sel$"):
    out = LIBCRYPT.crypt(password.encode(), salt.encode()).decode()
    assert len(out) > len(salt)
    return out


BCRYPT = "$2y$04$abcdefghijklmnopqrstuu"


def basic(user, password):
    return [("Authorization", "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode())]


@pytest.fixture(scope="module")
def judge():
    """Another server: the one that external authentication asks."""
    o = Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, judge):
    folder = tmp_path_factory.mktemp("guard")
    users = folder / "users"
    users.write_text("# who may\nalice:%s\r\nbob:%s:with a remark\n\n" % (hashed("wonder:land", BCRYPT), hashed("builder")))
    users.chmod(0o600)
    page = folder / "gone.html"
    page.write_text("<h1>own 403</h1>")
    big = folder / "busy.json"
    big.write_text(json.dumps({"text": "x" * 200000}))
    names = ["open", "vip", "noone", "rate", "crowd", "total", "few", "dry", "login", "keeps", "tries", "ask", "askdead", "asknone", "both", "pages", "shut"]
    d = Door(
        folder,
        listeners={"web": {}, "proxied": dict(PROXIES, limit_loopback=True), "counted": {"limit_loopback": True},
                   "walled": dict(PROXIES, guard="wall"), "locked": {"guard": "login"}},
        clusters=[cluster(n, origin.address, guard=n) for n in names if n != "open"] + [
            cluster("open", origin.address), cluster("judge", judge.address, retries=0), cluster("dead", "127.0.0.1:1", retries=0),
            cluster("stuck", judge.address)],
        routes=[route(n + ".test", n) for n in names] + [route("web.test", "open")],
        guards=[
            {"name": "wall", "deny": ["203.0.113.0/24", "2001:db8:bad::/48"], "error_pages": [{"status": 404, "file": "gone.html"}]},
            {"name": "vip", "allow": ["203.0.113.0/24", "2001:db8::/32"], "deny": ["203.0.113.66"],
             "error_pages": [{"status": 403, "file": "gone.html"}]},
            {"name": "noone", "allow": ["192.0.2.0/24"]},
            {"name": "rate", "limit": {"client_rate": "30/m", "client_burst": 5}},
            {"name": "crowd", "limit": {"client_in_flight": 3}},
            {"name": "total", "limit": {"rate": "30/m", "burst": 4}},
            {"name": "few", "limit": {"in_flight": 2}},
            {"name": "dry", "limit": {"client_rate": "1/h", "client_in_flight": 1, "rate": "1/h", "in_flight": 1, "dry_run": True}},
            {"name": "login", "basic": {"file": "users", "realm": "The Site", "attempts": "100/s"}},
            {"name": "keeps", "basic": {"file": "users", "pass": True, "cache": "0s"}},
            {"name": "tries", "basic": {"file": "users", "attempts": "1/h", "attempts_burst": 3}},
            {"name": "ask", "external": {"cluster": "judge", "path": "/verify?x=1", "copy": ["Remote-User", "X-Groups"], "timeout": "700ms"}},
            {"name": "askdead", "external": {"cluster": "dead", "error_status": 500}},
            {"name": "asknone", "external": {"cluster": "stuck", "timeout": "300ms"}},
            {"name": "both", "basic": {"file": "users"}, "external": {"cluster": "judge"}, "limit": {"client_rate": "1000/s"}},
            {"name": "pages", "error_pages": [{"status": 503, "file": "busy.json"}, {"status": 404, "file": "gone.html"}]},
            {"name": "shut", "maintenance": {"on": True, "allow": ["203.0.113.0/24"], "retry_after": 77}},
        ],
    ).start()
    yield d
    d.stop()


def ask(door, host, listener="web", **kw):
    return fetch(door.ports[listener], host=host + ".test", **kw)


# ---- addresses ----


@pytest.mark.parametrize("ip,status", [("203.0.113.9", 200), ("203.0.113.66", 403), ("198.51.100.1", 403), ("2001:db8::1", 200), ("2001:db9::1", 403)])
def test_allow_and_deny(door, origin, ip, status):
    r = ask(door, "vip", "proxied", **from_ip(ip))
    assert r.status == status and len(origin.requests) == (status == 200)
    if status == 403:
        assert r.body == b"<h1>own 403</h1>" and r.get("content-type") == "text/html; charset=utf-8"
        last_reason(door, "denied")


def test_nobody_names_himself(door, origin):
    """From a peer that is not trusted X-Forwarded-For says nothing."""
    assert ask(door, "vip", **from_ip("203.0.113.9")).status == 403
    assert not origin.requests


def test_denied_requests_are_no_arrivals(door, origin):
    before = door.cluster("noone")
    r = ask(door, "noone")
    after = door.cluster("noone")
    assert r.status == 403 and r.get("retry-after") is None
    assert after["guard"]["denied"] == before["guard"]["denied"] + 1
    assert after["requests"] == before["requests"] == 0


@pytest.mark.parametrize("ip,status", [("203.0.113.1", 403), ("2001:db8:bad:1::7", 403), ("198.51.100.1", 200)])
def test_guard_of_a_listener(door, origin, ip, status):
    assert ask(door, "open", "walled", **from_ip(ip)).status == status
    assert len(origin.requests) == (status == 200)


def test_guard_of_a_listener_comes_before_routes(door):
    assert ask(door, "nowhere", "walled", **from_ip("203.0.113.1")).status == 403
    r = ask(door, "nowhere", "walled", **from_ip("198.51.100.1"))
    assert r.status == 404 and r.body == b"<h1>own 403</h1>"


# ---- limits ----


def test_rate_of_a_client(door, origin):
    """The burst, then one every two seconds; another address has a bucket of its own; exactly, over two workers."""
    begin = time.monotonic()
    got = [ask(door, "rate", "proxied", **from_ip("198.51.100.7")) for _ in range(12)]
    passed = sum(r.status == 200 for r in got)
    assert 5 <= passed <= 5 + (time.monotonic() - begin) / 2 and len(origin.requests) == passed
    refused = [r for r in got if r.status == 429]
    assert len(refused) == 12 - passed and all(r.get("retry-after") in ("1", "2") for r in refused)
    assert ask(door, "rate", "proxied", **from_ip("198.51.100.8")).status == 200
    assert guard_cells(door, "rate")["limited"] == len(refused)
    last_reason(door, "client_rate")


def test_an_ipv6_client_is_its_64(door):
    got = [ask(door, "rate", "proxied", **from_ip("2001:db8:1:2::%x" % i)).status for i in range(1, 8)]
    assert got[:5] == [200] * 5 and 429 in got[5:]
    assert ask(door, "rate", "proxied", **from_ip("2001:db8:1:3::1")).status == 200


def test_rate_comes_back(door):
    while ask(door, "rate", "proxied", **from_ip("198.51.100.9")).status == 200:
        pass
    begin = time.monotonic()
    poll(lambda: ask(door, "rate", "proxied", **from_ip("198.51.100.9")).status == 200, 5, "a token")
    assert time.monotonic() - begin > 0.5


def test_loopback_is_exempt_unless_told(door):
    assert [ask(door, "rate").status for _ in range(8)] == [200] * 8
    assert 429 in [ask(door, "rate", "counted").status for _ in range(8)]


def test_trusted_proxies_are_exempt(door):
    """The client here is the proxy itself."""
    assert [ask(door, "rate", "walled").status for _ in range(8)] == [200] * 8


def test_rate_of_all_over_all_workers(door, origin):
    """From many connections at once, each with an address of its own: the bucket is one."""
    got, lock = [], threading.Lock()

    def one(i):
        r = ask(door, "total", "proxied", **from_ip("198.51.100.%d" % i))
        with lock:
            got.append(r.status)

    begin = time.monotonic()
    threads = [threading.Thread(target=one, args=(i,)) for i in range(1, 25)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(got) == 24 and set(got) == {200, 429}
    assert 4 <= got.count(200) <= 5 + (time.monotonic() - begin) / 2 and got.count(200) == len(origin.requests)


def hang(conn, request):
    conn.drain()
    return False


@pytest.mark.parametrize("host,listener,limit,reason", [("crowd", "counted", 3, "client_in_flight"), ("few", "web", 2, "guard_in_flight")])
def test_in_flight(door, origin, host, listener, limit, reason):
    origin.script(hang)
    clients = [Client(door.ports[listener]) for _ in range(limit)]
    for c in clients:
        c.send(build(host=host + ".test"))
    origin.wait(limit)
    r = ask(door, host, listener)
    assert r.status == 429 and r.get("retry-after") == "1"
    last_reason(door, reason)
    clients.pop().reset()  # a client that goes away gives its place back
    origin.script(lambda conn, request: conn.send(OK))
    poll(lambda: ask(door, host, listener).status == 200, 5, "a place")
    for c in clients:
        c.reset()


def test_in_flight_comes_back_after_every_end(door, origin):
    for _ in range(10):
        assert ask(door, "few").status == 200


def test_dry_run_only_counts(door, origin):
    before = guard_cells(door, "dry")["dry_run"]
    assert [ask(door, "dry", "counted").status for _ in range(5)] == [200] * 5
    after = guard_cells(door, "dry")
    assert after["dry_run"] >= before + 4 and after["limited"] == 0
    assert "dry run: 127.0.0.1 would get 429" in door.log()


# ---- passwords ----


@pytest.mark.parametrize("user,password", [("alice", "wonder:land"), ("bob", "builder")])
def test_right_password(door, origin, user, password):
    for _ in range(2):  # the second one from memory
        r = ask(door, "login", headers=basic(user, password))
        assert r.status == 200
    assert all(q.get("authorization") is None for q in origin.requests) and len(origin.requests) == 2
    poll(lambda: any(" - %s [" % user in l for l in lines(door)), 5, "the user in the access log")


def wrong(name):
    plain = {"user": basic("eve", "x"), "password": basic("bob", "builder2"), "prefix": basic("bob", "build"), "empty": basic("bob", ""),
             "none": [], "bearer": [("Authorization", "Bearer abc")], "base64": [("Authorization", "Basic !!!!")],
             "nocolon": [("Authorization", "Basic " + base64.b64encode(b"bob").decode())],
             "two": basic("bob", "builder") + basic("bob", "builder"), "long": basic("bob", "b" * 600),
             "nul": [("Authorization", "Basic " + base64.b64encode(b"bob:builder\0x").decode())]}
    return plain[name]


@pytest.mark.parametrize("name", ["user", "password", "prefix", "empty", "none", "bearer", "base64", "nocolon", "two", "long", "nul"])
def test_wrong_password(door, origin, name):
    r = ask(door, "login", headers=wrong(name))
    assert r.status == 401 and r.get("www-authenticate") == 'Basic realm="The Site", charset="UTF-8"'
    assert not origin.requests
    last_reason(door, "auth_wrong" if name in ("user", "password", "prefix", "empty") else "auth_required")


def test_no_password_is_in_any_log(door):
    ask(door, "login", headers=basic("bob", "builder"))
    ask(door, "login", headers=basic("bob", "sesame-open"))
    last_reason(door, "auth_wrong")
    everything = door.log() + "\n".join(lines(door))
    assert "sesame" not in everything and "builder" not in everything and "$6$" not in everything


def test_password_passed_on_by_key(door, origin):
    assert ask(door, "keeps", headers=basic("bob", "builder")).status == 200
    assert origin.one().get("authorization") == basic("bob", "builder")[0][1]


def test_password_on_a_whole_listener(door, origin):
    assert ask(door, "open", "locked").status == 401
    assert ask(door, "nowhere", "locked").status == 401  # who may not see it does not learn what is there
    assert ask(door, "nowhere", "locked", headers=basic("bob", "builder")).status == 404
    assert ask(door, "open", "locked", headers=basic("bob", "builder")).status == 200


def test_password_tries_are_few(door):
    got = [ask(door, "tries", "counted", headers=basic("bob", "try%d" % i)) for i in range(5)]
    assert [r.status for r in got] == [401] * 3 + [429] * 2
    assert int(got[-1].get("retry-after")) > 1000


def test_body_waits_for_the_password(door, origin):
    """Bytes of a body that came meanwhile are not lost, and not taken without end."""
    body = os.urandom(300000)
    with Client(door.port) as c:
        c.send(build("POST", host="keeps.test", headers=basic("bob", "builder"), body=body))
        assert c.response().status == 200
    assert origin.one().body == body


def test_many_logins_at_once(door, origin):
    got, lock = [], threading.Lock()

    def one(i):
        r = ask(door, "keeps", headers=basic("bob", "builder" if i % 2 else "wrong%d" % i))
        with lock:
            got.append((i % 2, r.status))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(got) == [(0, 401)] * 15 + [(1, 200)] * 15


def test_client_leaves_while_its_password_is_checked(door, origin):
    for _ in range(10):
        with Client(door.port) as c:
            c.send(build(host="login.test", headers=basic("alice", "wonder:%d" % time.monotonic_ns())))
            c.reset()
    assert ask(door, "login", headers=basic("bob", "builder")).status == 200


def test_new_password_file_after_reload(make_door, origin, tmp_path):
    users = tmp_path / "users"
    users.write_text("bob:%s\n" % hashed("one"))
    d = make_door(clusters=[cluster("web", origin.address, guard="g")], routes=[route("*", "web")],
                  guards=[{"name": "g", "basic": {"file": str(users)}}])
    assert fetch(d.port, headers=basic("bob", "one")).status == 200
    users.write_text("bob:%s\n" % hashed("two"))
    assert d.reload().returncode == 0
    poll(lambda: fetch(d.port, headers=basic("bob", "two")).status == 200, 5, "the new password")
    assert fetch(d.port, headers=basic("bob", "one")).status == 401
    users.write_text("bob:plain\n")
    assert d.reload().returncode != 0 and "line 1: the hash is none of" in d.log()
    assert fetch(d.port, headers=basic("bob", "two")).status == 200


# ---- external authentication ----


def test_external_yes(door, origin, judge):
    judge.script(lambda conn, r: conn.send(reply(b"fine", "204 No Content" if r.get("x-short") else "200 OK", [("Remote-User", "alice"), ("X-Groups", "a, b"), ("X-Other", "no")])))
    r = ask(door, "ask", method="POST", target="/a%20b/c?q=1", body=b"secret body",
            headers=[("Cookie", "s=1"), ("Remote-User", "root"), ("Remote_User", "root"), ("X-Groups", "admin"), ("Content-Type", "text/x"),
                     ("X-Forwarded-Method", "HEAD"), ("X-Forwarded-Uri", "/public"), ("X_Forwarded_Uri", "/public"), ("X_Forwarded-Method", "HEAD"), ("If-None-Match", '"x"')])
    assert r.status == 200
    q = judge.one()
    assert (q.method, q.target, q.body, q.framing) == ("GET", "/verify?x=1", b"", "none")
    assert q.all("x-forwarded-method") == ["POST"] and q.all("x-forwarded-uri") == ["/a%20b/c?q=1"]
    assert not q.all("x_forwarded_uri") and not q.all("x_forwarded-method")
    assert q.all("x-forwarded-host") == ["ask.test"] and q.all("x-forwarded-proto") == ["http"] and q.all("x-forwarded-for") == ["127.0.0.1"]
    assert q.get("cookie") == "s=1" and q.get("content-type") is None and q.get("if-none-match") is None
    got = origin.one()
    assert got.all("remote-user") == ["alice"] and got.all("x-groups") == ["a, b"] and got.get("x-other") is None
    assert not got.all("remote_user") and got.body == b"secret body" and got.all("if-none-match") == ['"x"']
    poll(lambda: any(" - alice [" in l for l in lines(door)), 5, "the user in the access log")
    assert not any("/verify" in l for l in lines(door))


def test_external_yes_reuses_its_connection(door, origin, judge):
    for _ in range(5):
        assert ask(door, "ask").status == 200
    assert len(judge.requests) == 5 and len({id(q.conn) for q in judge.requests}) <= 2  # one a worker


@pytest.mark.parametrize("status,field", [("401 Unauthorized", ("WWW-Authenticate", "Bearer")), ("403 Forbidden", ("Set-Cookie", "a=1")),
                                          ("302 Found", ("Location", "https://login.test/?rd=1")), ("307 Temporary Redirect", ("Location", "/x"))])
def test_external_no(door, origin, judge, status, field):
    judge.script(lambda conn, r: conn.send(reply(b"go away", status, [field, ("Set-Cookie", "b=2"), ("X-Internal", "secret")])))
    r = ask(door, "ask", method="POST", body=b"x")
    assert r.status == int(status[:3]) and field[1] in r.all(field[0].lower()) and "b=2" in r.all("set-cookie")
    assert r.get("x-internal") is None and b"go away" not in r.body and not origin.requests
    last_reason(door, "auth_refused")


@pytest.mark.parametrize("answer", ["500 Internal Server Error", "404 Not Found", "100 Continue\r\n\r\nHTTP/1.1 400 Bad Request", "304 Not Modified"])
def test_external_neither(door, origin, judge, answer):
    judge.script(lambda conn, r: conn.send(reply(b"", answer)))
    assert ask(door, "ask").status == 503
    assert not origin.requests
    last_reason(door, "auth_failed")


def test_external_that_cannot_be_reached(door, origin):
    assert ask(door, "askdead").status == 500 and not origin.requests


def test_external_that_says_nothing(door, origin, judge):
    judge.script(hang)
    begin = time.monotonic()
    assert ask(door, "asknone").status == 503 and not origin.requests
    assert 0.2 < time.monotonic() - begin < 3 * SLOW
    poll(lambda: not judge.living, 5, "the question is given up")


def test_external_whose_body_does_not_end(door, origin, judge):
    """The head decides; nobody waits for what does not come."""
    judge.script(lambda conn, r: conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc") and conn.drain() and False)
    assert ask(door, "ask").status == 200
    poll(lambda: not judge.living, 5, "closed")


def test_client_leaves_while_another_is_asked(door, origin, judge):
    judge.script(hang)
    with Client(door.port) as c:
        c.send(build(host="ask.test"))
        judge.wait()
        c.reset()
    poll(lambda: not judge.living, 5, "the question is given up")
    assert not origin.requests


def test_password_and_external(door, origin, judge):
    assert ask(door, "both").status == 401 and not judge.requests
    assert ask(door, "both", headers=basic("bob", "builder")).status == 200
    assert judge.one().get("authorization") is None  # it was ours


# ---- pages and maintenance ----


def test_maintenance(door, origin):
    r = ask(door, "shut")
    assert r.status == 503 and r.get("retry-after") == "77"
    last_reason(door, "maintenance")
    assert ask(door, "shut", "proxied", **from_ip("203.0.113.5")).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_large_own_page_and_the_connection_lives(make_door, tmp_path, method):
    page = tmp_path / "page.html"
    page.write_text("<p>" + "y" * 200000)
    d = make_door(clusters=[cluster("web", "127.0.0.1:1", retries=0, retry_after=9, guard="g")], routes=[route("*", "web")],
                  guards=[{"name": "g", "error_pages": [{"status": 502, "file": str(page)}]}])
    with Client(d.port) as c:
        for _ in range(3):
            c.send(build(method, body=b"abc" if method == "POST" else None))
            r = c.response(method)
            assert r.status == 502 and r.get("content-type") == "text/html; charset=utf-8"
            assert r.get("content-length") == "200003" and r.body == (b"" if method == "HEAD" else page.read_bytes())


def test_answers_of_servers_stay_theirs(door, origin):
    origin.script(lambda conn, r: conn.send(reply(b"theirs", "503 Service Unavailable")))
    assert ask(door, "pages").body == b"theirs"


def test_maintenance_by_reload(make_door, origin):
    d = make_door(clusters=[cluster("web", origin.address, guard="g")], routes=[route("*", "web")], guards=[{"name": "g", "maintenance": {"on": False}}])
    assert fetch(d.port).status == 200
    d.config["guards"][0]["maintenance"]["on"] = True
    assert d.reload().returncode == 0
    poll(lambda: fetch(d.port).status == 503, 5, "closed")
    d.config["guards"][0]["maintenance"]["on"] = False
    assert d.reload().returncode == 0
    poll(lambda: fetch(d.port).status == 200, 5, "open")


# ---- routes ----


@pytest.fixture(scope="module")
def routed(tmp_path_factory, origin, judge):
    folder = tmp_path_factory.mktemp("routed")
    (folder / "users").write_text("bob:%s\n" % hashed("builder"))
    (folder / "page.html").write_text("closed")
    d = Door(
        folder, listeners={"web": {}, "proxied": dict(PROXIES, limit_loopback=True)},
        clusters=[cluster("web", origin.address), cluster("inner", origin.address, guard="inner"), cluster("judge", judge.address)],
        routes=[
            dict(route("*", "web", "/admin"), guard="admins"), dict(route("*", "web", "/a"), guard="slow"),
            dict(route("*", "web", "/b"), guard="slow"), dict(route("*", "web", "/c"), guard="slower"),
            dict(route("*", "inner", "/both"), guard="login"), dict(route("*", "web", "/closed"), guard="work"),
            {"host": "*", "path": "/moved", "redirect": {"location": "/there"}, "guard": "admins"},
            dict(route("*", "web", "/ask"), guard="ask", rewrite_prefix="/new",
                 request_headers={"set": ["X-Who: $client_ip"]}),
            route("*", "web"),
        ],
        guards=[
            {"name": "admins", "allow": ["203.0.113.0/24"]}, {"name": "slow", "limit": {"client_rate": "1/h", "client_burst": 3}},
            {"name": "slower", "limit": {"client_rate": "1/h", "client_burst": 2}}, {"name": "login", "basic": {"file": "users"}},
            {"name": "inner", "deny": ["203.0.113.66"]},
            {"name": "work", "maintenance": {"on": True}, "error_pages": [{"status": 503, "file": "page.html"}]},
            {"name": "ask", "external": {"cluster": "judge"}},
        ],
    ).start()
    yield d
    d.stop()


@pytest.mark.parametrize("ip,target,status", [("203.0.113.1", "/admin/x", 200), ("198.51.100.1", "/admin/x", 403), ("198.51.100.1", "/adm", 200),
                                              ("203.0.113.1", "/moved", 308), ("198.51.100.1", "/moved", 403)])
def test_addresses_of_a_route(routed, ip, target, status):
    assert fetch(routed.ports["proxied"], target=target, **from_ip(ip)).status == status


def test_routes_that_share_a_guard_share_its_limits(routed):
    def get(target):
        return fetch(routed.ports["proxied"], target=target, **from_ip("198.51.100.20")).status

    assert [get("/a"), get("/b"), get("/a"), get("/b"), get("/a")] == [200] * 3 + [429] * 2
    assert [get("/c"), get("/c"), get("/c"), get("/")] == [200, 200, 429, 200]


def test_guards_of_route_and_cluster(routed, origin):
    def get(ip, headers=()):
        return fetch(routed.ports["proxied"], target="/both", **from_ip(ip, headers=list(headers))).status

    assert get("203.0.113.1") == 401 and get("203.0.113.66") == 403 and get("203.0.113.66", basic("bob", "builder")) == 403
    assert get("203.0.113.1", basic("bob", "builder")) == 200 and len(origin.requests) == 1


def test_maintenance_of_a_route(routed):
    r = fetch(routed.port, target="/closed/x")
    assert r.status == 503 and r.body == b"closed" and r.get("retry-after") == "300"
    assert fetch(routed.port, target="/c2").status == 200


def test_external_server_is_asked_before_rewriting(routed, origin, judge):
    body = os.urandom(100000)
    assert fetch(routed.port, "POST", target="/ask/x?y", body=body).status == 200
    assert judge.one().get("x-forwarded-uri") == "/ask/x?y"
    assert origin.one().target == "/new/x?y" and origin.one().get("x-who") == "127.0.0.1" and origin.one().body == body


@pytest.mark.parametrize("version", [1, 2])
def test_what_the_external_server_says_is_not_said_again_in_trailers(door, origin, judge, version):
    """Nor is what the proxy adds to the head by itself."""
    judge.script(lambda conn, r: conn.send(reply(headers=[("Remote-User", "alice")])))
    forged = [("Remote-User", "root"), ("remote_user", "root"), ("x_groups", "admin"), ("X-Request-Id", "1"), ("Traceparent", "00"),
              ("X-Checksum", "7")]
    if version == 1:
        with Client(door.ports["web"]) as c:
            c.send(build("POST", host="ask.test", headers=[("Transfer-Encoding", "chunked"), ("TE", "trailers")])
                   + b"3\r\nabc\r\n0\r\n" + b"".join(b"%s: %s\r\n" % (n.encode(), v.encode()) for n, v in forged) + b"\r\n")
            assert c.response().status == 200
    else:
        with H2(door.ports["web"]) as c:
            s = c.headers(request("POST", host="ask.test"), end=False)
            c.data(s, b"abc")
            c.headers([(n.lower(), v) for n, v in forged], stream=s)
            assert c.response(s).status == 200
    got = origin.one()
    assert got.all("remote-user") == ["alice"] and got.body == b"abc"
    assert [(n.lower(), v) for n, v in got.trailers] == [("x-checksum", "7")]


# ---- other fronts and backs ----


def test_fastcgi_gets_what_it_may(make_door, fcgi, judge, tmp_path):
    """A script sees the fields that the external server set, and neither the password nor what a client made up."""
    (tmp_path / "users").write_text("bob:%s\n" % hashed("builder"))
    judge.script(lambda conn, r: conn.send(reply(headers=[("Remote-User", "alice")])))
    d = make_door(
        clusters=[cluster("php", fcgi.address, protocol="fastcgi", fastcgi={"document_root": "/srv"}, guard="g"), cluster("judge", judge.address)],
        routes=[route("*", "php")],
        guards=[{"name": "g", "basic": {"file": str(tmp_path / "users")}, "external": {"cluster": "judge"}}])
    r = fetch(d.port, "POST", body=b"x" * 1000, headers=basic("bob", "builder") + [("Remote_User", "root"), ("X_Auth_User", "root")])
    assert r.status == 200
    (q,) = fcgi.requests
    assert q["HTTP_REMOTE_USER"] == "alice" and "HTTP_AUTHORIZATION" not in q and "HTTP_X_AUTH_USER" not in q
    assert q.body == b"x" * 1000 and judge.one().get("authorization") is None


# ---- configuration ----

BAD = [
    ({"guards": [{"name": "g"}, {"name": "g"}]}, 'second guard with name "g"'),
    ({"listeners": {"guard": "no"}}, 'guard "no" does not exist'),
    ({"clusters": {"guard": "no"}}, 'guard "no" does not exist'),
    ({"routes": {"guard": "no"}}, 'guard "no" does not exist'),
    ({"guards": [{"name": "a b"}]}, "is no name"),
    ({"guards": [{"name": "g", "allow": ["10.0.0.1/8"]}]}, "10.0.0.1/8"),
    ({"guards": [{"name": "g", "limit": {"client_rate": "10"}}]}, '"10" is no rate'),
    ({"guards": [{"name": "g", "limit": {"rate": "0/s"}}]}, '"0/s" is no rate'),
    ({"guards": [{"name": "g", "limit": {"client_in_flight": 65535}}]}, "client_in_flight"),
    ({"guards": [{"name": "g", "basic": {"file": "none"}}]}, "No such file"),
    ({"guards": [{"name": "g", "basic": {"file": "plain"}}]}, "line 2: the hash is none of"),
    ({"guards": [{"name": "g", "basic": {"file": "costly"}}]}, "line 1: the cost of its bcrypt hash is above 14"),
    ({"guards": [{"name": "g", "basic": {"file": "twice"}}]}, 'has user "a" twice'),
    ({"guards": [{"name": "g", "basic": {"file": "empty"}}]}, "has no user"),
    ({"guards": [{"name": "g", "basic": {"file": "."}}]}, "is not a file"),
    ({"guards": [{"name": "g", "basic": {"file": "good", "realm": 'a"b'}}]}, "the realm may hold"),
    ({"guards": [{"name": "g", "external": {"cluster": "nowhere"}}]}, 'asks cluster "nowhere", which nothing makes'),
    ({"guards": [{"name": "g", "external": {"cluster": "web", "path": "x"}}]}, "expected a path"),
    ({"guards": [{"name": "g", "external": {"cluster": "web", "copy": ["Host"]}}]}, '"Host" is no field'),
    ({"guards": [{"name": "g", "external": {"cluster": "web", "answer": ["content-length"]}}]}, '"content-length" is no field'),
    ({"guards": [{"name": "g", "error_pages": [{"status": 200, "file": "good"}]}]}, "status"),
    ({"guards": [{"name": "g", "error_pages": [{"status": 503, "file": "none"}]}]}, "No such file"),
    ({"guards": [{"name": "g", "error_pages": [{"status": 503, "file": "large"}]}]}, "is larger than 262144 bytes"),
    ({"guards": [{"name": "g", "error_pages": [{"status": 503, "file": "good"}, {"status": 503, "file": "good"}]}]}, "second page for status 503"),
]


@pytest.mark.parametrize("change,expected", BAD, ids=[e[:24] for _, e in BAD])
def test_bad_config(make_door, tmp_path, change, expected):
    d = make_door(start=False, clusters=[cluster("web", "127.0.0.1:1", **change.get("clusters", {}))],
                  routes=[dict(route("*", "web"), **change.get("routes", {}))], guards=change.get("guards", []),
                  listeners={"web": change.get("listeners", {})})
    good = "a:%s\n" % hashed("x")
    for name, text in {"plain": good + "b:secret\n", "costly": "a:$2y$15$%s\n" % ("a" * 53), "twice": good * 2, "empty": "# none\n",
                       "good": good, "large": "x" * 262145}.items():
        with open(os.path.join(d.folder, name), "w") as f:
            f.write(text)
    d.write()
    done = subprocess.run([COXSWAIN, "-t", "-c", d.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * SLOW)
    said = done.stdout.decode()
    assert done.returncode == 2 and expected in said and re.search(r"coxswain\.cfg:\d+: ", said) and "secret" not in said, said


def test_reload_that_brings_a_guard_fails_no_request(make_door, origin):
    """The old generation never serves from a topology whose guards it does not know."""
    d = make_door(clusters=[cluster("web", origin.address), cluster("judge", origin.address)], routes=[route("*", "web")])
    with Load(d.port, threads=6) as load:
        for i in range(4):
            d.config["guards"] = [{"name": "g%d" % i, "limit": {"client_rate": "1000000/s"}, "deny": ["203.0.113.0/24"]}]
            d.config["clusters" if i % 2 else "routes"][0]["guard"] = "g%d" % i
            d.config["routes" if i % 2 else "clusters"][0].pop("guard", None)
            assert d.reload().returncode == 0
            load.wait(50)
    load.clean()


# ---- HTTP/2 ----


def test_streams_of_http2_are_guarded_one_by_one(door, origin, judge):
    """On one connection: a stream waits for its password or its question while others go on, and bodies arrive whole."""
    judge.script(lambda conn, r: conn.send(reply(headers=[("Remote-User", "alice")])))
    body = os.urandom(200000)
    with H2(door.port) as c:
        login = c.stream()
        c.headers(request(host="keeps.test", headers=[(n.lower(), v) for n, v in basic("bob", "builder")]), stream=login)
        upload = c.stream()
        c.headers(request("POST", host="ask.test"), end=False, stream=upload)
        wrong, plain = c.stream(), c.stream()
        c.headers(request(host="login.test"), stream=wrong)
        c.headers(request(host="web.test"), stream=plain)
        c.upload(upload, body)
        got = [c.response(s) for s in (login, upload, wrong, plain)]
        assert [r.status for r in got] == [200, 200, 401, 200]
        assert got[2].get("www-authenticate") == 'Basic realm="The Site", charset="UTF-8"'
        gone = c.stream()  # a stream that is given up while its password is checked
        c.headers(request(host="login.test", headers=[(n.lower(), v) for n, v in basic("alice", "no")]), stream=gone)
        c.reset(gone)
        last = c.stream()
        c.headers(request(host="vip.test"), stream=last)
        assert c.response(last).status == 403
    asked = [q for q in origin.requests if q.get("host") == "ask.test"]
    assert len(origin.requests) == 3 and asked[0].body == body and asked[0].get("remote-user") == "alice"
