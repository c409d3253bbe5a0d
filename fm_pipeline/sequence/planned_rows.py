"""The ids of the rows that a reimport would delete, insert or change now, and why it would delete one. Reads only.

A plan stores counts. Its rows are looked up when somebody asks for them, in what is staged and in Nexus now; what has
changed since the plan was made is said too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import get_args

from psycopg2 import sql

from fm_pipeline.db.connection import connect
from fm_pipeline.errors import RequestError
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.difference import RowChange
from fm_pipeline.nexus.reimport.plan import usable_plan
from fm_pipeline.nexus.reimport.plan_inputs import Inputs, reread_inputs
from fm_pipeline.nexus.reimport.stale_plan import find_changes
from fm_pipeline.sequence.deletion_reasons import CLEARED, DeletionReason, find_reasons
from fm_pipeline.sequence.locked_transaction import plan_changes
from fm_pipeline.sequence.reimport import keep_synced_edits
from fm_pipeline.settings import Settings

ROW_CHANGES: tuple[RowChange, ...] = get_args(RowChange)


@dataclass(frozen=True)
class PlannedRows:
    """Rows of one table.

    Attributes:
        ids: Nexus id and FileMaker id of each; no FileMaker id if nothing links the row to FileMaker.
        more: whether there are more than were asked for.
        changes: what has changed since the plan was made; then these are not the rows of the plan.
        why: of rows to delete the reasons, by Nexus id.
    """

    ids: Sequence[tuple[str, str | None]]
    more: bool
    changes: Sequence[str]
    why: Mapping[str, DeletionReason] = field(default_factory=dict)


def read_planned_rows(
    settings: Settings, plan_id: str, table: str, change: RowChange, *, limit: int = 1000
) -> PlannedRows:
    """Look the rows up.

    Args:
        table: of Nexus, as the plan's report names it.

    Raises:
        PlanStop: there is no such plan, or it has been carried out.
        RequestError: the plan says nothing of this table (404).
        CatalogueStop: Nexus' schema does not allow a reimport any more.
    """
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        connection.set_session(isolation_level="REPEATABLE READ")  # temporary tables only; it is rolled back
        with connection.cursor() as cursor:
            content, _ = usable_plan(cursor, plan_id)
            planned, catalogue = Inputs.from_dict(content), read_catalogue(cursor, settings.nexus_schema)
            at = datetime.now(UTC)
            policy, _, differences = plan_changes(cursor, catalogue, settings)
            merged = keep_synced_edits(settings, at)(cursor, policy, differences)
            found = next((each for each in merged.differences if each.table.name == table), None)
            cleared = next((each for each in policy.cleared if each.name == table), None)
            why: Mapping[str, DeletionReason] = {}
            if found:
                ids = found.list_ids(cursor, change, at, limit + 1)
                why = find_reasons(cursor, found.entity.name, ids[:limit]) if change == "delete" else {}
            elif cleared and change == "delete":
                query = sql.SQL("SELECT id::text, NULL FROM {} ORDER BY 1 LIMIT %s").format(cleared.identifier)
                cursor.execute(query, (limit + 1,))
                ids = cursor.fetchall()
                why = {nexus_id: CLEARED for nexus_id, _ in ids[:limit]}
            else:
                raise RequestError(f"The plan has no rows to {change} in such a table.", code=404)
            now = reread_inputs(cursor, planned, catalogue, settings, staged=True)
            changes = [change.words for change in find_changes(planned, now)]
            return PlannedRows(ids[:limit], len(ids) > limit, changes, why)
