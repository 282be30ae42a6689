#!/usr/bin/env python3
"""Compares scaling policies in the simulator: fronts of cost against requests over objective, and runs for single promises.

    make bench-autoscale AUTOSCALE_FLAGS="--quick"

Writes results.csv (each run), report.md (tables) and SVG pictures into --out. One process at a time. README.md beside this file
says what the figures mean."""
import argparse
import csv
import io
import math
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fronts  # noqa: E402
import pictures  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LEVELS = (1e-4, 1e-3, 1e-2)
UTILISATIONS = (0.35, 0.45, 0.55, 0.62, 0.68, 0.74, 0.8, 0.85, 0.9, 0.94, 0.97, 1.0)
SHARES = (1e-7, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
# All of them in every comparison: the yardstick must not be coarser than what it measures.
PRICES = (0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8, 15, 40, 100, 1000)

# name -> (policy, what it is given, its main knob, values)
POLICIES = {
    "scale_predict": ("scale_predict", [], "share", SHARES),
    "scale_target": ("scale_target", [], "utilization", UTILISATIONS),
    "scale_stratos": ("scale_stratos", [], "requests_in_flight_threshold", tuple(10 * u for u in UTILISATIONS)),
    "stratos as coded": ("scale_stratos", ["as_coded=true"], "requests_in_flight_threshold", tuple(10 * u for u in UTILISATIONS)),
    "kpa": ("kpa", [], "target", UTILISATIONS),
    "kpa 6 s": ("kpa", ["window=6"], "target", UTILISATIONS),
    "keda": ("keda", [], "target", UTILISATIONS),
    "hpa": ("hpa", [], "target", UTILISATIONS),
    "react": ("react", [], "target", tuple(1.15 * u for u in UTILISATIONS)),
    "adapt": ("adapt", [], "target", UTILISATIONS),
    "hist": ("hist", [], "target", UTILISATIONS),
    "reg": ("reg", [], "target", tuple(1.1 * u for u in UTILISATIONS)),
    "peak": ("peak", [], "factor", (0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)),
    "clairvoyant": ("clairvoyant", [], "price", PRICES),
}
OURS = ("scale_predict", "scale_target", "scale_stratos")

DAY = 86400
# What nothing was fitted on: the second half of worldcup98, and all of the others but ibm.
FULL = {"worldcup98 second half": "trace:worldcup98.csv:3801600:3801600", "wikipedia": "trace:wikipedia.csv", "elb": "trace:elb.csv",
        "llm_code": "trace:llm_code.csv"}
CUTS = {"worldcup98 peak day, 6 h": "trace:worldcup98.csv:5860800:21600", "elb, 6 h": "trace:elb.csv:907200:21600",
        "llm_code": "trace:llm_code.csv"}
QUICK = {"worldcup98 peak, 2 h": "trace:worldcup98.csv:5868000:7200", "elb, 2 h": "trace:elb.csv:907200:7200"}


def generated(count, seed):
    """Loads of families that nobody has seen: what they are follows from the seed, which may be drawn when the report is made."""
    draw = random.Random(seed)
    families = ("sine:1000:{a:.2f}:{p:.0f}:7200", "spike:1000:{f:.2f}:{at:.0f}:{w:.0f}:3600", "ramp:1000:{f:.2f}:{at:.0f}:{w:.0f}:3600",
                "onoff:1000:{low:.0f}:{p:.0f}:7200")
    loads = {}
    for i in range(count):
        text = families[i % len(families)].format(a=draw.uniform(0.2, 0.9), p=draw.uniform(600, 3600), f=draw.uniform(1.2, 5), at=draw.uniform(600, 1800),
                                                 w=draw.uniform(30, 900), low=draw.uniform(100, 900))
        loads[f"generated {i + 1} ({text})"] = text
    return loads


class Bar:
    """Progress on a terminal; nothing elsewhere."""

    def __init__(self, total):
        self.total, self.done, self.began = max(1, total), 0, time.time()

    def step(self, what):
        self.done += 1
        if not sys.stderr.isatty():
            return
        took = time.time() - self.began
        filled = 30 * self.done // self.total
        left = took / self.done * (self.total - self.done)
        sys.stderr.write(f"\r[{'#' * filled}{' ' * (30 - filled)}] {self.done}/{self.total} {left:.0f} s to go  {what[:40]:40}")
        if self.done == self.total:
            sys.stderr.write("\n")
        sys.stderr.flush()


class Simulator:
    def __init__(self, args):
        self.program = os.path.join(args.builddir, "bench/autoscale/autoscale")
        self.plugins = os.path.join(args.builddir, "plugins")
        self.traces = args.traces

    def load(self, text):
        return text.replace("trace:", "trace:" + self.traces + "/", 1) if text.startswith("trace:") else text

    def run(self, load, policy, *flags):
        command = [self.program, "--header", "--load", self.load(load), "--policy", policy, "--plugins", self.plugins, *map(str, flags)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        return list(csv.DictReader(io.StringIO(done.stdout)))


def has_plugin(args, name):
    return any(os.path.exists(os.path.join(args.builddir, "plugins", p)) for p in (f"{name}.so", f"{name}/.libs/{name}.so"))


def mean_of(rows, key):
    values = [float(r[key]) for r in rows if r[key] != "nan"]
    return sum(values) / len(values) if values else math.nan


# ---- fronts ----

class Case:
    def __init__(self, name, load, mean, delay, noisy):
        self.name, self.load, self.mean, self.delay, self.noisy = name, load, mean, delay, noisy

    def title(self):
        return f"{self.name}, {self.mean:g}/s, start-up {self.delay:g} s, {'noise' if self.noisy else 'linear'}"

    def flags(self):
        return ["--mean", self.mean, "--delay", self.delay] + (["--noise"] if self.noisy else [])


def thin(values, n):
    """n of them, both ends among them."""
    if n >= len(values):
        return values
    return tuple(values[round(i * (len(values) - 1) / (n - 1))] for i in range(n))


def run_case(sim, case, names, args, writer, bar):
    curves = {}
    for name in names:
        policy, settings, knob, values = POLICIES[name]
        flags = case.flags() + ["--seeds", args.seeds, "--seed", args.seed, "--sweep", f"{knob}=" + ",".join(f"{v:.6g}" for v in (values if name == "clairvoyant" else thin(values, args.knobs)))]
        for setting in settings:
            flags += ["--set", setting]
        rows = sim.run(case.load, policy, *flags)
        points = {}
        for row in rows:
            points.setdefault(row["setting"], []).append(row)
            writer.write(case, name, row)
        curves[name] = [fronts.Point(s, r) for s, r in points.items()]
        bar.step(f"{case.name} {name}")
    return curves


class Writer:
    def __init__(self, path):
        self.file = open(path, "w", newline="", encoding="utf-8")
        self.csv = None

    def write(self, case, name, row):
        full = {"load": case.name, "mean": case.mean, "delay": case.delay, "noise": int(case.noisy), "name": name, **row}
        if not self.csv:
            self.csv = csv.DictWriter(self.file, full.keys())
            self.csv.writeheader()
        self.csv.writerow(full)
        self.file.flush()


def report_case(case, curves, out, wins):
    hulls = {name: fronts.hull(points) for name, points in curves.items()}
    best = {level: fronts.Mix(hulls["clairvoyant"], level) for level in LEVELS}
    foreseen = next(iter(curves.values()))[0].unforeseeable
    out.append(f"\n### {case.title()}\n\nUnforeseeable requests (above 1.1 × the rate of a start-up before): {foreseen:.2g}\n")
    out.append("| policy | " + " | ".join(f"cost / C* at {level:g}" for level in LEVELS) + " | settings at 1e-3 |")
    out.append("|---|" + "---|" * (len(LEVELS) + 1))
    for name, hull in hulls.items():
        cells = []
        for level in LEVELS:
            mix = fronts.Mix(hull, level)
            cells.append(f"{mix.cost() / best[level].cost():.3f}" if mix.is_reached() and best[level].is_reached() else "–")
        out.append(f"| {name} | " + " | ".join(cells) + f" | {fronts.Mix(hull, 1e-3).settings() or '–'} |")
    for ours in OURS:
        for name in hulls:
            if name in OURS or name == "clairvoyant" or ours not in hulls:
                continue
            for level in LEVELS:
                wins.setdefault(ours, []).append(verdict(fronts.Mix(hulls[ours], level), fronts.Mix(hulls[name], level), name, case, level))
    return hulls


def verdict(ours, theirs, name, case, level):
    """(win, tie or loss, …): a win is an interval of the ratio below 1; who does not reach a level loses to who does."""
    if not ours.is_reached() or not theirs.is_reached():
        result = "tie" if ours.is_reached() == theirs.is_reached() else "win" if ours.is_reached() else "loss"
        return result, name, case.title(), level, math.nan
    middle, low, high = fronts.ratio(ours, theirs)
    return ("win" if high < 1 else "loss" if low > 1 else "tie"), name, case.title(), level, middle


def report_wins(wins, out):
    out.append("\n## Wins and losses\n\nCost at equal requests over objective against each peer's front, at three levels in each case. "
               "A win is a paired 95 % interval of the ratio below 1, a loss one above.\n")
    out.append("| ours | comparisons | wins | ties | losses | lost to |")
    out.append("|---|---|---|---|---|---|")
    for ours, all_of in wins.items():
        count = {k: sum(1 for v in all_of if v[0] == k) for k in ("win", "tie", "loss")}
        lost = {}
        for v in all_of:
            if v[0] == "loss":
                lost[v[1]] = lost.get(v[1], 0) + 1
        text = ", ".join(f"{n} ({k})" for n, k in sorted(lost.items(), key=lambda x: -x[1])) or "nobody"
        out.append(f"| {ours} | {len(all_of)} | {count['win']} | {count['tie']} | {count['loss']} | {text} |")


def elasticity(curves, out):
    """SPEC's metrics of the setting nearest to 1e-3 over objective."""
    out.append("\n| policy | setting | over | cost | θU % | θO % | τU % | τO % | υ % | jitter /min | p99 s | actions | reversals < 60 s |")
    out.append("|---|" + "---|" * 12)
    for name, rows in curves.items():
        by = {}
        for row in rows:
            by.setdefault(row["setting"], []).append(row)
        setting, best = min(by.items(), key=lambda kv: abs(math.log10(max(mean_of(kv[1], "share"), 1e-9)) + 3))
        cells = [f"{mean_of(best, k):.3g}" for k in ("share", "cost", "theta_u", "theta_o", "tau_u", "tau_o", "upsilon", "jitter",
                                                      "response_p99", "actions", "reversals")]
        out.append(f"| {name} | {setting} | " + " | ".join(cells) + " |")


# ---- single promises ----

def erlang_share(rate, members, service=0.1, slots=10, wait=0.1):
    offered, inverse, c = rate * service, 1.0, members * slots
    for k in range(1, c + 1):
        inverse = min(1.0 + k / offered * inverse, 1e300)
    if c <= offered:
        return 1.0
    blocked = 1 / inverse
    return blocked / (1 - offered / c * (1 - blocked)) * math.exp(-(c - offered) * wait / service)


def least(rate, allowed=1e-4):
    m = max(1, int(rate * 0.01))
    while erlang_share(rate, m) > allowed:
        m += 1
    return m


def boundary(rate):
    """The largest rate at which the fewest members of `rate` still do."""
    m, low, high = least(rate), rate, rate * 1.5
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if least(middle) == m else (low, middle)
    return low


def steps(sim, names, args, out, bar):
    out.append(f"\n## Step at a random instant\n\n{args.runs} runs of the exact engine, ticks of 100 ms: time from the jump to the first answer of at least "
               "90 % of what the policy settles at.\n\n| policy | jump | p50 | p99 | never |\n|---|---|---|---|---|")
    for name in names:
        for factor in (1.5, 4.0):
            took, never = [], 0
            for i in range(args.runs):
                at = 60 + (i * 0.6180339887 % 1.0)
                row = sim.run(f"step:1000:{factor}:{at:.6f}:360", POLICIES[name][0], "--exact", "--seed", args.seed + i, "--warmup", 120,
                              *[f for s in POLICIES[name][1] for f in ("--set", s)])[0]
                never += row["first_right"] == "nan"
                took += [] if row["first_right"] == "nan" else [float(row["first_right"])]
            took.sort()
            at99 = f"{took[min(len(took) - 1, int(0.99 * len(took)))]:.3f} s" if took else "–"
            out.append(f"| {name} | × {factor:g} at 1,000/s | {took[len(took) // 2]:.3f} s | {at99} | {never} |" if took else f"| {name} | × {factor:g} | – | – | {never} |")
            bar.step(f"step {name}")


def stationary(sim, names, args, out, bar):
    out.append(f"\n## Stationary load\n\n{args.days:g} simulated days after an hour, ticks of 100 ms: changes of the count a day, and mean members against the "
               "fewest that hold 1e-4 by queueing theory.\n\n| policy | rate | changes a day | members | fewest | ratio | over objective |\n|---|---|---|---|---|---|---|")
    rates = [1, 10, 100, boundary(100), 1000, boundary(1000), 10000]
    for name in names:
        for rate in rates:
            row = sim.run(f"constant:{rate:.4f}:{int(args.days * DAY)}", POLICIES[name][0], "--warmup", 3600, "--tick", 0.1, "--seed", args.seed)[0]
            m, mean = least(rate), float(row["mean_members"])
            out.append(f"| {name} | {rate:.5g}/s | {float(row['actions']) / args.days:.2f} | {mean:.3f} | {m} | {mean / m:.3f} | {float(row['share']):.2g} |")
            bar.step(f"stationary {name}")


def seconds_of(path):
    with open(path, encoding="utf-8") as f:
        return [[float(x) for x in line.split(",")] for line in f]


def slowdown(sim, names, args, out, bar):
    out.append("\n## Service five times slower\n\n1,000/s, start-up 10 s, from second 600 on. Shared bottleneck: what all members together complete is a fifth of what they "
               "could at that moment, whatever is added. Members slower: each service takes five times as long; back: 30 s with at most 1 in 1,000 over begin.\n"
               "\n| policy | what | members before | most | growth | flagged after | back after |\n|---|---|---|---|---|---|---|")
    path = os.path.join(args.out, "slowdown.tmp")
    for name in names:
        for what, until in (("bottleneck", 900), ("slower", 1500)):
            row = sim.run(f"constant:1000:{until},{what}=5@600-{until}", POLICIES[name][0], "--tick", 0.1, "--timeline", path, "--seed", args.seed)[0]
            seconds = seconds_of(path)
            before = seconds[598][3]
            most = max(s[3] + s[4] for s in seconds[600:])
            back = next((i - 600 for i in range(600, until - 30) if all(s[8] <= 0.001 * s[2] for s in seconds[i:i + 30])), None)
            flagged = f"{float(row['not_capacity']) - 600:.1f} s" if row["not_capacity"] != "nan" else "–"
            out.append(f"| {name} | {'shared bottleneck' if what == 'bottleneck' else 'members slower'} | {before:.0f} | {most:.0f} | "
                       f"{100 * (most / before - 1):+.0f} % | {flagged} | {f'{back} s' if back is not None else '–'} |")
            bar.step(f"slowdown {name}")
    os.remove(path)


def shuffled(sim, args, out, bar):
    """History that means nothing: one run over all days, and one a day with a state that knows nothing before."""
    days, first = args.history_days, 5184000
    flags = ["--shuffle", 3600, "--seed", args.seed]
    whole = sim.run(f"trace:worldcup98.csv:{first}:{days * DAY}", "scale_predict", *flags)[0]
    parts = [sim.run(f"trace:worldcup98.csv:{first + d * DAY}:{DAY}", "scale_predict", *flags)[0] for d in range(days)]
    cost, over, requests = (sum(float(r[k]) for r in parts) for k in ("cost", "over", "requests"))
    out.append(f"\n## Shuffled history\n\nworldcup98 from day 60 on, {days} days, the hours of the trace in random order, not scaled. In one run, with the history of all days: "
               f"{float(whole['cost']):.0f} member-seconds, {float(whole['share']):.2g} over. A run for each day, without: {cost:.0f}, {over / requests:.2g} over. "
               f"Ratio of the costs {float(whole['cost']) / cost:.4f}.\n")
    bar.step("shuffled")


def speed(sim, args, out, bar):
    micro = os.path.join(args.builddir, "bench/micro/micro")
    out.append("\n## Speed\n")
    if os.path.exists(micro):
        done = subprocess.run([micro, "0.5"], capture_output=True, text=True, env={**os.environ, "COXSWAIN_PLUGIN_DIR": sim.plugins})
        for line in done.stdout.splitlines():
            if line.startswith("scale:"):
                ns = float(line.split()[-2])
                out.append(f"- {line.split('  ')[0]}: {ns:.0f} ns, {1000 / ns:.1f} million a second")
    for name in ("kpa", "scale_target", "scale_predict"):
        if POLICIES[name][0].startswith("scale") and not has_plugin(args, name):
            continue
        row = sim.run("trace:worldcup98.csv", name, "--mean", 1000)[0]
        out.append(f"- the whole of worldcup98 (88 days) by sums at 1 Hz, {name}: {float(row['seconds']):.1f} s")
        bar.step(f"speed {name}")


# ---- the whole ----

def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--builddir", default=".")
    p.add_argument("--traces", default=os.path.join(HERE, "traces"))
    p.add_argument("--out", default=None, help="folder for what is written (BUILDDIR/bench/autoscale/out)")
    p.add_argument("--quick", action="store_true", help="short cuts, few seeds and knobs: two minutes")
    p.add_argument("--cuts", action="store_true", help="cuts of six hours instead of whole traces: an hour")
    p.add_argument("--seeds", type=int)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--knobs", type=int)
    p.add_argument("--generated", type=int, help="synthetic loads beside the traces")
    p.add_argument("--generated-seed", type=int, default=1)
    p.add_argument("--means", type=float, nargs="*")
    p.add_argument("--delays", type=float, nargs="*")
    p.add_argument("--policies", nargs="*", help="of: " + ", ".join(POLICIES))
    p.add_argument("--parts", nargs="*", default=["fronts", "steps", "stationary", "slowdown", "shuffled", "speed"])
    args = p.parse_args()
    small = args.quick or args.cuts
    args.loads = QUICK if args.quick else CUTS if args.cuts else FULL
    count = args.generated if args.generated is not None else 0 if args.quick else 4 if args.cuts else 12
    args.loads = {**args.loads, **generated(count, args.generated_seed)}
    args.seeds = args.seeds or (2 if args.quick else 5 if args.cuts else 20)
    args.knobs = args.knobs or (6 if args.quick else 8 if args.cuts else 12)
    args.means = args.means or ([1000] if small else [100, 1000, 10000])
    args.delays = args.delays or ([10] if args.quick else [10, 60])
    args.runs = 20 if args.quick else 200 if args.cuts else 1000
    args.days = 0.25 if args.quick else 2 if args.cuts else 30
    args.history_days = 2 if args.quick else 7 if args.cuts else 28
    args.out = args.out or os.path.join(args.builddir, "bench/autoscale/out")
    return args


def run_fronts(sim, names, args, out, bar, cases):
    wins, hulls = {}, {}
    writer = Writer(os.path.join(args.out, "results.csv"))
    out.append("\n## Fronts\n\nCost at so many requests over objective, in units of the clairvoyant's at the same level (C*). –: not reached by any setting.\n")
    for number, case in enumerate(cases):
        curves = run_case(sim, case, names, args, writer, bar)
        hulls = report_case(case, curves, out, wins)
        picture = f"front-{number + 1}.svg"
        at = fronts.Mix(hulls["clairvoyant"], 1e-4)
        unit = at.cost() if at.is_reached() else min(p.cost for p in hulls["clairvoyant"])
        pictures.fronts(os.path.join(args.out, picture), case.title(), hulls, unit)
        out.append(f"\n![{case.title()}]({picture})")
    report_wins(wins, out)
    writer.file.close()
    with open(os.path.join(args.out, "results.csv"), encoding="utf-8") as f:
        first = [r for r in csv.DictReader(f) if (r["load"], float(r["delay"]), r["noise"]) == (cases[0].name, cases[0].delay, str(int(cases[0].noisy)))]
    out.append(f"\n## Elasticity\n\n{cases[0].title()}: the setting of each policy that is nearest to 1e-3 over objective.\n")
    elasticity({name: [r for r in first if r["name"] == name] for name in names}, out)


def run_timeline(sim, names, args, case):
    runs = {}
    path = os.path.join(args.out, "timeline.tmp")
    for name in names:
        policy, settings, _, _ = POLICIES[name]
        sim.run(case.load, policy, *case.flags(), "--timeline", path, *[f for s in settings for f in ("--set", s)])
        runs[name] = seconds_of(path)
    os.remove(path)
    pictures.timeline(os.path.join(args.out, "timeline.svg"), case.title() + ", as it comes", runs, 10, 0.1)


def main():
    args = parse()
    os.makedirs(args.out, exist_ok=True)
    sim = Simulator(args)
    names = [n for n in POLICIES if (not POLICIES[n][0].startswith("scale") or has_plugin(args, POLICIES[n][0]))
             and (not args.policies or n in args.policies or n == "clairvoyant")]
    ours = [n for n in ("scale_predict", "scale_target") if n in names]
    cases = [Case(name, load, mean, delay, noisy) for name, load in args.loads.items() for mean in args.means for delay in args.delays for noisy in (False, True)]
    counts = {"fronts": len(cases) * len(names), "steps": 2 * (len(ours) + 1), "stationary": 7 * len(ours), "slowdown": 2 * len(ours), "shuffled": 1, "speed": len(ours) + 1}
    bar = Bar(sum(counts[p] for p in args.parts))
    began = time.time()
    out = ["# Scaling policies in the simulator\n", f"Seeds {args.seed} to {args.seed + args.seeds - 1}, {args.knobs} values of each policy's main knob."]
    if "fronts" in args.parts:
        run_fronts(sim, names, args, out, bar, cases)
        run_timeline(sim, [n for n in ("scale_predict", "scale_target", "kpa", "hpa") if n in names], args, cases[0])
        out.append("\n![load and members over time](timeline.svg)")
    if "steps" in args.parts:
        steps(sim, ours + [n for n in ("kpa",) if n in names], args, out, bar)
    if "stationary" in args.parts:
        stationary(sim, ours, args, out, bar)
    if "slowdown" in args.parts:
        slowdown(sim, ours, args, out, bar)
    if "shuffled" in args.parts and "scale_predict" in names:
        shuffled(sim, args, out, bar)
    if "speed" in args.parts:
        speed(sim, args, out, bar)
    out.append(f"\nTook {time.time() - began:.0f} s.")
    report = os.path.join(args.out, "report.md")
    with open(report, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")
    print(report)


if __name__ == "__main__":
    main()
