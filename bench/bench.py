#!/usr/bin/env python3
"""Side by side: what a proxied request costs in CPU time with coxswain, nginx, HAProxy and a blind byte relay.

One origin, one wrk, 64 keep-alive connections, a 13-byte body. The proxy has one core for itself, wrk and the origin
share another. All candidates run all the time; the rounds are interleaved, so a machine that changes its mind in the
middle hits everybody, and ratios are taken within a round. CPU time is that of every process of the candidate
(for coxswain: master, proxy and orchestrator), from the scheduler's own nanosecond count.

    make bench BENCH_FLAGS="--rounds 9 --seconds 10"
    make bench BENCH_FLAGS="--rate 20000"       every candidate at the same request rate (h2load), not flat out
"""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, seconds=15):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                if b" 200 " in s.recv(4096):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"nothing answers on port {port}")


def family(pid):
    """The process and all its descendants."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as f:
                    todo += [int(child) for child in f.read().split()]
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    """(total, user) CPU seconds of a process tree: the total in nanoseconds per thread, the user part in ticks."""
    total = user = 0.0
    for one in family(pid):
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0]) / 1e9
            with open(f"/proc/{one}/stat") as f:
                user += int(f.read().rsplit(")", 1)[1].split()[11]) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            pass
    return total, user


def core_busy(core):
    """(busy, all) jiffies of one core."""
    with open("/proc/stat") as f:
        for line in f:
            if line.startswith(f"cpu{core} "):
                ticks = [int(x) for x in line.split()[1:9]]
                return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
    return 0, 1


class Bench:
    def __init__(self, args):
        self.args = args
        self.scratch = tempfile.mkdtemp(prefix="coxswain-bench-")
        os.chmod(self.scratch, 0o755)
        cores = sorted(os.sched_getaffinity(0))
        self.load_core, self.proxy_core = cores[0], cores[-1]
        self.children = []
        self.candidates = {}  # name: (port, process or None)

    def spawn(self, core, command, **env):
        log = open(os.path.join(self.scratch, f"log-{len(self.children)}"), "wb")
        child = subprocess.Popen(["taskset", "-c", str(core)] + command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                 env={**os.environ, **env})
        log.close()
        self.children.append((child, log.name))
        return child

    def config(self, name, **values):
        with open(os.path.join(HERE, "conf", name)) as f:
            text = f.read()
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        path = os.path.join(self.scratch, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def add(self, name, port, command, **env):
        child = self.spawn(self.proxy_core, command, **env)
        try:
            wait_for(port)
        except RuntimeError as e:
            with open(self.children[-1][1], errors="replace") as f:
                sys.exit(f"bench: {name}: {e}\n{f.read()[-2000:]}")
        self.candidates[name] = (port, child.pid)

    def start(self):
        build = os.path.abspath(self.args.builddir)
        origin = free_port()
        self.spawn(self.load_core, [os.path.join(build, "bench/load/origin"), str(origin)])
        wait_for(origin)
        self.candidates["direct"] = (origin, None)
        want = self.args.only.split(",") if self.args.only else ["relay", "nginx", "haproxy", "coxswain"]
        ports = dict(origin=origin, dir=self.scratch)
        if "relay" in want:
            port = free_port()
            self.add("relay", port, [os.path.join(build, "bench/load/relay"), str(port), str(origin)])
        for name, arguments in (("nginx", ["-c"]), ("haproxy", ["-db", "-f"])):
            program = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
            if name in want and program is None:
                print(f"bench: no {name} here, left out", file=sys.stderr)
            elif name in want:
                port = free_port()
                path = self.config(f"{name}.conf", port=port, **ports)
                self.add(name, port, [program] + arguments + [path])
        if "coxswain" in want:
            port = free_port()
            user = 'user = "root";' if os.geteuid() == 0 else ""
            path = self.config("coxswain.cfg", port=port, user=user, **ports)
            self.add("coxswain", port, [self.args.coxswain or os.path.join(build, "coxswain"), "-c", path],
                     COXSWAIN_PLUGIN_DIR=os.path.join(build, "plugins"))

    def load(self, port, seconds):
        """(requests, errors, seconds as measured by the load maker, p50 and p99 in µs)"""
        url = f"http://127.0.0.1:{port}{self.args.path}"
        pin = ["taskset", "-c", str(self.load_core)]
        if self.args.rate:
            each = max(1, round(self.args.rate / self.args.connections))
            out = subprocess.run(pin + ["h2load", "--h1", "-t1", f"-c{self.args.connections}", f"-D{seconds}",
                                        f"--rps={each}", url], capture_output=True, text=True, check=True).stdout
            done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
            took = float(re.search(r"finished in ([\d.]+)s", out).group(1))
            return int(done[1]), sum(int(done[i]) for i in (2, 3, 4)), took, None, None
        out = subprocess.run(pin + ["wrk", "-t1", f"-c{self.args.connections}", f"-d{seconds}", "--latency", url],
                             capture_output=True, text=True, check=True).stdout
        count, took = re.search(r"(\d+) requests in ([\d.]+)s", out).groups()
        errors = sum(int(n) for line in re.findall(r"Socket errors: (.*)", out) for n in re.findall(r"\d+", line))
        errors += sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
        unit = {"us": 1, "ms": 1e3, "s": 1e6}
        p = {q: float(v) * unit[u] for q, v, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", out)}
        return int(count), errors, float(took), p.get("50"), p.get("99")

    def round(self, name):
        port, pid = self.candidates[name]
        self.load(port, 1)  # warm: connections to the origin, caches
        busy0, all0 = core_busy(self.proxy_core)
        total0, user0 = cpu_seconds(pid) if pid else (0, 0)
        requests, errors, took, p50, p99 = self.load(port, self.args.seconds)
        total1, user1 = cpu_seconds(pid) if pid else (0, 0)
        busy1, all1 = core_busy(self.proxy_core)
        n = max(1, requests)
        return {"requests_per_s": requests / took, "errors": errors, "p50_us": p50, "p99_us": p99,
                "cpu_us": (total1 - total0) * 1e6 / n, "user_us": (user1 - user0) * 1e6 / n,
                "core_busy": (busy1 - busy0) / max(1, all1 - all0)}

    def stop(self):
        for child, _ in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child, _ in self.children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                for pid in family(child.pid):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                child.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)


def version(command):
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10).stdout
        return out.strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "?"


def summary(rounds):
    """Medians per candidate, and the median over rounds of its CPU per request divided by the relay's."""
    rows = {}
    for name in rounds[0]:
        row = {}
        for key in ("requests_per_s", "cpu_us", "user_us", "core_busy", "p50_us", "p99_us"):
            values = [r[name][key] for r in rounds if r[name][key] is not None]
            row[key] = statistics.median(values) if values else None
        row["errors"] = sum(r[name]["errors"] for r in rounds)
        if "relay" in rounds[0] and name != "direct":
            ratios = [r[name]["cpu_us"] / r["relay"]["cpu_us"] for r in rounds]
            row["cpu_over_relay"] = statistics.median(ratios)
            row["cpu_over_relay_range"] = [min(ratios), max(ratios)]
        rows[name] = row
    return rows


def markdown(rows):
    def number(value, form):
        return "" if value is None else format(value, form)

    lines = ["| | requests/s | CPU µs/request | of it user | × relay | proxy's core busy | p50 µs | p99 µs | errors |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name, r in rows.items():
        proxy = name != "direct"
        ratio = f"{r['cpu_over_relay']:.2f}" if "cpu_over_relay" in r else ""
        lines.append(f"| {name} | {r['requests_per_s']:,.0f} | {number(r['cpu_us'] if proxy else None, '.1f')} | "
                     f"{number(r['user_us'] if proxy else None, '.1f')} | {ratio} | "
                     f"{number(100 * r['core_busy'] if proxy else None, '.0f')}{' %' if proxy else ''} | "
                     f"{number(r['p50_us'], '.0f')} | {number(r['p99_us'], '.0f')} | {r['errors']} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builddir", default=".")
    parser.add_argument("--coxswain", help="another executable than BUILDDIR/coxswain")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--path", default="/", help="/16k, /1m: a body of that size")
    parser.add_argument("--rate", type=int, default=0, help="requests/s for everybody; 0: flat out")
    parser.add_argument("--only", help="relay,nginx,haproxy,coxswain")
    args = parser.parse_args()
    for tool in ("taskset", "h2load" if args.rate else "wrk"):
        if shutil.which(tool) is None:
            sys.exit(f"bench: {tool} is missing")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench, rounds = Bench(args), []
    try:
        bench.start()
        names = list(bench.candidates)
        for i in range(args.rounds):
            order = names[i % len(names):] + names[:i % len(names)]
            result = {name: bench.round(name) for name in order}
            rounds.append({name: result[name] for name in names})
            print(f"round {i + 1}: " + "  ".join(f"{n} {rounds[-1][n]['cpu_us']:.1f} µs" for n in names if n != "direct"),
                  file=sys.stderr, flush=True)
    finally:
        bench.stop()
    report = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
              "nginx": version(["/usr/sbin/nginx", "-v"]), "haproxy": version(["/usr/sbin/haproxy", "-v"]),
              "settings": vars(args), "median": summary(rounds), "rounds": rounds}
    out = os.path.join(args.builddir, "bench/out")
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "throughput.json"), "w") as f:
        json.dump(report, f, indent=1)
    how = f"{args.rate} requests/s" if args.rate else "flat out"
    print(f"\n{report['machine']}; {report['nginx']}; {report['haproxy']}; {args.connections} connections, path {args.path}, "
          f"{how}, median of {args.rounds} rounds of {args.seconds} s; access logs off everywhere\n")
    print(markdown(report["median"]))
    with open(os.path.join(out, "throughput.md"), "w") as f:
        f.write(markdown(report["median"]) + "\n")


if __name__ == "__main__":
    main()
