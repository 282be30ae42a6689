#!/usr/bin/env python3
"""Side by side: what requests cost with coxswain, its peers and a blind byte relay. README.md says how to read it.

    make bench                                             every case
    make bench BENCH_FLAGS="--case keepalive,16k --quick"  some of them, short and rough
    make bench BENCH_FLAGS="--peer nginx=/opt/nginx/sbin/nginx --peer haproxy=/opt/haproxy"
"""
import argparse
import functools
import json
import os
import platform
import signal
import subprocess
import sys
import time

from kit import cases, held, idle, proc, report, scale, workers
from kit.candidates import PEERS, Stage, known, version
from kit.measure import LoadFailed, Meter, ratio, summary

FAILURES = 2  # runs without an answer


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builddir", default=".")
    parser.add_argument("--coxswain", help="another executable than BUILDDIR/coxswain")
    parser.add_argument("--case", default="all", help=f"some of {','.join(cases.NAMES)}; or all")
    parser.add_argument("--rounds", type=int, help="9")
    parser.add_argument("--seconds", type=float, help="of one candidate in one round: 4")
    parser.add_argument("--warm", type=float, help="seconds before, not measured: 1")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s: to see that it works")
    parser.add_argument("--peer", action="append", default=[], metavar="KIND=PROGRAM", help=f"KIND one of {', '.join(PEERS)}")
    parser.add_argument("--only", help="relay,nginx,coxswain, ..., or names as they are printed")
    parser.add_argument("--no-log", dest="log", action="store_false", help="nobody writes an access log")
    parser.add_argument("--no-strace", dest="strace", action="store_false", help="do not count system calls")
    parser.add_argument("--loader", choices=("load", "wrk"), default="load", help="who makes HTTP/1 load where both can")
    parser.add_argument("--squeeze", type=int, help="percent of the proxy's core taken away; default 15 with two cores")
    parser.add_argument("--idle-seconds", type=float, help="before memory is looked at: 60")
    args = parser.parse_args()
    usual = (3, 1, 0.3, 5) if args.quick else (9, 4, 1, 60)
    for key, value in zip(("rounds", "seconds", "warm", "idle_seconds"), usual):
        if getattr(args, key) is None:
            setattr(args, key, value)
    args.cases = cases.NAMES if args.case == "all" else args.case.split(",")
    for name in args.cases:
        if name not in cases.NAMES:
            parser.error(f"no case {name}; there are {', '.join(cases.NAMES)}")
    return args


class Bench:
    def __init__(self, args, nursery):
        self.args, self.nursery, self.say = args, nursery, say
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            sys.exit("bench: one core for the proxy and one for the load are the least")
        self.proxy_cores, self.load_cores = cores[-1:], cores[:1]
        self.origin_cores = cores[1:2] if len(cores) > 2 else cores[:1]
        self.stage = Stage(nursery, args, self.origin_cores, say)
        self.meter = Meter(args, nursery, self.load_cores, self.proxy_cores)
        self.squeeze = args.squeeze if args.squeeze is not None else 15 if len(cores) == 2 else 0
        self.known = known(args, say)
        self.noise = []

    # ---- cases in which all stand side by side ----

    def side_by_side(self, names):
        """Those with the same configs together: their candidates are started once."""
        results = {}
        for variant in ("", "-tls"):
            mine = [n for n in names if cases.SIDE_BY_SIDE[n].variant == variant]
            if mine:
                results |= self.same_variant(mine, variant)
        return {n: results[n] for n in names if n in results}

    def same_variant(self, names, variant):
        table = {n: cases.SIDE_BY_SIDE[n] for n in names}
        if any(c.needs_php for c in table.values()):
            self.stage.start_php()
        if variant == "-tls":
            self.stage.start_echo()
        candidates = {}
        for name, kind, program in self.known:
            if not any(kind in c.kinds for c in table.values()):
                continue
            try:
                candidates[name] = self.stage.start(name, kind, program, self.proxy_cores, variant=variant)
            except RuntimeError as e:
                say(f"left out: {e}")
        results = {}
        for name, case in table.items():
            if case.needs_php and not self.stage.php_port:
                continue
            mine = {n: c for n, c in candidates.items() if c.kind in case.kinds}
            if case.direct:
                mine["direct"] = Direct(self.stage.origin)
            try:
                results[name] = self.one_case(name, case, mine)
            except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as e:
                say(f"{name} left out: {e}")
        for c in candidates.values():
            self.nursery.end(c.child)
        return results

    def one_case(self, name, case, candidates):
        say(f"{name}: {case.title}")
        squeezer, floor = None, None
        if case.floor:
            floor = self.floors[case.floor] if case.floor in self.floors else None
        share = max(self.squeeze, case.squeeze) if self.squeeze else 0
        if not case.paced and share:
            squeezer = self.nursery.spawn([os.path.join(self.meter.programs, "squeeze"), str(share)], self.proxy_cores)
        try:
            rate = self.find_rate(case, candidates) if case.paced else 0
            rounds = self.rounds(case, candidates, rate)
            calls = {n: self.calls_of(case, n, c, rate) for n, c in candidates.items() if any(n in r for r in rounds)}
        finally:
            if squeezer:
                self.nursery.end(squeezer)
        return self.judge(case, candidates, rounds, calls, rate, floor)

    @functools.cached_property
    def floors(self):
        try:
            return self.meter.floors()
        except (OSError, ValueError, subprocess.SubprocessError) as e:
            say(f"no floor of handshakes: {e}")
            return {}

    def calls_of(self, case, name, candidate, rate):
        try:
            return self.meter.system_calls(case, candidate, rate)
        except (LoadFailed, RuntimeError, OSError) as e:
            say(f"{name}: system calls not counted: {e}")
            return None

    def rounds(self, case, candidates, rate):
        """[{candidate: what was measured}]. Who fails is out of that round; who fails FAILURES times, out of the case."""
        rounds, names, failures = [], list(candidates), dict.fromkeys(candidates, 0)
        for i in range(self.args.rounds):
            row = {}
            for n in names[i % max(1, len(names)):] + names[:i % max(1, len(names))]:
                try:
                    row[n] = self.meter.measure(case, candidates[n], rate)
                except LoadFailed as e:
                    failures[n] += 1
                    say(f"{n} failed{', left out of this case' if failures[n] == FAILURES else ''}: {e}")
            names = [n for n in names if failures[n] < FAILURES]
            if case.needs_php:
                row["bare"] = self.bare(rate)
            rounds.append(row)
            say(f"  round {len(rounds)}: " + "  ".join(
                f"{n} {r['cpu_us']:.1f} µs ({100 * r['core_busy']:.0f} %)" for n, r in row.items() if r["cpu_us"]))
        return rounds

    def find_rate(self, case, candidates):
        """A share of what the slowest carries flat out."""
        all_rates = []
        for n, c in candidates.items():
            try:
                seen = self.meter.load(case, self.meter.port(case, c), 1)
                all_rates.append(seen["requests"] / seen["seconds"])
            except LoadFailed as e:
                say(f"{n} has no say in the rate: {e}")
        return max(1, int(min(all_rates, default=1) * case.paced))

    def bare(self, rate):
        """A client that opens, writes, reads and closes, on the proxy's core at the same rate."""
        out = subprocess.run(["taskset", "-c", str(self.proxy_cores[0]), os.path.join(self.meter.programs, "fcgi"),
                              str(self.stage.php_port), os.path.join(self.stage.root, "index.php"), str(self.args.seconds),
                              str(rate)], capture_output=True, text=True, check=True).stdout
        seen = json.loads(out)
        return {"requests_per_s": seen["requests"] / seen["seconds"], "errors": seen["errors"], "cpu_us": seen["cpu_us"],
                "user_us": None, "core_busy": 0, "p50_us": None, "p99_us": None}

    def judge(self, case, candidates, rounds, calls, rate, floor):
        names = list(candidates) + (["bare"] if case.needs_php else [])
        rows = summary(rounds, case, names)
        for n, c in calls.items():
            if c and n in rows:
                rows[n]["system_calls"] = c
                rows[n]["system_calls_but_epoll_wait"] = sum(v for k, v in c.items() if not k.startswith("epoll_")
                                                             or "wait" not in k)
        ratios = {n: ratio(rounds, case, "coxswain", n) for n in rows if n not in ("coxswain", "direct")}
        peers = [n for n in rows if n in candidates and candidates[n].kind in PEERS and rows[n]["cpu_us"]]
        best = min(peers, key=lambda n: rows[n]["cpu_us"]) if peers else None
        goals = []
        for goal in case.goals:
            if goal.against == "floor":
                mine = rows.get("coxswain", {}).get("cpu_us")
                above = mine - floor if mine and floor else None
                goals.append({"text": f"{goal.text()} ({floor} µs)", "reached": above,
                              "met": above is not None and above <= goal.most})
                continue
            other = best if goal.against == "peer" else next(
                (n for n in rows if n == goal.against or (n in candidates and candidates[n].kind == goal.against)), None)
            reached = ratios.get(other) if other else None
            goals.append({"text": goal.text(), "against": other, "most": goal.most, "reached": reached,
                          "met": bool(reached and reached["median"] <= goal.most)})
        if case.latency and "coxswain" in rows and "relay" in rows:
            added = {n: [r[n]["p50_us"] - r["direct"]["p50_us"] for r in rounds if n in r and "direct" in r] for n in ("coxswain", "relay")}
            more = report.row_of([a - b for a, b in zip(added["coxswain"], added["relay"])])
            goals.append({"text": "added p50 ≤ the relay's + 10 µs", "against": "relay", "most": 10, "reached": more,
                          "met": more["median"] is not None and more["median"] <= 10})
        return {"title": case.title, "rate": rate, "rows": rows, "ratios": ratios, "best_peer": best, "goals": goals,
                "rounds": rounds, "floor": floor}


class Direct:
    """The origin itself: what the load maker sees without a proxy."""
    name = kind = "direct"
    child = log = None

    def __init__(self, port):
        self.port = port
        self.ports = {"h1": port}

    def pids(self):
        return []

    def forget_log(self):
        pass


def machine():
    model = next((line.split(":", 1)[1].strip() for line in proc.text_of("/proc/cpuinfo").splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def instructions(args):
    """The callgrind count; its exit status is the verdict."""
    out = subprocess.run([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.py"),
                          "--builddir", args.builddir] + (["--coxswain", args.coxswain] if args.coxswain else []), text=True,
                         stdout=subprocess.PIPE)
    path = os.path.join(args.builddir, "bench/out/instructions.json")
    found = json.loads(proc.text_of(path)) if out.returncode in (0, 1) and os.path.exists(path) else None
    result = {"title": "user instructions of one request", "grown": out.returncode == 1, "text": out.stdout, "found": found}
    if found:
        c = found["cases"]["keepalive"]
        made = sum(n for f, n in c["allocations"].items() if f not in ("free", "sdallocx"))
        result["goals"] = [{"text": text, "reached": n, "met": n <= most} for text, n, most in (
            ("≤ 4,500 user instructions", c["instructions"], 4500),
            ("≤ 4.05 system calls besides epoll_wait", c.get("system_calls_but_epoll_wait", 99), 4.05),
            ("no allocation", round(made, 3), 0))]
    return result


def micro(args):
    out = subprocess.run([os.path.join(args.builddir, "bench/micro/micro"), "--json"] + (["0.1"] if args.quick else []),
                         capture_output=True, text=True, check=True).stdout
    ns = json.loads(out)
    hot, all_of_them = ns["route: 10,000 hosts, 16 of them"], ns["route: 10,000 hosts, any of them"]
    return {"title": "single operations", "ns": ns, "goals": [
        {"text": "route look-up ≤ 150 ns hot", "reached": hot, "met": hot <= 150},
        {"text": "route look-up ≤ 350 ns over all routes", "reached": all_of_them, "met": all_of_them <= 350}]}


def run(bench, args):
    """{case: result}; one that breaks is said and left out."""
    results = {}
    sided = [n for n in args.cases if n in cases.SIDE_BY_SIDE]
    if sided:
        results |= bench.side_by_side(sided)
    for name, do in (("two-workers", lambda: workers.measure(bench)), ("idle", lambda: idle.measure(bench)),
                     ("idle-tls", lambda: idle.measure(bench, "idle-tls")), ("idle-h2", lambda: idle.measure(bench, "idle-h2")),
                     ("held", lambda: held.measure(bench)), ("scale", lambda: scale.measure(bench)), ("instructions", lambda: instructions(args)),
                     ("micro", lambda: micro(args))):
        if name in args.cases:
            try:
                results[name] = do()
            except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as e:
                say(f"{name} left out: {e}")
    return results


def main():
    args = parse()
    for tool in ("taskset", "wrk" if args.loader == "wrk" else "taskset"):
        if proc.which(tool) is None:
            sys.exit(f"bench: {tool} is missing")
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, lambda number, _: sys.exit(128 + number))
    began, load_before = time.time(), os.getloadavg()[0]
    with proc.Nursery() as nursery:
        bench = Bench(args, nursery)
        results = run(bench, args)
        facts = {"machine": machine(), "versions": {n: version(p) for n, k, p in bench.known if k in PEERS},
                 "coxswain": subprocess.run([bench.known[-1][2], "-V"], capture_output=True, text=True).stdout.strip(),
                 "logs": "everybody but the relay writes an access log to a file" if args.log else "nobody writes an access log",
                 "loader": args.loader, "squeeze": bench.squeeze, "load_before": load_before, "seconds": time.time() - began}
    settings = {k: v for k, v in vars(args).items() if k not in ("builddir", "coxswain")}
    whole = {"facts": facts, "settings": settings, "cases": results}
    report.write(whole, os.path.join(args.builddir, "bench/out"))
    print(report.markdown(whole))
    if any(r.get("grown") for r in results.values()):
        sys.exit("bench: a request takes more instructions than bench/instructions.txt allows")


if __name__ == "__main__":
    main()
