"""Idle client connections that went to rest (kept in less memory): they must behave as if they had not."""
import pytest

from harness.door import Door, cluster, route
from harness.net import Client, build, fetch, poll
from harness.resting import go_to_rest, is_resting


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin):
    rest = {"client_rest_after": "1ms", "limit_loopback": True}
    d = Door(
        tmp_path_factory.mktemp("resting"), workers=1,
        listeners={"web": rest, "short": dict(rest, client_idle_timeout="2s"), "few": dict(rest, max_requests=2),
                   "crowd": dict(rest, max_sessions_per_client=2), "awake": {"client_rest_after": "0s"}},
        clusters=[cluster("web", origin.address)], routes=[route("*", "web")],
    ).start()
    yield d
    d.stop()


def ask(client, **kw):
    client.send(build(**kw))
    r = client.response()
    assert r.status == 200
    return r


def test_requests_before_and_after_a_rest(door, origin):
    with Client(door.port) as c:
        ask(c)
        assert is_resting(door, c) is not None
        for _ in range(2):
            go_to_rest(door, c)
            ask(c)
            assert is_resting(door, c) is False


def test_it_is_still_counted_as_a_session(door):
    with Client(door.port) as c:
        ask(c)
        go_to_rest(door, c)
        assert door.status()["sessions"] == 1
    poll(lambda: door.status()["sessions"] == 0, 5, "no session left")


def test_a_request_in_pieces_wakes_it(door):
    with Client(door.port) as c:
        ask(c)
        go_to_rest(door, c)
        raw = build()
        c.send(raw[:5])
        poll(lambda: is_resting(door, c) is False, 5, "awake")
        c.send(raw[5:])
        assert c.response().status == 200


def test_the_idle_time_out_is_kept_over_a_rest(door):
    with Client(door.ports["short"]) as c:
        ask(c)
        go_to_rest(door, c)
        assert c.closed(4)


def test_requests_are_counted_over_a_rest(door):
    with Client(door.ports["few"]) as c:
        assert ask(c).get("connection") != "close"
        go_to_rest(door, c)
        assert ask(c).get("connection") == "close"  # max_requests = 2
        assert c.closed()


def test_a_client_that_closes_while_resting_gives_its_place_back(door):
    clients = [Client(door.ports["crowd"]) for _ in range(2)]
    for c in clients:
        ask(c)
        go_to_rest(door, c)
    with Client(door.ports["crowd"]) as more:
        assert more.closed()  # resting ones count
    for c in clients:
        c.close()

    def served():
        with Client(door.ports["crowd"]) as c:
            try:
                return c.send_quietly(build()) and c.response().status == 200
            except (OSError, AssertionError):
                return False

    poll(served, message="a place that was given back")


def test_a_reset_while_resting(door):
    c = Client(door.port)
    ask(c)
    go_to_rest(door, c)
    c.reset()
    poll(lambda: door.status()["sessions"] == 0, 5, "no session left")
    assert fetch(door.port).status == 200


def test_zero_keeps_connections_awake(door):
    with Client(door.ports["awake"]) as c, Client(door.port) as other:
        ask(c)
        ask(other)
        go_to_rest(door, other)  # a tick went by that looked at both
        assert is_resting(door, c) is False


def test_the_end_of_the_program_closes_resting_connections(tmp_path, origin):
    d = Door(tmp_path, workers=1, listeners={"web": {"client_rest_after": "1ms"}}, clusters=[cluster("web", origin.address)],
             routes=[route("*", "web")]).start()
    with Client(d.port) as c:
        ask(c)
        go_to_rest(d, c)
        d.stop()
        assert c.closed()  # by a FIN: a reset would have raised


def test_a_reload_leaves_them_and_their_next_answer_says_close(tmp_path, origin):
    d = Door(tmp_path, workers=1, listeners={"web": {"client_rest_after": "1ms"}}, clusters=[cluster("web", origin.address)],
             routes=[route("*", "web")]).start()
    with Client(d.port) as c:
        ask(c)
        go_to_rest(d, c)
        d.reload()
        assert ask(c).get("connection") == "close"
        assert c.closed()
    d.stop()
