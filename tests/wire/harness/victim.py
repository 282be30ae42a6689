"""A plain HTTP/1.1 server as a program of its own, so that it shares no core time with whoever measures: reads each request whole,
answers /big with 1 MiB, /bad with what no server should say, and everything else with "ok". Beside it one that speaks FastCGI, badly.
Prints both ports."""

import asyncio
import random
import struct

BIG = b"b" * (1 << 20)


async def take_body(reader, head):
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        while True:
            n = int(await reader.readline(), 16)
            await reader.readexactly(n + 2)
            if n == 0:
                return
    if b"\r\ncontent-length: " in lower:
        left = int(lower.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
        while left:
            left -= len(await reader.readexactly(min(left, 65536)))


def bad_answer():
    """Rows H28 and H29: heads that are none, that never end, interim answers without end, bodies that are not as they were promised."""
    ok = b"HTTP/1.1 200 OK\r\n"
    return random.choice([
        ok + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", ok + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
        ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", ok + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;e=%s\r\nx\r\n" % (b"e" * 500) * 100,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 500, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 500, ok + b"X: y\r\n" * 5000,
        ok + b"X: " + b"v" * 300000, b"\0" * 5000, b"HTTP/1.1 99999 Very\r\n\r\n", ok + b"X y: z\r\n\r\n", ok + b"Content-Length: 100000\r\n\r\nshort",
        ok + b"Content-Length: 2\r\n\r\nok" + ok * 20, b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", b"", ok + b"Content-Length: 18446744073709551617\r\n\r\n"])


def record(kind, payload, request=1, padding=0):
    return struct.pack(">BBHHBx", 1, kind, request, len(payload), padding) + payload + b"p" * padding


def bad_records():
    """Rows F: records of nobody's request, of any kind, cut, without end; heads that are none."""
    out = lambda data: record(6, data)  # noqa: E731
    return random.choice([
        out(b"Status: 200\r\n\r\nhello"), record(6, b"Status: 200\r\n\r\n", request=7), record(11, b"") * 200, record(200, b"x" * 200) * 100,
        record(7, b"noise\n" * 1000) * 20, out(b"X: " + b"v" * 60000) * 3, out(b"Status: 99999\r\n\r\n") + record(3, b"\0" * 8), out(b"") * 500,
        b"\0" * 5000, record(3, b"\0\0\0\0\3\0\0\0"), out(b"Content-Length: 10\r\n\r\nmore than that") + record(3, b"\0" * 8), record(3, b"")[:5], b"",
        out(b"Status: 200\r\nX y: z\r\n\r\n") + record(3, b"\0" * 8), record(6, b"\r\n" * 100, padding=255) * 50])


async def serve_fcgi(reader, writer):
    try:
        while True:
            kind, length, padding = struct.unpack(">xBxxHBx", await reader.readexactly(8))
            await reader.readexactly(length + padding)
            if kind == 5 and not length:  # the end of the request's body
                writer.write(bad_records())
                await writer.drain()
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await take_body(reader, head)
            if head.startswith(b"GET /bad "):
                writer.write(bad_answer())
                await writer.drain()
                return
            body = BIG if head.startswith(b"GET /big ") else b"ok"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + (b"" if head.startswith(b"HEAD ") else body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
    fcgi = await asyncio.start_server(serve_fcgi, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], fcgi.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
