"""What a run found: JSON, Markdown, and a bar chart in SVG. Alone it prints the tables of an earlier run:

    python3 -m kit.report bench/out/bench.json        (from the folder bench)
"""
import json
import os
import sys
from xml.sax.saxutils import escape

from kit.stats import interval, median, spread

COLOURS = {"coxswain": "#1f6feb", "relay": "#8c959f", "once": "#8c959f", "shake": "#8c959f", "nginx": "#2da44e", "haproxy": "#bf8700", "nghttpx": "#8250df",
           "h2o": "#1b7c83", "bare": "#57606a"}


def row_of(values):
    return {"median": median(values), "interval": interval(values), "rounds": len(values)}


def number(value, form, unit=""):
    return "" if value is None else format(value, form) + unit


def ratio_text(r):
    if not r or r["median"] is None:
        return ""
    low, high = r["interval"]
    return f"{r['median']:.2f} ({low:.2f} to {high:.2f})"


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
                     + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


# ---- one table a case ------------------------------------------------------------------------------------------------


def side_by_side(result):
    head = ["", "requests/s", "CPU µs/request", "of it user", "coxswain's CPU is × this", "system calls/request",
            "without epoll_wait", "proxy's core busy", "rounds that count", "p50 µs", "p99 µs", "errors"]
    rows = []
    for name, r in result["rows"].items():
        calls = r.get("system_calls")
        rows.append([f"**{name}**" if name == "coxswain" else name, number(r["requests_per_s"], ",.0f"),
                     number(r["cpu_us"], ".1f"), number(r["user_us"], ".1f"), ratio_text(result["ratios"].get(name)),
                     number(sum(calls.values()), ".2f") if calls else "",
                     number(r.get("system_calls_but_epoll_wait"), ".2f"),
                     number(100 * r["core_busy"], ".0f", " %") if r["cpu_us"] is not None and name != "bare" else "",
                     f"{r['rounds_counted']} of {r['rounds']}" if r["cpu_us"] is not None else "",
                     number(r["p50_us"], ",.0f"), number(r["p99_us"], ",.0f"), r["errors"]])
    at = f", {result['rate']:,} requests/s" if result["rate"] else ""
    at += f"; OpenSSL alone takes {result['floor']:.1f} µs" if result.get("floor") else ""
    return f"### {result['title']}{at}\n\n{table(head, rows)}"


def reached_text(goal):
    r = goal["reached"]
    if r is None:
        return "not measured"
    return ratio_text(r) if isinstance(r, dict) else number(r, ",.2f")


def goals(result):
    return "\n".join(f"- {g['text']}: {reached_text(g)}{'' if not g.get('against') else ' against ' + g['against']} → "
                     f"{'reached' if g['met'] else 'NOT reached'}" for g in result.get("goals", []))


def two_workers(result):
    rows = [[name, number(r["requests_per_s"], ",.0f"), number(r["cpu_us"], ".2f")] for name, r in result["rows"].items()]
    growth = "; ".join(f"{kind} {ratio_text(r)}" for kind, r in result["growth"].items())
    return (f"### {result['title']}\n\n{table(['', 'requests/s', 'CPU µs/request'], rows)}\n\n"
            f"CPU per request, two over one: {growth}")


def idle(result):
    rows = [[f"**{n}**" if n == "coxswain" else n, r["processes"], number(r["start_bytes"] / 2**20, ".1f"),
             number(r["few"]["bytes"] / 2**20, ".1f"), number(r["many"]["bytes"] / 2**20, ".1f"),
             number(r["slope_bytes"], ",.0f")] for n, r in result["rows"].items()]
    head = ["", "processes", "PSS MiB at start", "with 1,000 idle", "with 10,000 idle", "bytes a connection"]
    return f"### {result['title']}, after {result['seconds']:.0f} s\n\n{table(head, rows)}"


def held(result):
    names = {"h1": "HTTP/1, a connection each", "tls": "HTTP/1 over TLS 1.3, a connection each", "h2": "HTTP/2, 100 streams a connection"}
    rows = [[names[n], number(r["start_bytes"] / 2**20, ".1f"), number(r["few"]["requests"], ",d"), number(r["few"]["bytes"] / 2**20, ".1f"),
             number(r["many"]["requests"], ",d"), number(r["many"]["bytes"] / 2**20, ".1f"), number(r["slope_bytes"], ",.0f"),
             number(r["full_bytes"] / 2**20, ".0f")] for n, r in result["rows"].items()]
    head = ["", "PSS MiB at start", "held", "PSS MiB", "held", "PSS MiB", "bytes a request", "MiB of 100,000"]
    what = {"order": "first byte of a request that wakes, until a member is ordered", "tcp": "`listen()` in a member, until the held request is there (TCP)",
            "unix": "the same (unix socket)",
            "awake": "both, where the machine did not stand still meanwhile"}
    times = [[text, f"{100 * b['core_busy']:.0f} %", b[key]["count"]] + [number(b[key][q] / 1000, ".2f") for q in ("p50_us", "p99_us", "max_us")]
             for b in result["births"].values() for key, text in what.items()]
    many = result["fleet"]
    return (f"### {result['title']}\n\n{table(head, rows)}\n\n{many['requests']:,} over HTTP/1 in {many['instances']} instances: "
            f"{many['bytes'] / 2**20:.1f} MiB ({many['start_bytes'] / 2**20:.1f} at start).\n\n" + table(["from", "proxy's core busy", "times", "p50 ms", "p99 ms", "largest ms"], times))


def scale(result):
    m = result["memory"]
    head = ["role", "bytes an endpoint", "more for another worker"]
    rows = [[role, number(n, ",.0f"), number(m["worker_bytes"][role], ",.0f")] for role, n in m["endpoint_bytes"].items()]
    change = [[name, c["changes"], number(c["p50_us"] / 1000, ".2f"), number(c["p99_us"] / 1000, ".2f"),
               number(c["max_us"] / 1000, ".2f"), number(c["requests_per_s"], ",.0f"), number(100 * c["core_busy"], ".0f", " %")]
              for name, c in result["changes"].items()]
    return (f"### {result['title']}\n\nStart until a request is routed: {m['start_s']:.2f} s\n\n{table(head, rows)}\n\n"
            + table(["load", "changes", "p50 ms", "p99 ms", "largest ms", "requests/s", "proxy's core busy"], change))


def instructions(result):
    found = result["found"]
    if not found:
        return f"### {result['title']}\n\n{result['text']}"
    rows = []
    for name, c in found["cases"].items():
        made = sum(n for f, n in c["allocations"].items() if f not in ("free", "sdallocx"))
        rows.append([name, number(c["instructions"], ",.0f"), number(c.get("system_calls_but_epoll_wait"), ".3f"),
                     number(made, ".4f")])
    return f"### {result['title']}\n\n" + table(["case", "instructions", "system calls without epoll_wait", "allocations"], rows)


def micro(result):
    return f"### {result['title']}\n\n" + table(["", "ns"], [[k, f"{v:.1f}"] for k, v in result["ns"].items()])


KINDS = {"two-workers": two_workers, "idle": idle, "idle-tls": idle, "idle-h2": idle, "held": held, "scale": scale, "instructions": instructions, "micro": micro}


def markdown(whole):
    facts, s = whole["facts"], whole["settings"]
    versions = "; ".join(f"{n}" for n in facts["versions"])
    squeeze = f"; {facts['squeeze']} % of the proxy's core taken away so that all are saturated" if facts["squeeze"] else ""
    parts = [f"{facts['machine']}; {facts['coxswain']}; {versions}. {s['rounds']} rounds of {s['seconds']:g} s, interleaved; "
             f"medians, with 95 % intervals of the ratios within a round; {facts['logs']}; load made by {facts['loader']}"
             f"{squeeze}. {noise(whole)}"]
    for name, result in whole["cases"].items():
        body = KINDS.get(name, side_by_side)(result)
        parts.append(body + ("\n\n" + goals(result) if result.get("goals") else ""))
    return "\n\n".join(parts) + "\n"


def noise(whole):
    """How much the relay, who always does the same, varied over the rounds."""
    spreads = []
    for result in whole["cases"].values():
        relay = [r["relay"]["cpu_us"] for r in result.get("rounds", []) if r.get("relay") and r["relay"].get("cpu_us")]
        if len(relay) > 1:
            spreads.append(spread(relay))
    text = f"Load average before: {whole['facts']['load_before']:.2f}"
    return text + (f"; the relay's own CPU per request varied by ± {100 * max(spreads):.0f} % at most." if spreads else ".")


def overview(whole):
    """One row a case that has CPU per request: for a README."""
    names = []
    for result in whole["cases"].values():
        names += [n for n in result.get("rows", {}) if n not in names and n != "direct" and "cpu_us" in result["rows"][n]]
    names = [n for n in names if not n[-1:] in "12" or "." in n]  # not those of two-workers
    rows = []
    for result in whole["cases"].values():
        if "ratios" not in result:
            continue
        rows.append([result["title"]] + [number(result["rows"].get(n, {}).get("cpu_us"), ".1f") for n in names]
                    + ["<br>".join(f"{g['text']}: {reached_text(g).split(' (')[0]}" for g in result["goals"]),
                       "<br>".join("yes" if g["met"] else "**no**" for g in result["goals"])])
    return table(["CPU µs/request"] + names + ["to reach", "reached"], rows) if rows else ""


# ---- the chart -------------------------------------------------------------------------------------------------------

WIDTH, LABEL, BAR, GAP, SCALE_WIDTH = 860, 250, 15, 14, 520


def colour(name):
    return next((c for kind, c in COLOURS.items() if name.startswith(kind)), "#cf222e")


def bars(y, rows):
    """One group; lengths are relative to the dearest of the group, so that cases of 10 µs and 500 µs share a page."""
    most = max(r["cpu_interval"][1] for r in rows.values())
    out = []
    for name, r in rows.items():
        x = [LABEL + SCALE_WIDTH * v / most for v in (r["cpu_us"], *r["cpu_interval"])]
        out.append(f'<text x="{LABEL - 8}" y="{y + BAR - 4}" text-anchor="end">{escape(name)}</text>'
                   f'<rect x="{LABEL}" y="{y}" width="{x[0] - LABEL:.1f}" height="{BAR - 2}" fill="{colour(name)}"/>'
                   f'<path d="M{x[1]:.1f} {y + BAR / 2 - 1}H{x[2]:.1f}" stroke="#24292f"/>'
                   f'<text x="{max(x[0], x[2]) + 6:.1f}" y="{y + BAR - 4}">{r["cpu_us"]:.1f}</text>')
        y += BAR
    return y, out


def svg(whole):
    y, out = 44, []
    for name, result in whole["cases"].items():
        rows = {n: r for n, r in result.get("rows", {}).items() if r.get("cpu_us") and r.get("cpu_interval")}
        if not rows:
            continue
        out.append(f'<text x="12" y="{y + 12}" font-weight="bold">{escape(result["title"])}</text>')
        y, more = bars(y + 20, rows)
        out += more
        y += GAP
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" width="{WIDTH}" height="{y + 8}" '
            'font-family="sans-serif" font-size="12" fill="#24292f"><rect width="100%" height="100%" fill="#ffffff"/>'
            '<text x="12" y="24" font-size="16" font-weight="bold">CPU time of the proxy per request, µs</text>'
            '<text x="430" y="24" fill="#57606a">less is better; the line is the 95 % interval</text>')
    return head + "\n".join(out) + "</svg>\n"


def write(whole, folder):
    os.makedirs(folder, exist_ok=True)
    for name, text in (("bench.json", json.dumps(whole, indent=1)), ("bench.md", markdown(whole)),
                       ("overview.md", overview(whole) + "\n"), ("bench.svg", svg(whole))):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)


def main():
    with open(sys.argv[1]) as f:
        whole = json.load(f)
    print(overview(whole))
    print()
    print(markdown(whole))


if __name__ == "__main__":
    main()
