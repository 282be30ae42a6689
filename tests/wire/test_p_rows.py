"""Rows P of the hostile input that belong to no other page: P10, secrets stay out of the logs."""

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
