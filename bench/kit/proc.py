"""Processes: starting them on a core, what they have used, ending them. Only what we started is ever ended."""
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
PATH = os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin"


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_us():
    """In a child before its exec: the kernel ends it (kindly) when the bench is gone, however it went."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def which(program):
    return shutil.which(program, path=PATH)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def text_of(path):
    with open(path, errors="replace") as f:
        return f.read()


def wait_until(true, what, seconds=15):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def answers(port, path="/"):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
            s.settimeout(5)
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in s.recv(4096)
    except OSError:
        return False


def is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def tasks(pid):
    try:
        return [int(task) for task in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def family(pid):
    """The process and all its descendants."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for task in tasks(pid):
            try:
                todo += [int(child) for child in text_of(f"/proc/{pid}/task/{task}/children").split()]
            except OSError:
                pass
    return found


def cpu_seconds(pids):
    """(total, user) CPU seconds: the total in nanoseconds per thread, the user part in ticks of 10 ms."""
    total = user = 0.0
    for pid in pids:
        for task in tasks(pid):
            try:
                total += int(text_of(f"/proc/{pid}/task/{task}/schedstat").split()[0]) / 1e9
            except (OSError, IndexError):
                pass
        try:
            user += int(text_of(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[11]) / TICKS
        except (OSError, IndexError):
            pass
    return total, user


def cores_busy(cores):
    """(busy, all) ticks of some cores together."""
    busy = everything = 0
    for line in text_of("/proc/stat").splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            ticks = [int(x) for x in counts[:8]]
            busy += sum(ticks) - ticks[3] - ticks[4]
            everything += sum(ticks)
    return busy, max(1, everything)


def pss_bytes(pids):
    """Proportional set size: what the processes cost, shared pages counted once between them."""
    total = 0
    for pid in pids:
        for line in text_of(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def is_quiet(pid):
    """Every thread sleeps in a system call that waits for events (epoll_wait, epoll_pwait, epoll_pwait2, poll)."""
    try:
        return all(text_of(f"/proc/{pid}/task/{task}/syscall").split()[0] in ("232", "281", "441", "7", "22", "21")
                   for task in tasks(pid))
    except (OSError, IndexError):
        return False


def state(pid):
    return text_of(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0]


class Nursery:
    """A scratch folder and the processes that were started; both go at the end of the with-block."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="coxswain-bench-")
        os.chmod(self.folder, 0o755)
        self.children = []
        return self

    def path(self, name):
        return os.path.join(self.folder, name)

    def spawn(self, command, cores=None, stdin=subprocess.DEVNULL, **env):
        if cores is not None:
            command = ["taskset", "-c", ",".join(map(str, cores))] + command
        with open(self.path(f"out-{len(self.children)}"), "ab") as log:
            child = subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log,
                                     env={**os.environ, "PATH": PATH, **env}, preexec_fn=die_with_us)
        child.output = log.name
        self.children.append(child)
        return child

    def end(self, child, kindly=signal.SIGTERM):
        """Asks, waits, and is rude only in the end."""
        if child.poll() is None:
            child.send_signal(kindly)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            for pid in family(child.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            child.wait()

    def __exit__(self, *_):
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self.children:
            self.end(child)
        shutil.rmtree(self.folder, ignore_errors=True)
