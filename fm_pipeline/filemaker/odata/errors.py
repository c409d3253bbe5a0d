"""What FileMaker can refuse over OData where the next step differs from the Data API's.

Each is also the leaf of `fm_pipeline.filemaker.errors` that stands for the same thing, so that callers need not know
which door they read through.

    DataApiError
    ├── the account     ODataPrivilegeMissing
    ├── the file        TableNotReadable, SchemaLocked, RepetitionsHidden, ErrorInRow
    ├── the request     QueryRefused, OptionIgnored, RowIdRefused
    └── the server      ODataOff, NotOData, CountTimeout
"""

from __future__ import annotations

from fm_pipeline.filemaker.errors import (
    BY_CODE,
    DataApiError,
    DataApiOff,
    LayoutMissing,
    NotTheDataApi,
    PrivilegeMissing,
    RecordMissing,
    RequestRefused,
    ServerBusy,
    ServerTimeout,
    UnknownCode,
)

_ANOTHER_DOOR = "or read through the Data API (FILEMAKER_DOOR=data_api)"


class ODataPrivilegeMissing(PrivilegeMissing):
    """The account may not use OData, or not see this table."""

    next_step = (
        "In FileMaker, give the account's privilege set the extended privilege fmodata (access via OData; fmrest is "
        "not enough) and access to the table and its fields."
    )


class TableNotReadable(LayoutMissing):
    """The table occurrence is not there, or its name cannot be used in a URL."""

    consequence = "FileMaker lists table occurrences that OData cannot read, above all those with a space or a sign."
    next_step = (
        "In FileMaker's relationship graph, add an occurrence of the same table whose name has only letters, digits "
        "and _, give the account access to the table, and name the occurrence under `table` in the mapping profile."
    )


class SchemaLocked(ServerBusy):
    """Somebody is changing the structure of the file."""

    consequence = "Nothing was read by this call."
    next_step = "Wait until Manage Database is closed in FileMaker, then start again."


class RepetitionsHidden(DataApiError):
    """A repeating field came with its first repetition only."""

    consequence = "The other repetitions would be lost, so nothing was taken."
    next_step = f"Use FileMaker Server 2025 or later, leave the field out of the profile, {_ANOTHER_DOOR}."


class QueryRefused(RequestRefused):
    """FileMaker does not accept the options of the query."""

    consequence = "No record was read by this call."
    next_step = (
        "Run fm-pipeline check. If the fields of the profile are in the table and the account may see them, "
        "read through the Data API (FILEMAKER_DOOR=data_api)."
    )


class ErrorInRow(DataApiError):
    """A row holds an error in place of its fields, though the answer says that all went well."""

    consequence = "The row would be missing, so nothing was taken."
    next_step = f"Look at the record in FileMaker and at the account's access to it, then start again, {_ANOTHER_DOOR}."


class OptionIgnored(RequestRefused):
    """FileMaker, or a proxy in front of it, did not do what the query asked for."""

    consequence = "Records read so could be missing or come twice, so none was taken."
    next_step = (
        "Look whether a proxy in front of FileMaker Server changes URLs (a `$` must arrive as `$`), update FileMaker "
        f"Server, {_ANOTHER_DOOR}."
    )


class RowIdRefused(RequestRefused):
    """FileMaker does not let rows be asked for by their record id."""

    consequence = "Without it, records would slip through while others edit the file, so none was taken."
    next_step = f"Update FileMaker Server, {_ANOTHER_DOOR}."


class CountTimeout(ServerTimeout):
    """The number of rows did not come in time."""

    consequence = "It is not asked for again: FileMaker Server goes on with the first count."
    next_step = f"Wait until FileMaker Server is at rest, look at its load in the Admin Console, {_ANOTHER_DOOR}."


class ODataOff(DataApiOff):
    """OData is switched off, or not there."""

    next_step = (
        "Switch OData on in the Admin Console, under Connectors, and check FILEMAKER_URL; then start again, "
        f"{_ANOTHER_DOOR}."
    )


class NotOData(NotTheDataApi):
    """Something answered, but it was not OData."""

    consequence = "Either another web server answers at this address, or OData is switched off."
    next_step = "Check FILEMAKER_URL, and that OData is switched on in the Admin Console, under Connectors."


NO_SUCH_TABLE = -1010
NO_SUCH_RECORD = -1023
SYNTAX_REFUSED = -1002

_BY_CODE: dict[int, type[DataApiError]] = {
    **BY_CODE,
    **{code: ODataPrivilegeMissing for code, leaf in BY_CODE.items() if leaf is PrivilegeMissing},
    **dict.fromkeys([SYNTAX_REFUSED, 8309, 8310], QueryRefused),
    NO_SUCH_TABLE: TableNotReadable,
    NO_SUCH_RECORD: RecordMissing,
    303: SchemaLocked,
    959: ODataOff,
}


def odata_error(code: int, action: str) -> DataApiError:
    """The error of a code. FileMaker's text is not repeated: it may quote a value.

    Args:
        code: FileMaker's, or a negative one of OData's.
        action: what was asked for; names only, never a value.
    """
    kind = _BY_CODE.get(code, UnknownCode)
    return kind(f"FileMaker {kind.answer} {code} when asked to {action}.", code=code)
