#!/usr/bin/env python3
"""User instructions, allocations and system calls of one request: exact, repeatable, whatever else the machine does.

The real program runs under callgrind, one worker, access log, ledger and histogram on. This script is both ends of
it: 64 clients and the server behind. All of them move together: while the proxy is stopped (SIGSTOP) every client
sends its request; then it runs until the server has all of them and every thread of it waits for events again; likewise
for the answers. So each turn of the loop finds the same events in every run, and counts differ by far less than 1 %.
What is counted is the proxy process between two moments after a warm-up: no start, no other process. In the case h2 there are ten
clients, and each sends 32 requests of HTTP/2 in one write.

    make bench-instructions                                compare with bench/instructions.txt, fail at +3 %
    make bench-instructions BENCH_FLAGS=--update           write that file
    make bench-instructions BENCH_FLAGS="--profile 30"     and show where the instructions go
"""
import argparse
import glob
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

from kit import proc

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = os.path.join(HERE, "instructions.txt")
GROWTH_MAX = 0.03
CLIENTS = 64
WARM_STEPS = 20
ALLOCATORS = ("malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "sdallocx", "mallocx")

HEADS_64 = "".join(f"X-Field-{i:02d}: value number {i} of sixty-two\r\n" for i in range(61))
SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16384\r\n\r\n" + b"x" * 16384


def request(more=""):
    return f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n".encode()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


# HPACK: GET http / of 127.0.0.1, and a user-agent; nothing goes into a table.
HEAD_H2 = b"\x82\x86\x84\x01\x09127.0.0.1" + b"\x0f\x2b\x0bh2load/1.52"
PREFACE_H2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2_DATA, H2_HEADERS, H2_SETTINGS, H2_WINDOW = 0, 1, 4, 8
H2_CLIENTS, H2_STREAMS = 10, 32

# name: (request, answer, a connection per request, steps)
CASES = {
    "keepalive": (request(), SMALL, False, 100),
    "connclose": (request("Connection: close\r\n"), SMALL, True, 40),
    "headers64": (request("User-Agent: bench\r\nAccept: */*\r\n" + HEADS_64), SMALL, False, 40),
    "16k": (request(), LARGE, False, 40),
    "h2": (HEAD_H2, SMALL, False, 40),
}

CONFIG = """workers = 1;
%(user)s
control = "%(dir)s/control.sock";
temp_dir = "%(dir)s";
log = { level = "error"; access = "%(dir)s/access.log"; };
listeners = ( { name = "web"; address = "127.0.0.1:%(port)d"; } );
clusters = ( { name = "origin"; endpoints = ( "127.0.0.1:%(origin)d" ); } );
routes = ( { host = "*"; path = "/"; cluster = "origin"; } );
"""


class Server:
    """The scripted end behind the proxy: takes connections and requests, answers when told."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.conns = {}  # socket: bytes of heads that came

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except BlockingIOError:
                return
            conn.setblocking(False)
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.conns[conn] = b""

    def waiting(self):
        """Connections that have a whole request."""
        self.accept()
        for conn in list(self.conns):
            try:
                got = conn.recv(65536)
            except BlockingIOError:
                continue
            if got:
                self.conns[conn] += got
            else:
                conn.close()
                del self.conns[conn]
        return [conn for conn, text in self.conns.items() if text.endswith(b"\r\n\r\n")]

    def answer(self, conns, answer):
        for conn in conns:
            self.conns[conn] = b""
            conn.sendall(answer)


class Lockstep:
    """Clients and server around one proxy process."""
    at_once = CLIENTS

    def __init__(self, pid, port, server, case):
        self.pid, self.port, self.server = pid, port, server
        self.request, self.answer, self.closing, self.steps = CASES[case]
        self.clients = []

    def hold(self):
        proc.wait_until(lambda: proc.is_quiet(self.pid), "the proxy does not come to rest")
        os.kill(self.pid, signal.SIGSTOP)
        proc.wait_until(lambda: proc.state(self.pid) in "Tt", "the proxy does not stop")

    def let_go(self):
        os.kill(self.pid, signal.SIGCONT)

    def send(self):
        if not self.clients:
            for _ in range(CLIENTS):
                conn = socket.create_connection(("127.0.0.1", self.port))
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.clients.append(conn)
        for conn in self.clients:
            conn.sendall(self.request)

    def receive(self):
        for conn in self.clients:
            text, wanted = b"", None
            while wanted is None or len(text) < wanted:
                got = conn.recv(65536)
                if not got:
                    raise RuntimeError(f"the proxy closed a connection after {text[:200]!r}")
                text += got
                end = text.find(b"\r\n\r\n")
                if wanted is None and end >= 0:
                    if b" 200 " not in text[:20]:
                        raise RuntimeError(f"not what was asked for: {text[:200]!r}")
                    wanted = end + 4 + len(self.answer) - (self.answer.index(b"\r\n\r\n") + 4)
            if self.closing:
                while conn.recv(65536):
                    pass
                conn.close()
        if self.closing:
            self.clients = []

    def step(self):
        """One request of every client, or of every stream of it."""
        self.hold()
        self.send()
        self.let_go()
        proc.wait_until(lambda: len(self.server.waiting()) == self.at_once, "not all requests reached the server", 60)
        self.hold()
        self.server.answer(self.server.waiting(), self.answer)
        self.let_go()
        self.receive()

    def run(self, steps):
        for _ in range(steps):
            self.step()
        proc.wait_until(lambda: proc.is_quiet(self.pid), "the proxy does not come to rest")
        return steps * self.at_once

    def close(self):
        for conn in self.clients:
            conn.close()


class LockstepH2(Lockstep):
    """The same with clients of HTTP/2, each with many streams."""
    at_once = H2_CLIENTS * H2_STREAMS
    stream = -1  # of the next request: 2 more, on all connections

    def send(self):
        first = b""
        if not self.clients:
            first = PREFACE_H2 + frame(H2_SETTINGS, 0, 0) + frame(H2_WINDOW, 0, 0, struct.pack(">I", 1 << 30))
            for _ in range(H2_CLIENTS):
                conn = socket.create_connection(("127.0.0.1", self.port))
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.clients.append(conn)
        ids = range(self.stream + 2, self.stream + 2 + 2 * H2_STREAMS, 2)
        self.stream = ids[-1]
        for conn in self.clients:
            conn.sendall(first + b"".join(frame(H2_HEADERS, 5, i, self.request) for i in ids))

    def receive(self):
        body = len(self.answer) - (self.answer.index(b"\r\n\r\n") + 4)
        for conn in self.clients:
            text, ended = b"", 0
            while ended < H2_STREAMS:
                while len(text) < 9 or len(text) < 9 + int.from_bytes(text[:3], "big"):
                    got = conn.recv(65536)
                    if not got:
                        raise RuntimeError(f"the proxy closed a connection after {text[:200]!r}")
                    text += got
                n, kind, flags = int.from_bytes(text[:3], "big"), text[3], text[4]
                text = text[9 + n:]
                if kind not in (H2_DATA, H2_HEADERS, H2_SETTINGS, H2_WINDOW) or (kind == H2_DATA and n != body):
                    raise RuntimeError(f"not what was asked for: a frame of kind {kind} with {n} bytes")
                ended += kind == H2_DATA and flags & 1


def proxy_pid(builddir, nursery, child):
    """The pid of the proxy process, once it serves."""
    found = []

    def look():
        if child.poll() is not None:
            raise RuntimeError(f"coxswain ended: {proc.text_of(child.output)[-2000:]}")
        out = subprocess.run([os.path.join(builddir, "coxctl"), "-s", nursery.path("control.sock"), "--json", "status"],
                             capture_output=True, text=True)
        if out.returncode == 0:
            found.extend(p["pid"] for p in json.loads(out.stdout)["processes"]
                         if p["role"] == "proxy" and p["state"] == "serving")
        return found

    proc.wait_until(look, "coxswain does not serve", 60)
    return found[0]


def start(nursery, args, case, before):
    server, port = Server(), proc.free_port()
    with open(nursery.path("coxswain.cfg"), "w") as f:
        f.write(CONFIG % {"user": 'user = "root";' if os.geteuid() == 0 else "", "dir": nursery.folder, "port": port,
                          "origin": server.port})
    program = os.path.abspath(args.coxswain or os.path.join(args.builddir, "coxswain"))
    child = nursery.spawn(before + [program, "-c", nursery.path("coxswain.cfg")],
                          COXSWAIN_PLUGIN_DIR=os.path.abspath(os.path.join(args.builddir, "plugins")))
    pid = proxy_pid(args.builddir, nursery, child)
    return child, pid, (LockstepH2 if case == "h2" else Lockstep)(pid, port, server, case)


# ---- callgrind -----------------------------------------------------------------------------------------------------


def read_profile(path):
    """(instructions, {allocator: calls}, {function: its own instructions}) of a callgrind file."""
    total, calls, own, names = 0, {}, {}, {}
    function = callee = None
    is_callees = False  # the line behind calls= is what the callee cost
    with open(path) as f:
        for line in f:
            m = re.match(r"(c?)fn=\((\d+)\)(?: (.*))?$", line)
            if m:
                names.setdefault(m[2], m[3])
                if m[1]:
                    callee = names[m[2]]
                else:
                    function = names[m[2]]
            elif line.startswith("calls="):
                is_callees = True
                if callee in ALLOCATORS:
                    calls[callee] = calls.get(callee, 0) + int(line[6:].split()[0])
            elif re.match(r"[+*\d-]", line) and function:
                if not is_callees:
                    own[function] = own.get(function, 0) + int(line.split()[1])
                is_callees = False
            elif line.startswith("summary:"):
                total = int(line.split()[1])
    return total, calls, own


def count(args, case):
    with proc.Nursery() as nursery:
        pattern = nursery.path("callgrind.%p")
        child, pid, lockstep = start(nursery, args, case, [
            "valgrind", "--tool=callgrind", "--trace-children=yes", "--dump-instr=no",
            f"--callgrind-out-file={pattern}"])
        lockstep.run(WARM_STEPS)
        control(["-z", str(pid)])
        requests = lockstep.run(lockstep.steps)
        control(["-d", str(pid)])
        lockstep.close()
        nursery.end(child)
        dumps = glob.glob(nursery.path(f"callgrind.{pid}.1"))
        if not dumps:
            raise RuntimeError(f"callgrind wrote nothing: {proc.text_of(child.output)[-2000:]}")
        total, calls, own = read_profile(dumps[0])
        out = os.path.join(args.builddir, "bench/out", f"callgrind.{case}")
        os.makedirs(os.path.dirname(out), exist_ok=True)
        os.replace(dumps[0], out)
    return {"instructions": total / requests, "allocations": {name: n / requests for name, n in sorted(calls.items())},
            "functions": {name: n / requests for name, n in sorted(own.items(), key=lambda kv: -kv[1])[:100]},
            "requests": requests, "profile": out}


def control(arguments):
    out = subprocess.run(["callgrind_control"] + arguments, capture_output=True, text=True, timeout=60)
    if out.returncode != 0 or "Error" in out.stdout + out.stderr:
        raise RuntimeError(f"callgrind_control {' '.join(arguments)}: {out.stdout}{out.stderr}")


# ---- strace --------------------------------------------------------------------------------------------------------


def system_calls(args, case):
    """{name: calls per request} of the proxy process, in the same lockstep without valgrind."""
    with proc.Nursery() as nursery:
        child, pid, lockstep = start(nursery, args, case, [])
        lockstep.run(WARM_STEPS)
        table = nursery.path("strace")
        tracer = nursery.spawn(["strace", "-f", "-c", "-o", table, "-p", str(pid)])
        proc.wait_until(lambda: all("TracerPid:\t0" not in proc.text_of(f"/proc/{pid}/task/{t}/status")
                                    for t in proc.tasks(pid)), "strace does not attach")
        requests = lockstep.run(lockstep.steps)
        nursery.end(tracer, signal.SIGINT)
        lockstep.close()
        nursery.end(child)
        return read_strace(proc.text_of(table), requests)


def read_strace(table, requests):
    counts = {}
    for line in table.splitlines():
        m = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
        if m and m[2] != "total":
            counts[m[2]] = int(m[1]) / requests
    return counts


# ---- the kept file ---------------------------------------------------------------------------------------------------


def made_with(args):
    """What else than our sources decides the count."""
    program = os.path.abspath(args.coxswain or os.path.join(args.builddir, "coxswain"))
    compiler = subprocess.run(["readelf", "-p", ".comment", program], capture_output=True, text=True).stdout
    names = re.findall(r"\]\s+(.*)", compiler)
    libraries = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    # The file names behind the links carry the versions.
    paths = [os.path.basename(os.path.realpath(p)) for p in re.findall(r"=> (\S+)", libraries)
             if re.search(r"libevent|libjemalloc|libc\.", p)]
    libc = " ".join(os.confstr("CS_GNU_LIBC_VERSION").split())
    return "; ".join(sorted(set(names)) + sorted(p for p in paths if not p.startswith("libc.")) + [libc])


def read_kept():
    kept, made = {}, None
    if os.path.exists(KEPT):
        for line in proc.text_of(KEPT).splitlines():
            if line.startswith("# made with: "):
                made = line[len("# made with: "):]
            elif line and not line.startswith("#"):
                name, value = line.split()[:2]
                kept[name] = int(value)
    return kept, made


def write_kept(kept, made):
    with open(KEPT, "w") as f:
        f.write("# User instructions of one request in the proxy process, by callgrind; see instructions.py.\n"
                "# make bench-instructions fails when a case is 3 % above this; BENCH_FLAGS=--update writes it anew.\n"
                f"# made with: {made}\n")
        for name in CASES:
            if name in kept:
                f.write(f"{name:<12}{kept[name]}\n")


def verdict(case, now, kept, same):
    """(line, failed)"""
    if case not in kept:
        return f"{case}: {now:,.0f}, nothing kept to compare with", False
    change = now / kept[case] - 1
    line = f"{case}: {now:,.0f} user instructions a request, {100 * change:+.1f} % against {kept[case]:,}"
    if change > GROWTH_MAX and same:
        return line + f": more than {100 * GROWTH_MAX:.0f} % dearer", True
    if change > GROWTH_MAX:
        return line + "; other compiler or libraries than the kept file's, so not held against it", False
    return line + ("; keep that with --update" if change < -GROWTH_MAX else ""), False


def measure(args, case):
    """One case, as bench.py also asks for it: instructions, allocations and system calls of one request."""
    began = time.monotonic()
    result = count(args, case)
    if args.strace and proc.which("strace"):
        calls = system_calls(args, case)
        waiting = sum(n for name, n in calls.items() if name.startswith("epoll_") and "wait" in name)
        result["system_calls"] = calls
        result["system_calls_but_epoll_wait"] = sum(calls.values()) - waiting
    result["seconds"] = time.monotonic() - began
    return result


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builddir", default=".")
    parser.add_argument("--coxswain", help="another executable than BUILDDIR/coxswain")
    parser.add_argument("--case", default="all", help=f"some of {','.join(CASES)}, or all")
    parser.add_argument("--update", action="store_true", help="write bench/instructions.txt")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="show the N dearest functions")
    parser.add_argument("--no-strace", dest="strace", action="store_false")
    return parser.parse_args()


def show(case, result, profile):
    rounded = "  ".join(f"{name} {n:.4f}" for name, n in result["allocations"].items()) or "none"
    print(f"  allocations a request: {rounded}")
    if "system_calls" in result:
        calls = sorted(result["system_calls"].items(), key=lambda kv: -kv[1])
        print(f"  system calls a request besides epoll_wait: {result['system_calls_but_epoll_wait']:.3f}  ("
              + "  ".join(f"{name} {n:.3f}" for name, n in calls if n >= 0.001) + ")")
    for name, n in list(result["functions"].items())[:profile]:
        print(f"  {n:8.1f}  {name}")


def main():
    args = parse()
    for tool in ("valgrind", "callgrind_control"):
        if not proc.which(tool):
            sys.exit(f"bench-instructions: {tool} is missing")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cases = list(CASES) if args.case == "all" else args.case.split(",")
    kept, made = read_kept()
    now_made, failed, results = made_with(args), False, {}
    for case in cases:
        results[case] = result = measure(args, case)
        line, bad = verdict(case, result["instructions"], kept, made == now_made)
        failed |= bad and not args.update
        print(line, flush=True)
        show(case, result, args.profile)
    if args.update:
        write_kept({**(kept if made == now_made else {}), **{c: round(r["instructions"]) for c, r in results.items()}},
                   now_made)
    with open(os.path.join(args.builddir, "bench/out/instructions.json"), "w") as f:
        json.dump({"made_with": now_made, "cases": results}, f, indent=1)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
