"""The rows of a backup: selects the tables, writes them to files, loads files into scratch tables."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pyrage
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.copy import copy_from
from fm_pipeline.db.digest import table_digest
from fm_pipeline.db.queries import column_list, comma
from fm_pipeline.db.table import Table
from fm_pipeline.nexus.backup.files import BackupStop, open_for_reading, open_for_writing
from fm_pipeline.nexus.backup.manifest import BackupTable, Role
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.catalogue.table_details import BackupColumn, columns_of
from fm_pipeline.nexus.reimport.references import touched_tables
from fm_pipeline.nexus.reimport.soft_references import with_soft_references
from fm_pipeline.nexus.staged_registry import read_registry
from fm_pipeline.nexus.table_policy import make_full_policy
from fm_pipeline.settings import Settings

# Ours: a reimport writes them, and without them a restored patient would get another id next time.
OWN_TABLES = (Table("fm_pipeline", "crosswalk"), Table("fm_pipeline", "retired_patient_ids"))

# step ("write", "verify", "read", "restore"), tables done, tables in all as soon as that is known
OnProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class BackupScope:
    """The tables that a backup has to hold, each with its role."""

    roles: Mapping[Table, Role]
    catalogue: Catalogue

    @property
    def touched(self) -> list[Table]:
        """The tables that a reimport can touch, without those that are only referenced."""
        return [table for table, role in self.roles.items() if role != "referenced"]


def find_scope(cursor: Cursor, settings: Settings) -> BackupScope:
    """Return the tables to back up: those that a reimport can touch, our own, and those that their rows refer to.

    Referenced rows are needed on a server that has lost them: a patient's clinic must exist before the patient.
    """
    catalogue = read_catalogue(cursor, settings.nexus_schema)
    registry = read_registry(cursor)
    policy = with_soft_references(cursor, make_full_policy(catalogue, registry, settings), settings, {})
    cursor.execute("SELECT entity FROM fm_pipeline.staged_builds")
    staged = {row[0] for row in cursor.fetchall()}
    replaced = {
        table
        for table in policy.tables_losing_rows
        if not staged or (entity := policy.entity_of(table)) is None or entity.name in staged
    }
    # Without FileMaker's columns, so that the result does not depend on a profile: at least what a reimport locks.
    touched = touched_tables(cursor, policy, {})
    roles: dict[Table, Role] = {table: "replaced" if table in replaced else "kept" for table in touched}
    roles |= dict.fromkeys(OWN_TABLES, "replaced")
    referred = catalogue.referred_to_by(touched)
    return BackupScope(roles | {table: "referenced" for table in referred if table not in roles}, catalogue)


def prepare_session(cursor: Cursor, settings: Settings) -> None:
    """Turn off the role's time-outs and row security for this transaction, as pg_dump does. Takes no snapshot."""
    cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
    cursor.execute("SET LOCAL row_security = off")
    milliseconds = int(settings.nexus_lock_timeout_seconds * 1000)
    cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{milliseconds}ms")))


def write_table_file(
    cursor: Cursor,
    path: Path,
    table: Table,
    role: Role,
    key: pyrage.x25519.Identity | None,
    *,
    left_out: Collection[str] = (),
) -> BackupTable:
    """Write a table's file, without some columns, and digest its rows, both from the snapshot of the transaction."""
    columns = [column for column in columns_of(cursor, table) if column.name not in left_out]
    names = [column.name for column in columns]
    # A query and not the table: COPY refuses partitioned tables and leaves out generated columns.
    copy = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT WITH (FORMAT text, ENCODING 'UTF8')").format(
        column_list(names), table.identifier
    )
    with open_for_writing(path, key) as file:
        cursor.copy_expert(copy, file.sink)
    digest = table_digest(cursor, table, names)
    return BackupTable(table, role, tuple(columns), digest, path.name, file.bytes, file.sha256)


def load_scratch_table(
    cursor: Cursor, folder: Path, table: BackupTable, key: pyrage.x25519.Identity | None, name: str
) -> Table:
    """Load a table's file into a temporary table of the transaction, and compare it with the manifest.

    Temporary tables belong to the session: they are gone when it ends, also when this process is killed; no other
    session can read them; and the role needs no privilege to create schemas.

    Raises:
        BackupStop: the rows are not those that were backed up.
    """
    scratch = Table("pg_temp", name)
    create_scratch_table(cursor, name, table.columns)
    copy = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT text, ENCODING 'UTF8')").format(
        scratch.identifier, column_list(table.names)
    )
    broken = BackupStop(
        f"The backup of {table.table} does not give back the rows that were backed up.",
        meaning="It is no backup. Nothing was changed in Nexus.",
        remedy="Make another one; check the disk that it was written to.",
    )
    try:
        with open_for_reading(folder / table.file, key) as plain:
            copy_from(cursor, copy, plain.read)
    except (OSError, EOFError, zlib.error, pyrage.DecryptError, psycopg2.DataError):
        raise broken from None
    except psycopg2.IntegrityError as error:  # a scratch table has no constraint but those of its domains
        raise BackupStop(
            f"Rows of {table.table} break the constraint {error.diag.constraint_name} of the domain"
            f" {error.diag.datatype_name}, which has not been validated. PostgreSQL refuses to write such values.",
            meaning="They cannot be restored. Nothing was changed.",
            remedy="Correct these values in Nexus, or let the owner of the domain drop the constraint (ALTER DOMAIN);"
            " then start again.",
        ) from None
    if table_digest(cursor, scratch, table.names, like=table.digest) != table.digest:
        raise broken
    return scratch


def create_scratch_table(
    cursor: Cursor, name: str, columns: Collection[BackupColumn], key: Collection[str] = ()
) -> None:
    """Create a temporary table of the transaction.

    Args:
        key: columns of its primary key; empty for none.
    """
    parts: list[sql.Composable] = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in columns
    ]
    if key:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(column_list(key)))
    cursor.execute(sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(sql.Identifier(name), comma(parts)))
