"""Complete reading over OData, while records come and go, and from servers that do not do what they are asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests import PreparedRequest

from fm_pipeline.filemaker.door import Reading
from fm_pipeline.filemaker.errors import ChangedWhileReading, UnreadableRecord
from fm_pipeline.filemaker.odata import versions
from fm_pipeline.filemaker.odata.errors import CountTimeout, ErrorInRow, OptionIgnored, QueryRefused, RowIdRefused
from fm_pipeline.filemaker.odata.versions import read_listed, read_versions
from fm_pipeline.sandbox.filemaker.call import Behaviour, ODataBehaviour
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.filemaker.conftest import Clinic, clinic_on
from fm_pipeline_tests.filemaker.odata.conftest import ids_of, read_ids
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in

_tables = itertools.count(1)


def _table_of(clinic: Clinic, count: int) -> str:
    """A new table with records 1 to `count`."""
    name = f"T{next(_tables)}"
    clinic.layout(name, ["id"], [{"id": str(number)} for number in range(1, count + 1)])
    return name


def _delete(table: str, record_id: int) -> dict[str, Any]:
    return {"delete": {"table": table, "record_id": record_id}}


def _insert(table: str) -> dict[str, Any]:
    return {"insert": {"table": table, "row": {"id": "new"}}}


@pytest.mark.parametrize(("count", "page_size"), [(0, 3), (1, 1), (6, 3), (7, 3), (7, 100)])
def test_every_record_comes_once_in_the_order_of_its_id(clinic: Clinic, count: int, page_size: int) -> None:
    table = _table_of(clinic, count)
    with clinic.odata() as opened:
        assert read_ids(opened, table, page_size) == list(range(1, count + 1))


@pytest.mark.parametrize("after", [2, 3])  # the first answer is the count
@pytest.mark.parametrize("gone", range(1, 8))
def test_a_record_deleted_between_pages_hides_no_other_one(clinic: Clinic, after: int, gone: int) -> None:
    table = _table_of(clinic, 7)
    clinic.server.faults(between_pages=[{"after": after, "do": [_delete(table, gone)]}])
    with clinic.odata() as opened:
        assert read_ids(opened, table, 3) == [number for number in range(1, 8) if number != gone]


Step = tuple[int, list[int | None]]  # after which answer; record ids to delete, None adds one


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    count=st.integers(0, 12),
    page_size=st.integers(1, 5),
    steps=st.lists(
        st.tuples(st.integers(1, 12), st.lists(st.none() | st.integers(1, 14), min_size=1, max_size=4)),
        max_size=4,
        unique_by=lambda step: step[0],
    ),
)
def test_whatever_comes_and_goes_a_record_that_was_there_throughout_comes_exactly_once(
    clinic: Clinic, count: int, page_size: int, steps: list[Step]
) -> None:
    table = _table_of(clinic, count)
    actions = {
        after: [_insert(table) if record is None else _delete(table, record) for record in records]
        for after, records in steps
    }
    clinic.server.faults(between_pages=[{"after": after, "do": do} for after, do in actions.items()])
    with clinic.odata() as opened:
        read = read_ids(opened, table, page_size)
    deleted = {record for _, records in steps for record in records if record is not None}
    added = sum(record is None for _, records in steps for record in records)
    assert read == sorted(set(read))
    assert set(range(1, count + 1)) - deleted <= set(read) <= set(range(1, count + added + 1))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    count=st.integers(1, 30),
    chosen=st.sets(st.integers(1, 30), min_size=1),
    gone=st.sets(st.integers(1, 30), max_size=3),
    page_size=st.integers(1, 9),
    gap=st.integers(1, 5),
)
def test_chosen_records_are_read_as_a_whole_reading_reads_them_or_not_at_all(
    clinic: Clinic, count: int, chosen: set[int], gone: set[int], page_size: int, gap: int
) -> None:
    table = _table_of(clinic, count)
    wanted = {number for number in chosen if number <= count}
    with clinic.odata() as opened, pytest.MonkeyPatch.context() as patched:
        patched.setattr(versions, "GAP", gap)
        reading = Reading(table, opened.fields(table), page_size)
        listed, _ = read_versions(opened.client, table)
        assert list(listed) == list(range(1, count + 1))
        expected = [record for record in opened.read(reading, list) if record.record_id in wanted]
        clinic.server.faults(between_pages=[{"after": 1, "do": [_delete(table, record) for record in gone]}])
        read = read_listed(opened.client, reading, listed, wanted)
        clinic.server.faults()
        present = opened.read(reading, ids_of)
    assert read in ((expected,) if wanted <= set(present) else (expected, None))


def test_the_version_of_a_record_takes_sixteen_bytes(clinic: Clinic) -> None:
    table = _table_of(clinic, 30)
    with clinic.odata() as opened:
        found = read_versions(opened.client, table)
    assert sum(len(numbers) * numbers.itemsize for numbers in found) == 16 * 30


def test_a_table_of_many_fields_is_read_in_parts_and_each_record_in_one_version(
    clinic: Clinic, sent: list[PreparedRequest]
) -> None:
    names = [f"Größe {number}" for number in range(150)]
    rows = [{name: f"{name} of {row}" for name in names} for row in range(7)]
    clinic.layout("Wide", names, rows)
    last_field = {"row": {names[-1]: "edited", names[0]: "edited"}}
    edits = [{"edit": {"table": "Wide", "record_id": record, **last_field}} for record in (2, 5)]
    gone, new = _delete("Wide", 7), {"insert": {"table": "Wide", "row": {names[0]: "new"}}}
    steps = [{"after": 2, "do": edits[:1]}, {"after": 9, "do": [edits[1], gone]}, {"after": 12, "do": [new]}]
    clinic.server.faults(between_pages=steps)
    with clinic.odata() as opened:
        read = opened.read(Reading("Wide", opened.fields("Wide"), 3), list)
        whole = opened.read(Reading("Wide", opened.fields("Wide"), 3), list)
    assert read == whole
    assert [record.record_id for record in read] == [1, 2, 3, 4, 5, 6, 8]
    assert read[1].fields == rows[1] | {names[-1]: "edited", names[0]: "edited"}
    assert max(len(str(request.url)) for request in sent) <= 2000


def test_a_record_that_is_edited_between_all_parts_is_refused(clinic: Clinic) -> None:
    names = [f"a rather long name of a field, number {number}" for number in range(60)]
    clinic.layout("Wide", names, [{}])
    edit = {"edit": {"table": "Wide", "record_id": 1, "row": {names[0]: "edited"}}}
    clinic.server.faults(between_pages=[{"after": number, "do": [edit]} for number in range(1, 500)])
    with clinic.odata() as opened, pytest.raises(ChangedWhileReading, match="read in parts"):
        opened.read(Reading("Wide", opened.fields("Wide"), 3), list)


def test_a_table_whose_read_records_vanish_all_the_time_is_refused(clinic: Clinic) -> None:
    table = _table_of(clinic, 60)
    steps = [{"after": 2 + 8 * n, "do": [_delete(table, n + 1)]} for n in range(40)]
    clinic.server.faults(between_pages=steps)
    with clinic.odata() as opened, pytest.raises(ChangedWhileReading, match="start again when it is quiet"):
        read_ids(opened, table, 10)


def test_more_than_ten_thousand_rows_come_although_an_answer_has_no_more(clinic: Clinic) -> None:
    table = _table_of(clinic, 10_003)
    with clinic.odata() as opened:
        assert read_ids(opened, table, 10_000) == list(range(1, 10_004))


def test_what_comes_and_goes_deep_in_a_table_costs_no_other_record(clinic: Clinic) -> None:
    table = _table_of(clinic, 3000)
    changes = [_delete(table, 5), _insert(table), _delete(table, 2501), _delete(table, 2999), _insert(table)]
    clinic.server.faults(between_pages=[{"after": 26, "do": changes}])
    with clinic.odata() as opened:
        assert read_ids(opened, table, 100) == [n for n in range(1, 3003) if n not in (5, 2501, 2999)]


@pytest.mark.parametrize(
    "behaviour",
    [
        ODataBehaviour(page_limit=2, relative_links=True, encoded_options="refuse"),
        ODataBehaviour(page_limit=3, long_names=True, links_by="position", encoded_options="ignore"),
    ],
)
def test_a_server_that_sends_fewer_rows_than_asked_for_is_read_to_its_end(
    behaviour: ODataBehaviour, tmp_path: Path
) -> None:
    store = Store(tmp_path / "state.sqlite")
    with running_stand_in(store, behaviour=Behaviour(odata=behaviour)) as server, clinic_on(store, server) as clinic:
        table = _table_of(clinic, 7)
        clinic.server.faults(between_pages=[{"after": 2, "do": [_delete(table, 1), _delete(table, 5)]}])
        with clinic.odata() as opened:
            assert read_ids(opened, table, 5) == [2, 3, 4, 6, 7]
    store.close()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("$", "%24", "has no count"),  # the server ignores every option
        ("$select=%22", "%24select=%22", "came without its record id"),
        ("$top", "%24top", "7 rows in place of 3"),
        ("$filter", "%24filter", "record 1 came out of its order"),
        ("ROWID%20asc", "ROWID%20desc", "record 6 came out of its order"),
        ("$count", "%24count", "has no count"),
    ],
)
def test_an_option_that_is_ignored_is_a_stop(
    clinic: Clinic, proxy: Callable[[str, str], None], old: str, new: str, says: str
) -> None:
    table = _table_of(clinic, 7)
    proxy(old, new)
    with clinic.odata() as opened, pytest.raises(OptionIgnored, match=says):
        read_ids(opened, table, 3)


def test_a_server_that_does_not_know_the_record_id_in_a_filter_is_a_stop_and_not_paged_by_position(
    clinic: Clinic, proxy: Callable[[str, str], None], sent: list[PreparedRequest]
) -> None:
    table = _table_of(clinic, 3)
    proxy("$filter=ROWID", "$filter=NOROWID")
    with clinic.odata() as opened, pytest.raises(RowIdRefused, match="FILEMAKER_DOOR=data_api"):
        read_ids(opened, table, 2)
    assert not [request for request in sent if "skip" in str(request.url)]


def test_a_field_that_is_refused_is_not_taken_for_the_record_id(
    clinic: Clinic, proxy: Callable[[str, str], None]
) -> None:
    table = _table_of(clinic, 3)
    proxy("%22id%22", "%22nowhere%22")
    with clinic.odata() as opened, pytest.raises(QueryRefused, match="8309"):
        read_ids(opened, table, 2)


@pytest.mark.parametrize("what", ["question_mark", "no_leading_zero", "control_characters", "nul"])
def test_a_record_that_is_no_json_is_named_with_its_field(clinic: Clinic, what: str) -> None:
    table = f"T{next(_tables)}"
    fields = [FieldDefinition("id"), FieldDefinition("age", "number"), FieldDefinition("note")]
    clinic.layout(table, fields, [{"id": str(number)} for number in range(1, 101)])
    broken = {"table": table, "record_id": 67, "field": "age", "as": what}
    clinic.server.faults(broken_values=[broken])
    says = f"the record 67 of {table} as invalid JSON in age"
    with clinic.odata() as opened, pytest.raises(UnreadableRecord, match=says) as unreadable:
        read_ids(opened, table, 50, ["id", "age", "note"])
    assert unreadable.value.record_id == 67
    assert clinic.pauses == []
    assert clinic.answered("odata_rows") < 20
    with clinic.odata() as opened:
        assert len(read_ids(opened, table, 50, ["id", "note"])) == 100  # the profile need not have the field


@pytest.mark.parametrize(
    ("what", "error", "says"),
    [
        ("error_in_row", ErrorInRow, "code 8309 in place of a row"),
        ("fewer_rows", ChangedWhileReading, "counts 5 rows"),
    ],
)
def test_a_page_that_holds_something_back_is_never_believed(
    clinic: Clinic, what: str, error: type[Exception], says: str
) -> None:
    table = _table_of(clinic, 5)
    clinic.server.disturb(what, of=["odata_rows"], after=1, times=None)
    with clinic.odata() as opened, pytest.raises(error, match=says):
        read_ids(opened, table, 3)


def test_a_field_may_be_called_error(clinic: Clinic) -> None:
    clinic.layout("Faults", ["id", "error"], [{"id": "a", "error": "broken hinge"}])
    with clinic.odata() as opened:
        assert read_ids(opened, "Faults", 10, ["id", "error"]) == [1]


@pytest.mark.parametrize("what", ["bad_gateway", "cut", "half"])
def test_a_web_page_or_a_broken_connection_costs_no_record(clinic: Clinic, what: str) -> None:
    table = _table_of(clinic, 5)
    clinic.server.disturb(what, of=["odata_rows"], after=1, times=1)
    with clinic.odata() as opened:
        assert read_ids(opened, table, 2) == [1, 2, 3, 4, 5]
    assert len(clinic.pauses) == 1


def test_pages_shrink_when_the_server_may_not_send_so_much(clinic: Clinic) -> None:
    table = _table_of(clinic, 60)
    clinic.server.disturb("code", code=953, of=["odata_rows"], after=1, times=1)
    with clinic.odata() as opened:
        assert read_ids(opened, table, 100) == list(range(1, 61))


def test_a_count_that_timed_out_is_not_asked_for_again(clinic: Clinic) -> None:
    table = _table_of(clinic, 2)
    clinic.server.disturb("gateway_timeout", of=["odata_rows"], times=None)
    with clinic.odata() as opened, pytest.raises(CountTimeout, match="not asked for again"):
        read_ids(opened, table, 2)
    assert clinic.answered("odata_rows") == 1
