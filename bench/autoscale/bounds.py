"""What no policy can do better: queueing theory for members with slots, and the speed at which a change of the rate can be seen."""
import math

DAY = 86400


def erlang_share(rate, members, service=0.1, slots=10, wait=0.1):
    """Share of requests that wait longer than `wait` in the steady state."""
    offered, inverse, c = rate * service, 1.0, members * slots
    for k in range(1, c + 1):
        inverse = min(1.0 + k / offered * inverse, 1e300)
    if c <= offered:
        return 1.0
    blocked = 1 / inverse
    return blocked / (1 - offered / c * (1 - blocked)) * math.exp(-(c - offered) * wait / service)


def least(rate, allowed=1e-4):
    """The fewest members that hold `allowed`."""
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


def _crossed(rate, factor, level, until_s, grain_s):
    """Chances that the logarithm of the likelihood ratio of a rate `factor` times as high was above `level` within 1, 2, … grains after the rate
    grew. In each grain it is taken with all the arrivals and none of the time of the grain: never too small."""
    gain, fall, mean = math.log(factor), rate * (factor - 1) * grain_s, rate * factor * grain_s
    jumps = [math.exp(-mean)]
    while len(jumps) < mean or jumps[-1] > 1e-10:
        jumps.append(jumps[-1] * mean / len(jumps))
    alive, gone, out = {0: 1.0}, 0.0, []
    for step in range(int(until_s / grain_s + 0.5)):
        most = math.floor((level + fall * step) / gain)
        after = {}
        for n, chance in alive.items():
            for k, p in enumerate(jumps):
                if n + k > most:
                    gone += chance * p
                else:
                    after[n + k] = after.get(n + k, 0.0) + chance * p
        alive = {n: p for n, p in after.items() if p > 1e-12}
        out.append(gone)
    return out


def detection(rate, factor, quantile=0.99, alarms_a_day=1.0, tick_s=0.0, grain_s=0.001):
    """No rule that is wrong at most so often under the old rate sees the change sooner than this, in that share of the cases, even if it knows
    both rates. By a change of measure, for every b: P1(seen by t) ≤ exp(b) · P0(alarm within t) + P1(log-likelihood ratio above b by t).
    With ticks, which fall at random, it can answer at ticks only."""
    mean_log = rate * (factor * math.log(factor) - factor + 1)
    until = max(0.02, 25.0 / mean_log)
    grain = min(grain_s, until / 200)
    count = int(until / grain + 0.5)
    best = [1.0] * count
    for level in (2, 4, 5, 6, 7, 8, 9, 10, 12, 14):
        for i, crossed in enumerate(_crossed(rate, factor, level, until, grain)):
            best[i] = min(best[i], math.exp(level) * alarms_a_day * (i + 1) * grain / DAY + crossed)

    def seen(after_s):
        i = int(after_s / grain) - 1
        return 0.0 if i < 0 else best[min(i, count - 1)]

    t = grain
    while True:
        if tick_s:
            phases = [(k + 0.5) / 50 * tick_s for k in range(50)]
            chance = sum(seen(u + math.floor((t - u) / tick_s) * tick_s) if t >= u else 0.0 for u in phases) / len(phases)
        else:
            chance = seen(t)
        if chance >= quantile or t > until + 2 * tick_s:
            return t
        t += grain
