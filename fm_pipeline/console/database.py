"""The console's database: Nexus', under a role of its own, with the console's tables in the schema `fm_console`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2 import sql

from fm_pipeline.db.connection import PATIENCE, connect
from fm_pipeline.db.table import Table
from fm_pipeline.db.url import connection_parameters, named_in_errors
from fm_pipeline.errors import SettingsError
from fm_pipeline.nexus.console_grants import CONSOLE_SCHEMA
from fm_pipeline.settings import Settings

SCHEMA = CONSOLE_SCHEMA
_log = logging.getLogger(__name__)
# After `reconnect_timeout` the pool gives up, and the next request begins anew. With the pool's own 300 seconds its
# pauses grow to minutes, and nobody would get a page for that long after PostgreSQL runs again.
POOL = {"min_size": 1, "max_size": 8, "timeout": 10, "reconnect_timeout": 10}


def console_url(settings: Settings) -> str:
    """Return the URL of the console's role; the pipeline's, if no other one is set."""
    return (settings.console_database_url or settings.nexus_database_url).get_secret_value()


def django_database(settings: Settings) -> dict[str, Any]:
    """Return Django's entry of `DATABASES`.

    Raises:
        SettingsError: the URL is none.
    """
    with _named_in_errors(settings):
        parameters = PATIENCE | connection_parameters(console_url(settings))
    named = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    database: dict[str, Any] = {django: parameters.pop(libpq, "") for libpq, django in named.items()}
    options = f"-c search_path={SCHEMA} {parameters.pop('options', '')}".strip()
    return {
        "ENGINE": "fm_pipeline.console.postgresql",
        **database,
        "OPTIONS": {"options": options, "pool": POOL, **parameters},
    }


def prepare_schema(settings: Settings) -> None:
    """Create the schema if it is missing, and warn if Nexus has no accounts for a login.

    The tables of the schema are Django's migrations (`django-admin migrate`).

    Raises:
        SettingsError: the role may not read the password hashes of the accounts.
    """
    accounts = Table(settings.nexus_schema, "auth_user").identifier
    with _named_in_errors(settings), connect(console_url(settings)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, to_regclass(%(accounts)s) IS NOT NULL,"
            " has_column_privilege(to_regclass(%(accounts)s), 'password', 'SELECT')",
            {"accounts": accounts.as_string(cursor)},
        )
        role, is_there, reads_passwords = cursor.fetchone() or ("", False, None)
        if not is_there:
            _log.warning(
                "Nexus has no table %s. The console knows no other table of accounts (AUTH_USER_MODEL), so nobody can"
                " log in to it. Commands, schedules and sensors do not need it.",
                Table(settings.nexus_schema, "auth_user"),
            )
        if reads_passwords is False:
            raise SettingsError(
                f"The role {role} may not read the password hashes of the accounts of Nexus.",
                meaning="Nobody could log in to the console. It was not started.",
                remedy="Let CONSOLE_DATABASE_URL name the role that `fm-pipeline grants` prints for the console.",
            )
        cursor.execute("SELECT to_regnamespace(%s) IS NULL", (SCHEMA,))
        if cursor.fetchone() == (True,):
            cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
        connection.commit()


@contextmanager
def _named_in_errors(settings: Settings) -> Iterator[None]:
    with named_in_errors("CONSOLE_DATABASE_URL" if settings.console_database_url else "NEXUS_DATABASE_URL"):
        yield
