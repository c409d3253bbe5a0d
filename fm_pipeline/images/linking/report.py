"""The report of a link: totals, and skips and errors by reason. Counts, reasons and record ids only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import count
from fm_pipeline.images.exports import reader as export_file
from fm_pipeline.images.exports.metadata_table import count_export
from fm_pipeline.images.linking import matching
from fm_pipeline.images.linking.steps import CopyReport, RowsReport
from fm_pipeline.images.pictures import inspect as pictures

RULE = "=" * 70
LISTED = 100  # record ids of a reason that a report names; not_linked.csv has all
REASON_SENTENCES: Mapping[str, str] = {
    **matching.SKIP_REASONS,
    **matching.ERROR_REASONS,
    **export_file.REASONS,
    **{f"picture_{reason}": sentence for reason, sentence in pictures.REASONS.items()},
    "picture_too_large": "The file is too large to be looked into.",
    "repeated": "the export has the same record once more",
    "read_failed": "S3 did not give its file",
}


@dataclass(frozen=True)
class LinkReport:
    """Counts. `total` = linked + already + left + the sums of skipped and errors.

    Attributes:
        linked: newly, or in a dry run: how many would be.
        already: linked before.
        left: beyond the limit.
        failed: record ids of the errors by reason, the first `LISTED` of each.
        files_without_record: files of the bulk dump that no record of the export names.
        equal_files, equal_files_of_several: groups of planned images with the same bytes, and those of them that
            belong to different patients: somebody should look.
        repaired: batches that got their patient back.
        made_again: copies of images linked before that somebody had deleted from S3.
        other_etags: files of lost copies whose ETag is another one now, so that they were compared by their bytes.
        bulk_changed: objects of the bulk dump that others added, changed or removed while the link ran.
    """

    total: int
    batches_created: int
    linked: int
    already: int
    left: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, Sequence[int]] = field(default_factory=dict)
    files: int = 0
    files_without_record: int = 0
    equal_files: int = 0
    equal_files_of_several: int = 0
    repaired: int = 0
    copies_there: int = 0
    made_again: int = 0
    other_etags: int = 0
    bulk_changed: int = 0
    dry_run: bool = False

    @property
    def adds_up(self) -> bool:
        """Whether every record has exactly one outcome."""
        ends = self.linked + self.already + self.left + sum(self.skipped.values()) + sum(self.errors.values())
        return ends == self.total

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        would = " (would be)" if self.dry_run else ""
        yield "📊 SUMMARY"
        yield RULE
        yield f"Total images:          {self.total:,}"
        yield f"✅ Batches created:     {self.batches_created:,}{would}"
        yield f"✅ Images linked:       {self.linked:,}{would}"
        if self.already:
            yield f"✅ Linked before:       {self.already:,}"
        if self.left:
            yield f"⏸️  Left by the limit:   {self.left:,}"
        yield f"⏭️  Skipped:             {sum(self.skipped.values()):,}"
        yield from self._reasons(self.skipped)
        yield f"❌ Errors:              {sum(self.errors.values()):,}"
        yield from self._reasons(self.errors)
        yield ""
        yield f"Files in the bulk dump: {self.files:,}; without a record: {self.files_without_record:,}"
        if self.repaired:
            yield f"Batches that got their patient back: {self.repaired:,}"
        if self.made_again:
            yield f"Copies that were gone from S3 and were made again: {self.made_again:,}{would}"
        if self.other_etags:
            yield (
                "The bulk dump has other ETags than before, as after a move to another S3 server. Files of lost copies"
                f" that were compared by their bytes: {self.other_etags:,}"
            )
        if self.equal_files:
            yield (
                f"Groups of images with the same bytes: {self.equal_files:,};"
                f" of different patients: {self.equal_files_of_several:,}"
            )
        if self.bulk_changed:
            yield f"⚠️  Objects of the bulk dump that somebody else changed meanwhile: {self.bulk_changed:,}"
        if not self.adds_up:
            yield "⚠️  The counts do not add up: run it again, and report it if it stays so."

    @staticmethod
    def _reasons(counts: Mapping[str, int]) -> Iterator[str]:
        for reason, number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            yield f"   {number:>6,}  {reason}: {REASON_SENTENCES.get(reason, 'see docs/images.md')}"


def make_report(
    found: int, not_used: Mapping[str, int], copied: CopyReport, rows: RowsReport | None, files: int
) -> LinkReport:
    """Return the report of one run.

    Args:
        found: records of the export.
        not_used: those that no row was made of, by reason.
        rows: None in a dry run.
        files: objects of the bulk dump.
    """
    plan = copied.plan
    skipped = Counter(plan.skipped.values()) + Counter(not_used)
    lost = copied.lost
    failed = copied.errors | (rows.errors if rows else {})
    linked, already = copied.verified, len(plan.already) - len(lost.failed)
    if rows:
        skipped += Counter(rows.skipped.values())
        # Of the planned, those that somebody else linked meanwhile.
        linked = len(rows.linked)
        already += copied.verified - linked - len(rows.refused)
    groups = copied.same_bytes
    changes = copied.bulk_changes
    return LinkReport(
        total=found,
        batches_created=rows.batches_created if rows else copied.batches_new,
        linked=linked,
        already=already,
        left=len(plan.left),
        skipped=dict(skipped),
        errors=dict(Counter(failed.values())),
        failed=_listed(failed),
        files=files,
        files_without_record=len(plan.without_record),
        equal_files=len(groups),
        equal_files_of_several=sum(len({each.patient.key for each in group}) > 1 for group in groups),
        repaired=rows.repaired.repaired if rows else 0,
        copies_there=copied.existing,
        made_again=len(lost.made_again),
        other_etags=lost.other_etags,
        bulk_changed=len(changes.added | changes.removed | changes.changed),
        dry_run=rows is None,
    )


@dataclass(frozen=True)
class SourceCounts:
    """What a report says of the export and the bulk dump. No row that is written to Nexus changes it.

    Attributes:
        found, not_used, files: see `make_report`.
        files_without_record: see `LinkReport`.
    """

    found: int
    not_used: Mapping[str, int]
    files: int
    files_without_record: int


def read_source_counts(cursor: Cursor) -> SourceCounts:
    """Count the records of the newest export and the files of the bulk dump."""
    counts = count_export(cursor)
    cursor.execute(
        "SELECT count(*) FROM fm_pipeline.bulk_dump_objects o WHERE NOT EXISTS"
        " (SELECT 1 FROM fm_pipeline.image_metadata m WHERE m.recid = o.recid)"
    )
    return SourceCounts(*counts, files_without_record=count(cursor))


def read_report(cursor: Cursor, source: SourceCounts, rows: RowsReport) -> LinkReport:
    """Return the report as far as the tables hold it: the records of the newest export and their outcomes.

    Called while users wait for the locks, so what can be counted before them is given.

    Args:
        rows: what was written to Nexus.
    """
    ends: dict[str, Counter[str]] = {}
    cursor.execute("SELECT outcome, coalesce(reason, ''), count(*) FROM fm_pipeline.image_metadata GROUP BY 1, 2")
    for outcome, reason, number in cursor.fetchall():
        ends.setdefault(outcome or "waiting", Counter())[reason] += number
    cursor.execute(
        "SELECT coalesce(reason, ''), (array_agg(recid ORDER BY recid))[:%s] FROM fm_pipeline.image_metadata"
        " WHERE outcome = 'error' GROUP BY 1",
        (LISTED,),
    )
    failed = dict(cursor.fetchall())
    return LinkReport(
        total=source.found,
        batches_created=rows.batches_created,
        linked=sum(ends.get("linked", Counter()).values()),
        already=sum(ends.get("already_linked", Counter()).values()),
        left=sum(ends.get("left", Counter()).values()),
        skipped=dict(Counter(source.not_used) + ends.get("skipped", Counter())),
        errors=dict(ends.get("error", Counter())),
        failed=failed,
        files=source.files,
        files_without_record=source.files_without_record,
        repaired=rows.repaired.repaired,
    )


def _listed(failed: Mapping[int, str]) -> dict[str, list[int]]:
    """Return the first record ids of each reason."""
    ids: dict[str, list[int]] = {}
    for recid, reason in sorted(failed.items()):
        ids.setdefault(reason, []).append(recid)
    return {reason: listed[:LISTED] for reason, listed in ids.items()}
