"""One candidate under one load: CPU time, busy share of the proxy's core, system calls; rounds and their ratios."""
import json
import os
import re
import signal
import subprocess

from kit import proc
from kit.stats import interval, median

SATURATED = 0.95  # of the proxy's core; a round below does not count
UNITS = {"us": 1, "ms": 1e3, "s": 1e6}


class LoadFailed(RuntimeError):
    pass


class Meter:
    """Knows the cores and how load is made."""

    def __init__(self, args, nursery, load_core, proxy_cores):
        self.args, self.nursery, self.load_core, self.proxy_cores = args, nursery, load_core, proxy_cores
        self.programs = os.path.join(os.path.abspath(args.builddir), "bench/load")

    def run(self, command, seconds):
        try:
            out = subprocess.run(["taskset", "-c", ",".join(map(str, self.load_core))] + command, capture_output=True, text=True,
                                 env={**os.environ, "PATH": proc.PATH}, timeout=3 * seconds + 30,
                                 preexec_fn=proc.die_with_us)
        except subprocess.TimeoutExpired:
            raise LoadFailed(f"{' '.join(command)}: does not end") from None
        if out.returncode != 0:
            raise LoadFailed(f"{' '.join(command)}: {out.stdout[-300:]}{out.stderr[-300:]}")
        return out.stdout

    def load(self, case, port, seconds, rate=0):
        """{"requests", "errors", "seconds", "p50_us", "p99_us"} as the load maker saw it."""
        loader = case.loader or ("wrk" if self.args.loader == "wrk" and case.wrk is not None and not rate else "load")
        if loader == "wrk":
            seen = self.wrk(case, port, seconds)
        elif loader == "h2load":
            seen = self.h2load(case, port, seconds)
        else:
            more = ["-r", str(rate)] if rate else []
            more += ["-s", case.host] if case.host else []
            seen = json.loads(self.run([os.path.join(self.programs, loader), "-d", str(seconds)] + case.load + more
                                       + [str(port), case.path], seconds))
        if seen["requests"] == 0 or seen["errors"] > seen["requests"]:
            raise LoadFailed(f"{seen['requests']} answers, {seen['errors']} errors")
        return seen

    def wrk(self, case, port, seconds):
        conns = [] if any(o.startswith("-c") for o in case.wrk) else ["-c64"]
        out = self.run(["wrk", "-t1", f"-d{max(1, round(seconds))}", "--latency"] + conns + case.wrk
                       + [f"http://127.0.0.1:{port}{case.path}"], seconds)
        count, took = re.search(r"(\d+) requests in ([\d.]+)(?:m|s)", out).groups()
        errors = sum(int(n) for line in re.findall(r"Socket errors: (.*)", out) for n in re.findall(r"\d+", line))
        errors += sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
        p = {q: float(v) * UNITS[u] for q, v, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", out)}
        return {"requests": int(count), "errors": errors, "seconds": float(took), "p50_us": p.get("50"), "p99_us": p.get("99")}

    def h2load(self, case, port, seconds):
        options = ["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519"] if case.protocol == "tls" else []
        if case.message:
            path = self.nursery.path("message")
            with open(path, "wb") as f:
                f.write(case.message)
            options += ["-d", path, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        scheme = "https" if case.protocol == "tls" else "http"
        out = self.run(["h2load", "-t1", f"-D{max(1, round(seconds))}"] + case.load + options
                       + [f"{scheme}://127.0.0.1:{port}{case.path}"], seconds)
        done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
        took = re.search(r"finished in ([\d.]+)(m?s)", out)
        data = re.search(r"\((\d+)\) data", out)
        if not done or int(done[1]) == 0:
            raise LoadFailed("no answer over HTTP/2")
        if int(data[1]) < case.body * int(done[1]):
            raise LoadFailed(f"{done[1]} answers have {data[1]} bytes: less than {case.body} each")
        return {"requests": int(done[1]), "errors": sum(int(done[i]) for i in (2, 3, 4)),
                "seconds": float(took[1]) / (1000 if took[2] == "ms" else 1), "p50_us": None, "p99_us": None}

    def floors(self):
        """{kind of handshake: µs} that OpenSSL alone takes, on the proxy's core."""
        out = subprocess.run(["taskset", "-c", str(self.proxy_cores[0]),
                              os.path.join(self.programs, "../micro/handshake")]
                             + [self.nursery.path(f"{kind}.{end}") for kind in ("ecdsa", "rsa") for end in ("crt", "key")]
                             + [str(min(1, self.args.seconds))], capture_output=True, text=True, check=True).stdout
        return json.loads(out)

    def port(self, case, candidate):
        return candidate.ports[case.protocol]

    def measure(self, case, candidate, rate=0):
        seconds, port = self.args.seconds, self.port(case, candidate)
        candidate.forget_log()
        self.load(case, port, self.args.warm, rate)  # connections to the origin, caches
        pids = candidate.pids()
        busy0, all0 = proc.cores_busy(self.proxy_cores)
        total0, user0 = proc.cpu_seconds(pids)
        seen = self.load(case, port, seconds, rate)
        total1, user1 = proc.cpu_seconds(pids)
        busy1, all1 = proc.cores_busy(self.proxy_cores)
        n = max(1, seen["requests"])
        return {"requests_per_s": seen["requests"] / seen["seconds"], "errors": seen["errors"], "p50_us": seen["p50_us"],
                "p99_us": seen["p99_us"], "cpu_us": (total1 - total0) * 1e6 / n if pids else None,
                "user_us": (user1 - user0) * 1e6 / n if pids else None, "core_busy": (busy1 - busy0) / (all1 - all0)}

    def system_calls(self, case, candidate, rate=0):
        """{name: calls per request} of the whole process tree; None without strace. Two short extra runs of different
        length are subtracted, so that opening the connections does not count."""
        if not proc.which("strace") or candidate.child is None or not self.args.strace:
            return None
        short, few = self.traced(case, candidate, 0.5, rate)
        long, many = self.traced(case, candidate, 2, rate)
        calls = {name: (n - short.get(name, 0)) / max(1, many - few) for name, n in long.items()}
        return dict(sorted(((k, n) for k, n in calls.items() if n > 0), key=lambda kv: -kv[1]))

    def traced(self, case, candidate, seconds, rate):
        """({name: calls}, requests)"""
        table, pids = self.nursery.path("strace"), candidate.pids()
        tracer = self.nursery.spawn(["strace", "-f", "-c", "-o", table] + [a for pid in pids for a in ("-p", str(pid))],
                                    self.load_core)
        try:
            proc.wait_until(lambda: tracer.poll() is not None or all(
                "TracerPid:\t0" not in proc.text_of(f"/proc/{pid}/task/{t}/status") for pid in pids for t in proc.tasks(pid)),
                "strace does not attach")
            seen = self.load(case, self.port(case, candidate), seconds, min(rate, 1000))
        finally:
            self.nursery.end(tracer, signal.SIGINT)
        calls = {}
        for line in proc.text_of(table).splitlines():
            m = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
            if m and m[2] != "total":
                calls[m[2]] = int(m[1])
        return calls, seen["requests"]


def counts(row, case):
    """Whether this round of one candidate may be compared."""
    return row is not None and row["cpu_us"] is not None and (bool(case.paced) or row["core_busy"] >= SATURATED)


def summary(rounds, case, names):
    """{candidate: medians, and the share of the rounds that count}."""
    rows = {}
    for name in names:
        mine = [r[name] for r in rounds if r.get(name)]
        if not mine:
            continue
        good = [r for r in mine if counts(r, case)]
        rows[name] = {key: median([r[key] for r in mine]) for key in ("requests_per_s", "p50_us", "p99_us", "core_busy")}
        rows[name] |= {key: median([r[key] for r in good or mine]) for key in ("cpu_us", "user_us")}
        rows[name] |= {"cpu_interval": interval([r["cpu_us"] for r in good or mine]), "errors": sum(r["errors"] for r in mine),
                       "rounds": len(mine), "rounds_counted": len(good)}
    return rows


def ratio(rounds, case, one, other, key="cpu_us"):
    """Median and interval of one / other over the rounds in which both count."""
    values = [r[one][key] / r[other][key] for r in rounds
              if counts(r.get(one), case) and counts(r.get(other), case) and r[other][key]]
    return {"median": median(values), "interval": interval(values), "rounds": len(values)} if values else None
