"""A client that reads a FileMaker file over OData. It can send GET alone.

Source: Claris, OData API Guide.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from fm_pipeline.filemaker.errors import (
    ChangedWhileReading,
    DatabaseNotOpen,
    RecordMissing,
    ServerTimeout,
    ServerUnavailable,
)
from fm_pipeline.filemaker.model import Field
from fm_pipeline.filemaker.odata.answers import count_in, next_link, read_file, read_json, require_success
from fm_pipeline.filemaker.odata.errors import CountTimeout, NotOData, ODataOff, OptionIgnored, TableNotReadable
from fm_pipeline.filemaker.odata.metadata import Metadata, parse_metadata
from fm_pipeline.filemaker.odata.rows import Rows, joined, records_in
from fm_pipeline.filemaker.odata.urls import (
    LONGEST_URL,
    ROW_ID,
    in_parts,
    is_within,
    quoted,
    rows_after,
    selection,
    table_forms,
)
from fm_pipeline.filemaker.transport import ATTEMPTS, Call, FetchedResponse, Transport, basic

SERVICE = "fmi/odata/v4"
COUNT_TIMEOUT = 900.0  # seconds; a count over 1.2 million rows took minutes, and the server goes on with a lost one
# Numbers as text keep all their digits, and the zero in front of the point that FileMaker forgets in JSON.
_JSON = {"Accept": "application/json;IEEE754Compatible=true"}
_METADATA = {"Accept": "application/xml"}
_FILE = {"Accept": "*/*"}  # with another type, FileMaker may send the file's name in place of the file

T = TypeVar("T")


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

    @property
    def _file_url(self) -> str:
        return f"{self._transport.base}/{SERVICE}/{quote(self._database, safe='')}"

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
            fields: if they make the URL too long, they are asked for in parts.
            limit: how many at most.

        Raises:
            ChangedWhileReading: rows were edited between the parts, again and again.
            OptionIgnored: the rows are not those that were asked for.
            UnreadableAnswer: the rows are no valid JSON; ask for fewer, and find the record.
            ServerTimeout, AnswerTooLarge: ask for fewer.
        """
        action = f"read the table occurrence {table}"
        after = rows_after(last, limit)
        room = LONGEST_URL - max(len(f"{self._file_url}/{form}?&{after}") for form in table_forms(table))
        for _ in range(ATTEMPTS):
            parts = []
            for part in in_parts(fields, room):
                body = self._of_table(table, f"?{selection(field.name for field in part)}&{after}", action)
                parts.append(Rows(records_in(body, part, last, limit, action), self._goes_on(body, action)))
            rows = parts[0] if len(parts) == 1 else joined(parts)
            if rows is not None:
                return rows
        raise ChangedWhileReading(f"Rows of {table} were edited while their fields were read in parts.")

    def count(self, table: str) -> int:
        """Return the number of all rows. Waits long and does not ask twice: the server goes on with the first."""
        action = f"count the rows of the table occurrence {table}"
        try:
            body = self._of_table(table, f"?$select={ROW_ID}&$top=1&$count=true", action, timeout=self._count_timeout)
        except ServerTimeout:
            raise CountTimeout(f"FileMaker Server did not count the rows of {table} in time.") from None
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

    def answer(self, table: str, rest: str, action: str) -> dict[str, Any]:
        """Return the object that a URL below a table occurrence answers, for requests that no other method sends.

        Args:
            rest: what follows the table in the URL, finished.
        """
        return self._of_table(table, rest, action)

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
        if not is_within(link, f"{self._file_url}/", f"{self._transport.base}/{SERVICE}"):
            raise NotOData(f"The link to the next rows leads elsewhere when FileMaker was asked to {action}.")
        return True


def _read_count(response: FetchedResponse, action: str) -> dict[str, Any]:
    try:
        return read_json(response, action)
    except ServerUnavailable:
        if response.status == 504:  # a proxy's time-out: the server is still counting
            raise ServerTimeout(f"FileMaker Server did not answer in time when asked to {action}.") from None
        raise
