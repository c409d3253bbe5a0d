"""Random answers of a server: valid, wrong, truncated, endless, slow; each kind often enough to occur."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

STATUSES = st.one_of(
    st.sampled_from([200, 200, 200, 201, 204, 206, 301, 302, 307, 400, 401, 403, 404, 405, 408, 409, 411, 413, 429]),
    st.sampled_from([500, 500, 502, 503, 504, 507, 520, 100, 103, 304, 416, 451, 511]),
    st.integers(0, 1_000),
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "0", "1e999", "-1", "²", "9" * 40, "/etc", "http://[", "\r\n", "\0", "ü"]),
)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


@dataclass(frozen=True)
class Said:
    """What a server sends for one request, and how.

    Attributes:
        data: all of it.
        pieces: it is sent in so many.
        pause_seconds: before each piece but the first.
        hangs: it keeps the connection open afterwards, without a word.
    """

    data: bytes
    pieces: int = 1
    pause_seconds: float = 0
    hangs: bool = False


def changed(value: Any) -> st.SearchStrategy[Any]:
    """Return the same JSON with at most one value replaced, removed or nested."""
    replaced = _JSON | st.just([value])
    if isinstance(value, dict) and value:
        one_key = st.sampled_from(sorted(value)).flatmap(
            lambda key: st.one_of(
                changed(value[key]).map(lambda new: {**value, key: new}),
                st.just({other: kept for other, kept in value.items() if other != key}),
            )
        )
        return st.one_of(st.just(value), one_key, replaced)
    if isinstance(value, list) and value:
        return st.one_of(st.just(value), changed(value[0]).map(lambda new: [new, *value[1:]]), replaced)
    return st.one_of(st.just(value), replaced)


def bodies(known: list[Any]) -> st.SearchStrategy[bytes]:
    """Contents: those of the protocol and what is like them, pages, other formats, and nothing.

    Args:
        known: JSON, or bytes for other formats.
    """
    alike = st.sampled_from(known).flatmap(lambda each: st.just(each) if isinstance(each, bytes) else changed(each))
    return st.one_of(
        alike.map(_as_bytes),
        alike.map(_as_bytes),
        st.binary(max_size=40),
        st.just(b""),
        st.just(b"<!DOCTYPE html><html><body>Bad gateway</body></html>"),
        st.just(b"[" * 5_000),  # more than Python's json can read
        st.just(b'{"a":' * 5_000),
        st.just(b"<a>" * 500),
        st.just(b"0" * 200_000),
    )


def _as_bytes(content: Any) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content).encode("utf-8", "surrogatepass")


@st.composite
def http_answers(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> Said:
    """Return an answer over HTTP, mostly one that can be parsed."""
    body = draw(contents)
    extra = draw(
        st.lists(
            st.sampled_from(
                [
                    b"Location: https://elsewhere.example/",
                    b"Location: http://[",
                    b"Set-Cookie: X-FMS-Session-Key=1; Path=/",
                    b"Set-Cookie: \xff",
                    b"Retry-After: soon",
                    b"Keep-Alive: timeout=0, max=0",
                    b"Keep-Alive: timeout=\xb2",
                    b"X-FM-Data-Access-Token: \xfc",
                    b"ETag: none",
                    b"Content-Type: text/html; charset=none",
                    b"Content-Type: application/json",
                    b"Content-Type: multipart/form-data",
                    b"Content-Range: bytes 1-0/x",
                    b"x-amz-bucket-region: nowhere",
                    b"no header at all",
                    b"A: " + b"b" * 70_000,
                ]
            ),
            max_size=3,
        )
    )
    form = draw(st.sampled_from(["length", "length", "length", "close", "chunked", "cut", "gzip", "wrong", "two"]))
    if form == "gzip":
        body = gzip.compress(body) if draw(st.booleans()) else body
        extra.append(b"Content-Encoding: " + draw(st.sampled_from([b"gzip", b"deflate", b"br"])))
    if form in {"length", "gzip"}:
        extra.append(b"Content-Length: %d" % len(body))
    elif form == "wrong":
        extra.append(b"Content-Length: " + draw(st.sampled_from([b"-1", b"1_0", b"many", b"\xb2", b"0", b"9" * 30])))
    elif form == "two":
        extra += [b"Content-Length: 0", b"Content-Length: %d" % len(body)]
    elif form == "cut":
        extra.append(b"Content-Length: %d" % (len(body) + draw(st.integers(1, 1_000))))
    elif form == "chunked":
        extra.append(b"Transfer-Encoding: chunked")
        size = draw(st.sampled_from([b"%x" % len(body), b"-1", b"zz", b"ffffffffff", b""]))
        body = size + b"\r\n" + body + draw(st.sampled_from([b"\r\n0\r\n\r\n", b"", b"\r\n"]))
    version = draw(st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2", b"ICY", b""]))
    whole = b"%s %d Said\r\n" % (version, draw(STATUSES)) + b"\r\n".join([*extra, b"", b""]) + body
    if draw(st.integers(0, 9)) == 0:
        whole = whole[: draw(st.integers(0, 60))]
    return _in_time(draw, whole)


def _in_time(draw: st.DrawFn, whole: bytes) -> Said:
    pieces, pause = draw(st.sampled_from([(1, 0.0)] * 6 + [(3, 0.01), (40, 0.05)]))
    return Said(whole, pieces, pause, hangs=draw(st.integers(0, 9)) == 0)


@st.composite
def smtp_lines(draw: st.DrawFn) -> Said:
    """Return a mail server's reply to one command."""
    line = draw(
        st.one_of(
            st.sampled_from([220, 235, 250, 250, 250, 334, 354, 354, 421, 450, 451, 500, 535, 550, 554, 221, 999]).map(
                lambda code: b"%d said\r\n" % code
            ),
            st.sampled_from(
                [
                    b"",
                    b"250",
                    b"250-more\r\n",
                    b"250-more\r\n250 SIZE many\r\n",
                    b"\xff\xfe\r\n",
                    b"250-" + b"x" * 9_000,
                ]
            ),
            st.sampled_from([b"250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n", b"+OK\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"]),
        )
    )
    return _in_time(draw, line)
