"""What a reload takes out of the config while it serves: sets, aliases, `scale`, plugin instances, ports.

Requests in flight there end well, what ran is drained and then stopped, and nothing of it is left."""

import os
import shlex
import sys

import pytest

from harness.door import cluster, route
from harness.load import Load
from harness.net import Client, build, fetch, poll
from harness.origin import OK
from test_members import MEMBER, kill_orchestrator, members, mock, pids, processes, scaled, states, wait_states



class InFlight:
    """Requests that take so many seconds each."""

    def __init__(self, door, count, seconds=3):
        self.clients = [Client(door.port, timeout=20) for _ in range(count)]
        for c in self.clients:
            c.send(build("GET", f"/slow={seconds}"))
        poll(lambda: sum(k["serving"] for k in door.status()["clusters"]) == count, 5, "requests in flight")

    def statuses(self):
        out = [c.response("GET").status for c in self.clients]
        for c in self.clients:
            c.close()
        return out


def all_gone(door, before, seconds=20):
    """None of these processes lives, and nobody speaks of their members."""
    poll(lambda: not set(before) & set(pids(door)), seconds, lambda: "%s are left of %s\n%s" % (pids(door), before, door.log()[-3000:]))
    poll(lambda: not [m for m in members(door).values() if m["pid"] in before], 5, lambda: str(members(door)))


def without_applications(door, origin):
    for key in ("cartridges", "applications"):
        door.config.pop(key)
    door.config["clusters"] = [cluster("web", origin.address)]
    door.config["routes"] = [route("*", "web")]


def other_application(door, origin):
    """One of two."""
    door.config["applications"] = [a for a in door.config["applications"] if a["name"] != "shop"]


def no_application(door, origin):
    without_applications(door, origin)


def no_plugin(door, origin):
    without_applications(door, origin)
    door.config.pop("plugins")


def alias_renamed(door, origin):
    door.config["applications"][0]["cartridges"][0]["alias"] = "another"


def instance_renamed(door, origin):
    door.config["plugins"] = [{"name": "second", "plugin": "process"}]
    door.config["cartridges"][0]["actuator"] = "second"


@pytest.mark.guard(90)
@pytest.mark.parametrize("take", [other_application, no_application, no_plugin, alias_renamed, instance_renamed])
def test_what_a_reload_takes_out_is_drained(make_door, origin, tmp_path, take):
    origin.default = OK
    config = processes(tmp_path / "kept", 2)
    config["applications"].append({"name": "other", "hosts": ["o.test"],
                                   "cartridges": [{"alias": "web", "type": "app", "min": 1, "max": 1}]})
    d = make_door(**config)
    wait_states(d, active=3)
    taken = [m["pid"] for m in members(d).values() if m["set"].startswith("shop/")]
    waiting = InFlight(d, 4)
    take(d, origin)
    assert d.reload().returncode == 0
    assert waiting.statuses() == [200] * 4
    all_gone(d, taken)
    if take is instance_renamed:
        wait_states(d, active=3)
    assert set(states(d)) <= {"active"}


@pytest.mark.guard(60)
def test_an_instance_renamed_under_load(make_door, tmp_path):
    """Its members serve until their successors do: no request waits, none fails."""
    d = make_door(**processes(tmp_path / "kept", 2))
    wait_states(d, active=2)
    before = pids(d)
    with Load(d.port, 2, pause=0.005) as load:
        instance_renamed(d, None)
        assert d.reload().returncode == 0
        all_gone(d, before)
        wait_states(d, active=2)
        load.wait(20)
    load.clean()


@pytest.mark.guard(60)
def test_taken_out_while_the_orchestrator_dies(make_door, origin, tmp_path):
    """The next one finds no endpoint of theirs anywhere, and waits all the same."""
    origin.default = OK
    d = make_door(**processes(tmp_path / "kept", 2))
    wait_states(d, active=2)
    before = pids(d)
    waiting = InFlight(d, 4, 7)
    no_application(d, origin)
    assert d.reload().returncode == 0
    poll(lambda: states(d) and not states(d).get("active"), 5, lambda: str(states(d)))
    kill_orchestrator(d)
    assert waiting.statuses() == [200] * 4
    all_gone(d, before)
    d.accept_restart()


@pytest.mark.guard(60)
def test_a_cluster_that_is_scaled_no_more(make_door, origin, make_origin, tmp_path):
    """The cluster stays, without its members; their endpoints go with them."""
    origin.default = OK
    other = make_origin()
    other.default = OK
    d = make_door(plugins=[mock("mock", origin.address, state=str(tmp_path / "state"))], **scaled(2))
    wait_states(d, active=2)
    with Load(d.port, 2, pause=0.005) as load:
        d.config["clusters"] = [cluster("web", other.address)]
        assert d.reload().returncode == 0
        poll(lambda: states(d) == {}, 15, lambda: str(states(d)))
        load.wait(20)
    load.clean()
    (web,) = d.status()["clusters"]
    assert len(web["endpoints"]) == 1, web
    seen = len(other.requests)
    assert fetch(d.port).status == 200
    assert len(other.requests) == seen + 1


@pytest.mark.guard(60)
def test_no_ghosts_after_starts_that_fail_and_are_wanted_no_more(make_door, tmp_path):
    """The command is gone: each start fails, and by then many are not wanted any more."""
    config = processes(tmp_path / "kept", 1, most=200)
    script = tmp_path / "member.sh"
    script.write_text("#!/bin/sh\nexec %s -S %s\n" % (shlex.quote(sys.executable), shlex.quote(MEMBER)))
    script.chmod(0o755)
    config["cartridges"][0]["command"] = [str(script)]
    d = make_door(**config)
    wait_states(d, active=1)
    os.unlink(script)
    failed = "cannot be started"
    for _ in range(8):
        before = d.log().count(failed)
        d.ctl("scale", "web", "150")
        poll(lambda: d.log().count(failed) > before, 5, "starts that fail")
        d.ctl("scale", "web", "1")
        wait_states(d, active=1)
