"""The scaling loop on the real thing: members that come with the load and go with it, over deaths and orders."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from harness.door import COXCTL, COXSWAIN
from harness.net import SLOW, Client, build, fetch, free_port, poll

MEMBER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "harness", "member.py")
SET = "shop/1/1/web"


def scaled(policy=None, port=None, environment=None, **alias):
    """A config of one set that runs small Python servers."""
    rows = {"alias": "web", "type": "app", "min": 1, "max": 4}
    rows.update(alias)
    config = {
        "plugins": [{"name": "process"}],
        "cartridges": [{
            "name": "app", "actuator": "process", "command": [sys.executable, "-S", MEMBER], "environment": environment or {},
            "ports": [dict({"protocol": "http", "probe": {"kind": "tcp", "interval": "100ms"}}, **(port or {}))], "stop_timeout": "2s",
        }],
    }
    if policy is not None:
        config["autoscaling_policies"] = [dict({
            "name": "calm", "plugin": "scale_target", "target": 2, "stable_window": "6s", "panic_window_percentage": 20,
            "scale_down_stabilization_window": "1s",
        }, **policy)]
        rows["autoscaling_policy"] = "calm"
    config["applications"] = [{"name": "shop", "hosts": ["*"], "cartridges": [rows]}]
    return config


@pytest.fixture
def scaling(make_door, tmp_path):
    def make(*args, **kwargs):
        more = {"admin": {"address": "127.0.0.1:%d" % free_port()}, "state_dir": str(tmp_path / "state")}
        os.makedirs(more["state_dir"], exist_ok=True)
        if os.geteuid() == 0:
            os.chmod(more["state_dir"], 0o777)
        door = make_door(**dict(scaled(*args, **kwargs), **more))
        door.admin = int(more["admin"]["address"].rsplit(":", 1)[1])
        return door

    return make


def the_set(door):
    r = fetch(door.admin, target="/v1/scale", host="localhost")
    assert r.status == 200, r
    (one,) = json.loads(r.body)["sets"]
    assert one["set"] == SET
    return one


def ctl(door, *args, ok=True):
    r = subprocess.run([COXCTL, "-s", door.control, *args], capture_output=True, text=True, timeout=30)
    assert (r.returncode == 0) == ok, (args, r.stdout, r.stderr)
    return r.stdout + r.stderr


def wait_for(door, seconds=20, **wanted):
    return poll(lambda: all(the_set(door)[k] == v for k, v in wanted.items()), seconds, "%s; now %s\n%s" % (wanted, the_set(door), door.log()[-2000:]))


class Wave:
    """So many clients that ask one after the other until told to stop, or until their door is gone; every answer must be a 200."""

    def __init__(self, door, clients, target="/slow=0.2"):
        self.door, self.target, self.stop, self.done, self.bad = door, target, threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(clients)]
        for t in self.threads:
            t.start()

    def work(self):
        while not self.stop.is_set() and self.door.process:
            try:
                r = fetch(self.door.port, target=self.target, timeout=30 * SLOW)
                if r.status == 200:
                    self.done += 1
                else:
                    self.bad.append(r)
            except Exception as e:  # whatever it is, it is a request that failed
                self.bad.append("%s: %s" % (type(e).__name__, e))  # not e itself, which would keep its socket open
                self.stop.wait(0.01)

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        assert not self.bad, self.bad[:5]
        return self.done


def orchestrator(door):
    (pid,) = door.children("orchestrator")
    return pid


def test_members_follow_the_load_and_no_request_fails(scaling):
    """Up to max while eight clients ask, down to min when they are gone; all of it said and made again."""
    d = scaling({})
    wait_for(d, ready=1, wanted=1)
    wave = Wave(d, 8)
    wait_for(d, ready=4)
    text = ctl(d, "explain", "web")
    assert SET + ": 4 members are wanted" in text and "scale_target wanted" in text and "max is 4" in text or "wanted 4" in text, text
    assert wave.done > 0
    wave.stop.wait(1)  # some more requests, all over the members
    assert wave.end() > 8
    wait_for(d, wanted=1, ready=1, starting=0, draining=0)
    one = the_set(d)
    assert one["ups"] >= 1 and one["downs"] >= 1 and one["policy"] == "calm" and one["plugin"] == "scale_target"
    replayed = ctl(d, "explain", "--replay", "web")
    assert re.search(r"^(\d+) decisions of %s made again: \1 the same bit for bit, 0 differ$" % SET, replayed, re.M), replayed
    assert re.search(r"decision \d+: \d -> 1: ", ctl(d, "explain", SET + ":http")), "the last change is told"
    metrics = fetch(d.admin, target="/metrics", host="localhost").body.decode()
    assert 'coxswain_set_wanted{set="%s"} 1\n' % SET in metrics
    assert 'coxswain_set_changes_total{set="%s",direction="up"} %d\n' % (SET, one["ups"]) in metrics
    events = json.loads(fetch(d.admin, target="/v1/events", host="localhost").body)["events"]
    assert any(e["kind"] == "scale" and e["subject"] == SET and "4" in e["text"] for e in events)


def test_a_killed_orchestrator_takes_no_member_away(scaling):
    """SIGKILL at full load, with state: the count stays, nobody is started twice, requests go on."""
    d = scaling({"stable_window": "30s"})
    wave = Wave(d, 8)
    wait_for(d, ready=4)
    members = {m["id"] for m in d.status()["members"]}
    for _ in range(3):
        pid = orchestrator(d)
        os.kill(pid, signal.SIGKILL)
        poll(lambda: d.children("orchestrator") not in ([], [pid]), 10, "a new orchestrator")
        poll(lambda: the_set(d)["ready"] == 4, 10, "all four are known again")
        assert the_set(d)["wanted"] == 4
    assert {m["id"] for m in d.status()["members"]} == members
    log = d.log()
    assert wave.end() > 8
    assert log.count(": created (wanted)") == 4, "one start a member"
    assert "in_maintenance" not in log
    assert "0 differ" in ctl(d, "explain", "--replay", "web")  # records of the dead ones too


def test_without_a_state_it_does_not_shrink_before_a_window_is_seen(make_door):
    more = {"admin": {"address": "127.0.0.1:%d" % free_port()}}
    d = make_door(**dict(scaled({"stable_window": "6s"}), **more))
    d.admin = int(more["admin"]["address"].rsplit(":", 1)[1])
    wave = Wave(d, 8)
    wait_for(d, ready=4)
    wave.end()
    pid = orchestrator(d)
    os.kill(pid, signal.SIGKILL)
    poll(lambda: d.children("orchestrator") not in ([], [pid]), 10, "a new orchestrator")
    wait_for(d, ready=4, wanted=4, may_not_shrink=True)
    assert "does not shrink" in ctl(d, "explain", "web")
    wait_for(d, wanted=1, may_not_shrink=False)


def test_to_zero_and_back_with_a_request_that_waits(scaling):
    d = scaling({}, port={"hold_timeout": "20s"}, min=0, max=2, scale_to_zero_after="2s")
    assert fetch(d.port, timeout=20 * SLOW).status == 200  # the first of all wakes it
    wait_for(d, wanted=0, ready=0, draining=0)
    poll(lambda: not d.status()["members"], 10, "the last member is gone")
    begun = time.monotonic()
    r = fetch(d.port, timeout=20 * SLOW)
    assert r.status == 200, r
    member = r.body.decode().split()[0]
    text = poll(lambda: (lambda t: "first request served" in t and t)(ctl(d, "explain", "web")), 5, "the end of the chain")
    chain = text[text.index("How it last woke:"):]
    for link in ("request ", "decision ", "ticket ", "member " + member, "serves at 127.0.0.1:"):
        assert link in chain, text
    # the id in the chain is the one of the access log
    woke = re.search(r"  request (\S+)", chain).group(1)
    poll(lambda: woke in open(d.access).read(), 5, "the request in the access log")
    assert time.monotonic() - begun < 20 * SLOW
    one = the_set(d)
    assert one["decisions"].get("held", 0) >= 1
    wait_for(d, wanted=0, ready=0)


def test_the_idle_time_of_a_set_outlives_the_orchestrator(scaling):
    """It is killed six seconds after the last request: two more are enough then, of eight in all."""
    d = scaling({}, port={"hold_timeout": "20s"}, min=0, max=2, scale_to_zero_after="8s")
    assert fetch(d.port, timeout=20 * SLOW).status == 200
    begun = time.monotonic()
    poll(lambda: time.monotonic() - begun > 6, 10, "six seconds")
    pid = orchestrator(d)
    os.kill(pid, signal.SIGKILL)
    poll(lambda: d.children("orchestrator") not in ([], [pid]), 10, "a new orchestrator")
    wait_for(d, wanted=0)
    slept = time.monotonic() - begun
    assert 7.9 < slept < 13, slept  # counted from its own start it would have been 14


def test_no_request_fails_over_many_sleeps(scaling):
    """Requests come about when the last member goes: before, while it is drained, closed and stopped, and after."""
    d = scaling(None, port={"hold_timeout": "20s"}, min=0, max=1, scale_to_zero_after="1s")
    bad, pauses = [], [0.9 + 0.05 * i for i in range(24)]

    def client(mine):
        for pause in mine:
            time.sleep(pause)
            r = fetch(d.port, timeout=30 * SLOW)
            if r.status != 200:
                bad.append((pause, r))

    clients = [threading.Thread(target=client, args=(pauses[i::2],)) for i in range(2)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert not bad, (bad[:3], d.log()[-3000:])
    one = the_set(d)
    assert one["ups"] >= 1 and one["policy"] is None, one


def test_a_count_by_hand(scaling):
    """Kept over the death of the orchestrator and a reload; --for ends by itself; auto gives it back."""
    d = scaling({})
    wait_for(d, ready=1)
    assert "kept at 3" in ctl(d, "scale", "web", "3")
    wait_for(d, ready=3, wanted=3, by_hand=True)
    pid = orchestrator(d)
    os.kill(pid, signal.SIGKILL)
    poll(lambda: d.children("orchestrator") not in ([], [pid]), 10, "a new orchestrator")
    wait_for(d, ready=3, wanted=3, by_hand=True)
    d.reload()
    wait_for(d, ready=3, wanted=3, by_hand=True)
    assert "Set by hand to 3" in ctl(d, "explain", "web")
    ctl(d, "scale", "web", "auto")
    wait_for(d, wanted=1, ready=1, by_hand=False)
    ctl(d, "scale", SET, "2", "--for", "3s")
    wait_for(d, wanted=2)
    wait_for(d, wanted=1, by_hand=False)
    assert "max of %s is 4" % SET in ctl(d, "scale", "web", "5", ok=False)
    assert "no set or cluster" in ctl(d, "scale", "nobody", "2", ok=False)
    for wrong in (("scale", "web"), ("scale", "web", "2", "--for", "soon"), ("explain",), ("explain", "web", "x"), ("status", "--replay")):
        ctl(d, *wrong, ok=False)


def test_by_hand_without_a_policy(scaling):
    d = scaling(None)
    wait_for(d, ready=1)
    ctl(d, "scale", "web", "2")
    wait_for(d, ready=2)
    ctl(d, "scale", "web", "auto")
    wait_for(d, ready=1, wanted=1)
    assert "No policy" in ctl(d, "explain", "web")


def test_a_schedule_is_a_minimum(scaling):
    """One that holds now, by whichever clock, and one that does not."""
    now = time.gmtime()
    always = {"cron": "* * * * *", "for": "10m", "min": 2, "timezone": "utc"}
    never = {"cron": "0 0 %d %d *" % (1 + now.tm_mday % 28, 1 + (now.tm_mon + 5) % 12), "for": "1h", "min": 4}
    d = scaling({}, schedules=[always, never])
    wait_for(d, ready=2, wanted=2, floor=2, floor_origin="schedule")
    assert "at least 2 by a schedule" in ctl(d, "explain", "web")


def check(tmp_path, config):
    file = tmp_path / "check.cfg"
    from harness.door import config_text

    listeners = [{"name": "web", "address": "127.0.0.1:%d" % free_port()}]
    file.write_text(config_text(dict({"listeners": listeners}, **config)))
    r = subprocess.run([COXSWAIN, "-t", "-c", str(file)], capture_output=True, text=True, timeout=30)
    return r.returncode, r.stdout + r.stderr, file.read_text().splitlines()


@pytest.mark.parametrize("change, line, message", [
    (lambda c: c["autoscaling_policies"][0].update(nonsense=1), "nonsense", 'plugin "scale_target": unknown option "nonsense"'),
    (lambda c: c["autoscaling_policies"][0].update(target="x"), "target", "target must be a number"),
    (lambda c: c["autoscaling_policies"][0].update(plugin="process"), None, "it is no scaler"),
    (lambda c: c["autoscaling_policies"][0].update(plugin="scale_nothing"), None, "scale_nothing"),
    (lambda c: c["applications"][0]["cartridges"][0].update(autoscaling_policy="other"), "autoscaling_policy", 'policy "other" does not exist'),
    (lambda c: c["applications"][0]["cartridges"][0].update(schedules=[{"cron": "0 25 * * *", "for": "1h", "min": 2}]), "cron", "the hour must be 0 to 23"),
    (lambda c: c["applications"][0]["cartridges"][0].update(schedules=[{"cron": "0 2 * * *", "for": "1h", "min": 9}]), "min = 9", "above max"),
    (lambda c: c["applications"][0]["cartridges"][0].update(schedules=[{"cron": "0 2 * * *", "for": "8d", "min": 2}]), "for", "for"),
])
def test_what_is_wrong_is_told_with_its_line(tmp_path, change, line, message):
    config = scaled({})
    change(config)
    code, out, text = check(tmp_path, config)
    assert code == 2, out
    assert message in out, out
    if line:
        number = next(i for i, row in enumerate(text, 1) if row.strip().startswith(line))
        assert ":%d: " % number in out, (number, out)


def test_a_right_one_passes(tmp_path):
    assert check(tmp_path, scaled({}))[0] == 0
