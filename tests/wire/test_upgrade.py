"""Upgrades to a build with another ledger layout and back, deaths of everything at once, plugins that stall, the
topology on disk, and as whom the processes run."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from harness.door import COXSWAIN, cluster, is_zombie, route, title
from harness.load import Load
from harness.net import SLOW, Client, build, fetch, poll
from harness.origin import OK
from test_processes import MEMBER, bad_plugin, file_config, member_pids, members_config, view, wait_active

UPGRADES = int(os.environ.get("UPGRADES", "4"))
# A worker reads its clock every few events. What a reader adds for requests in flight, up to its own now, may be more than
# what is booked when they end, by as long as that worker was kept off the processor; with every count back at zero it is exact.
CLOCK_LAG = 0.05 * SLOW
NEXT = os.environ.get("COXSWAIN_NEXT") or os.path.join(os.path.dirname(os.path.abspath(COXSWAIN)), "coxswain-next")

needs_next = pytest.mark.skipif(not os.access(NEXT, os.X_OK), reason="no coxswain-next: `make check` builds it")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def plain(make_door, origin):
    return make_door(clusters=[cluster("web", origin.address)], routes=[route("*", "web")])


class Counters:
    """All counters of one cluster, looked at again and again: none may ever be lower than before."""

    KEYS = ("requests", "completed", "retries", "rx_bytes", "tx_bytes")

    def __init__(self, door, name):
        self.door, self.name, self.last = door, name, {}

    def look(self):
        status = poll(lambda: self.door.status(check=False), 5, "coxctl answers")
        c = next(c for c in status["clusters"] if c["id"] == self.name)
        now = {k: c[k] for k in self.KEYS}
        now.update(("status " + k, v) for k, v in c["status"].items())
        now.update(("failures " + k, v) for k, v in c["failures"].items())
        now.update(("seconds " + k, v) for k, v in c["seconds"].items())
        for e in c["endpoints"]:
            now.update(("endpoint " + k, e[k]) for k in ("requests", "rx_bytes", "tx_bytes", "attempt_seconds"))
        lower = {k: (self.last[k], v) for k, v in now.items() if v < self.last.get(k, 0) - (CLOCK_LAG if isinstance(v, float) else 0)}
        assert not lower, "ran backwards: %s" % lower
        assert status["ledgers_unreadable"] == 0 and status["ledgers_partial"] == 0
        self.last = now
        return status


def install(program, path):
    shutil.copy2(program, path + ".new")
    os.rename(path + ".new", path)


def upgrade(d, program, path):
    """As an administrator does it: the file is replaced, then the signal."""
    before = set(d.children("proxy"))
    install(program, path)
    d.process.send_signal(signal.SIGUSR2)
    poll(lambda: set(d.children("proxy")) - before, 10, "new generation: " + d.log()[-1500:])


@needs_next
@pytest.mark.guard(120)
def test_upgrade_to_another_ledger_layout_and_back_under_load(make_door, origin, tmp_path):
    path = str(tmp_path / "coxswain")
    install(COXSWAIN, path)
    d = make_door(start=False, clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    d.start(path)
    counters, master = Counters(d, "web"), d.process.pid
    with Load(d.port) as load:
        load.wait(100)
        for i in range(UPGRADES):
            counters.look()
            upgrade(d, NEXT if i % 2 == 0 else COXSWAIN, path)
            for _ in range(5):
                load.wait(30)
                counters.look()
            poll(lambda: d.status(check=False)["version"].endswith("-next") is (i % 2 == 0), 5, "version in the status")
    load.clean()
    assert d.process.pid == master and d.process.poll() is None
    poll(lambda: len(d.children("proxy")) == 1, 15, "old generations gone")
    d.accept_restart()
    status = poll(lambda: counters.look()["quiet"] and d.status(), 5, "quiet")
    web = next(c for c in status["clusters"] if c["id"] == "web")
    assert web["requests"] == web["completed"] == web["status"]["2xx"] == load.ok
    assert web["endpoints"][0]["requests"] == load.ok
    assert d.log().count("carried over") == UPGRADES and "begins anew" not in d.log()


@needs_next
def test_in_flight_over_an_upgrade_to_another_layout(make_door, origin, tmp_path):
    """What a draining generation of the other layout has in flight is counted until its last byte."""
    path, go = str(tmp_path / "coxswain"), threading.Event()
    install(COXSWAIN, path)
    d = make_door(start=False, clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    d.start(path)
    origin.script(lambda conn, r: go.wait(20) and conn.send(OK))
    clients = [Client(d.port) for _ in range(3)]
    for c in clients:
        c.send(build())
    poll(lambda: len(origin.requests) == 3, message="requests at the server")
    upgrade(d, NEXT, path)
    poll(lambda: d.status(check=False) and d.status()["version"].endswith("-next"), 5, "upgraded")
    web = d.cluster("web")
    assert web["serving"] == 3 and web["endpoints"][0]["attempts"] == 3
    first = web["seconds"]["serving"]
    poll(lambda: d.cluster("web")["seconds"]["serving"] > first, 3, "the integral goes on")
    go.set()
    for c in clients:
        assert c.response().status == 200
        c.close()
    poll(lambda: d.cluster("web")["serving"] == 0 and len(d.children("proxy")) == 1, 15, "drained")
    assert d.cluster("web")["requests"] == 3 and d.cluster("web")["status"]["2xx"] == 3
    d.accept_restart()


@needs_next
def test_max_in_flight_holds_over_an_upgrade(make_door, make_origin, tmp_path):
    origin, gate, path = make_origin(), threading.Event(), str(tmp_path / "coxswain")
    origin.script(lambda conn, r: gate.wait(30 * SLOW) and conn.send(OK))
    install(COXSWAIN, path)
    d = make_door(start=False, clusters=[cluster("c", origin.address, max_in_flight=1, hold_max=0)], routes=[route("*", "c")],
                  drain_timeout="60s").start(path)
    with Client(d.port, timeout=30) as c:
        c.send(build())
        origin.wait(1)
        upgrade(d, NEXT, path)
        poll(lambda: any(p["role"] == "proxy" and p["state"] == "draining" for p in d.status()["processes"]), 10, "the next serves")
        assert fetch(d.port).status == 503
        gate.set()
        assert c.response().status == 200
    poll(lambda: fetch(d.port).status == 200, 5, "the place is free")
    d.accept_restart()


@needs_next
@pytest.mark.guard(60)
def test_members_survive_an_upgrade_to_another_layout(make_door, tmp_path):
    path = str(tmp_path / "coxswain")
    install(COXSWAIN, path)
    d = make_door(start=False, **members_config(2))
    d.start(path)
    wait_active(d, 2)
    before = sorted(member_pids(d))
    with Load(d.port, 3) as load:
        for program in (NEXT, COXSWAIN):
            load.wait(50)
            upgrade(d, program, path)
        load.wait(100)
    load.clean()
    wait_active(d, 2)
    poll(lambda: len(d.children("proxy")) == 1, 15, "old generations gone")
    assert sorted(member_pids(d)) == before
    d.accept_restart()


# deaths


def test_both_children_killed_at_once_under_load(plain):
    """Served again within a second, from the topology that the master holds."""
    with Load(plain.port, threads=3, pause=0.005) as load:
        load.wait(100)
        for p in plain.children("orchestrator") + plain.children("proxy"):
            os.kill(p, signal.SIGKILL)
        assert plain.served(1.5) < 1.0 * SLOW
        load.wait(200)
    plain.accept_restart()
    # Who was in flight lost its connection; whoever came later was served.
    assert len(load.failures) <= 3 * len(load.threads), load.failures
    poll(lambda: plain.children("orchestrator"), 3, "orchestrator")
    poll(lambda: all(p["state"] in ("up", "serving") for p in plain.status()["processes"]), 5, "all well")


def test_discovered_topology_is_served_with_both_children_dead(make_door, origin, tmp_path):
    """What only a plugin knew is served by a new proxy while the source is gone."""
    path, config = file_config(tmp_path, view(origin.address))
    d = make_door(**config)
    d.served(3)
    time.sleep(1.1)  # the master is given a topology at most once a second
    path.unlink()
    for p in d.children("orchestrator") + d.children("proxy"):
        os.kill(p, signal.SIGKILL)
    assert d.served(1.5) < 1.0 * SLOW
    d.accept_restart()


# the topology on disk


def test_a_new_start_serves_from_the_topology_on_disk(make_door, origin, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    path, config = file_config(tmp_path, view(origin.address))
    d = make_door(state_dir=str(state), **config)
    d.served(3)
    kept = state / "topology"
    poll(lambda: kept.exists() and b"dyn" in kept.read_bytes(), 5, "kept")
    time.sleep(1.1)
    d.stop()
    path.unlink()  # the source has nothing to say this time
    d.start()
    assert fetch(d.port).status == 200
    d.stop()
    damaged = bytearray(kept.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    kept.write_bytes(damaged)
    d.start()
    assert "is not used" in d.log() and fetch(d.port).status == 404


def test_members_are_not_taken_from_the_disk(make_door, tmp_path):
    """They ended with the master: their ports may be anybody's by now."""
    state = tmp_path / "state"
    state.mkdir()
    d = make_door(state_dir=str(state), **members_config(1))
    wait_active(d, 1)
    time.sleep(1.1)
    d.stop(15)
    assert (state / "topology").exists()
    d.config["cartridges"][0]["command"] = ["/bin/sleep", "1000"]
    d.start()
    endpoints = [e for c in d.status()["clusters"] for e in c["endpoints"]]
    assert all(e["state"] != "active" for e in endpoints), endpoints
    d.stop(15)


# plugins


@pytest.mark.guard(90)
def test_plugin_that_stalls_is_left_out_after_three_times(make_door, origin, tmp_path):
    """Its orchestrator is ended after five seconds; the third time the plugin is not opened any more. A reload gives it
    another chance. No request notices any of it."""
    d = make_door(clusters=[cluster("web", origin.address)], routes=[route("*", "web")], **bad_plugin(tmp_path, "bad_hang", 12))
    with Load(d.port, 2, pause=0.01) as load:
        begin = time.monotonic()
        poll(lambda: "has held up the orchestrator" in d.log(), 10, "ended: " + d.log()[-1000:])
        assert time.monotonic() - begin > 4  # one that is merely slow is not ended
        poll(lambda: [p["stalls"] for p in d.status()["plugins"]] == [1], 5, "shown")
        poll(lambda: [p["left_out"] for p in d.status()["plugins"]] == [True], 20, "left out: " + d.log()[-1000:])
        poll(lambda: re.search(r'plugin "bad_hang" is left out', d.log()), 5, "said in the log")
        assert d.status()["plugins"] == [{"name": "bad_hang", "stalls": 3, "left_out": True}]
        assert b"LEFT OUT" in d.ctl("status").stdout
        (pid,) = poll(lambda: len(d.children("orchestrator")) == 1 and d.children("orchestrator"), 3)
        poll(lambda: any(p["role"] == "orchestrator" and p["state"] == "up" for p in d.status()["processes"]), 5, "up without it")
        time.sleep(1.5)
        assert d.children("orchestrator") == [pid]
        d.config["plugins"] = []
        assert d.reload().returncode == 0
        assert d.status()["plugins"] == []
    load.clean()
    poll(lambda: len(d.children("proxy")) == 1, 15, "old generation gone")
    d.accept_restart()


def test_slow_plugin_is_named_in_the_log(make_door, origin, tmp_path):
    d = make_door(clusters=[cluster("web", origin.address)], routes=[route("*", "web")], **bad_plugin(tmp_path, "bad_stall", 6))
    poll(lambda: re.search(r'plugin "bad_stall": start took (3\d|[4-9]\d|\d{3,}) ms', d.log()), 5, "named: " + d.log()[-1000:])
    assert d.status()["plugins"] == []


# privileges


def ids(pid):
    """Uids, gids, capabilities and the no-new-privileges bit of a process."""
    with open("/proc/%d/status" % pid) as f:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    return {
        "uids": set(lines["Uid"].split()), "gids": set(lines["Gid"].split()), "groups": set(lines["Groups"].split()),
        "caps": {k: int(lines[k], 16) for k in ("CapInh", "CapPrm", "CapEff", "CapAmb")}, "no_new": lines["NoNewPrivs"],
    }


@pytest.fixture
def readable():
    """The built plugins and the program of the members where anybody may read them: the checkout may lie in somebody's
    home."""
    with tempfile.TemporaryDirectory(prefix="coxswain-readable-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        built = os.environ["COXSWAIN_PLUGIN_DIR"]
        for where, _, files in os.walk(built):
            for name in files:
                if name.endswith(".so"):
                    shutil.copy(os.path.join(where, name), folder)
        shutil.copy(MEMBER, folder)
        yield folder


@needs_root
def test_children_and_members_run_as_the_user_without_capabilities(make_door, readable):
    nobody = pwd.getpwnam("nobody")
    command = [sys.executable, "-S", os.path.join(readable, os.path.basename(MEMBER))]
    d = make_door(user="nobody", env={"COXSWAIN_PLUGIN_DIR": readable}, **members_config(1, directory="/", command=command))
    wait_active(d, 1)
    assert "0" in ids(d.process.pid)["uids"]
    roles = d.children("proxy") + d.children("orchestrator")
    assert len(roles) == 2
    for pid in roles + member_pids(d):
        who = ids(pid)
        assert who["uids"] == {str(nobody.pw_uid)} and who["gids"] == {str(nobody.pw_gid)}, title(pid)
        assert who["groups"] <= {str(nobody.pw_gid)}, title(pid)
        assert not any(who["caps"].values()), (title(pid), who["caps"])
    assert all(ids(pid)["no_new"] == "1" for pid in roles)
    assert fetch(d.port).status == 200
    d.kill("orchestrator")
    (pid,) = poll(lambda: d.children("orchestrator"), 3, "orchestrator")
    poll(lambda: ids(pid)["uids"] == {str(nobody.pw_uid)}, 3, "the next one too")
    wait_active(d, 1)


@needs_root
def test_unknown_user_is_refused(make_door, tmp_path):
    d = make_door(start=False, user="no-such-user-here")
    d.write()
    done = subprocess.run([COXSWAIN, "-c", d.file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20 * SLOW)
    assert done.returncode == 2 and "no-such-user-here" in done.stderr


def test_a_stop_in_the_middle_of_an_upgrade(make_door, origin):
    """Whenever it comes, the program leaves; it does not go back to the former executable and forget."""
    door = make_door(clusters=[cluster("web", origin.address)], routes=[route("web.test", "web")])
    assert fetch(door.port).status == 200
    door.process.send_signal(signal.SIGUSR2)
    poll(lambda: "took over" in door.log(), 10, "the new executable")
    family = door.family()
    door.process.send_signal(signal.SIGTERM)
    assert door.process.wait(10 * SLOW) == 0
    door.stop(check=False)  # a proxy that never served may have been killed for it, and the log says so
    assert "going back" not in door.log() and "info: stopped" in door.log()
    assert not [p for p in family if os.path.exists("/proc/%d" % p) and not is_zombie(p)]
