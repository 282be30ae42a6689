"""Runs for single promises: steps, stationary load, slow service, history that means nothing, engines, speed."""
import math
import os
import subprocess

import bounds
import fronts
from sim import mean_of, settings_of

DAY = 86400
PEAK_HOURS = (5875200, 5857200, 5900400)  # of worldcup98; the first has the peak


def quantile(values, q):
    """nan: never. They count as the largest."""
    values = sorted(values, key=lambda v: math.inf if math.isnan(v) else v)
    return values[min(len(values) - 1, math.ceil(q * len(values)) - 1)]


def steps(sim, names, policies, args, report):
    report.add(f"\n## Step at a random instant\n\n{args.runs} runs of the exact engine from 1,000/s on, ticks of 100 ms, after {args.step_warmup:g} s of the old rate (all "
               "but the last 20 s of it aggregated). Time from the jump to the first answer of at least 90 % of the new steady state, which is what the policy holds "
               "in the mean over an hour of the new rate, after an hour of it; and of the fewest members that hold 1e-4 by queueing theory. Bound: nobody who gives at most one false "
               "alarm a day sees it sooner in 99 % of the cases, even if both rates are known (bounds.py), at once and with ticks.\n\n"
               "| policy | jump | steady | p50 | p99 | never | fewest | p50 | p99 | bound of p99 |\n|---|---|---|---|---|---|---|---|---|---|")
    asked = {}
    for name in names:
        policy, settings = policies[name][0], settings_of(policies[name][1])
        for factor in (1.5, 4.0):
            held = sim.later(f"constant:{1000 * factor}:3600", policy, "--warmup", 3600, "--tick", 0.1, "--seed", args.seed, *settings)
            asked[name, factor] = held, policy, settings
    runs, verdicts = {}, []
    for (name, factor), (held, policy, settings) in asked.items():
        steady = float(held.result()[0]["mean_members"])
        runs[name, factor] = steady, [sim.later(f"step:1000:{factor}:{10 + (i * 0.6180339887 % 1.0):.6f}:40", policy, "--exact", "--lead", 20, "--need",
                                               steady, "--seed", args.seed + i, "--warmup", args.step_warmup, *settings, steps=f"step {name}") for i in range(args.runs)]
    for (name, factor), (steady, futures) in runs.items():
        rows = [f.result()[0] for f in futures]
        right, enough = ([float(r[k]) for r in rows] for k in ("first_right", "first_enough"))
        at_once, ticked = bounds.detection(1000, factor), bounds.detection(1000, factor, tick_s=0.1)
        report.add(f"| {name} | × {factor:g} | {steady:.1f} | {quantile(right, 0.5):.3f} s | {quantile(right, 0.99):.3f} s | {sum(map(math.isnan, right))} | "
                   f"{bounds.least(1000 * factor)} | {quantile(enough, 0.5):.3f} s | {quantile(enough, 0.99):.3f} s | {at_once:.3f} s, {ticked:.3f} s |")
        if name == "scale_predict":
            goal, at99 = 0.5 if factor < 2 else 0.2, quantile(right, 0.99)
            verdicts.append((f"step × {factor:g}, {args.runs} runs: p99 of the first answer of 90 %", f"{at99:.3f} s (nobody: below {ticked:.3f} s)", f"≤ {goal:g} s", at99 <= goal))
    for verdict in verdicts:
        report.goal(*verdict)


def stationary(sim, names, policies, args, report):
    report.add(f"\n## Stationary load\n\n{args.days:g} simulated days after an hour, ticks of 100 ms: changes of the count a day, and mean members against the "
               "fewest that hold 1e-4 by queueing theory; 135/s and 1,019/s are the highest rates at which those still do.\n\n"
               "| policy | rate | changes a day | members | fewest | ratio | over objective |\n|---|---|---|---|---|---|---|")
    rates = [1, 10, 100, bounds.boundary(100), 1000, bounds.boundary(1000), 10000]
    asked = [(name, rate, sim.later(f"constant:{rate:.4f}:{int(args.days * DAY)}", policies[name][0], "--warmup", 3600, "--tick", 0.1, "--seed", args.seed,
                                   steps=f"stationary {name}")) for name in names for rate in rates]
    changes, dearest = [], []
    for name, rate, future in asked:
        row = future.result()[0]
        m, mean = bounds.least(rate), float(row["mean_members"])
        report.add(f"| {name} | {rate:.5g}/s | {float(row['actions']) / args.days:.2f} | {mean:.3f} | {m} | {mean / m:.3f} | {float(row['share']):.2g} |")
        if name == "scale_predict":
            changes.append(float(row["actions"]) / args.days)
            dearest.append(mean / max(1.1 * m, m + 1))
    if changes:
        report.goal(f"stationary, {args.days:g} days: changes a day", f"at most {max(changes):.2f}", "≤ 1", max(changes) <= 1)
        report.goal("stationary: mean members over 1.10 × the fewest, or the fewest + 1", f"at most {max(dearest):.3f}", "≤ 1", max(dearest) <= 1)


def slowdown(sim, names, policies, args, report):
    report.add("\n## Service five times slower\n\n1,000/s, start-up 10 s, from second 600 on. Shared bottleneck: what all members together complete is a fifth of what they "
               "could at that moment, whatever is added. Members slower: each service takes five times as long; back: 30 s with at most 1 in 1,000 over begin.\n"
               "\n| policy | what | members before | most | growth | flagged after | back after |\n|---|---|---|---|---|---|---|")
    asked = [(name, what, until, sim.later_seconds(f"constant:1000:{until},{what}=5@600-{until}", policies[name][0], "--tick", 0.1, "--seed", args.seed,
                                                  steps=f"slowdown {name}")) for name in names for what, until in (("bottleneck", 900), ("slower", 1500))]
    verdicts = []
    for name, what, until, future in asked:
        row, seconds = future.result()
        before = seconds[598][3]
        most = max(s[3] + s[4] for s in seconds[600:])
        back = next((i - 600 for i in range(600, until - 30) if all(s[8] <= 0.001 * s[2] for s in seconds[i:i + 30])), None)
        flag = float(row["not_capacity"]) - 600
        flagged = "–" if math.isnan(flag) else f"{flag:.1f} s"
        report.add(f"| {name} | {'shared bottleneck' if what == 'bottleneck' else 'members slower'} | {before:.0f} | {most:.0f} | "
                   f"{100 * (most / before - 1):+.0f} % | {flagged} | {f'{back} s' if back is not None else '–'} |")
        if name == "scale_predict" and what == "bottleneck":
            verdicts.append(("shared bottleneck: growth, and flagged", f"{100 * (most / before - 1):+.0f} %, {flagged}", "≤ +20 %, flagged", most <= 1.2 * before and not math.isnan(flag)))
        elif name == "scale_predict":
            verdicts.append(("members five times slower: back within objective", f"{back} s" if back is not None else "never", "≤ 30 s", back is not None and back <= 30))
    for verdict in verdicts:
        report.goal(*verdict)


def shuffled(sim, policies, args, report):
    """History that means nothing: one run over all days, and one a day with a state that knows nothing before; at equal requests over objective."""
    days, first, shares = args.history_days, 5184000, policies["scale_predict"][3]
    shares = tuple(s for s in shares if 1e-6 <= s <= 1e-1)
    sweep = ["--shuffle", 3600, "--sweep", "share=" + ",".join(f"{s:g}" for s in shares)]
    seeds = range(args.seed, args.seed + args.history_seeds)
    wholes = [sim.later(f"trace:worldcup98.csv:{first}:{days * DAY}", "scale_predict", *sweep, "--seed", s, steps="shuffled") for s in seeds]
    parts = [[sim.later(f"trace:worldcup98.csv:{first + d * DAY}:{DAY}", "scale_predict", *sweep, "--seed", s, steps="shuffled") for d in range(days)] for s in seeds]
    with_it, without = {}, {}
    for seed, whole, part in zip(seeds, wholes, parts):
        for row in whole.result():
            with_it.setdefault(row["setting"], []).append({**row, "seed": seed})
        for rows in zip(*[p.result() for p in part]):
            sums = {k: sum(float(r[k]) for r in rows) for k in ("cost", "over", "requests")}
            without.setdefault(rows[0]["setting"], []).append({**rows[0], **sums, "seed": seed})
    one, other = (fronts.hull([fronts.Point(s, r) for s, r in rows.items()]) for rows in (with_it, without))
    report.add(f"\n## Shuffled history\n\nworldcup98 from day 60 on, {days} days, the hours of the trace in random order, not scaled, {args.history_seeds} shufflings: one run with the "
               "history of all days, against a run for each day that begins without. Costs at equal requests over objective, from fronts over `share`.\n\n"
               "| over objective | cost with over without | 95 % interval |\n|---|---|---|")
    worst = []
    for level in (1e-4, 1e-3, 1e-2):
        a, b = fronts.Mix(one, level), fronts.Mix(other, level)
        if a.is_reached() and b.is_reached():
            middle, low, high = fronts.ratio(a, b)
            worst.append((middle, low, high))
            report.add(f"| {level:g} | {middle:.4f} | {low:.4f} – {high:.4f} |")
        else:
            report.add(f"| {level:g} | – | – |")
    if worst:
        middle, low, high = max(worst)
        report.goal("history that means nothing: more cost at equal violations", f"{100 * (middle - 1):+.1f} % at the worst level", "≤ 2 %", middle <= 1.02)


def engines(sim, policies, args, report):
    """The same policy in both, at the same ticks."""
    report.add(f"\n## Engines\n\nAggregated against exact, ticks of 1 s and at the edges, 1,000/s in the mean with noise, {args.engine_seeds} common seeds (which bring the same arrivals in each "
               "second), hours of the World Cup; the first has the peak. Difference of the means, paired 95 % interval.\n\n"
               "| policy | from second | over objective (share, exact) | requests over | cost | actions |\n|---|---|---|---|---|---|")
    asked = []
    chunk = max(1, args.engine_seeds // 4)
    for name, setting in (("kpa", "target=0.8"), ("scale_target", "utilization=0.8"), ("scale_predict", "share=1e-3")):
        if name not in policies:
            continue
        for first in PEAK_HOURS:
            flags = ["--mean", 1000, "--noise", "--tick", 1, "--set", setting]
            pairs = []
            for seed in range(args.seed, args.seed + args.engine_seeds, chunk):
                more = ["--seed", seed, "--seeds", min(chunk, args.seed + args.engine_seeds - seed)]
                pairs.append(tuple(sim.later(f"trace:worldcup98.csv:{first}:3600", name, *flags, *more, *exact, steps=f"engines {name}") for exact in ([], ["--exact"])))
            asked.append((f"{name} {setting}", first, pairs))
    all_of, whole = {"cost": [], "over": []}, {}
    keys = ("over", "cost", "actions")

    def line(name, where, sums, exact, share):
        cells = [fronts.difference(sums[k], exact[k]) for k in keys]
        report.add(f"| {name} | {where} | {share:.2g} | " + " | ".join(f"{100 * m:+.1f} % ± {100 * s:.1f}" for m, s in cells) + " |")
        return dict(zip(keys, cells))

    for name, first, pairs in asked:
        sums, exact = ([row for pair in pairs for row in pair[k].result()] for k in (0, 1))
        both = [{k: [float(r[k]) for r in rows] for k in keys} for rows in (sums, exact)]
        line(name, first, *both, mean_of(exact, "share"))
        whole.setdefault(name, []).append((*both, mean_of(exact, "share")))
    for name, hours in whole.items():
        both = [{k: [sum(x) for x in zip(*(hour[i][k] for hour in hours))] for k in keys} for i in (0, 1)]
        cells = line(name, "all three", *both, sum(h[2] for h in hours) / len(hours))
        for key, found in all_of.items():
            found.append((*cells[key], name, "all three"))
    report.lines.append("")
    for key, bound, what in (("cost", 0.01, "cost"), ("over", 0.10, "requests over objective")):
        m, s, name, first = max(all_of[key], key=lambda x: abs(x[0]))
        certain = all(abs(m) + s <= bound for m, s, _, _ in all_of[key])
        wrong = any(abs(m) - s > bound for m, s, _, _ in all_of[key])
        report.goal(f"engines agree: {what}", f"at most {100 * m:+.1f} % ± {100 * s:.1f} ({name}, {first})", f"within {100 * bound:g} %",
                    True if certain else False if wrong else None)


def speed(sim, names, args, report):
    micro = os.path.join(args.builddir, "bench/micro/micro")
    report.add("\n## Speed\n")
    goals = {"scale_target": 10, "scale_predict": 1}
    if os.path.exists(micro):
        done = subprocess.run([micro, "0.5"], capture_output=True, text=True, env={**os.environ, "COXSWAIN_PLUGIN_DIR": sim.plugins})
        for line in done.stdout.splitlines():
            if line.startswith("scale:"):
                ns = float(line.split()[-2])
                report.add(f"- {line.split('  ')[0]}: {ns:.0f} ns, {1000 / ns:.1f} million a second")
                for name, goal in goals.items():
                    if name in line:
                        report.goals.append(f"| decisions a second, {line.split('  ')[0]} | {1000 / ns:.1f} million | ≥ {goal} million | {'reached' if 1000 / ns >= goal else 'not reached'} |")
    for name in names:
        _, took = sim.timed("trace:worldcup98.csv", name, "--mean", 1000)
        report.goal(f"the 88 days of worldcup98 by sums at 1 Hz, {name}", f"{took:.1f} s of processor time", "≤ 15 s", took <= 15)
        sim.bar.step(f"speed {name}")
