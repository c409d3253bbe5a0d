"""The privileges that the pipeline's roles need in this database, derived from its catalogue."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.privileges import Needs, select_of
from fm_pipeline.db.queries import quoted_name
from fm_pipeline.db.table import Table
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.nexus.catalogue.schema import Catalogue, SoftReference, read_catalogue
from fm_pipeline.nexus.catalogue.table_details import sequences_of
from fm_pipeline.nexus.catalogue.unread_columns import unread_columns
from fm_pipeline.nexus.console_grants import (
    APPEND_ONLY,
    TRIGGER_FUNCTION,
    append_statements,
    audit_statements,
    console_statements,
    role_exists,
)
from fm_pipeline.nexus.profile_fit import fit_registry
from fm_pipeline.nexus.reimport.other_writes import parse_trigger_tables
from fm_pipeline.nexus.reimport.references import touched_tables
from fm_pipeline.nexus.reimport.soft_references import list_soft_references
from fm_pipeline.nexus.table_names import BATCHES, CONTENT_TYPES, DOCUMENTS, IMAGES, SYSTEM_CONFIGURATION
from fm_pipeline.nexus.table_policy import Policy, make_full_policy
from fm_pipeline.settings import Settings

IMAGE_LINK = {"SELECT", "INSERT", "UPDATE"}  # UPDATE to lock the tables, and to repair batches
# Rows of `kept` tables are never deleted. Rows missing from the backup are only locked, and references set to NULL.
RESTORE = {"replaced": {"INSERT", "UPDATE", "DELETE"}, "kept": {"INSERT", "UPDATE"}}
_WIDTH = 110

# Objects in our schema that the role does not own, because a role with more privileges created them. The audit trail
# has an owner of its own.
_NOT_OWNED = """
SELECT kind, thing FROM (
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind, quote_ident(c.relname) AS thing
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'fm_pipeline' AND c.relkind IN ('r', 'p', 'v') AND pg_get_userbyid(c.relowner) <> %(role)s
UNION ALL
SELECT 'ROUTINE', quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')'
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'fm_pipeline' AND pg_get_userbyid(p.proowner) <> %(role)s
) objects WHERE thing <> ALL (%(audit)s) ORDER BY 1, 2
"""


def reimport_needs(cursor: Cursor, policy: Policy, updates: Mapping[str, Collection[str]]) -> tuple[Needs, list[Table]]:
    """Return the privileges that a reimport and its backup need, by table, and the tables that it may write.

    Args:
        cursor: of a role that may read Django's content types.
        updates: by table of the policy, the columns that its load writes.
    """
    catalogue = policy.catalogue
    needs = known_needs(policy)
    tables = touched_tables(cursor, policy, updates)
    for table in tables:
        needs.setdefault(table, set()).update(("SELECT", "UPDATE"))
    for table in catalogue.referred_to_by(tables):  # the backup holds what these rows refer to
        unread = unread_columns(catalogue, table)
        read = [name for name in catalogue.columns.get(table, ()) if name not in unread]
        if "SELECT" not in needs.setdefault(table, set()):
            needs[table].add(select_of(cursor, read) if unread else "SELECT")
    return needs, tables


def restore_needs(policy: Policy, touched: Collection[Table]) -> Needs:
    """Return the privileges that a restore needs, by table.

    Args:
        touched: the tables that a reimport may write.
    """
    needs: Needs = {table: RESTORE["replaced" if table in policy.tables_losing_rows else "kept"] for table in touched}
    return needs | {policy.catalogue.table(IMAGES): RESTORE["kept"]}


def known_needs(policy: Policy) -> Needs:
    """Return the part of these privileges that does not depend on references in the catalogue."""
    catalogue = policy.catalogue
    loaded = [catalogue.table(entity.table) for entity in policy.entities]
    needs: Needs = {table: {"SELECT", "INSERT", "UPDATE", "DELETE"} for table in loaded}
    needs |= {table: {"SELECT", "DELETE"} for table in policy.cleared}
    needs |= {catalogue.table(name): {"SELECT", "UPDATE"} for name in (DOCUMENTS, BATCHES)}
    return needs | {catalogue.table(name): {"SELECT"} for name in (IMAGES, CONTENT_TYPES, *SYSTEM_CONFIGURATION)}


@dataclass(frozen=True)
class RoleNames:
    """The roles of the pipeline in PostgreSQL.

    Attributes:
        pipeline: for reimports with their backups, images and DICOM.
        restore: for restores.
        console: for the console's own connection.
        audit: owns the audit trail.
    """

    pipeline: str = "fm_pipeline"
    restore: str = "fm_pipeline_restore"
    console: str = "fm_pipeline_console"
    audit: str = "fm_pipeline_audit"


def grant_statements(cursor: Cursor, settings: Settings, roles: RoleNames) -> Iterator[str]:
    """Yield the statements and comments that create the roles and grant them the least privileges that they need.

    Args:
        cursor: of a role that sees all tables, such as their owner; nothing is written.

    Raises:
        MappingError: the mapping profile is wrong.
        CatalogueStop: this is not a database of Nexus, or the settings name a table that it does not have.
    """
    catalogue = read_catalogue(cursor, settings.nexus_schema)
    registry = fit_registry(cursor, catalogue, load_profile(settings.filemaker_profile).registry).registry
    policy = make_full_policy(catalogue, registry, settings)
    policy = replace(policy, growing=parse_trigger_tables(catalogue, settings.nexus_trigger_tables))
    soft = [
        SoftReference(*place, catalogue.table("patients"), replaced=1) for place in list_soft_references(cursor, policy)
    ]
    policy = replace(policy, soft=tuple(soft))
    needs, touched = reimport_needs(cursor, policy, {})
    for name in (BATCHES, IMAGES):
        needs[catalogue.table(name)] |= IMAGE_LINK
    for table in policy.growing:  # triggers act with the rights of the role
        needs.setdefault(table, set()).update(("SELECT", "INSERT"))
    role, restore_role = roles.pipeline, roles.restore
    yield from audit_statements(cursor, roles.audit)
    yield ""
    name = quoted_name(cursor, role)
    yield f"-- For reimports and their backups, images and DICOM. Then set a password: \\password {name}"
    yield from _make_role(cursor, role)
    yield from _own_schema(cursor, role)
    yield from _read(cursor, catalogue, needs, role)
    yield from _write(cursor, needs, role)
    yield from _sequences(cursor, policy.growing, role, "USAGE", identities=False)
    yield ""
    yield "-- For restores alone (RESTORE_DATABASE_URL): it writes every table of a backup."
    yield from _make_role(cursor, restore_role, member_of=role)
    writes = restore_needs(policy, touched)
    yield from _write(cursor, writes, restore_role)
    yield from _sequences(cursor, touched, restore_role, "SELECT, UPDATE", identities=True)
    kept = [table for table in writes if table not in policy.tables_losing_rows]
    deleting = _grant(cursor, "DELETE", kept, restore_role).replace("\n", "\n-- ")
    yield (
        "-- Only for fm-pipeline restore --newer set-aside, which removes rows that are newer than the backup:\n"
        f"-- {deleting}"
    )
    yield ""
    yield from console_statements(cursor, catalogue, roles.console)


def _make_role(cursor: Cursor, role: str, member_of: str = "") -> Iterator[str]:
    group = f" IN ROLE {quoted_name(cursor, member_of)}" if member_of else ""
    if not role_exists(cursor, role):
        yield f"CREATE ROLE {quoted_name(cursor, role)} LOGIN{group};"
    elif member_of:
        yield f"GRANT {quoted_name(cursor, member_of)} TO {quoted_name(cursor, role)};"


def _own_schema(cursor: Cursor, role: str) -> Iterator[str]:
    """Let the role create in our schema, and make it the owner of its objects, because it migrates them."""
    name = quoted_name(cursor, role)
    cursor.execute("SELECT quote_ident(current_database())")
    (database,) = cursor.fetchone() or ("",)
    yield f"GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {name};"
    yield f"GRANT CREATE ON SCHEMA fm_pipeline TO {name};"
    yield from append_statements(cursor, role)
    cursor.execute(_NOT_OWNED, {"role": role, "audit": [*APPEND_ONLY, f"{TRIGGER_FUNCTION}()"]})
    yield from (f"ALTER {kind} fm_pipeline.{thing} OWNER TO {name};" for kind, thing in cursor.fetchall())


def _read(cursor: Cursor, catalogue: Catalogue, needs: Needs, role: str) -> Iterator[str]:
    """Grant SELECT on all tables of Nexus, because dependants of a patient are searched for; elsewhere as needed.

    Of some tables only the columns that the role needs: earlier releases granted the others too.
    """
    name = quoted_name(cursor, role)
    elsewhere = {table for table in needs if table.schema not in (catalogue.schema, "fm_pipeline")}
    for schema in [catalogue.schema, *sorted({table.schema for table in elsewhere})]:
        yield f"GRANT USAGE ON SCHEMA {quoted_name(cursor, schema)} TO {name};"
    yield f"GRANT SELECT ON ALL TABLES IN SCHEMA {quoted_name(cursor, catalogue.schema)} TO {name};"
    if elsewhere:
        yield _grant(cursor, "SELECT", elsewhere, role)
    for table, privileges in sorted(needs.items()):
        for words in privileges:
            if words.startswith("SELECT ("):
                yield f"REVOKE SELECT ON {quoted_name(cursor, *table)} FROM {name};"  # noqa: S608  # printed
                yield _grant(cursor, words, [table], role)


def _write(cursor: Cursor, needs: Needs, role: str) -> Iterator[str]:
    """Grant the privileges other than SELECT, one statement for each set of privileges."""
    by_privileges: dict[str, list[Table]] = {}
    for table, privileges in needs.items():
        if writes := [word for word in ("INSERT", "UPDATE", "DELETE") if word in privileges]:
            by_privileges.setdefault(", ".join(writes), []).append(table)
    for words, tables in sorted(by_privileges.items()):
        yield _grant(cursor, words, tables, role)


def _sequences(cursor: Cursor, tables: Collection[Table], role: str, words: str, *, identities: bool) -> Iterator[str]:
    """An identity column needs no privilege on its sequence."""
    found = [(each.sequence, each.is_identity) for table in sorted(tables) for each in sequences_of(cursor, table)]
    for sequence, is_identity in dict.fromkeys(found):
        if identities or not is_identity:
            yield f"GRANT {words} ON SEQUENCE {sequence} TO {quoted_name(cursor, role)};"


def _grant(cursor: Cursor, words: str, tables: Collection[Table], role: str) -> str:
    names: Sequence[str] = [quoted_name(cursor, *table) for table in sorted(tables)]
    statement = f"GRANT {words} ON {', '.join(names)} TO {quoted_name(cursor, role)};"
    return textwrap.fill(statement, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
