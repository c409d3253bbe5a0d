"""A client that reads a FileMaker file over OData. It can send GET alone.

Source: Claris, OData API Guide.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from fm_pipeline.errors import FileMakerError
from fm_pipeline.filemaker.errors import DatabaseNotOpen, FieldMissing, RecordMissing, ServerTimeout, ServerUnavailable
from fm_pipeline.filemaker.model import Field, FileMakerRecord, Value
from fm_pipeline.filemaker.odata.answers import count_in, error_in, next_link, read_file, read_json, require_success
from fm_pipeline.filemaker.odata.errors import ErrorInRow, NotOData, ODataOff, OptionIgnored, TableNotReadable
from fm_pipeline.filemaker.odata.metadata import Metadata, parse_metadata
from fm_pipeline.filemaker.odata.urls import (
    ROW_ID,
    ROW_MOD_ID,
    is_within,
    quoted,
    rows_after,
    selection,
    table_forms,
)
from fm_pipeline.filemaker.transport import ATTEMPTS, Call, FetchedResponse, Transport, basic
from fm_pipeline.filemaker.values import odata_reader

SERVICE = "fmi/odata/v4"
COUNT_TIMEOUT = 900.0  # seconds; a count over 1.2 million rows took minutes, and the server goes on with a lost one
# Numbers as text keep all their digits, and the zero in front of the point that FileMaker forgets in JSON.
_JSON = {"Accept": "application/json;IEEE754Compatible=true"}
_METADATA = {"Accept": "application/xml"}
_FILE = {"Accept": "*/*"}  # with another type, FileMaker may send the file's name in place of the file

T = TypeVar("T")


class Rows(NamedTuple):
    """Rows of a table occurrence in the order of their record ids, and whether the server says that there are more."""

    records: tuple[FileMakerRecord, ...]
    more: bool


class ODataClient:
    """A FileMaker file over OData. Use it in a `with` block, so that the connection is closed.

    Args:
        transport: to the server; closed with the client.
        database: the file's name without `.fmp12`.
        username, password: an account with the extended privilege `fmodata`.
        count_timeout: seconds to wait for a count.

    Raises:
        FileMakerError: from every method but `close`; its leaves say what to do.
    """

    def __init__(
        self,
        transport: Transport,
        database: str,
        username: str,
        password: str,
        *,
        count_timeout: float = COUNT_TIMEOUT,
    ) -> None:
        self._transport = transport
        self._account = basic(username, password)
        self._database = database
        self._count_timeout = count_timeout
        self._forms: dict[str, str] = {}  # of table occurrences, as the server took them
        self._lock = threading.RLock()
        self.source = f"{transport.base}/{SERVICE}/{database}"

    def close(self) -> None:
        """Close the connection. There is no session."""
        self._transport.close()

    def tables(self) -> list[str]:
        """Return the names of all table occurrences that are listed; not all can be read."""
        action = "list its table occurrences"
        body = self._get("", action, partial(read_json, action=action))
        try:
            return [str(one["name"]) for one in body["value"] if one.get("kind", "EntitySet") == "EntitySet"]
        except (AttributeError, KeyError, TypeError):
            raise NotOData(f"The answer is not OData's when asked to {action}.") from None

    def metadata(self) -> Metadata:
        """Return the description of the file."""
        action = "describe the file"

        def read(response: FetchedResponse) -> Metadata:
            require_success(response, action)
            try:
                return parse_metadata(response.body)
            except ValueError:
                raise NotOData(f"The answer is no description of a file when asked to {action}.") from None

        return self._get("/$metadata", action, read, headers=_METADATA)

    def rows(self, table: str, fields: Sequence[Field], last: int, limit: int) -> Rows:
        """Return rows whose record id is greater than `last`, in its order; of repeating fields the first repetition.

        Args:
            limit: how many at most.

        Raises:
            OptionIgnored: the rows are not those that were asked for.
            UnreadableAnswer: the rows are no valid JSON; ask for fewer, and find the record.
            ServerTimeout, AnswerTooLarge: ask for fewer.
        """
        action = f"read the table occurrence {table}"
        query = f"{selection(field.name for field in fields)}&{rows_after(last, limit)}"
        body = self._of_table(table, f"?{query}", action)
        return Rows(_records(body, fields, last, limit, action), self._goes_on(body, action))

    def count(self, table: str) -> int:
        """Return the number of all rows. Waits long and does not ask twice: the server goes on with the first."""
        action = f"count the rows of the table occurrence {table}"
        body = self._of_table(table, f"?$select={ROW_ID}&$top=1&$count=true", action, timeout=self._count_timeout)
        count = count_in(body)
        if count is None:
            raise OptionIgnored(f"The answer has no count when FileMaker was asked to {action}.")
        return count

    def field_value(self, table: str, record_id: int, field: str) -> Any:
        """Return the value of one field: a list where the field repeats and the server shows all repetitions.

        Raises:
            RecordMissing: the record is gone.
        """
        action = f"read the field {field} of the record {record_id} in {table}"
        body = self._of_table(table, f"({ROW_ID}={record_id:d})/{quoted(field)}", action)
        if "value" not in body:
            raise NotOData(f"The answer is not OData's when asked to {action}.")
        return body["value"]

    def file(self, table: str, record_id: int, field: str) -> bytes:
        """Return the file of a container, of the first repetition. Its type must be determined from its bytes.

        Raises:
            ContainerRefused: it is empty, or the record is gone.
            ContainerNotAFile: in its place came text, as the file's name from some servers, or a page.
            ContainerTooLarge: it is larger than anything that is expected.
        """
        action = f"send the file of the field {field} of the record {record_id} in {table}"
        path = f"({ROW_ID}={record_id:d})/{quoted(field)}/$value"

        def get(form: str) -> bytes:
            return self._get(f"/{form}{path}", action, partial(read_file, action=action), headers=_FILE, attempts=1)

        return self._try_forms(table, get)

    def _of_table(self, table: str, rest: str, action: str, *, timeout: float | None = None) -> dict[str, Any]:
        def get(form: str) -> dict[str, Any]:
            if timeout is None:
                return self._get(f"/{form}{rest}", action, partial(read_json, action=action))
            return self._get(f"/{form}{rest}", action, partial(_read_count, action=action), timeout=timeout)

        return self._try_forms(table, get)

    def _try_forms(self, table: str, get: Callable[[str], T]) -> T:
        """Ask by the form of the name that the server takes; the others follow on 404."""
        known = self._forms.get(table)
        forms = [known] if known else table_forms(table)
        for form in forms:
            try:
                result = get(form)
            except (TableNotReadable, ODataOff):
                if form == forms[-1]:
                    raise TableNotReadable(f"OData does not find the table occurrence {table}.") from None
            except RecordMissing:
                self._forms[table] = form
                raise
            else:
                self._forms[table] = form
                return result
        raise AssertionError("a table has a form")

    def _get(
        self,
        path: str,
        action: str,
        read: Callable[[FetchedResponse], T],
        *,
        headers: Mapping[str, str] = _JSON,
        timeout: float | None = None,
        attempts: int = ATTEMPTS,
    ) -> T:
        """Send one GET below the file; with the suffix where the server needs it (a file whose name has a dot)."""

        def send() -> T:
            call = Call("GET", f"{SERVICE}/{quote(self._database, safe='')}{path}", action)
            return self._transport.send(
                call, read, headers={**headers, **self._account}, attempts=attempts, timeout=timeout
            )

        with self._lock:
            try:
                return send()
            except DatabaseNotOpen:
                if self._database.lower().endswith(".fmp12"):
                    raise
                self._database += ".fmp12"
                try:
                    return send()
                except DatabaseNotOpen:
                    self._database = self._database.removesuffix(".fmp12")
                    raise

    def _goes_on(self, body: Mapping[str, Any], action: str) -> bool:
        """Tell whether there is a next link. It is not followed: it may stand for a position, which moves."""
        link = next_link(body)
        if link is None:
            return False
        service = f"{self._transport.base}/{SERVICE}"
        if not is_within(link, f"{service}/{quote(self._database, safe='')}/", service):
            raise NotOData(f"The link to the next rows leads elsewhere when FileMaker was asked to {action}.")
        return True


def _read_count(response: FetchedResponse, action: str) -> dict[str, Any]:
    try:
        return read_json(response, action)
    except ServerUnavailable:
        if response.status == 504:  # a proxy's time-out: the server is still counting
            raise ServerTimeout(f"FileMaker Server did not answer in time when asked to {action}.") from None
        raise


def _records(
    body: Mapping[str, Any], fields: Sequence[Field], last: int, limit: int, action: str
) -> tuple[FileMakerRecord, ...]:
    """Return the rows, after the check that they are those that were asked for."""
    rows = body.get("value")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NotOData(f"The answer has no rows when asked to {action}.")
    if len(rows) > limit:
        raise OptionIgnored(f"FileMaker sent {len(rows)} rows in place of {limit} when asked to {action}.")
    readers = [(field.name, odata_reader(field.result)) for field in fields]
    holds_error = "error" not in {field.name for field in fields}  # if a row has it
    records = []
    for row in rows:
        if holds_error and "error" in row:
            raise _error_of_row(row, readers, action)
        record = _record(row, readers, action)
        if record.record_id <= last:
            raise OptionIgnored(f"The record {record.record_id} came out of its order when asked to {action}.")
        last = record.record_id
        records.append(record)
    return tuple(records)


def _record(
    row: dict[str, Any], readers: Sequence[tuple[str, Callable[[object], Value]]], action: str
) -> FileMakerRecord:
    try:
        record_id, mod_id = int(row[ROW_ID]), int(row[ROW_MOD_ID])
        return FileMakerRecord(record_id, mod_id, {name: read(row[name]) for name, read in readers})
    except (KeyError, TypeError, ValueError):
        raise _error_of_row(row, readers, action) from None


def _error_of_row(
    row: Mapping[str, Any], readers: Sequence[tuple[str, Callable[[object], Value]]], action: str
) -> FileMakerError:
    """Return the error of a row that has not all that was asked for."""
    if "error" in row and "error" not in dict(readers):
        error = error_in(row["error"], action)
        code = "an error" if error is None or error.code is None else f"code {error.code}"
        return ErrorInRow(f"FileMaker sent {code} in place of a row when asked to {action}.")
    if not all(re.fullmatch(r"\d{1,18}", str(row.get(name))) for name in (ROW_ID, ROW_MOD_ID)):
        return OptionIgnored(f"A row came without its record id when FileMaker was asked to {action}.")
    for name, _ in readers:
        if name not in row:
            return FieldMissing(f"A row came without the field {name} when FileMaker was asked to {action}.")
    return NotOData(f"A field of the record {row[ROW_ID]} holds no single value when asked to {action}.")
