"""What workers do with connections beside serving: deal them out, and close those that lead nowhere."""
import json
import mmap
import os
import struct

from harness.door import Door, cluster, route
from harness.net import Client, build, fetch, poll


def sessions(door):
    """Client connections of each worker, from the rows of the proxy's ledger."""
    pid = door.children("proxy")[0]
    for fd in os.listdir("/proc/%d/fd" % pid):
        path = "/proc/%d/fd/%s" % (pid, fd)
        if "memfd:coxswain-ledger" not in os.readlink(path):
            continue
        with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            header_bytes, row_bytes = struct.unpack_from("QQ", m, 8)
            workers = struct.unpack_from("I", m, 40)[0]
            return [struct.unpack_from("Q", m, header_bytes + w * row_bytes + 8)[0] for w in range(workers)]
    raise AssertionError("the proxy holds no ledger")


def test_a_burst_is_dealt_out_evenly(tmp_path, origin):
    """64 connections that come at once, while earlier ones are still on their way from worker to worker."""
    d = Door(tmp_path, workers=2, clusters=[cluster("web", origin.address)], routes=[route("*", "web")]).start()
    for _ in range(5):
        clients = [Client(d.port) for _ in range(64)]
        poll(lambda: sum(sessions(d)) == 64, 5, "64 sessions")
        assert max(sessions(d)) <= 35, sessions(d)  # 10 % of 32 above even
        for c in clients:
            c.send(build())
            assert c.response().status == 200
            c.close()
        poll(lambda: sum(sessions(d)) == 0, 5, "no session")
    d.stop()


def write_view(path, *endpoints):
    """What the file plugin reads; in one step."""
    whole = {"clusters": [{"name": "dyn", "idle_timeout": "60s", "balance": "round_robin", "probe": {"kind": "none"},
                           "endpoints": list(endpoints)}], "routes": [{"host": "*", "path": "/", "cluster": "dyn"}]}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(whole))
    new.rename(path)


def warm_up(door, *origins):
    """An idle connection to each of them."""
    with Client(door.port) as c:
        def all_have_one():
            c.send(build())
            assert c.response().status == 200
            return all(o.living for o in origins)
        poll(all_have_one, 5, "a connection to each")


def test_idle_connections_close_with_their_endpoint_alone(tmp_path, origin, origin2):
    view = tmp_path / "view.json"
    write_view(view, origin.address, origin2.address)
    d = Door(tmp_path / "door", workers=1, plugins=[{"name": "file", "path": str(view)}]).start()
    d.served(3)
    warm_up(d, origin, origin2)
    stays = list(origin2.living)
    write_view(view, origin2.address)
    poll(lambda: not origin.living, 3, "the connection to the endpoint that is gone is closed")
    assert list(origin2.living) == stays
    d.stop()


def test_idle_connections_close_when_their_endpoint_moves(tmp_path, origin, origin2):
    view = tmp_path / "view.json"
    write_view(view, {"id": "a", "address": origin.address})
    d = Door(tmp_path / "door", workers=1, plugins=[{"name": "file", "path": str(view)}]).start()
    d.served(3)
    warm_up(d, origin)
    write_view(view, {"id": "a", "address": origin2.address})
    poll(lambda: not origin.living, 3, "the connection to the old address is closed")
    warm_up(d, origin2)
    d.stop()


def test_idle_connections_close_with_their_cluster(tmp_path, origin, origin2):
    view = tmp_path / "view.json"
    write_view(view, origin.address)
    d = Door(tmp_path / "door", workers=1, plugins=[{"name": "file", "path": str(view)}],
             clusters=[cluster("other", origin2.address, idle_timeout="60s", probe={"kind": "none"})],
             routes=[route("other.test", "other")]).start()
    d.served(3)
    warm_up(d, origin)
    fetch(d.port, host="other.test")
    stays = list(origin2.living)
    view.with_suffix(".new").write_text('{"clusters": [], "routes": []}')
    view.with_suffix(".new").rename(view)
    poll(lambda: not origin.living, 3, "the connection of the cluster that is gone is closed")
    assert list(origin2.living) == stays
    d.stop()
