"""The preflight of a clinic that is read over OData."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from fm_pipeline.preflight.finding import Finding
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline_tests.support.clinics import DATABASE, PASSWORD, USER, MigrationBench


@pytest.fixture
def odata(bench: MigrationBench) -> MigrationBench:
    """The small clinic, read over OData."""
    return bench.with_settings(filemaker_door="odata")


def _source(bench: MigrationBench) -> list[Finding]:
    return [finding for finding in preflight(bench.settings) if finding.area == "FileMaker"]


def _broken(bench: MigrationBench) -> Finding:
    (finding,) = [finding for finding in _source(bench) if finding.level != "good"]
    return finding


def test_a_clinic_in_order_is_counted_by_its_table_occurrences(odata: MigrationBench) -> None:
    findings = preflight(odata.settings)
    assert [finding for finding in findings if finding.level != "good"] == []
    subjects = {finding.subject: finding.found for finding in findings if finding.area == "FileMaker"}
    assert subjects["version"].startswith("FileMaker Server 21.")
    assert "table occurrence" in subjects["account"]
    assert subjects["table occurrence API_Notes"].startswith("all ")
    assert "login" not in odata.stand_in.counters()["requests"]


def test_an_account_without_the_privilege_is_told_its_name(odata: MigrationBench) -> None:
    odata.store.add_account(DATABASE, ServerAccount(USER, PASSWORD, privileges=("fmrest",)))
    finding = _broken(odata)
    assert (finding.rule, finding.level) == ("filemaker_unreachable", "stop")
    assert "fmodata" in finding.remedy
    assert "FILEMAKER_PASSWORD" in _broken(odata.with_settings(filemaker_password=SecretStr("wrong"))).remedy


def test_a_field_that_the_account_may_not_see_is_missing(odata: MigrationBench) -> None:
    odata.store.add_account(DATABASE, ServerAccount(USER, PASSWORD, no_access={"Notes": ["created_by"]}))
    finding = _broken(odata)
    assert (finding.rule, finding.subject) == ("filemaker_field_missing", "table occurrence API_Notes")
    assert finding.found == "without created_by; nothing feeds created_by"


def test_a_first_record_that_is_no_json_is_named_before_a_run(odata: MigrationBench) -> None:
    odata.stand_in.faults(broken_values=[{"table": "Notes", "record_id": 1, "field": "note", "as": "nul"}])
    finding = _broken(odata)
    assert finding.rule == "filemaker_layout_unfit"  # of this table only: the others are looked at all the same
    assert "the record 1 of API_Notes as invalid JSON in note" in finding.found
    assert "Get ( RecordID )" in finding.remedy


def test_records_that_odata_does_not_show_are_counted_through_the_data_api(odata: MigrationBench) -> None:
    odata.stand_in.faults(hidden_records={"Notes": [1, 2]})
    assert _source(odata) == [finding for finding in _source(odata) if finding.level == "good"]
    findings = preflight(odata.settings, full=True)
    (hidden,) = [finding for finding in findings if finding.rule == "filemaker_records_hidden"]
    assert (hidden.level, hidden.subject) == ("stop", "layout API_Notes")
    assert hidden.found.startswith("2 of ")


def test_text_that_odata_does_not_send_is_found_through_the_data_api(odata: MigrationBench) -> None:
    def lost() -> list[tuple[str, str, str]]:
        findings = preflight(odata.settings, full=True)
        return [(each.subject, each.level, each.found) for each in findings if each.rule == "text_lost_by_door"]

    odata.store.edit(DATABASE, "Patients", 3, {"dob": "in spring"})
    for record_id, text in ((2, "yes, 1"), (4, "yes"), (5, " 1 "), (6, "66.6666666666666667")):
        odata.store.edit(DATABASE, "Contact_Details", record_id, {"is_default": text})
    assert lost() == [
        ("patient", "stop", "text in a date or time field, 1 record of API_Patients: 3"),
        ("contact_detail", "stop", "text in a number field, 2 records of API_Contact_Details: 2, 4"),
    ]
    assert odata.stand_in.counters()["open_sessions"] == 0
    odata.store.add_account(DATABASE, ServerAccount(USER, PASSWORD, privileges=("fmodata",)))
    ((subject, level, found),) = lost()
    assert (subject, level) == ("text in number and date fields", "warning")
    assert found.startswith("not looked at. ")
