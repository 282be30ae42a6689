"""Held requests that sleep without their connection: streams of HTTP/2, HTTP/1.1 over TLS, behind a PROXY header, and on
connections that end with them. Tests of those that sleep with their connection are in test_wake.py."""

import json

import pytest

from harness.door import cluster, is_sanitized, route
from harness.h2 import CANCEL, H2, request
from harness.net import Client, build, poll
from harness.origin import reply
from harness.tls import Authority, TlsClient

AWAKE = 64  # so many do not sleep


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


class Inn:
    """A cluster without endpoints, until it opens."""

    def __init__(self, make_door, tmp_path, ca, **options):
        self.path = tmp_path / "view.json"
        self.view = {"clusters": [dict({"name": "dyn", "endpoints": [], "hold_max": 3000, "hold_timeout": "60s", "probe": {"kind": "none"}}, **options)],
                     "routes": [{"host": "*", "path": "/", "cluster": "dyn"}]}
        self.path.write_text(json.dumps(self.view))
        self.door = make_door(drain_timeout="200ms", plugins=[{"name": "file", "path": str(self.path)}], clusters=[cluster("other")],
                              routes=[route("other.test", "other")],
                              listeners={"web": {}, "tls": {"tls": {"certificates": [ca.issue("web.test", "127.0.0.1").config()]}},
                                         "proxied": {"proxy_protocol": "required", "proxy_protocol_from": ["127.0.0.0/8"]}})
        poll(lambda: self.door.cluster("dyn"), 5, "the cluster is there")

    def held(self):
        return self.door.cluster("dyn")["held"]

    def wait_for(self, count):
        poll(lambda: self.held() == count, 20, "%d wait, not %d" % (count, self.held()))

    def open(self, origin):
        self.view["clusters"][0]["endpoints"] = [{"address": origin.address}]
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.view))
        new.rename(self.path)


@pytest.fixture
def inn(make_door, tmp_path, ca):
    return Inn(make_door, tmp_path, ca)


def proxy_bytes(door):
    """Proportional set size of the proxy."""
    pid = next(p["pid"] for p in door.status()["processes"] if p["role"] == "proxy")
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("Pss:"))


def echo(seen):
    def answer(conn, r):
        seen[r.get("X-Number")] = (r.target, r.get("X-Request-Id"), r.get("Cookie"), r.get("X-Forwarded-For"), r.get("X-Forwarded-Proto"))
        conn.send(reply(b"number " + r.get("X-Number").encode()))
    return answer


def fields_of(i):
    return {"X-Number": str(i), "X-Request-Id": "r-%d" % i, "Cookie": "c=" + "x" * (i % 400)}


def expected(i, proto="http", client="127.0.0.1"):
    return "/%d?q=%d" % (i, i * 7), "r-%d" % i, "c=" + "x" * (i % 400), client, proto


def ask_h2(c, i):
    return c.headers(request(path="/%d?q=%d" % (i, i * 7), headers=[(k.lower(), v) for k, v in fields_of(i).items()]))


def ask_h1(c, i, **more):
    c.send(build(target="/%d?q=%d" % (i, i * 7), headers=dict(fields_of(i), **more)))


@pytest.mark.guard(90)
def test_streams_sleep_and_are_not_mistaken(inn, origin):
    """A thousand streams of ten connections. Some are reset meanwhile, one connection goes, one says that it goes."""
    clients = [H2(inn.door.port, timeout=30) for _ in range(10)]
    streams = {}
    for i in range(1000):
        streams[i] = clients[i % 10], ask_h2(clients[i % 10], i)
    inn.wait_for(1000)
    gone = {i for i in streams if i % 10 == 7}
    clients[7].abort()
    gone |= {i for i in streams if i % 10 == 8}
    clients[8].close()
    for i in range(200, 1000, 41):
        if i % 10 < 7:
            clients[i % 10].reset(streams[i][1], CANCEL)
            gone.add(i)
    inn.wait_for(1000 - len(gone))
    seen = {}
    origin.script(echo(seen))
    inn.open(origin)
    for i, (c, stream) in streams.items():
        if i in gone:
            continue
        r = c.response(stream)
        assert (r.status, r.body) == (200, b"number %d" % i), (i, r)
        assert seen[str(i)] == expected(i)
    assert clients[0].response(ask_h2(clients[0], 5)).body == b"number 5"  # the connection goes on
    assert not any(str(i) in seen for i in gone)
    poll(lambda: inn.held() == 0, 5, "nobody waits")
    for c in clients[:7] + clients[9:]:
        c.close()


@pytest.mark.guard(90)
def test_requests_over_tls_sleep(inn, origin, ca):
    """HTTP/1.1: some leave, some send a second request behind the first, some end with their request."""
    context = ca.client_context(alpn=["http/1.1"])
    clients = [TlsClient(inn.door.ports["tls"], context, timeout=30) for _ in range(200)]
    last = range(150, 200)
    for i, c in enumerate(clients):
        ask_h1(c, i, **({"Connection": "close"} if i in last else {}))
    inn.wait_for(200)
    left, more = range(80, 150, 9), range(81, 150, 9)
    for i in left:
        clients[i].close()
    for i in more:
        ask_h1(clients[i], i + 1000)
    inn.wait_for(200 - len(left))
    seen = {}
    origin.script(echo(seen))
    inn.open(origin)
    for i, c in enumerate(clients):
        for k in [] if i in left else [i, i + 1000] if i in more else [i]:
            r = c.response()
            assert (r.status, r.body) == (200, b"number %d" % k)
            assert seen[str(k)] == expected(k, "https")
        if i in last:
            assert c.closed()
    assert not any(str(i) in seen for i in left)
    ask_h1(clients[3], 3)
    assert clients[3].response().status == 200  # the connection goes on
    for c in clients:
        c.close()


@pytest.mark.skipif(is_sanitized(), reason="a sanitizer's memory is its own")
@pytest.mark.guard(90)
def test_a_stream_that_sleeps_takes_little(make_door, tmp_path, ca):
    """An exchange that is awake takes twice as much alone."""
    inn = Inn(make_door, tmp_path, ca, hold_max=10000)
    clients, few = [], 0
    for count in (500, 4000):
        while len(clients) < count // 100:
            clients.append(H2(inn.door.port, timeout=30))
            for i in range(100):
                ask_h2(clients[-1], i)
        inn.wait_for(count)
        few = few or proxy_bytes(inn.door)
    poll(lambda: proxy_bytes(inn.door) - few <= 3500 * 2500, 15, "%d bytes more" % (proxy_bytes(inn.door) - few))
    for c in clients:
        c.close()


def test_proxied_requests_sleep(inn, origin):
    clients = [Client(inn.door.ports["proxied"], timeout=30) for _ in range(100)]
    for i, c in enumerate(clients):
        c.send(b"PROXY TCP4 192.0.2.%d 192.0.2.200 1000 80\r\n" % (i + 1))
        ask_h1(c, i)
    inn.wait_for(100)
    clients[90].reset()
    inn.wait_for(99)
    seen = {}
    origin.script(echo(seen))
    inn.open(origin)
    for i, c in enumerate(clients):
        if i != 90:
            assert c.response().body == b"number %d" % i
            assert seen[str(i)] == expected(i, client="192.0.2.%d" % (i + 1))
        c.close()


def test_sleeping_streams_time_out(make_door, tmp_path, ca):
    inn = Inn(make_door, tmp_path, ca, hold_timeout="400ms", retry_after=7)
    c = H2(inn.door.port, timeout=20)
    tls = [TlsClient(inn.door.ports["tls"], ca.client_context(alpn=["http/1.1"]), timeout=20) for _ in range(20)]
    streams = [c.get("/%d" % i) for i in range(AWAKE + 30)]
    for t in tls:
        t.send(build())
    for s in streams:
        r = c.response(s)
        assert (r.status, r.get("retry-after")) == (503, "7")
    for t in tls:
        assert t.response().status == 503
        t.send(build())
    for t in tls:
        assert t.response().status == 503
        t.close()
    assert c.fetch("/again").status == 503
    c.close()
    poll(lambda: open(inn.door.access).read().count("hold_timeout") == len(streams) + 41, 5, "all are in the access log")


@pytest.mark.parametrize("kind", ["h2", "tls"])
def test_a_drain_ends_sleepers(inn, ca, kind):
    context = ca.client_context(alpn=["http/1.1"])
    clients = [H2(inn.door.port, timeout=20) if kind == "h2" else TlsClient(inn.door.ports["tls"], context, timeout=20) for _ in range(3 if kind == "h2" else 150)]
    for c in clients:
        for i in range(50) if kind == "h2" else [0]:
            ask_h2(c, i) if kind == "h2" else ask_h1(c, i)
    inn.wait_for(150)
    inn.door.stop()
    for c in clients:
        if kind == "h2":
            while c.step():
                pass
            assert not any(s.status == 200 for s in c.streams.values())
        c.close()
    assert open(inn.door.access).read().count("shutdown") == 150
