"""PSS of idle keep-alive connections: every candidate gets 1,000, later 10,000 connections that have done one request; in
clear, over TLS, and HTTP/2 over TLS."""
import os
import subprocess
import time

from kit import cases, proc

FEW, MANY = 1000, 10000
GOALS = {"slope_bytes": 400, "total_bytes": 12 << 20}


class Kind:
    def __init__(self, title, kinds, variant, protocol, command):
        self.title, self.kinds, self.variant, self.protocol, self.command = title, kinds, variant, protocol, command


KINDS = {
    "idle": Kind("memory of idle keep-alive connections", ("nginx", "haproxy", "coxswain"), "-minimal", "h1", ["load"]),
    "idle-tls": Kind("memory of idle keep-alive connections over TLS 1.3", cases.PARSERS, "-tls", "tls", ["tls"]),
    "idle-h2": Kind("memory of idle HTTP/2 connections over TLS 1.3", cases.PARSERS, "-tls", "tls", ["tls", "-2"]),
}


class Opener:
    """A client that opens connections and keeps them."""

    def __init__(self, bench, command, port, count):
        self.child = subprocess.Popen(["taskset", "-c", str(bench.load_cores[0]),
                                       os.path.join(bench.meter.programs, command[0])] + command[1:]
                                      + ["-i", "-c", str(count), str(port), "/"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=proc.die_with_us)
        bench.nursery.children.append(self.child)
        self.child.output = os.devnull
        line = self.child.stdout.readline()
        if line.strip() != "idle":
            raise RuntimeError(f"idle connections cannot be opened: {line}{self.child.stdout.read()}")

    def close(self):
        self.child.communicate("")


def sessions(port):
    """How many the kernel holds towards it, to be sure that none was closed."""
    seen = 0
    for line in proc.text_of("/proc/net/tcp").splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        seen += int(local.split(":")[1], 16) == port and state == "01"
    return seen


def start_all(bench, name, kind):
    if kind.variant == "-tls":
        bench.stage.start_echo()
    candidates = {}
    for who, which, program in bench.known:
        if which not in kind.kinds:
            continue
        try:
            candidates[who] = bench.stage.start(who, which, program, bench.proxy_cores, variant=kind.variant)
        except RuntimeError as e:
            bench.say(f"{name}: left out: {e}")
    return candidates


def measure(bench, name="idle"):
    kind, wait, rows, openers = KINDS[name], bench.args.idle_seconds, {}, []
    candidates = start_all(bench, name, kind)
    for who, c in candidates.items():
        rows[who] = {"processes": len(c.pids()), "start_bytes": proc.pss_bytes(c.pids())}
    for key, count, more in (("few", FEW, FEW), ("many", MANY, MANY - FEW)):
        for who, c in list(candidates.items()):
            try:
                openers.append(Opener(bench, kind.command, c.ports[kind.protocol], more))
            except RuntimeError as e:
                bench.say(f"{name}: {who}: {e}")
                bench.nursery.end(c.child)
                del candidates[who], rows[who]
        bench.say(f"{name}: {count} connections each, waiting {wait:.0f} s")
        time.sleep(wait)
        for who, c in candidates.items():
            rows[who][key] = {"connections": sessions(c.ports[kind.protocol]), "bytes": proc.pss_bytes(c.pids())}
    for r in rows.values():
        span = r["many"]["connections"] - r["few"]["connections"]
        r["slope_bytes"] = (r["many"]["bytes"] - r["few"]["bytes"]) / max(1, span)
    for o in openers:
        o.close()
    for c in candidates.values():
        bench.nursery.end(c.child)
    return {"title": kind.title, "seconds": wait, "rows": rows, "goals": goals(rows, candidates, name)}


def goals(rows, candidates, name):
    mine = rows.get("coxswain")
    if not mine:
        return []
    slope, start = mine["slope_bytes"], mine["start_bytes"]
    if name == "idle":
        return [{"text": "≤ 400 B a connection", "reached": slope, "met": slope <= GOALS["slope_bytes"]},
                {"text": "≤ 12 MiB with the minimal config", "reached": start, "met": start <= GOALS["total_bytes"]}]
    others = {who: rows[who]["slope_bytes"] for who, c in candidates.items() if c.kind != "coxswain"}
    best = min(others, key=others.get) if others else None
    return [{"text": "bytes a connection ≤ the best peer's", "reached": slope / others[best], "against": best,
             "met": slope <= others[best]}] if best else []
