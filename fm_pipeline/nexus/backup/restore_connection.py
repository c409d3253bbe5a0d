"""The connection of a restore, which may have a role of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.db.url import named_in_errors
from fm_pipeline.errors import SettingsError
from fm_pipeline.settings import Settings

# A database is known by its oid, and a server by the microsecond in which it has started.
_WHERE = (
    "SELECT d.oid, d.datname::text, pg_postmaster_start_time() FROM pg_database d WHERE d.datname = current_database()"
)


@contextmanager
def connect_for_restore(settings: Settings) -> Iterator[Connection]:
    """Connect with the role of RESTORE_DATABASE_URL; without it, with that of NEXUS_DATABASE_URL."""
    url = settings.restore_database_url or settings.nexus_database_url
    with ExitStack() as opened:
        with named_in_errors("RESTORE_DATABASE_URL" if settings.restore_database_url else "NEXUS_DATABASE_URL"):
            connection = opened.enter_context(connect(url.get_secret_value()))
        yield connection


def refuse_other_database(settings: Settings, nexus: Connection, connection: Connection) -> None:
    """Refuse to restore into a database that the rest of the pipeline does not use.

    Args:
        nexus: of NEXUS_DATABASE_URL; its transaction ends.
        connection: of `connect_for_restore`; its transaction ends.

    Raises:
        SettingsError: RESTORE_DATABASE_URL leads to another database.
    """
    if settings.restore_database_url is None:
        return
    places = []
    for each in (nexus, connection):
        with each.cursor() as cursor:
            cursor.execute(_WHERE)
            places.append(cursor.fetchone())
        each.rollback()
    if places[0] != places[1]:
        raise SettingsError(
            "RESTORE_DATABASE_URL leads to another database than NEXUS_DATABASE_URL.",
            meaning="A restore would change a database that is not the one of NEXUS_DATABASE_URL. Nothing was changed.",
            remedy="Give both the same server and database; only the role differs. To restore into another database,"
            " change both, or leave RESTORE_DATABASE_URL empty.",
        )
