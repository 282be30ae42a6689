"""Each allocation and each system call of one request refused in turn. The program must answer with an error or close,
never hang, and be as good as new afterwards: same process, nothing in flight, no descriptor and no memory lost."""

import ctypes
import mmap
import os
import shutil
import socket
import struct
import subprocess

import pytest

from harness.door import COXSWAIN, ROOT, SANITIZED, Door, cluster, route
from harness.fcgi import page
from harness.h2 import H2
from harness.net import Client, Truncated, build, fetch, poll
from harness.origin import reply

MEMORY, CALL = 1, 2
CONTROL = struct.Struct("=iIIII28s28s")
NAMES = ("accept4", "epoll_ctl", "recv", "send", "sendmsg", "socket", "connect", "open", "syscall", "pwrite", "pread", "sendfile",
         "splice", "pipe2")
CALLS_MAX = 100  # of one name: more than any request makes
BODY = b"0123456789abcdef" * 16000  # 256000 bytes


class Refuse:
    """The other side of tests/fault/refuse.c: says whom to refuse what."""

    def __init__(self, folder):
        self.file = os.path.join(folder, "refuse.control")
        with open(self.file, "wb") as f:
            f.write(b"\0" * 4096)
        with open(self.file, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)
        self.library = os.path.join(folder, "refuse.so")
        cc = (os.environ.get("COX_CC") or "cc").split()[0]
        source = os.path.join(ROOT, "tests", "fault", "refuse.c")
        subprocess.run([cc, "-D_GNU_SOURCE", "-O1", "-g", "-shared", "-fPIC", "-w", "-fno-builtin", "-o", self.library, source, "-ldl"],
                       check=True)

    def word(self, index):
        return ctypes.c_uint32.from_buffer(self.map, 4 * index)

    def arm(self, pid, kinds, nth, only=""):
        self.map[20:48] = only.encode().ljust(28, b"\0")
        for index, value in ((1, kinds), (2, nth), (3, 0), (4, 0), (0, pid)):
            self.word(index).value = value

    def disarm(self):
        """How many calls there were, and the name of the one that was refused, or None."""
        self.word(0).value = 0
        _, _, _, seen, refused, _, what = CONTROL.unpack(self.map[: CONTROL.size])
        return seen, what.split(b"\0")[0].decode() if refused else None

    def environment(self):
        """A sanitizer's own runtime has to stand first; it then is the allocator, and memory is never refused."""
        needed = subprocess.run(["ldd", COXSWAIN], stdout=subprocess.PIPE).stdout.decode()
        first = [line.split()[2] for line in needed.splitlines() if "libasan" in line or "libtsan" in line]
        return {"LD_PRELOAD": ":".join(first + [self.library]), "REFUSE_FILE": self.file}


@pytest.fixture(scope="module")
def refuse(tmp_path_factory):
    if not shutil.which((os.environ.get("COX_CC") or "cc").split()[0]):
        pytest.skip("no compiler for the library that refuses")
    return Refuse(str(tmp_path_factory.mktemp("refuse")))


def make_door(folder, refuse, origin, fcgi):
    root = os.path.join(str(folder), "files")
    os.makedirs(root, exist_ok=True)
    with open(os.path.join(root, "big.bin"), "wb") as f:
        f.write(BODY)
    return Door(
        folder, env=refuse.environment(), workers=1,
        clusters=[
            cluster("http", origin.address, retries=0),
            cluster("spill", origin.address, retries=0, request_buffer=True, response_buffer=True, buffer_memory="16k",
                    buffer_file="1m"),
            cluster("php", fcgi.address, protocol="fastcgi", retries=0, fastcgi={"document_root": "/srv"}, buffer_memory="16k",
                    buffer_file="1m"),
            cluster("files", protocol="files", files={"root": root}),
            cluster("asleep", hold_max=200, hold_timeout="300ms"),
        ],
        routes=[route(n + ".test", n) for n in ("http", "spill", "php", "files", "asleep")],
    )


@pytest.fixture(scope="module")
def door(tmp_path_factory, refuse, origin, fcgi):
    d = make_door(tmp_path_factory.mktemp("fault"), refuse, origin, fcgi).start()
    yield d
    d.stop()


def script(origin, fcgi):
    origin.script(lambda conn, request: conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY))
    fcgi.script(lambda conn, request: conn.send(page(BODY)))


def try_one(door, host, method, target):
    """200 whole, an error of the proxy, or "closed". A hang fails the test."""
    body = BODY if method != "GET" else None
    with Client(door.port, timeout=5) as c:
        try:
            c.send_quietly(build(method, target, host=host, body=body))
            r = c.response()
        except socket.timeout:
            raise AssertionError("hangs")
        except (Truncated, OSError):
            return "closed"
    assert r.status in (200, 404, 500, 502, 503), r
    if r.status == 200:
        assert r.body == BODY
    return r.status


def works(door, host, method, target):
    return try_one(door, host, method, target) == 200


REQUESTS = [
    ("http.test", "GET", "/"),
    ("http.test", "PUT", "/"),
    ("spill.test", "POST", "/"),
    ("php.test", "GET", "/"),
    ("php.test", "POST", "/"),
    ("files.test", "GET", "/big.bin"),
]


def settle(door):
    """Sessions that linger and uplinks that wait for their server are gone."""
    door.check_quiet()
    return door.fds()


def one_round(door, refuse, request, kinds, nth, only=""):
    pid = door.children("proxy")[0]
    refuse.arm(pid, kinds, nth, only)
    try:
        got = try_one(door, *request)
    except AssertionError as e:
        _, what = refuse.disarm()
        raise AssertionError("%s, call %d refused (%s): %s" % (request, nth, what, e))
    seen, what = refuse.disarm()
    if what is None:
        assert got == 200, "nothing was refused, and still %s (%d calls)" % (got, seen)
    assert works(door, *request), "%s after call %d (%s) was refused" % (request, nth, what)
    assert door.children("proxy") == [pid], "the proxy died of call %d (%s):\n%s" % (nth, what, door.log()[-2000:])
    return what


def refuse_each(door, refuse, request, kinds, only=""):
    """The first, the second … call refused, until a request makes no more of them."""
    refused = []
    for nth in range(1, CALLS_MAX):
        what = one_round(door, refuse, request, kinds, nth, only)
        if what is None:
            return refused
        refused.append(what)
    raise AssertionError("a request makes more than %d calls: %s" % (CALLS_MAX, refused))


@pytest.mark.guard(240)
@pytest.mark.parametrize("request_", REQUESTS, ids=["%s-%s" % (h.split(".")[0], m) for h, m, _ in REQUESTS])
def test_every_call_refused_once(door, refuse, origin, fcgi, request_):
    script(origin, fcgi)
    for _ in range(3):
        assert works(door, *request_)
    fds, rss = settle(door), door.rss()
    refused = {name: len(refuse_each(door, refuse, request_, CALL, name)) for name in NAMES}
    assert refused["accept4"] and refused["epoll_ctl"] and refused["recv"], refused
    assert refused["send"] + refused["sendmsg"], refused
    refuse_each(door, refuse, request_, MEMORY)
    poll(lambda: settle(door) <= fds + 2, 6, "descriptors lost: %d before" % fds)
    assert door.rss() < rss + (8 << 20), "memory lost"


@pytest.mark.guard(240)
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's allocator cannot be refused")
@pytest.mark.parametrize("request_", REQUESTS[1:3] + REQUESTS[4:5], ids=["http-PUT", "spill-POST", "php-POST"])
def test_every_allocation_of_a_first_request_refused(tmp_path, refuse, origin, fcgi, request_):
    """Once warm, pools ask nobody for memory: so the program is started anew for every allocation."""
    script(origin, fcgi)
    refused = []
    for nth in range(1, 60):
        d = make_door(tmp_path / ("door%d" % nth), refuse, origin, fcgi).start()
        try:
            what = one_round(d, refuse, request_, MEMORY, nth)
            d.check()
        finally:
            d.stop()
        if what is None:
            break
        refused.append(what)
    assert 0 < len(refused) < 59, refused


@pytest.mark.guard(240)
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's allocator cannot be refused")
def test_every_allocation_of_a_first_stream_refused(tmp_path, refuse, origin, fcgi):
    """HTTP/2: whatever cannot be said, the head of the answer among it, the program says something else or nothing."""
    fields = [("X-Field-%d" % i, "v" * 200) for i in range(20)]
    origin.script(lambda conn, r: conn.send(reply(headers=fields)))
    refused = []
    for nth in range(1, 300):
        d = make_door(tmp_path / ("door%d" % nth), refuse, origin, fcgi).start()
        try:
            pid = d.children("proxy")[0]
            refuse.arm(pid, MEMORY, nth)
            try:
                with H2(d.port, timeout=5) as c:
                    got = c.fetch(host="http.test")
            except ConnectionError:
                pass
            except AssertionError as e:  # not one of a hang, or of frames that no server sends
                assert str(e).startswith("the connection ended"), e
            else:
                assert got.reset is not None or got.status in (200, 500, 502, 503), got
            what = refuse.disarm()[1]
            with H2(d.port) as c:
                assert c.fetch(host="http.test").status == 200
            assert d.children("proxy") == [pid], "the proxy died of call %d (%s):\n%s" % (nth, what, d.log()[-2000:])
            d.check()
        finally:
            d.stop()
        if what is None:
            break
        refused.append(what)
    assert 0 < len(refused) < 299, refused


def ask_and_wait(door, count):
    clients = [Client(door.port, timeout=5) for _ in range(count)]
    for c in clients:
        c.send_quietly(build(host="asleep.test"))
    return clients


def outcome(c):
    try:
        return c.response().status
    except socket.timeout:
        raise AssertionError("hangs")
    except (Truncated, OSError):
        return "closed"
    finally:
        c.close()


@pytest.mark.guard(120)
def test_every_call_of_those_that_go_to_sleep_refused(door, refuse, origin, fcgi):
    """Beyond the first 64 held requests give up session and exchange, and get them back in the end."""
    pid, refused = door.children("proxy")[0], []
    for kinds, only in ((CALL, "epoll_ctl"), (MEMORY, "")):
        for nth in range(1, 9):
            awake = ask_and_wait(door, 64)
            poll(lambda: door.cluster("asleep")["held"] == 64, 5, "the first wait")
            refuse.arm(pid, kinds, nth, only)
            sleepers = ask_and_wait(door, 2)
            got = [outcome(c) for c in sleepers]
            refused.append(refuse.disarm()[1])
            assert all(g in (503, "closed") for g in got), got
            assert got.count(503) >= 1, (kinds, nth, refused[-1])
            assert [outcome(c) for c in awake] == [503] * 64
            door.check_quiet()
    assert door.children("proxy") == [pid], door.log()[-2000:]
    assert refused.count("epoll_ctl") >= 6, refused
