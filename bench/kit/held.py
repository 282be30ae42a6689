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

from kit import proc
from kit.stats import quantile

FEW, MANY, GOAL_BYTES = 2000, 100000, 2097  # a request, all in all: 100,000 in 200 MiB
HEAD_BYTES, STREAMS = 500, 100
SPARE_FDS = 400
SOURCES = 20000  # connections from one address
BIRTHS, AT_ONCE, WAKES = 100, 4, 100


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

    def __init__(self, port, kind):
        self.port, self.kind, self.socks, self.asked = port, kind, [], 0
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    def connect(self):
        s = socket.socket()
        s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports of one address serve several targets
        s.bind((f"127.0.0.{2 + len(self.socks) // SOURCES}", 0))
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


# ---- births ----


def write_births(bench, port, name, delays):
    """One application a delay; its member says when it listened."""
    user = 'user = "root";' if os.geteuid() == 0 else ""
    member = os.path.join(os.path.dirname(os.path.abspath(__file__)), "newborn.py")
    cartridges, applications = [], []
    for i, delay in enumerate(delays):
        cartridges.append(f'{{ name = "c{i}"; actuator = "process"; stop_timeout = "1s"; command = [ "{sys.executable}", "-ES", "{member}", '
                          f'"$PORT", "{delay}", "{bench.nursery.path(f"{name}-{i}")}" ]; '
                          'ports = ( { protocol = "http"; hold_timeout = "1m"; probe = { kind = "tcp"; }; } ); }')
        applications.append(f'{{ name = "a{i}"; hosts = [ "h{i}.test" ]; cartridges = ( {{ alias = "web"; type = "c{i}"; min = 1; max = 1; }} ); }}')
    path = bench.nursery.path(name + ".cfg")
    with open(path, "w") as f:
        f.write(f'workers = 1;\n{user}\ncontrol = "{bench.nursery.path(name + ".sock")}";\nlog = {{ level = "error"; }};\n'
                f'plugin_dir = "{os.path.join(bench.stage.build, "plugins")}";\nplugins = ( {{ name = "process"; }} );\n'
                f'listeners = ( {{ name = "web"; address = "127.0.0.1:{port}"; }} );\ncartridges = ( {", ".join(cartridges)} );\n'
                f'applications = ( {", ".join(applications)} );\n')
    return path


def births_once(bench, program, round_number):
    """Microseconds from the end of listen() to the first byte of the request that was held, in each of a few members."""
    port, name = proc.free_port(), f"births-{round_number}"
    delays = [0.5 + 0.0917 * i + 0.0013 * round_number for i in range(AT_ONCE)]
    child = bench.nursery.spawn([program, "-c", write_births(bench, port, name, delays)])
    proc.wait_until(lambda: status(bench, name) and proc.is_listening(port), "coxswain does not start")
    clients = []
    for i in range(AT_ONCE):
        s = socket.create_connection(("127.0.0.1", port))
        s.settimeout(30)
        s.sendall(f"GET / HTTP/1.1\r\nHost: h{i}.test\r\n\r\n".encode())
        clients.append(s)
    late = []
    for i, s in enumerate(clients):
        if b" 200 " not in s.recv(1000):
            raise RuntimeError("a held request was not answered with 200")
        s.close()
        proc.wait_until(lambda: os.path.exists(bench.nursery.path(f"{name}-{i}")), "no stamps")
        listened, asked = map(int, proc.text_of(bench.nursery.path(f"{name}-{i}")).split())
        late.append((asked - listened) / 1000)
    bench.nursery.end(child)
    return late


def births(bench, program):
    late = []
    for i in range((20 if bench.args.quick else BIRTHS) // AT_ONCE):
        late += births_once(bench, program, i)
    bench.say(f"held: {len(late)} births, p50 {quantile(late, 0.5):.0f} us, p99 {quantile(late, 0.99):.0f} us")
    return {"count": len(late), "p50_us": quantile(late, 0.5), "p99_us": quantile(late, 0.99), "max_us": max(late)}


# ---- wakes ----


def write_wakes(bench, port, origin, name, count):
    """So many applications that are asleep. Their members are entries of the mock actuator, which writes down when each was
    ordered; they serve at the same origin."""
    user = 'user = "root";' if os.geteuid() == 0 else ""
    applications = [f'{{ name = "a{i}"; hosts = [ "h{i}.test" ]; cartridges = ( {{ alias = "web"; type = "c"; min = 0; max = 1; }} ); }}'
                    for i in range(count)]
    path = bench.nursery.path(name + ".cfg")
    with open(path, "w") as f:
        f.write(f'workers = 1;\n{user}\ncontrol = "{bench.nursery.path(name + ".sock")}";\nlog = {{ level = "error"; }};\n'
                f'plugin_dir = "{os.path.join(bench.stage.build, "plugins")}";\n'
                f'plugins = ( {{ name = "mock"; addresses = [ "127.0.0.1:{origin}" ]; state = "{bench.nursery.path(name + ".journal")}"; }} );\n'
                f'listeners = ( {{ name = "web"; address = "127.0.0.1:{port}"; }} );\n'
                'cartridges = ( { name = "c"; actuator = "mock"; ports = ( { protocol = "http"; hold_timeout = "1m"; probe = { kind = "tcp"; }; } ); } );\n'
                f'applications = ( {", ".join(applications)} );\n')
    return path


def wakes(bench, program):
    """Microseconds from a client's first byte to the order that its request wakes, and to its answer."""
    port, name, count = proc.free_port(), "wakes", 20 if bench.args.quick else WAKES
    child = bench.nursery.spawn([program, "-c", write_wakes(bench, port, bench.stage.origin, name, count)], bench.proxy_cores)
    proc.wait_until(lambda: status(bench, name) and proc.is_listening(port), "coxswain does not start")
    time.sleep(1)
    sent, answered = {}, {}
    for i in range(count):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(30)
            time.sleep(0.03 + 0.0037 * (i % 10))  # all over the time between two ticks
            sent[f"a{i}"] = time.monotonic_ns()
            s.sendall(f"GET / HTTP/1.1\r\nHost: h{i}.test\r\n\r\n".encode())
            if b" 200 " not in s.recv(1000):
                raise RuntimeError("a held request was not answered with 200")
            answered[f"a{i}"] = time.monotonic_ns()
    bench.nursery.end(child)
    ordered = {}
    for line in proc.text_of(bench.nursery.path(name + ".journal")).splitlines():
        what, who, *rest = line.split()
        if what == "asked":
            ordered.setdefault(who.split("-")[0], int(rest[0]))
    order = [(ordered[who] - at) / 1000 for who, at in sent.items()]
    answer = [(answered[who] - at) / 1000 for who, at in sent.items()]
    bench.say(f"held: {count} wakes, order p50 {quantile(order, 0.5):.0f} us, p99 {quantile(order, 0.99):.0f} us")
    return {"count": count, "p50_us": quantile(order, 0.5), "p99_us": quantile(order, 0.99), "max_us": max(order),
            "answer_p50_us": quantile(answer, 0.5), "answer_p99_us": quantile(answer, 0.99)}


def measure(bench):
    program, scale = bench.known[-1][2], 10 if bench.args.quick else 1
    rows = {kind: one_kind(bench, program, kind, FEW // scale, many // scale)
            for kind, many in (("h1", MANY), ("tls", 4000), ("h2", 20000))}
    woken, born = wakes(bench, program), births(bench, program)
    mib = rows["h1"]["full_bytes"] / 2**20
    return {"title": "held requests with heads of 500 bytes", "rows": rows, "births": born, "wakes": woken, "goals": [
        {"text": "order ≤ 1 ms p99 after the first byte of the request that wakes, in ms", "reached": woken["p99_us"] / 1000,
         "met": woken["p99_us"] <= 1000},
        {"text": "100,000 over HTTP/1 in 200 MiB PSS", "reached": mib, "met": mib <= 200},
        {"text": "forwarded ≤ 1 ms p99 after listen(), in ms", "reached": born["p99_us"] / 1000, "met": born["p99_us"] <= 1000}]}
