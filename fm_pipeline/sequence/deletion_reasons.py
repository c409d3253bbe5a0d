"""Why a reimport would delete a row of Nexus: one reason for each row, from what is staged. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.entities.rules import load_rules

# A record of which several have the same id: the one that is kept out says why.
_RECORDS = """
SELECT DISTINCT ON (s.filemaker_key) s.filemaker_key, s.record_id, CASE WHEN o.outcome <> 'ready' THEN o.rule END
FROM fm_pipeline.source_records s LEFT JOIN fm_pipeline.staged_outcomes o USING (entity, record_id)
WHERE s.entity = %s AND s.filemaker_key = ANY(%s)
ORDER BY s.filemaker_key, o.outcome = 'ready', s.record_id
"""


@dataclass(frozen=True)
class DeletionReason:
    """Why a row would be deleted.

    Attributes:
        kind: `only_in_nexus`: nothing links it to FileMaker. `gone`: FileMaker had the record of it. `kept_out`:
            FileMaker has the record, and a rule does not load it. `replaced`: the record is loaded as another row.
            `cleared`: a setting empties the table.
        rule: that keeps the record out, with what it `means` and what to do.
        entity, record_id: of that record.
    """

    kind: Literal["only_in_nexus", "gone", "kept_out", "replaced", "cleared"]
    rule: str = ""
    means: str = ""
    remedy: str = ""
    entity: str = ""
    record_id: int = 0


CLEARED = DeletionReason("cleared")


def find_reasons(cursor: Cursor, entity: str, rows: Sequence[tuple[str, str | None]]) -> Mapping[str, DeletionReason]:
    """Return the reason of each row, by its Nexus id.

    Args:
        rows: Nexus id and FileMaker id; None if nothing links the row to FileMaker.
    """
    rules = load_rules().by_id  # what a rule means is the same whatever a clinic makes it do
    cursor.execute(_RECORDS, (entity, [key for _, key in rows if key]))
    records = {key: (record_id, rule) for key, record_id, rule in cursor.fetchall()}

    def reason(key: str | None) -> DeletionReason:
        if not key:
            return DeletionReason("only_in_nexus")
        if key not in records:
            return DeletionReason("gone")
        record_id, rule = records[key]
        if not rule:
            return DeletionReason("replaced")
        said = (rules[rule].means, rules[rule].remedy) if rule in rules else ("", "")
        return DeletionReason("kept_out", rule, *said, entity, record_id)

    return {nexus_id: reason(key) for nexus_id, key in rows}
