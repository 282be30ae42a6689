"""gRPC through the door: HTTP/2 in front and behind, all four kinds of calls, statuses, deadlines, cancellation, big messages."""

import threading
import time

import grpc
import pytest
from concurrent import futures

from harness.door import Door, cluster, route
from harness.net import SLOW, free_port, poll

MIB = 1 << 20


def plain(data):
    return data


class Service(grpc.GenericRpcHandler):
    """Bytes in, bytes out; what a call does is in its name."""

    def __init__(self):
        self.seen, self.cancelled, self.running = [], threading.Event(), threading.Event()

    def service(self, details):
        self.seen.append((details.method, dict(details.invocation_metadata)))
        name = details.method.rsplit("/", 1)[1]
        kinds = {"Echo": grpc.unary_unary_rpc_method_handler, "Fail": grpc.unary_unary_rpc_method_handler,
                 "Sleep": grpc.unary_unary_rpc_method_handler, "Meta": grpc.unary_unary_rpc_method_handler,
                 "Count": grpc.unary_stream_rpc_method_handler, "Sum": grpc.stream_unary_rpc_method_handler,
                 "FailLate": grpc.unary_stream_rpc_method_handler, "Chat": grpc.stream_stream_rpc_method_handler}
        return kinds[name](getattr(self, name.lower()), plain, plain) if name in kinds else None

    def echo(self, request, context):
        return request

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: ä")

    def sleep(self, request, context):
        context.add_callback(self.cancelled.set)
        self.running.set()
        time.sleep(float(request))
        return b"slept"

    def meta(self, request, context):
        context.send_initial_metadata((("x-early", "1"),))
        context.set_trailing_metadata((("x-late", "2"), ("x-late-bin", b"\0\1\2")))
        return b"ok"

    def count(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i

    def faillate(self, request, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "after one")

    def sum(self, requests, context):
        return b"%d" % sum(len(r) for r in requests)

    def chat(self, requests, context):
        for r in requests:
            yield r.upper()


OPTIONS = [("grpc.max_send_message_length", 64 * MIB), ("grpc.max_receive_message_length", 64 * MIB)]


@pytest.fixture(scope="module")
def service():
    return Service()


@pytest.fixture(scope="module")
def backend(service):
    server = grpc.server(futures.ThreadPoolExecutor(32), handlers=(service,), options=OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield "127.0.0.1:%d" % port
    server.stop(0)


@pytest.fixture(scope="module")
def door(tmp_path_factory, backend):
    d = Door(
        tmp_path_factory.mktemp("grpc"), workers=1,
        clusters=[cluster("grpc", backend, protocol="h2"), cluster("dead", "127.0.0.1:1", protocol="h2", retries=0),
                  cluster("empty", protocol="h2"),
                  cluster("quick", backend, protocol="h2", response_timeout="300ms")],
        routes=[route("*", "grpc"), route("dead.test", "dead"), route("empty.test", "empty"), route("quick.test", "quick")],
    ).start()
    yield d
    d.stop()


@pytest.fixture
def channel(door, service):
    service.seen.clear()
    service.cancelled.clear()
    service.running.clear()
    with make_channel(door) as c:
        yield c


def make_channel(door, authority="shop.test"):
    return grpc.insecure_channel("127.0.0.1:%d" % door.port, options=OPTIONS + [
        ("grpc.default_authority", authority), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)])


def unary(channel, name, request=b"", **kw):
    return channel.unary_unary("/test.Service/" + name)(request, timeout=kw.pop("timeout", 20 * SLOW), **kw)


def status_of(call):
    with pytest.raises(grpc.RpcError) as e:
        call()
    return e.value.code(), e.value.details()


def test_unary(channel, service):
    for i in range(20):
        assert unary(channel, "Echo", b"hello %d" % i) == b"hello %d" % i
    method, metadata = service.seen[0]
    assert method == "/test.Service/Echo" and metadata["x-forwarded-for"] == "127.0.0.1"


def test_many_at_a_time(channel):
    calls = [channel.unary_unary("/test.Service/Echo").future(b"%d" % i, timeout=20 * SLOW) for i in range(300)]
    assert [c.result() for c in calls] == [b"%d" % i for i in range(300)]


def test_server_streaming(channel):
    got = list(channel.unary_stream("/test.Service/Count")(b"1000", timeout=20 * SLOW))
    assert got == [b"%d" % i for i in range(1000)]


def test_client_streaming(channel):
    sent = (b"x" * i for i in range(500))
    assert channel.stream_unary("/test.Service/Sum")(sent, timeout=20 * SLOW) == b"%d" % sum(range(500))


def test_bidirectional_streaming(channel):
    """Each message is answered before the next is sent: nothing may wait for the end of the request."""
    answers = []
    turn = threading.Semaphore(1)

    def requests():
        for i in range(50):
            assert turn.acquire(timeout=10 * SLOW)
            yield b"msg %d" % i

    for answer in channel.stream_stream("/test.Service/Chat")(requests(), timeout=30 * SLOW):
        answers.append(answer)
        turn.release()
    assert answers == [b"MSG %d" % i for i in range(50)]


def test_status_without_a_message(channel):
    assert status_of(lambda: unary(channel, "Fail")) == (grpc.StatusCode.FAILED_PRECONDITION, "not now: ä")


def test_status_after_messages(channel):
    got = []

    def call():
        for m in channel.unary_stream("/test.Service/FailLate")(b"", timeout=20 * SLOW):
            got.append(m)

    assert status_of(call) == (grpc.StatusCode.DATA_LOSS, "after one")
    assert got == [b"one"]


def test_unknown_method(channel):
    assert status_of(lambda: unary(channel, "Nothing"))[0] == grpc.StatusCode.UNIMPLEMENTED


def test_metadata_both_ways(channel, service):
    call = channel.unary_unary("/test.Service/Meta")
    answer, info = call.with_call(b"", timeout=20 * SLOW, metadata=(("x-mine", "here"), ("x-mine-bin", b"\xff\0")))
    assert answer == b"ok"
    assert ("x-early", "1") in list(info.initial_metadata())
    late = dict(info.trailing_metadata())
    assert late["x-late"] == "2" and late["x-late-bin"] == b"\0\1\2"
    assert service.seen[0][1]["x-mine"] == "here" and service.seen[0][1]["x-mine-bin"] == b"\xff\0"


def test_deadline(channel, service):
    """grpc-timeout reaches the server, and the client's cancellation does, too."""
    assert status_of(lambda: unary(channel, "Sleep", b"5", timeout=0.5))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    assert service.cancelled.wait(5 * SLOW)


def test_cancellation(channel, service):
    call = channel.unary_unary("/test.Service/Sleep").future(b"2", timeout=20 * SLOW)
    assert service.running.wait(5 * SLOW)
    call.cancel()
    assert service.cancelled.wait(5 * SLOW)


@pytest.mark.parametrize("size", [16383, 16384, 65536, 5 * MIB])
def test_big_messages(channel, size):
    message = bytes(i * 31 & 255 for i in range(size))
    assert unary(channel, "Echo", message) == message


def test_big_messages_side_by_side(channel):
    message = b"m" * MIB
    calls = [channel.unary_unary("/test.Service/Echo").future(message, timeout=60 * SLOW) for _ in range(12)]
    assert all(c.result() == message for c in calls)


@pytest.mark.parametrize("host", ["dead.test", "empty.test"])
def test_our_own_failures_are_statuses(door, host):
    """HTTP 200 with grpc-status, as gRPC libraries expect of a proxy."""
    with make_channel(door, host) as c:
        code, details = status_of(lambda: unary(c, "Echo", b"x"))
        assert code == grpc.StatusCode.UNAVAILABLE and details


def test_our_own_timeout_is_a_status(door, service):
    with make_channel(door, "quick.test") as c:
        assert status_of(lambda: unary(c, "Sleep", b"1.5"))[0] == grpc.StatusCode.DEADLINE_EXCEEDED


def test_calls_survive_a_reload(door, service):
    with make_channel(door) as c:
        assert unary(c, "Echo", b"1") == b"1"
        assert door.reload().returncode == 0
        for i in range(20):
            assert unary(c, "Echo", b"%d" % i) == b"%d" % i
