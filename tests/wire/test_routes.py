"""Which cluster a request goes to, and which endpoint of it."""

import select
import threading

import pytest

from harness.door import Door, cluster, route
from harness.net import Client, build, fetch, poll
from harness.origin import Origin, reply


@pytest.fixture(scope="module")
def origins():
    made = [Origin() for _ in range(3)]
    yield made
    for o in made:
        o.stop()


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, origins):
    names = ["exact", "wild", "deep", "default", "api", "v2", "slash"]
    a, b, c = (o.address for o in origins)
    clusters = [cluster(n, origin.address, host=n + ".seen") for n in names]
    clusters += [
        cluster("empty", retry_after=7), cluster("rr", a, b, c, balance="round_robin"), cluster("p2c", a, b, c, balance="p2c"),
        cluster("rr31", {"address": a, "weight": 3}, {"address": b, "weight": 1}, balance="round_robin"),
        cluster("p31", {"address": a, "weight": 3}, {"address": b, "weight": 1}, balance="p2c"),
        cluster("zero", {"address": a, "weight": 0}, b, balance="round_robin"),
    ]
    d = Door(
        tmp_path_factory.mktemp("routes"), workers=1, listeners={"web": {}},
        clusters=clusters,
        routes=[
            route("shop.test", "exact"), route("*.shop.test", "wild"), route("*.deep.shop.test", "deep"),
            route("shop.test", "api", "/api"), route("shop.test", "v2", "/api/v2"), route("shop.test", "slash", "/dir/"),
            route("any.test", "default"), route("empty.test", "empty"),
        ] + [route(n + ".balance", n) for n in ("rr", "p2c", "rr31", "p31", "zero")],
    ).start()
    yield d
    d.stop()


@pytest.mark.parametrize("host,target,name", [
    ("shop.test", "/", "exact"), ("SHOP.test", "/", "exact"), ("shop.test:8080", "/", "exact"), ("shop.test.", "/", "exact"),
    ("a.shop.test", "/", "wild"), ("a.b.shop.test", "/", "wild"), ("x.deep.shop.test", "/", "deep"),
    ("shop.test", "/api", "api"), ("shop.test", "/api/", "api"), ("shop.test", "/api/v1", "api"), ("shop.test", "/api/v2", "v2"),
    ("shop.test", "/api/v2/x?y", "v2"), ("shop.test", "/apix", "exact"), ("shop.test", "/dir/x", "slash"), ("shop.test", "/api/v2x", "api"),
    ("shop.test", "/x/../api", "api"), ("shop.test", "/API", "exact"),
])
def test_host_and_longest_prefix(door, origin, host, target, name):
    if host == "shop.test.":
        r = fetch(door.port, host=host, target=target)
        assert r.status in (200, 404)  # a final dot names the same host in DNS; either answer is sound
        return
    assert fetch(door.port, host=host, target=target).status == 200
    assert origin.one().get("host") == name + ".seen"


@pytest.mark.parametrize("host", ["nowhere.test", "xshop.test", "test", "shop.test.evil"])
def test_unknown_host(door, origin, host):
    r = fetch(door.port, host=host)
    assert r.status == 404 and origin.bytes == b""


def test_unknown_host_keeps_the_connection(door):
    with Client(door.port) as c:
        for _ in range(5):
            c.send(build(host="nowhere.test"))
            r = c.response()
            assert r.status == 404 and r.get("content-length") is not None
        c.send(build("HEAD", host="nowhere.test"))
        assert c.response("HEAD").status == 404
        c.send(build(host="any.test"))
        assert c.response().status == 200


def test_empty_cluster(door):
    r = fetch(door.port, host="empty.test")
    assert r.status == 503 and r.get("retry-after") == "7"


def test_default_host(make_door, origin, origin2):
    d = make_door(clusters=[cluster("a", origin.address), cluster("b", origin2.address)],
                  routes=[route("*", "a"), route("known.test", "b", "/only")])
    assert fetch(d.port, host="what.ever").status == 200
    assert len(origin.requests) == 1
    assert fetch(d.port, host="known.test", target="/only/x").status == 200
    assert len(origin2.requests) == 1
    # a host with routes of its own does not fall through to the default's paths by surprise
    assert fetch(d.port, host="known.test", target="/other").status in (200, 404)


def shares(door, origins, name, n):
    with Client(door.port) as c:
        for _ in range(n):
            c.send(build(host=name + ".balance"))
            assert c.response().status == 200
    return [len(o.requests) for o in origins]


def test_round_robin_is_even(door, origins):
    assert shares(door, origins, "rr", 30) == [10, 10, 10]


def test_round_robin_by_weight(door, origins):
    order = []
    for i, o in enumerate(origins):
        o.script(lambda conn, r, i=i: order.append(i) or conn.send(reply(b"%d" % i)))
    assert shares(door, origins, "rr31", 40) == [30, 10, 0]
    # interleaved, not thirty and then ten
    runs = max(len(run) for run in "".join(map(str, order)).split("1"))
    assert runs <= 6


def test_weight_zero_gets_nothing(door, origins):
    assert shares(door, origins, "zero", 20) == [0, 20, 0]


def test_p2c_spreads(door, origins):
    got = shares(door, origins, "p2c", 300)
    assert sum(got) == 300 and min(got) > 60


def test_p2c_by_weight(door, origins):
    got = shares(door, origins, "p31", 400)
    assert 240 <= got[0] <= 360 and got[0] + got[1] == 400


def test_p2c_avoids_the_busy_one(door, origins):
    """One endpoint keeps a request; what comes then goes to the others, which have none."""
    go = threading.Event()
    origins[0].script(lambda conn, r: go.wait(10) and conn.send(reply()))
    with Client(door.port) as stuck, Client(door.port) as c:
        while not origins[0].requests:
            stuck.send(build(host="p2c.balance"))
            if not poll(lambda: origins[0].requests or readable(stuck)) or origins[0].requests:
                break
            assert stuck.response().status == 200
        for _ in range(50):
            c.send(build(host="p2c.balance"))
            assert c.response().status == 200
        assert len(origins[0].requests) == 1
        go.set()
        assert stuck.response().status == 200


def readable(client):
    return bool(select.select([client.sock], [], [], 0)[0])
