"""Connections to the Nexus database, and the one place where database errors are stripped of patient data.

PostgreSQL's DETAIL, CONTEXT and at times the message itself carry row values; only SQLSTATE and the names of
objects are safe (PostgreSQL manual, "Error and Notice Message Fields").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection_failures import connection_failure
from fm_pipeline.db.interrupts import interruptible, let_ctrl_c_end_waits, raise_interrupt_if_due
from fm_pipeline.db.stalled_connections import StallableConnection, is_stalled, watch
from fm_pipeline.db.url import connection_parameters
from fm_pipeline.errors import DatabaseError

# What the common classes mean for the reader. https://www.postgresql.org/docs/current/errcodes-appendix.html
MEANINGS = {
    "08": "The connection to PostgreSQL failed or was lost.",
    "22": "A value does not fit its column.",
    "23": "A constraint of the Nexus database forbids it.",
    "25": "The transaction was not in a state that allows it.",
    "28": "PostgreSQL refused the login.",
    "3D": "The database does not exist.",
    "40": "PostgreSQL rolled the transaction back because of another one.",
    "42": "A table, column or privilege is not as the pipeline expects it.",
    "53": "PostgreSQL is out of disk space, memory or connections.",
    "55": "An object is in use by another session.",
    "55000": "A table is not in a state that allows it.",
    "57": "PostgreSQL was stopped or the statement was cancelled.",
}
REMEDIES = {
    "08": "Check NEXUS_DATABASE_URL (address, user, password, database), that the server runs, and that it lets the"
    " role open three connections; then start again.",
    "22": "Look up the column in Nexus and the value in FileMaker, and make them fit; then start again.",
    "23": "Look the constraint up in Nexus (psql: \\d TABLE), correct in FileMaker what breaks it (docs/runbook.md"
    " says how to find the records), then start again.",
    "25006": "Name the primary server in NEXUS_DATABASE_URL, or take default_transaction_read_only away from the role.",
    "28": "Check the user name and password in NEXUS_DATABASE_URL.",
    "3D": "Check the database name in NEXUS_DATABASE_URL.",
    "40": "Start again.",
    "42": "`fm-pipeline check` names what differs; the server's log has the statement.",
    "42501": "Grant the privilege to the pipeline's role (`fm-pipeline grants` prints them); if it has them all, row"
    " security is in the way. `fm-pipeline check` names either.",
    "53": "Free disk space or connections on the database server, then start again.",
    "55000": "Look for a publication (psql: \\dRp+) of tables that have no replica identity; as the owner of such a"
    " table, ALTER TABLE … REPLICA IDENTITY FULL.",
    "57": "See that the server runs and who cancelled the statement (the server's log), then start again.",
    "P0": "A trigger or function of the database raised it; the server's log has its words. Let its owner exempt the"
    " pipeline's role, then start again.",
}
# For every other class, and for errors without a SQLSTATE.
REMEDY = (
    "Look the time up in the log of the PostgreSQL server, and the SQLSTATE in the PostgreSQL manual (appendix A); then"
    " start again."
)
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_FUNCTION = re.compile(r'PL/pgSQL function ("?[\w.]+"?)\(')  # at the start of an error's CONTEXT: where it was raised
# The functions of PostgreSQL that refuse to write a published table whose rows a subscriber could not recognize, and to
# read one whose rows a policy hides. Only their messages name the table: the first word in quotation marks, in every
# language.
_NAME_THEIR_TABLE = ("CheckCmdReplicaIdentity", "check_enable_rls")
_QUOTED = re.compile(r"[\"«„“]\s?([^\"»“”]+?)\s?[\"»“”]")
APPLICATION_NAME = "fm_pipeline"
# Settings by which a server detects that its client is gone. One that the server refuses is left out.
DETECT_LOST_CLIENT = (
    "SET client_connection_check_interval = '1s'",
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3",
)

# Settings that our statements rely on and that a server, database, role or environment may have changed. The time-outs
# are meant for the application's short requests; a run keeps transactions open while it reads FileMaker, or while
# another session of it works. A row that a policy hides would count as missing; with `row_security` off, a query of
# such a table is an error (pg_dump does the same). `lock_timeout` is not reset: code that waits for locks sets it. With
# `synchronous_commit` off, a server that crashes loses rows after FileMaker was told that they are in Nexus.
_SESSION = """
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres';
SET default_transaction_isolation = 'read committed'; SET extra_float_digits = 1; SET row_security = off;
SET quote_all_identifiers = off; SET array_nulls = on; SET bytea_output = 'hex'; SET xmloption = 'content';
SET transform_null_equals = off;
SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout',
       'idle_in_transaction_session_timeout', 'idle_session_timeout');
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'off'
"""


# psycopg2 looks at this setting when it connects, and never again. If a statement turned it on later, psycopg2 would
# still write parameters as E'…' but would no longer double their backslashes: C:\temp would arrive as C:, a tab, emp.
_PLAIN_BACKSLASHES = "standard_conforming_strings"

# Defaults that a URL may override. A network that is gone is noticed after a minute.
PATIENCE = {"connect_timeout": "15", "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}


def open_connection(database_url: str) -> Connection:
    """Open a psycopg2 connection. `connect` also sets what a session of ours relies on.

    A server that falls silent later ends the connection, see `fm_pipeline.db.stalled_connections`.

    Raises:
        SettingsError: NEXUS_DATABASE_URL cannot be read.
        DatabaseError: the connection failed; says why.
    """
    parameters: dict[str, Any] = PATIENCE | connection_parameters(database_url) | {"application_name": APPLICATION_NAME}
    let_ctrl_c_end_waits()
    connection = _open(parameters)
    if _backslashes_escape(connection):
        connection.close()
        options = f"{parameters.get('options') or ''} -c {_PLAIN_BACKSLASHES}=on".strip()
        connection = _open(parameters | {"options": options})
        if _backslashes_escape(connection):  # a pooler has dropped the option
            connection.close()
            raise DatabaseError(
                f"The setting {_PLAIN_BACKSLASHES} of the database, or of its role, is off.",
                meaning="Values with a backslash would arrive changed. Nothing was read or written.",
                remedy=f"As the owner of the database: ALTER DATABASE … RESET {_PLAIN_BACKSLASHES}; or ALTER ROLE … for"
                " the role in the URL.",
            )
    watch(connection, parameters)
    return connection


def _open(parameters: Mapping[str, Any]) -> Connection:
    try:
        connection: Connection = interruptible(
            lambda: psycopg2.connect(**parameters, connection_factory=StallableConnection)
        )
    except UnicodeDecodeError as fault:  # the server's words in its own encoding, before ours is agreed upon
        said = psycopg2.OperationalError(fault.object.decode("latin-1"))
        raise connection_failure(said) or database_error(said) from None
    except psycopg2.Error as error:
        raise connection_failure(error) or database_error(error) from None
    return connection


def _backslashes_escape(connection: Connection) -> bool:
    return connection.info.parameter_status(_PLAIN_BACKSLASHES) == "off"


@contextmanager
def connect(database_url: str) -> Iterator[Connection]:
    """Open a session that does not depend on settings of the server, database, role or environment.

    It is closed at the end of the block; an open transaction is rolled back.

    Raises:
        SettingsError: NEXUS_DATABASE_URL cannot be read.
        DatabaseError: in place of every database error inside the block, without values of rows.
    """
    with redacted():
        connection = open_connection(database_url)
        try:
            # In the first transaction of the connection and not as start-up options: poolers refuse those.
            connection.set_client_encoding("UTF8")
            with connection.cursor() as cursor:
                cursor.execute(_SESSION)
                _enforce_constraints(cursor)
            connection.commit()
            _detect_lost_client(connection)
            yield connection
        except (psycopg2.Error, DatabaseError):
            if is_stalled(connection):
                raise _stalled() from None
            raise
        finally:
            connection.close()


def _stalled() -> DatabaseError:
    return DatabaseError(
        "PostgreSQL has stopped answering: the connection is there, and nothing comes.",
        sqlstate="08006",
        meaning="The connection was ended. What was not committed is rolled back.",
        remedy="Look whether the server, its machine, or a proxy or firewall before it hangs; then start again.",
    )


@contextmanager
def transaction(connection: Connection) -> Iterator[Cursor]:
    """Give a cursor for one transaction: committed at the end of the block, rolled back if the block fails."""
    try:
        with connection.cursor() as cursor:
            yield cursor
        connection.commit()
    except BaseException:
        if not connection.closed:
            connection.rollback()
        raise


def _enforce_constraints(cursor: Cursor) -> None:
    """Let PostgreSQL check foreign keys and fire triggers, also if a setting of the role or database turns that off.

    Source: PostgreSQL manual, "Client Connection Defaults", session_replication_role.
    """
    cursor.execute("SELECT current_setting('session_replication_role')")
    if cursor.fetchone() == ("origin",):
        return
    try:
        cursor.execute("SET session_replication_role = origin")
    except psycopg2.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            "PostgreSQL checks no foreign key for this role, and fires no trigger: its session_replication_role is"
            " replica.",
            sqlstate=error.pgcode,
            meaning="Rows could lose what they refer to without an error. Nothing was read or changed.",
            remedy="As a superuser: ALTER ROLE the role RESET session_replication_role; if the database or the server"
            " has the setting, reset it there (psql: \\drds shows where).",
        ) from None


def require_utf8(connection: Connection) -> None:
    """Refuse a database with another encoding than UTF-8.

    Source: Django documentation, "Databases", "Encoding": "Django assumes that all databases use UTF-8 encoding."
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DatabaseError(
            f"The database stores text in the encoding {encoding}, and not in UTF8.",
            meaning="It has no place for all characters of FileMaker, and Django expects UTF8. Nothing was read or"
            " changed.",
            remedy="Move Nexus into a database that createdb --encoding=UTF8 --template=template0 has made.",
        )


def _detect_lost_client(connection: Connection) -> None:
    """Let the server end the session soon after this process or its machine is gone, so that its locks are released.

    By default a server does not check its client while a statement runs, and notices a lost machine after two hours
    (PostgreSQL manual, "Connections and Authentication"). PostgreSQL 13 does not know the first setting, and servers on
    Windows refuse it.
    """
    for setting in DETECT_LOST_CLIENT:
        with connection.cursor() as cursor:
            try:
                cursor.execute(setting)
            except (psycopg2.errors.UndefinedObject, psycopg2.DataError):
                connection.rollback()
        connection.commit()


@contextmanager
def redacted() -> Iterator[None]:
    """Turn errors of psycopg2 into DatabaseError with SQLSTATE and object names only."""
    try:
        yield
    except psycopg2.Error as error:
        raise database_error(error) from None


def database_error(error: psycopg2.Error) -> DatabaseError:
    """Return the error without data of rows: its class, SQLSTATE and the names of the objects it concerns.

    Raises:
        KeyboardInterrupt: the error comes from a Ctrl-C.
    """
    raise_interrupt_if_due()
    sqlstate = error.pgcode if _SQLSTATE.fullmatch(error.pgcode or "") else None  # a text of its own is not repeated
    if error.pgcode is None and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        sqlstate = "08000"  # libpq's own, or psycopg2's of a connection that was closed before
    diagnostics = getattr(error, "diag", None)
    names = [
        f"{kind} {name}"
        for kind in ("table", "column", "datatype", "constraint")
        if (name := getattr(diagnostics, f"{kind}_name", None))
    ]
    message = getattr(diagnostics, "message_primary", None) or ""
    refused_by = getattr(diagnostics, "source_function", None)
    if refused_by in _NAME_THEIR_TABLE and (table := _QUOTED.search(message)):
        names.append(f"table {table[1]}")
    if function := _FUNCTION.match(getattr(diagnostics, "context", None) or ""):
        names.append(f"function {function[1]}")
    said = "does not answer, or does not let the role in" if sqlstate == "08000" else "refused a statement"
    what = f"PostgreSQL {said} ({type(error).__name__}, SQLSTATE {sqlstate or 'unknown'}"
    what += "; " + ", ".join(names) + ")." if names else ")."
    state = sqlstate or ""
    return DatabaseError(
        what,
        sqlstate=sqlstate,
        meaning=MEANINGS.get(state) or MEANINGS.get(state[:2], ""),
        remedy=REMEDIES.get(state) or REMEDIES.get(state[:2], REMEDY),
    )
