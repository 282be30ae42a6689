"""Curves over time as one SVG page: panels below each other with a common time axis. No outside module."""
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, PANEL, GAP, TOP = 980, 64, 170, 130, 34, 52
COLOURS = ("#1f6feb", "#cf222e", "#2da44e", "#bf8700", "#8250df", "#57606a")


def nice(value):
    """The next round number that is not smaller: 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 1
    step = 1e-9
    while True:
        for factor in (1, 2, 5):
            if step * factor >= value * (1 - 1e-12):
                return step * factor
        step *= 10


def short(value):
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


class Curve:
    """points: (seconds, value or None); `steps`: the value holds until the next point; `filled`: down to zero."""

    def __init__(self, name, points, colour=None, steps=False, filled=False):
        self.name, self.points, self.colour, self.steps, self.filled = name, points, colour, steps, filled

    def path(self, x, y):
        out, pen, last = [], "M", None
        for when, value in self.points:
            if value is None:
                pen = "M"
                continue
            if self.steps and pen == "L" and last is not None:
                out.append(f"L{x(when):.1f} {y(last):.1f}")
            out.append(f"{pen}{x(when):.1f} {y(value):.1f}")
            pen, last = "L", value
        return "".join(out)


def panel(top, title, curves, span, marks):
    most = nice(max([v for c in curves for _, v in c.points if v is not None] or [1]))
    width = WIDTH - LEFT - RIGHT

    def x(when):
        return LEFT + width * (when - span[0]) / max(1e-9, span[1] - span[0])

    def y(value):
        return top + PANEL * (1 - min(value, most) / most)

    out = [f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>']
    for share in (0, 0.5, 1):
        out.append(f'<path d="M{LEFT} {y(most * share):.1f}H{LEFT + width}" stroke="#d0d7de"/>'
                   f'<text x="{LEFT - 6}" y="{y(most * share) + 4:.1f}" text-anchor="end">{short(most * share)}</text>')
    for when, _ in marks:
        out.append(f'<path d="M{x(when):.1f} {top}V{top + PANEL}" stroke="#8c959f" stroke-dasharray="2 3"/>')
    for i, curve in enumerate(curves):
        colour = curve.colour or COLOURS[i % len(COLOURS)]
        line = curve.path(x, y)
        if line and curve.filled:
            shown = [when for when, v in curve.points if v is not None]
            out.append(f'<path d="{line}L{x(shown[-1]):.1f} {y(0):.1f}L{x(shown[0]):.1f} {y(0):.1f}Z" fill="{colour}" opacity="0.18"/>')
        out.append(f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
                   f'<text x="{LEFT + width + 12}" y="{top + 12 + 16 * i}" fill="{colour}">{escape(curve.name)}</text>')
    return "".join(out)


def page(title, panels, marks=()):
    """panels: [(title, [Curve])]; marks: [(seconds, text)] stand on every panel. Returns the text of the SVG."""
    times = [when for _, curves in panels for c in curves for when, _ in c.points] or [0, 1]
    span = (min(times), max(times))
    height = TOP + len(panels) * (PANEL + GAP) + 12
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif" font-size="12" fill="#24292f"><rect width="100%" height="100%" fill="#ffffff"/>'
           f'<text x="12" y="22" font-size="16" font-weight="bold">{escape(title)}</text>']
    for i, (name, curves) in enumerate(panels):
        out.append(panel(TOP + 8 + i * (PANEL + GAP), name, curves, span, marks))
    width, bottom = WIDTH - LEFT - RIGHT, TOP + 8 + len(panels) * (PANEL + GAP) - GAP
    for i in range(6):
        when = span[0] + (span[1] - span[0]) * i / 5
        out.append(f'<text x="{LEFT + width * i / 5:.1f}" y="{bottom + 16}" text-anchor="middle">{when:.0f} s</text>')
    for when, text in marks:
        at = LEFT + width * (when - span[0]) / max(1e-9, span[1] - span[0])
        out.append(f'<text x="{at + 3:.1f}" y="{TOP + 18}" font-size="10" fill="#57606a">{escape(text)}</text>')
    return "\n".join(out) + "</svg>\n"
