"""Runs the simulator, several at a time, and keeps what the report says of goals."""
import concurrent.futures
import csv
import hashlib
import io
import math
import os
import resource
import subprocess
import sys
import threading
import time


class Bar:
    """Progress on a terminal; nothing elsewhere."""

    def __init__(self, total):
        self.total, self.done, self.began, self.lock = max(1, total), 0, time.time(), threading.Lock()

    def step(self, what):
        with self.lock:
            self.done += 1
            if not sys.stderr.isatty():
                return
            took = time.time() - self.began
            filled = min(30, 30 * self.done // self.total)
            left = took / self.done * (self.total - self.done)
            sys.stderr.write(f"\r[{'#' * filled}{' ' * (30 - filled)}] {self.done}/{self.total} {left:.0f} s to go  {what[:40]:40}")
            if self.done == self.total:
                sys.stderr.write("\n")
            sys.stderr.flush()


class Simulator:
    """`later` gives a future: what is asked for first runs first, and results are taken in the order of asking, so that a report does not depend on
    how many run at a time."""

    def __init__(self, args):
        self.program = os.path.join(args.builddir, "bench/autoscale/autoscale")
        self.plugins = os.path.join(args.builddir, "plugins")
        self.traces, self.out, self.files = args.traces, args.out, 0
        self.pool = concurrent.futures.ThreadPoolExecutor(args.jobs)
        self.bar, self.keep, self.sums, self.lock = None, args.keep, {}, threading.Lock()
        if self.keep:
            os.makedirs(self.keep, exist_ok=True)

    def load(self, text):
        return text.replace("trace:", "trace:" + self.traces + "/", 1) if text.startswith("trace:") else text

    def run(self, load, policy, *flags):
        command = [self.program, "--header", "--load", self.load(load), "--policy", policy, "--plugins", self.plugins, *map(str, flags)]
        kept = self.kept(policy, [load, policy, *map(str, flags)])
        if kept and os.path.exists(kept):
            with open(kept, encoding="utf-8") as f:
                return list(csv.DictReader(f))
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        if kept:
            with open(kept + ".new", "w", encoding="utf-8") as f:
                f.write(done.stdout)
            os.replace(kept + ".new", kept)
        return list(csv.DictReader(io.StringIO(done.stdout)))

    def kept(self, policy, words):
        """Where the rows of such a run are kept: by its words and by the contents of the programs that make them. None: nowhere."""
        if not self.keep or "--timeline" in words:
            return None
        with self.lock:
            for name in (self.program, os.path.join(self.plugins, policy + ".so"), os.path.join(self.plugins, policy, ".libs", policy + ".so")):
                if name not in self.sums and os.path.isfile(name):
                    with open(name, "rb") as f:
                        self.sums[name] = hashlib.sha256(f.read()).hexdigest()
        made_by = [self.sums[n] for n in sorted(self.sums) if n == self.program or policy + ".so" in n]
        return os.path.join(self.keep, hashlib.sha256("\n".join(words + made_by).encode()).hexdigest() + ".csv")

    def later(self, load, policy, *flags, steps=""):
        def work():
            rows = self.run(load, policy, *flags)
            if steps:
                self.bar.step(steps)
            return rows
        return self.pool.submit(work)

    def timed(self, load, policy, *flags):
        """Rows, and the processor's seconds; only while nothing else runs."""
        self.keep = None
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        rows = self.run(load, policy, *flags)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return rows, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def later_seconds(self, load, policy, *flags, steps=""):
        """Future of (row, the lines of --timeline)."""
        self.files += 1
        path = os.path.join(self.out, f"timeline-{self.files}.tmp")

        def work():
            row = self.run(load, policy, *flags, "--timeline", path)[0]
            with open(path, encoding="utf-8") as f:
                seconds = [[float(x) for x in line.split(",")] for line in f]
            os.remove(path)
            if steps:
                self.bar.step(steps)
            return row, seconds
        return self.pool.submit(work)


class Report:
    """report.md, written anew after each part, and the goals with their verdicts."""

    def __init__(self, path, title):
        self.path, self.title, self.lines, self.goals = path, title, [], []

    def add(self, *lines):
        self.lines += lines

    def goal(self, what, value, bound, is_reached):
        """is_reached None: the runs do not tell."""
        word = "cannot be told" if is_reached is None else "reached" if is_reached else "not reached"
        self.goals.append(f"| {what} | {value} | {bound} | {word} |")
        self.lines.append(f"\n**{word}**: {what}: {value} (goal: {bound})\n")

    def write(self):
        parts = list(self.title)
        if self.goals:
            parts += ["\n## Goals\n\n| what | is | shall be | |\n|---|---|---|---|"] + self.goals
        with open(self.path, "w", encoding="utf-8") as f:
            f.write("\n".join(parts + self.lines) + "\n")


def mean_of(rows, key):
    values = [float(r[key]) for r in rows if r[key] != "nan"]
    return sum(values) / len(values) if values else math.nan


def settings_of(settings):
    return [f for s in settings for f in ("--set", s)]
