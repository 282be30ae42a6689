"""A small keep-alive load: threads that ask, count, and remember each failure."""

import socket
import threading
import time

from .net import SLOW, Client, Truncated, build


class Load:
    """`with Load(port) as load: …` and afterwards load.ok, load.failures (texts), load.resets."""

    def __init__(self, port, threads=6, host="web.test", target="/", method="GET", body=None, headers=(), pause=0.0,
                 accept=(200,)):
        self.port, self.accept, self.method, self.pause = port, accept, method, pause
        self.make = lambda n: build(method, target.format(n=n), host=host, body=body, headers=headers)
        self.ok, self.resets, self.failures, self.statuses = 0, 0, [], {}
        self.lock, self.stopping, self.count = threading.Lock(), False, 0
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping = True
        for t in self.threads:
            t.join(15 * SLOW)
        assert not any(t.is_alive() for t in self.threads), "a request of the load hangs"

    def wait(self, more, seconds=10.0):
        """Until so many more requests have succeeded."""
        goal, end = self.ok + more, time.monotonic() + seconds * SLOW
        while self.ok < goal:
            assert time.monotonic() < end, "load stalled at %d of %d; %s" % (self.ok, goal, self.failures[:3])
            time.sleep(0.005)

    def run(self):
        client = None
        while not self.stopping:
            with self.lock:
                self.count += 1
                n = self.count
            try:
                if client is None:
                    client = Client(self.port)
                client.send(self.make(n))
                r = client.response(self.method)
                self.note(r)
                if (r.get("connection") or "").lower() == "close":
                    client.close()
                    client = None
            except (OSError, Truncated, AssertionError) as e:
                self.fail(e)
                if client:
                    client.close()
                client = None
            if self.pause:
                time.sleep(self.pause)
        if client:
            client.close()

    def note(self, r):
        with self.lock:
            self.statuses[r.status] = self.statuses.get(r.status, 0) + 1
            if r.status in self.accept:
                self.ok += 1
            else:
                self.failures.append("status %d %r" % (r.status, r.body[:80]))

    def fail(self, e):
        with self.lock:
            if isinstance(e, ConnectionResetError):
                self.resets += 1
            kind = "timeout" if isinstance(e, socket.timeout) else type(e).__name__
            self.failures.append("%s %s" % (kind, e))

    def clean(self):
        assert not self.failures and not self.resets, "%d failed of %d: %s" % (
            len(self.failures), self.ok + len(self.failures), self.failures[:5])
        assert self.ok > 0
