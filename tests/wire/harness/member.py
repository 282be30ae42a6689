"""A member for the `process` plugin: a small HTTP server that says who it is.

Run as a program: listens on $HOST:$PORT, ends at SIGTERM (after answering what it has), or never with IGNORE_TERM."""

import http.server
import os
import signal
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(float(self.path.split("=")[1]))
        if self.path == "/die":
            os._exit(3)
        body = ("%s %d %s" % (os.environ.get("MEMBER_ID", "?"), os.getpid(), os.environ.get("MARK", ""))).encode()
        # in one write: a member that is killed has answered, or it has not
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with open(os.environ["POSTS"], "a") as f:
            f.write(self.path + "\n")
        self.do_GET()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    print("member says hello", os.environ.get("MEMBER_ID"), flush=True)
    time.sleep(float(os.environ.get("START_DELAY", "0")))
    if os.environ.get("IGNORE_TERM"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server = Server((os.environ.get("HOST") or "127.0.0.1", int(os.environ["PORT"])), Handler)
    server.serve_forever()
    sys.exit(0)


if __name__ == "__main__":
    main()
