"""PSS of idle keep-alive connections: every candidate gets 1,000, later 10,000 connections that have done one request."""
import os
import subprocess
import time

from kit import proc

FEW, MANY = 1000, 10000
GOALS = {"slope_bytes": 400, "total_bytes": 12 << 20}


class Opener:
    """A client that opens connections and keeps them."""

    def __init__(self, bench, port, count):
        self.child = subprocess.Popen(["taskset", "-c", str(bench.load_cores[0]),
                                       os.path.join(bench.meter.programs, "load"), "-i", "-c", str(count), str(port), "/"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        bench.nursery.children.append(self.child)
        self.child.output = os.devnull
        line = self.child.stdout.readline()
        if line.strip() != "idle":
            raise RuntimeError(f"idle connections cannot be opened: {line}{self.child.stdout.read()}")

    def close(self):
        self.child.communicate("")


def sessions(bench, candidate):
    """How many the kernel holds towards it, to be sure that none was closed."""
    seen = 0
    for line in proc.text_of("/proc/net/tcp").splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        seen += int(local.split(":")[1], 16) == candidate.port and state == "01"
    return seen


def measure(bench):
    wait = bench.args.idle_seconds
    stage, rows, openers = bench.stage, {}, []
    candidates = {}
    for name, kind, program in bench.known:
        if kind == "relay":
            continue
        try:
            candidates[name] = stage.start(name, kind, program, bench.proxy_cores, variant="-minimal")
        except RuntimeError as e:
            bench.say(f"idle: left out: {e}")
    for name, c in candidates.items():
        rows[name] = {"processes": len(c.pids()), "start_bytes": proc.pss_bytes(c.pids())}
    for key, count, more in (("few", FEW, FEW), ("many", MANY, MANY - FEW)):
        for name, c in list(candidates.items()):
            try:
                openers.append(Opener(bench, c.port, more))
            except RuntimeError as e:
                bench.say(f"idle: {name}: {e}")
                del candidates[name], rows[name]
        bench.say(f"idle: {count} connections each, waiting {wait:.0f} s")
        time.sleep(wait)
        for name, c in candidates.items():
            rows[name][key] = {"connections": sessions(bench, c), "bytes": proc.pss_bytes(c.pids())}
    for r in rows.values():
        span = r["many"]["connections"] - r["few"]["connections"]
        r["slope_bytes"] = (r["many"]["bytes"] - r["few"]["bytes"]) / max(1, span)
    for o in openers:
        o.close()
    for c in candidates.values():
        bench.nursery.end(c.child)
    mine = rows.get("coxswain")
    goals = [] if not mine else [
        {"text": "≤ 400 B a connection", "reached": mine["slope_bytes"], "met": mine["slope_bytes"] <= GOALS["slope_bytes"]},
        {"text": "≤ 12 MiB with the minimal config", "reached": mine["start_bytes"],
         "met": mine["start_bytes"] <= GOALS["total_bytes"]}]
    return {"title": "memory of idle keep-alive connections", "seconds": wait, "rows": rows, "goals": goals}
