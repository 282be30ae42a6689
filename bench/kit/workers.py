"""One worker to two: does a request become dearer, and is the work dealt out evenly?"""
import json
import os
import subprocess

from kit import cases, proc
from kit.measure import ratio, summary
from kit.stats import interval, median

CASE = cases.Case("one worker and two, on all cores together with load and origin", paced=1, load=[])


def proxy_pid(bench, candidate):
    out = subprocess.run([os.path.join(bench.stage.build, "coxctl"), "-s", candidate.control, "--json", "status"],
                         capture_output=True, text=True, check=True).stdout
    return next(p["pid"] for p in json.loads(out)["processes"] if p["role"] == "proxy")


def worker_rows(bench, pid):
    return json.loads(subprocess.run([os.path.join(bench.meter.programs, "rows"), str(pid)], capture_output=True, text=True,
                                     check=True).stdout)


def unevenness(values):
    """Largest distance from the mean, as a share of it."""
    mean = sum(values) / len(values)
    return max(abs(v - mean) for v in values) / mean if mean else 1.0


def load_and_look(bench, candidate, pid):
    """One round of coxswain with two workers; sessions are looked at in the middle of it."""
    proc.wait_until(lambda: all(r["sessions"] == 0 for r in worker_rows(bench, pid)), "sessions of the round before", 10)
    before = worker_rows(bench, pid)
    pids = candidate.pids()
    total0, user0 = proc.cpu_seconds(pids)
    load = subprocess.Popen([os.path.join(bench.meter.programs, "load"), "-d", str(bench.args.seconds), str(candidate.port),
                             "/"], stdout=subprocess.PIPE, text=True, preexec_fn=proc.die_with_us)
    middle = None
    try:
        def all_there():
            nonlocal middle
            middle = worker_rows(bench, pid)
            return sum(r["sessions"] for r in middle) == 64
        proc.wait_until(all_there, "64 sessions", 10)
    finally:
        seen = json.loads(load.communicate()[0])
    total1, user1 = proc.cpu_seconds(pids)
    after = worker_rows(bench, pid)
    n = max(1, seen["requests"])
    return {"requests_per_s": seen["requests"] / seen["seconds"], "errors": seen["errors"], "p50_us": seen["p50_us"],
            "p99_us": seen["p99_us"], "cpu_us": (total1 - total0) * 1e6 / n, "user_us": (user1 - user0) * 1e6 / n,
            "core_busy": 1.0, "sessions_uneven": unevenness([r["sessions"] for r in middle]),
            "served_uneven": unevenness([b["served_s"] - a["served_s"] for a, b in zip(before, after)])}


def measure(bench):
    cores = sorted(os.sched_getaffinity(0))[-2:]
    kinds = {"relay": None, "coxswain": None}
    for name, kind, program in bench.known:
        if kind in kinds:
            kinds[kind] = program
    if None in kinds.values():
        raise RuntimeError("relay and coxswain are both needed")
    candidates = {}
    for kind, program in kinds.items():
        for workers in (1, 2):
            candidates[f"{kind} {workers}"] = bench.stage.start(f"{kind} {workers}", kind, program, cores, workers=workers)
    pid = proxy_pid(bench, candidates["coxswain 2"])
    meter = type(bench.meter)(bench.args, bench.nursery, cores, cores)
    rounds, names = [], list(candidates)
    for i in range(bench.args.rounds):
        row = {}
        for n in names[i % 4:] + names[:i % 4]:
            if n == "coxswain 2":
                meter.load(CASE, candidates[n].port, bench.args.warm)
                row[n] = load_and_look(bench, candidates[n], pid)
            else:
                row[n] = meter.measure(CASE, candidates[n])
        rounds.append(row)
        bench.say("two-workers: " + "  ".join(f"{n} {r['cpu_us']:.1f} µs" for n, r in row.items()))
    for c in candidates.values():
        bench.nursery.end(c.child)
    growth = {kind: ratio(rounds, CASE, f"{kind} 2", f"{kind} 1") for kind in kinds}
    more = [r["coxswain 2"]["cpu_us"] / r["coxswain 1"]["cpu_us"] - r["relay 2"]["cpu_us"] / r["relay 1"]["cpu_us"]
            for r in rounds]
    sessions = [r["coxswain 2"]["sessions_uneven"] for r in rounds]
    served = [r["coxswain 2"]["served_uneven"] for r in rounds]
    goals = [{"text": text, "reached": {"median": median(values), "interval": interval(values), "rounds": len(values)},
              "met": median(values) <= most}
             for text, values, most in (("growth over the relay's ≤ 0.05", more, 0.05),
                                        ("sessions within 10 % of even", sessions, 0.10),
                                        ("∫n·dt within 10 % of even", served, 0.10))]
    return {"title": CASE.title, "rows": summary(rounds, CASE, names), "growth": growth, "goals": goals, "rounds": rounds}
