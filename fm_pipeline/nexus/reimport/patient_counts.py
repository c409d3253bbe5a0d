"""Counts patients by clinic and by funding source, before and after a reimport."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.nexus.catalogue.schema import Catalogue

NONE = "(none)"
# For each kind of count: the column of a patient, and the table of names that it refers to.
_KINDS = {"clinic": ("clinic_id", "clinics"), "funding": ("funding_type_id", "funding_sources")}

Counts = Mapping[str, Mapping[str, int]]


def count_patients(cursor: Cursor, catalogue: Catalogue) -> Counts:
    """Count patients by the name of their clinic and of their funding source; those without one as `(none)`.

    Columns that this release of Nexus does not have are left out. Equal names are distinguished by the start of their
    ids.
    """
    patients = catalogue.table("patients")
    counts: dict[str, dict[str, int]] = {}
    for kind, (column, table) in _KINDS.items():
        if column not in catalogue.columns[patients] or "name" not in catalogue.columns.get(catalogue.table(table), {}):
            continue
        cursor.execute(
            sql.SQL(
                "SELECT n.id::text, n.name, count(*) FROM {patients} p LEFT JOIN {names} n ON n.id = p.{column}"
                " GROUP BY n.id, n.name ORDER BY n.name NULLS LAST, n.id"
            ).format(
                patients=patients.identifier, names=catalogue.table(table).identifier, column=sql.Identifier(column)
            )
        )
        rows = cursor.fetchall()
        same = Counter(name for _, name, _ in rows)
        counts[kind] = {
            NONE if own_id is None else f"{name} ({own_id[:8]})" if same[name] > 1 else name: number
            for own_id, name, number in rows
        }
    return counts


def compare_counts(before: Counts, after: Counts) -> list[dict[str, str | int]]:
    """Return one row for each clinic and funding source: `by`, `name`, `before`, `after`."""
    return [
        {"by": kind, "name": name, "before": before[kind].get(name, 0), "after": after[kind].get(name, 0)}
        for kind in before
        for name in sorted({*before[kind], *after[kind]}, key=lambda name: (name == NONE, name))
    ]
