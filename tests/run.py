#!/usr/bin/env python3
"""Runs the test suites of a built tree and counts every case.

`make check` calls it with the lists it knows; SUITES="unit wire" in the environment picks some of them. Each suite
prints one line of its own, and the very last line of the run is the count and nothing else:

    N passed, N failed            or            N passed, N failed, N skipped

A case is one cmocka test, one pytest test, one lint check, or one replayed corpus. The exit status is 0 only when nothing
failed and something passed.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

SUITES = ("lint", "unit", "sim", "fault", "plugin", "fuzz", "wire")
PROGRAM_SECONDS = 300  # one cmocka program or corpus may take so long
WIRE_AGAIN = 5  # so many failed wire cases are given a second try
CMOCKA_CASE = re.compile(r"^\[\s+(OK|FAILED|SKIPPED|ERROR)\s+\] (\w+)\s*$", re.M)
CMOCKA_RUN = re.compile(r"^\[=+\] (?:\w+: )?(\d+) test\(s\) run\.", re.M)  # newer ones name the group


class Count:
    """passed, failed, skipped; failures carry what to show."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.notes += other.notes

    def fail(self, what, output=""):
        self.failed += 1
        self.notes.append(what)
        print(f"FAIL {what}", flush=True)
        if output:
            lines = output.rstrip().splitlines()
            for line in lines[-60:]:
                print("     " + line)
            sys.stdout.flush()

    def line(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def run(command, seconds, **options):
    """Output (both streams) and exit status; a time-out is status None."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
                              stdin=subprocess.DEVNULL, **options)
        return done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as e:
        return (e.stdout or b"").decode(errors="replace"), None
    except OSError as e:
        return str(e), 127


def call_patiently(command, **options):
    """subprocess.call(), but after Ctrl-C, which the child gets too, it has time to end what it started."""
    with subprocess.Popen(command, **options) as child:
        try:
            return child.wait()
        except KeyboardInterrupt:
            try:
                child.wait(60)
            except (KeyboardInterrupt, subprocess.TimeoutExpired):
                child.kill()
            raise


def environment(args):
    env = dict(os.environ)
    build = args.builddir
    env.update(PYTHONDONTWRITEBYTECODE="1", COXSWAIN=os.path.join(build, "coxswain"),
               COXCTL=os.path.join(build, "coxctl"), COXSWAIN_PLUGIN_DIR=os.path.join(build, "plugins"),
               COX_BUILD_DIR=build, COX_SOURCE_DIR=args.srcdir, COX_CC=args.cc,
               srcdir=args.srcdir)
    # The same in tests/wire/harness/door.py, for pytest run by hand.
    supp = os.path.join(args.srcdir, "tests")
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99:allocator_may_return_null=1")
    env.setdefault("LSAN_OPTIONS", f"suppressions={supp}/lsan.supp:print_suppressions=0")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.setdefault("TSAN_OPTIONS", f"suppressions={supp}/tsan.supp:print_suppressions=0:second_deadlock_stack=1")
    return env


def run_cmocka(programs, args, env):
    count = Count()
    for program in programs.split():
        one = Count()
        output, status = run([os.path.join(args.builddir, program)], PROGRAM_SECONDS, env=env, cwd=args.builddir)
        for result, name in CMOCKA_CASE.findall(output):
            if result == "OK":
                one.passed += 1
            elif result == "SKIPPED":
                one.skipped += 1
            elif f"{program}: {name}" not in one.notes:
                one.failed += 1
                one.notes.append(f"{program}: {name}")
        if one.failed:
            print(f"FAIL {program}: {one.failed} of {one.passed + one.failed}")
            print("\n".join("     " + line for line in output.splitlines()
                            if "[       OK ]" not in line and "[ RUN" not in line))
        elif status != 0 or not CMOCKA_RUN.search(output):
            why = "took too long" if status is None else f"ended with {status}"
            one.fail(f"{program}: {why}", output)
        elif one.passed + one.skipped == 0:
            one.fail(f"{program}: ran no test", output)
        count.add(one)
    return count


def run_fuzz(targets, args, env):
    """Each target reads every file of its corpus: tests/fuzz/fuzz_NAME goes with tests/fuzz/corpus/NAME."""
    count = Count()
    for target in targets.split():
        name = os.path.basename(target)
        name = name[len("fuzz_"):] if name.startswith("fuzz_") else name
        corpus = os.path.join(args.srcdir, "tests/fuzz/corpus", name)
        if not os.path.isdir(corpus) or not os.listdir(corpus):
            count.fail(f"{target}: no corpus at tests/fuzz/corpus/{name}")
            continue
        output, status = run([os.path.join(args.builddir, target), corpus], PROGRAM_SECONDS, env=env)
        if status == 0:
            count.passed += 1
        else:
            count.fail(f"{target} over its corpus: status {status}", output)
    return count


def run_lint(args, env):
    count = Count()
    output, status = run([sys.executable, os.path.join(args.srcdir, "tests/lint/lint.py")], 600, env=env)
    for line in output.splitlines():
        if line.startswith("ok "):
            count.passed += 1
        elif line.startswith("skip "):
            count.skipped += 1
            print(line)
        elif line.startswith("FAIL "):
            count.failed += 1
            count.notes.append("lint: " + line[5:])
            print(line)
        elif line.startswith("  "):
            print(line)
    if count.passed + count.failed == 0 or (status != 0 and not count.failed):
        count.fail(f"lint ended with {status}", output)
    return count


def wire_report(report):
    """Of a JUnit file: the count, and the node ids of what failed, in the test or in its clean-up."""
    count, bad, good = Count(), set(), set()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        node = f"{case.get('classname').split('.')[-1]}.py::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            bad.add(node)
        elif case.find("skipped") is not None:
            count.skipped += 1
        else:
            good.add(node)
    count.passed, count.failed = len(good - bad), len(bad)
    return count, sorted(bad)


def run_wire(args, env):
    """pytest streams to the terminal; the count comes from its JUnit file.

    These cases run whole programs against the clock. A few that failed are run once more, alone: what passes then is counted
    as passed, and the run says which they were. What fails twice, or more than WIRE_AGAIN of them, has failed."""
    count = Count()
    folder = os.path.join(args.srcdir, "tests/wire")
    if not any(n.startswith("test_") for n in (os.listdir(folder) if os.path.isdir(folder) else [])):
        return count
    scratch = tempfile.mkdtemp(prefix="coxswain-check-")

    def pytest(name, cases, flags):
        report = os.path.join(scratch, name + ".xml")
        command = [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "--junitxml", report,
                   "--rootdir", folder, "--basetemp", os.path.join(scratch, name)] + flags + cases
        status = call_patiently(command, env=env, cwd=scratch, stdin=subprocess.DEVNULL)
        try:
            return status, *wire_report(report)
        except (OSError, ElementTree.ParseError):
            lost = Count()
            lost.fail(f"wire: pytest ended with {status} and left no report")
            return status, lost, []

    try:
        status, count, bad = pytest("t", [folder], os.environ.get("WIRE_FLAGS", "").split())
        if 0 < len(bad) <= WIRE_AGAIN:
            _, again, worse = pytest("again", [os.path.join(folder, case) for case in bad], [])
            if again.passed + len(worse) == len(bad):
                for case in set(bad) - set(worse):
                    print(f"passed at the second try: {case}", flush=True)
                count.passed += again.passed
                count.failed, bad = len(worse), worse
        count.notes += [f"wire: {case}" for case in bad]
        if status not in (0, 1, 5) and not count.failed:
            count.fail(f"wire: pytest ended with {status}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--srcdir", default=".")
    parser.add_argument("--builddir", default=".")
    parser.add_argument("--make", default="make")
    parser.add_argument("--cc", default="cc")
    for name in ("unit", "sim", "fault", "plugin", "fuzz"):
        parser.add_argument("--" + name, default="")
    args = parser.parse_args()
    args.srcdir, args.builddir = os.path.abspath(args.srcdir), os.path.abspath(args.builddir)
    env = environment(args)
    wanted = os.environ.get("SUITES", "").split() or SUITES
    unknown = [name for name in wanted if name not in SUITES]
    if unknown:
        parser.error(f"no suite {unknown[0]}; there are: {' '.join(SUITES)}")
    total = Count()
    for name in SUITES:
        if name not in wanted:
            continue
        began = time.monotonic()
        if name == "lint":
            count = run_lint(args, env)
        elif name == "fuzz":
            count = run_fuzz(args.fuzz, args, env)
        elif name == "wire":
            count = run_wire(args, env)
        else:
            count = run_cmocka(getattr(args, name), args, env)
        if not count.passed + count.failed + count.skipped:
            continue
        print(f"{name}: {count.line()} ({time.monotonic() - began:.1f} s)", flush=True)
        total.add(count)
    if total.notes:
        print("failed:")
        for note in total.notes:
            print("  " + note)
    print(total.line(), flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
