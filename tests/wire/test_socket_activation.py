"""Sockets that a service manager bound (LISTEN_FDS). The test is the manager: it holds them before, during and after, as
systemd does, so whatever coxswain does to them it sees."""

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from harness.door import COXSWAIN, Door, cluster, route
from harness.net import SLOW, Client, build, fetch, free_port, poll
from harness.origin import reply

# Puts descriptors where sd_listen_fds(3) looks for them, and becomes the program.
MANAGER = """
import os, sys
fds = [int(x) for x in sys.argv[1].split(",")]
high = [os.dup(os.dup(fd)) for fd in fds]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=sys.argv[2], LISTEN_PID=sys.argv[3] or str(os.getpid()))
os.execv(sys.argv[4], sys.argv[4:])
"""


def listening(address="127.0.0.1", family=socket.AF_INET, dual=False):
    s = socket.socket(family)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
    s.bind(address if family == socket.AF_UNIX else (address, 0))
    s.listen(16)
    return s


def address_of(s):
    if s.family == socket.AF_UNIX:
        return "unix:" + s.getsockname()
    host, port = s.getsockname()[:2]
    return ("[%s]:%d" if s.family == socket.AF_INET6 else "%s:%d") % (host, port)


def begin(door, sockets, names="", pid=""):
    """As Door.start, by way of the manager."""
    door.write()
    fds = [s.fileno() for s in sockets]
    with open(door.stderr, "ab") as err:
        door.process = subprocess.Popen(
            [sys.executable, "-c", MANAGER, ",".join(map(str, fds)), names, pid, COXSWAIN, "-c", door.file],
            stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=door.environment(), cwd=door.folder, start_new_session=True, pass_fds=fds)


def activate(door, sockets, names=""):
    begin(door, sockets, names)
    Door.living.append(door)
    poll(door.ready, 10, "coxswain ready; its log:\n" + door.log())
    door.proxies = set(door.children("proxy"))
    return door


@pytest.fixture
def sockets():
    made = []

    def make(*args, **kw):
        made.append(listening(*args, **kw))
        return made[-1]

    yield make
    for s in made:
        s.close()


@pytest.fixture
def make(make_door, origin):
    def door(*addresses, **config):
        d = make_door(start=False, listeners={"web%d" % i: {} for i in range(len(addresses))}, clusters=[cluster("web", origin.address)],
                      routes=[route("*", "web")], **config)
        for listener, address in zip(d.config["listeners"], addresses):
            listener["address"] = address
        return d

    return door


def is_alive(s):
    """The socket still listens: nobody has shut it down."""
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def test_who_comes_while_it_is_down_is_served(make, sockets, origin):
    """Before the first start, and between one and the next: clients wait in the queue that the manager keeps."""
    s = sockets()
    port = s.getsockname()[1]
    for i in range(2):
        with Client(port, timeout=20) as early:
            early.send(build(target="/early%d" % i))
            door = activate(make("127.0.0.1:%d" % port, workers=3), [s])
            assert early.response().status == 200
        for _ in range(10):
            assert fetch(port).status == 200
        assert "1 socket of the service manager" in door.log()
        door.stop()
        assert is_alive(s)
    assert [r.target for r in origin.requests if "early" in r.target] == ["/early0", "/early1"]


def test_stopping_serves_what_it_accepted(make, sockets, origin):
    """A request in flight gets its answer; a client that comes later waits for the next start and is not refused."""
    s = sockets()
    port = s.getsockname()[1]
    door = activate(make("127.0.0.1:%d" % port), [s])
    go = threading.Event()

    def slow(c, r):
        assert go.wait(20)
        c.send(reply(b"done"))

    def let_go():
        poll(lambda: "stopping: draining" in door.log(), 10)
        go.set()

    origin.script(slow)
    with Client(port) as c:
        c.send(build(target="/slow"))
        poll(lambda: [r for r in origin.requests if r.target == "/slow"], 5)
        helper = threading.Thread(target=let_go)
        helper.start()
        door.stop()
        helper.join()
        assert c.response().body == b"done"
    with Client(port, timeout=20) as late:
        late.send(build(target="/late"))
        door = activate(make("127.0.0.1:%d" % port), [s])
        assert late.response().status == 200


def test_unix_socket_keeps_its_file(make, sockets, tmp_path):
    path = str(tmp_path / "web.sock")
    s = sockets(path, socket.AF_UNIX)
    os.chmod(path, 0o640)
    door = activate(make("unix:" + path), [s])
    with socket.socket(socket.AF_UNIX) as c:
        c.connect(path)
        c.sendall(build(headers={"Connection": "close"}))
        assert b" 200 " in c.recv(100)
    door.stop()
    assert os.path.exists(path) and os.stat(path).st_mode & 0o777 == 0o640 and is_alive(s)


def test_by_name(make, sockets):
    """One socket for IPv4 and IPv6, which no address of a listener can say."""
    s = sockets("::", socket.AF_INET6, dual=True)
    door = make("0.0.0.0:%d" % s.getsockname()[1])
    activate(door, [sockets(), s], "other:web0")
    port = s.getsockname()[1]
    assert fetch(port).status == 200
    with socket.create_connection(("::1", port), 10) as c:
        c.sendall(build(headers={"Connection": "close"}))
        assert b" 200 " in c.recv(100)
    assert "socket \"other\" (127.0.0.1:" in door.log() and "no listener has this name or address" in door.log()

    def clients():
        with open(door.access) as f:
            return {line.split(" ")[0] for line in f}

    poll(lambda: clients() == {"127.0.0.1", "::1"}, 5, "both families in the log")


def test_some_given_and_some_not(make, sockets):
    s = sockets()
    door = make(address_of(s), "127.0.0.1:0")
    other = free_port()
    door.config["listeners"][1]["address"] = "127.0.0.1:%d" % other
    activate(door, [s])
    assert fetch(s.getsockname()[1]).status == 200 and fetch(other).status == 200


def test_reload(make, sockets):
    """A listener that leaves the config and comes back takes its socket again; meanwhile clients wait."""
    a, b = sockets(), sockets()
    door = activate(make(address_of(a), address_of(b)), [a, b])
    listeners = door.config["listeners"]
    door.config["listeners"] = listeners[:1]
    assert door.reload(20).returncode == 0
    assert fetch(a.getsockname()[1]).status == 200
    assert is_alive(b)
    with Client(b.getsockname()[1], timeout=20) as c:
        c.send(build())
        door.config["listeners"] = listeners
        assert door.reload(20).returncode == 0
        assert c.response().status == 200


def test_upgrade(make, sockets):
    """After exec they are still the manager's."""
    s = sockets()
    door = activate(make(address_of(s)), [s])
    door.process.send_signal(signal.SIGUSR2)
    poll(lambda: "upgrade done" in door.log(), 10, "upgraded")
    door.accept_restart()
    assert fetch(s.getsockname()[1]).status == 200
    door.stop()
    assert is_alive(s)


def test_admin(make, sockets, tmp_path):
    path = str(tmp_path / "admin.sock")
    web, admin = sockets(), sockets(path, socket.AF_UNIX)
    os.chmod(path, 0o660)
    door = activate(make(address_of(web), admin={"address": "unix:" + path}), [web, admin])
    with socket.socket(socket.AF_UNIX) as c:
        c.connect(path)
        c.sendall(build(target="/metrics", host="localhost", headers={"Connection": "close"}))
        assert b" 200 " in c.recv(100)
    door.stop()
    assert os.stat(path).st_mode & 0o777 == 0o660 and is_alive(admin)


def test_those_of_another_process_are_not_ours(make, sockets):
    s = sockets()
    door = make(address_of(s))
    begin(door, [s], pid="1")
    assert door.process.wait(10 * SLOW) == 3
    assert "the address is in use" in door.log() and is_alive(s)
    door.process = None


def test_what_does_not_listen_is_no_listener(make, sockets):
    """A datagram socket, a socket that is only bound, and a file."""
    udp, bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
    udp.bind(("127.0.0.1", 0))
    bound.bind(("127.0.0.1", 0))
    s = sockets()
    with udp, bound, open(os.devnull) as f:
        door = activate(make(address_of(s)), [udp, bound, f, s], "web0:web0:web0:x")
        assert fetch(s.getsockname()[1]).status == 200
        assert door.log().count("no listener has this name or address") == 3
