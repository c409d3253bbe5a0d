"""Doors of OData into the stand-in, and a proxy between them that changes URLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from fm_pipeline.filemaker.door import Reading
from fm_pipeline.filemaker.model import FileMakerRecord
from fm_pipeline.filemaker.odata.door import ODataDoor


def ids_of(records: Iterator[FileMakerRecord]) -> list[int]:
    """The record ids, in their order."""
    return [record.record_id for record in records]


def read_ids(opened: ODataDoor, table: str, page_size: int, fields: Sequence[str] = ("id",)) -> list[int]:
    """Read a table and return the record ids."""
    chosen = [field for field in opened.fields(table) if field.name in fields]
    return opened.read(Reading(table, chosen, page_size), ids_of)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[PreparedRequest]:
    """Every request that clients of this test send, but not those that control the stand-in."""
    requests: list[PreparedRequest] = []
    send = HTTPAdapter.send

    def note(adapter: HTTPAdapter, request: PreparedRequest, **options: object) -> Response:
        if "/_sandbox/" not in str(request.url):
            requests.append(request)
        return send(adapter, request, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(HTTPAdapter, "send", note)
    return requests


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A proxy that replaces a part of each URL, for what it is called with."""
    send = HTTPAdapter.send

    def replace(old: str, new: str) -> None:
        def through(adapter: HTTPAdapter, request: PreparedRequest, **options: object) -> Response:
            request.url = str(request.url).replace(old, new)
            return send(adapter, request, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(HTTPAdapter, "send", through)

    return replace
