"""Check that a restore would be allowed to write, before somebody needs it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import nullcontext

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.privileges import Needs, missing_privileges
from fm_pipeline.db.queries import has_table
from fm_pipeline.db.run_reports import RUN_REPORTS
from fm_pipeline.db.table import Table
from fm_pipeline.errors import PipelineError
from fm_pipeline.nexus.backup.restore_connection import connect_for_restore, refuse_other_database
from fm_pipeline.nexus.backup.rows import OWN_TABLES
from fm_pipeline.nexus.grants import RESTORE, restore_needs
from fm_pipeline.nexus.table_policy import Policy
from fm_pipeline.preflight.finding import Finding
from fm_pipeline.settings import Settings

_SUBJECT = "restore"


def _own_needs(cursor: Cursor) -> Needs:
    """Return what a restore needs on the pipeline's tables; nothing before the first plan has created them."""
    needs: Needs = {table: {"SELECT", *RESTORE["replaced"]} for table in OWN_TABLES}
    needs[Table("fm_pipeline", "staged_builds")] = {"SELECT"}
    needs[RUN_REPORTS] = {"INSERT"}
    return {table: privileges for table, privileges in needs.items() if has_table(cursor, str(table))}


def check_restores(
    connection: Connection, settings: Settings, policy: Policy, tables: Collection[Table]
) -> Iterator[Finding]:
    """Warn if a restore would be refused: the role lacks privileges, or its database is another one.

    Args:
        connection: of NEXUS_DATABASE_URL.
        tables: that a reimport may write.
    """
    try:
        with connect_for_restore(settings) if settings.restore_database_url else nullcontext(connection) as restoring:
            refuse_other_database(settings, connection, restoring)
            with restoring.cursor() as cursor:
                missing = missing_privileges(cursor, restore_needs(policy, tables) | _own_needs(cursor))
    except PipelineError as error:
        yield Finding("Nexus", _SUBJECT, "warning", error.what, remedy=error.remedy)
        return
    if not missing:
        yield Finding("Nexus", _SUBJECT, "good", "the role may write every table of a backup")
        return
    first = min(missing)
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    yield Finding(
        "Nexus",
        _SUBJECT,
        "warning",
        f"a restore would be refused: the role lacks {', '.join(sorted(missing[first]))} on {first}{more}",
        remedy="Let RESTORE_DATABASE_URL name the role that `fm-pipeline grants` makes for restores.",
    )
