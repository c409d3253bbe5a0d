"""A link to a server far away: a proxy that delays every byte, in both directions, and lets all of them through.

    python benchmarks/into_orthanc/far_away.py HOST:PORT MILLISECONDS

prints its own port. A connection is accepted at once: a real link needs a round trip more for each new one.
"""

from __future__ import annotations

import asyncio
import sys

_BLOCK = 256 << 10


async def _delayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Copy what comes, each block as long after it came as the link is long."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def write() -> None:
        while True:
            at, block = await queue.get()
            await asyncio.sleep(at - loop.time())
            if not block:
                return
            writer.write(block)
            await writer.drain()

    writing = asyncio.create_task(write())
    try:
        while block := await reader.read(_BLOCK):
            queue.put_nowait((loop.time() + seconds, block))
        queue.put_nowait((loop.time() + seconds, b""))
        await writing
    except ConnectionError:
        writing.cancel()
    finally:
        writer.close()


async def serve(host: str, port: int, seconds: float) -> None:
    """Serve until this program is ended."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(_delayed(reader, there_writer, seconds), _delayed(there_reader, writer, seconds))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=_BLOCK)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    address, milliseconds = sys.argv[1:]
    name, _, number = address.partition(":")
    asyncio.run(serve(name, int(number), float(milliseconds) / 1000))
