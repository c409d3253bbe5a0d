"""Connections and the boundary where database errors lose their values."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import psycopg2
import pytest

from fm_pipeline.db.connection import DETECT_LOST_CLIENT, connect, database_error, open_connection, redacted
from fm_pipeline.db.migrate import migrate
from fm_pipeline.errors import DatabaseError
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.support.waiting import wait_until

CANARY = "Zebedee Quagmire 0400 555 019"

CANARY_WITH_BACKSLASHES = r"C:\temp\x 'quoted' \\server\new"

STATEMENTS = {
    "a cast": "SELECT %s::date",
    "a check": "INSERT INTO people (name) VALUES (%s), (%s)",
    "a length": "INSERT INTO people (code) VALUES (%s)",
    "a missing row": "INSERT INTO pets (owner) VALUES (%s)",
    "a null": "INSERT INTO people (name, code) VALUES (%s, NULL)",
    "a raise": "DO $$ BEGIN RAISE EXCEPTION 'no: %%', '{canary}'; END $$",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_an_error_of_the_database_never_shows_a_value(database_url: str, statement: str) -> None:
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE people (name text UNIQUE CHECK (name NOT LIKE '%0400%'),"
            " code varchar(5) NOT NULL DEFAULT '');"
            "CREATE TABLE pets (owner text REFERENCES people (name))"
        )
        connection.commit()
    text = statement.format(canary=CANARY)
    values = (CANARY,) * text.count("%s") or None
    with pytest.raises(DatabaseError) as caught, connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(text, values)
    shown = "".join(str(part) for part in (caught.value, repr(caught.value), caught.value.__cause__))
    assert "Zebedee" not in shown
    assert "0400" not in shown
    assert caught.value.sqlstate is not None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("sqlstate", ["0A000", "2D000", "40001", "42P01", "57014", "58030", "P0001", "XX000", "ZZ999"])
def test_an_error_of_any_class_says_what_to_do_next(database_url: str, sqlstate: str) -> None:
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$"
    with pytest.raises(DatabaseError) as caught, connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
    assert caught.value.sqlstate == sqlstate
    assert caught.value.remedy


def test_a_connection_that_was_closed_before_counts_as_lost(database_url: str) -> None:
    connection = open_connection(database_url)
    connection.close()
    with pytest.raises(DatabaseError) as caught, redacted():
        connection.cursor()
    assert caught.value.sqlstate == "08000"


class _Refused(psycopg2.DatabaseError):
    """An error as psycopg2 makes it, with what a server has sent in place of a SQLSTATE."""

    pgcode = CANARY


def test_a_text_in_the_place_of_the_sqlstate_is_not_repeated() -> None:
    error = database_error(_Refused())
    assert error.sqlstate is None
    assert CANARY not in str(error)
    assert error.remedy


def test_an_error_names_the_constraint(database_url: str) -> None:
    with (
        pytest.raises(DatabaseError, match="constraint people_pkey"),
        connect(database_url) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE people (id int PRIMARY KEY); INSERT INTO people VALUES (1), (1)")


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("INSERT INTO people VALUES (1, repeat('x', 9))", "datatype short, constraint short_check"),
        ("DELETE FROM people", r"function protect_people\)"),
    ],
)
def test_an_error_names_the_type_and_the_function_of_the_trigger(database_url: str, statement: str, named: str) -> None:
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE DOMAIN short AS text CONSTRAINT short_check CHECK (length(value) < 5);"
            "CREATE TABLE people (id int, name short); INSERT INTO people VALUES (1, 'Ann');"
            "CREATE FUNCTION protect_people() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'Cannot delete %', OLD; END $$;"
            "CREATE TRIGGER protect BEFORE DELETE ON people FOR EACH ROW EXECUTE FUNCTION protect_people()"
        )
        connection.commit()
    with (
        pytest.raises(DatabaseError, match=named),
        connect(database_url) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg"])
def test_a_url_works_in_every_spelling_that_people_use(database_url: str, scheme: str) -> None:
    with connect(database_url.replace("postgresql", scheme, 1)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TimeZone")
        assert cursor.fetchone() == ("UTC",)


def test_a_server_that_does_not_answer_is_explained() -> None:
    with (
        pytest.raises(DatabaseError, match="No server listens on the host and port of NEXUS_DATABASE_URL") as caught,
        connect("postgresql://someone:secret@127.0.0.1:1/nexus"),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_migrations_run_twice_change_nothing_and_touch_only_our_schema(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'")
        assert cursor.fetchall() == [("fm_pipeline",)]
    connection.close()


def test_a_process_that_is_killed_in_a_long_statement_leaves_no_session_with_locks_behind(database_url: str) -> None:
    """The server looks for its client while it works; otherwise a killed run would hold its locks until the end."""
    program = (
        "from fm_pipeline.db.connection import connect\n"
        f"with connect({database_url!r}) as connection:\n"
        "    connection.cursor().execute('SELECT pg_sleep(3600)')"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=PACKAGE_PARENT) as run, _observer(database_url) as seen:  # noqa: S603
        wait_until(seen)
        run.kill()
        wait_until(lambda: not seen())


@contextmanager
def _observer(url: str) -> Iterator[Callable[[], bool]]:
    """Whether a session of the pipeline is at work."""
    with closing(psycopg2.connect(url)) as observer, observer.cursor() as cursor:
        observer.autocommit = True

        def seen() -> bool:
            cursor.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(3600)'"
                " AND pid <> pg_backend_pid()"
            )
            return cursor.fetchone() is not None

        yield seen


def test_a_server_too_old_to_look_for_its_client_is_worked_with_all_the_same(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL 13 does not know `client_connection_check_interval`; the others are set nevertheless."""
    newer = ("SET a_setting_of_a_later_version = '1s'", *DETECT_LOST_CLIENT)
    monkeypatch.setattr("fm_pipeline.db.connection.DETECT_LOST_CLIENT", newer)
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW tcp_keepalives_idle")
        assert cursor.fetchone() == ("30",)


def test_a_session_checks_foreign_keys_and_keeps_what_it_commits_whatever_the_role_has_set(database_url: str) -> None:
    name = database_url.rsplit("/", 1)[1]
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"ALTER DATABASE {name} SET session_replication_role = replica;"
            f" ALTER DATABASE {name} SET synchronous_commit = off"
        )
        cursor.execute("DROP ROLE IF EXISTS subscriber; CREATE ROLE subscriber LOGIN PASSWORD 'weak'")
    connection.close()
    with connect(database_url) as connection, connection.cursor() as cursor:
        connection.rollback()
        cursor.execute("SELECT current_setting('session_replication_role'), current_setting('synchronous_commit')")
        assert cursor.fetchone() == ("origin", "on")
    url = urlsplit(database_url)
    of_role = url._replace(netloc=f"subscriber:weak@{url.hostname}:{url.port}").geturl()
    with pytest.raises(DatabaseError, match="checks no foreign key for this role"), connect(of_role):
        pass


def test_a_published_table_whose_rows_nobody_could_recognize_is_named(database_url: str) -> None:
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE feed (a int); INSERT INTO feed VALUES (1);"
            " CREATE PUBLICATION of_feed FOR TABLE feed WITH (publish = 'insert, update, delete')"
        )
        with pytest.raises(DatabaseError, match=r"55000; table feed\).* REPLICA IDENTITY FULL"), redacted():
            cursor.execute("UPDATE feed SET a = 2")


def test_logical_replication_can_identify_the_rows_of_every_table_of_ours(migrated_url: str) -> None:
    with connect(migrated_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class c WHERE relnamespace = 'fm_pipeline'::regnamespace AND relkind IN ('r', 'p')"
            " AND relreplident <> 'f' AND NOT EXISTS"
            " (SELECT 1 FROM pg_index WHERE indrelid = c.oid AND indisprimary)"
        )
        assert cursor.fetchall() == []


def test_a_backslash_arrives_as_it_is_whatever_the_database_has_set_for_strings(database_url: str) -> None:
    name = database_url.rsplit("/", 1)[1]
    with closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"ALTER DATABASE {name} SET standard_conforming_strings = off")
    for url in (database_url, f"{database_url}?options=-c%20work_mem%3D8MB"):
        with connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(r"SELECT %s, '\d'", (CANARY_WITH_BACKSLASHES,))
            assert cursor.fetchone() == (CANARY_WITH_BACKSLASHES, r"\d")
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW work_mem")
        assert cursor.fetchone() == ("8MB",)
