"""Records that were not loaded, as the console and its CSV list them."""

from __future__ import annotations

import json

import pytest

from fm_pipeline.errors import RequestError
from fm_pipeline.status.quarantine import (
    PAGE,
    QuarantineFilter,
    count_quarantined,
    iterate_quarantine,
    read_clinics,
    read_person,
    read_quarantine,
    read_record,
)
from fm_pipeline_tests.support.clinics import MigrationBench

CANARY = "Zephyrine"


def _keep_out(bench: MigrationBench, record_id: int, fields: dict[str, object], key: str) -> None:
    """A patient of FileMaker that a rule keeps out."""
    bench.execute(
        "INSERT INTO fm_pipeline.source_records VALUES ('patient', %s, 1, %s, NULL, %s)",
        record_id,
        key.lower(),
        json.dumps(fields, sort_keys=True),
    )
    bench.execute(
        "INSERT INTO fm_pipeline.staged_outcomes VALUES ('patient', %s, %s, 'quarantined', 'name_missing')",
        record_id,
        key,
    )


@pytest.mark.usefixtures("staged_once")
def test_records_that_were_not_loaded_are_counted_listed_filtered_and_paged(bench: MigrationBench) -> None:
    names = {"first_name": CANARY, "last_name": "Quollthorpe\ud800", "note": '"clinic": "a trap" \0'}
    for number in range(PAGE + 1):
        clinic = "\u00c9cole \u2013 North\t" if number else "\u00e9COLE \u2013 north"
        _keep_out(bench, 900_000 + number, {**names, "clinic": clinic}, f"=K{number:03}")
    _keep_out(bench, 950_000, {"note": "\ud800 and \0"}, "no clinic")
    counts = {(count.entity, count.rule): count for count in count_quarantined(bench.database_url)}
    assert counts["patient", "name_missing"].records == PAGE + 2
    assert counts["patient", "name_missing"].outcome == "quarantined"

    (clinic,) = [name for name in read_clinics(bench.database_url) if name.casefold() == "\u00e9cole \u2013 north"]
    wanted = QuarantineFilter(entity="patient", clinic=clinic)
    first, more = read_quarantine(bench.database_url, wanted)
    assert more
    last, more = read_quarantine(bench.database_url, wanted, 2)
    assert (len(first), len(last), more) == (PAGE, 1, False)
    assert {row["clinic"] for row in [*first, *last]} == {"\u00c9cole \u2013 North"}
    assert "a trap" not in read_clinics(bench.database_url)

    rows = list(iterate_quarantine(bench.database_url, QuarantineFilter(rule="name_missing")))
    assert len(rows) == PAGE + 2
    assert CANARY not in str([rows, first, last, counts]), "ids and counts only"
    assert read_quarantine(bench.database_url, QuarantineFilter.of({"entity": "nothing' OR true --\0"})) == ([], False)


@pytest.mark.usefixtures("staged_once")
def test_the_name_of_a_person_is_read_of_one_record_and_of_its_patient_only(bench: MigrationBench) -> None:
    _keep_out(bench, 900_000, {"first_name": CANARY, "last_name": "Quoll\ud800thorpe", "title": "Dr"}, "KEY")
    bench.execute(
        "INSERT INTO fm_pipeline.source_records VALUES ('note', 900001, 1, 'n', 'key', %s)",
        json.dumps({"content": "x"}),
    )
    bench.execute("INSERT INTO fm_pipeline.staged_outcomes VALUES ('note', 900001, 'N', 'skipped', 'note_empty')")
    bench.execute(
        "INSERT INTO fm_pipeline.staged_findings VALUES ('note', 900001, 'N', 'note_empty', 'flag', 'content')"
    )
    assert read_person(bench.database_url, "note", 900_001) == f"Dr {CANARY} Quoll?thorpe"
    assert read_person(bench.database_url, "patient", 900_000) == f"Dr {CANARY} Quoll?thorpe"
    assert read_person(bench.database_url, "note", 1_234_567) == ""
    record = read_record(bench.database_url, "note", 900_001)
    assert (record["rule"], record["findings"][0]["field"]) == ("note_empty", "content")
    assert CANARY not in str(record)
    with pytest.raises(RequestError) as refused:
        read_record(bench.database_url, "note", 1_234_567)
    assert refused.value.code == 404


def test_before_anything_was_staged_nothing_is_listed(bench: MigrationBench) -> None:
    assert count_quarantined(bench.database_url) == []
    assert read_clinics(bench.database_url) == []
    assert read_quarantine(bench.database_url, QuarantineFilter()) == ([], False)
    assert list(iterate_quarantine(bench.database_url, QuarantineFilter())) == []
