"""Members that come and go: partitions, capacity, faults, draining, and an orchestrator that is killed all the while."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from harness.door import COXSWAIN, cluster, route, title, children_of
from harness.load import Load
from harness.net import SLOW, Client, build, fetch, free_port, poll
from harness.origin import OK

MEMBER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "harness", "member.py")
ROUNDS = int(os.environ.get("MEMBER_ROUNDS", "4"))
WAVES = int(os.environ.get("MEMBER_WAVES", "3"))


def mock(name, *addresses, **options):
    return dict({"name": name, "plugin": "mock", "addresses": list(addresses)}, **options)


def journal(path):
    """What the platform of a mock actuator has seen: [(event, member id, …)]."""
    try:
        with open(path) as f:
            return [line.split() for line in f]
    except FileNotFoundError:
        return []


def living(path):
    out = {}
    for event, who, *rest in journal(path):
        if event == "start":
            out[who] = rest
        elif event in ("gone", "stop"):
            out.pop(who, None)
    return out


def starts(path):
    return sum(1 for e in journal(path) if e[0] == "start")


def members(door):
    """{id: member} of the status; empty while it cannot be told."""
    status = door.status(check=False)
    return {m["id"]: m for m in status["members"]} if status else {}


def states(door):
    out = {}
    for m in members(door).values():
        out[m["state"]] = out.get(m["state"], 0) + 1
    return out


def wait_states(door, seconds=15, **wanted):
    return poll(lambda: states(door) == wanted, seconds, lambda: "%s, not %s; log:\n%s" % (states(door), wanted, door.log()[-3000:]))


def partitions(door):
    out = {}
    for m in members(door).values():
        if m["state"] == "active":
            out[m["partition"]] = out.get(m["partition"], 0) + 1
    return out


def scaled(count, actuator="mock", most=64, **options):
    """A cluster "web" whose members an actuator makes."""
    return dict({"clusters": [dict({"name": "web", "probe": {"kind": "tcp", "interval": "100ms"},
                                    "scale": {"actuator": actuator, "min": count, "max": most}}, **options)],
                 "routes": [route("*", "web")]})


def resize(door, count):
    """By hand, which is on disk before the answer: no death of anybody takes it back."""
    door.ctl("scale", "web", str(count))


# mock members serve


def test_mock_members_serve(make_door, origin, tmp_path):
    origin.default = OK
    d = make_door(plugins=[mock("mock", origin.address, start_time="100ms", state=str(tmp_path / "state"))], **scaled(3))
    wait_states(d, active=3)
    assert fetch(d.port).status == 200
    assert len(living(tmp_path / "state")) == 3
    shown = d.ctl("status").stdout.decode()
    for who in members(d):
        assert re.search(r"^%s +active +web " % who, shown, re.M), shown
    assert members(d)[next(iter(members(d)))]["set"] == "web"


def test_a_platform_that_keeps_a_number_names_its_members(make_door, origin, tmp_path):
    """Up, down with those that were drained, a death, and no room: the core goes by the platform's names."""
    origin.default = OK
    state = tmp_path / "state"
    d = make_door(plugins=[mock("mock", origin.address, plugin="mock_count", state=str(state), start_time="100ms", capacity=6,
                                script=["ok", "fail", "ok", "die:1500ms"])], **scaled(1))
    wait_states(d, active=1)
    (first,) = members(d)
    assert first.startswith("web-p") and first in living(state)
    assert fetch(d.port).status == 200
    with Load(d.port, 2, pause=0.005) as load:
        resize(d, 4)
        wait_states(d, active=4)  # although a start failed
        poll(lambda: "died, as the script says" in d.log(), 10, "a death")
        poll(lambda: states(d) == {"active": 4} and set(members(d)) == set(living(state)), 10, "another in its place")
        assert first in members(d)
        resize(d, 2)
        poll(lambda: states(d) == {"active": 2} and set(members(d)) == set(living(state)), 10, "two that are left")
        resize(d, 8)
        poll(lambda: "no capacity" in d.log(), 10, "a full platform")
        wait_states(d, active=6)
        resize(d, 1)
        poll(lambda: states(d) == {"active": 1} and set(members(d)) == set(living(state)), 10, "one that is left")
        load.wait(20)
    load.clean()


def test_a_platform_that_tells_within_the_call(make_door, origin, tmp_path):
    """The count falls while members start, and rises again: those that end are told of before the call returns."""
    origin.default = OK
    state = tmp_path / "state"
    d = make_door(plugins=[mock("mock", origin.address, plugin="mock_count", state=str(state), start_time="300ms", at_once=True)],
                  **scaled(2))
    wait_states(d, active=2)
    with Load(d.port, 2, pause=0.005) as load:
        for count in (12, 3, 9, 1):
            resize(d, count)
            poll(lambda: len(living(state)) == count, 10, f"{count} of the platform's")
        poll(lambda: states(d) == {"active": 1} and set(members(d)) == set(living(state)), 10, "one that is left")
        resize(d, 6)
        wait_states(d, active=6)
        assert set(members(d)) == set(living(state))
        load.wait(20)
    load.clean()


def test_a_mock_member_that_dies_is_replaced(make_door, origin, tmp_path):
    origin.default = OK
    state = tmp_path / "state"
    d = make_door(plugins=[mock("mock", origin.address, state=str(state), script=["ok", "die:300ms"])], **scaled(2))
    poll(lambda: starts(state) == 3, 10, "a replacement")
    wait_states(d, active=2)
    assert "died, as the script says" in d.log()


def test_a_mock_member_that_is_never_ready_is_replaced(make_door, origin, tmp_path):
    origin.default = OK
    state = tmp_path / "state"
    d = make_door(plugins=[mock("mock", origin.address, state=str(state), script=["never", "fail", "ok"])],
                  cartridges=[{"name": "app", "actuator": "mock", "start_timeout": "500ms", "ports": [{"probe": {"kind": "tcp"}}]}],
                  applications=[{"name": "shop", "hosts": ["*"], "cartridges": [{"alias": "web", "type": "app", "min": 1}]}])
    wait_states(d, active=1)
    assert starts(state) == 2 and len(living(state)) == 1  # the one that failed had never been
    assert "start_timeout is over" in d.log() and "its actuator says: failed" in d.log()
    assert fetch(d.port).status == 200


def test_a_faulty_member_is_replaced(make_door, make_origin, tmp_path):
    """Its probe fails for long although its platform says that it runs; requests never notice."""
    good, bad = make_origin(), make_origin()
    good.default = OK
    state = tmp_path / "state"
    d = make_door(plugins=[mock("mock", bad.address, good.address, good.address, state=str(state))],
                  cartridges=[{"name": "app", "actuator": "mock", "faulty_after": "300ms",
                               "ports": [{"probe": {"kind": "tcp", "interval": "50ms", "fall": 2}}]}],
                  applications=[{"name": "shop", "hosts": ["*"], "cartridges": [{"alias": "web", "type": "app", "min": 2}]}])
    wait_states(d, active=2)
    (victim,) = [m["id"] for m in members(d).values() if m["address"] == bad.address]
    bad.stop()
    poll(lambda: victim not in members(d), 10, "the faulty one gone; log:\n" + d.log()[-2000:])
    assert "its probe has failed for too long" in d.log()


# partitions


def spread(*networks):
    return {"deployment_policies": [{"name": "p", "network_partitions": list(networks)}],
            "network_partitions": [{"name": "here", "partitions": ["a", "b"]}, {"name": "there", "partitions": ["c"]}]}


def in_places(count, plugins, networks, a=0):
    config = scaled(count, plugins[0]["name"])
    config["clusters"][0]["scale"]["deployment_policy"] = "p"
    config.update(spread(*networks))
    config["partitions"] = [{"name": "a", "max": a}, {"name": "b", "actuator": "second"}, {"name": "c", "actuator": "third"}]
    return dict(config, plugins=plugins)


def three(address, **capacities):
    return [mock(n, address, **({"capacity": capacities[n]} if n in capacities else {})) for n in ("first", "second", "third")]


def test_burst_into_the_next_network_partition_and_back(make_door, origin):
    origin.default = OK
    d = make_door(**in_places(6, three(origin.address, second=2), ["here", "there"], a=2))
    wait_states(d, active=6)
    assert partitions(d) == {"a": 2, "b": 2, "c": 2}  # a: its max; b: its actuator said so; c: what is left
    assert "partition b has no capacity" in d.log()
    assert re.search(r"^web-\w+ +active .* c  +", d.ctl("status").stdout.decode(), re.M)
    d.config["clusters"][0]["scale"]["min"] = 3
    d.config["clusters"][0]["scale"]["max"] = 3
    assert d.reload().returncode == 0
    wait_states(d, active=3)
    assert partitions(d) == {"a": 2, "b": 1}  # what had burst leaves first


def test_round_robin_over_partitions(make_door, origin):
    origin.default = OK
    d = make_door(**in_places(6, three(origin.address), [{"name": "here", "algorithm": "round_robin"}], a=0))
    wait_states(d, active=6)
    assert partitions(d) == {"a": 3, "b": 3}


def test_no_place_has_room(make_door, origin):
    """It says so, serves with what there is, and goes on as soon as there is room."""
    origin.default = OK
    d = make_door(**in_places(4, three(origin.address, second=1), ["here"], a=2))
    wait_states(d, active=3)
    poll(lambda: "set web: no place has room for a further member" in d.log(), 5, d.log())
    assert fetch(d.port).status == 200
    d.config["partitions"][0]["max"] = 3
    assert d.reload().returncode == 0
    wait_states(d, active=4)
    assert partitions(d) == {"a": 3, "b": 1}


def test_a_partition_that_is_no_longer_in_the_policy_is_left(make_door, origin):
    origin.default = OK
    d = make_door(**in_places(2, three(origin.address), ["here"], a=1))
    wait_states(d, active=2)
    assert partitions(d) == {"a": 1, "b": 1}
    d.config["deployment_policies"][0]["network_partitions"] = ["there"]
    with Load(d.port, 2, pause=0.01) as load:
        load.wait(10)
        assert d.reload().returncode == 0
        poll(lambda: partitions(d) == {"c": 2}, 10, lambda: d.log()[-3000:])
        load.wait(20)
    load.clean()


def test_check_names_what_is_wrong(tmp_path):
    file = tmp_path / "bad.cfg"
    file.write_text('plugins = ( { name = "example"; } );\nlisteners = ( { name = "l"; address = "127.0.0.1:8080"; } );\n'
                    'partitions = ( { name = "a"; actuator = "example"; } );\n'
                    'network_partitions = ( { name = "n"; partitions = [ "z" ]; } );\n')
    done = subprocess.run([COXSWAIN, "-t", "-c", str(file)], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode == 2 and 'bad.cfg:4: network partition "n" names partition "z", which does not exist' in done.stderr
    file.write_text(file.read_text().replace("z", "a"))
    done = subprocess.run([COXSWAIN, "-t", "-c", str(file)], capture_output=True, text=True, timeout=20 * SLOW)
    assert done.returncode == 2 and 'partition "a": plugin "example" cannot run members: it is no actuator' in done.stderr


# processes: draining under load, and an orchestrator that is killed


def processes(folder, count, delay="0.05", most=9):
    os.makedirs(folder, exist_ok=True)
    return {"state_dir": str(folder), "plugins": [{"name": "process"}],
            "cartridges": [{"name": "app", "actuator": "process", "command": [sys.executable, "-S", MEMBER],
                            "environment": {"START_DELAY": delay}, "stop_timeout": "2s",
                            "ports": [{"probe": {"kind": "tcp", "interval": "200ms"}}]}],
            "applications": [{"name": "shop", "hosts": ["*"], "cartridges": [{"alias": "web", "type": "app", "min": count, "max": most}]}]}


def pids(door):
    return sorted(p for p in children_of(door.process.pid) if "member.py" in title(p))


@pytest.mark.guard(60 + 20 * WAVES)
def test_down_and_up_under_load(make_door, tmp_path):
    """No request fails while members leave: each is drained to zero in flight before it is told to stop."""
    d = make_door(**processes(tmp_path / "kept", 6))
    wait_states(d, active=6)
    with Load(d.port, 4) as load:
        for count in (1, 6) * WAVES:
            load.wait(50)
            resize(d, count)
            wait_states(d, active=count)
        load.wait(50)
    load.clean()
    assert d.log().count("in_maintenance -> ready_to_shut_down (drained)") == 5 * WAVES
    assert "drain_timeout is over" not in d.log()
    print("%d requests over %d scale-downs, none failed" % (load.ok, 5 * WAVES))


@pytest.mark.guard(60)
def test_wanted_again_while_it_drains(make_door, tmp_path):
    """A member that has something in flight yet is kept when more are wanted: nothing is started, nothing fails."""
    d = make_door(**processes(tmp_path / "kept", 2))
    wait_states(d, active=2)
    before, clients = pids(d), [Client(d.port) for _ in range(4)]
    for c in clients:
        c.send(build("GET", "/slow=2"))
    poll(lambda: sum(c["serving"] for c in d.status()["clusters"]) == 4, 5)
    resize(d, 1)
    wait_states(d, active=1, in_maintenance=1)
    resize(d, 2)
    wait_states(d, active=2)
    for c in clients:
        assert c.response("GET").status == 200
        c.close()
    assert pids(d) == before and "in_maintenance -> active (wanted again)" in d.log()


@pytest.mark.guard(40)
def test_a_member_that_leaves_finishes_what_it_has(make_door, tmp_path):
    d = make_door(**processes(tmp_path / "kept", 2))
    wait_states(d, active=2)
    clients = [Client(d.port) for _ in range(4)]
    for c in clients:
        c.send(build("GET", "/slow=1.5"))
    poll(lambda: sum(c["serving"] for c in d.status()["clusters"]) == 4, 5)
    resize(d, 1)
    poll(lambda: states(d).get("in_maintenance") == 1 or len(pids(d)) == 1, 5)
    for c in clients:
        assert c.response("GET").status == 200
        c.close()
    wait_states(d, active=1)
    poll(lambda: len(pids(d)) == 1, 5)


def kill_orchestrator(door):
    """Once, if it lives at the moment."""
    for p in door.children("orchestrator"):
        try:
            os.kill(p, signal.SIGKILL)
        except ProcessLookupError:
            pass


@pytest.mark.guard(120)
@pytest.mark.parametrize("seed", range(2))
def test_orchestrator_killed_while_processes_come_and_go(make_door, tmp_path, seed):
    """No double start, no orphan, no needless shrink: every process that was ever forked was wanted."""
    dice = random.Random(seed)
    d = make_door(**processes(tmp_path / "kept", 3, delay="0.2"))
    needed, count = 3, 3
    wait_states(d, active=3)
    with Load(d.port, 2, pause=0.005) as load:
        for _ in range(ROUNDS):
            before, wanted = pids(d), dice.choice([n for n in (1, 2, 4, 5) if n != count])
            resize(d, wanted)
            for _ in range(2):
                time.sleep(dice.random() * 0.25)  # any moment will do: the dice decide which one it is
                kill_orchestrator(d)
            d.accept_restart()
            wait_states(d, 30, active=wanted)
            poll(lambda: len(pids(d)) == wanted, 10, lambda: "%s of %d processes" % (pids(d), wanted))
            assert len(set(before) & set(pids(d))) == min(count, wanted)  # who could stay has stayed
            assert sorted(m["pid"] for m in members(d).values()) == pids(d)
            needed, count = needed + max(0, wanted - count), wanted
        load.wait(20)
    load.clean()
    assert len(re.findall(r"member \S+ starts as process", d.log())) == needed


@pytest.mark.guard(120)
@pytest.mark.parametrize("seed,plugin", [(0, "mock"), (1, "mock"), (2, "mock_count"), (3, "mock_count")])
def test_orchestrator_killed_while_mock_members_come_and_go(make_door, origin, tmp_path, seed, plugin):
    origin.default = OK
    dice, state = random.Random(seed), tmp_path / "state"
    d = make_door(plugins=[mock("mock", origin.address, plugin=plugin, state=str(state), start_time="100ms", start_spread=0.5, stop_time="50ms")],
                  state_dir=str(tmp_path), **scaled(10))
    needed, count = 10, 10
    wait_states(d, active=10)
    with Load(d.port, 2, pause=0.005) as load:
        for _ in range(ROUNDS):
            before, wanted = set(living(state)), dice.choice([n for n in (2, 5, 20, 40) if n != count])
            resize(d, wanted)
            for _ in range(2):
                time.sleep(dice.random() * 0.25)
                kill_orchestrator(d)
            d.accept_restart()
            wait_states(d, 30, active=wanted)
            assert set(living(state)) == set(members(d))
            assert len(before & set(living(state))) == min(count, wanted)
            needed, count = needed + max(0, wanted - count), wanted
        load.wait(20)
    load.clean()
    assert starts(state) == needed
