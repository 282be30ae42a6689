"""How far from the clairvoyant, and why: the cost of one share over objective, piece by piece."""
import fronts
from sim import settings_of

LEVEL = 1e-4
FORESEEABLE = 5e-5


def _front(futures):
    points = {}
    for future in futures:
        for row in future.result():
            points.setdefault((id(future), row["setting"]), []).append(row)
    return fronts.hull([fronts.Point(setting, rows) for (_, setting), rows in points.items()])


def _cost(front):
    mix = fronts.Mix(front, LEVEL)
    return mix.cost() if mix.is_reached() else None


def ask(sim, case, policies, args):
    """Futures of all the runs of a case."""
    def sweep(policy, knob, values, *flags):
        return sim.later(case.load, policy, "--mean", case.mean, "--seeds", args.seeds, "--seed", args.seed, "--sweep", f"{knob}=" + ",".join(f"{v:.6g}" for v in values),
                         *flags, steps=f"distance {case.name}")
    prices = policies["clairvoyant"][3]
    noise, still = (["--noise"], ["--noise", "--noise-cv", 0]) if case.noisy else ([], [])
    delay = ["--delay", case.delay]
    runs = {"draws": [sweep("clairvoyant", "price", prices, "--delay", 0, *still)],
            "noise": [sweep("clairvoyant", "price", prices, "--delay", 0, *noise)],
            "known": [sweep("clairvoyant", "price", prices, *delay, *noise)],
            "unknown": [sweep("persistent", "price", prices, *delay, *noise, "--set", f"trend={t}") for t in (0, 1)]}
    if case.noisy:
        runs["learned"] = [sweep("persistent", "price", prices, *delay, *noise, "--set", f"trend={t}", "--set", "learn=1") for t in (0, 1)]
    for name in ("scale_predict", "scale_target"):
        if name in policies:
            policy, settings, knob, values = policies[name]
            runs[name] = [sweep(policy, knob, values, *delay, *noise, *settings_of(settings))]
    if "scale_predict" in policies:
        runs["default"] = [sim.later(case.load, "scale_predict", "--mean", case.mean, "--seeds", args.seeds, "--seed", args.seed, *delay, *noise, steps="distance")]
    return runs


def distance(sim, cases, policies, args, report):
    report.add(f"\n## Distance from the clairvoyant\n\nCost at {LEVEL:g} over objective in units of C*, the clairvoyant's, piece by piece: what the work itself takes, spread over members that can be cut; "
               "whole members; the chance of arrivals and services (best schedule, no start-up); noise of the rate (the same); start-up with a known future, "
               "which makes it C*; start-up with a future that is taken for the present, or for a straight line (`persistent`, which knows the rate of now "
               "exactly); noise whose CV has to be found out (the same with `learn=1`); and the rest, which is the policy's own: measuring, caution, or, where it is negative, knowing better than a straight line. `default`: "
               "cost and share of its default setting.\n\n"
               "| load | unforeseeable | work | whole members | draws | noise | start-up, future known | future not known | CV not known | policy | scale_predict | default | scale_target |\n|"
               + "---|" * 13)
    asked = [(case, ask(sim, case, policies, args)) for case in cases]
    foreseeable = []
    for case, runs in asked:
        got = {name: _front(futures) for name, futures in runs.items() if name != "default"}
        row = runs["known"][0].result()[0]
        star = _cost(got["known"])
        if star is None:
            report.add(f"| {case.title()} | {float(row['unforeseeable']):.2g} |" + " – |" * 11)
            continue
        levels = [float(row["fluid"]), float(row["whole"])] + [_cost(got[k]) if k in got else None for k in ("draws", "noise", "known", "unknown", "learned", "scale_predict")]
        cells, before = [], 0.0
        for value in levels:  # what is not reached is left to the next piece
            cells.append("–" if value is None else f"{(value - before) / star:+.4f}" if before else f"{value / star:.4f}")
            before = before if value is None else value
        ours = _cost(got["scale_predict"]) if "scale_predict" in got else None
        target = _cost(got["scale_target"]) if "scale_target" in got else None
        default = "–"
        if "default" in runs:
            rows = runs["default"][0].result()
            point = fronts.Point("", rows)
            default = f"{point.cost / star:.3f} at {point.share:.2g}"
        report.add(f"| {case.title()} | {float(row['unforeseeable']):.2g} | " + " | ".join(cells) + f" | {f'{ours / star:.3f}' if ours else '–'} | {default} | "
                   f"{f'{target / star:.3f}' if target else '–'} |")
        if float(row["unforeseeable"]) < FORESEEABLE:
            foreseeable.append((ours / star if ours else float("inf"), case.title()))
    if foreseeable:
        worst, where = max(foreseeable)
        good = sum(1 for value, _ in foreseeable if value <= 1.10)
        report.goal("cost over C*(1e-4) at 1e-4 over objective, where at most 0.005 % is unforeseeable", f"{good} of {len(foreseeable)} cases; most: {worst:.3f} ({where})", "≤ 1.10",
                    good == len(foreseeable))
