#!/usr/bin/env python3
"""Compares scaling policies in the simulator: fronts of cost against requests over objective, and runs for single promises.

    make bench-autoscale AUTOSCALE_FLAGS="--quick"

Writes results.csv (each run of the fronts), report.md (tables, and a verdict on each goal) and SVG pictures into --out. README.md beside this file
says what the figures mean."""
import argparse
import csv
import math
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import distance  # noqa: E402
import fronts  # noqa: E402
import pictures  # noqa: E402
import promises  # noqa: E402
from sim import Bar, Report, Simulator, mean_of, settings_of  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LEVELS = (1e-4, 1e-3, 1e-2)
UTILISATIONS = (0.35, 0.45, 0.55, 0.62, 0.68, 0.74, 0.8, 0.85, 0.9, 0.94, 0.97, 1.0)
SHARES = (1e-8, 1e-7, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
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
PARTS = ("fronts", "distance", "steps", "stationary", "slowdown", "shuffled", "engines", "speed")
FULL = {"worldcup98 second half": "trace:worldcup98.csv:3801600:3801600", "wikipedia": "trace:wikipedia.csv", "elb": "trace:elb.csv",
        "llm_code": "trace:llm_code.csv"}
CUTS = {"worldcup98 peak day, 6 h": "trace:worldcup98.csv:5860800:21600", "ibm (fitted), 6 h": "trace:ibm.csv:198000:21600",
        "wikipedia, 6 h": "trace:wikipedia.csv:4708800:21600", "elb, 6 h": "trace:elb.csv:907200:21600", "llm_code": "trace:llm_code.csv"}
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


def has_plugin(args, name):
    return any(os.path.exists(os.path.join(args.builddir, "plugins", p)) for p in (f"{name}.so", f"{name}/.libs/{name}.so"))


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


def ask_case(sim, case, names, args):
    """A future for each policy."""
    asked = {}
    for name in names:
        policy, settings, knob, values = POLICIES[name]
        values = values if name == "clairvoyant" else thin(values, args.knobs)
        flags = case.flags() + ["--seeds", args.seeds, "--seed", args.seed, "--sweep", f"{knob}=" + ",".join(f"{v:.6g}" for v in values)]
        asked[name] = sim.later(case.load, policy, *flags, *settings_of(settings), steps=f"{case.name} {name}")
    return asked


def take_case(case, asked, writer):
    curves = {}
    for name, future in asked.items():
        points = {}
        for row in future.result():
            points.setdefault(row["setting"], []).append(row)
            writer.write(case, name, row)
        curves[name] = [fronts.Point(s, r) for s, r in points.items()]
    return curves


def middle(name, load, hours):
    """The middle of a cut, and a name that says so."""
    parts = load.split(":")
    if not hours or len(parts) < 4 or float(parts[3]) <= 3600 * hours or parts[0] != "trace":
        return name, load
    first = float(parts[2]) + (float(parts[3]) - 3600 * hours) / 2
    return f"{name.rsplit(',', 1)[0]}, {hours:g} h", f"{parts[0]}:{parts[1]}:{first:.0f}:{3600 * hours:.0f}"


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


def report_case(case, curves, out, wins, beaten):
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
    for name, hull in hulls.items():
        for level in LEVELS:
            mix = fronts.Mix(hull, level)
            if name == "clairvoyant" or not mix.is_reached() or not best[level].is_reached():
                continue
            middle, _, high = fronts.ratio(mix, best[level])
            beaten["of"] = beaten.get("of", 0) + 1
            if high < 1:
                beaten.setdefault("by", []).append(f"{name} in {case.title()} at {level:g}: {middle:.4f} of its cost")
    for ours in OURS:
        for name in hulls:
            if name in OURS or name == "clairvoyant" or ours not in hulls:
                continue
            for level in LEVELS:
                wins.setdefault(ours, []).append(verdict(fronts.Mix(hulls[ours], level), fronts.Mix(hulls[name], level), name, case, level))
    return hulls


def summary_line(case, curves, hulls):
    """A case in one line: ours, and at each level the peer that is nearest to C*."""
    best = [fronts.Mix(hulls["clairvoyant"], level) for level in LEVELS]

    def ratios(name):
        mixes = [fronts.Mix(hulls[name], level) for level in LEVELS]
        return [m.cost() / b.cost() if m.is_reached() and b.is_reached() else math.inf for m, b in zip(mixes, best)]

    cells = [" / ".join("–" if math.isinf(r) else f"{r:.3f}" for r in ratios(n)) if n in hulls else "" for n in OURS[:2]]
    peers = {name: ratios(name) for name in hulls if name not in OURS and name != "clairvoyant"}
    nearest = [min(peers, key=lambda name, i=i: peers[name][i]) for i in range(len(LEVELS))] if peers else []
    cells.append(" / ".join("–" if math.isinf(peers[name][i]) else f"{peers[name][i]:.3f} {name}" for i, name in enumerate(nearest)))
    return f"| {case.title()} | {next(iter(curves.values()))[0].unforeseeable:.2g} | " + " | ".join(cells) + " |"


def verdict(ours, theirs, name, case, level):
    """(win, tie, loss or nobody, …): a win is an interval of the ratio below 1; who does not reach a level loses to who does; a level that neither reaches is
    no loss, and no comparison."""
    if not ours.is_reached() or not theirs.is_reached():
        result = "nobody" if ours.is_reached() == theirs.is_reached() else "win" if ours.is_reached() else "loss"
        return result, name, case.title(), level, math.nan
    middle, low, high = fronts.ratio(ours, theirs)
    return ("win" if high < 1 else "loss" if low > 1 else "tie"), name, case.title(), level, middle


def report_wins(wins, report):
    out = report.lines
    out.append("\n## Wins and losses\n\nCost at equal requests over objective against each peer's front, at three levels in each case. "
               "A win is a paired 95 % interval of the ratio below 1, a loss one above. Levels that neither reaches are left out.\n")
    out.append("| ours | comparisons | wins | ties | losses | lost to | reached by neither |")
    out.append("|---|---|---|---|---|---|---|")
    verdicts = []
    for ours, all_of in wins.items():
        count = {k: sum(1 for v in all_of if v[0] == k) for k in ("win", "tie", "loss", "nobody")}
        lost = {}
        for v in all_of:
            if v[0] == "loss":
                lost[v[1]] = lost.get(v[1], 0) + 1
        text = ", ".join(f"{n} ({k})" for n, k in sorted(lost.items(), key=lambda x: -x[1])) or "nobody"
        compared = len(all_of) - count["nobody"]
        out.append(f"| {ours} | {compared} | {count['win']} | {count['tie']} | {count['loss']} | {text} | {count['nobody']} |")
        if ours == "scale_predict" and compared:
            verdicts.append(("fronts: losses of scale_predict", f"{count['loss']} of {compared}", "none", count["loss"] == 0))
            verdicts.append(("fronts: wins of scale_predict", f"{100 * count['win'] / compared:.0f} %", "≥ 90 %", count["win"] >= 0.9 * compared))
    for verdict in verdicts:
        report.goal(*verdict)


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
    p.add_argument("--loads", nargs="*", help="only those with one of these words in their names")
    p.add_argument("--hours", type=float, help="only so much of the middle of each cut that is longer")
    p.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    p.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, help="so many runs at a time")
    p.add_argument("--keep", help="folder where the rows of each run are kept, by what made them, so that they need not be made again")
    p.add_argument("--runs", type=int, help="of each step")
    p.add_argument("--engine-seeds", type=int, help="of each hour that both engines run")
    p.add_argument("--history-days", type=int, help="of shuffled hours")
    p.add_argument("--history-seeds", type=int, help="of these")
    p.add_argument("--days", type=float, help="of stationary load")
    args = p.parse_args()
    small = args.quick or args.cuts
    loads = QUICK if args.quick else CUTS if args.cuts else FULL
    count = args.generated if args.generated is not None else 0 if args.quick else 4 if args.cuts else 12
    loads = {**loads, **generated(count, args.generated_seed)}
    loads = dict(middle(name, load, args.hours) for name, load in loads.items())
    args.loads = {name: load for name, load in loads.items() if not args.loads or any(word in name for word in args.loads)}
    args.seeds = args.seeds or (2 if args.quick else 5 if args.cuts else 20)
    args.knobs = args.knobs or (6 if args.quick else 8 if args.cuts else 12)
    args.means = args.means or ([1000] if small else [100, 1000, 10000])
    args.delays = args.delays or ([10] if args.quick else [10, 60])
    args.runs = args.runs or (20 if args.quick else 200 if args.cuts else 1000)
    args.days = args.days or (0.25 if args.quick else 2 if args.cuts else 30)
    args.history_days = args.history_days or (2 if args.quick else 7 if args.cuts else 28)
    args.history_seeds = args.history_seeds or (2 if args.quick else 5)
    args.engine_seeds = args.engine_seeds or (4 if args.quick else 20 if args.cuts else 60)
    args.step_warmup = 3600
    args.out = args.out or os.path.join(args.builddir, "bench/autoscale/out")
    return args


def run_fronts(sim, names, args, report, cases):
    wins, hulls, beaten, lines = {}, {}, {}, []
    writer = Writer(os.path.join(args.out, "results.csv"))
    out = report.lines
    out.append("\n## Fronts\n\nCost at so many requests over objective, in units of the clairvoyant's at the same level (C*). –: not reached by any setting.\n")
    asked = [ask_case(sim, case, names, args) for case in cases]
    for number, case in enumerate(cases):
        curves = take_case(case, asked[number], writer)
        hulls = report_case(case, curves, out, wins, beaten)
        lines.append(summary_line(case, curves, hulls))
        picture = f"front-{number + 1}.svg"
        at = fronts.Mix(hulls["clairvoyant"], 1e-4)
        unit = at.cost() if at.is_reached() else min(p.cost for p in hulls["clairvoyant"])
        pictures.fronts(os.path.join(args.out, picture), case.title(), hulls, unit)
        out.append(f"\n![{case.title()}]({picture})")
        report.write()
    out.append(f"\n## All cases\n\nCost / C* at {' / '.join(f'{level:g}' for level in LEVELS)} over objective: ours, and at each level the best of the peers.\n\n"
               "| load | unforeseeable | scale_predict | scale_target | best peer |\n|---|---|---|---|---|")
    out += lines
    report_wins(wins, report)
    by = beaten.get("by", [])
    report.goal("nobody beats C* beyond the interval", f"{len(by)} of {beaten.get('of', 0)} do", "none", not by)
    out += [f"- {line}" for line in by]
    writer.file.close()
    with open(os.path.join(args.out, "results.csv"), encoding="utf-8") as f:
        first = [r for r in csv.DictReader(f) if (r["load"], float(r["mean"]), float(r["delay"]), r["noise"]) == (cases[0].name, cases[0].mean, cases[0].delay, str(int(cases[0].noisy)))]
    out.append(f"\n## Elasticity\n\n{cases[0].title()}: the setting of each policy that is nearest to 1e-3 over objective.\n")
    elasticity({name: [r for r in first if r["name"] == name] for name in names}, out)


def run_timeline(sim, names, args, case):
    asked = {name: sim.later_seconds(case.load, POLICIES[name][0], *case.flags(), *settings_of(POLICIES[name][1])) for name in names}
    runs = {name: future.result()[1] for name, future in asked.items()}
    pictures.timeline(os.path.join(args.out, "timeline.svg"), case.title() + ", as it comes", runs, 10, 0.1)


def main():
    args = parse()
    os.makedirs(args.out, exist_ok=True)
    sim = Simulator(args)
    names = [n for n in POLICIES if (not POLICIES[n][0].startswith("scale") or has_plugin(args, POLICIES[n][0]))
             and (not args.policies or n in args.policies or n == "clairvoyant")]
    policies = {n: POLICIES[n] for n in names}
    ours = [n for n in ("scale_predict", "scale_target") if n in names]
    peers = [n for n in ("kpa",) if n in names]
    cases = [Case(name, load, mean, delay, noisy) for name, load in args.loads.items() for mean in args.means for delay in args.delays for noisy in (False, True)]
    far = [Case(name, load, 10000, delay, noisy) for name, load in args.loads.items() for delay in args.delays for noisy in (False, True)]
    shuffled = args.history_seeds * (1 + args.history_days) if "scale_predict" in names else 0
    counts = {"fronts": len(cases) * len(names), "distance": len(far) * (5 + 2 * len(ours)), "steps": 2 * args.runs * len(ours + peers), "stationary": 7 * len(ours),
              "slowdown": 2 * len(ours), "shuffled": shuffled, "engines": 24 * len(ours + peers), "speed": len(ours + peers)}
    sim.bar = Bar(sum(counts[p] for p in args.parts))
    began = time.time()
    report = Report(os.path.join(args.out, "report.md"), ["# Scaling policies in the simulator\n", f"Seeds {args.seed} to {args.seed + args.seeds - 1}, {args.knobs} values of each policy's "
                                                          "main knob. The constants of `scale_predict` were fitted on `ibm` and the first half of `worldcup98` only."])
    run = {"fronts": lambda: run_fronts(sim, names, args, report, cases),
           "distance": lambda: distance.distance(sim, far, policies, args, report),
           "steps": lambda: promises.steps(sim, ours + peers, policies, args, report),
           "stationary": lambda: promises.stationary(sim, ours, policies, args, report),
           "slowdown": lambda: promises.slowdown(sim, ours, policies, args, report),
           "shuffled": lambda: promises.shuffled(sim, policies, args, report) if shuffled else None,
           "engines": lambda: promises.engines(sim, policies, args, report),
           "speed": lambda: promises.speed(sim, peers + ours, args, report)}
    for part in PARTS:
        if part in args.parts:
            run[part]()
            report.write()
    if "fronts" in args.parts:
        run_timeline(sim, [n for n in ("scale_predict", "scale_target", "kpa", "hpa") if n in names], args, cases[0])
        report.add("\n![load and members over time](timeline.svg)")
    report.add(f"\nTook {time.time() - began:.0f} s.")
    report.write()
    print(report.path)


if __name__ == "__main__":
    main()
