"""Medians and their intervals."""
import math
import statistics


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def interval(values):
    """Around the median, by ranks: at least 95 % sure from 6 values on, else simply smallest and largest."""
    values = sorted(v for v in values if v is not None)
    n = len(values)
    if n == 0:
        return None
    low, tail = 0, 0.0
    for k in range(n // 2):
        tail += math.comb(n, k) / 2**n
        if 2 * tail > 0.05:
            break
        low = k + 1
    low = max(0, low - 1) if low else 0
    return [values[low], values[n - 1 - low]]


def spread(values):
    """Half of the range around the median, as a share of it: how noisy the machine was."""
    values = [v for v in values if v]
    return (max(values) - min(values)) / 2 / statistics.median(values) if values else None


def quantile(values, q):
    """The smallest value that at least this share is not above."""
    values = sorted(values)
    return values[max(0, math.ceil(q * len(values)) - 1)]
