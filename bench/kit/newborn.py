"""A member that listens on PORT after DELAY seconds and writes two moments of the monotonic clock to FILE: when listen() was
done, and when the first byte of a request came: newborn.py PORT DELAY FILE"""
import os
import select
import socket
import sys
import time

port, delay, path = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
time.sleep(delay)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(64)
born = time.monotonic_ns()
poller, conns = select.epoll(), {}
poller.register(listener, select.EPOLLIN)
while True:
    for fd, _ in poller.poll():
        if fd == listener.fileno():
            conn, _ = listener.accept()
            conns[conn.fileno()] = conn
            poller.register(conn, select.EPOLLIN)
            continue
        at, head = time.monotonic_ns(), conns[fd].recv(65536)
        if not head:  # a probe that only connected
            poller.unregister(fd)
            conns.pop(fd).close()
            continue
        if not os.path.exists(path):
            with open(path + ".new", "w") as f:
                f.write("%d %d" % (born, at))
            os.rename(path + ".new", path)
        conns[fd].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
