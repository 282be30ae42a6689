"""Starts the real program on free ports, asks coxctl about it, and checks what must hold after every test."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

from .net import SLOW, Client, build, fetch, free_port, poll

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
REPORT = re.compile(
    rb"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|Sanitizer: CHECK failed|panic:|assertion"
)
# What the master says of a child that did not leave in order.
BAD_END = re.compile(r"^.* (?:proxy \d+|the orchestrator)(?: was ended by signal| left with code| does not finish).*$", re.M)


def find(name, env):
    """The program under test: from the environment, else from the usual build folders."""
    if os.environ.get(env):
        return os.path.abspath(os.environ[env])
    for folder in ("", "build", "obj"):
        for sub in ("", "sbin", "bin"):
            path = os.path.join(os.getcwd(), folder, sub, name)
            if os.access(path, os.X_OK):
                return path
            path = os.path.join(ROOT, folder, sub, name)
            if os.access(path, os.X_OK):
                return path
    return shutil.which(name) or name


COXSWAIN = find("coxswain", "COXSWAIN")
COXCTL = find("coxctl", "COXCTL")


def is_sanitized():
    """Built with a sanitizer: memory figures say nothing about the program then."""
    try:
        with open(COXSWAIN, "rb") as f:
            data = f.read()
        return b"__asan_init" in data or b"__tsan_init" in data
    except OSError:
        return False


SANITIZED = is_sanitized()


def text(value, indent=0):
    """A Python value in the syntax of the config file."""
    pad = "  " * (indent + 1)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        rows = "".join("%s%s = %s;\n" % (pad, k, text(v, indent + 1)) for k, v in value.items())
        return "{\n" + rows + "  " * indent + "}"
    if all(isinstance(v, str) for v in value):
        return "[ " + ", ".join(text(v) for v in value) + " ]" if value else "( )"
    return "(\n" + ",\n".join(pad + text(v, indent + 1) for v in value) + "\n" + "  " * indent + ")"


def config_text(config):
    return "".join("%s = %s;\n" % (k, text(v)) for k, v in config.items())


def cluster(name, *endpoints, **options):
    """A cluster without probes: tests that want them say so."""
    options.setdefault("probe", {"kind": "none"})
    return dict({"name": name, "endpoints": list(endpoints)}, **options)


def route(host, name, path="/"):
    return {"host": host, "path": path, "cluster": name}


class Door:
    """One running coxswain. `ports` maps listener names to their ports."""

    living = []

    def __init__(self, folder, listeners=None, env=None, **config):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.control = os.path.join(self.folder, "c.sock")
        self.file = os.path.join(self.folder, "coxswain.cfg")
        self.stderr = os.path.join(self.folder, "stderr.log")
        self.access = os.path.join(self.folder, "access.log")
        self.ports, self.process, self.env = {}, None, env or {}
        self.proxies, self.mark, self.blamed = set(), 0, []
        self.config = self.defaults()
        self.config.update(config)
        self.config["listeners"] = [self.listener(n, o) for n, o in (listeners or {"web": {}}).items()]

    def defaults(self):
        temp = os.path.join(self.folder, "tmp")
        os.makedirs(temp, exist_ok=True)
        os.chmod(temp, 0o777)
        out = {"workers": 2, "control": self.control, "temp_dir": temp}
        if os.geteuid() == 0:
            out["user"] = "root"
        out["log"] = {"level": "info", "access": self.access}
        return out

    def listener(self, name, options):
        self.ports[name] = free_port()
        return dict({"name": name, "address": "127.0.0.1:%d" % self.ports[name]}, **options)

    @property
    def port(self):
        return next(iter(self.ports.values()))

    # life

    def write(self):
        with open(self.file + ".new", "w") as f:
            f.write(config_text(self.config))
        os.replace(self.file + ".new", self.file)

    def environment(self):
        env = dict(os.environ, **self.env)
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99:allocator_may_return_null=1")
        supp = os.path.join(ROOT, "tests")
        env.setdefault("LSAN_OPTIONS", "suppressions=%s/lsan.supp:print_suppressions=0" % supp)
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        env.setdefault("TSAN_OPTIONS", "suppressions=%s/tsan.supp:print_suppressions=0:second_deadlock_stack=1" % supp)
        return env

    def start(self, program=None, wrapper=()):
        self.write()
        with open(self.stderr, "ab") as err:
            self.process = subprocess.Popen(
                [*wrapper, program or COXSWAIN, "-c", self.file],
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=self.environment(),
                cwd=self.folder, start_new_session=True,
            )
        Door.living.append(self)
        poll(self.ready, 10, "coxswain ready; its log:\n" + self.log())
        self.proxies = set(self.children("proxy"))
        return self

    def ready(self):
        assert self.process.poll() is None, "coxswain ended with %s:\n%s" % (self.process.returncode, self.log())
        status = self.status(check=False)
        return status and any(p["role"] == "proxy" and p["state"] == "serving" for p in status["processes"])

    def stop(self, seconds=10.0, check=True):
        """SIGTERM, and the program must leave by itself with code 0 and without a trace."""
        if self in Door.living:
            Door.living.remove(self)
        if self.process is None:
            return
        family, told_at = self.family(), len(self.log())
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.kill_all(family)
            if check:
                raise AssertionError("did not leave within %s s:\n%s" % (seconds, self.log()[-3000:]))
            return
        left = [p for p in family if os.path.exists("/proc/%d" % p) and not is_zombie(p)]
        self.kill_all(left)
        if check:
            self.check_reports()
            assert code == 0, "exit code %s:\n%s" % (code, self.log()[-3000:])
            bad = BAD_END.findall(self.log()[told_at:])
            assert not bad, "%s:\n%s" % (bad, self.log()[-3000:])
            assert not left, "processes left behind: %s" % left
            assert not os.path.exists(self.control), "control socket left behind"

    def kill_all(self, pids):
        """Only processes of this very program run: the list comes from family()."""
        for p in pids:
            try:
                os.kill(p, signal.SIGKILL)
            except OSError:
                pass
        if self.process:
            self.process.wait()

    # looking at it

    def family(self):
        """The master and everything below it."""
        out, todo = [], [self.process.pid]
        while todo:
            p = todo.pop()
            out.append(p)
            todo += children_of(p)
        return out

    def children(self, role):
        """Pids of the children with this role, from their titles."""
        return [p for p in children_of(self.process.pid) if title(p).startswith("coxswain: " + role)]

    def log(self):
        try:
            with open(self.stderr, "rb") as f:
                return f.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def ctl(self, *args, check=True, timeout=15.0):
        done = subprocess.run([COXCTL, "-s", self.control, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout * SLOW, env=self.environment())
        assert not REPORT.search(done.stderr), "coxctl %s: %s" % (args, done.stderr.decode("utf-8", "replace"))
        if check:
            assert done.returncode == 0, "coxctl %s: %s %s" % (args, done.returncode, done.stderr.decode())
        return done

    def status(self, check=True):
        done = self.ctl("--json", "status", check=check)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def cluster(self, name):
        """This cluster's part of the status, or None."""
        return next((c for c in self.status()["clusters"] if c.get("id", c.get("name")) == name), None)

    def fds(self):
        """Descriptors open in all proxy processes."""
        return sum(len(os.listdir("/proc/%d/fd" % p)) for p in self.children("proxy"))

    def rss(self):
        """Resident bytes of all proxy processes."""
        total = 0
        for p in self.children("proxy"):
            with open("/proc/%d/statm" % p) as f:
                total += int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    # what must hold after every test

    def check(self):
        self.check_reports()
        assert self.process.poll() is None, "the master ended:\n" + self.log()[-3000:]
        proxies = set(self.children("proxy"))  # a generation that drains may leave in the meantime
        assert proxies and proxies <= self.proxies, "proxy restarted:\n" + self.log()[-3000:]
        self.check_quiet()

    def check_quiet(self, seconds=2.0):
        end = time.monotonic() + seconds * SLOW
        while True:
            status = self.status()
            stuck = in_flight(status)
            if status["quiet"] is True or stuck == self.blamed:
                self.blamed = stuck
                return
            if time.monotonic() > end:
                self.blamed = stuck  # one test is blamed, not all that follow
                raise AssertionError("in flight after the test: %s" % stuck)
            time.sleep(0.01)

    def check_reports(self):
        with open(self.stderr, "rb") as f:
            f.seek(self.mark)
            data = f.read()
        found = REPORT.search(data)
        if found:
            self.mark += len(data)  # blame one test, not all that follow
            at = max(0, found.start() - 200)
            raise AssertionError("report in the log:\n" + data[at : at + 6000].decode("utf-8", "replace"))

    def accept_restart(self):
        """For tests that kill: once the master has noticed the dead and replaced them, what runs is what check() expects."""

        def replaced():
            dead = [p for p in children_of(self.process.pid) if is_zombie(p)]
            return not dead and self.children("orchestrator") and self.children("proxy")

        poll(replaced, 15, "children replaced")
        self.proxies = set(self.children("proxy"))

    # doing things to it

    def reload(self, seconds=10.0):
        """Writes the config as it is now and waits until the reload took or was refused."""
        self.write()
        done = self.ctl("reload", check=False, timeout=seconds)
        self.accept_restart()
        return done

    def kill(self, role):
        for p in self.children(role):
            os.kill(p, signal.SIGKILL)

    def served(self, seconds=1.0, **kw):
        """Seconds until a request is answered 200."""
        begin = time.monotonic()

        def ok():
            try:
                return fetch(self.port, timeout=seconds, **kw).status == 200
            except (OSError, AssertionError):
                return False

        poll(ok, seconds, "served again; log:\n" + self.log()[-2000:])
        return time.monotonic() - begin


def in_flight(status):
    """The cells that are not zero, as text."""
    out = []
    for c in status["clusters"]:
        out += ["%s %s %d" % (c["id"], k, c[k]) for k in ("held", "serving", "finishing", "tunnels") if c[k]]
        for e in c["endpoints"]:
            out += ["%s %s %s %d" % (c["id"], e["id"], k, e[k]) for k in ("attempts", "tunnels") if e[k]]
    return out


def children_of(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


def title(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def is_zombie(pid):
    """Gone, or gone but for a parent who looks: in a container process 1 may be anything, and not every one reaps."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


__all__ = ["COXCTL", "COXSWAIN", "Client", "Door", "build", "cluster", "fetch", "route"]
