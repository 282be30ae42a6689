"""A well-behaved client while somebody attacks: rows of the hostile input, each from 100 connections at a stated rate, from a
program of its own. Every request of that client must succeed, the slowest of a hundred must stay quick, and the proxy's
memory may grow by 64 MiB and must come back.

In the short form that is part of the suite each attack lasts ATTACK_SECONDS (1), too short for a slowest of a hundred: one of ten
is looked at, and the bound is generous, for the machine may be busy with other things. ATTACK_LONG=1 takes the numbers as they are promised: 10 s an attack, p99 below the larger
of 3 times the quiet one and 20 ms."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import attacker, victim
from harness.door import SANITIZED, Door, cluster, route
from harness.net import SLOW, Client, Truncated, build, poll
from harness.tls import Authority

LONG = os.environ.get("ATTACK_LONG", "") not in ("", "0")
SECONDS = float(os.environ.get("ATTACK_SECONDS", "10" if LONG else "1"))
CONNECTIONS = int(os.environ.get("ATTACK_CONNECTIONS", "100"))
RATE = float(os.environ.get("ATTACK_RATE", "2000" if LONG else "1000"))
TAIL = 0.99 if LONG else 0.9
GROWTH = 64 << 20
KEPT = 16 << 20  # what may stay afterwards


class GoodClient:
    """Asks again and again over connections that it keeps for 20 requests, and notes how long each answer took."""

    def __init__(self, port):
        self.port, self.times, self.failures, self.stopping = port, [], [], False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join(20 * SLOW)
        assert not self.thread.is_alive(), "the client hangs"

    def run(self):
        while not self.stopping:
            try:
                self.some()
            except (OSError, Truncated, AssertionError) as e:
                self.failures.append("%s %s" % (type(e).__name__, e))

    def some(self):
        begin = time.monotonic()
        with Client(self.port) as c:
            for _ in range(20):
                c.send(build(host="good.test"))
                r = c.response()
                assert r.status == 200 and r.body == b"ok", r
                self.times.append(time.monotonic() - begin)
                if self.stopping:
                    return
                time.sleep(0.002)
                begin = time.monotonic()

    def tail(self):
        return sorted(self.times)[int(len(self.times) * TAIL)] if self.times else 0.0


def serve():
    run = subprocess.Popen([sys.executable, victim.__file__], stdout=subprocess.PIPE)
    return run, [int(port) for port in run.stdout.readline().split()]


@pytest.fixture(scope="module")
def servers():
    """Ports of what the attacks reach, HTTP and FastCGI, and of what the good client asks."""
    runs = [serve(), serve()]
    (bad, fcgi), (good, _) = [ports for _, ports in runs]
    yield {"bad": bad, "fcgi": fcgi, "good": good}
    for run, _ in runs:
        run.terminate()
        run.wait(10 * SLOW)
        run.stdout.close()


@pytest.fixture(scope="module")
def mute():
    """The port of a server that accepts and never reads."""
    with socket.create_server(("127.0.0.1", 0), backlog=20000) as s:
        yield s.getsockname()[1]


@pytest.fixture(scope="module")
def door(tmp_path_factory, servers, mute):
    folder = tmp_path_factory.mktemp("attack")
    pair = Authority(folder / "ca").issue("web.test")
    d = Door(folder / "door", listeners={"web": {}, "in": {"proxy_protocol": "required", "proxy_protocol_from": ["loopback"]},
                                         "tls": {"tls": {"certificates": [pair.config()]}}},
             clusters=[cluster("web", "127.0.0.1:%d" % servers["bad"]), cluster("good", "127.0.0.1:%d" % servers["good"]),
                       cluster("collect", "127.0.0.1:%d" % servers["bad"], request_buffer=True), cluster("slow", "127.0.0.1:%d" % mute),
                       cluster("bad", "127.0.0.1:%d" % servers["bad"], eject_failures=0),
                       cluster("fcgi", "127.0.0.1:%d" % servers["fcgi"], eject_failures=0, protocol="fastcgi", fastcgi={"document_root": str(folder)})],
             routes=[route(n + ".test", n) for n in ("web", "good", "collect", "slow", "bad", "fcgi")])
    d.config["log"]["access"] = "off"
    d.start()
    yield d
    d.stop()


@pytest.fixture(scope="module")
def quiet(door):
    with GoodClient(door.ports["web"]) as c:
        time.sleep(1)
    assert not c.failures and len(c.times) > 50
    return c.tail()


def bound(quiet):
    return max(3 * quiet, 0.020) if LONG else max(10 * quiet, 0.5 * SLOW)


@pytest.mark.guard(120)
@pytest.mark.parametrize("name", attacker.ATTACKS)
def test_attack(door, quiet, name):
    before = door.rss()
    port = door.ports["in" if name[0] == "p" else "tls" if "_tls_" in name else "web"]
    with GoodClient(door.ports["web"]) as c:
        run = subprocess.Popen([sys.executable, attacker.__file__, name, str(port), str(CONNECTIONS), str(RATE), str(SECONDS)],
                               stdout=subprocess.PIPE)
        peak = 0
        while run.poll() is None:
            peak = max(peak, door.rss())
            time.sleep(0.05)
    did = json.loads(run.stdout.read())
    run.stdout.close()
    assert run.returncode == 0
    assert not c.failures, "%d of %d failed: %s" % (len(c.failures), len(c.times) + len(c.failures), c.failures[:3])
    print("%s: %s; tail when quiet %.1f ms, now %.1f ms of %d, grew %.1f MiB" % (
        name, did, quiet * 1e3, c.tail() * 1e3, len(c.times), (peak - before) / 2 ** 20))
    assert did["actions"] >= min(50, RATE * SECONDS / 20) and did["connects"] >= CONNECTIONS, did  # it did attack
    assert len(c.times) > 20 * SECONDS and c.tail() <= bound(quiet), "tail %.1f ms, quiet %.1f ms" % (c.tail() * 1e3, quiet * 1e3)
    if not SANITIZED:
        assert peak - before <= GROWTH, "memory grew by %.1f MiB" % ((peak - before) / 2 ** 20)
        poll(lambda: door.rss() - before <= KEPT, 20, "memory came back")
    poll(lambda: door.status()["quiet"] is True, 15, "everything that was in flight has ended")
