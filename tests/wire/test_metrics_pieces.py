"""/metrics of many endpoints is made piece by piece, as its client takes it: nobody waits for a scrape, and one that is
not read costs no more than what it has begun."""

import json
import os

import pytest

from harness.door import Door, cluster, route
from harness.net import Client, build, fetch, free_port, poll

CLUSTERS, EACH = 40, 500
PER_ENDPOINT = 6 + 2 + 3 + 2  # series of an endpoint: counts, failures by two reasons, states, ejections


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    port = free_port()
    d = Door(
        tmp_path_factory.mktemp("pieces"), workers=1, listeners={"web": {}}, admin={"address": "127.0.0.1:%d" % port},
        clusters=[cluster("c%d" % c, *["10.%d.%d.%d:80" % (c, i // 250, i % 250 + 1) for i in range(EACH)]) for c in range(CLUSTERS)],
        routes=[route("*", "c0")],
    )
    d.admin = port
    d.start()
    yield d
    d.stop()


def ask(target="/metrics", method="GET", **kw):
    return build(method, target, host="localhost", **kw)


def resident(door):
    with open("/proc/%d/statm" % door.children("orchestrator")[0]) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_all_of_it_in_bounded_pieces(door):
    with Client(door.admin, timeout=60) as c:
        c.send(ask())
        r = c.response()
        assert r.status == 200 and r.framing == "chunked" and len(r.chunks) > 10 and max(r.chunks) < 140 << 10
        lines = r.body.decode("ascii").splitlines()
        assert sum('endpoint="' in x for x in lines) == CLUSTERS * EACH * PER_ENDPOINT
        series = [x.rsplit(" ", 1)[0] for x in lines if x[0] != "#"]
        assert len(series) == len(set(series))
        families = [x.split()[2] for x in lines if x.startswith("# TYPE")]
        assert len(families) == len(set(families))
        c.send(ask("/v1/members"))  # the connection goes on
        assert c.response().status == 200


def test_http_10_until_the_end_of_the_connection(door):
    with Client(door.admin, timeout=60) as c:
        c.send(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        r = c.response()
        assert r.framing == "close" and r.body.count(b"\ncoxswain_endpoint_weight{") == CLUSTERS * EACH


def test_head_makes_none(door):
    with Client(door.admin) as c:
        c.send(ask(method="HEAD") + ask("/v1/members"))
        assert c.response("HEAD").get("transfer-encoding") == "chunked"
        assert c.response().status == 200


@pytest.mark.parametrize("name", ["status", "topology"])
def test_documents_too(door, name):
    """Cluster after cluster, and it is one document."""
    with Client(door.admin, timeout=60) as c:
        c.send(ask("/v1/" + name))
        r = c.response()
        assert r.status == 200 and len(r.chunks) > 5 and max(r.chunks) < 400 << 10  # a cluster is never cut
        seen = {x["id"]: len(x["endpoints"]) for x in json.loads(r.body)["clusters"]}
        assert seen == {"c%d" % i: EACH for i in range(CLUSTERS)}


def test_a_client_that_does_not_read(door):
    """It is asked for no more than the socket takes; others are answered meanwhile; when it leaves all is let go."""
    fetch(door.admin, target="/metrics", host="localhost", timeout=60)  # so that memory is what it is after a scrape
    before = resident(door)
    with Client(door.admin, rcvbuf=4096) as c:
        c.send(ask())
        c.head()
        for _ in range(20):
            assert fetch(door.admin, target="/v1/members", host="localhost").status == 200
        assert resident(door) - before < 16 << 20  # the whole is some 17 MB of text beside the sums
        c.reset()
    assert fetch(door.admin, target="/metrics", host="localhost", timeout=60).status == 200


def test_no_more_than_eight_at_a_time(door):
    slow = [Client(door.admin, rcvbuf=4096) for _ in range(8)]
    try:
        for c in slow:
            c.send(ask())
            assert c.head().status == 200
        r = fetch(door.admin, target="/metrics", host="localhost")
        assert r.status == 503 and b"others are being told" in r.body
        slow[0].reset()
        poll(lambda: fetch(door.admin, target="/metrics", host="localhost", timeout=60).status == 200, 10, "room again")
    finally:
        for c in slow:
            c.close()


def test_a_reload_in_the_middle(door):
    """The orchestrator goes; what it had begun ends without the end of the body, so nobody takes it for the whole."""
    with Client(door.admin, rcvbuf=4096, timeout=60) as c:
        c.send(ask())
        c.head()
        assert door.reload(30).returncode == 0
        with pytest.raises((AssertionError, OSError)):
            while True:
                size = int(c.until(b"\r\n"), 16)
                assert size
                c.exactly(size + 2)
    assert fetch(door.admin, target="/metrics", host="localhost", timeout=60).status == 200
