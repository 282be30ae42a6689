"""Host names of endpoints: seen by their name server, by coxctl, and by the servers that the requests reach."""

import struct
import subprocess
import threading
import time

import pytest

from harness.dns import AAAA, NameServer, encode_name
from harness.door import COXSWAIN, cluster, route
from harness.net import fetch, poll
from harness.origin import reply


@pytest.fixture
def dns():
    made = NameServer()
    yield made
    made.stop()


@pytest.fixture
def start(make_door, dns):
    """A door whose cluster "web" has these endpoints."""

    def make(*endpoints, resolver=(), **options):
        return make_door(
            workers=1, clusters=[cluster("web", *endpoints, **options)], routes=[route("web.test", "web")],
            resolver=dict({"servers": [dns.address], "timeout": "5s", "tries": 2, "min_ttl": "100ms", "retry": "100ms"}, **dict(resolver)),
        )

    return make


def endpoints(door):
    return sorted(e["id"] for e in door.cluster("web")["endpoints"])


def becomes(door, *wanted, seconds=5):
    poll(lambda: endpoints(door) == sorted(wanted), seconds, "endpoints %s" % (wanted,))


def test_it_starts_although_the_name_is_not_there(start, dns, origin):
    door = start("app.test:%d" % origin.port)
    assert fetch(door.port).status == 503
    poll(lambda: dns.count("app.test") >= 3, 5, "asked again")
    assert endpoints(door) == []
    dns.set("app.test", "127.0.0.1")
    becomes(door, "127.0.0.1:%d" % origin.port)
    assert fetch(door.port).status == 200
    assert origin.one()
    assert door.log().count("app.test:%d: " % origin.port) == 1  # the failure is said once


def test_every_address_is_an_endpoint(start, dns):
    dns.set("app.test", "127.0.0.9", "::1", "127.0.0.8", "127.0.0.9")
    door = start({"address": "app.test:81", "weight": 7}, "127.0.0.1:82")
    becomes(door, "127.0.0.1:82", "127.0.0.8:81", "127.0.0.9:81", "[::1]:81")
    weights = {e["id"]: e["weight"] for e in door.cluster("web")["endpoints"]}
    assert weights["[::1]:81"] == weights["127.0.0.8:81"] == 7 and weights["127.0.0.1:82"] == 100
    assert dns.count("app.test", AAAA) >= 1


def test_changes_are_followed_when_the_ttl_is_over(start, dns):
    dns.set("app.test", "127.0.0.8", "127.0.0.9", ttl=1)
    door = start("app.test:81")
    becomes(door, "127.0.0.8:81", "127.0.0.9:81")
    dns.set("app.test", "127.0.0.9", "127.0.0.10", ttl=1)
    becomes(door, "127.0.0.10:81", "127.0.0.9:81")


def test_the_ttl_is_what_the_server_says(start, dns):
    """One second and one hour: the former is asked for again and again, the latter once."""
    dns.set("often.test", "127.0.0.8", ttl=1)
    dns.set("seldom.test", "127.0.0.9", ttl=3600)
    begin = time.monotonic()
    start("often.test:81", "seldom.test:81")
    poll(lambda: dns.count("often.test") >= 4, 20, "three times over")
    assert time.monotonic() - begin >= 3  # not before its time
    assert dns.count("seldom.test") == 1


def test_max_ttl(start, dns):
    dns.set("app.test", "127.0.0.9", ttl=86400)
    start("app.test:81", resolver={"max_ttl": "200ms"})
    poll(lambda: dns.count("app.test") >= 3, 5, "asked before the day is over")


def test_the_ttl_of_an_alias_counts(start, dns):
    dns.set("www.test", "pool.test", ttl=1)
    dns.set("pool.test", "127.0.0.9", ttl=3600)
    door = start("www.test:81")
    becomes(door, "127.0.0.9:81")
    dns.set("other.test", "127.0.0.10", ttl=3600)
    dns.set("www.test", "other.test", ttl=1)
    becomes(door, "127.0.0.10:81")


@pytest.mark.parametrize("how", ["silent", "servfail"])
def test_the_last_answer_stays_while_the_server_fails(start, dns, origin, how):
    dns.set("app.test", "127.0.0.1", ttl=0)
    door = start("app.test:%d" % origin.port, resolver={"timeout": "300ms"})
    becomes(door, "127.0.0.1:%d" % origin.port)
    dns.broken = how
    poll(lambda: "its last addresses stay" in door.log(), 20, "the failure in the log")
    seen = dns.count("app.test")
    poll(lambda: dns.count("app.test") > seen + 2, 20, "asked again")
    assert endpoints(door) == ["127.0.0.1:%d" % origin.port] and fetch(door.port).status == 200
    dns.broken = ""
    dns.set("app.test", "127.0.0.9")
    becomes(door, "127.0.0.9:%d" % origin.port, seconds=20)


def test_a_name_that_is_gone(start, dns):
    """Said twice in a row it is believed."""
    dns.set("app.test", "127.0.0.9", ttl=0)
    door = start("app.test:81", resolver={"retry": "1s"})
    becomes(door, "127.0.0.9:81")
    dns.remove("app.test")
    poll(lambda: "its last addresses stay" in door.log(), 5, "first time")
    assert endpoints(door) == ["127.0.0.9:81"]
    becomes(door)
    dns.set("app.test", "127.0.0.9", ttl=0)
    becomes(door, "127.0.0.9:81")


def forged_datagrams(reply):
    """What somebody else or a broken server might send: another id or question, pointers that lead nowhere or to themselves, counts and lengths
    that are not true, and every beginning of the true answer."""
    ident, rest = struct.unpack(">H", reply[:2])[0], reply[2:]
    question_end = reply.index(b"\0", 12) + 5
    record = struct.pack(">HHIH", 1, 1, 60, 4) + bytes([127, 0, 0, 66])
    head = reply[:6] + struct.pack(">HHH", 1, 0, 0) + reply[12:question_end]
    yield struct.pack(">H", ident ^ 1) + rest
    yield struct.pack(">H", (ident + 1) & 0xFFFF) + rest[:-4] + bytes([127, 0, 0, 66])
    yield reply[:2] + b"\1\0" + reply[4:]  # a question, no answer
    yield reply[:12] + encode_name("other.test") + reply[question_end - 4 : question_end] + encode_name("other.test") + record
    for pointer in (question_end, question_end + 1, 0, 0x3FFF, 11):
        yield head + struct.pack(">H", 0xC000 | pointer) + record
    yield head + b"\xc0\x0c" + record[:-6] + b"\xff\xff" + record[-4:]  # longer than the datagram
    yield reply[:6] + b"\xff\xff" * 3 + reply[12:question_end]
    yield head + b"\x40" + b"a" * 200 + record
    yield from (reply[:n] for n in range(0, min(len(reply), 64)))


def test_P9_answers_that_are_none(start, dns, origin):
    """Bounded and strict: nothing of it becomes an address, and the true answer behind it counts, though some cost a try."""
    dns.set("app.test", "127.0.0.1", ttl=0)
    dns.noise = forged_datagrams
    door = start("app.test:%d" % origin.port, resolver={"tries": 5, "timeout": "500ms"})
    seen = set()

    def resolved():
        now = endpoints(door)
        seen.update(now)
        return dns.count("app.test") >= 10 and now

    poll(resolved, 30, "an answer")
    assert seen == {"127.0.0.1:%d" % origin.port}
    assert fetch(door.port).status == 200


def test_P9_ids_cannot_be_guessed(start, dns):
    dns.set("app.test", "127.0.0.9", ttl=0)
    start("app.test:81", resolver={"min_ttl": "20ms"})
    poll(lambda: len(dns.idents) >= 40, 20, "questions")
    steps = {(b - a) & 0xFFFF for a, b in zip(dns.idents, dns.idents[1:])}
    assert len(steps) > 30 and len({i >> 8 for i in dns.idents}) > 25


def test_an_answer_too_long_for_a_datagram(start, dns):
    wanted = ["127.0.1.%d" % i for i in range(100)]
    dns.set("app.test", *wanted)
    door = start("app.test:81")
    becomes(door, *[w + ":81" for w in wanted])
    assert any(over == "tcp" for _, _, over in dns.asked)


def test_max_addresses(start, dns):
    dns.set("app.test", *["127.0.1.%d" % i for i in range(1, 4)])
    dns.set("more.test", *["127.0.2.%d" % i for i in range(1, 6)])
    door = start("app.test:81", "more.test:81", resolver={"max_addresses": 3})
    becomes(door, *["127.0.%d.%d:81" % (n, i) for n in (1, 2) for i in range(1, 4)])
    assert door.log().count("more addresses than max_addresses allows") == 1


def test_two_names_for_one_address(start, dns):
    dns.set("a.test", "127.0.0.8", "127.0.0.9", ttl=0)
    dns.set("b.test", "127.0.0.8", ttl=0)
    door = start("a.test:81", "b.test:81", "127.0.0.9:81")
    becomes(door, "127.0.0.8:81", "127.0.0.9:81")
    dns.set("a.test", "127.0.0.7", ttl=0)
    becomes(door, "127.0.0.7:81", "127.0.0.8:81", "127.0.0.9:81")


def test_one_name_in_two_clusters(make_door, dns):
    dns.set("app.test", "127.0.0.8", ttl=0)
    door = make_door(clusters=[cluster("web", "app.test:81"), cluster("other", "app.test:81", "app.test:82")],
                     resolver={"servers": [dns.address], "min_ttl": "100ms"})
    becomes(door, "127.0.0.8:81")
    poll(lambda: sorted(e["id"] for e in door.cluster("other")["endpoints"]) == ["127.0.0.8:81", "127.0.0.8:82"], 5)
    dns.set("app.test", "127.0.0.9", ttl=0)
    becomes(door, "127.0.0.9:81")
    poll(lambda: sorted(e["id"] for e in door.cluster("other")["endpoints"]) == ["127.0.0.9:81", "127.0.0.9:82"], 5)


def test_a_name_of_the_hosts_file(start, dns, origin):
    door = start("localhost:%d" % origin.port, retries=2)
    poll(lambda: "127.0.0.1:%d" % origin.port in endpoints(door), 5, "localhost")
    assert fetch(door.port).status == 200
    assert dns.count("localhost") == 0


def test_a_new_orchestrator_withdraws_nothing(start, dns, origin):
    """It is killed while the name server is silent: requests go on, and so they do after a reload."""
    dns.set("app.test", "127.0.0.1", ttl=1)
    door = start("app.test:%d" % origin.port, resolver={"timeout": "300ms"})
    becomes(door, "127.0.0.1:%d" % origin.port)
    time.sleep(1.1)  # the master is handed the topology once a second
    dns.broken = "silent"
    door.kill("orchestrator")
    door.accept_restart()
    seen = dns.count("app.test")
    poll(lambda: dns.count("app.test") > seen, 10, "the new one asks")
    assert endpoints(door) == ["127.0.0.1:%d" % origin.port] and fetch(door.port).status == 200
    assert door.reload(20).returncode == 0
    assert fetch(door.port).status == 200
    dns.broken = ""
    dns.set("app.test", "127.0.0.9")
    becomes(door, "127.0.0.9:%d" % origin.port, seconds=20)


def test_a_name_that_left_the_config(start, dns):
    dns.set("app.test", "127.0.0.8")
    door = start("app.test:81", "127.0.0.9:81")
    becomes(door, "127.0.0.8:81", "127.0.0.9:81")
    time.sleep(1.1)
    door.config["clusters"] = [cluster("web", "127.0.0.9:81")]
    assert door.reload(20).returncode == 0
    becomes(door, "127.0.0.9:81")


def test_held_requests_are_let_go_when_a_name_resolves(start, dns, origin):
    origin.script(lambda c, r: c.send(reply(b"at last")))
    door = start("app.test:%d" % origin.port, hold_max=10, hold_timeout="10s")
    poll(lambda: dns.count("app.test") >= 1, 5)
    got = []
    t = threading.Thread(target=lambda: got.append(fetch(door.port)))
    t.start()
    poll(lambda: door.cluster("web")["held"] == 1, 5, "held")
    dns.set("app.test", "127.0.0.1")
    t.join(20)
    assert got and got[0].body == b"at last"


@pytest.mark.parametrize("address", ["app.test", "app.test:0", "app..test:80", "-app.test:80", "10.0.0.300:80", "app test:80", "a" * 64 + ".test:80",
                                     "[app.test]:80", ":80", "app.test:80:80"])
def test_syntax_is_checked_and_nothing_is_looked_up(make_door, dns, address):
    door = make_door(start=False, clusters=[cluster("web", "fine.test:80", address)], resolver={"servers": [dns.address, "dns.test"]})
    door.write()
    done = subprocess.run([COXSWAIN, "-t", "-c", door.file], capture_output=True, text=True)
    assert done.returncode == 2 and '"%s" is no address' % address in done.stderr and "fine.test" not in done.stderr
    assert '"dns.test" in resolver: expected' in done.stderr
    assert not dns.asked
