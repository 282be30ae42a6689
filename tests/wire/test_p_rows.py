"""Rows P of the hostile input that belong to no other page: P8, texts of a platform are no config; P10, secrets stay out of the logs."""

import json
import os

import pytest

from harness.door import cluster, route
from harness.net import Client, build, fetch, poll
from harness.origin import reply

SECRETS = {"Authorization": "Basic c2VjcmV0OnNlY3JldA==", "Proxy-Authorization": "Bearer secret-bearer-7", "Cookie": "session=secret-cookie-8; a=b",
           "X-Api-Key": "secret-key-9"}
WORDS = ("c2VjcmV0OnNlY3JldA", "secret-bearer-7", "secret-cookie-8", "secret-key-9", "secret-answer-5", "secret-trailer-6")


def texts(door):
    with open(door.access, encoding="latin-1") as f:
        return f.read() + door.log()


@pytest.mark.parametrize("kind", ["good", "malformed", "no-route", "server-down", "upload"])
def test_P10_no_secret_in_any_log(make_door, make_origin, kind):
    """At the most talkative level, whatever becomes of the request."""
    origin = make_origin()
    origin.script(lambda conn, request: conn.send(reply(headers={"Set-Cookie": "session=secret-answer-5"})) or True)
    door = make_door(start=False, clusters=[cluster("web", origin.address)], routes=[route("web.test", "web")])
    door.config["log"]["level"] = "debug"
    door.start()
    host = "nobody.test" if kind == "no-route" else "web.test"
    if kind == "server-down":
        origin.stop()
    with Client(door.port) as c:
        if kind == "malformed":
            c.send(build("GET", "/end", headers=dict(SECRETS, **{"Bad Name": "x"})))
        elif kind == "upload":
            c.send(build("POST", "/end", headers=dict(SECRETS, **{"Transfer-Encoding": "chunked"})) + b"zz\r\nsecret-trailer-6\r\n")
        else:
            c.send(build("GET", "/end", host=host, headers=SECRETS))
        status = c.response().status
    assert status == {"good": 200, "malformed": 400, "no-route": 404, "server-down": 502, "upload": 400}[kind]
    with Client(door.port) as c:  # a line that says when all that came before has been written
        c.send(build("GET", "/sentinel", host="nobody.test"))
        c.response()
    text = poll(lambda: "/sentinel" in texts(door) and texts(door), 5, "the access log")
    assert not [w for w in WORDS if w in text]


def test_P10_no_secret_in_own_answers(make_door, make_origin):
    """Nothing of a request comes back in an answer made here."""
    origin = make_origin()
    door = make_door(clusters=[cluster("web", origin.address)], routes=[route("web.test", "web")])
    for host in ("nobody.test", "web.test"):
        r = fetch(door.port, target="/%00" if host == "web.test" else "/x", host=host, headers=SECRETS)
        assert r.status in (400, 404)
        whole = r.head.decode("latin-1") + r.body.decode("latin-1")
        assert not [w for w in WORDS if w in whole]


EVIL = ['x"; listeners = { own = { bind = "0.0.0.0:1" } }; y = "', "x\n@include \"/etc/passwd\"\n", "${HOME} $(id) `id`", "a\r\n2026-01-01 error: forged line",
        "../../etc/passwd", "<script>alert(1)</script>", "%s%n%s%n", "\u0000nul", "x" * 300, "{{ .Env }}"]


def test_P8_texts_of_a_platform_are_no_config(make_door, make_origin, tmp_path):
    """Whatever it says is a name or it is refused: nothing of it is read as config, format or line of a log, also not by the
    orchestrator and the proxy that come after a reload, which are handed the topology."""
    origin = make_origin()
    hosts = tmp_path / "hosts.json"
    good = {"name": "good", "endpoints": [origin.address]}

    def write(clusters=(), endpoints=(), routes=()):
        new = tmp_path / "new"
        new.write_text(json.dumps({"clusters": [good, *clusters], "endpoints": list(endpoints),
                                   "routes": [{"host": "good.test", "cluster": "good"}, *routes]}))
        os.replace(new, hosts)

    write()
    door = make_door(plugins=[{"name": "hosts", "plugin": "file", "path": str(hosts), "settle": "1ms"}], clusters=[cluster("web", origin.address)],
                     routes=[route("web.test", "web")])
    poll(lambda: fetch(door.port, host="good.test").status == 200, 5, "the file's route")
    listening = sorted(l["name"] for l in door.status()["listeners"])
    address, accepted, files = "127.0.0.1:%d" % origin.port, [], 0

    def take(routes=(), **evil):
        """Whether the file was taken; else the log says why not."""
        nonlocal files
        files += 1
        mark, said = "file%d.test" % files, len(door.log())
        write(routes=[{"host": mark, "cluster": "good"}, *routes], **evil)
        return poll(lambda: "yes" if fetch(door.port, host=mark).status == 200 else "no" if "stays" in door.log()[said:] else None, 10, "file %d" % files) == "yes"

    def named(text, n):
        return {"cluster": "good", "address": "127.0.0.1:%d" % n, "id": text, "ready": "not_ready"}

    for i, text in enumerate(EVIL):
        fresh = ("%s %d" % (text, n) for n in range(10))  # the same refusal twice would be said once
        take(clusters=[{"name": next(fresh), "endpoints": [address]}])
        take(clusters=[{"name": "c%d" % i, "balance": next(fresh), "endpoints": [address]}])
        take(clusters=[{"name": "c%d" % i, "host": next(fresh), "endpoints": [address]}])
        take(endpoints=[{"cluster": "good", "address": next(fresh)}])
        take(endpoints=[dict(named("other", 9), member=next(fresh), partition=next(fresh))])
        take(routes=[{"host": next(fresh), "cluster": "good"}])
        take(routes=[{"host": "x.test", "path": "/" + next(fresh), "cluster": "good"}])
        take(routes=[{"host": "x.test", "cluster": "good", "response_headers": {"set": ["X-A: " + next(fresh)]}}])
        name = next(fresh)
        if take(endpoints=[named(name, 9)]):
            accepted.append(name)
    write(routes=[{"host": "last.test", "cluster": "good"}], endpoints=[named(t, 10 + n) for n, t in enumerate(accepted)])
    poll(lambda: fetch(door.port, host="last.test").status == 200, 10, "the last file")
    assert door.reload().returncode == 0
    assert fetch(door.port, host="good.test").status == 200 and fetch(door.port, host="web.test").status == 200
    assert sorted(l["name"] for l in door.status()["listeners"]) == listening
    assert not [line for line in door.log().splitlines() if line.startswith("2026-01-01 error: forged") or "root:x:0" in line]
    ids = [e["id"] for e in door.cluster("good")["endpoints"]]
    assert sorted(ids) == sorted(accepted + [origin.address]) and len(accepted) >= 3
