"""Connections dealt out over workers, looked at in the ledger itself."""
import mmap
import os
import struct

from harness.door import Door, cluster, route
from harness.net import Client, build, poll


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
