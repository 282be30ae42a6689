"""SVG pictures: fronts, and load and members over time. Nothing but text is written."""
import math

COLOURS = ["#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#16a085", "#7f8c8d", "#2c3e50", "#e84393", "#6d4c41",
           "#00838f", "#9e9d24", "#000000"]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 860, 460, 70, 50, 40, 190


class Axes:
    """From numbers to places."""

    def __init__(self, xs, ys, log_x=False):
        self.log_x = log_x
        self.x0, self.x1 = min(xs), max(xs)
        self.y0, self.y1 = min(ys), max(ys)
        if self.x1 <= self.x0:
            self.x1 = self.x0 * 10 if log_x else self.x0 + 1
        if self.y1 <= self.y0:
            self.y1 = self.y0 + 1
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
                      f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']

    def x(self, v):
        share = (math.log(v / self.x0) / math.log(self.x1 / self.x0)) if self.log_x else (v - self.x0) / (self.x1 - self.x0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, v):
        return HEIGHT - BOTTOM - (v - self.y0) / (self.y1 - self.y0) * (HEIGHT - BOTTOM - TOP)

    def text(self, x, y, text, anchor="start", colour="#222"):
        text = str(text).replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>')

    def line(self, points, colour, width=1.5, dash=""):
        d = " ".join(f"{self.x(px):.1f},{self.y(py):.1f}" for px, py in points)
        self.parts.append(f'<polyline points="{d}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}"/>')

    def dot(self, px, py, colour):
        self.parts.append(f'<circle cx="{self.x(px):.1f}" cy="{self.y(py):.1f}" r="3" fill="{colour}"/>')

    def frame(self, title, x_name, y_name):
        self.text(LEFT, 22, title)
        self.text((WIDTH + LEFT - RIGHT) / 2, HEIGHT - 12, x_name, "middle")
        self.parts.append(f'<text transform="translate(16,{HEIGHT / 2}) rotate(-90)" text-anchor="middle">{y_name}</text>')
        for v in self.ticks_x():
            self.line([(v, self.y0), (v, self.y1)], "#ddd", 0.7)
            self.text(self.x(v), HEIGHT - BOTTOM + 16, f"{v:.3g}", "middle")
        for v in ticks(self.y0, self.y1):
            self.line([(self.x0, v), (self.x1, v)], "#ddd", 0.7)
            self.text(LEFT - 6, self.y(v) + 4, f"{v:.4g}", "end")

    def ticks_x(self):
        if not self.log_x:
            return ticks(self.x0, self.x1)
        first, last = math.ceil(math.log10(self.x0) - 1e-9), math.floor(math.log10(self.x1) + 1e-9)
        return [10.0 ** e for e in range(first, last + 1)]

    def legend(self, index, name, colour):
        y = TOP + 10 + 18 * index
        self.parts.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 8}" width="14" height="4" fill="{colour}"/>')
        self.text(WIDTH - RIGHT + 32, y, name)

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(self.parts + ["</svg>", ""]))


def ticks(low, high):
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 6)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, int(math.floor(high / step + 1e-9)) + 1)]


def fronts(path, title, curves, unit):
    """curves: name -> hull; cost is shown in units of `unit`."""
    low = 1e-6
    points = [(max(p.share, low), p.cost / unit) for hull in curves.values() for p in hull]
    axes = Axes([low, 0.1], [1.0] + [min(y, 3.0) for _, y in points], log_x=True)
    axes.frame(title, "requests over objective (share)", "cost / clairvoyant at 1e-4")
    for i, (name, hull) in enumerate(curves.items()):
        shown = [(min(max(p.share, low), 0.1), min(p.cost / unit, axes.y1)) for p in hull]
        colour = COLOURS[i % len(COLOURS)]
        axes.line(shown, colour, 2.5 if name in ("scale_predict", "clairvoyant") else 1.3)
        for x, y in shown:
            axes.dot(x, y, colour)
        axes.legend(i, name, colour)
    axes.write(path)


def timeline(path, title, runs, slots, service_s):
    """runs: name -> rows of a --timeline file (second, rate, arrivals, ready, starting, ...)."""
    every = max(1, len(next(iter(runs.values()))) // 1200)
    first = next(iter(runs.values()))[::every]
    load = [(r[0], r[1] * service_s / slots) for r in first]
    curves = {name: [(r[0], r[3]) for r in rows[::every]] for name, rows in runs.items()}
    axes = Axes([p[0] for p in load], [0.0] + [p[1] for c in list(curves.values()) + [load] for p in c])
    axes.frame(title, "seconds", "members")
    axes.line(load, "#aaa", 1.5, "4 3")
    axes.legend(0, "load, in full members", "#aaa")
    for i, (name, points) in enumerate(curves.items()):
        axes.line(points, COLOURS[i % len(COLOURS)], 1.3)
        axes.legend(i + 1, name, COLOURS[i % len(COLOURS)])
    axes.write(path)
