#!/usr/bin/env python3
"""A structured attack: mutants of HTTP/1 framing (grammar.py) through the real proxy to a server that reads strictly.

What must hold for every one of them, however it was bent:
  - the server can read all that it is sent, strictly (RFC 9112, nothing optional);
  - it sees exactly the requests that the proxy counted, or none: each head it saw stands in the access log with this
    endpoint, and what the log says was answered by it with 200 it saw whole;
  - the client gets answers to its own requests only, as many as it may;
  - afterwards nothing is in flight.

    attack.py [--count 10000] [--seed N] [--only NAME]       COXSWAIN and COXCTL name the programs"""
import argparse
import collections
import os
import random
import re
import socket
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "wire")]

import grammar  # noqa: E402
from harness.door import Door, cluster, route  # noqa: E402
from harness.net import Client, Truncated  # noqa: E402
from harness.origin import Gone, Origin  # noqa: E402

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-~]+) HTTP/1\.1")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
CHUNK = re.compile(rb"[0-9A-Fa-f]{1,16}")
NAME = re.compile(r"/(m\d+)(?=/|$)")
LINE = re.compile(r'^\S+ - - \[[^\]]*\] "(.*?)" (\d+) \d+ ".*?" ".*?" (\S+) (\S+) (\S+) ')


def name_of(target):
    found = NAME.search(target)
    return found.group(1) if found else "?"


class Recorder(Origin):
    """Reads as the strictest server would, answers with the target it saw, and keeps connections open, so that a byte
    too many spoils the next request and is noticed."""

    def clear(self):
        super().clear()
        self.heads, self.whole_ones = collections.Counter(), collections.Counter()
        self.whole = self.read

    def read(self, conn):
        while True:
            try:
                head = conn.until(b"\r\n\r\n")[:-4]
            except Gone:
                assert not conn.buf or conn.ended == "reset" or b"\n" not in conn.buf or conn.buf.count(b"\r\n") == conn.buf.count(b"\n"), bytes(conn.buf)
                return
            conn.received.clear()
            method, target, length = self.parse(head)
            name = name_of(target)
            with self.lock:
                self.heads[name] += 1
            self.body(conn, length)
            with self.lock:
                self.whole_ones[name] += 1
            data = target.encode("latin-1")
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Target: %s\r\n\r\n" % (len(data), data) + (b"" if method == b"HEAD" else data))

    def parse(self, head):
        lines = head.split(b"\r\n")
        assert b"\r" not in head.replace(b"\r\n", b"") and b"\n" not in head.replace(b"\r\n", b"") and b"\0" not in head, head
        first = REQUEST_LINE.fullmatch(lines[0])
        assert first and first.group(2)[:1] in (b"/", b"*"), head
        fields = [FIELD.fullmatch(line) for line in lines[1:]]
        assert all(fields), head
        get = lambda name: [f.group(2) for f in fields if f.group(1).lower() == name]  # noqa: E731
        hosts, lengths, codings = get(b"host"), get(b"content-length"), get(b"transfer-encoding")
        assert len(hosts) == 1 and len(lengths) <= 1 and len(codings) <= 1 and len(lengths) + len(codings) <= 1, head
        assert all(re.fullmatch(rb"[0-9]{1,15}", n) for n in lengths) and all(c == b"chunked" for c in codings), head
        assert not get(b"transfer_encoding") and not get(b"content_length"), head
        return first.group(1), first.group(2).decode("latin-1"), -1 if codings else int(lengths[0]) if lengths else 0

    def body(self, conn, length):
        if length >= 0:
            conn.exactly(length)
            return
        while True:
            line = conn.line()
            assert CHUNK.fullmatch(line), line
            n = int(line, 16)
            if n == 0:
                break
            conn.exactly(n)
            assert conn.exactly(2) == b"\r\n"
        while True:
            line = conn.line()
            if not line:
                return
            field = FIELD.fullmatch(line)
            assert field and field.group(1).lower() not in (b"host", b"content-length", b"transfer-encoding", b"authorization"), line


class Attack:
    """Runs mutants against one door. trouble: (name, what was done, bytes, what is wrong)."""

    def __init__(self, folder, seed, count, only=None, threads=8):
        self.seed, self.count, self.only = seed, count, only
        self.server = Recorder()
        self.server.keep = False
        self.door = Door(folder, listeners={"web": {"client_header_timeout": "20s"}}, clusters=[cluster("web", self.server.address, retries=0)],
                         routes=[route("*", "web")])
        self.lock, self.next, self.trouble = threading.Lock(), 0, []
        self.answers, self.refused, self.threads = 0, 0, threads

    def one(self, number):
        rng = random.Random("%d/%d" % (self.seed, number))
        return grammar.make(rng, b"m%d" % number)

    def run_thread(self):
        while True:
            with self.lock:
                number, self.next = self.next, self.next + 1
            if number >= self.count:
                return
            if self.only is None or self.only == "m%d" % number:
                self.send(number)

    def send(self, number):
        data, done = self.one(number)
        try:
            with Client(self.door.port, timeout=20) as c:
                if number % 3 == 0 and len(data) > 2:  # in two pieces, cut anywhere
                    cut = random.Random(number).randrange(1, len(data))
                    c.send_quietly(data[:cut])
                    time.sleep(0.001)
                    c.send_quietly(data[cut:])
                else:
                    c.send_quietly(data)
                try:
                    c.half_close()
                except OSError:
                    pass
                self.check(number, c.rest())
        except (AssertionError, Truncated, OSError) as e:
            with self.lock:
                self.trouble.append(("m%d" % number, done, data, "client: %s %s" % (type(e).__name__, e)))

    def check(self, number, data):
        """Only whole answers, only to own requests; behind one that closes nothing more."""
        closes = False
        while data:
            assert not closes, "bytes behind the last answer: %r" % data[:200]
            head, mark, rest = data.partition(b"\r\n\r\n")
            found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
            assert found and mark, "no answer: %r" % data[:200]
            if found.group(1) == b"100":
                data = rest
                continue
            closes = b"\r\nconnection: close" in head.lower()
            assert closes or found.group(1) not in (b"400", b"408", b"413", b"414", b"431", b"501", b"505"), "a refusal that does not close: %r" % head
            length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head).group(1)) if re.search(rb"(?i)\r\ncontent-length: ", head) else 0
            target = re.search(rb"\r\nX-Target: ([^\r]*)", head)
            if target:
                assert name_of(target.group(1).decode("latin-1")) in ("m%d" % number, "?"), "the answer to another client: %r" % head
                with self.lock:
                    self.answers += 1
            else:
                with self.lock:
                    self.refused += 1
            body = target.group(1) if target and rest.startswith(target.group(1)) else rest[:length] if not target else b""
            data = rest[len(body):]

    def compare(self, counted):
        """The access log, complete now that the program has left, and its ledger against the server."""
        with open(self.door.access, encoding="latin-1") as f:
            lines = f.read().splitlines()
        sent, answered = collections.Counter(), collections.Counter()
        for line in lines:
            found = LINE.match(line)
            if not found:
                self.trouble.append(("?", [], b"", "odd line in the access log: %r" % line[:300]))
                continue
            request, status, where, endpoint, _ = found.groups()
            if endpoint == "-":
                continue
            name = name_of(request)
            sent[name] += 1
            answered[name] += status == "200"
        server = self.server
        for name in set(sent) | set(server.heads):
            if server.heads[name] > sent[name]:
                self.blame(name, "the server saw %d requests, the proxy sent %d" % (server.heads[name], sent[name]))
            if answered[name] > server.whole_ones[name]:
                self.blame(name, "%d answered, %d seen whole" % (answered[name], server.whole_ones[name]))
        for e in server.trouble:
            self.trouble.append(("?", [], b"", "server: %s" % e))
        if sum(server.heads.values()) > counted:
            self.blame("?", "the server saw %d, the ledger has %d" % (sum(server.heads.values()), counted))
        server.trouble = []

    def blame(self, name, what):
        data, done = self.one(int(name[1:])) if name != "?" else (b"", [])
        self.trouble.append((name, done, data, what))

    def run(self):
        self.door.start()
        try:
            threads = [threading.Thread(target=self.run_thread) for _ in range(self.threads)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.door.check()
            counted = self.door.cluster("web")["endpoints"][0]["requests"]
        finally:
            self.door.stop()
            self.server.stop()
        self.compare(counted)
        return self.trouble


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--only", help="one mutant, such as m17, of this seed")
    args = parser.parse_args()
    print("attack: %d mutants, seed %d" % (args.count, args.seed), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        attack = Attack(folder, args.seed, args.count, args.only)
        trouble = attack.run()
    server = attack.server
    print("  %d answers from the server, %d refusals; the server saw %d heads, %d whole" % (
        attack.answers, attack.refused, sum(server.heads.values()), sum(server.whole_ones.values())))
    for name, done, data, what in trouble[:10]:
        print("%s %s: %s\n  %r" % (name, "+".join(done), what, data[:1500]))
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
