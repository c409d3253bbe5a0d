"""Names of tables, entities and outcomes, and counts, as a reader writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from fm_pipeline.nexus.backup.restore_tables import changed_words
from fm_pipeline.nexus.table_names import BATCHES, DOCUMENTS, IMAGES, LETTERS, REMINDERS
from fm_pipeline.notifications.for_the_operator import who_can_do_it
from fm_pipeline.pluralize import counted as counted_words
from fm_pipeline.pluralize import rows_changed as rows_changed_words
from fm_pipeline.status.image_reasons import ReasonShown, reasons_shown

register = template.Library()
OUR_SCHEMA = "fm_pipeline"
_ABBREVIATIONS = {"sms": "SMS"}
_TABLES = {
    LETTERS: "letters",
    REMINDERS: "reminders",
    DOCUMENTS: "documents",
    BATCHES: "image batches",
    IMAGES: "images",
}
# Orthanc had the same bytes already: from an earlier import, or from another file of this one.
_OUTCOMES = {"duplicate": "already there, from another file"}
# One word for one state: those of runs. The left ones are the words of the hospital's system for an import job, which
# the calls and the commands keep, and Dagster's.
_STATES = {"pending": "waiting", "queued": "waiting", "completed": "done"}


@register.filter
def words(name: object) -> str:
    """Return `sms_messages` as "sms messages"."""
    return "" if name is None else str(name).replace("_", " ")


@register.filter
def breakable(name: object) -> SafeString:
    """Return the name of a person or a program so that a narrow column can break it after `_`, `@`, `.` and `-`."""
    parts = re.split(r"(?<=[_@.-])", "" if name is None else str(name))
    return format_html_join(mark_safe("<wbr>"), "{}", ((part,) for part in parts))  # a constant


@register.filter
def counted(count: int | str | None, word: str) -> str:
    """Return a number and its word: `{{ 1|counted:"file" }}`, `{{ 2|counted:"directory,directories" }}`.

    Nothing of what is not there: an older report may lack it.
    """
    one, _, many = word.partition(",")
    return "" if count in (None, "") else counted_words(int(count or 0), one, many)


@register.filter
def rows_changed(rows: int) -> str:
    """Return what a run has done to Nexus: `{{ report.changed_rows|rows_changed }}`."""
    return rows_changed_words(int(rows))


@register.filter
def restored_rows(report: Mapping[str, Any]) -> str:
    """Return how many rows a restore has changed, those of the pipeline's own tables apart."""
    return changed_words(report)


@register.filter
def outcome_words(outcome: str) -> str:
    """Return the outcome of a DICOM file as every page calls it. Its id is the same in commands, files and calls."""
    return _OUTCOMES.get(outcome, words(outcome))


@register.filter
def image_reasons(report: Mapping[str, Any]) -> dict[str, list[ReasonShown]]:
    """Return the reasons of the report of a link or an import of images; see `reasons_shown`."""
    return reasons_shown(report)


@register.filter
def status_word(status: str) -> str:
    """Return the status of an import job or a run as pages call it."""
    return _STATES.get(status, status)


@register.filter
def run_is(status: str) -> str:
    """Return what a run of that status does, after its name: "waits for its turn", "is running"."""
    return {"queued": "waits for its turn", "cancelling": "is being cancelled"}.get(status, f"is {status}")


@register.simple_tag
def who_can(*texts: object) -> SafeString:
    """Return a paragraph that says who does what these texts or lists of texts advise; see `who_can_do_it`."""
    flat = [text for each in texts for text in (each if isinstance(each, list | tuple) else [each])]
    said = who_can_do_it(*(str(text) for text in flat if text))
    return format_html('<p class="hint">{}</p>', said) if said else SafeString("")


@register.filter
def table_words(name: str) -> str:
    """Return the name of a table in words, for example `SMS messages`; of the pipeline's own tables it says so."""
    schema, _, table = name.rpartition(".")
    said = _TABLES.get(table) or " ".join(_ABBREVIATIONS.get(word, word) for word in table.split("_"))
    said = said[:1].upper() + said[1:]
    return f"{said} (the pipeline's own)" if schema == OUR_SCHEMA else said


@register.filter
def table_name(name: str) -> SafeString:
    """Return the words of a table, and its name for an engineer where that is another."""
    said = table_words(name)
    if said.lower() == name:
        return format_html("{}", said)
    return format_html('{} <small class="hint"><code>{}</code></small>', said, name)
