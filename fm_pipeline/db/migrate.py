"""Bring the schema `fm_pipeline` up to date. Nexus' own tables are never touched."""

from __future__ import annotations

from pathlib import Path

import psycopg2
from alembic import command
from alembic.config import Config
from psycopg2.errors import InsufficientPrivilege
from psycopg2.extensions import connection as Connection
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from fm_pipeline.db.connection import database_error, open_connection, redacted
from fm_pipeline.db.locks import AdvisoryLock, wait_for_lock
from fm_pipeline.db.queries import has_table
from fm_pipeline.errors import DatabaseError

MIGRATIONS = Path(__file__).with_name("migrations")


def migrate(database_url: str) -> None:
    """Create the schema `fm_pipeline` if needed and run the missing migrations, in one transaction.

    Two processes that migrate at the same time wait for each other.

    Args:
        database_url: the Nexus database, as people write it (`postgresql://…`).

    Raises:
        DatabaseError: the role may not create the schema, a newer release has made the tables, or a statement failed;
            nothing was changed.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: open_connection(database_url),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with redacted(), engine.begin() as connection:
            wait_for_lock(connection.connection.cursor(), AdvisoryLock("migrate"))  # type: ignore[arg-type]  # psycopg2's
            if connection.scalar(text("SELECT to_regnamespace('fm_pipeline')")) is None:
                connection.execute(text("CREATE SCHEMA fm_pipeline"))
            _refuse_newer_schema(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        original = error.orig if isinstance(error.orig, psycopg2.Error) else psycopg2.OperationalError()
        if isinstance(original, InsufficientPrivilege) and "fm_pipeline.audit" in (error.statement or ""):
            raise DatabaseError(
                "This release changes the table of the audit trail, and the role of NEXUS_DATABASE_URL may not do so.",
                meaning="Nothing was changed. No login owns this table, so a superuser has to allow the change.",
                remedy="As a superuser, GRANT fm_pipeline_audit to the role, start again, and then REVOKE it"
                " (docs/operations.md, Upgrade).",
            ) from None
        raise database_error(original) from None


def _refuse_newer_schema(connection: SqlConnection) -> None:
    if connection.scalar(text("SELECT to_regclass('fm_pipeline.alembic_version')")) is None:
        return
    made = connection.scalar(text("SELECT max(version_num) FROM fm_pipeline.alembic_version"))
    if made is not None and made > _newest():
        raise DatabaseError(
            f"The tables of the pipeline are those of a newer release: schema {made}, and this release knows"
            f" {_newest()}.",
            meaning="This release could misread them or lose what they hold. Nothing was changed.",
            remedy="Install the newer release again, or go back as docs/operations.md says under Upgrade.",
        )


def _newest() -> str:
    return max(path.stem.partition("_")[0] for path in (MIGRATIONS / "versions").glob("0*.py"))


def is_migrated(connection: Connection) -> bool:
    """Return whether the tables are those of this release. Does not use Alembic, which is too slow for a tick."""
    with connection.cursor() as cursor:
        if not has_table(cursor, "fm_pipeline.alembic_version"):
            return False
        cursor.execute("SELECT max(version_num) = %s FROM fm_pipeline.alembic_version", (_newest(),))
        return cursor.fetchone() == (True,)
