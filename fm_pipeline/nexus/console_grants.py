"""The privileges of the console's role, and the owner of the audit trail, as SQL.

The owner of a table can change its rows whatever triggers say, and the owner of a schema can drop its tables. So the
audit trail and its schema belong to a role that nobody logs in as; the others may read it and add rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.queries import quoted_name
from fm_pipeline.nexus.catalogue.schema import Catalogue

CONSOLE_SCHEMA = "fm_console"
# Tables to which rows are added and in which nothing is changed, and the function of their triggers.
APPEND_ONLY = ("audit", "run_requests")
TRIGGER_FUNCTION = "refuse_change"
# What the console reads of an account. It is the only login that needs the password.
ACCOUNTS = {
    "auth_user": ("id", "username", "password", "is_staff", "is_active"),
    "auth_group": ("id", "name"),
    "auth_user_groups": ("user_id", "group_id"),
}


def audit_statements(cursor: Cursor, audit_role: str) -> Iterator[str]:
    """Yield the statements that give schema and audit trail to their own role, which has no login."""
    name = quoted_name(cursor, audit_role)
    yield "-- Owns the audit trail. Nobody logs in as it, so nobody changes or deletes a row."
    if not role_exists(cursor, audit_role):
        yield f"CREATE ROLE {name} NOLOGIN;"
    if not _exists(cursor, "SELECT to_regnamespace('fm_pipeline') IS NOT NULL"):
        yield f"CREATE SCHEMA fm_pipeline AUTHORIZATION {name};"
        return
    yield f"ALTER SCHEMA fm_pipeline OWNER TO {name};"
    yield from (f"ALTER TABLE fm_pipeline.{table} OWNER TO {name};" for table in _append_only(cursor))
    if _exists(cursor, f"SELECT to_regproc('fm_pipeline.{TRIGGER_FUNCTION}') IS NOT NULL"):
        yield f"ALTER FUNCTION fm_pipeline.{TRIGGER_FUNCTION}() OWNER TO {name};"


def append_statements(cursor: Cursor, role: str) -> Iterator[str]:
    """Yield the statements that let a role read the audit trail and add rows to it."""
    name = quoted_name(cursor, role)
    yield f"GRANT USAGE ON SCHEMA fm_pipeline TO {name};"
    tables = ", ".join(f"fm_pipeline.{table}" for table in _append_only(cursor))
    if tables:
        yield f"GRANT SELECT, INSERT ON {tables} TO {name};"
    else:
        yield "-- The audit trail is not there yet: run fm-pipeline grants again after the first plan."


def console_statements(cursor: Cursor, catalogue: Catalogue, role: str) -> Iterator[str]:
    """Yield the statements for the role of CONSOLE_DATABASE_URL."""
    name = quoted_name(cursor, role)
    yield "-- For the console alone (name it in CONSOLE_DATABASE_URL): accounts, its own tables, the audit trail."
    if not role_exists(cursor, role):
        yield f"CREATE ROLE {name} LOGIN;"
    cursor.execute("SELECT quote_ident(current_database())")
    yield f"GRANT CONNECT ON DATABASE {(cursor.fetchone() or ('',))[0]} TO {name};"
    if _exists(cursor, f"SELECT to_regnamespace('{CONSOLE_SCHEMA}') IS NOT NULL"):
        yield f"ALTER SCHEMA {CONSOLE_SCHEMA} OWNER TO {name};"
        cursor.execute(
            "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'"
            " AND pg_get_userbyid(relowner) <> %s ORDER BY 1",
            (CONSOLE_SCHEMA, role),
        )
        yield from (f"ALTER TABLE {CONSOLE_SCHEMA}.{table} OWNER TO {name};" for (table,) in cursor.fetchall())
    else:
        yield f"CREATE SCHEMA {CONSOLE_SCHEMA} AUTHORIZATION {name};"
    yield f"GRANT USAGE ON SCHEMA {quoted_name(cursor, catalogue.schema)} TO {name};"
    for table, columns in ACCOUNTS.items():
        if catalogue.has(table):
            place = quoted_name(cursor, catalogue.schema, table)
            yield f"GRANT SELECT ({', '.join(columns)}) ON {place} TO {name};"
    yield from append_statements(cursor, role)


def audit_can_be_changed(cursor: Cursor) -> bool:
    """Whether the current role could change or drop the audit trail; False if there is none yet."""
    cursor.execute(
        "SELECT has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER') OR pg_has_role(n.nspowner, 'USAGE')"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'fm_pipeline' AND c.relname = 'audit'"
    )
    return cursor.fetchone() == (True,)


def role_exists(cursor: Cursor, role: str) -> bool:
    """Whether the server has a role of this name."""
    cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = %s)", (role,))
    return cursor.fetchone() == (True,)


def _append_only(cursor: Cursor) -> list[str]:
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('fm_pipeline') AND relname = ANY(%s)"
        " ORDER BY 1",
        (list(APPEND_ONLY),),
    )
    return [table for (table,) in cursor.fetchall()]


def _exists(cursor: Cursor, query: str) -> bool:
    cursor.execute(query)
    return cursor.fetchone() == (True,)
