"""Downloads that are read while they are sent, so that no file and no table is held in memory.

Django collects an ordinary iterator into a list before an ASGI server gets it; an asynchronous one is passed on.
https://docs.djangoproject.com/en/5.2/ref/request-response/#streaminghttpresponse-objects
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from threading import Lock
from typing import IO

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

BLOCK = 1 << 17
ROWS_A_BLOCK = 1000
# A spreadsheet reads a cell that begins so as a formula, or strips the character and then does.
# https://owasp.org/www-community/attacks/CSV_Injection
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain_cell(value: object) -> str:
    """Return a value as a cell that no spreadsheet takes for a formula: an apostrophe goes before what looks like one.

    Numbers stay as they are; None is an empty cell.
    """
    text = "" if value is None else str(value)
    if text.lstrip(" ").startswith(FORMULA) and not isinstance(value, (int, float)):
        return f"'{text}"
    return text


def csv_download(name: str, head: Iterable[str], rows: Iterator[tuple[object, ...]]) -> StreamingHttpResponse:
    """Return a CSV file in UTF-8.

    Args:
        name: of the file.
        rows: a generator; it is closed when the last row was sent, or the browser has gone.
    """

    def blocks() -> Iterator[bytes]:
        with closing(rows):  # type: ignore[type-var]  # a generator
            yield _lines([tuple(head)])
            while block := list(islice(rows, ROWS_A_BLOCK)):
                yield _lines(block)

    return _download(name, "text/csv; charset=utf-8", blocks())


def file_download(name: str, file: IO[bytes]) -> StreamingHttpResponse:
    """Return an open file; it is closed at the end."""

    def blocks() -> Iterator[bytes]:
        with file:
            while block := file.read(BLOCK):
                yield block

    response = _download(name, "application/octet-stream", blocks())
    response._resource_closers.append(file.close)  # type: ignore[attr-defined]  # also of an answer that nobody read
    return response


def _lines(rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([plain_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _download(name: str, content_type: str, blocks: Iterator[bytes]) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_asynchronous(blocks), content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name) or "attachment"
    return response


async def _asynchronous(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    reading = Lock()  # when the browser goes, a thread may still be reading the next block

    def step() -> bytes:
        with reading:
            return next(blocks, b"")

    def close() -> None:
        with reading:
            blocks.close()  # type: ignore[attr-defined]  # a generator

    try:
        while block := await sync_to_async(step, thread_sensitive=False)():
            yield block
    finally:
        await sync_to_async(close, thread_sensitive=False)()
