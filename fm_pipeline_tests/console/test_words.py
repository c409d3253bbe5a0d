"""Names and counts on pages."""

from __future__ import annotations

from fm_pipeline.console.templatetags.words import (
    breakable,
    counted,
    outcome_words,
    restored_rows,
    rows_changed,
    run_is,
    status_word,
    table_name,
    table_words,
    words,
)


def test_tables_have_words_first_and_their_name_where_it_is_another() -> None:
    assert [table_words(name) for name in ("patients", "sms_messages", "fm_pipeline.crosswalk")] == [
        "Patients",
        "SMS messages",
        "Crosswalk (the pipeline's own)",
    ]
    assert table_name("patients") == "Patients"
    assert table_words("letters_patientletter") == "Letters"
    assert table_name("images_batch") == 'Image batches <small class="hint"><code>images_batch</code></small>'


def test_a_long_name_can_be_broken_and_is_escaped() -> None:
    assert breakable("hospital_dicom_sensor") == "hospital_<wbr>dicom_<wbr>sensor"
    assert breakable("a.b@c-d") == "a.<wbr>b@<wbr>c-<wbr>d"
    assert breakable("<b>") == "&lt;b&gt;"
    assert breakable(None) == ""


def test_counts_and_states_are_words() -> None:
    assert [counted(1, "file"), counted(1200, "file"), counted(2, "directory,directories")] == [
        "1 file",
        "1,200 files",
        "2 directories",
    ]
    assert [status_word(each) for each in ("pending", "queued", "completed", "failed")] == [
        "waiting",
        "waiting",
        "done",
        "failed",
    ]
    assert [run_is(each) for each in ("queued", "running", "cancelling")] == [
        "waits for its turn",
        "is running",
        "is being cancelled",
    ]
    assert (words("already_there"), words(None)) == ("already there", "")


def test_a_run_that_had_nothing_to_change_is_not_said_to_have_changed_no_rows() -> None:
    assert [rows_changed(rows) for rows in (0, 1, 1200)] == [
        "no row of Nexus had to be changed",
        "1 row of Nexus changed",
        "1,200 rows of Nexus changed",
    ]
    own = {"table": "fm_pipeline.crosswalk", "deleted": 1, "inserted": 2, "newer": 7}
    assert restored_rows({"tables": [own]}) == "no row of Nexus and 3 of the pipeline's own tables"
    assert restored_rows({"tables": [own, {"table": "patients", "set_aside": 4}]}).startswith("4 rows of Nexus and 3 ")
    assert restored_rows({}) == "no row of Nexus"


def test_a_dicom_file_that_orthanc_had_is_already_there_on_every_page() -> None:
    said = {"imported": "imported", "already_there": "already there", "duplicate": "already there, from another file"}
    assert {outcome: outcome_words(outcome) for outcome in said} == said
