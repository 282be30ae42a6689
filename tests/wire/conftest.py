"""Fixtures and the rules that hold for every wire test: it ends in time, and afterwards every in-flight cell of
every running coxswain is exactly zero, no proxy has died, and no sanitizer has spoken."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.door import COXSWAIN, Door  # noqa: E402
from harness.fcgi import FcgiServer  # noqa: E402
from harness.net import SLOW  # noqa: E402
from harness.origin import Origin  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "guard(seconds): how long this test may take instead of 30 s")


def pytest_sessionstart(session):
    if not os.access(COXSWAIN, os.X_OK):
        raise pytest.UsageError("no coxswain to test: set COXSWAIN, or build it (looked for %s)" % COXSWAIN)


@pytest.fixture(autouse=True)
def guard(request):
    """A test that hangs is a failure of its own, not of the whole run."""
    mark = request.node.get_closest_marker("guard")
    seconds = int((mark.args[0] if mark else 30) * SLOW)

    def late(*_):
        raise AssertionError("test took longer than %d s" % seconds)

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.fixture(autouse=True)
def everything_returns_to_zero(guard):
    yield
    for door in list(Door.living):
        door.check()


@pytest.fixture(autouse=True)
def servers_start_fresh(everything_returns_to_zero):
    """Every scripted server forgets the last test; its scripts' assertions fail this one."""
    for s in Origin.running:
        s.clear()
    yield
    for s in Origin.running:
        s.check()


@pytest.fixture
def make_door(tmp_path):
    """For tests that need a door of their own: make_door(clusters=…, routes=…) is started and stopped."""
    made = []

    def make(start=True, **config):
        door = Door(str(tmp_path / ("door%d" % len(made))), **config)
        made.append(door)
        return door.start() if start else door

    yield make
    try:
        for door in made:
            if door in Door.living:
                door.check()
    finally:
        for door in made:
            door.stop()


@pytest.fixture
def make_origin():
    made = []

    def make(**kw):
        made.append(Origin(**kw))
        return made[-1]

    yield make
    for o in made:
        o.stop()


@pytest.fixture(scope="module")
def origin():
    o = Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def origin2():
    o = Origin()
    yield o
    o.stop()


@pytest.fixture(scope="module")
def fcgi():
    o = FcgiServer()
    yield o
    o.stop()
