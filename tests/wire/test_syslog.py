"""Logs to a syslog server, that nobody ever waits for: RFC 5424 messages over UDP, those of syslog(3) over a unix socket."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest

from harness.door import COXSWAIN, Door, cluster, route
from harness.net import SLOW, Client, build, fetch, poll

# RFC 5424 6: PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD MSG
MESSAGE = re.compile(r"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\S+) coxswain (\d+) (\S+) - (.*)", re.S)
# What glibc's syslog() writes (RFC 3164 without a host).
LOCAL = re.compile(r"<(\d{1,3})>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) coxswain(/access)?\[(\d+)\]: (.*)", re.S)
SEVERITIES = {3: "error", 4: "warn", 6: "info", 7: "debug"}


def parse(data, is_unix):
    """(priority, host, pid, id, text)"""
    m = (LOCAL if is_unix else MESSAGE).fullmatch(data)
    assert m, "no message of its kind: %r" % data
    if not is_unix:
        return int(m[1]), m[3], int(m[4]), m[5], m[6]
    sent = time.mktime(time.strptime("%d %s" % (time.localtime().tm_year, m[2]), "%Y %b %d %H:%M:%S"))
    assert abs(time.time() - sent) < 60 or "Dec 31" in m[2], "no local time: %r" % data
    return int(m[1]), socket.gethostname(), int(m[4]), "access" if m[3] else SEVERITIES[int(m[1]) & 7], m[5]


class Server:
    """A syslog server; `address` as the config names it."""

    def __init__(self, path=None, queue=None):
        self.path, self.messages = path, []
        self.sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        if queue:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, queue)
        self.sock.bind(path or ("127.0.0.1", 0))
        self.address = "syslog:" + ("unix:" + path if path else "127.0.0.1:%d" % self.sock.getsockname()[1])
        self.sock.setblocking(False)

    def read(self):
        """Everything that has come until now, parsed."""
        while True:
            try:
                data = self.sock.recv(65536).decode()
            except BlockingIOError:
                return self.messages
            self.messages.append(parse(data, self.path))

    def texts(self, kind):
        return [t for _, _, _, k, t in self.read() if k == kind]

    def close(self):
        self.sock.close()
        if self.path:
            os.unlink(self.path)


@pytest.fixture
def servers(tmp_path):
    made = []

    def make(unix=False, **kw):
        made.append(Server(str(tmp_path / ("log%d" % len(made))) if unix else None, **kw))
        return made[-1]

    yield make
    for s in made:
        if s.sock.fileno() >= 0:
            s.close()


def make(tmp_path, origin, **log):
    return Door(str(tmp_path / "d"), clusters=[cluster("o", origin.address)], routes=[route("*", "o")],
                log=dict({"level": "info"}, **log))


@pytest.mark.parametrize("unix", [True, False])
def test_both_logs(tmp_path, origin, servers, unix):
    server = servers(unix)
    d = make(tmp_path, origin, file=server.address, access=server.address, syslog_facility="daemon").start()
    try:
        for i in range(5):
            assert fetch(d.port, target="/x%d\"y" % i).status == 200
        poll(lambda: len(server.texts("access")) == 5, 5, "lines")
        proxy = d.children("proxy")[0]
        lines = [m for m in server.read() if m[3] == "access"]
        assert {m[:3] for m in lines} == {(3 * 8 + 6, socket.gethostname(), proxy)}
        assert sorted(re.findall(r"GET /x(\d)", " ".join(m[4] for m in lines))) == list("01234")
        assert all("\n" not in m[4] and " 200 " in m[4] for m in lines)
        assert any(t == "master: proxy 1 serves" for t in server.texts("info"))
        assert any(t.startswith("orchestrator: ") for t in server.texts("info"))
        d.config["clusters"][0]["colour"] = "red"
        assert d.reload().returncode != 0
        poll(lambda: any("colour" in t for t in server.texts("error")), 5, "an error")
        assert {m[0] for m in server.read() if m[3] == "error"} == {3 * 8 + 3}
    finally:
        d.stop()
    assert any(t.startswith("master: ") for t in server.texts("info"))
    assert "serves" not in d.log()  # nothing of it went to standard error


def test_server_starts_later_and_again(tmp_path, origin, servers):
    path = str(tmp_path / "late")
    d = make(tmp_path, origin, file="syslog:unix:" + path, access="syslog:unix:" + path).start()
    server = None
    try:
        assert fetch(d.port).status == 200
        for turn in range(2):
            server = Server(path)

            def heard():
                assert fetch(d.port, target="/turn%d" % turn).status == 200
                return any("/turn%d" % turn in t for t in server.texts("access"))

            poll(heard, 5, "heard again")
            d.ctl("reload")
            poll(lambda: any("lines before this one were lost" in t for t in server.texts("warn")), 5, "what was lost")
            server.close()
            d.accept_restart()
            d.ctl("reload", check=False)  # says things that nobody hears
            d.accept_restart()
    finally:
        d.stop()


def test_a_server_that_takes_nothing(tmp_path, origin, servers):
    """Its queue is full: requests go on at once, what waits is dropped after a second and counted to the last line."""
    server = servers(unix=True)
    d = make(tmp_path, origin, access=server.address).start()
    count = 4000
    try:
        with Client(d.port) as c:
            for i in range(count // 100):
                c.send(build(target="/%0500d" % i) * 100)
                for _ in range(100):
                    assert c.response().status == 200
        poll(lambda: d.status()["log_dropped"] > 0, 10 * SLOW, "lines are dropped")
        poll(lambda: (len(server.texts("access")) + d.status()["log_dropped"]) == count, 10 * SLOW, "every line is sent or counted")
        assert fetch(d.port, target="/after").status == 200
        poll(lambda: any("/after" in t for t in server.texts("access")), 5, "goes on")
    finally:
        d.stop()


def test_logrotate_does_nothing(tmp_path, origin, servers):
    server = servers(unix=True)
    d = make(tmp_path, origin, file=server.address, access=server.address).start()
    try:
        os.kill(d.process.pid, signal.SIGUSR1)
        poll(lambda: "master: logs opened again" in server.texts("info"), 5)
        assert fetch(d.port, target="/still").status == 200
        poll(lambda: any("/still" in t for t in server.texts("access")), 5)
    finally:
        d.stop()


def test_reload_from_a_file_and_back(tmp_path, origin, servers):
    server = servers(unix=True)
    d = make(tmp_path, origin, access=str(tmp_path / "a.log")).start()
    try:
        assert fetch(d.port, target="/one").status == 200
        d.config["log"].update(access=server.address, file=server.address)
        assert d.reload().returncode == 0
        poll(lambda: (fetch(d.port, target="/two"), any("/two" in t for t in server.texts("access")))[1], 5)
        d.config["log"].update(access=str(tmp_path / "b.log"), file=str(tmp_path / "e.log"))
        assert d.reload().returncode == 0
        assert fetch(d.port, target="/three").status == 200
        poll(lambda: "/three" in (tmp_path / "b.log").read_text(), 5)
        assert "/one" in (tmp_path / "a.log").read_text() and "/two" not in (tmp_path / "a.log").read_text()
        assert "reload done" in (tmp_path / "e.log").read_text()
    finally:
        d.stop()


def test_error_log_of_all_processes_is_opened_again(tmp_path, origin):
    """After logrotate has moved the file away the proxy and the orchestrator write into the new one, too."""
    log, old = tmp_path / "e.log", tmp_path / "e.log.1"
    d = make(tmp_path, origin, file=str(log), level="debug").start()
    try:
        os.rename(log, old)
        os.kill(d.process.pid, signal.SIGUSR1)
        poll(lambda: log.exists() and "opened again" in log.read_text(), 5)
        poll(lambda: str(old) not in links(d), 5, "nobody holds the old file")
        assert links(d).count(str(log)) == 2
    finally:
        d.stop()


def links(d):
    """What the descriptors of the proxy and the orchestrator stand for."""
    out = []
    for role in ("proxy", "orchestrator"):
        for pid in d.children(role):
            for fd in os.listdir("/proc/%d/fd" % pid):
                try:
                    out.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
                except OSError:
                    pass
    return out


@pytest.mark.parametrize("value", ["syslog:", "syslog:here", "syslog:10.0.0.1", "syslog:host.test:514"])
@pytest.mark.parametrize("key", ["file", "access"])
def test_wrong_addresses(tmp_path, key, value):
    d = Door(str(tmp_path / "d"), clusters=[cluster("o", "127.0.0.1:1")], routes=[route("*", "o")], log={key: value})
    d.write()
    done = subprocess.run([COXSWAIN, "-t", "-c", d.file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    assert done.returncode == 2 and re.search(r"coxswain\.cfg:\d+: .*expected \"syslog\"", done.stdout), done.stdout


@pytest.mark.parametrize("is_told", [True, False])
def test_priorities_for_the_journal(tmp_path, origin, is_told):
    """systemd says which stream is its own; another one stays as it is."""
    d = make(tmp_path, origin)
    with open(d.stderr, "wb") as f:
        st = os.fstat(f.fileno())
    d.env["JOURNAL_STREAM"] = "%d:%d" % (st.st_dev, st.st_ino + (not is_told))
    d.start()
    try:
        d.config["clusters"][0]["colour"] = "red"
        assert d.reload().returncode != 0
        lines = poll(lambda: [line for line in d.log().splitlines() if "colour" in line and "]" in line], 5, "an error")
        assert all(re.match(r"<3>\d{4}-" if is_told else r"\d{4}-", line) for line in lines), lines
        lines = [line for line in d.log().splitlines() if "proxy 1 serves" in line or "orchestrator started" in line]
        assert len(lines) == 2 and all(line.startswith("<6>2" if is_told else "2") for line in lines), lines
    finally:
        d.stop()
