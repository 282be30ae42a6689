"""A plain HTTP/1.1 server as a program of its own, so that it shares no core time with whoever measures: reads each request whole,
answers /big with 1 MiB and everything else with "ok". Prints its port."""

import asyncio

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


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await take_body(reader, head)
            body = BIG if head.startswith(b"GET /big ") else b"ok"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + (b"" if head.startswith(b"HEAD ") else body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
