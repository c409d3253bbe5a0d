"""Fills the stack with the synthetic clinic, and compares Nexus with the expected result afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.digest import Digest
from fm_pipeline.entities.registry import ENTITIES
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.sandbox.clinic.fill import fill_filemaker, fill_nexus
from fm_pipeline.sandbox.clinic.generate import Clinic
from fm_pipeline.sandbox.clinic.nexus.compare import differences
from fm_pipeline.sandbox.clinic.nexus.oracle import Expected
from fm_pipeline.sandbox.clinic.nexus.values import Profile
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.sandbox.nexus.digest import schema_digest
from fm_pipeline.sandbox.stack.filemaker import DATABASE, FileMakerService
from fm_pipeline.sandbox.stack.stack import Stack
from fm_pipeline.staging.check import Broken, broken_rules
from fm_pipeline.staging.summary import summary

# Subjects of comparisons: the demo prints a line for each, after "29 of 29".
STOP = "rules stop what they must, with Nexus unchanged"
TABLES = "tables of Nexus are as expected, to the row and column"
FILES = "kinds of files have their patient"
RECORDS = "kinds of FileMaker records are accounted for"
CHANGES = "tables were changed as expected: deleted, new, changed, equal"


class ComparisonResult(NamedTuple):
    """One statement about the result, and whether it holds."""

    subject: str
    name: str
    holds: bool
    found: str


def fill_stack(stack: Stack, clinic: Clinic, profile: Profile) -> None:
    """Create the reference Nexus and fill both systems, FileMaker in the layouts of a profile."""
    with _nexus(stack) as connection:
        create_nexus(connection)
        connection.commit()
        fill_nexus(connection, clinic)
    with closing(Store(stack.service(FileMakerService).state_file)) as store:
        fill_filemaker(store, clinic, DATABASE, profile)


def digests(stack: Stack) -> dict[str, Digest]:
    """Return the digest of every table in Nexus."""
    with _nexus(stack) as connection, connection.cursor() as cursor:
        return schema_digest(cursor, read_catalogue(cursor, "public"))


def stopping_rules(stack: Stack) -> list[Broken]:
    """Return the broken rules of the staged records whose action is `stop`."""
    with _nexus(stack) as connection, connection.cursor() as cursor:
        return [each for each in broken_rules(cursor, ENTITIES) if each.action == "stop"]


def compare_stops(expected: Expected, broken: Sequence[Broken], *, unchanged: bool) -> list[ComparisonResult]:
    """Compare the rules that stop with the expected ones: all of them, and no others."""
    found = {(each.entity, each.rule): each.rows for each in broken}
    results = [
        ComparisonResult(
            STOP,
            f"{entity}: {rule}",
            found.get((entity, rule), 0) == rows,
            f"{found.get((entity, rule), 0):,} of {rows:,}",
        )
        for (entity, rule), rows in expected.stops.items()
    ]
    others = found.keys() - expected.stops.keys()
    results.append(ComparisonResult(STOP, "nothing else stops", not others, f"{len(others)} other rules"))
    return [*results, ComparisonResult(STOP, "Nexus unchanged", unchanged, "digests of every table")]


def compare_with_expected(stack: Stack, expected: Expected, report: Mapping[str, Any]) -> list[ComparisonResult]:
    """Compare Nexus and the report of the reimport with the expected result.

    Args:
        report: `ReimportReport.as_dict()`.
    """
    return [*_tables(stack, expected), *_links(stack, expected), *_flags(stack, expected), *_counts(expected, report)]


def _nexus(stack: Stack) -> closing[Connection]:
    return closing(psycopg2.connect(stack.environment()["NEXUS_DATABASE_URL"]))


def _tables(stack: Stack, expected: Expected) -> Iterator[ComparisonResult]:
    """Compare every table of Nexus, to the row and column."""
    with _nexus(stack) as connection:
        unlike = Counter(difference.table for difference in differences(connection, expected))
    for name, table in expected.tables.items():
        found = f"{len(table.rows):,} rows" + (f", {unlike[name]:,} differ" if unlike[name] else "")
        yield ComparisonResult(TABLES, name, not unlike[name], found)


_LINKED = """
SELECT (SELECT count(*) FROM documents_document), (SELECT count(*) FROM documents_document d
          JOIN patients p ON p.id = d.object_id JOIN django_content_type t ON t.id = d.content_type_id
          WHERE t.app_label = 'patients' AND t.model = 'patient'),
       (SELECT count(*) FROM images_batch), (SELECT count(*) FROM images_batch b
          JOIN patients p ON p.id = b.object_id JOIN django_content_type t ON t.id = b.content_type_id
          WHERE t.app_label = 'patients' AND t.model = 'patient')
"""


def _links(stack: Stack, expected: Expected) -> Iterator[ComparisonResult]:
    """Check that every document and batch refers to an existing patient, except those without evidence."""
    with _nexus(stack) as connection:
        cursor = connection.cursor()
        cursor.execute(_LINKED)
        documents, linked_documents, batches, linked_batches = cursor.fetchone() or (0, -1, 0, -1)
    lost = sum(expected.lost_documents.values())
    for name, rows, linked in (("documents", documents - lost, linked_documents), ("batches", batches, linked_batches)):
        yield ComparisonResult(FILES, f"{name} with an existing patient", rows == linked, f"{linked:,} of {rows:,}")
    if lost:
        yield ComparisonResult(
            FILES, "documents that nobody can relink", documents - linked_documents == lost, f"{lost:,}"
        )


def _flags(stack: Stack, expected: Expected) -> Iterator[ComparisonResult]:
    """Compare the loaded rows that a rule has flagged, by entity and rule."""
    with _nexus(stack) as connection:
        found = {(s.entity, rule): rows for s in summary(connection) for rule, rows in s.flagged.items()}
    unlike = sum(found.get(key) != expected.flags.get(key) for key in found.keys() | expected.flags.keys())
    words = f"{sum(found.values()):,} times, by {len(found)} rules" + (f", {unlike} unlike" if unlike else "")
    yield ComparisonResult(
        RECORDS, "loaded rows that a rule noticed", not unlike, words + (f", {unlike} unlike" if unlike else "")
    )


def _counts(expected: Expected, report: Mapping[str, Any]) -> Iterator[ComparisonResult]:
    """Compare the pipeline's own report with the expected counts."""
    for source in report["sources"]:
        expected_source = expected.sources[source["entity"]]
        ends = (source["source"], source["loaded"], source["quarantined"], source["skipped"])
        right = (expected_source.rows, expected_source.loaded, expected_source.quarantined, expected_source.skipped)
        yield ComparisonResult(
            RECORDS,
            source["entity"],
            ends == right and ends[0] == sum(ends[1:]) and source["by_rule"] == expected_source.by_rule,
            "{:,} = {:,} loaded + {:,} quarantined + {:,} skipped".format(*ends),
        )
    for change in report["tables"]:
        expected_change = expected.changes[change["table"]]
        names = ("before", "deleted", "inserted", "updated", "unchanged", "after")
        holds = all(change[name] == getattr(expected_change, name) for name in names)
        found = ", ".join(f"{change[name]:,} {name}" for name in names)
        yield ComparisonResult(CHANGES, change["table"], holds, found)
    for key, number in (("documents", expected.documents_relinked), ("image_batches", expected.batches_repaired)):
        relinked = report[key]["relinked"]
        yield ComparisonResult(
            FILES, f"{key.replace('_', ' ')} relinked", relinked == number, f"{relinked:,} of {number:,}"
        )
