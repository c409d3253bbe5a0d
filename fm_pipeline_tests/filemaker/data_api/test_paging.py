"""Complete reading over HTTP, while records come and go between the pages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fm_pipeline.filemaker.data_api.answer import read_answer
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.paging import read_completely
from fm_pipeline.filemaker.errors import (
    AnswerTooLarge,
    ChangedWhileReading,
    ServerTimeout,
    UnreadableAnswer,
    UnreadableRecord,
)
from fm_pipeline.filemaker.model import FileMakerRecord, Page
from fm_pipeline.filemaker.page_size import SMALLEST_PAGE, TRIES_OF_SMALLEST_PAGE
from fm_pipeline.filemaker.transport import FetchedResponse
from fm_pipeline_tests.filemaker.conftest import Clinic

_layouts = itertools.count(1)


def _ids(records: Iterator[FileMakerRecord]) -> list[int]:
    return [record.record_id for record in records]


def _read(client: DataApiClient, layout: str, page_size: int, attempts: int = 3) -> list[int]:
    return read_completely(partial(client.page, layout), _ids, page_size=page_size, attempts=attempts)


def _layout_of(clinic: Clinic, count: int) -> str:
    """A new layout with records 1 to `count`."""
    name = f"L{next(_layouts)}"
    clinic.layout(name, ["id"], [{"id": str(number)} for number in range(1, count + 1)])
    return name


def _delete(layout: str, record_id: int) -> dict[str, Any]:
    return {"delete": {"table": layout, "record_id": record_id}}


def _insert(layout: str) -> dict[str, Any]:
    return {"insert": {"table": layout, "row": {"id": "new"}}}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("page_size", [1, 2, 3, 10])
def test_every_record_comes_once_in_creation_order(clinic: Clinic, count: int, page_size: int) -> None:
    layout = _layout_of(clinic, count)
    with clinic.client() as client:
        assert _read(client, layout, page_size) == list(range(1, count + 1))


def test_a_server_that_says_no_match_of_an_empty_table_is_read_as_empty_but_never_in_the_middle(
    clinic: Clinic,
) -> None:
    layout = _layout_of(clinic, 5)
    clinic.server.disturb("code", code=401, of=["records"], times=None)
    with clinic.client() as client:
        assert _read(client, layout, 2) == []
        clinic.server.faults()
        clinic.server.disturb("code", code=401, of=["records"], after=1, times=None)
        with pytest.raises(ChangedWhileReading, match="were deleted"):
            _read(client, layout, 2, attempts=1)


@pytest.mark.parametrize("after", [1, 2])  # the third page is the last
@pytest.mark.parametrize("gone", range(1, 8))
def test_a_record_deleted_between_pages_hides_no_other_one(clinic: Clinic, after: int, gone: int) -> None:
    layout = _layout_of(clinic, 7)
    clinic.server.faults(between_pages=[{"after": after, "do": [_delete(layout, gone)]}])
    with clinic.client() as client:
        assert _read(client, layout, 2) == [number for number in range(1, 8) if number != gone]


def test_records_deleted_before_the_place_of_reading_make_the_reader_begin_again(clinic: Clinic) -> None:
    layout = _layout_of(clinic, 12)
    deletes = [_delete(layout, number) for number in (1, 2, 3, 4, 5)]
    clinic.server.faults(between_pages=[{"after": 3, "do": deletes}])
    with clinic.client() as client:
        assert _read(client, layout, 2) == list(range(6, 13))


def test_everything_deleted_between_two_pages_is_an_empty_layout(clinic: Clinic) -> None:
    layout = _layout_of(clinic, 6)
    clinic.server.faults(between_pages=[{"after": 2, "do": [_delete(layout, n) for n in range(1, 7)]}])
    with clinic.client() as client:
        assert _read(client, layout, 2) == []


def test_a_record_added_between_pages_is_read_as_well(clinic: Clinic) -> None:
    layout = _layout_of(clinic, 5)
    clinic.server.faults(between_pages=[{"after": 1, "do": [_insert(layout)]}])
    with clinic.client() as client:
        assert _read(client, layout, 2, attempts=1) == [1, 2, 3, 4, 5, 6]


Step = tuple[int, list[int | None]]  # after which page; record ids to delete, None adds one


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    count=st.integers(0, 12),
    page_size=st.integers(1, 5),
    steps=st.lists(
        st.tuples(st.integers(1, 10), st.lists(st.none() | st.integers(1, 14), min_size=1, max_size=4)),
        max_size=4,
        unique_by=lambda step: step[0],
    ),
)
def test_whatever_comes_and_goes_the_result_is_what_the_server_had_at_the_last_page(
    clinic: Clinic, count: int, page_size: int, steps: list[Step]
) -> None:
    layout = _layout_of(clinic, count)
    actions = {
        after: [_insert(layout) if record is None else _delete(layout, record) for record in records]
        for after, records in steps
    }
    clinic.server.faults(between_pages=[{"after": after, "do": do} for after, do in actions.items()])
    with clinic.client() as client:
        # Only a deletion can spoil a reading, so that many attempts are always enough.
        read = _read(client, layout, page_size, attempts=1 + sum(len(records) for _, records in steps))
    pages = clinic.server.counters()["pages"]
    held, newest = set(range(1, count + 1)), count
    for after, records in sorted(steps):
        for record in records if after < pages else []:
            if record is None:
                newest += 1
                held.add(newest)
            else:
                held.discard(record)
    assert read == sorted(held)


def test_a_file_that_is_edited_all_the_time_is_refused_with_advice_when_to_retry(clinic: Clinic) -> None:
    layout = _layout_of(clinic, 60)
    steps = [{"after": page, "do": [_delete(layout, page)]} for page in range(1, 40)]
    clinic.server.faults(between_pages=steps)
    with clinic.client() as client, pytest.raises(ChangedWhileReading, match="start again when it is quiet"):
        _read(client, layout, 10)


def test_a_session_that_ends_in_the_middle_of_paging_costs_no_record(clinic: Clinic) -> None:
    layout = _layout_of(clinic, 11)
    clinic.server.faults(token_dies_after=2)
    with clinic.client() as client:
        assert _read(client, layout, 2, attempts=1) == list(range(1, 12))
    assert clinic.answered("login") > 2
    assert clinic.server.counters()["open_sessions"] == 0


def test_a_web_page_in_the_middle_of_paging_costs_no_record(clinic: Clinic) -> None:
    layout = _layout_of(clinic, 11)
    clinic.server.disturb("bad_gateway", of=["records"], after=2, times=2)
    with clinic.client() as client:
        assert _read(client, layout, 2, attempts=1) == list(range(1, 12))
    assert len(clinic.pauses) == 2


def test_pages_shrink_after_a_time_out(clinic: Clinic, impatient: Callable[[int], None]) -> None:
    layout = _layout_of(clinic, 120)
    clinic.server.disturb("slow", seconds=3600, of=["records"], times=1)
    impatient(1)
    seen: list[tuple[int, int]] = []
    with clinic.client() as client:
        ids = read_completely(
            partial(client.page, layout),
            _ids,
            page_size=100,
            on_progress=lambda rows, found: seen.append((rows, found)),
        )
    assert ids == list(range(1, 121))
    assert seen == [(51, 120), (101, 120), (120, 120)]


def test_a_server_that_cannot_send_even_a_small_page_is_given_up(
    clinic: Clinic, impatient: Callable[[int], None]
) -> None:
    layout = _layout_of(clinic, 3)
    clinic.server.disturb("slow", seconds=3600, of=["records"], times=None)
    impatient(TRIES_OF_SMALLEST_PAGE)
    with clinic.client() as client, pytest.raises(ServerTimeout, match="FILEMAKER_PAGE_SIZE"):
        _read(client, layout, SMALLEST_PAGE)
    assert clinic.answered("records") == TRIES_OF_SMALLEST_PAGE


def test_pages_shrink_when_the_server_may_not_send_so_much(clinic: Clinic) -> None:
    layout = _layout_of(clinic, 60)
    clinic.server.disturb("code", code=953, of=["records"], times=1)
    with clinic.client() as client:
        assert _read(client, layout, 100, attempts=1) == list(range(1, 61))
        clinic.server.disturb("code", code=953, of=["records"], times=None)
        with pytest.raises(AnswerTooLarge, match="transfer limit"):
            _read(client, layout, 100)


def _page(ids: list[int], found: int) -> Page:
    return Page(tuple(FileMakerRecord(record_id, 0, {}) for record_id in ids), found)


def test_a_server_that_sends_fewer_records_than_asked_for_is_read_to_its_count() -> None:
    def two_at_most(offset: int, _limit: int) -> Page:
        return _page(list(range(1, 8))[offset - 1 : offset + 1], 7)

    assert read_completely(two_at_most, _ids, page_size=100) == list(range(1, 8))


@pytest.mark.parametrize(
    ("ids", "found", "says"),
    [([1], 3, "counts 3 records, but sent 1"), ([], 3, "sent 0"), ([1, 2], 1, "sent 2"), ([1, 1], 2, "record 1 twice")],
)
def test_a_server_that_contradicts_itself_is_never_believed(ids: list[int], found: int, says: str) -> None:
    with pytest.raises(ChangedWhileReading, match=says):
        read_completely(lambda _offset, _limit: _page(ids, found), _ids, page_size=10)


def _answer_with(rows: list[str], found: int) -> FetchedResponse:
    info = f'"dataInfo":{{"foundCount":{found}}}'
    body = f'{{"response":{{{info},"data":[{",".join(rows)}]}},"messages":[{{"code":"0"}}]}}'
    return FetchedResponse(200, {}, {}, body.encode())


@pytest.mark.parametrize("value", ["?", "-.5", '"a\tb"', '"a\0b"'])
@pytest.mark.parametrize("wrong", [1, 2, 7, 40, 60])
def test_a_record_that_is_no_json_is_named_after_few_questions(value: str, wrong: int) -> None:
    """As FileMaker writes a broken value, on a server with 60 records whose ids begin at 101."""
    asked = 0

    def fetch(offset: int, limit: int) -> Page:
        nonlocal asked
        asked += 1
        ages = {n: value if n == wrong else n for n in range(offset, min(offset + limit, 61))}
        rows = [f'{{"fieldData":{{"age":{age}}},"recordId":"{100 + n}","modId":"0"}}' for n, age in ages.items()]
        found = read_answer(_answer_with(rows, 60), "read the layout").response["data"]
        return Page(tuple(FileMakerRecord(int(row["recordId"]), 0, {}) for row in found), 60)

    with pytest.raises(UnreadableRecord, match=f"the record {100 + wrong} of the layout as invalid JSON") as unreadable:
        read_completely(fetch, _ids, page_size=50)
    assert unreadable.value.record_id == 100 + wrong
    assert asked <= 15


def test_invalid_json_is_asked_for_once_and_never_taken_for_a_broken_connection(clinic: Clinic) -> None:
    clinic.notes(3)
    clinic.server.disturb("not_json", of=["records"], times=None)
    with clinic.client() as client:
        with pytest.raises(UnreadableAnswer, match="no valid JSON"):
            client.page("API_Notes", 1, 10)
        assert clinic.answered("records") == 1
        with pytest.raises(UnreadableRecord, match="correct the value"):
            _read(client, "API_Notes", 2)
    assert clinic.pauses == []


def test_half_an_answer_is_asked_for_again_until_the_same_half_comes_twice(clinic: Clinic) -> None:
    clinic.notes(1)
    clinic.server.disturb("half", of=["records"], times=1)
    with clinic.client() as client:
        assert client.page("API_Notes", 1, 10).found_count == 1
        clinic.server.disturb("half", of=["records"], times=None)
        with pytest.raises(UnreadableAnswer, match="ends in the middle"):
            client.page("API_Notes", 1, 10)
    assert len(clinic.pauses) == 2
