"""What a recording asks a server: the requests that the pipeline itself makes, and mistakes that it could make."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from fm_pipeline.errors import FileMakerError
from fm_pipeline.filemaker.connect import FileMakerAccount
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.containers import is_url
from fm_pipeline.filemaker.model import Field, Page
from fm_pipeline.filemaker.odata.client import ODataClient
from fm_pipeline.filemaker.recorder.names import Names
from fm_pipeline.filemaker.recorder.recording import (
    MOST_ROWS,
    RecordedDoor,
    RecordedField,
    RecordedStep,
    RecordedTable,
    Recording,
)
from fm_pipeline.filemaker.recorder.transport import BudgetSpent, RecordingTransport

_NOWHERE = "fm_pipeline_no_such_name"
_NO_VALUE = "fm_pipeline no such value"
_ROWS = 5  # of a page
_DESCRIBED, _READ, _READ_BY_ODATA = 8, 2, 2  # layouts that are described and read, table occurrences that are read
_FIELDS = 12  # of a table occurrence, in one request
_FAR = 1000  # behind the last record

MISTAKES = frozenset(
    (
        "offset past the end",
        "find by a missing field",
        "unknown layout",
        "description of an unknown layout",
        "missing field",
        "unknown table",
        "wrong password",
    )
)
"""Questions that a server should refuse."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Questions:
    """Where to ask, and for what.

    Args:
        layouts, tables: candidates for each entity; the first one that the server has is asked for.
        names: replaces the clinic's names.
        wrong_password: also log in with a wrong password, once. A server may lock the account.
    """

    account: FileMakerAccount
    layouts: Sequence[Sequence[str]]
    tables: Sequence[Sequence[str]]
    names: Names
    ca_bundle: Path | None = None
    timeout: float = 90
    wrong_password: bool = False


def record(questions: Questions) -> Recording:
    """Ask a server, one request at a time, and return what is known of its answers. Nothing is written on it.

    Raises:
        SettingsError: the address is not safe.
    """
    asked = _Asked(questions)
    try:
        _ask_data_api(asked)
        if not asked.account_refused():
            _ask_odata(asked)
        if questions.wrong_password:
            _ask_with_wrong_password(asked)
    finally:
        asked.transport.close()
    return Recording(version=asked.version, names_kept=questions.names.keep_all, tables=asked.tables, steps=asked.steps)


@dataclass
class _Asked:
    """What was asked so far."""

    questions: Questions
    version: str = ""
    steps: list[RecordedStep] = field(default_factory=list)
    tables: list[RecordedTable] = field(default_factory=list)

    def __post_init__(self) -> None:
        asks = self.questions
        # Both clients share it, so that the limit holds for all; it can be used after it was closed.
        self.transport = RecordingTransport(
            asks.account.url, asks.names, ca_bundle=asks.ca_bundle, timeout=asks.timeout
        )

    def data_api(self, password: str | None = None) -> DataApiClient:
        url, database, username, secret = self.questions.account
        return DataApiClient(url, database, username, password or secret.get_secret_value(), transport=self.transport)

    def odata(self) -> ODataClient:
        _, database, username, secret = self.questions.account
        return ODataClient(self.transport, database, username, secret.get_secret_value())

    def step(self, door: RecordedDoor, step: str, table: str, ask: Callable[[], T], *, parsed: bool = True) -> T | None:
        """Ask, and keep what was noted. Returns None if the client could not use the answer."""
        answer, client = None, "ok"
        try:
            answer = ask()
        except BudgetSpent:
            client = "not asked"
        except FileMakerError as error:
            client = type(error).__name__
        noted = self.transport.taken()
        if noted or client != "not asked":
            known = "" if table in ("", _NOWHERE) else self.questions.names.of(_KINDS[door], table)
            self.steps.append(
                RecordedStep(
                    door=door, step=step, table=known, client=client if parsed else "not used", exchanges=noted
                )
            )
        return answer

    def account_refused(self) -> bool:
        """Tell whether the account or its password was refused, so that it must not be tried again."""
        return any(step.client in ("WrongPassword", "AccountUnusable", "AccountLocked") for step in self.steps)

    def describe(self, door: RecordedDoor, table: str, fields: Sequence[Field], rows: int) -> None:
        """Keep what a table has."""
        names = self.questions.names
        described = [
            RecordedField(
                name=names.of("field", each.name),
                kind=each.kind if each.kind in ("normal", "calculation", "summary") else "other",
                result=each.result if each.result in _RESULTS else "other",
                repetitions=max(1, len(each.repetitions)),
            )
            for each in fields
        ]
        self.tables.append(
            RecordedTable(door=door, name=names.of(_KINDS[door], table), rows=min(rows, MOST_ROWS), fields=described)
        )


_KINDS: dict[RecordedDoor, Literal["layout", "table"]] = {"data_api": "layout", "odata": "table"}
_RESULTS = frozenset(("text", "number", "date", "time", "timeStamp", "container"))


def _ask_data_api(asked: _Asked) -> None:
    with asked.data_api() as client:
        info = asked.step("data_api", "product info", "", client.product_info)
        listed = asked.step("data_api", "layouts", "", client.layouts)
        if listed is not None:  # otherwise the account is refused, and each call would try it again
            _ask_layouts(asked, client, _present(listed, asked.questions.layouts))
        asked.step("data_api", "log out", "", client.close)
    version = (info or {}).get("version", "")
    asked.version = version if version.replace(".", "").isdecimal() and len(version) < 24 else ""


def _ask_layouts(asked: _Asked, client: DataApiClient, layouts: Sequence[str]) -> None:
    described: dict[str, list[Field]] = {}
    pages: dict[str, Page] = {}
    for layout in layouts[:_DESCRIBED]:
        described[layout] = asked.step("data_api", "layout", layout, partial(client.layout_fields, layout)) or []
    with_container = [each for each, fields in described.items() if any(one.result == "container" for one in fields)]
    for layout in dict.fromkeys([*layouts[:_READ], *with_container[:1]]):
        page = asked.step("data_api", "first page", layout, partial(client.page, layout, 1, _ROWS))
        pages[layout] = page or Page((), 0)
        asked.step("data_api", "page at an offset", layout, partial(client.page, layout, 2, _ROWS))
    for layout, fields in described.items():
        asked.describe("data_api", layout, fields, pages[layout].found_count if layout in pages else 0)
    for layout in layouts[:1]:
        _ask_mistakes(asked, client, layout, described[layout], pages[layout])
    for layout in with_container[:1]:
        _ask_container(asked, client, layout, described[layout], pages[layout])


def _ask_mistakes(asked: _Asked, client: DataApiClient, layout: str, fields: Sequence[Field], page: Page) -> None:
    def without_date_formats() -> Page:
        known, client.date_format = client.date_format, "us"
        try:
            return client.page(layout, 1, _ROWS)
        finally:
            client.date_format = known

    def ask(step: str, question: Callable[[], object]) -> None:
        asked.step("data_api", step, layout, question)

    ask("page without dateformats", without_date_formats)
    if page.records:
        ask("one record", lambda: client.record(layout, page.records[0].record_id))
    ask("offset past the end", lambda: client.page(layout, page.found_count + _FAR, 1))
    text = next((each.name for each in fields if each.result == "text" and "::" not in each.name), None)
    if text is not None:
        ask("find without a match", lambda: client.find(layout, [{text: f"=={_NO_VALUE}"}]))
    ask("find by a missing field", lambda: client.find(layout, [{_NOWHERE: "1"}]))
    asked.step("data_api", "unknown layout", _NOWHERE, lambda: client.page(_NOWHERE, 1, 1))
    asked.step("data_api", "description of an unknown layout", _NOWHERE, lambda: client.layout_fields(_NOWHERE))


def _ask_container(asked: _Asked, client: DataApiClient, layout: str, fields: Sequence[Field], page: Page) -> None:
    containers = {each.name for each in fields if each.result == "container"}
    values = (item for one in page.records for item in one.fields.items())
    urls = (str(value) for name, value in values if name.partition("(")[0] in containers and is_url(value))
    url = next(urls, None)
    if url is not None:
        action = f"send a container on the layout {layout}"
        asked.step(
            "data_api",
            "container",
            layout,
            lambda: client.fetch(url, action, cookie="", limit=None, longest=asked.questions.timeout),
        )


def _ask_odata(asked: _Asked) -> None:
    client = asked.odata()
    listed = asked.step("odata", "tables", "", client.tables)
    if listed is None:  # no OData, or the account may not use it
        return
    metadata = asked.step("odata", "$metadata", "", client.metadata)
    tables = [each for each in _present(listed, asked.questions.tables) if metadata and each in metadata.tables]
    for position, table in enumerate(tables[:_READ_BY_ODATA]):
        fields = metadata.tables[table].fields if metadata else ()
        last = _ask_rows(asked, client, table, fields)
        found = 0
        if position == 0:
            found = asked.step("odata", "count in an answer", table, partial(client.count, table)) or 0
            _ask_details(asked, client, table, fields, last)
        asked.describe("odata", table, fields, found or (MOST_ROWS if last else 0))


def _ask_rows(asked: _Asked, client: ODataClient, table: str, fields: Sequence[Field]) -> int:
    """Return the record id of the last row of a page; 0 if there is none."""
    plain = [each for each in fields if each.result != "container"]
    # Those with the kept names first, because a reader of the recording knows what they are.
    chosen = sorted(plain, key=lambda each: asked.questions.names.of("field", each.name) != each.name)[:_FIELDS]
    rows = asked.step("odata", "rows", table, lambda: client.rows(table, chosen, 0, _ROWS))
    last = rows.records[-1].record_id if rows and rows.records else 0
    asked.step("odata", "rows after a record id", table, lambda: client.rows(table, chosen, last, _ROWS))
    return last


def _ask_details(asked: _Asked, client: ODataClient, table: str, fields: Sequence[Field], last: int) -> None:
    few = f"$filter=ROWID%20le%20{last:d}"  # what is ignored then does no harm

    def ask(step: str, rest: str) -> None:
        asked.step("odata", step, table, lambda: client.answer(table, rest, step), parsed=False)

    ask("/$count", f"/$count?{few}")
    ask("%24top in place of $top", f"?$select=ROWID&{few}&%24top=1")
    repeating = next((each.name for each in fields if len(each.repetitions) > 1 and each.result != "container"), None)
    if repeating is not None:
        asked.step("odata", "repetitions", table, lambda: client.field_value(table, last, repeating))
    missing = Field(_NOWHERE, "normal", "text")
    asked.step("odata", "missing field", table, lambda: client.rows(table, [missing], 0, 1))
    asked.step("odata", "unknown table", _NOWHERE, lambda: client.rows(_NOWHERE, [], 0, 1))


def _ask_with_wrong_password(asked: _Asked) -> None:
    with asked.data_api(secrets.token_urlsafe(12)) as client:
        asked.step("data_api", "wrong password", "", client.layouts)


def _present(listed: Sequence[str], wanted: Sequence[Sequence[str]]) -> list[str]:
    """Return for each entity the first name that the server has; of a server that has none, its first table."""
    by_folded = {name.casefold(): name for name in reversed(listed)}
    folded = ([name.casefold() for name in names] for names in wanted)
    found = [next((by_folded[name] for name in names if name in by_folded), "") for names in folded]
    return list(dict.fromkeys(name for name in found if name)) or list(listed[:1])
