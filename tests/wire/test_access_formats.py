"""Layouts of the access log, seen by whoever reads the file; and X-Coxswain-Reason, seen by the client."""

import json
import os
import re
import signal
import subprocess

import pytest

from harness.door import COXSWAIN, Door, cluster, route
from harness.net import Client, fetch, free_port, poll
from harness.origin import reply

OWN = "own $client_ip ${method} $path <$header_x_odd_one> $status $reason $attempts $total_us $start_ns"


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin):
    d = Door(
        tmp_path_factory.mktemp("formats"),
        listeners={
            "web": {}, "combined": {"access_format": "combined"}, "own": {"access_format": OWN}, "quiet": {"access_format": "off"},
            "default": {"access_format": "default"}, "trusting": {"trusted": ["127.0.0.0/8"]},
        },
        clusters=[cluster("web", origin.address), cluster("dead", "127.0.0.1:%d" % free_port(), retries=0)],
        routes=[route("web.test", "web"), route("dead.test", "dead")],
        reason_header=True, admin={"address": "127.0.0.1:%d" % free_port()},
    )
    d.config["log"]["access_format"] = "json"
    d.start()
    yield d
    d.stop()


def line_with(door, mark, path=None):
    """The one line that holds the mark."""

    def look():
        with open(path or door.access, "rb") as f:
            return [x for x in f.read().split(b"\n")[:-1] if mark.encode() in x]

    lines = poll(look, 4, "a line with " + mark)
    assert len(lines) == 1, lines
    return lines[0].decode("ascii")


def test_json_is_the_common_format(door, origin):
    origin.script(lambda c, r: c.send(reply(b"hello")))
    r = fetch(door.port, method="POST", target="/json-1?x", body=b"1234", headers={"User-Agent": "pytest", "Referer": "http://a.test/"})
    assert r.status == 200 and r.get("x-coxswain-reason") is None
    line = json.loads(line_with(door, "/json-1"))
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    seen = {k: line[k] for k in ("client_ip", "listener", "scheme", "method", "host", "target", "protocol", "status", "bytes_sent",
                                 "bytes_received", "referer", "user_agent", "cluster", "endpoint", "attempts", "reason")}
    assert seen == {"client_ip": "127.0.0.1", "listener": "web", "scheme": "http", "method": "POST", "host": "web.test",
                    "target": "/json-1?x", "protocol": "HTTP/1.1", "status": 200, "bytes_sent": 5, "bytes_received": 4,
                    "referer": "http://a.test/", "user_agent": "pytest", "cluster": "web", "endpoint": origin.address, "attempts": 1,
                    "reason": "-"}
    assert line["request_id"] == origin.one().get("x-request-id")
    assert 0 <= line["connect_us"] <= line["first_byte_us"] <= line["server_us"] <= line["total_us"] < 60e6
    assert line["hold_us"] >= 0 and line["start_ns"] > 0


def test_json_of_a_refused_request(door, origin):
    with Client(door.port) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: json-2\r\n\r\n")
        r = c.response()
    assert r.status == 400 and r.get("x-coxswain-reason") == "host"
    assert fetch(door.port, host="nobody.test", target="/json-3").get("x-coxswain-reason") == "no_route"
    line = json.loads(line_with(door, "/json-3"))
    assert line["status"] == 404 and line["reason"] == "no_route" and line["cluster"] == "" and line["connect_us"] is None

    def refused_lines():  # another worker's buffer, which is written when it likes
        with open(door.access) as f:
            return [x for x in map(json.loads, (x for x in f if x.startswith("{") and x.endswith("}\n"))) if x["reason"] == "host"]

    refused = poll(refused_lines, 5, "the refused request in the log")
    assert refused[0]["status"] == 400 and refused[0]["client_ip"] == "127.0.0.1" and refused[0]["target"] == ""


def test_json_cannot_be_broken(door, origin):
    """Quotes, backslashes, bytes above 0x7f: each line is one object and gives back what was sent."""
    agent = 'x", "status": 200, "y": "\\ \xe4\xff\t'
    assert fetch(door.port, target="/json-4", headers={"User-Agent": agent}).status == 200
    assert json.loads(line_with(door, "/json-4"))["user_agent"] == agent.strip()


def test_json_of_a_long_line(door, origin):
    """8 KiB of text that all needs an escape: cut, and still an object."""
    agent = "\xff" * 3000
    assert fetch(door.port, target="/json-5" + "%22" * 900, headers={"User-Agent": agent, "Referer": agent}).status == 200
    line = json.loads(line_with(door, "/json-5"))
    assert line["user_agent"] == "\xff" * 1024 and line["target"].startswith("/json-5%22") and len(line["target"]) == 1024
    assert line["request_id"]


def test_combined(door, origin):
    assert fetch(door.ports["combined"], target='/combined-1', headers={"User-Agent": 'a "b"'}).status == 200
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/20\d\d:\d\d:\d\d:\d\d \+0000\] "GET /combined-1 HTTP/1\.1" 200 2 "-" "a \\x22b\\x22"',
        line_with(door, "/combined-1"))


def test_own_format(door, origin):
    r = fetch(door.ports["own"], host="dead.test", target="/x/../own-1", headers={"X-Odd-One": "1\\2"})
    assert r.status == 502 and r.get("x-coxswain-reason") == "connect_failed"
    assert re.fullmatch(r"own 127\.0\.0\.1 GET /own-1 <1\\x5c2> 502 connect_failed 1 \d+ \d+", line_with(door, "/own-1"))


def test_default_of_one_listener(door, origin):
    assert fetch(door.ports["default"], target="/default-1").status == 200
    assert re.search(r'"GET /default-1 HTTP/1\.1" 200 2 "-" "-" web \S+ - \d+ \d+ \d+ \d+ [0-9a-f]{32}$', line_with(door, "/default-1"))


def test_client_behind_a_trusted_proxy(door, origin):
    assert fetch(door.ports["trusting"], target="/trust-1", headers={"X-Forwarded-For": "203.0.113.9"}).status == 200
    assert json.loads(line_with(door, "/trust-1"))["client_ip"] == "203.0.113.9"


def test_a_listener_without_lines(door, origin):
    assert fetch(door.ports["quiet"], target="/quiet-1").status == 200
    assert fetch(door.port, target="/quiet-2").status == 200
    line_with(door, "/quiet-2")
    with open(door.access, "rb") as f:
        assert b"/quiet-1" not in f.read()


def test_reason_of_a_server_is_not_believed(door, origin):
    origin.script(lambda c, r: c.send(reply(b"busy", status="503 Service Unavailable",
                                            headers=[("X-Coxswain-Reason", "no_endpoint"), ("X-Other", "stays")])))
    r = fetch(door.port)
    assert r.status == 503 and r.body == b"busy" and r.get("x-coxswain-reason") is None and r.get("x-other") == "stays"


def test_reasons_are_counted(door, origin):
    """What the client was told is what the metrics say, and a reload forgets none of it."""
    def counts():
        body = fetch(int(door.config["admin"]["address"].rpartition(":")[2]), target="/metrics", host="localhost").body.decode()
        return {m[0]: int(m[1]) for m in re.findall(r"coxswain_(?:cluster|unrouted)_reasons_total(\{.*\}) (\d+)", body)}

    refused, lost = '{cluster="dead",reason="connect_failed"}', '{reason="no_route"}'
    before = counts()
    for _ in range(3):
        assert fetch(door.port, host="dead.test").get("x-coxswain-reason") == "connect_failed"
        assert fetch(door.port, host="nobody.test").get("x-coxswain-reason") == "no_route"
    after = poll(lambda: counts().get(lost, 0) == before.get(lost, 0) + 3 and counts(), 3)
    assert after[refused] == before.get(refused, 0) + 3
    assert not any('cluster="web"' in k for k in after)
    status = json.loads(fetch(int(door.config["admin"]["address"].rpartition(":")[2]), target="/v1/status", host="localhost").body)
    assert status["unrouted_reasons"]["no_route"] == after[lost]
    assert [c["reasons"]["connect_failed"] for c in status["clusters"] if c["id"] == "dead"] == [after[refused]]
    assert door.cluster("dead")["reasons"]["connect_failed"] == after[refused]
    assert door.reload().returncode == 0
    assert poll(lambda: counts() == after and after, 5)[refused] == after[refused]


def test_reason_is_off_unless_asked(make_door, origin):
    door = make_door(clusters=[cluster("web", origin.address)], routes=[route("web.test", "web")])
    origin.script(lambda c, r: c.send(reply(headers=[("X-Coxswain-Reason", "mine")])))
    assert fetch(door.port, host="nobody.test").get("x-coxswain-reason") is None
    assert fetch(door.port).get("x-coxswain-reason") == "mine"


def test_rotation_loses_no_line(make_door, origin):
    """As logrotate does it: the file is moved away, USR1, and every line is in one of the two."""
    door = make_door(clusters=[cluster("web", origin.address)], routes=[route("web.test", "web")], start=False)
    door.config["log"]["access_format"] = "$target"
    door.start()
    old = door.access + ".1"
    for i in range(20):
        assert fetch(door.port, target="/rotate-%d" % i).status == 200
        if i == 9:
            os.rename(door.access, old)
            os.kill(door.process.pid, signal.SIGUSR1)
            poll(lambda: os.path.exists(door.access), 5, "a new file")

    def lines():
        out = []
        for path in (old, door.access):
            with open(path) as f:
                out += f.read().split()
        return len(out) >= 20 and out

    assert sorted(poll(lines, 5, "all lines")) == sorted("/rotate-%d" % i for i in range(20))


def test_faults_are_said_with_their_line(make_door, tmp_path):
    door = make_door(start=False, listeners={"a": {"access_format": "$status $nothing"}, "b": {}}, clusters=[cluster("web", "127.0.0.1:1")],
                     routes=[route("*", "web")])
    door.config["log"]["access_format"] = "plain"
    door.write()
    done = subprocess.run([COXSWAIN, "-t", "-c", door.file], capture_output=True, text=True)
    assert done.returncode == 2
    assert 'access_format: unknown variable "$nothing"' in done.stderr
    assert 'access_format: "plain" is neither default, combined, json nor off, and has no variable' in done.stderr
    assert len(re.findall(r"coxswain\.cfg:\d+: access_format", done.stderr)) == 2
