"""Looks for texts in files, byte by byte, in every form in which a program may have written them."""

from __future__ import annotations

import base64
import email
import email.policy
import gzip
import html
import json
import sqlite3
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

SQLITE = b"SQLite format 3\0"
GZIP = b"\x1f\x8b"


def forms(text: str) -> dict[str, bytes]:
    """A text as bytes, by the name of the form; in lower case, as the files are searched."""
    escaped = json.dumps(text)[1:-1]
    found = {
        "UTF-8": text.encode(),
        "UTF-16 LE": text.encode("utf-16-le"),
        "UTF-16 BE": text.encode("utf-16-be"),
        "Latin-1": text.encode("latin-1", errors="replace"),
        "JSON": escaped.encode(),
        "JSON in JSON": json.dumps(escaped)[1:-1].encode(),
        "JSON without \\u": json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        "percent": quote(text, safe="").encode(),
        "form": quote_plus(text).encode(),
        "HTML": html.escape(text).encode(),
        "SQL": text.replace("'", "''").encode(),
        "Python": repr(text)[1:-1].encode(),
        "Python, ASCII": ascii(text)[1:-1].encode(),
        "hex": text.encode().hex().encode(),
    }
    # Base64 shifts with what stands before it; the ends depend on the neighbours and are left out.
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + text.encode())
        found[f"base64, {shift}"] = encoded[4 if shift else 0 : -4]
    return {name: content.lower() for name, content in found.items()}


class CanaryMatch(NamedTuple):
    """A text that was found: its file, its name, and the form in which it was first found."""

    path: str
    name: str
    form: str


def find(folder: Path, texts: Mapping[str, str], *, allowed: Collection[Path] = ()) -> list[CanaryMatch]:
    """Every file in which one of the texts is, or in whose name.

    Args:
        texts: by a name that may be shown.
        allowed: files and folders that are left out.
    """
    wanted = {
        (name, form, content)
        for name, text in texts.items()
        for letters in (text, text.upper(), text.lower())
        for form, content in forms(letters).items()
    }
    found: dict[tuple[str, str], str] = {}
    for path in sorted(folder.rglob("*")):
        if any(path.is_relative_to(one) for one in allowed):
            continue
        views = [path.name.encode()]
        if path.is_file() and not path.is_symlink():
            views += _views(path)
        for view in views:
            lower = view.lower()
            for name, form, content in wanted:
                if content in lower:
                    found.setdefault((str(path.relative_to(folder)), name), form)
    return [CanaryMatch(path, name, form) for (path, name), form in found.items()]


def _views(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what is packed in them."""
    content = path.read_bytes()
    yield content
    if content.startswith(SQLITE):
        yield from _cells(path)
    elif content.startswith(GZIP):
        yield gzip.decompress(content)
    elif path.suffix == ".eml":
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        yield "\n".join(str(value) for value in message.values()).encode()
        yield from (part.get_content().encode() for part in message.walk() if part.get_content_maintype() == "text")


def _cells(path: Path) -> Iterator[bytes]:
    """Every value of a SQLite file by itself: in the file a long one lies in pieces. Dagster compresses some."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608
                for value in row:
                    if isinstance(value, str):
                        yield value.encode()
                    elif isinstance(value, bytes):
                        yield value
                        try:
                            yield zlib.decompress(value)
                        except zlib.error:
                            continue
