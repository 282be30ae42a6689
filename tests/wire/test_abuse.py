"""Mixed abuse for a while (ABUSE_SECONDS, 20 by default): memory flat, ledger zero, descriptors back."""

import os
import random
import socket
import threading
import time

import pytest

from harness.door import SANITIZED, Door, cluster, route
from harness.fcgi import page
from harness.load import Load
from harness.net import SLOW, Client, build, fetch, poll
from harness.origin import OK, chunked, reply

SECONDS = float(os.environ.get("ABUSE_SECONDS", "20"))


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, origin2, fcgi):
    short = {"client_header_timeout": "1s", "client_body_timeout": "1s", "client_idle_timeout": "1s", "client_write_timeout": "1s"}
    d = Door(
        tmp_path_factory.mktemp("abuse"), listeners={"web": short, "calm": {}},
        clusters=[
            cluster("wild", origin.address, response_timeout="500ms", body_timeout="500ms", tunnel_timeout="500ms"),
            cluster("calm", origin2.address), cluster("php", fcgi.address, protocol="fastcgi", fastcgi={"document_root": "/srv"},
                                                      response_timeout="1s", body_timeout="1s"),
        ],
        routes=[route("wild.test", "wild"), route("web.test", "calm"), route("php.test", "php")],
    ).start()
    yield d
    d.stop()


def wild_server(rng):
    """A server in every bad mood."""
    def script(conn, request):
        mood = rng.randrange(12)
        if mood < 4:
            request.read_body()
            conn.send(reply(b"x" * rng.randrange(100000)))
            return True
        if mood == 4:
            conn.reset()
        elif mood == 5:
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
        elif mood == 6:
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
            conn.reset()
        elif mood == 7:
            conn.send(os.urandom(200))
        elif mood == 8:
            time.sleep(0.7)
        elif mood == 9:
            conn.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3)
            conn.send(chunked(b"a" * 5000, b"b" * 5000))
        elif mood == 10 and request.get("upgrade"):
            conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello")
            conn.sock.settimeout(0.3)
            conn.drain()
        else:
            conn.send(reply(b"early", headers={"Connection": "close"}))
        return False

    return script


def abuse(door, rng):
    """One act of abuse; whatever comes of it, the connection ends."""
    host = rng.choice(["wild.test", "wild.test", "php.test", "web.test", "none.test"])
    raw = rng.choice([
        build(host=host), build("POST", host=host, body=os.urandom(rng.randrange(50000))),
        build("POST", host=host, headers={"Transfer-Encoding": "chunked"}) + b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n",
        build(host=host, headers={"Connection": "Upgrade", "Upgrade": "x"}), build(host=host) * 10,
        build("HEAD", host=host), os.urandom(rng.randrange(1, 3000)), b"GET / HTTP/1.1\r\nHost: " + b"a" * 9000,
        b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 99999\r\n\r\nshort" % host.encode(),
    ])
    c = Client(door.ports["web"], timeout=3, rcvbuf=rng.choice([None, 2048]))
    try:
        raw = raw[: rng.randrange(1, len(raw) + 1)] if rng.random() < 0.4 else raw
        cut = rng.randrange(len(raw) + 1)
        c.send_quietly(raw[:cut])
        if rng.random() < 0.3:
            time.sleep(rng.random() * 0.05)
        c.send_quietly(raw[cut:])
        act = rng.randrange(6)
        if act == 0:
            c.reset()
        elif act == 1:
            c.half_close()
            c.rest()
        elif act == 2:
            c.more()
            c.reset()
        elif act == 3:
            c.sock.settimeout(0.05)
            c.rest()
        elif act == 4:
            time.sleep(rng.random() * 0.2)
        else:
            c.sock.settimeout(0.5)
            c.rest()
    except OSError:
        pass
    finally:
        c.close()


@pytest.mark.guard(SECONDS + 60)
def test_mixed_abuse(door, origin, fcgi):
    origin.keep = fcgi.keep = False
    origin.script(wild_server(random.Random(1)), early=True)
    moods = random.Random(2)

    def php(conn, request):
        mood = moods.randrange(5)
        if mood == 0:
            conn.reset()
        elif mood == 1:
            conn.send(os.urandom(100))
        elif mood == 2:
            conn.send(page(b"x" * 100000)[: moods.randrange(100000)])
        else:
            conn.send(page(b"x" * moods.randrange(100000)))
        return False

    fcgi.script(php)
    stop, trouble, acts = threading.Event(), [], [0]

    def worker(seed):
        rng = random.Random(seed)
        while not stop.is_set():
            try:
                abuse(door, rng)
                acts[0] += 1
            except Exception as e:
                trouble.append(e)
                return

    def round_of(seconds):
        stop.clear()
        threads = [threading.Thread(target=worker, args=(i,), daemon=True) for i in range(10)]
        for t in threads:
            t.start()
        # whoever behaves is served through all of it
        with Load(door.ports["calm"], 1, pause=0.01) as calm:
            time.sleep(seconds)
        stop.set()
        for t in threads:
            t.join(10 * SLOW)
        assert not trouble, trouble[0]
        calm.clean()
        origin.requests.clear()
        origin.conns.clear()
        fcgi.requests.clear()
        fcgi.conns.clear()
        door.check_quiet(6)

    round_of(SECONDS / 4)  # pools and caches find their size
    poll(lambda: door.status()["quiet"], 5)
    time.sleep(1.2)  # the longest idle time-out of the listener
    fds, rss = door.fds(), door.rss()
    round_of(SECONDS * 3 / 4)
    poll(lambda: door.fds() <= fds + 8, 8, "descriptors back to %d: %d" % (fds, door.fds()))
    assert SANITIZED or door.rss() - rss < 6 << 20, "memory grew by %d KiB in %d acts" % ((door.rss() - rss) >> 10, acts[0])
    assert acts[0] > SECONDS * 5
    origin.keep = fcgi.keep = True
    origin.drop()
    origin.script(None)
    assert fetch(door.ports["calm"], host="web.test").status == 200


def test_many_connections_come_and_go(door):
    """A thousand clients that say nothing, half a request, or a whole one."""
    for _ in range(10):
        clients = [Client(door.ports["calm"]) for _ in range(100)]
        for i, c in enumerate(clients):
            c.send_quietly([b"", b"GET / HT", build(), b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 5\r\n\r\nhe"][i % 4])
        for i, c in enumerate(clients):
            c.reset() if i % 2 else c.close()
    assert fetch(door.ports["calm"]).status == 200
