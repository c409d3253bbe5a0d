"""How many patients each clinic and each funding source has, before and after a reimport.

Seed "import sequence", phase 8: patients can be filtered by clinic and by funding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.nexus.catalogue.schema import Catalogue

NONE = "(none)"
# What patients are counted by: the column of a patient, and the table of names that it points to.
_KINDS = {"clinic": ("clinic_id", "clinics"), "funding": ("funding_type_id", "funding_sources")}

Counts = Mapping[str, Mapping[str, int]]


def count_patients(cursor: Cursor, catalogue: Catalogue) -> Counts:
    """Patients by the name of their clinic and of their funding source; those without one as `(none)`.

    What this release of Nexus does not have is left out. Two of one name are told apart by the beginning of their ids.
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
    """One row for each clinic and funding source: `by`, `name`, `before`, `after`."""
    return [
        {"by": kind, "name": name, "before": before[kind].get(name, 0), "after": after[kind].get(name, 0)}
        for kind in before
        for name in sorted({*before[kind], *after[kind]}, key=lambda name: (name == NONE, name))
    ]
