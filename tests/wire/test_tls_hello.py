"""ClientHellos in every shape: cut anywhere, in many records, asked for again, and with the large key shares of ML-KEM
(FIPS 203) that make them longer than a packet."""

import re
import socket
import ssl
import subprocess

import pytest

from harness.door import Door, cluster, route
from harness.net import SLOW, build, poll
from harness.tls import Authority, MemoryTls, fetch_tls

HYBRID = "X25519MLKEM768"
HYBRID_SHARE = 1216  # bytes that it adds to a hello


def has_hybrid():
    done = subprocess.run(["openssl", "list", "-tls-groups"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.returncode == 0 and HYBRID in done.stdout


needs_hybrid = pytest.mark.skipif(not has_hybrid(), reason="this OpenSSL has no ML-KEM (3.5 has)")


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def door(tmp_path_factory, origin, ca):
    pair = ca.issue("web.test").config()
    listeners = {"web": {"tls": {"certificates": [pair]}}, "p384": {"tls": {"certificates": [pair], "groups": "P-384"}}}
    if has_hybrid():
        listeners["hybrid"] = {"tls": {"certificates": [pair], "groups": HYBRID}}
    d = Door(tmp_path_factory.mktemp("hello"), listeners=listeners, clusters=[cluster("web", origin.address)],
             routes=[route("*", "web")]).start()
    yield d
    d.stop()


def unread(client):
    """Bytes that the kernel keeps for the server's end of this connection, which nobody has read yet."""
    mine, its = ("%08X:%04X" % (0x0100007F, port) for port in (client.sock.getsockname()[1], client.sock.getpeername()[1]))
    with open("/proc/net/tcp") as f:
        for line in f:
            _, local, remote, _, queues = line.split()[:5]
            if (local, remote) == (its, mine):
                return int(queues.split(":")[1], 16)
    return 0


def send_in_pieces(m, data, size):
    """Each is read alone."""
    m.client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(data), size):
        m.client.sock.sendall(data[at:at + size])
        poll(lambda: not unread(m.client), 5, "the piece was read")


def fragments(record, size):
    """The same handshake message in records of size bytes (RFC 8446 5.1)."""
    assert record[0] == 22
    return [record[:3] + len(part).to_bytes(2, "big") + part
            for part in (record[i:i + size] for i in range(5, len(record), size))]


def first_hello(m):
    with pytest.raises(ssl.SSLWantReadError):
        m.tls.do_handshake()
    hello = m.outgoing.read()
    assert int.from_bytes(hello[3:5], "big") == len(hello) - 5  # one record
    return hello


def ask(m, target):
    m.send(build(target=target))
    assert m.read().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("size", [1, 4, 5, 6, 43, 100, 500, 1448])
def test_a_hello_in_pieces(door, origin, ca, size):
    with MemoryTls(door.port, ca.client_context()) as m:
        hello = first_hello(m)
        send_in_pieces(m, hello[:size], size)  # a first piece of that length, then others
        send_in_pieces(m, hello[size:], max(size, 100))
        ask(m.handshake(), "/pieces")
    assert origin.one().target == "/pieces"


@pytest.mark.parametrize("size", [1, 37, 200])
@pytest.mark.parametrize("together", [True, False])
def test_a_hello_of_many_records(door, origin, ca, size, together):
    with MemoryTls(door.port, ca.client_context()) as m:
        records = fragments(first_hello(m), size)
        if together:
            m.client.sock.sendall(b"".join(records))
        else:
            for record in records[:40]:
                send_in_pieces(m, record, len(record))
            m.client.sock.sendall(b"".join(records[40:]))
        ask(m.handshake(), "/records")
    assert origin.one().target == "/records"


@pytest.mark.parametrize("size", [43, 1448])
def test_a_hello_that_is_asked_for_again(door, origin, ca, size):
    """HelloRetryRequest (RFC 8446 4.1.4), both hellos in pieces."""
    with MemoryTls(door.ports["p384"], ca.client_context(version="1.3")) as m:
        send_in_pieces(m, first_hello(m), size)
        m.feed()
        again = first_retry(m)
        send_in_pieces(m, again, size)
        ask(m.handshake(), "/again")
    assert origin.one().target == "/again"


def first_retry(m):
    """The second flight: a ChangeCipherSpec for old middleboxes and the second hello."""
    while True:
        with pytest.raises(ssl.SSLWantReadError):
            m.tls.do_handshake()
        data = m.outgoing.read()
        if data:
            assert b"\x16\x03" in data[:11], data[:11]
            return data
        m.feed()


def s_client(port, ca, *args):
    """What it says, and what the server answered."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, "-servername", "web.test", "-CAfile", ca.cert,
         "-verify_return_error", "-ign_eof", *args], input=build(target="/hybrid", headers=[("Connection", "close")]),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=15 * SLOW)
    return done.stdout.decode("latin-1")


@needs_hybrid
@pytest.mark.parametrize("listener,groups,agreed", [
    ("web", HYBRID, HYBRID), ("web", HYBRID + ":X25519", HYBRID), ("hybrid", HYBRID, HYBRID),
    ("hybrid", "X25519:" + HYBRID, HYBRID),  # only X25519's share comes at first: asked again
    ("web", "X25519", "X25519"),
])
def test_hybrid_groups(door, origin, ca, listener, groups, agreed):
    said = s_client(door.ports[listener], ca, "-groups", groups)
    assert "HTTP/1.1 200" in said, said[-3000:]
    assert re.search("(TLS1.3 group|Temp Key): %s\\b" % agreed, said), said[-3000:]
    assert origin.one().target == "/hybrid"


@needs_hybrid
def test_a_hybrid_hello_is_longer_than_a_packet(door, origin, ca):
    """Cut where Ethernet would cut it, as clients of today send it by default."""
    with MemoryTls(door.port, ca.client_context()) as m:
        hello = first_hello(m)
        assert len(hello) > 1448 > HYBRID_SHARE
        send_in_pieces(m, hello, 1448)
        ask(m.handshake(), "/two-packets")
    assert origin.one().target == "/two-packets"


@needs_hybrid
def test_no_group_in_common(door, origin, ca):
    said = s_client(door.ports["hybrid"], ca, "-groups", "X25519")
    assert "handshake failure" in said and "HTTP/1.1" not in said, said[-3000:]
    assert not origin.requests
    assert fetch_tls(door.port, ca.client_context()).status == 200
