"""Three processes: what happens when one is killed, replaced, reloaded, upgraded or told to leave."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from harness.door import COXCTL, COXSWAIN, ROOT, SANITIZED, Door, children_of, cluster, config_text, is_zombie, route, title
from harness.load import Load
from harness.net import SLOW, Client, build, fetch, free_port, poll
from harness.origin import OK, reply

MEMBER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "harness", "member.py")
RELOADS = int(os.environ.get("RELOADS", "20"))
UPGRADES = int(os.environ.get("UPGRADES", "3"))


@pytest.fixture
def plain(make_door, origin):
    return make_door(clusters=[cluster("web", origin.address)], routes=[route("*", "web")])


def members_config(count=2, environment=None, **cartridge):
    env = dict(environment or {})
    return {
        "plugins": [{"name": "process"}],
        "cartridges": [dict({
            "name": "app", "actuator": "process", "command": [sys.executable, "-S", MEMBER], "environment": env,
            "ports": [{"protocol": "http", "probe": {"kind": "tcp", "interval": "200ms"}}], "stop_timeout": "1s",
        }, **cartridge)],
        "applications": [{"name": "shop", "hosts": ["*"], "cartridges": [{"alias": "web", "type": "app", "min": count, "max": max(count, 1)}]}],
    }


def find_members(status):
    """All member objects of the status, wherever they stand."""
    found = []

    def walk(x):
        if isinstance(x, dict):
            for k, v in x.items():
                if k == "members" and isinstance(v, list):
                    found.extend(v)
                else:
                    walk(v)
        elif isinstance(x, list):
            for v in x:
                walk(v)

    walk(status)
    return {m["id"]: m for m in found}


def active(door):
    return [m for m in find_members(door.status()).values() if m["state"] == "active"]


def wait_active(door, count, seconds=15):
    return poll(lambda: len(active(door)) == count and active(door), seconds, "%d active members: %s" % (count, door.log()[-2000:]))


def member_pids(door):
    return [p for p in children_of(door.process.pid) if "member.py" in title(p)]


def answers(door, n=20):
    """Who answers n requests: {member id: pid}."""
    out = {}
    for _ in range(n):
        r = fetch(door.port)
        assert r.status == 200, r
        who, pid = r.body.decode().split()[:2]
        out[who] = int(pid)
    return out


# titles, options, exit codes


def run(*args, **kw):
    return subprocess.run([COXSWAIN, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=20 * SLOW,
                          text=True, **kw)


def test_titles(plain):
    assert title(plain.process.pid).startswith("coxswain: master")
    assert len(plain.children("proxy")) == 1 and len(plain.children("orchestrator")) == 1
    assert re.match(r"coxswain: proxy \d+$", title(plain.children("proxy")[0]))


def test_help_and_version():
    for arg in ("--help", "-V"):
        done = run(arg)
        assert done.returncode == 0 and "coxswain" in done.stdout.lower()
    assert "-t" in run("--help").stdout


@pytest.mark.parametrize("args", [("--nonsense",), ("-c",), ("extra",)])
def test_usage_errors(args):
    done = run(*args)
    assert done.returncode not in (0, 2) and done.stderr


def test_check_good(tmp_path):
    file = tmp_path / "good.cfg"
    file.write_text('listeners = ({ name = "web"; address = "127.0.0.1:8080"; });\nclusters = ({ name = "a"; endpoints = ("127.0.0.1:1"); });\n'
                    'routes = ({ host = "*"; path = "/"; cluster = "a"; });\nuser = "root";\n')
    done = run("-t", "-c", str(file))
    assert done.returncode == 0, done.stderr


def test_check_says_all_errors_with_lines(tmp_path):
    file = tmp_path / "bad.cfg"
    file.write_text('wrokers = 2;\nworkers = "two";\nlisteners = (\n  { name = "web"; address = "nonsense"; }\n);\n'
                    'clusters = ( { name = "a"; connect_timeout = "5"; },\n  { name = "a"; } );\n'
                    'routes = ( { host = "*"; path = "/"; cluster = "missing"; } );\n')
    done = run("-t", "-c", str(file))
    assert done.returncode == 2
    text = done.stderr + done.stdout
    for line in (1, 2, 4, 6, 7, 8):
        assert "bad.cfg:%d:" % line in text, "line %d in:\n%s" % (line, text)
    assert "workers" in text and "missing" in text


@pytest.mark.parametrize("content", ["listeners = (", "@include \"missing.cfg\"\n", "\0\1\2"])
def test_check_of_broken_syntax(tmp_path, content):
    file = tmp_path / "bad.cfg"
    file.write_text(content)
    done = run("-t", "-c", str(file))
    assert done.returncode == 2 and "bad.cfg" in done.stderr + done.stdout


def test_check_of_plugin_options(tmp_path):
    file = tmp_path / "bad.cfg"
    file.write_text('listeners = ({ name = "web"; address = "127.0.0.1:8080"; });\n\nplugins = ({ name = "process"; nonsense = 1; });\nuser = "root";\n')
    done = run("-t", "-c", str(file))
    assert done.returncode == 2 and "bad.cfg:3" in done.stderr + done.stdout and "nonsense" in done.stderr + done.stdout


def test_start_with_a_missing_file():
    done = run("-c", "/nonexistent/x.cfg")
    assert done.returncode == 2 and "/nonexistent/x.cfg" in done.stderr


def test_taken_port(plain, tmp_path):
    config = dict(plain.config, control=str(tmp_path / "other.sock"))
    (tmp_path / "x.cfg").write_text(config_text(config))
    done = run("-c", str(tmp_path / "x.cfg"))
    assert done.returncode not in (0, 2) and str(plain.port) in done.stderr
    assert "in use" in done.stderr or "listens there already" in done.stderr


def test_pid_file_and_unix_listener(make_door, origin, tmp_path):
    pid, sock = str(tmp_path / "pid"), str(tmp_path / "web.sock")
    d = make_door(start=False, pid_file=pid, clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    d.config["listeners"].append({"name": "local", "address": "unix:" + sock})
    d.start()
    assert int(open(pid).read()) == d.process.pid
    import socket
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(sock)
        s.sendall(build())
        assert s.recv(1000).startswith(b"HTTP/1.1 200")
    d.stop()
    assert not os.path.exists(pid) and not os.path.exists(sock)


def test_daemon(tmp_path, origin):
    pid, port = tmp_path / "pid", free_port()
    config = {"workers": 1, "control": str(tmp_path / "c.sock"), "pid_file": str(pid), "listeners": [{"name": "web", "address": "127.0.0.1:%d" % port}],
              "clusters": [cluster("web", origin.address)], "routes": [route("*", "web")], "log": {"file": str(tmp_path / "log")}}
    if os.geteuid() == 0:
        config["user"] = "root"
    (tmp_path / "x.cfg").write_text(config_text(config))
    done = run("-d", "-c", str(tmp_path / "x.cfg"))
    assert done.returncode == 0, done.stderr
    master = int(poll(lambda: pid.exists() and pid.read_text().strip(), 5, "pid file"))
    try:
        assert fetch(port).status == 200  # it serves when the command returns
    finally:
        os.kill(master, signal.SIGTERM)
    poll(lambda: is_zombie(master), 10, "daemon left")


def test_readiness_notification(make_door, origin, tmp_path):
    import socket

    path = str(tmp_path / "notify")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind(path)
    s.settimeout(5)
    d = make_door(env={"NOTIFY_SOCKET": path}, clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    got = s.recv(1000)
    while b"READY=1" not in got:
        got += s.recv(1000)
    d.reload()
    while b"RELOADING=1" not in got:
        got += s.recv(1000)
    d.stop()
    while b"STOPPING=1" not in got:
        got += s.recv(1000)
    s.close()


# coxctl


def test_coxctl_status(plain):
    for _ in range(5):
        assert fetch(plain.port).status == 200
    fetch(plain.port, host="x", target="/\x7f")
    done = plain.ctl("status")
    assert b"web" in done.stdout
    status = plain.status()
    assert status["quiet"] is True
    web = plain.cluster("web")
    numbers = json.dumps(web)
    assert web.get("requests", 0) >= 5, numbers
    roles = json.dumps(status)
    assert "proxy" in roles and "orchestrator" in roles


def test_coxctl_sees_requests_in_flight(plain, origin):
    go = threading.Event()
    origin.script(lambda conn, r: go.wait(10) and conn.send(OK))
    clients = [Client(plain.port) for _ in range(3)]
    for c in clients:
        c.send(build())
    poll(lambda: len(origin.requests) == 3, message="requests at the server")
    status = plain.status()
    web = plain.cluster("web")
    assert status["quiet"] is False and web["serving"] == 3 and web["held"] == 0, web
    go.set()
    for c in clients:
        assert c.response().status == 200
        c.close()
    poll(lambda: plain.cluster("web")["serving"] == 0, 2, "back to zero")


def test_coxctl_topology(plain):
    done = plain.ctl("topology")
    assert b"web" in done.stdout
    assert "web" in json.dumps(json.loads(plain.ctl("--json", "topology").stdout))


def test_coxctl_exit_codes(plain, tmp_path):
    def code(*args, sock=plain.control):
        return subprocess.run([COXCTL, "-s", sock, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20).returncode

    assert code("status") == 0
    assert code("nonsense") == 64 and code() == 64 and code("drain") == 64
    assert code("status", sock=str(tmp_path / "no.sock")) == 2
    assert code("drain", "no-such-member") == 1


def test_control_socket_is_private(plain):
    assert os.stat(plain.control).st_mode & 0o077 == 0


def test_counters_survive_everything(plain, origin):
    for _ in range(10):
        fetch(plain.port)
    plain.reload()
    for _ in range(10):
        fetch(plain.port)
    plain.kill("proxy")
    plain.served(2)
    plain.accept_restart()
    plain.kill("orchestrator")
    time.sleep(0.1)
    poll(lambda: plain.cluster("web")["requests"] >= 21, 3, "counters kept: %s" % plain.cluster("web"))


# death


@pytest.mark.parametrize("times", [1, 3])
def test_orchestrator_killed_under_load(plain, origin, times):
    with Load(plain.port) as load:
        load.wait(200)
        for _ in range(times):
            (pid,) = poll(lambda: plain.children("orchestrator"), 5, "an orchestrator")
            os.kill(pid, signal.SIGKILL)
            load.wait(200)
            begin = time.monotonic()
            poll(lambda: [p for p in plain.children("orchestrator") if p != pid], 2 if times == 1 else 6, "orchestrator is back")
            if times == 1:
                assert time.monotonic() - begin < 1 * SLOW
    load.clean()
    poll(lambda: plain.status(check=False), 3)


def test_proxy_killed_under_load(plain, origin):
    with Load(plain.port, pause=0.005) as load:
        load.wait(200)
        plain.kill("proxy")
        assert plain.served(1.5) < 1.0 * SLOW
        load.wait(200)
    plain.accept_restart()
    assert fetch(plain.port).status == 200


def test_both_children_killed_at_once(plain, origin):
    for p in plain.children("orchestrator") + plain.children("proxy"):
        os.kill(p, signal.SIGKILL)
    assert plain.served(1.5) < 1.0 * SLOW
    plain.accept_restart()
    poll(lambda: plain.children("orchestrator"), 3, "orchestrator")


def test_proxy_serves_while_the_orchestrator_is_stopped(plain, origin):
    (pid,) = plain.children("orchestrator")
    os.kill(pid, signal.SIGSTOP)
    try:
        with Load(plain.port, threads=2) as load:
            load.wait(300)
        load.clean()
        plain.kill("proxy")
        plain.served(1.5)
        plain.accept_restart()
    finally:
        os.kill(pid, signal.SIGCONT)


def bad_plugin(folder, name, kind):
    """One of the plugins that are wrong in one way, made from tests/plugin/bad.c."""
    cc = shutil.which("cc") or pytest.skip("no compiler")
    subprocess.run([cc, "-shared", "-fPIC", "-I" + os.path.join(ROOT, "include"), "-DBAD_KIND=%d" % kind, '-DBAD_NAME="%s"' % name,
                    os.path.join(ROOT, "tests", "plugin", "bad.c"), "-o", str(folder / (name + ".so"))], check=True)
    return {"plugin_dir": str(folder), "plugins": [{"name": name}]}


def test_plugin_that_crashes_under_load(make_door, origin, tmp_path):
    """It dies again and again, and takes the orchestrator with it: no request notices."""
    d = make_door(clusters=[cluster("web", origin.address)], routes=[route("*", "web")], **bad_plugin(tmp_path, "bad_crash", 10))
    with Load(d.port) as load:
        first = d.children("orchestrator")
        begin = time.monotonic()
        poll(lambda: d.children("orchestrator") not in ([], first), 3, "another orchestrator")
        assert time.monotonic() - begin < (0.3 + 1) * SLOW
        poll(lambda: len(re.findall("orchestrator starts", d.log())) >= 3, 8, "and another")
        load.wait(100)
    load.clean()


@pytest.mark.skipif(SANITIZED or not shutil.which("prlimit"), reason="needs prlimit and a plain build")
def test_plugin_that_leaks_under_load(make_door, origin, tmp_path):
    """It eats all the memory there is for the orchestrator."""
    d = make_door(start=False, clusters=[cluster("web", origin.address)], routes=[route("*", "web")], **bad_plugin(tmp_path, "bad_leak", 11))
    d.start(wrapper=["prlimit", "--as=1200000000"])
    with Load(d.port, 3) as load:
        load.wait(3000, 20)
    load.clean()
    assert d.process.poll() is None


@pytest.mark.guard(60)
def test_children_that_hang_are_replaced(plain, origin):
    """No heartbeat for ten seconds: ended, and another one takes over."""
    (proxy,), (orchestrator,) = plain.children("proxy"), plain.children("orchestrator")
    os.kill(orchestrator, signal.SIGSTOP)
    with Load(plain.port, 1, pause=0.01) as load:
        poll(lambda: plain.children("orchestrator") not in ([], [orchestrator]), 20, "another orchestrator")
    load.clean()
    os.kill(proxy, signal.SIGSTOP)
    poll(lambda: plain.children("proxy") not in ([], [proxy]), 20, "another proxy")
    plain.served(2)
    plain.accept_restart()


def test_children_end_with_a_killed_master(make_door, origin):
    d = make_door(**members_config(1))
    wait_active(d, 1)
    family = d.family()
    Door.living.remove(d)
    os.kill(d.process.pid, signal.SIGKILL)
    d.process.wait()
    poll(lambda: all(map(is_zombie, family)), 8, "everything gone")
    d.process = None


# reload, upgrade, leaving


@pytest.mark.guard(120)
def test_reloads_under_load(plain, origin):
    with Load(plain.port) as load:
        load.wait(100)
        before = set(plain.children("proxy"))
        for i in range(RELOADS):
            if i % 5 == 4:
                plain.process.send_signal(signal.SIGHUP)
            done = plain.reload()
            assert done.returncode == 0, done.stderr
            load.wait(20)
        assert not before & set(poll(lambda: plain.children("proxy"), 5))
    load.clean()
    poll(lambda: len(plain.children("proxy")) == 1, 15, "old generations gone")
    plain.accept_restart()


def test_reload_changes_what_is_served(plain, origin, origin2):
    origin2.script(lambda conn, r: conn.send(reply(b"second")))
    port = free_port()
    assert fetch(plain.port).body == b"ok"
    plain.config["clusters"] = [cluster("other", origin2.address)]
    plain.config["routes"] = [route("*", "other")]
    plain.config["listeners"].append({"name": "more", "address": "127.0.0.1:%d" % port})
    done = plain.reload()
    assert done.returncode == 0, done.stderr
    assert fetch(plain.port).body == b"second" and fetch(port).body == b"second"
    plain.config["listeners"].pop()
    assert plain.reload().returncode == 0
    poll(lambda: refuses(port), 5, "removed listener closed")
    assert fetch(plain.port).status == 200


def refuses(port):
    try:
        Client(port, timeout=1).close()
        return False
    except OSError:
        return True


def test_wrong_config_is_refused(plain, origin):
    before = set(plain.children("proxy"))
    good = dict(plain.config)
    plain.config["nonsense"] = 1
    with Load(plain.port, threads=2) as load:
        load.wait(50)
        done = plain.reload()
        assert done.returncode == 1 and b"coxswain.cfg:" in done.stderr + done.stdout and b"nonsense" in done.stderr + done.stdout
        plain.process.send_signal(signal.SIGHUP)
        poll(lambda: plain.log().count("nonsense") >= 1, 5, "said in the log")
        load.wait(50)
    load.clean()
    assert set(plain.children("proxy")) == before
    plain.config = good
    assert plain.reload().returncode == 0


def test_reload_with_a_taken_port_is_refused(plain, origin):
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        plain.config["listeners"].append({"name": "taken", "address": "127.0.0.1:%d" % s.getsockname()[1]})
        before = set(plain.children("proxy"))
        assert plain.reload().returncode == 1
        assert set(plain.children("proxy")) == before and fetch(plain.port).status == 200


def test_reload_lets_requests_finish(plain, origin):
    go = threading.Event()
    origin.script(lambda conn, r: go.wait(10) and conn.send(reply(b"late")))
    with Client(plain.port) as c, Client(plain.port) as idle:
        idle.send(build(host="y", target="/\x7f"))
        c.send(build())
        origin.wait(1)
        assert plain.reload().returncode == 0
        assert len(plain.children("proxy")) == 2
        go.set()
        r = c.response()
        assert r.body == b"late" and r.get("connection") == "close" and c.closed()
    poll(lambda: len(plain.children("proxy")) == 1, 10, "old generation gone")
    plain.accept_restart()


def test_reload_keeps_tunnels(plain, origin):
    def echo(conn, request):
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        while True:
            conn.send(conn.exactly(4))

    origin.script(echo)
    with Client(plain.port) as c:
        c.send(build(headers={"Connection": "Upgrade", "Upgrade": "x"}))
        assert c.response().status == 101
        assert plain.reload().returncode == 0
        for _ in range(5):
            c.send(b"ping")
            assert c.exactly(4) == b"ping"
    poll(lambda: len(plain.children("proxy")) == 1, 10, "old generation gone")
    plain.accept_restart()


@pytest.mark.guard(120)
def test_upgrades_under_load(make_door, origin, tmp_path):
    program = str(tmp_path / "coxswain")
    builds = [COXSWAIN] + ([os.environ["COXSWAIN_OTHER"]] if os.environ.get("COXSWAIN_OTHER") else [])
    shutil.copy2(builds[0], program)
    d = make_door(start=False, clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    d.start(program)
    master = d.process.pid
    with Load(d.port) as load:
        load.wait(100)
        for i in range(UPGRADES):
            before = set(d.children("proxy"))
            shutil.copy2(builds[i % len(builds)], program + ".new")
            os.rename(program + ".new", program)
            d.process.send_signal(signal.SIGUSR2)
            poll(lambda: set(d.children("proxy")) - before, 10, "new generation: " + d.log()[-1500:])
            load.wait(50)
            poll(lambda: d.status(check=False), 5, "coxctl answers")
    load.clean()
    assert d.process.pid == master and d.process.poll() is None
    poll(lambda: len(d.children("proxy")) == 1, 15, "old generations gone")
    d.accept_restart()
    assert d.cluster("web")["requests"] >= load.ok


def test_upgrade_to_nonsense_is_refused(make_door, origin, tmp_path):
    program = str(tmp_path / "coxswain")
    shutil.copy2(COXSWAIN, program)
    d = make_door(start=False, clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    d.start(program)
    for text in ("#!/bin/sh\nexit 1\n", "not a program"):
        with open(program + ".new", "w") as f:
            f.write(text)
        os.chmod(program + ".new", 0o755)
        os.rename(program + ".new", program)
        done = d.ctl("upgrade", check=False)
        assert done.returncode == 1
        assert fetch(d.port).status == 200 and d.process.poll() is None
    d.accept_restart()


def test_term_drains(plain, origin):
    go = threading.Event()
    origin.script(lambda conn, r: go.wait(10) and conn.send(reply(b"late")))
    c = Client(plain.port)
    c.send(build())
    origin.wait(1)
    Door.living.remove(plain)
    plain.process.send_signal(signal.SIGTERM)
    poll(lambda: refuses(plain.port), 5, "no longer accepting")
    assert plain.process.poll() is None
    go.set()
    r = c.response()
    assert r.status == 200 and r.body == b"late"
    c.close()
    assert plain.process.wait(10 * SLOW) == 0
    assert not os.path.exists(plain.control)


def test_second_term_ends_at_once(plain, origin):
    origin.script(lambda conn, r: conn.drain() or False)
    c = Client(plain.port)
    c.send(build())
    origin.wait(1)
    Door.living.remove(plain)
    plain.process.send_signal(signal.SIGTERM)
    poll(lambda: refuses(plain.port), 5, "no longer accepting")
    plain.process.send_signal(signal.SIGTERM)
    plain.process.wait(5 * SLOW)
    c.close()


def test_told_to_stop_until_it_has(plain):
    """Also a signal that comes while the master already takes itself down leaves the exit code alone."""
    Door.living.remove(plain)
    while plain.process.poll() is None:
        plain.process.send_signal(signal.SIGTERM)
    assert plain.process.returncode == 0
    plain.check_reports()


def test_drain_timeout_ends_what_hangs(make_door, origin):
    d = make_door(drain_timeout="1s", clusters=[cluster("web", origin.address)], routes=[route("*", "web")])
    origin.script(lambda conn, r: conn.drain() or False)
    c = Client(d.port)
    c.send(build())
    origin.wait(1)
    Door.living.remove(d)
    d.process.send_signal(signal.SIGTERM)
    assert d.process.wait(6 * SLOW) == 0
    c.close()


def test_coxctl_stop(plain):
    Door.living.remove(plain)
    plain.ctl("stop")
    assert plain.process.wait(8 * SLOW) == 0


def test_health_paths(plain):
    for path in ("/healthz", "/readyz"):
        assert fetch(plain.port, target=path).status in (200, 404)


# members


def test_members_start_and_serve(make_door):
    d = make_door(**members_config(3))
    members = wait_active(d, 3)
    assert set(answers(d, 60)) == {m["id"] for m in members}
    assert len(member_pids(d)) == 3
    assert "member says hello" in d.log()


def test_killed_member_is_replaced(make_door):
    d = make_door(**members_config(2))
    wait_active(d, 2)
    before = answers(d)
    who, pid = sorted(before.items())[0]
    os.kill(pid, signal.SIGKILL)
    poll(lambda: pid not in member_pids(d) and len(member_pids(d)) == 2, 10, "replaced")
    wait_active(d, 2)
    after = poll(lambda: len(answers(d)) == 2 and answers(d), 5, "both serve")
    assert pid not in after.values()


@pytest.mark.guard(60)
def test_members_killed_under_load(make_door, tmp_path):
    """GETs may be retried and all succeed; no POST arrives twice."""
    import random

    posts = tmp_path / "posts"
    d = make_door(**members_config(3, {"POSTS": str(posts)}))
    wait_active(d, 3)
    rng = random.Random(3)
    with Load(d.port, 3, target="/g{n}", pause=0.002) as gets, \
            Load(d.port, 2, target="/p{n}", method="POST", body=b"x", pause=0.002, accept=(200, 502)) as sent:
        for _ in range(4):
            gets.wait(100, 20)
            before = {m["id"] for m in active(d)}
            os.kill(rng.choice(member_pids(d)), signal.SIGKILL)
            # The status may be a second old: only a new name among the three says that it knows of the death.
            poll(lambda: len(active(d)) == 3 and {m["id"] for m in active(d)} != before, 10, "replaced")
        gets.wait(100, 20)
    gets.clean()
    sent.clean()
    lines = posts.read_text().split()
    assert len(lines) == len(set(lines)), "a POST arrived twice"


def test_drained_member(make_door):
    """In flight finishes, then the member is stopped and another takes its place."""
    d = make_door(**members_config(2))
    wait_active(d, 2)
    slow = []

    def one():
        slow.append(fetch(d.port, target="/slow=1.0"))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for t in threads:
        t.start()
    poll(lambda: not d.status()["quiet"], 3, "in flight")
    victim = active(d)[0]["id"]
    d.ctl("drain", victim)
    poll(lambda: victim not in answers(d, 10), 3, "drained member gets nothing new")
    for t in threads:
        t.join()
    assert [r.status for r in slow] == [200] * 4
    poll(lambda: victim not in {m["id"] for m in active(d)} and len(active(d)) == 2, 15, "replaced")
    assert victim not in answers(d)


def test_members_survive_the_orchestrator(make_door):
    d = make_door(**members_config(2))
    wait_active(d, 2)
    before = sorted(member_pids(d))
    with Load(d.port, 3) as load:
        load.wait(100)
        d.kill("orchestrator")
        load.wait(200)
    load.clean()
    wait_active(d, 2)
    assert sorted(member_pids(d)) == before


def test_members_survive_a_reload_and_a_killed_proxy(make_door):
    d = make_door(**members_config(2))
    wait_active(d, 2)
    before = sorted(member_pids(d))
    with Load(d.port, 3) as load:
        load.wait(50)
        assert d.reload().returncode == 0
        load.wait(100)
    load.clean()
    d.kill("proxy")
    d.served(2)
    d.accept_restart()
    wait_active(d, 2)
    assert sorted(member_pids(d)) == before


def test_member_that_cannot_start(make_door):
    """Tried again with back-off, not in a storm; the rest of the program does not care."""
    d = make_door(**members_config(1, command=["/bin/false"], ports=[{"protocol": "http", "hold_timeout": "500ms"}]))
    time.sleep(1.5)
    assert 2 <= d.log().count("starts as process") - 2 < 8, d.log()[-3000:]
    r = fetch(d.port)
    assert r.status == 503 and r.get("retry-after")


def test_member_command_that_does_not_exist(make_door):
    d = make_door(**members_config(1, command=["/nonexistent/program"], ports=[{"protocol": "http", "hold_max": 0}]))
    poll(lambda: "/nonexistent/program" in d.log(), 5, "said in the log")
    assert fetch(d.port).status == 503


def test_stubborn_members_are_killed_at_the_end(make_door):
    d = make_door(**members_config(2, {"IGNORE_TERM": "1"}))
    wait_active(d, 2)
    pids = member_pids(d)
    d.stop(15)
    assert all(map(is_zombie, pids))


def test_whole_process_group_ends(make_door, tmp_path):
    child = tmp_path / "child"
    script = tmp_path / "group.sh"
    script.write_text("#!/bin/sh\nsleep 1000 &\necho $! >'%s'\nexec '%s' -S '%s'\n" % (child, sys.executable, MEMBER))
    script.chmod(0o755)
    d = make_door(**members_config(1, command=[str(script)]))
    wait_active(d, 1)
    pid = int(child.read_text())
    assert os.path.exists("/proc/%d" % pid)
    d.stop(15)
    poll(lambda: is_zombie(pid), 3, "the member's own child ended")


def test_waiting_for_the_first_member(make_door):
    """With a hold, requests wait for a slow start instead of failing."""
    config = members_config(1, {"START_DELAY": "1"})
    config["cartridges"][0]["ports"][0].update(hold_max=10, hold_timeout="10s")
    d = make_door(**config)
    r = fetch(d.port, timeout=15)
    assert r.status == 200


# the file plugin


def file_config(tmp_path, content):
    path = tmp_path / "view.json"
    path.write_text(json.dumps(content) if not isinstance(content, str) else content)
    return path, {"plugins": [{"name": "file", "path": str(path)}]}


def view(*addresses, host="*"):
    return {"clusters": [{"name": "dyn", "endpoints": [{"address": a} for a in addresses]}], "routes": [{"host": host, "path": "/", "cluster": "dyn"}]}


def replace(path, content):
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content) if not isinstance(content, str) else content)
    new.rename(path)


def test_file_plugin(make_door, origin, origin2, tmp_path):
    origin2.script(lambda conn, r: conn.send(reply(b"second")))
    path, config = file_config(tmp_path, view(origin.address))
    d = make_door(**config)
    d.served(3)
    replace(path, view(origin2.address))
    poll(lambda: fetch(d.port).body == b"second", 3, "change seen")
    replace(path, "{ broken")
    poll(lambda: "view.json" in d.log(), 3, "error said")
    for _ in range(10):
        assert fetch(d.port).body == b"second"
    path.unlink()
    time.sleep(0.1)
    assert fetch(d.port).body == b"second"  # the last good view stays
    origin.script(None)
    replace(path, view(origin.address))
    poll(lambda: fetch(d.port).body == b"ok", 3, "change seen again")
    replace(path, view())
    poll(lambda: fetch(d.port).status == 503, 3, "empty cluster")
    replace(path, {"clusters": [], "routes": []})
    poll(lambda: fetch(d.port).status == 404, 3, "no route")


def test_file_plugin_under_load(make_door, origin, origin2, tmp_path):
    """Endpoints come and go a hundred times; nothing fails."""
    path, config = file_config(tmp_path, view(origin.address, origin2.address))
    d = make_door(**config)
    d.served(3)
    with Load(d.port, 4) as load:
        for i in range(100):
            replace(path, view(*[origin.address, origin2.address][i % 2 : i % 2 + 1]) if i % 3 else view(origin.address, origin2.address))
            load.wait(30)
    load.clean()
    assert len(origin.requests) > 100 and len(origin2.requests) > 100
