"""Health probes of servers that speak HTTP/2, and the health check of gRPC."""

import subprocess
import threading

import grpc
import pytest
from concurrent import futures

from harness.door import COXSWAIN, cluster, route
from harness.h2origin import H2Origin
from harness.net import fetch, poll
from harness.tls import Authority


def plain(data):
    return data


class Health(grpc.GenericRpcHandler):
    """grpc.health.v1.Health, by hand: requests and answers are bytes."""

    def __init__(self):
        self.serving, self.asked = True, []

    def service(self, details):
        if details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(self.check, plain, plain)

    def check(self, request, context):
        self.asked.append(request)
        if request == b"\x0a\x07unknown":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return b"\x08\x01" if self.serving else b"\x08\x02"


@pytest.fixture
def health():
    handler = Health()
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=(handler,))
    handler.address = "127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler
    server.stop(0)


def state(door, name="c"):
    return door.cluster(name)["endpoints"][0]["health"]


def probe(kind, **more):
    return dict({"kind": kind, "interval": "50ms", "timeout": "2s", "fall": 1}, **more)


def test_h2_probe(make_door):
    server, good = H2Origin(), threading.Event()
    good.set()
    server.script(lambda s: s.reply(status=200 if s.target != "/well" or good.is_set() else 500))
    try:
        door = make_door(clusters=[cluster("c", server.address, protocol="h2", probe=probe("h2", path="/well", host="inner.test"))],
                         routes=[route("*", "c")])
        poll(lambda: state(door) == "up", 10, "healthy")
        s = next(s for s in server.requests if s.target == "/well")
        assert s.method == "GET" and s.get(":authority") == "inner.test" and s.get("user-agent") == "coxswain-probe"
        good.clear()
        poll(lambda: state(door) == "down", 10, "unhealthy")
        good.set()
        poll(lambda: state(door) == "up", 10, "healthy again")
        assert fetch(door.port).status == 200
    finally:
        server.stop()


def test_h2_probe_over_tls(make_door, tmp_path):
    """It offers h2: a server that was not asked for it would answer in HTTP/1.1."""
    ca = Authority(tmp_path / "ca")
    server = H2Origin(tls=ca.server_context(ca.issue("127.0.0.1"), alpn=["http/1.1", "h2"]))
    server.script(lambda s: s.reply(status=200 if s.conn.conn.sock.selected_alpn_protocol() == "h2" else 500))
    try:
        door = make_door(clusters=[cluster("c", server.address, protocol="h2", probe=probe("h2", path="/well"),
                                           tls={"enabled": True, "ca": ca.cert})], routes=[route("*", "c")])
        poll(lambda: state(door) == "up" and server.requests, 10, "healthy")
        assert {s.target for s in server.requests} == {"/well"}
        assert fetch(door.port).status == 200
    finally:
        server.stop()


@pytest.mark.parametrize("path, asked", [(None, b""), ("/shop.Cart", b"\x0a\x09shop.Cart")])
def test_grpc_probe(make_door, health, path, asked):
    more = {"path": path} if path else {}
    door = make_door(clusters=[cluster("c", health.address, protocol="h2", probe=probe("grpc", **more))], routes=[route("*", "c")])
    poll(lambda: state(door) == "up" and health.asked, 10, "healthy")
    assert set(health.asked) == {asked}
    health.serving = False
    poll(lambda: state(door) == "down", 10, "unhealthy")
    assert "not serving" in door.log()
    health.serving = True
    poll(lambda: state(door) == "up", 10, "healthy again")


def test_grpc_probe_of_a_service_that_is_not_there(make_door, health):
    door = make_door(clusters=[cluster("c", health.address, protocol="h2", probe=probe("grpc", path="/unknown"))],
                     routes=[route("*", "c")])
    poll(lambda: state(door) == "down", 10, "unhealthy")
    assert "does not know the service" in door.log()


def test_probes_that_do_not_fit_are_refused(make_door, origin):
    door = make_door(start=False, clusters=[cluster("c", origin.address, protocol="h2", probe={"kind": "http"}),
                                            cluster("d", origin.address, probe={"kind": "grpc", "path": "x"})], routes=[])
    door.write()
    done = subprocess.run([COXSWAIN, "-t", "-c", door.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 2 and 'use kind = "h2"' in done.stdout and "must begin with" in done.stdout
