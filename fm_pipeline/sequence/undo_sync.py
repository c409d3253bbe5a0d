"""Undo a committed sync: Nexus gets the rows back that the sync has changed, unless users saved them since."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from fm_pipeline.db.audit import audited
from fm_pipeline.db.commit import commit, ignore_first_cancel
from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import acquire_reimport_lock, explain_lock_timeouts, lock_tables
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.staged_registry import read_registry
from fm_pipeline.nexus.sync.syncs import inputs_of, refuse_other_words
from fm_pipeline.nexus.sync.undo import changed_tables, referring_tables, undo
from fm_pipeline.nexus.table_policy import make_full_policy
from fm_pipeline.settings import Settings


def undo_sync(
    settings: Settings, sync_id: str, *, actor: str, run_id: str, confirm: str | None = None
) -> Mapping[str, int]:
    """Undo a sync, in one transaction; return the number of rows that were written back, by table.

    To the next sync these rows are edits of a user: it keeps and lists them.

    Args:
        confirm: the words of the sync, if a person has to type them; None if its id is enough.

    Raises:
        PlanStop: these are not the words.
        RequestError: there is no such sync, or rows were changed since.
        LockStop: a reimport, restore or sync runs, or another session holds the tables.
        ValidationStop, DatabaseError: it could not be written. Nexus is unchanged in every case.
    """
    url = settings.nexus_database_url.get_secret_value()
    with (
        ExitStack() as end,
        audited(url, actor=actor, action="sync", run_id=run_id, about=f"Undo of the sync {sync_id}."),
        connect(url) as gate,
        connect(url) as connection,
    ):
        acquire_reimport_lock(gate)
        with connection.cursor() as cursor:
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            tables = changed_tables(cursor, sync_id, catalogue)
            policy = make_full_policy(catalogue, read_registry(cursor), settings)
            locked = [*tables, *referring_tables(cursor, tables, policy)]
            if confirm is not None:
                refuse_other_words(inputs_of(cursor, sync_id), confirm)
        connection.commit()
        with (
            connection.cursor() as cursor,
            explain_lock_timeouts(connection, gate, locked, settings.nexus_lock_timeout_seconds),
        ):
            lock_tables(cursor, locked, settings.nexus_lock_timeout_seconds)
            rows = undo(cursor, sync_id, tables, policy)
            end.enter_context(ignore_first_cancel())
            commit(connection, url)
    return rows
