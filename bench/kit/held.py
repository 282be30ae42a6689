"""Requests that wait for a cluster which is asleep: what they cost in memory (GETs with heads of 500 bytes; in clear, over TLS,
as streams of HTTP/2), and how soon they reach a member that is born."""
import json
import os
import resource
import socket
import ssl
import struct
import subprocess
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from kit import proc
from kit.measure import Meter
from kit.scale import rate_for
from kit.stats import quantile

FEW, MANY, GOAL_BYTES = 2000, 100000, 2097  # a request, all in all: 100,000 in 200 MiB
HEAD_BYTES, STREAMS = 500, 100
SPARE_FDS = 400
SOURCES = 20000  # connections from one address
BIRTHS, SHARES = 400, (0, 0.45)  # half of them over TCP; of the proxy's core, for other requests


def head_of(size=HEAD_BYTES):
    first = ("GET /some/usual/path?q=1 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
             "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n"
             "Accept-Encoding: gzip, deflate, br\r\nSec-Fetch-Dest: document\r\nUpgrade-Insecure-Requests: 1\r\nCookie: s=")
    return (first + "x" * (size - len(first) - 4) + "\r\n\r\n").encode()


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    """A literal without indexing (RFC 7541 6.2.2); both shorter than 127 bytes, or the value in two length bytes."""
    n = len(value)
    length = bytes([n]) if n < 127 else b"\x7f" + (bytes([n - 127]) if n - 127 < 128 else bytes([(n - 127) & 127 | 128, n - 127 >> 7]))
    return b"\0" + bytes([len(name)]) + name + length + value


def block():
    """The same head as a field block."""
    lines = head_of().decode().split("\r\n")
    out = b"\x82\x86" + field(b":authority", b"www.example.com") + field(b":path", b"/some/usual/path?q=1")
    for line in lines[2:-2]:
        name, value = line.split(": ", 1)
        out += field(name.lower().encode(), value.encode())
    return out


class Crowd:
    """Clients that ask once and wait."""

    def __init__(self, port, kind, source=2):
        self.port, self.kind, self.socks, self.asked, self.source = port, kind, [], 0, source
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    def connect(self):
        s = socket.socket()
        s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports of one address serve several targets
        s.bind((f"127.0.0.{self.source + len(self.socks) // SOURCES}", 0))
        s.connect(("127.0.0.1", self.port))
        if self.kind == "tls":
            s = self.tls.wrap_socket(s)
        self.socks.append(s)
        return s

    def ask(self, count):
        if self.kind != "h2":
            for _ in range(count):
                self.connect().sendall(head_of())
        for _ in range(count // STREAMS if self.kind == "h2" else 0):
            s = self.connect()
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
            while s.recv(1 << 16)[3:4] != b"\x04":
                pass
            s.sendall(b"".join(frame(1, 5, 2 * i + 1, block()) for i in range(STREAMS)))
        self.asked += count

    def close(self):
        for s in self.socks:
            s.close()


def write_config(bench, port, tls_port, name):
    crt, key = bench.nursery.path("held.crt"), bench.nursery.path("held.key")
    if not os.path.exists(crt):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                        "/CN=bench", "-keyout", key, "-out", crt], check=True, capture_output=True)
    user = 'user = "root";' if os.geteuid() == 0 else ""
    path = bench.nursery.path(name + ".cfg")
    with open(path, "w") as f:
        f.write(f'workers = 1;\n{user}\ncontrol = "{bench.nursery.path(name + ".sock")}";\nlog = {{ level = "error"; }};\n'
                f'listeners = ( {{ name = "web"; address = "127.0.0.1:{port}"; }}, {{ name = "tls"; address = "127.0.0.1:{tls_port}"; '
                f'tls = {{ certificates = ( {{ cert = "{crt}"; key = "{key}"; }} ); }}; }} );\n'
                'clusters = ( { name = "asleep"; endpoints = ( ); hold_max = 1000000; hold_timeout = "1h"; } );\n'
                'routes = ( { host = "*"; path = "/"; cluster = "asleep"; } );\n')
    return path


def status(bench, name):
    out = subprocess.run([os.path.join(bench.stage.build, "coxctl"), "-s", bench.nursery.path(name + ".sock"), "--json", "status"],
                         capture_output=True, text=True)
    return json.loads(out.stdout) if out.returncode == 0 else None


def held(bench, name):
    return sum(c["held"] for c in status(bench, name)["clusters"])


def room_for(kind):
    """As many as the descriptors of this machine allow: the proxy keeps half of its own for servers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = (hard - SPARE_FDS) // 2
    return min(MANY, most * STREAMS if kind == "h2" else most)


def one_kind(bench, program, kind, few, many):
    """Two heights of one crowd, so that what the program costs alone does not count."""
    port, tls_port, name = proc.free_port(), proc.free_port(), "held-" + kind
    child = bench.nursery.spawn([program, "-c", write_config(bench, port, tls_port, name)], bench.proxy_cores)
    proc.wait_until(lambda: status(bench, name) and proc.is_listening(port), "coxswain does not start")
    time.sleep(1)
    crowd, row = Crowd(tls_port if kind == "tls" else port, kind), {"start_bytes": proc.pss_bytes(proc.family(child.pid))}
    many = min(many, room_for(kind)) // STREAMS * STREAMS
    for key, count in (("few", few), ("many", many)):
        crowd.ask(count - crowd.asked)
        proc.wait_until(lambda: held(bench, name) >= crowd.asked, f"{count} requests are not held", 60)
        time.sleep(3)
        row[key] = {"requests": held(bench, name), "bytes": proc.pss_bytes(proc.family(child.pid))}
        bench.say(f"held: {kind}: {row[key]['requests']} held, {row[key]['bytes'] / 2**20:.1f} MiB")
    row["slope_bytes"] = (row["many"]["bytes"] - row["few"]["bytes"]) / (row["many"]["requests"] - row["few"]["requests"])
    row["full_bytes"] = row["many"]["bytes"] + row["slope_bytes"] * (MANY - row["many"]["requests"])
    crowd.close()
    bench.nursery.end(child)
    return row


def crowd_main(port, count, source):
    """A crowd of its own process, until its standard input ends."""
    room_for("h1")
    crowd = Crowd(int(port), "h1", int(source))
    crowd.ask(int(count))
    sys.stdin.read()


def fleet(bench, program, many):
    """So many over HTTP/1 at once, however few descriptors a process may have: several instances share them, with as many
    processes of clients."""
    each = room_for("h1") // STREAMS * STREAMS
    shares = [each] * (many // each) + [many % each] * (many % each > 0)
    children, crowds, names = [], [], []
    for i, share in enumerate(shares):
        port, name = proc.free_port(), f"fleet-{i}"
        children.append(bench.nursery.spawn([program, "-c", write_config(bench, port, proc.free_port(), name)], bench.proxy_cores))
        proc.wait_until(lambda: status(bench, name) and proc.is_listening(port), "coxswain does not start")
        names.append((name, port, share))
    time.sleep(1)
    row = {"instances": len(shares), "start_bytes": sum(proc.pss_bytes(proc.family(c.pid)) for c in children)}
    for i, (name, port, share) in enumerate(names):
        crowds.append(bench.nursery.spawn([sys.executable, os.path.abspath(__file__), str(port), str(share), str(10 + i)], bench.load_cores,
                                          stdin=subprocess.PIPE))
        proc.wait_until(lambda: held(bench, name) >= share, f"{share} requests are not held", 120)
    time.sleep(3)
    row["requests"] = sum(held(bench, name) for name, _, _ in names)
    row["bytes"] = sum(proc.pss_bytes(proc.family(c.pid)) for c in children)
    bench.say(f"held: {row['requests']} over HTTP/1 in {row['instances']} instances, {row['bytes'] / 2**20:.1f} MiB, {row['start_bytes'] / 2**20:.1f} at start")
    for one in crowds + children:
        bench.nursery.end(one)
    return row


# ---- wakes and births ----


def write_sleepers(bench, port, name, addresses):
    """So many applications that are asleep, each with an instance of the mock actuator that knows one address, and writes down when
    its member was ordered. A cluster that never sleeps is for the load."""
    user = 'user = "root";' if os.geteuid() == 0 else ""
    plugins, cartridges, applications = [], [], []
    for i, address in enumerate(addresses):
        address = address if address.startswith("unix:") else f"127.0.0.1:{address}"
        plugins.append(f'{{ name = "m{i}"; plugin = "mock"; addresses = [ "{address}" ]; state = "{bench.nursery.path(f"{name}-{i}")}"; }}')
        cartridges.append(f'{{ name = "c{i}"; actuator = "m{i}"; ports = ( {{ protocol = "http"; hold_timeout = "1m"; probe = {{ kind = "tcp"; }}; }} ); }}')
        applications.append(f'{{ name = "a{i}"; hosts = [ "a{i}.test" ]; cartridges = ( {{ alias = "web"; type = "c{i}"; min = 0; max = 1; }} ); }}')
    path = bench.nursery.path(name + ".cfg")
    with open(path, "w") as f:
        f.write(f'workers = 1;\n{user}\ncontrol = "{bench.nursery.path(name + ".sock")}";\nlog = {{ level = "error"; }};\n'
                f'plugin_dir = "{os.path.join(bench.stage.build, "plugins")}";\nplugins = ( {", ".join(plugins)} );\n'
                f'listeners = ( {{ name = "web"; address = "127.0.0.1:{port}"; }} );\ncartridges = ( {", ".join(cartridges)} );\n'
                f'applications = ( {", ".join(applications)} );\n'
                f'clusters = ( {{ name = "awake"; endpoints = ( "127.0.0.1:{bench.stage.origin}" ); }} );\n'
                'routes = ( { host = "*"; path = "/"; cluster = "awake"; } );\n')
    return path


def ordered_at(bench, name, i):
    """Nanoseconds of the monotonic clock, out of the journal of the mock actuator."""
    for line in proc.text_of(bench.nursery.path(f"{name}-{i}")).splitlines():
        what, _, *rest = line.split()
        if what == "asked":
            return int(rest[0])
    raise RuntimeError("no member was ordered")


def spread(late):
    return {"count": len(late), "p50_us": quantile(late, 0.5), "p99_us": quantile(late, 0.99), "max_us": max(late)}


def births(bench, program, share):
    """Microseconds from a client's first byte to the order that its request wakes, and from listen() in the member to the first
    byte of that request there, over TCP and over unix sockets; while other requests keep the proxy's core busy for a share of
    the time."""
    name, count = f"births-{round(share * 100)}", 20 if bench.args.quick else BIRTHS
    ports = [proc.free_port() for _ in range(count + 1)]
    port, addresses = ports[0], [f"unix:{bench.nursery.path(f'{name}-s{i}')}" if i % 2 else str(ports[i + 1]) for i in range(count)]
    child = bench.nursery.spawn([program, "-c", write_sleepers(bench, port, name, addresses)], bench.proxy_cores)
    proc.wait_until(lambda: status(bench, name) and proc.is_listening(port), "coxswain does not start")
    meter, others = Meter(bench.args, bench.nursery, bench.load_cores, bench.proxy_cores), None
    if share:
        rate = rate_for(bench, meter, port, share)
        others = bench.nursery.spawn([os.path.join(meter.programs, "load"), "-e", "-d", str(count * 0.06 + 10), "-r", str(rate), str(port), "/"],
                                     bench.load_cores)
        time.sleep(1)
    busy0, all0 = proc.cores_busy(bench.proxy_cores)
    members = bench.nursery.spawn([os.path.join(meter.programs, "newborn"), str(port), str(bench.proxy_cores[0])] + addresses, bench.load_cores)
    if members.wait(count * 0.5 + 60) != 0:
        raise RuntimeError(f"held requests were not answered: {proc.text_of(members.output)[-300:]}")
    busy1, all1 = proc.cores_busy(bench.proxy_cores)
    if others and others.poll() is not None:
        raise RuntimeError("the load ended before the members did")
    rows = [line.split() for line in proc.text_of(members.output).splitlines()]
    order = [(ordered_at(bench, name, int(i)) - int(sent)) / 1000 for i, _, sent, _, _ in rows]
    found = {kind: spread([int(late) / 1000 for _, k, _, late, _ in rows if k == kind]) for kind in ("tcp", "unix")}
    found["awake"] = spread([int(late) / 1000 for _, _, _, late, still in rows if int(still) == 0])
    found["stalled"] = spread([int(still) / 1000 for _, _, _, _, still in rows])
    found |= {"order": spread(order), "core_busy": (busy1 - busy0) / (all1 - all0)}
    for one in [others, child]:
        if one:
            bench.nursery.end(one)
    for what in ("order", "tcp", "unix", "awake", "stalled"):
        bench.say(f"held: {found['core_busy']:.0%} of the core: {what}: " + ", ".join(f"{k} {v:.0f}" for k, v in found[what].items()))
    return found


def measure(bench):
    program, scale = bench.known[-1][2], 10 if bench.args.quick else 1
    rows = {kind: one_kind(bench, program, kind, FEW // scale, many // scale)
            for kind, many in (("h1", MANY), ("tls", 4000), ("h2", MANY))}
    many = fleet(bench, program, MANY // scale)
    born = {str(share): births(bench, program, share) for share in SHARES}
    mib, busy = many["bytes"] / 2**20, born[str(SHARES[-1])]
    late = max(busy["tcp"]["p99_us"], busy["unix"]["p99_us"])
    at = f"at {busy['core_busy']:.0%} CPU"
    return {"title": "held requests with heads of 500 bytes", "rows": rows, "fleet": many, "births": born, "goals": [
        {"text": f"order ≤ 1 ms p99 after the first byte of the request that wakes, {at}, in ms", "reached": busy["order"]["p99_us"] / 1000,
         "met": busy["order"]["p99_us"] <= 1000},
        {"text": f"100,000 over HTTP/1 in 200 MiB PSS, {many['instances']} instances altogether", "reached": mib, "met": mib <= 200},
        {"text": "100,000 streams of HTTP/2 in 200 MiB PSS", "reached": rows["h2"]["full_bytes"] / 2**20, "met": rows["h2"]["full_bytes"] <= 200 << 20},
        {"text": f"forwarded ≤ 1 ms p99 after listen(), TCP and unix sockets, {at}, in ms", "reached": late / 1000, "met": late <= 1000}]}


if __name__ == "__main__":
    crowd_main(*sys.argv[1:])
