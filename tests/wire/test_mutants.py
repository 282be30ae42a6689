"""The short form of tests/fuzz/attack.py and tests/fuzz/differential.py, with fixed seeds: mutants of HTTP/1 framing through the
proxy, and our parser beside http-parser and Node's. `make fuzz` does many more of both."""

import os
import sys

import pytest

from harness.door import COXSWAIN, ROOT
from harness.net import Client

sys.path.insert(0, os.path.join(ROOT, "tests", "fuzz"))

import attack  # noqa: E402
import differential  # noqa: E402

BUILD = os.path.dirname(COXSWAIN)


def text_of(trouble):
    return "\n".join("%s %s: %s\n%r" % (name, "+".join(done), what, data[:1000]) for name, done, data, what in trouble[:3])


@pytest.mark.guard(60)
@pytest.mark.parametrize("seed", [1, 2])
def test_mutants(tmp_path, seed):
    a = attack.Attack(str(tmp_path / "door"), seed, int(os.environ.get("MUTANTS", "300")))
    trouble = a.run()
    assert not trouble, text_of(trouble)
    assert a.answers > 100 and a.refused > 50  # both happened, or this tested nothing


@pytest.mark.parametrize("raw", [
    b"GET /m1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    b"GET /m1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
    b"GET /m1/ HTTP/1.1\r\nHost : a\r\n\r\n", b"GET /m1/ HTTP/1.1\r\n\r\n", b"GET /m1/ HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET /m1/ HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", b"GET  /m1/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /m1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n",
    b"GET /m1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    b"GET /m1/ HTTP/1.1\r\nHost: a\r\nContent_Length: 1\r\n\r\n",
])
def test_the_recorder_is_strict(raw):
    """What an unsafe proxy would let through is noticed."""
    r = attack.Recorder()
    try:
        with Client(r.port) as c:
            c.send(raw)
            c.half_close()
            c.rest()
        assert r.trouble
        r.trouble = []
    finally:
        r.stop()


@pytest.mark.parametrize("seed", [1, 2])
def test_same_as_other_parsers(seed):
    missing = {"http-parser", "node"} - set(differential.peers(BUILD))
    if missing:
        pytest.skip("not here: " + ", ".join(sorted(missing)))
    counts, bugs = differential.run(BUILD, differential.make_cases(seed, 1500))
    assert not bugs, "\n".join("%s: %s\n%r" % (name, text, case[:1000]) for name, text, case, _, _ in bugs[:3])
    for name, count in counts.items():
        assert count["same"] > 500 and count["stricter"] > 100, (name, count)


def test_differences_are_noticed():
    one = {"method": "474554", "target": "2f", "version": 11, "fields": [], "body": "", "done": True}
    ours = {"messages": [one, one], "end": "more"}
    assert differential.compare(ours, ours)[0] == "same"
    assert differential.compare(ours, {"messages": [one], "end": "error", "why": "E"})[0] == "bug"
    assert differential.compare({"messages": [one], "end": "more"}, ours)[0] == "bug"
    assert differential.compare(ours, {"messages": [one, dict(one, body="78")], "end": "more"})[0] == "bug"
    assert differential.compare({"messages": [one], "end": "error", "why": "length"}, ours)[0] == "stricter"
    assert differential.compare({"messages": [dict(one, body="7879", done=False)], "end": "error", "why": "chunk"},
                                {"messages": [dict(one, body="797a")], "end": "more"})[0] == "bug"
