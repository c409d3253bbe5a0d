"""HTTP responses with a deadline and decompression: `http.client` alone restarts its time-out with every byte."""

from __future__ import annotations

import io
import socket
import time
import zlib
from collections.abc import Iterable, Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any, Literal, cast

SLOWEST_BYTES_PER_SECOND = 2_000_000  # a large file may take that long: 2 GB 17 minutes; Orthanc 1.10.1 took 30 s
_BLOCK = 1 << 20
_EITHER = 32 + zlib.MAX_WBITS  # gzip, or zlib's own form
_MEMBER = b"\x1f\x8b"  # a member of gzip begins with it


class TimedResponse(HTTPResponse):
    """A response whose reads raise TimeoutError at a deadline.

    Args:
        until: the deadline, in seconds of `time.monotonic`.
        idle: time-out of one read in seconds; None for all the time that is left.
    """

    def __init__(self, sock: socket.socket, *given: Any, until: float, idle: float | None = None, **more: Any) -> None:
        self._timed = _Timed(sock, until, idle)
        super().__init__(cast("socket.socket", self._timed), *given, **more)

    def extend_deadline(self, seconds: float) -> None:
        """Extend the deadline."""
        self._timed.until += seconds


class _Timed:
    """The part of a socket that HTTPResponse uses."""

    def __init__(self, sock: socket.socket, until: float, idle: float | None) -> None:
        self._socket, self.until, self.idle = sock, until, idle

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        return io.BufferedReader(_TimedReads(self._socket.makefile(mode, buffering=0), self._socket, self))


class _TimedReads(io.RawIOBase):
    def __init__(self, raw: socket.SocketIO, sock: socket.socket, timed: _Timed) -> None:
        self._raw, self._socket, self._timed = raw, sock, timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._timed.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left if self._timed.idle is None else min(left, self._timed.idle))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def decoded(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the content in blocks, decompressed. A proxy may compress a response without being asked.

    Raises:
        OSError, HTTPException: the content is incomplete.
        LookupError: the encoding is neither gzip nor deflate, or the content does not have it.
    """
    packed = (response.getheader("Content-Encoding") or "identity").strip().lower()
    if packed not in {"identity", "gzip", "x-gzip", "deflate", ""}:
        raise LookupError(packed)
    blocks = _blocks(response)
    return blocks if packed in {"identity", ""} else _unpacked_or_refused(blocks)


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    while block := response.read(_BLOCK):
        yield block
    if response.length:  # reads of a given size do not report missing content
        raise HTTPException


def _unpacked_or_refused(blocks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from unpacked(blocks)
    except zlib.error:
        raise LookupError from None
    except EOFError:
        raise HTTPException from None


def unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of gzip or zlib, in blocks of limited size.

    Content of gzip may have several members (RFC 1952, 2.2). Anything else that follows the end is ignored.

    Raises:
        zlib.error: it is neither.
        EOFError: it ends too early.
    """
    inflater = None
    for block in blocks:
        rest = block
        while rest:
            if inflater is None or (inflater.eof and _MEMBER.startswith(rest[: len(_MEMBER)])):
                inflater = zlib.decompressobj(_EITHER)
            elif inflater.eof:
                break
            yield inflater.decompress(rest, _BLOCK)
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if inflater is not None and not inflater.eof:
        raise EOFError
