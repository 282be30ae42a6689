"""Real HAProxy and nginx with a config of the test's own, in the foreground, on free ports."""

import os
import shutil
import signal
import socket
import subprocess

from .net import SLOW, poll


def find(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


HAPROXY, NGINX = find("haproxy"), find("nginx")


class Peer:
    def __init__(self, folder, name, config, port):
        os.makedirs(folder, exist_ok=True)
        self.file = os.path.join(folder, name + ".cfg")
        with open(self.file, "w") as f:
            f.write(config)
        command = {"haproxy": [HAPROXY, "-db", "-f", self.file], "nginx": [NGINX, "-p", folder, "-c", self.file]}[name]
        self.out = open(os.path.join(folder, name + ".log"), "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out, start_new_session=True)
        poll(lambda: self.listens(port), 10, name + " listening")

    def listens(self, port):
        assert self.process.poll() is None, open(self.out.name).read()
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.out.close()


def haproxy(folder, body, port):
    return Peer(str(folder), "haproxy", "defaults\n mode http\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n" + body, port)


def nginx(folder, http, port):
    """`http`: what stands in the http block."""
    user = "user root;\n" if os.geteuid() == 0 else ""
    return Peer(str(folder), "nginx", user + "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\n"
                "access_log off;\nclient_body_temp_path t1;\nproxy_temp_path t2;\nfastcgi_temp_path t3;\nuwsgi_temp_path t4;\n"
                "scgi_temp_path t5;\n" + http + "\n}\n", port)
