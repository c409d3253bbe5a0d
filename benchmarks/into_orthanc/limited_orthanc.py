"""A proxy in front of Orthanc that lets only so many instances a second through, whoever sends them.

Each answer to an upload waits for its turn. Of a ZIP archive every instance counts, so a batch is not faster.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_BLOCK = 1 << 16


class LimitedOrthanc:
    """A running proxy.

    Attributes:
        rate: instances a second; None for no limit.
        stored: instances that were uploaded so far.
        first, last: when the first and the last one were (`time.monotonic`).
    """

    def __init__(self, orthanc_url: str) -> None:
        target = urlsplit(orthanc_url)
        self.host, self.port = target.hostname, target.port
        self.rate: float | None = None
        self.url = ""
        self._turn = 0.0
        self.reset()

    def reset(self) -> None:
        """Count anew."""
        self.stored, self.first, self.last = 0, 0.0, 0.0

    async def serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        """Carry one connection, request by request."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                while True:
                    head = await client.readuntil(b"\r\n\r\n")
                    is_upload = head.startswith(b"POST /instances ")
                    if b"expect: 100-continue" in head.lower():
                        answers.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                        head = head.replace(b"Expect: 100-continue\r\n", b"")
                    writer.write(head)
                    await _copy_body(head, client, writer)
                    answer = await reader.readuntil(b"\r\n\r\n")
                    body = await _body(answer, reader)
                    if is_upload and answer.startswith(b"HTTP/1.1 200"):
                        await self._wait_for_turn(body)
                    answers.write(answer + body)
                    await answers.drain()
            finally:
                writer.close()
        answers.close()

    async def _wait_for_turn(self, body: bytes) -> None:
        answered = json.loads(body)
        count = len(answered) if isinstance(answered, list) else 1
        now = time.monotonic()
        if self.rate:
            self._turn = max(self._turn, now) + count / self.rate
            await asyncio.sleep(self._turn - now)
        self.last = time.monotonic()
        self.first = self.first or self.last
        self.stored += count


async def _copy_body(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    length = _length(head)
    if length is None and b"transfer-encoding: chunked" in head.lower():
        while True:
            size = await reader.readline()
            writer.write(size + await reader.readexactly(int(size, 16) + 2))
            if int(size, 16) == 0:
                break
    left = length or 0
    while left:
        block = await reader.read(min(left, _BLOCK))
        if not block:
            raise ConnectionError
        writer.write(block)
        await writer.drain()
        left -= len(block)
    await writer.drain()


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    length = _length(head)
    if length is not None:
        return await reader.readexactly(length)
    body = b""
    while b"transfer-encoding: chunked" in head.lower():
        size = await reader.readline()
        body += size + await reader.readexactly(int(size, 16) + 2)
        if int(size, 16) == 0:
            break
    return body


def _length(head: bytes) -> int | None:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return None


@contextmanager
def limited_orthanc(orthanc_url: str) -> Iterator[LimitedOrthanc]:
    """Run the proxy in a thread."""
    limited = LimitedOrthanc(orthanc_url)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(limited.serve, "127.0.0.1", 0, limit=1 << 20))
    limited.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield limited
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
