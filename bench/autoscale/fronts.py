"""Fronts of cost against requests over objective: lower convex hulls of means over common seeds, and what they say.

A point between two settings is reached by using the one for a share of the time and the other for the rest, so the hull is taken in
plain (not logarithmic) coordinates."""
import math

T95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 14: 2.14, 19: 2.09, 29: 2.05, 59: 2.00, 119: 1.98}


def student(freedom):
    """The 97.5 % point, for the next smaller number of degrees of freedom that is known."""
    return T95[max(k for k in T95 if k <= freedom)]


class Point:
    """One setting of a policy: share over objective and cost, as means over seeds, and each seed's cost."""

    def __init__(self, setting, rows):
        self.setting = setting
        self.costs = {row["seed"]: float(row["cost"]) for row in rows}
        self.cost = sum(self.costs.values()) / len(rows)
        self.unforeseeable = float(rows[0]["unforeseeable"])
        requests = sum(float(row["requests"]) for row in rows)
        self.share = sum(float(row["over"]) for row in rows) / requests if requests else 0.0


def hull(points):
    """The lower convex hull, from the smallest share to the cheapest."""
    best = []
    for p in sorted(points, key=lambda p: (p.share, p.cost)):
        if best and p.cost >= best[-1].cost:
            continue  # neither fewer over nor cheaper
        while len(best) >= 2:
            a, b = best[-2], best[-1]
            if (b.cost - a.cost) * (p.share - a.share) <= (p.cost - a.cost) * (b.share - a.share):
                break
            best.pop()
        best.append(p)
    return best


class Mix:
    """The cheapest way for a front to have at most `level` over objective: two settings, or one."""

    def __init__(self, front, level):
        self.parts = []
        if not front or front[0].share > level:
            return
        for a, b in zip(front, front[1:]):
            if a.share <= level < b.share:
                w = (level - a.share) / (b.share - a.share)
                self.parts = [(1 - w, a), (w, b)]
        if not self.parts:
            self.parts = [(1.0, front[-1])]

    def is_reached(self):
        return bool(self.parts)

    def cost(self, seed=None):
        return sum(w * (p.cost if seed is None else p.costs[seed]) for w, p in self.parts)

    def settings(self):
        return " + ".join(f"{100 * w:.0f} % {p.setting}" if w < 0.995 else p.setting for w, p in self.parts if w > 0.005)


def ratio(one, other):
    """Mean ratio of the costs of two mixes over their common seeds, and its 95 % interval."""
    seeds = sorted(set.intersection(*(set(p.costs) for m in (one, other) for _, p in m.parts)))
    logs = [math.log(one.cost(s) / other.cost(s)) for s in seeds]
    n, mean = len(logs), sum(logs) / len(logs)
    if n < 2:
        return math.exp(mean), math.nan, math.nan
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / (n - 1) / n) * student(n - 1)
    return math.exp(mean), math.exp(mean - spread), math.exp(mean + spread)


def difference(some, others):
    """Difference of two means in units of the second, and half of its paired 95 % interval."""
    n, base = len(some), sum(others) / len(others)
    if n < 2 or not base:
        return math.nan, math.nan
    gaps = [a - b for a, b in zip(some, others)]
    mean = sum(gaps) / n
    return mean / base, math.sqrt(sum((g - mean) ** 2 for g in gaps) / (n - 1) / n) * student(n - 1) / base
