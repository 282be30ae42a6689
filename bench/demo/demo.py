#!/usr/bin/env python3
"""Scaling seen on the real thing: php-fpm members behind coxswain, wrk ramping up and down, from zero and back to zero.

    make demo-autoscale                                    about two minutes; writes bench/out/autoscale.svg, .json
    make demo-autoscale DEMO_FLAGS="--step 2 --kill 5"     shorter steps; the orchestrator is killed every 5 s or so
    make demo-autoscale DEMO_FLAGS="--scale-downs 200"     instead: that many members leave while wrk asks
    make demo-autoscale DEMO_FLAGS="--wakes 50"            instead: asleep and woken so often, by eight clients at a time

What it starts is conf/autoscale.cfg with free ports. Exit status 1: a request failed, or a member was left behind.
"""
import argparse
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))

from kit import lines, proc  # noqa: E402

SET = "demo/1/1/web"
CLUSTER = SET + ":web"
RAMP = (2, 4, 8, 16, 28, 40, 40, 28, 16, 8, 4, 2)


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builddir", default=".")
    parser.add_argument("--step", type=float, default=6, help="seconds of one step of the ramp")
    parser.add_argument("--ms", type=int, default=50, help="how long a page takes")
    parser.add_argument("--kill", type=float, default=0, help="kill the orchestrator at random, this many seconds apart on average")
    parser.add_argument("--scale-downs", type=int, default=0)
    parser.add_argument("--wakes", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Door:
    """conf/autoscale.cfg, started on free ports in a folder of its own."""

    def __init__(self, nursery, args):
        self.port, self.admin_port = proc.free_port(), proc.free_port()
        folder = nursery.path("run")
        os.mkdir(folder)
        shutil.copytree(os.path.join(TOP, "conf/quickstart"), os.path.join(folder, "quickstart"))
        plugins = os.path.join(folder, "plugins")
        os.mkdir(plugins)
        built = os.path.join(args.builddir, "plugins")
        for name in os.listdir(built):
            libs = os.path.join(built, name, ".libs")
            for so in (os.listdir(libs) if os.path.isdir(libs) else []):
                if so.endswith(".so"):
                    shutil.copy(os.path.join(libs, so), plugins)
        self.config = os.path.join(folder, "autoscale.cfg")
        self.log = os.path.join(folder, "access.log")
        self.control = os.path.join(folder, "control.sock")
        text = proc.text_of(os.path.join(TOP, "conf/autoscale.cfg")).replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        text += f'\nadmin = {{ address = "127.0.0.1:{self.admin_port}"; }};\ncontrol = "{self.control}";\n'
        if args.wakes:
            text = re.sub(r'scale_to_zero_after = "[^"]*"', 'scale_to_zero_after = "1s"', text)
        if os.geteuid() == 0:
            text += 'user = "root";\n'
        self.ctl_program = os.path.abspath(os.path.join(args.builddir, "coxctl"))
        with open(self.config, "w") as f:
            f.write(text)
        self.master = nursery.spawn([os.path.abspath(os.path.join(args.builddir, "coxswain")), "-c", self.config],
                                    COXSWAIN_PLUGIN_DIR=plugins)
        proc.wait_until(lambda: self.ask("/v1/status") is not None, "coxswain ready; " + self.master.output)

    def ask(self, path):
        """The JSON (or text) of the admin listener; None: no answer just now."""
        link = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            link.request("GET", path)
            answer = link.getresponse()
            body = answer.read()
            return None if answer.status != 200 else json.loads(body) if path.startswith("/v1") else body
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            link.close()

    def ctl(self, *words):
        subprocess.run([self.ctl_program, "-s", self.control, *words], check=True, stdout=subprocess.DEVNULL)

    def orchestrators(self):
        return [p for p in proc.family(self.master.pid)
                if b"coxswain: orchestrator" in open(f"/proc/{p}/cmdline", "rb").read()]


class Recorder(threading.Thread):
    """Looks every quarter of a second; keeps what it saw."""

    def __init__(self, door):
        super().__init__(daemon=True)
        self.door, self.rows, self.began, self.connections, self.stopping = door, [], time.monotonic(), 0, False
        self.last, self.first, self.histogram = None, None, {}

    def run(self):
        while not self.stopping:
            self.look()
            time.sleep(0.25)

    def look(self):
        now, status, members = time.monotonic(), self.door.ask("/v1/status"), self.door.ask("/v1/members")
        if not status or not members:
            return
        cluster = next((c for c in status["clusters"] if c["id"] == CLUSTER), None)
        if not cluster:
            return
        if self.first is None:
            self.first = status["time"] - (now - self.began)
        # The door's clock: an answer may have waited for a new orchestrator.
        row = {"s": status["time"] - self.first, "connections": self.connections, "held": cluster["held"],
               "in_flight": cluster["held"] + cluster["serving"] + cluster["finishing"], "requests": cluster["requests"]}
        states = [m["state"] for m in members["members"]]
        row["active"] = states.count("active")
        row["starting"] = sum(states.count(s) for s in ("created", "initialized", "starting"))
        row["leaving"] = sum(states.count(s) for s in ("in_maintenance", "ready_to_shut_down"))
        if self.last:
            span = row["s"] - self.last["s"]
            row["rate"] = max(0, row["requests"] - self.last["requests"]) / span
            row["in_flight_mean"] = max(0.0, sum(cluster["seconds"].values()) - self.seconds) / span
        counts = {middle: n for middle, n in cluster["histogram"]}
        new = sorted((m, n - self.histogram.get(m, 0)) for m, n in counts.items() if n > self.histogram.get(m, 0))
        row["p50_ms"], row["p99_ms"] = (quantile(new, q) for q in (0.5, 0.99))
        self.histogram, self.last, self.seconds = counts, row, sum(cluster["seconds"].values())
        self.rows.append(row)


def quantile(counts, q):
    todo = sum(n for _, n in counts) * q
    for middle, n in counts:
        todo -= n
        if todo <= 0:
            return middle * 1000
    return None


def one_request(port, ms, timeout=30):
    """Seconds until the answer is whole; raises what went wrong."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(f"GET /slow?ms={ms} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError("answered " + answer[:200].decode("latin-1"))
    return time.monotonic() - began


def wrk(port, connections, seconds, ms):
    """(requests, failures) as wrk counts them."""
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s",
                          f"http://127.0.0.1:{port}/slow?ms={ms}"], capture_output=True, text=True, check=True).stdout
    total = re.search(r"(\d+) requests in", out)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return int(total.group(1)) if total else 0, (int(bad.group(1)) if bad else 0) + sum(map(int, errors.groups() if errors else ()))


class Killer(threading.Thread):
    """Ends the orchestrator at random moments, as a crash would."""

    def __init__(self, door, mean, random_source):
        super().__init__(daemon=True)
        self.door, self.mean, self.random, self.kills, self.stopping = door, mean, random_source, [], threading.Event()

    def stop(self):
        self.stopping.set()
        self.join()

    def run(self):
        while not self.stopping.wait(self.random.expovariate(1 / self.mean)):
            for pid in self.door.orchestrators():
                try:
                    os.kill(pid, signal.SIGKILL)
                    self.kills.append(time.monotonic())
                except ProcessLookupError:
                    pass


def wait_for_members(recorder, count, seconds):
    try:
        proc.wait_until(lambda: recorder.rows and recorder.rows[-1]["active"] + recorder.rows[-1]["starting"]
                        + recorder.rows[-1]["leaving"] == count, f"{count} members", seconds)
        return True
    except RuntimeError:
        return False


def run(door, recorder, killer, args):
    """{what: number} of the whole show."""
    seen = {"requests": 0, "failed": 0}
    say("from zero: one request wakes the cluster")
    seen["from_zero_s"] = one_request(door.port, args.ms)
    for connections in RAMP:
        recorder.connections = connections
        done, failed = wrk(door.port, connections, args.step, args.ms)
        seen["requests"] += done
        seen["failed"] += failed
        say(f"{connections:3d} connections: {done} requests, {failed} failed; {recorder.rows[-1]['active']} members active")
    recorder.connections = 0
    if killer:
        killer.stop()
    say("nobody asks: back to zero")
    seen["back_to_zero"] = wait_for_members(recorder, 0, 60)
    seen["from_zero_again_s"] = one_request(door.port, args.ms)
    seen["members_most"] = max(r["active"] for r in recorder.rows)
    return seen


def scale_downs(door, recorder, args):
    """Members come and go by hand, all but one at a time, under load."""
    seen = {"requests": 0, "failed": 0, "scale_downs": 0}
    one_request(door.port, args.ms)
    stop = threading.Event()

    def load():
        while not stop.is_set():
            done, failed = wrk(door.port, 4, 5, args.ms)
            seen["requests"] += done
            seen["failed"] += failed

    thread = threading.Thread(target=load)
    thread.start()
    try:
        recorder.connections = 4
        while seen["scale_downs"] < args.scale_downs:
            for count in (12, 1):
                door.ctl("scale", SET, str(count))
                if not wait_for_members(recorder, count, 60):
                    raise RuntimeError(f"not {count} members within 60 s")
            seen["scale_downs"] += 11
            say(f"{seen['scale_downs']} members left; {seen['requests']} requests, {seen['failed']} failed")
    finally:
        stop.set()
        thread.join()
    door.ctl("scale", SET, "auto")
    recorder.connections = 0
    seen["back_to_zero"] = wait_for_members(recorder, 0, 90)
    return seen


def wakes(door, recorder, args):
    """Eight clients at a time find nobody there, again and again."""
    seen = {"requests": 0, "failed": 0, "wakes": 0, "wake_s": []}

    def ask():
        try:
            seen["wake_s"].append(one_request(door.port, args.ms))
        except (OSError, RuntimeError) as e:
            say(f"failed: {e}")
            seen["failed"] += 1

    for i in range(args.wakes):
        clients = [threading.Thread(target=ask) for _ in range(8)]
        for c in clients:
            c.start()
        for c in clients:
            c.join()
        seen["requests"] += len(clients)
        if not wait_for_members(recorder, 0, 120):
            raise RuntimeError("it does not fall asleep again")
        seen["wakes"] += 1
        if i % 10 == 9:
            say(f"{seen['wakes']} wakes, {seen['failed']} failed")
    times = sorted(seen.pop("wake_s"))
    seen["p50_s"], seen["most_s"] = times[len(times) // 2], times[-1]
    seen["back_to_zero"] = True
    return seen


def draw(rows, kills, title):
    def curve(key, name, **kw):
        return lines.Curve(name, [(r["s"], r.get(key)) for r in rows], **kw)

    return lines.page(title, [
        ("load", [curve("connections", "connections of wrk", steps=True, colour="#57606a")]),
        ("requests/s", [curve("rate", "requests/s", filled=True)]),
        ("in flight", [curve("in_flight_mean", "in flight, exact mean", filled=True), curve("held", "of them held", colour="#cf222e")]),
        ("members", [curve("active", "active", steps=True, filled=True, colour="#2da44e"),
                     curve("starting", "starting", steps=True, colour="#bf8700"),
                     curve("leaving", "leaving", steps=True, colour="#8c959f")]),
        ("latency, ms", [curve("p50_ms", "p50"), curve("p99_ms", "p99")]),
    ], [(k, "" if i else "dotted: orchestrator killed") for i, k in enumerate(kills)])


def main():
    args = parse()
    for tool in ("wrk",):
        if proc.which(tool) is None:
            sys.exit(f"demo: {tool} is missing")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with proc.Nursery() as nursery:
        door = Door(nursery, args)
        recorder = Recorder(door)
        recorder.start()
        killer = Killer(door, args.kill, random.Random(args.seed)) if args.kill else None
        if killer:
            killer.start()
        try:
            if args.scale_downs:
                seen = scale_downs(door, recorder, args)
            elif args.wakes:
                seen = wakes(door, recorder, args)
            else:
                seen = run(door, recorder, killer, args)
        finally:
            if killer:
                killer.stop()
            recorder.stopping = True
            recorder.join()
        family = proc.family(door.master.pid)
        nursery.end(door.master)
        seen["left_behind"] = [p for p in family if os.path.exists(f"/proc/{p}") and proc.state(p) != "Z"]
        kills = [k - recorder.began for k in killer.kills] if killer else []
        seen["orchestrator_kills"] = len(kills)
    folder = os.path.join(args.builddir, "bench/out")
    os.makedirs(folder, exist_ok=True)
    for name, text in (("autoscale.json", json.dumps({"seen": seen, "kills": kills, "rows": recorder.rows}, indent=1)),
                       ("autoscale.svg", draw(recorder.rows, kills, "coxswain scales php-fpm: wrk ramps up and down"))):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    print(json.dumps(seen, indent=1))
    sys.exit(1 if seen["failed"] or seen["left_behind"] or not seen["back_to_zero"] else 0)


if __name__ == "__main__":
    main()
