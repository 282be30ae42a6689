"""Who gets a request: stickiness, hashing, limits and waiting for them, ejection, slow start."""

import collections
import os
import re
import signal
import threading
import time

import pytest

from harness.door import Door, cluster, route
from harness.load import Load
from harness.net import SLOW, Client, build, fetch, free_port, poll
from harness.origin import OK, Origin, reply

SECRET = "a secret that tests share"
COOKIE = re.compile(r"^COXSID=([0-9a-f]{32}); Path=/; HttpOnly; SameSite=Lax; Max-Age=3600$")


@pytest.fixture(scope="module")
def origins():
    made = [Origin() for _ in range(3)]
    yield made
    for o in made:
        o.stop()


def name_themselves(origins):
    for i, o in enumerate(origins):
        o.script(lambda conn, r, i=i: conn.send(reply(b"%d" % i)))


def config(origins, **more):
    def all_of(name, **options):
        return cluster(name, *[o.address for o in origins], **options)

    out = {
        "sticky_secret": SECRET,
        "clusters": [
            all_of("sticky", sticky={"cookie": "COXSID", "max_age": 3600}),
            all_of("header", balance="consistent_hash", hash_on="header:X-User"),
            all_of("cookie", balance="consistent_hash", hash_on="cookie:user"),
            all_of("uri", balance="consistent_hash", hash_on="uri"), all_of("source", balance="consistent_hash"),
            all_of("least", balance="least_in_flight"), all_of("random", balance="random"),
            all_of("ewma", balance="peak_ewma"),
            cluster("hold", origins[0].address, origins[1].address, max_in_flight=2, hold_max=100),
            cluster("full", origins[0].address, max_in_flight=1, hold_max=0),
            cluster("short", origins[0].address, max_in_flight=1, hold_max=1, hold_timeout="300ms"),
            cluster("long", origins[0].address, max_in_flight=1, hold_max=1),
            cluster("eject", *[o.address for o in origins], balance="round_robin", retries=0, eject_failures=3,
                    eject_time="700ms"),
        ],
    }
    out["routes"] = [route(c["name"] + ".test", c["name"]) for c in out["clusters"]]
    out.update(more)
    return out


@pytest.fixture(scope="module")
def door(tmp_path_factory, origins):
    d = Door(tmp_path_factory.mktemp("balance"), workers=2, **config(origins)).start()
    yield d
    d.stop()


# ---- sticky ----


def ask(port, cookie=None, host="sticky.test"):
    """(endpoint, token of the Set-Cookie or None)"""
    r = fetch(port, host=host, headers=[("Cookie", "a=b; COXSID=%s; c=d" % cookie)] if cookie else [])
    assert r.status == 200
    found = r.get("set-cookie")
    return r.body, found and COOKIE.match(found).group(1)


def test_a_cookie_leads_back(door, origins):
    name_themselves(origins)
    seen = set()
    for _ in range(12):
        first, token = ask(door.port)
        assert token
        seen.add(first)
        for _ in range(10):
            assert ask(door.port, token) == (first, None)
    assert len(seen) > 1


@pytest.mark.parametrize("bad", ["x", "0" * 32, "f" * 31, "f" * 33, "g" * 32, "A" * 32, '"', "%00" * 10])
def test_what_is_no_token_is_as_good_as_none(door, origins, bad):
    name_themselves(origins)
    first, token = ask(door.port, bad)
    assert token and ask(door.port, token) == (first, None)


def test_a_token_holds_over_reload_and_restart(make_door, origins):
    name_themselves(origins)
    d = make_door(**config(origins))
    tokens = {}
    while len(tokens) < 3:
        where, token = ask(d.port)
        tokens[where] = token
    assert d.reload().returncode == 0
    assert all(ask(d.port, token) == (where, None) for where, token in tokens.items())
    d.stop()
    d.start()
    assert all(ask(d.port, token) == (where, None) for where, token in tokens.items())


def test_a_member_that_is_gone(make_door, origins):
    name_themselves(origins)
    d = make_door(**config(origins))
    tokens = {}
    while len(tokens) < 3:
        where, token = ask(d.port)
        tokens[where] = token
    d.config.update(config(origins[:2]))
    assert d.reload().returncode == 0
    where, token = ask(d.port, tokens[b"2"])
    assert where in (b"0", b"1") and token == tokens[where]
    assert ask(d.port, tokens[b"0"]) == (b"0", None)


def test_a_dead_member_is_left_for_another(make_door, make_origin):
    alive, dying = make_origin(), make_origin()
    name_themselves([alive, dying])
    d = make_door(sticky_secret=SECRET, routes=[route("sticky.test", "c")],
                  clusters=[cluster("c", alive.address, dying.address, sticky={"cookie": "COXSID", "max_age": 3600})])
    where, token = ask(d.port)
    while where != b"1":
        where, token = ask(d.port)
    dying.stop()
    where, token = ask(d.port, token)
    assert where == b"0" and ask(d.port, token) == (b"0", None)


def test_the_secret_may_lie_in_a_file(make_door, origins, tmp_path):
    name_themselves(origins)
    (tmp_path / "secret").write_text(SECRET + "\n")
    given = config(origins)
    del given["sticky_secret"]
    d = make_door(sticky_secret_file=str(tmp_path / "secret"), **given)
    e = make_door(**config(origins))
    where, token = ask(d.port)
    assert ask(e.port, token) == (where, None)


# ---- hashing and the other policies ----


def test_a_key_stays_and_keys_spread(door, origins):
    name_themselves(origins)
    for host, with_key in (("header.test", lambda k: {"headers": [("X-User", k)]}),
                           ("cookie.test", lambda k: {"headers": [("Cookie", "x=1; user=" + k)]}),
                           ("uri.test", lambda k: {"target": "/" + k})):
        where = {}
        for k in ("user%d" % i for i in range(40)):
            got = {fetch(door.port, host=host, **with_key(k)).body for _ in range(3)}
            assert len(got) == 1, (host, k)
            where[k] = got.pop()
        assert len(set(where.values())) == 3, host


def test_one_source_is_one_key(door, origins):
    name_themselves(origins)
    assert len({fetch(door.port, host="source.test").body for _ in range(20)}) == 1


@pytest.mark.parametrize("policy", ["least", "random", "ewma"])
def test_everybody_gets_some(door, origins, policy):
    name_themselves(origins)
    got = collections.Counter(fetch(door.port, host=policy + ".test").body for _ in range(60))
    assert len(got) == 3 or policy == "ewma" and len(got) > 1, got


# ---- max_in_flight ----


class Gauge:
    """A script that counts how many requests an origin has at a time."""

    def __init__(self, seconds):
        self.seconds, self.lock, self.now, self.most, self.order = seconds, threading.Lock(), 0, 0, []

    def __call__(self, conn, request):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.order.append(request.target)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        conn.send(OK)


def test_the_limit_holds_over_workers_and_nobody_is_lost(door, origins):
    gauges = [Gauge(0.004), Gauge(0.004)]
    for o, g in zip(origins, gauges):
        o.script(g)
    with Load(door.port, 24, host="hold.test") as load:
        load.wait(600, 20)
    assert not load.failures, load.failures[:3]
    assert [g.most for g in gauges] == [2, 2]


def test_those_who_wait_go_in_order(door, origins):
    gauge = Gauge(0.1)
    origins[0].script(gauge)
    origins[1].script(gauge)
    clients = []
    before = door.cluster("hold")["requests"]
    for i in range(14):
        clients.append(Client(door.port))
        clients[-1].send(build(target="/%d" % i, host="hold.test"))
        poll(lambda i=i: door.cluster("hold")["requests"] == before + i + 1, 2, "request %d arrived" % i)
    for c in clients:
        assert c.response().status == 200
        c.close()
    numbers = [int(t[1:]) for t in gauge.order]
    assert sorted(numbers) == list(range(14))
    assert all(abs(n - i) <= 4 for i, n in enumerate(numbers)), numbers  # four run side by side


def test_without_a_room_it_is_503_at_once(door, origins):
    gate = threading.Event()
    origins[0].script(lambda conn, r: gate.wait(5) and conn.send(OK))
    with Client(door.port) as first:
        first.send(build(host="full.test"))
        origins[0].wait(1)
        r = fetch(door.port, host="full.test")
        assert r.status == 503 and r.get("retry-after")
        gate.set()
        assert first.response().status == 200
    assert fetch(door.port, host="full.test").status == 200


def test_who_waits_too_long(door, origins):
    gate = threading.Event()
    origins[0].script(lambda conn, r: gate.wait(10) and conn.send(OK))
    with Client(door.port) as first:
        first.send(build(host="short.test"))
        origins[0].wait(1)
        begin = time.monotonic()
        assert fetch(door.port, host="short.test").status == 503
        assert time.monotonic() - begin > 0.29
        gate.set()
        assert first.response().status == 200


def test_who_leaves_is_held_no_more(door, origins):
    gate = threading.Event()
    origins[0].script(lambda conn, r: gate.wait(10) and conn.send(OK))
    with Client(door.port) as first:
        first.send(build(host="long.test"))
        origins[0].wait(1)
        leaver = Client(door.port)
        leaver.send(build(host="long.test"))
        poll(lambda: door.cluster("long")["held"] == 1, 5, "held")
        leaver.close()
        poll(lambda: door.cluster("long")["held"] == 0, 5, "gone")
        gate.set()
        assert first.response().status == 200


def limited(make_door, origin, **options):
    return make_door(clusters=[cluster("c", origin.address, max_in_flight=2, **options), cluster("free", origin.address)],
                     routes=[route("*", "c"), route("free.test", "free")], workers=2, drain_timeout="60s")


def occupy(d, origin, count):
    """So many requests are in flight until the gate opens."""
    gate = threading.Event()
    origin.script(lambda conn, r: (b"slow" not in r.target.encode() or gate.wait(30 * SLOW)) and conn.send(OK))
    clients = [Client(d.port, timeout=30) for _ in range(count)]
    for c in clients:
        c.send(build(target="/slow"))
    origin.wait(count)
    return gate, clients


def test_the_limit_holds_over_a_reload(make_door, make_origin):
    """What the old generation still serves takes places of the new one; they come free with its answers."""
    origin = make_origin()
    d = limited(make_door, origin, hold_max=0)
    gate, clients = occupy(d, origin, 2)
    assert d.reload().returncode == 0
    poll(lambda: d.status() and fetch(d.port, host="free.test").status == 200, 5)
    r = fetch(d.port)
    assert r.status == 503 and len(origin.requests) == 3  # of the new generation, and no server was asked
    gate.set()
    assert [c.response().status for c in clients] == [200, 200]
    poll(lambda: fetch(d.port).status == 200, 5, "places are free again")


def test_held_requests_go_on_when_the_old_generation_frees_places(make_door, make_origin):
    origin = make_origin()
    d = limited(make_door, origin, hold_max=10, hold_timeout="30s")
    gate, clients = occupy(d, origin, 2)
    assert d.reload().returncode == 0
    with Client(d.port, timeout=30) as waiting:
        waiting.send(build())
        poll(lambda: d.cluster("c")["held"] == 1, 5, "held")
        gate.set()
        assert waiting.response().status == 200
    assert [c.response().status for c in clients] == [200, 200]


def test_places_of_a_killed_generation_come_back(make_door, make_origin):
    origin = make_origin()
    d = limited(make_door, origin, hold_max=0)
    old = d.children("proxy")[0]
    gate, _ = occupy(d, origin, 2)
    assert d.reload().returncode == 0
    assert fetch(d.port).status == 503
    os.kill(old, signal.SIGKILL)
    d.accept_restart()
    poll(lambda: fetch(d.port).status == 200, 5, "the dead hold no places")
    gate.set()


def test_a_tunnel_takes_a_place(door, origins):
    def switch(conn, request):
        if request.get("upgrade"):
            conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            conn.drain()
            return False
        conn.send(OK)

    origins[0].script(switch)
    with Client(door.port) as c:
        c.send(build(host="full.test", headers=[("Connection", "upgrade"), ("Upgrade", "x")]))
        assert c.head().status == 101
        assert fetch(door.port, host="full.test").status == 503
    poll(lambda: fetch(door.port, host="full.test").status == 200, 2, "the place is free again")


# ---- ejection ----


def test_a_broken_server_is_left_out_and_comes_back(door, origins):
    name_themselves(origins)
    origins[1].script(lambda conn, r: False)
    got = collections.Counter(fetch(door.port, host="eject.test").status for _ in range(30))
    assert got[502] == 3 and got[200] == 27, got
    name_themselves(origins)
    poll(lambda: fetch(door.port, host="eject.test").body == b"1", 5, "it serves again")


def test_half_of_them_at_most(make_door, origins):
    d = make_door(workers=1, **config(origins))
    for o in origins:
        o.script(lambda conn, r: False)
    for _ in range(40):
        assert fetch(d.port, host="eject.test").status == 502
    assert "is ejected" in d.log()
    asked = [len(o.requests) for o in origins]
    assert sorted(asked)[0] == 3 and sum(asked) == 40  # one of three is left out, two are not


# ---- slow start ----


@pytest.mark.guard(60)
def test_a_new_endpoint_begins_slowly(make_door, origins):
    name_themselves(origins)
    whole = 3.0
    d = make_door(workers=1, clusters=[cluster("c", origins[0].address, slow_start="3s", balance="random")],
                  routes=[route("web.test", "c")])
    begun = time.monotonic()
    poll(lambda: time.monotonic() > begun + whole + 0.2, whole + 2, "the first one is warm")
    d.config["clusters"] = [cluster("c", origins[0].address, origins[1].address, slow_start="3s", balance="random")]
    before = time.monotonic()
    assert d.reload().returncode == 0

    def share(n=300):
        with Client(d.port) as c:
            got = collections.Counter()
            for _ in range(n):
                c.send(build())
                got[c.response().body] += 1
        return got[b"1"] / n

    early = share()
    elapsed = time.monotonic() - before
    # Of two endpoints the new one has f / (1 + f), f its part of the picks, from 0.1 on.
    f = min(1.0, 0.1 + 0.9 * elapsed / whole)
    assert early < f / (1 + f) + 0.1, (early, elapsed)
    poll(lambda: 0.38 < share() < 0.62, 20 * SLOW, "its whole share")


# ---- config ----


@pytest.mark.parametrize("options, why", [
    ({"sticky": {"cookie": "a b"}}, "in sticky"), ({"hash_on": "header:"}, "hash_on"), ({"hash_on": "moon"}, "hash_on"),
    ({"hash_balance": 0.5}, "hash_balance"), ({"sticky": {"cookie": "S"}}, "sticky_secret"),
    ({"max_in_flight": -1}, "max_in_flight"),
])
def test_wrong_settings_are_said(tmp_path, options, why):
    import subprocess

    from harness.door import COXSWAIN

    d = Door(str(tmp_path / "d"), clusters=[cluster("c", "127.0.0.1:1", **options)], routes=[route("*", "c")])
    d.write()
    done = subprocess.run([COXSWAIN, "-t", "-c", d.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    assert done.returncode == 2 and why in done.stdout.decode(), done.stdout.decode()


def test_ejection_by_rate_is_seen(make_door, origins):
    """One of three answers 500 half the time: never thrice in a row, but clearly more often than the others."""
    d = make_door(admin={"address": "127.0.0.1:%d" % free_port()}, clusters=[
        cluster("web", *[o.address for o in origins], balance="round_robin", retries=0, eject_rate=20, eject_interval="1s",
                eject_min_requests=10, eject_time="60s")], routes=[route("*", "web")])
    lock, turns = threading.Lock(), [0]

    def sick(conn, r):
        with lock:
            turns[0] += 1
            bad = turns[0] % 2
        return conn.send(reply(b"", "500 Internal Server Error") if bad else OK)

    origins[1].script(sick)

    def ejected():
        for _ in range(30):
            fetch(d.port)
        return [e["id"] for e in d.cluster("web")["endpoints"] if e["ejected"]]

    poll(lambda: ejected() == [origins[1].address], 10, "ejected")
    before = turns[0]
    for _ in range(60):
        assert fetch(d.port).status == 200
    assert turns[0] == before
    assert {e["id"]: e["ejections"] for e in d.cluster("web")["endpoints"]} == {o.address: o is origins[1] for o in origins}
    assert re.search(r"ejected: \d+\.\d % of its requests failed, of the others' 0\.0 %", d.log())
    text = d.ctl("status").stdout.decode()
    assert re.search(r"%s .* ejected " % re.escape(origins[1].address), text)
    port = int(d.config["admin"]["address"].split(":")[1])
    metrics = fetch(port, target="/metrics", host="127.0.0.1").body.decode()
    assert 'coxswain_endpoint_ejections_total{cluster="web",endpoint="%s"} 1\n' % origins[1].address in metrics
    assert 'coxswain_endpoint_ejected{cluster="web",endpoint="%s"} 1\n' % origins[1].address in metrics
    assert 'coxswain_cluster_guard_total{cluster="web",decision="limited"} 0\n' in metrics
