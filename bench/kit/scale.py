"""Many clusters: start, memory, and how soon a change of one endpoint is used, with 1,000 clusters of 100 endpoints and
10,000 routes."""
import json
import os
import signal
import subprocess
import time

from kit import cases, proc
from kit.measure import Meter

CLUSTERS, ENDPOINTS, ROUTES = 1000, 100, 10000
DECAY_S = 15  # freed memory is the machine's again after some ten seconds
CASE = cases.Case("requests to the cluster that changes", path="/", load=["-e"])


def write_config(bench, tag, workers, port, large, flip=None):
    """A config file with everything in it; flip: (socket, port a, port b) of the plugin that makes changes."""
    user = 'user = "root";' if os.geteuid() == 0 else ""
    parts = [f'workers = {workers};\n{user}\ncontrol = "{bench.nursery.path(tag + ".sock")}";\nlog = {{ level = "error"; }};\n'
             f'max_endpoints = 131072;\nlisteners = ( {{ name = "web"; address = "127.0.0.1:{port}"; }} );\nclusters = (\n'
             '{ name = "flip"; endpoints = ( ); probe = { kind = "none"; }; max_idle = 256; }']
    if large:
        for c in range(CLUSTERS):
            ends = ", ".join(f'"127.{1 + c // 250}.{c % 250}.{e + 1}:80"' for e in range(ENDPOINTS))
            parts.append(f',\n{{ name = "c{c}"; probe = {{ kind = "none"; }}; endpoints = ( {ends} ); }}')
    parts.append('\n);\nroutes = (\n{ host = "*"; path = "/"; cluster = "flip"; }')
    if large:
        for r in range(ROUTES):
            parts.append(f',\n{{ host = "h{r // 10}.example.com"; path = "/p{r % 10}"; cluster = "c{r % CLUSTERS}"; }}')
    parts.append("\n);\n")
    if flip:
        path, a, b = flip
        parts.append(f'plugin_dir = "{os.path.join(bench.stage.build, "bench/scale/.libs")}";\n'
                     f'plugins = ( {{ name = "benchflip"; socket = "{path}"; cluster = "flip"; a = "127.0.0.1:{a}"; '
                     f'b = "127.0.0.1:{b}"; }} );\n')
    out = bench.nursery.path(f"{tag}.cfg")
    with open(out, "w") as f:
        f.write("".join(parts))
    return out


def start(bench, program, tag, workers, large, flip=None):
    """(child, port, seconds until a request is routed)"""
    port = proc.free_port()
    config = write_config(bench, tag, workers, port, large, flip)
    began = time.monotonic()
    child = bench.nursery.spawn([program, "-c", config], bench.proxy_cores)
    while not routed(port):
        if child.poll() is not None or time.monotonic() > began + 60:
            raise RuntimeError(f"coxswain with many clusters does not serve:\n{proc.text_of(child.output)[-2000:]}")
        time.sleep(0.002)
    return child, port, time.monotonic() - began


def routed(port):
    import socket
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            return s.recv(100).startswith(b"HTTP/1.1 ")
    except OSError:
        return False


def roles(bench, tag):
    out = subprocess.run([os.path.join(bench.stage.build, "coxctl"), "-s", bench.nursery.path(tag + ".sock"), "--json",
                          "status"], capture_output=True, text=True, check=True).stdout
    found = json.loads(out)
    pids = {"master": found["pid"]}
    for p in found["processes"]:
        pids[p["role"]] = p["pid"]
    return pids


def memory(bench, program):
    """Bytes of one endpoint and of one further worker, by role, from four configurations."""
    seen, starts = {}, []
    for large in (False, True):
        for workers in (1, 2):
            tag = f"scale-{'large' if large else 'small'}-{workers}"
            child, _, took = start(bench, program, tag, workers, large)
            pids = roles(bench, tag)
            time.sleep(min(bench.args.idle_seconds, DECAY_S))
            for pid in pids.values():
                proc.wait_until(lambda p=pid: proc.is_quiet(p), "the processes do not come to rest")
            seen[large, workers] = {role: proc.pss_bytes([pid]) for role, pid in pids.items()}
            if large:
                starts.append(took)
            bench.nursery.end(child)
    n = CLUSTERS * ENDPOINTS
    one = {role: (seen[True, 1][role] - seen[False, 1][role]) / n for role in seen[True, 1]}
    two = {role: (seen[True, 2][role] - seen[False, 2][role]) / n for role in seen[True, 2]}
    return {"endpoint_bytes": one, "worker_bytes": {role: two[role] - one[role] for role in one}, "start_s": min(starts),
            "pss_bytes": {f"{'large' if k[0] else 'small'}, {k[1]} worker(s)": v for k, v in seen.items()}}


def rate_for(bench, meter, port, share):
    """Requests a second that keep the proxy's core busy for this share of the time, changes included. Half-idle, a request costs
    more than flat out, so it is not that share of the rate."""
    rate = share * meter.load(CASE, port, 1)["requests"]
    for _ in range(3):
        busy0, all0 = proc.cores_busy(bench.proxy_cores)
        meter.load(CASE, port, 1, int(rate))
        busy1, all1 = proc.cores_busy(bench.proxy_cores)
        rate *= share / ((busy1 - busy0) / (all1 - all0))
    return int(rate)


def changes(bench, program):
    """Quantiles of the time from a change to its use, at 70 % of the CPU and flat out."""
    a, b, path = proc.free_port(), proc.free_port(), bench.nursery.path("flip.plugin")
    child, port, _ = start(bench, program, "scale-flip", 1, True, (path, a, b))
    proc.wait_until(lambda: os.path.exists(path), "the plugin's socket is not there")
    meter = Meter(bench.args, bench.nursery, bench.load_cores, bench.proxy_cores)
    seconds, found = max(2.0, bench.args.seconds * 2), {}
    flip = bench.nursery.spawn([os.path.join(meter.programs, "flip"), str(a), str(b), path], bench.load_cores)
    proc.wait_until(lambda: proc.answers(port), "no answer through the plugin's endpoint")
    rate = rate_for(bench, meter, port, 0.7)
    bench.nursery.end(flip)
    for name, rate in (("70 %", rate), ("saturated", 0)):
        flip = bench.nursery.spawn([os.path.join(meter.programs, "flip"), str(a), str(b), path], bench.load_cores)
        proc.wait_until(lambda: proc.answers(port), "no answer through the plugin's endpoint")
        flip.send_signal(signal.SIGUSR1)
        busy0, all0 = proc.cores_busy(bench.proxy_cores)
        seen = meter.load(CASE, port, seconds, rate)
        busy1, all1 = proc.cores_busy(bench.proxy_cores)
        bench.nursery.end(flip)
        found[name] = json.loads(proc.text_of(flip.output).strip().splitlines()[-1])
        found[name] |= {"requests_per_s": seen["requests"] / seen["seconds"], "errors": seen["errors"],
                        "core_busy": (busy1 - busy0) / (all1 - all0)}
        bench.say(f"scale: {name}: {found[name]}")
    bench.nursery.end(child)
    return found


def measure(bench):
    program = bench.known[-1][2]
    result = {"title": f"{CLUSTERS:,} clusters of {ENDPOINTS} endpoints, {ROUTES:,} routes", "memory": memory(bench, program)}
    result["changes"] = changes(bench, program)
    m, c = result["memory"], result["changes"]
    each, worker = m["endpoint_bytes"]["proxy"], m["worker_bytes"]["proxy"]
    result["goals"] = [
        {"text": "start ≤ 1 s", "reached": m["start_s"], "met": m["start_s"] <= 1},
        {"text": "change used ≤ 2 ms p99 at 70 % CPU", "reached": c["70 %"]["p99_us"] / 1000, "met": c["70 %"]["p99_us"] <= 2000},
        {"text": "change used ≤ 10 ms p99 at saturation", "reached": c["saturated"]["p99_us"] / 1000,
         "met": c["saturated"]["p99_us"] <= 10000},
        {"text": "≤ 300 B an endpoint in the proxy", "reached": each, "met": each <= 300},
        {"text": "≤ 128 B an endpoint and further worker in the proxy", "reached": worker, "met": worker <= 128}]
    return result
