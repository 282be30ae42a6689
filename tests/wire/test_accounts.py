"""The counts against two other books: the access log, line by line, and the clients' own clocks."""

import json
import os
import threading
import time

import pytest

from harness.door import Door, cluster, route
from harness.net import SLOW, Client, build, poll
from harness.origin import reply

CLIENTS, EACH = 6, 25


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin):
    # Three at a time: most requests are held for a while, so that all counts have their part.
    d = Door(tmp_path_factory.mktemp("accounts"),
             clusters=[cluster("web", origin.address, max_in_flight=3, hold_timeout="20s", hold_max=100)],
             routes=[route("web.test", "web")])
    d.config["log"]["access_format"] = '{"from":$route_ns,"to":$end_ns,"held":$hold_us,"status":$status,"worker":$worker}'
    d.start()
    yield d
    d.stop()


def ask(port, spent):
    with Client(port) as c:
        for _ in range(EACH):
            begin = time.monotonic()
            c.send(build("GET", "/", host="web.test"))
            assert c.response("GET").status == 200
            spent.append(time.monotonic() - begin)


def lines_of(path):
    with open(path) as f:
        return [json.loads(x) for x in f.read().splitlines()]


@pytest.mark.guard(60)
def test_integrals_are_the_log_and_the_clock(door, origin):
    origin.script(lambda c, r: (time.sleep(0.05), c.send(reply(b"hello"))))
    spent = []
    threads = [threading.Thread(target=ask, args=(door.port, spent)) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(spent) == CLIENTS * EACH
    poll(lambda: os.path.exists(door.access) and len(lines_of(door.access)) == len(spent), 5, "all lines")
    lines = lines_of(door.access)
    seen = poll(lambda: door.cluster("web"), 2, "the cluster")
    counted = sum(seen["seconds"][k] for k in ("held", "serving", "finishing"))
    logged = sum(x["to"] - x["from"] for x in lines) / 1e9
    assert seen["requests"] == seen["completed"] == len(lines) and {x["status"] for x in lines} == {200}
    assert counted == pytest.approx(logged, rel=1e-6)
    assert seen["seconds"]["held"] == pytest.approx(sum(x["held"] for x in lines) / 1e6, rel=1e-3) and seen["seconds"]["held"] > 1
    assert counted == pytest.approx(sum(spent), rel=0.01 * SLOW)
    assert counted < sum(spent)  # their clocks begin earlier and end later
