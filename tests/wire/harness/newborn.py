"""A member that says when it was born: it listens on $HOST:$PORT, or at $SOCKET, after $START_DELAY seconds. To $STAMPS it
appends, in nanoseconds of the monotonic clock, when listen() was done ("listen") and when the first byte of each request came
that was no probe's ("request"). Answers take $WORK seconds; their body says how many requests it has had at a time at most,
in the first tenth of a second and ever. One thread, so that nothing but the machine delays it."""

import heapq
import os
import select
import socket
import time

WORK = float(os.environ.get("WORK", "0"))


def listen():
    path = os.environ.get("SOCKET")
    s = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    if path:
        s.bind(path)
    else:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((os.environ.get("HOST") or "127.0.0.1", int(os.environ["PORT"])))
    s.listen(1024)
    return s


def main():
    time.sleep(float(os.environ.get("START_DELAY", "0")))
    poller, conns, due, stamps, now, most, first = select.epoll(), {}, [], [], 0, 0, 0
    s = listen()
    born = time.monotonic_ns()
    stamps.append("listen %d\n" % born)
    s.setblocking(False)
    poller.register(s, select.EPOLLIN)
    while True:
        wait = max(0, due[0][0] - time.monotonic()) if due else -1
        if stamps and wait:
            with open(os.environ["STAMPS"], "a") as f:
                f.write("".join(stamps))
            stamps.clear()
        for fd, _ in poller.poll(wait):
            if fd == s.fileno():
                conn, _ = s.accept()
                conns[conn.fileno()] = conn
                poller.register(conn, select.EPOLLIN)
                continue
            at, head = time.monotonic_ns(), b""
            try:
                head = conns[fd].recv(65536)
            except OSError:
                pass
            if not head:
                poller.unregister(fd)
                conns.pop(fd).close()
                continue
            if b"coxswain-probe" not in head:
                stamps.append("request %d\n" % at)
                now += 1
                most = max(most, now)
                first = most if at < born + 100_000_000 else first
            heapq.heappush(due, (time.monotonic() + WORK, fd, b"coxswain-probe" not in head))
        while due and due[0][0] <= time.monotonic():
            _, fd, is_request = heapq.heappop(due)
            now -= is_request
            body = b"%d %d" % (first, most)
            if fd in conns:
                conns[fd].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


main()
