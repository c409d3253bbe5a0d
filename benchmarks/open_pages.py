"""Pages that stay open in browsers: each asks for its changing part every few seconds, until it is terminated.

    python benchmarks/open_pages.py PORT COOKIE PATH PAGES FILE

As a browser does, each page says which answer it has seen (the field `seen` of the answer).

Every answer becomes a line of the file: when it came (Unix time), how long it took in seconds, its status.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time
from pathlib import Path
from typing import TextIO

EVERY_SECONDS = 3.0
SEEN = "{seen}"


async def page(port: int, request: str, file: TextIO) -> None:
    """One page: ask, wait for the answer, rest until the next time; keep the connection."""
    await asyncio.sleep(random.uniform(0, EVERY_SECONDS))  # noqa: S311  # nobody opens a hundred pages at once
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seen = ""
    while True:
        started = time.perf_counter()
        writer.write(request.replace(SEEN, seen).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        answer = await reader.readexactly(int(fields.get(b"content-length", 0)))  # 204 has none
        if new := re.search(rb'name="seen" value="([^"]+)"', answer):
            seen = new[1].decode()
        took = time.perf_counter() - started
        file.write(f"{time.time()} {took} {int(head.split()[1])}\n")
        file.flush()
        await asyncio.sleep(max(0.0, EVERY_SECONDS - took))


async def main(port: str, cookie: str, path: str, pages: str, file: str) -> None:
    """Keep the pages open."""
    lines = ("Host: 127.0.0.1", f"Cookie: {cookie}", "HX-Request: true")
    request = "\r\n".join([f"GET {path}?seen={SEEN} HTTP/1.1", *lines, "", ""])
    with Path(file).open("w", encoding="ascii") as answers:
        await asyncio.gather(*(page(int(port), request, answers) for _ in range(int(pages))))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
