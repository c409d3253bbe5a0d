"""Random rows, whole and spoilt: no row is lost, glued to another or made of halves."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.errors import FileMakerError
from fm_pipeline.filemaker.errors import UnreadableAnswer
from fm_pipeline.filemaker.model import Field, FileMakerRecord
from fm_pipeline.filemaker.odata.answers import read_json
from fm_pipeline.filemaker.odata.rows import records_in
from fm_pipeline.filemaker.transport import FetchedResponse

FIELDS = [Field("id", "normal", "text"), Field("a ?, -.5", "normal", "text"), Field("n", "normal", "number")]
_texts = st.none() | st.text(max_size=8) | st.sampled_from(['"', "\\", "?", ":?", "\r\n", "\0", '{"ROWID":1}', "]}"])
_rows = st.lists(
    st.tuples(_texts, _texts, st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)), max_size=5
)


def _body(rows: list[tuple[Any, ...]], escapes: bool) -> bytes:
    named = [
        {"@id": f"Notes({at})", "ROWID": str(at), "ROWMODID": 0}
        | {field.name: value for field, value in zip(FIELDS, row, strict=True)}
        for at, row in enumerate(rows, 11)
    ]
    return json.dumps({"@count": len(rows), "value": named}, ensure_ascii=escapes).encode("utf-8", "surrogatepass")


def _read(body: bytes) -> tuple[FileMakerRecord, ...]:
    return records_in(read_json(FetchedResponse(200, {}, {}, body), "read"), FIELDS, 10, 5, "read")


@given(rows=_rows, escapes=st.booleans())
def test_rows_arrive_as_they_were_written(rows: list[tuple[Any, ...]], escapes: bool) -> None:
    records = _read(_body(rows, escapes))
    assert [record.record_id for record in records] == list(range(11, 11 + len(rows)))
    for record, (own_id, text, number) in zip(records, rows, strict=True):
        as_filemaker = [(value or "").replace("\r\n", "\r").replace("\n", "\r") for value in (own_id, text)]
        assert list(record.fields.values()) == [*as_filemaker, "" if number is None else number]


@given(
    rows=_rows.filter(bool),
    at=st.integers(0, 4),
    broken=st.sampled_from(["?", "-.5", ".5", "+1", "01", '"a\nb"', '"a\tb"', '"\0"', "NaN", "'x'", ""]),
)
def test_a_value_that_filemaker_writes_wrong_never_passes(rows: list[tuple[Any, ...]], at: int, broken: str) -> None:
    at %= len(rows)
    rows[at] = (rows[at][0], rows[at][1], 123456789.5)
    body = _body(rows, True).replace(b"123456789.5", broken.encode(), 1)
    try:
        _read(body)
    except UnreadableAnswer:
        return
    raise AssertionError(body)


_cuts = st.lists(st.tuples(st.integers(0), st.integers(0, 40), st.binary(max_size=4)), min_size=1, max_size=4)


@given(rows=_rows, cuts=_cuts, end=st.none() | st.integers(0))
def test_a_spoilt_answer_is_an_error_or_has_every_row_that_it_shows(
    rows: list[tuple[Any, ...]], cuts: list[tuple[int, int, bytes]], end: int | None
) -> None:
    body = bytearray(_body(rows, False))
    for place, length, bytes_there in cuts:
        start = place % len(body)
        body[start : start + length] = bytes_there or b" "
    spoilt = bytes(body[: None if end is None else end % len(body)])
    try:
        records = _read(spoilt)
    except FileMakerError:
        return
    shown = json.loads(spoilt)["value"]
    assert [record.record_id for record in records] == [int(row["ROWID"]) for row in shown]
    assert [record.record_id for record in records] == sorted({record.record_id for record in records})
    for record, row in zip(records, shown, strict=True):
        assert record.fields.keys() == {field.name for field in FIELDS} <= row.keys()
