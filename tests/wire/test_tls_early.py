"""Early data of TLS 1.3 (RFC 8446 2.3), by the rules of RFC 8470."""

import subprocess

import pytest

from harness.door import Door, cluster, route
from harness.net import SLOW, build, poll
from harness.origin import reply
from harness.tls import Authority


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, ca):
    pair = ca.issue("web.test")
    closed = ca.issue("closed.test")
    d = Door(
        tmp_path_factory.mktemp("early"),
        listeners={
            "on": {"tls": {"certificates": [pair.config()], "early_data": True}},
            "off": {"tls": {"certificates": [pair.config()]}},
            "asking": {"tls": {"certificates": [closed.config(client_auth={"mode": "optional", "ca": ca.cert})],
                               "early_data": True}},
        },
        clusters=[cluster("web", origin.address)], routes=[route("*", "web")],
    ).start()
    yield d
    d.stop()


@pytest.fixture
def early(door, ca, tmp_path, origin):
    """early(request, listener) makes a session, comes back with the request as early data, and returns what s_client
    prints until the answer's end is there."""

    def run(request, name="on", host="web.test", until="\r\n\r\nok", keep_session=False):
        session, data = tmp_path / "session.pem", tmp_path / "request"
        data.write_bytes(request)
        base = ["openssl", "s_client", "-connect", "127.0.0.1:%d" % door.ports[name], "-servername", host, "-tls1_3",
                "-CAfile", ca.cert]
        if not keep_session:
            talk(base + ["-sess_out", str(session)], build(host=host), "\r\n\r\nok")
            poll(lambda: session.exists(), message="the session")
            origin.forget()
        return talk(base + ["-sess_in", str(session), "-early_data", str(data)], b"", until)

    return run


def talk(command, say, until):
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = b""
    try:
        p.stdin.write(say)
        p.stdin.flush()
        while until.encode() not in out:
            more = p.stdout.read1(65536)
            if not more:
                break
            out += more
        p.stdin.close()
        out += p.stdout.read()
        p.wait(10 * SLOW)
    finally:
        p.kill()
        p.wait()
    return out.decode("utf-8", "replace")


def test_a_safe_request_is_taken_early_and_told(early, origin):
    out = early(build(target="/early", headers={"Early-Data": "0"}))
    assert "Early data was accepted" in out and "200 OK" in out
    assert origin.one().target == "/early" and origin.one().all("early-data") == ["1"]


def test_an_unsafe_one_is_425(early, origin):
    out = early(build("POST", "/buy", body=b"x"), until="Too Early")
    assert "425 Too Early" in out
    assert not origin.requests


def test_an_answer_of_425_goes_to_the_client(early, origin):
    origin.script(lambda conn, r: conn.send(reply(b"ok", "425 Too Early" if r.get("early-data") else "200 OK")))
    out = early(build())
    assert "Early data was accepted" in out, out
    assert "425 Too Early" in out and len(origin.requests) == 1


def test_big_answers_leave_before_the_handshake_is_over(early, origin):
    body = b"x" * 300000

    def answer(conn, r):
        conn.send(reply(body + b"\r\n\r\nok" if r.get("early-data") else b"\r\n\r\nok"))

    origin.script(answer)
    out = early(build())
    assert "Early data was accepted" in out and out.count("x" * 1000) >= 250


def test_close_waits_for_the_handshake(early, origin):
    """Its close_notify comes in order, so the client takes the answer for whole."""
    out = early(build(headers={"Connection": "close"}), until="\nclosed")
    assert "200 OK" in out and "unexpected eof" not in out.lower()
    assert "\r\n\r\nok" in out and out.rstrip().endswith("\nclosed")  # s_client tells of a new ticket in between


def test_later_requests_of_the_connection_are_not_early(early, origin, door):
    out = early(build(target="/1") + build(target="/2"))
    assert "200 OK" in out
    origin.wait(1)
    assert origin.requests[0].get("early-data") == "1"


def test_off_by_default(early, origin):
    out = early(build(target="/early"), name="off", until="Early data was")
    assert "Early data was accepted" not in out
    assert all(r.get("early-data") is None for r in origin.requests)


def test_never_where_clients_show_certificates(early, origin):
    out = early(build(target="/early"), name="asking", host="closed.test", until="Early data was")
    assert "Early data was accepted" not in out
    assert all(r.get("early-data") is None for r in origin.requests)


def test_too_much_of_it_ends_the_connection(early, origin):
    out = early(build("GET", "/" + "x" * 4000) * 8, until="closed")
    assert "accepted" in out or "rejected" in out or "alert" in out
    assert len(origin.requests) < 8
