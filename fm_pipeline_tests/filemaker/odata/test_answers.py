"""What comes back: rows, refusals in every form, and pages of the web server."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fm_pipeline.errors import FileMakerError
from fm_pipeline.filemaker.data_api.answer import read_answer
from fm_pipeline.filemaker.errors import (
    AnswerCut,
    AnswerTooLarge,
    ContainerNotAFile,
    ContainerRefused,
    DatabaseNotOpen,
    RecordMissing,
    ServerUnavailable,
    UnreadableAnswer,
    WrongPassword,
)
from fm_pipeline.filemaker.odata.answers import count_in, error_in, next_link, read_file, read_json
from fm_pipeline.filemaker.odata.errors import (
    NotOData,
    ODataOff,
    ODataPrivilegeMissing,
    QueryRefused,
    SchemaLocked,
    TableNotReadable,
)
from fm_pipeline.filemaker.odata.urls import is_within, rows_after, selection, table_forms
from fm_pipeline.filemaker.transport import FetchedResponse
from fm_pipeline.filemaker.values import odata_reader, parse_number

HTML = b"<html><body><h1>Bad Gateway</h1></body></html>"


def _read(body: bytes, status: int = 200) -> dict[str, object]:
    return read_json(FetchedResponse(status, {}, {}, body), "read the notes")


def _xml(code: int) -> bytes:
    return f'<?xml version="1.0"?><m:error xmlns:m="urn:m"><m:code>{code}</m:code><m:message/></m:error>'.encode()


def _json(code: int) -> bytes:
    return json.dumps({"error": {"code": str(code), "message": "secret value"}}).encode()


def test_an_error_inside_a_row_may_be_a_list() -> None:
    error = error_in([{"error": {"code": "8309", "message": "FQL0009"}}], "read")
    assert isinstance(error, QueryRefused)
    others: list[object] = [[], [{}], ["8309"], None]
    assert [error_in(other, "read") for other in others] == [None] * 4


@pytest.mark.parametrize("form", [_xml, _json])
@pytest.mark.parametrize(
    ("status", "code", "leaf"),
    [
        (400, -1002, QueryRefused),
        (400, 8309, QueryRefused),
        (404, -1010, TableNotReadable),
        (404, -1023, RecordMissing),
        (401, 212, WrongPassword),
        (403, 9, ODataPrivilegeMissing),
        (501, 802, DatabaseNotOpen),
        (500, 303, SchemaLocked),
        (500, 953, AnswerTooLarge),
    ],
)
def test_a_refusal_in_json_or_xml_says_what_to_do_and_repeats_no_text(form, status, code, leaf) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(leaf, match=f"code {code} when asked to read the notes") as refused:
        _read(form(code), status)
    assert type(refused.value) is leaf
    assert refused.value.remedy
    assert "secret value" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "body", "leaf"),
    [
        (502, HTML, ServerUnavailable),
        (503, HTML, ServerUnavailable),
        (401, HTML, WrongPassword),
        (403, HTML, ODataPrivilegeMissing),
        (404, HTML, ODataOff),
        (302, b"", NotOData),
        (200, HTML, NotOData),
        (200, b"[]", NotOData),
        (200, _json(8309), QueryRefused),
        (200, b'{"error":{}}', NotOData),
        (200, b'{"value":[{"a":?}]}', UnreadableAnswer),
        (200, b'{"value":[{"a":-.916}]}', UnreadableAnswer),
        (200, b'{"value":[{"a":"x\ny"}]}', UnreadableAnswer),
        (200, b'{"value":[{"a":"x\0y"}]}', UnreadableAnswer),
        (200, b'{"value":[{"a":"\xff"}]}', UnreadableAnswer),
        (200, b'{"value":[{"a":NaN}]}', UnreadableAnswer),
        (200, b'{"value":[{"a":1},{"b":', AnswerCut),
    ],
)
def test_every_other_answer_is_told_apart(status: int, body: bytes, leaf: type[FileMakerError]) -> None:
    with pytest.raises(leaf) as refused:
        _read(body, status)
    assert type(refused.value) is leaf


@given(status=st.sampled_from([200, 204, 400, 401, 404, 500, 502]), body=st.binary(max_size=60))
@example(status=200, body=b'{"a":' * 100_000 + b"}")
@example(status=500, body=b'{"a":' * 100_000)
@example(status=200, body=b'{"a":' + b"9" * 5000 + b"}")
@example(status=400, body=b'{"error":{"code":"' + b"9" * 5000 + b'"}}')
def test_any_bytes_are_an_object_or_an_error_that_is_explained(status: int, body: bytes) -> None:
    try:
        result: object = _read(body, status)
    except FileMakerError as error:
        result = error
    assert isinstance(result, dict) or (isinstance(result, FileMakerError) and result.remedy)


@pytest.mark.parametrize(
    ("status", "kind", "body", "leaf"),
    [
        (204, "", b"", ContainerRefused),
        (200, "image/jpeg", b"", ContainerRefused),
        (404, "application/json", _json(-1023), ContainerRefused),
        (200, "text/plain;charset=utf-8", b"face.jpg", ContainerNotAFile),
        (200, "text/html", HTML, ContainerNotAFile),
        (403, "application/json", _json(9), ODataPrivilegeMissing),
        (502, "text/html", HTML, ServerUnavailable),
    ],
)
def test_what_comes_in_place_of_a_container_is_told_apart(
    status: int, kind: str, body: bytes, leaf: type[FileMakerError]
) -> None:
    with pytest.raises(leaf) as refused:
        read_file(FetchedResponse(status, {"Content-Type": kind}, {}, body), "send the file")
    assert type(refused.value) is leaf


def test_the_control_keys_are_read_in_both_spellings() -> None:
    assert next_link({"@nextLink": "a"}) == next_link({"@odata.nextLink": "a"}) == "a"
    assert count_in({"@count": 7}) == count_in({"@odata.count": "7"}) == 7
    assert next_link({}) is None
    assert count_in({}) is count_in({"@count": "many"}) is None


def test_a_url_is_literal_where_filemaker_needs_it_and_encoded_elsewhere() -> None:
    assert table_forms("API_Notes") == ["API_Notes"]
    assert table_forms("Master Repair@") == ["%22Master%20Repair%40%22", "Master%20Repair%40"]
    assert selection(["id", "Größe, cm"]) == "$select=%22id%22,%22Gr%C3%B6%C3%9Fe%2C%20cm%22,ROWID,ROWMODID"
    assert rows_after(7, 100) == "$filter=ROWID%20gt%207&$orderby=ROWID%20asc&$top=100"


@pytest.mark.parametrize(
    ("link", "within"),
    [
        ("Notes?$skip=5", True),
        ("/fmi/odata/v4/clinic/Notes?$skip=5", True),
        ("https://fm.example/fmi/odata/v4/clinic/Notes?$skip=5", True),
        ("https://other.example/fmi/odata/v4/clinic/Notes", False),
        ("https://fm.example@other.example/fmi/odata/v4/c", False),
        ("http://fm.example/fmi/odata/v4/clinic/Notes", False),
        ("//other.example/fmi/odata/v4/clinic/Notes", False),
        ("/fmi/data/v1/databases", False),
        ("../../../data/v1", False),
        ("https://[::1/fmi/odata/v4/", False),
    ],
)
def test_a_link_to_more_rows_stays_with_the_service(link: str, within: bool) -> None:
    service = "https://fm.example/fmi/odata/v4"
    assert is_within(link, f"{service}/clinic/", service) is within


@pytest.mark.parametrize(
    ("result", "value", "form"),
    [
        ("text", None, ""),
        ("text", "a\r\nb\nc\rd", "a\rb\rc\rd"),
        ("text", 12, "12"),
        ("number", 12, 12),
        ("number", "12", 12),
        ("number", "-.5", -0.5),
        ("number", "12345678901234567890", 12345678901234567890),
        ("number", "12 kg", "12 kg"),
        ("number", "1e999", "1e999"),
        ("number", True, 1),
        ("date", "2024-01-02", "2024-01-02"),
        ("date", "?", "?"),
        ("time", "03:04:05.000", "03:04:05"),
        ("time", "-36:00:00", "-36:00:00"),
        ("timeStamp", "2024-01-02T03:04:05Z", "2024-01-02T03:04:05"),
        ("timeStamp", "2024-01-02T03:04:05.250Z", "2024-01-02T03:04:05.25"),
        ("timeStamp", "2024-01-02T03:04:05+11:00", "2024-01-02T03:04:05"),
        ("timeStamp", "2024-01-02T03:04:05.000-03:30", "2024-01-02T03:04:05"),
        ("timeStamp", "", ""),
    ],
)
def test_a_value_gets_the_form_of_the_data_api(result: str, value: object, form: object) -> None:
    assert odata_reader(result)(value) == form


@pytest.mark.parametrize(
    "digits", ["12345678901234567.5", "0.1234567890123456789", "1e999", "1e-999", "1e-99999999999999999999"]
)
def test_a_number_that_binary64_would_round_keeps_its_digits_at_every_door(digits: str) -> None:
    number = b'{"messages": [{"code": "0"}], "response": {"n": %s}, "n": %s}' % (digits.encode(), digits.encode())
    over_data_api = read_answer(FetchedResponse(200, {}, {}, number), "read the notes").response["n"]
    over_odata = odata_reader("number")(_read(number)["n"])
    assert (over_data_api, over_odata, parse_number(digits)) == (digits, digits, digits)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30))
def test_a_number_is_the_same_from_json_and_from_text(number: float) -> None:
    assert parse_number(repr(number)) == json.loads(repr(number)) == number
