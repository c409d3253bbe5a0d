"""A sync with nothing new: found out from a snapshot, without the transaction, its locks and its checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql

from fm_pipeline.db.connection import connect
from fm_pipeline.db.queries import count, database_name
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.plan_inputs import Inputs, deciding_settings
from fm_pipeline.nexus.sync.baseline import is_behind
from fm_pipeline.nexus.sync.decisions import Decision
from fm_pipeline.sequence.locked_transaction import Merge, plan_changes
from fm_pipeline.settings import Settings


@dataclass(frozen=True)
class NothingNew:
    """What a sync found that has nothing to do: what Nexus keeps, by id and column."""

    inputs: Inputs
    decisions: Sequence[Decision]


def find_nothing_new(settings: Settings, merge: Merge) -> NothingNew | None:
    """Return what Nexus keeps if a sync would change nothing and nothing waits; else None.

    Args:
        merge: that of the sync.

    Raises:
        CatalogueStop: Nexus' schema does not allow a sync.
    """
    with connect(settings.nexus_database_url.get_secret_value()) as connection:
        connection.set_session(isolation_level="REPEATABLE READ")
        with connection.cursor() as cursor:
            cursor.execute("SELECT status FROM fm_pipeline.syncs ORDER BY number DESC LIMIT 1")
            if (cursor.fetchone() or ("none",))[0] not in ("nothing_new", "committed"):
                return None  # the first sync, or one that waited: the whole transaction looks again
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            policy, _, differences = plan_changes(cursor, catalogue, settings)
            merged = merge(cursor, policy, differences)
            if any(each.is_conflict or not each.kept for each in merged.decisions):
                return None
            for difference in merged.differences:
                if is_behind(cursor, difference):
                    return None
                cursor.execute(
                    sql.SQL(
                        "SELECT count(*) FROM (SELECT FROM {} s LEFT JOIN {} t ON t.id = s.nexus_id"
                        " WHERE t.id IS NULL OR {} LIMIT 1) d"
                    ).format(difference.staged, difference.table.identifier, difference.differs()),
                    {"now": None},
                )
                if count(cursor):
                    return None
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(catalogue.table("patients").identifier))
            patients = count(cursor)
            inputs = Inputs(
                *(database_name(cursor), patients, catalogue.fingerprint, {}, {}), deciding_settings(settings)
            )
        connection.rollback()
    return NothingNew(inputs, merged.decisions)
