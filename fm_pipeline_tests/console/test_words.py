"""Names and counts on pages."""

from __future__ import annotations

from fm_pipeline.console.templatetags.words import counted, run_is, status_word, table_name, table_words, words


def test_tables_have_words_first_and_their_name_where_it_is_another() -> None:
    assert [table_words(name) for name in ("patients", "sms_messages", "fm_pipeline.crosswalk")] == [
        "Patients",
        "SMS messages",
        "Crosswalk (the pipeline's own)",
    ]
    assert table_name("patients") == "Patients"
    assert table_words("letters_patientletter") == "Letters"
    assert table_name("images_batch") == 'Image batches <small class="hint"><code>images_batch</code></small>'


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
