"""Clusters that are asleep: who wakes them, how fast the orchestrator knows, and who waits how."""

import re

from harness.door import cluster, route
from harness.net import Client, build, fetch, poll

WOKEN = re.compile(r"cluster asleep holds requests: request (\S+), (\d+) us ago")


def sleeping(make_door, *routes, **options):
    options = dict({"hold_max": 10, "hold_timeout": "40ms", "retry_after": 7}, **options)
    d = make_door(start=False, clusters=[cluster("asleep", **options)], routes=[route("*", "asleep"), *routes])
    d.config["log"]["level"] = "debug"
    return d.start()


def wakes(door):
    return [(i, int(us)) for i, us in WOKEN.findall(door.log())]


def test_the_orchestrator_knows_within_a_millisecond(make_door):
    """Monotonic stamps: from the ROUTE of the first request to the orchestrator's hand. Of a dozen the better ones are looked
    at, because the machine may have other things to do; a tick in the way would be seen in all."""
    d = sleeping(make_door)
    for i in range(12):
        r = fetch(d.port, headers={"X-Request-Id": "wake-%d" % i})
        assert r.status == 503 and r.get("Retry-After") == "7"
    told = poll(lambda: len(wakes(d)) == 12 and wakes(d), 5, "twelve wakes: %s" % wakes(d))
    assert [i for i, _ in told] == ["wake-%d" % i for i in range(12)]
    assert sorted(us for _, us in told)[3] <= 1000, told


def test_who_must_not_wake_gets_503_at_once(make_door):
    crawlers = dict(route("*", "asleep"), headers=["User-Agent^=Crawler"], wake=False)
    d = sleeping(make_door, crawlers, hold_timeout="20s")
    with Client(d.port) as waiting:
        r = fetch(d.port, headers={"User-Agent": "Crawler/1.0"})
        assert r.status == 503 and r.get("Retry-After") == "7"
        assert wakes(d) == []
        waiting.send(build(headers={"User-Agent": "Browser/1.0"}))
        poll(lambda: len(wakes(d)) == 1, 5, "the browser woke it")
        assert fetch(d.port, headers={"User-Agent": "Crawler/1.0"}).status == 503
    assert len(wakes(d)) == 1
