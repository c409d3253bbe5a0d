"""NEXUS_DATABASE_URL: every form that PostgreSQL's own programs take, and one sentence for each thing that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote, urlsplit

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import sql

from fm_pipeline.db.connection import connect, database_error
from fm_pipeline.db.connection_failures import connection_failure
from fm_pipeline.db.migrate import migrate
from fm_pipeline.db.url import connection_parameters
from fm_pipeline.errors import DatabaseError, SettingsError
from fm_pipeline.sandbox.stack.ports import free_port
from fm_pipeline_tests.support.answering import answering

HARD = "p:a/s?s#w@r%d&=+ é"  # every character that ends something in a URL


def parts(url: str) -> tuple[str, str, str]:
    """User and password, address, database."""
    split = urlsplit(url)
    return split.netloc.rpartition("@")[0], f"{split.hostname}:{split.port}", split.path.strip("/")


@contextmanager
def role(url: str, name: str, password: str, options: str = "") -> Iterator[None]:
    """A role of the server, which may do nothing."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))
        if options:
            cursor.execute(sql.SQL("ALTER ROLE {} SET " + options).format(sql.Identifier(name)))
        try:
            yield
        finally:
            cursor.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def connected(url: str) -> str:
    """The user that a URL leads to."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        ((user,),) = cursor.fetchall()
        return str(user)


# -- What is taken


def test_several_hosts_lead_to_the_one_that_is_there(database_url: str) -> None:
    user, address, database = parts(database_url)
    for more in ("", "?target_session_attrs=read-write", "?target_session_attrs=primary&load_balance_hosts=random"):
        url = f"postgresql://{user}@127.0.0.1:{free_port()},{address}/{database}{more}"
        assert connected(url) == "postgres"
        migrate(url)


@pytest.mark.parametrize(
    "password", [HARD, "p@ss", "p/ss", "p?a#b", "50%", "100%sure", "a:b", "a@b/c@d", "${x}", "a b"]
)
def test_a_password_with_reserved_characters_is_taken_as_it_is_and_encoded(database_url: str, password: str) -> None:
    _, address, database = parts(database_url)
    with role(database_url, "hard@server", password):
        for written in (quote(password, safe=""), password):
            assert connected(f"postgresql://hard@server:{written}@{address}/{database}") == "hard@server"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
        ("postgresql+psycopg2://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
        ("postgresql://u:p@[::1]:5433/d", {"user": "u", "password": "p", "host": "::1", "port": "5433", "dbname": "d"}),
        ("postgresql://u@%2Frun%2Fpostgresql/d", {"user": "u", "host": "/run/postgresql", "dbname": "d"}),
        ("postgresql:///d?host=/run/postgresql", {"host": "/run/postgresql", "dbname": "d"}),
        ("postgresql://?service=nexus", {"service": "nexus"}),
        ("postgresql://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem", {"sslmode": "verify-full"}),
        ("postgresql://u@h/d?ssl=true", {"sslmode": "require"}),
        ("postgresql://u@h/d?options=-csearch_path%3Da", {"options": "-csearch_path=a"}),
        ("postgresql://u@h1,h2:5433/d", {"host": "h1,h2", "port": ",5433", "target_session_attrs": "read-write"}),
        ("postgresql://u@h/d?application_name=me%40x", {"application_name": "me@x"}),
        ("postgresql://h/d?application_name=me@x", {"host": "h", "application_name": "me@x"}),
    ],
)
def test_every_form_of_libpq_is_passed_on(url: str, expected: dict[str, str]) -> None:
    assert expected.items() <= connection_parameters(url).items()


def test_a_time_limit_in_the_url_is_kept(database_url: str) -> None:
    with connect(database_url + "?connect_timeout=7&keepalives_idle=11") as connection:
        assert connection.info.dsn_parameters["connect_timeout"] == "7"
        assert connection.info.dsn_parameters["keepalives_idle"] == "11"


# -- What is refused before anybody is asked


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret@h/d", "names the database system mysql"),
        ("not a url", "is not a database URL"),
        ("", "is not a database URL"),
        ("postgresql:u:secret@h/d", "is not a database URL"),
        ("host=h dbname=d password=secret", "is a list of parameters"),
        ("service=nexus", "is a list of parameters"),
        ("postgresql://u:secret@h:54x2/d", "has a port that is no number from 1 to 65535"),
        ("postgresql://u:secret@h:99999/d", "has a port that is no number from 1 to 65535"),
        ("postgresql://u:secret@h:0/d", "has a port that is no number from 1 to 65535"),
        ("postgresql://u:secret@h1:5432,h2:x/d", "has a port that is no number from 1 to 65535"),
        ("postgresql://u:secret@h:5432:5433/d", "has a port that is no number from 1 to 65535"),
        ("postgresql://u:secret", "has a port that is no number from 1 to 65535"),
        ("postgresql://u:secret@h1,,h2/d", "has several hosts, of which one is empty"),
        ("postgresql://u:secret@/d?host=h1,h2,h3&port=1,2", "as many ports as do not fit"),
        ("postgresql://u:secret@h1,h2/d?target_session_attrs=any", "lets it take one that refuses writes"),
        ("postgresql://u:secret@/d?host=h1:5432&host=h2:5432", "has the parameter host more than once"),
        ("postgresql://u:secret@h/d?sslmod=require", "does not know: sslmod."),
        ("postgresql://u:secret@[::1/d", "is not a database URL"),
        ("postgresql://u:secret%ff@h/d", "is not a database URL"),
        ("postgresql://u:secret%00@h/d", "is not a database URL"),
        ("postgresql://u:secret@h/d?application_name=me@x", "can be read in more than one way"),
    ],
)
def test_a_url_that_libpq_would_not_take_is_refused_with_what_to_write(url: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        connection_parameters(url)
    assert said in caught.value.what
    assert caught.value.what.startswith("NEXUS_DATABASE_URL ")
    assert caught.value.remedy
    assert "secret" not in str(caught.value)


@given(
    user=st.text(min_size=1, max_size=8), password=st.text(max_size=12), place=st.sampled_from(["h/d", "h1:1,h2:2/d"])
)
def test_an_encoded_url_is_read_as_it_was_meant(user: str, password: str, place: str) -> None:
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{place}"
    if "\0" in user + password:
        with pytest.raises(SettingsError):
            connection_parameters(url)
        return
    found = connection_parameters(url)
    assert (found["user"], found.get("password", ""), found["dbname"]) == (user, password, "d")


@given(st.text(st.sampled_from("pw:/?#@[]%&=, 0aé"), max_size=12))
def test_a_url_that_was_not_encoded_is_read_as_it_was_meant_or_refused(password: str) -> None:
    try:
        found = connection_parameters(f"postgresql://u:{password}@h:5432/d")
    except SettingsError:
        return
    if "%" not in password:
        assert (found["user"], found.get("password", ""), found["host"]) == ("u", password, "h")


# -- What a server, or what is in its place, says


def connection_error(url: str) -> DatabaseError:
    """Why there is no connection: the same for a session and for the migrations."""
    with pytest.raises(DatabaseError) as caught, connect(url):
        pass
    with pytest.raises(DatabaseError) as migrating:
        migrate(url)
    assert migrating.value.what == caught.value.what
    assert caught.value.remedy
    assert "secret" not in str(caught.value)
    return caught.value


def test_wrong_password_user_database_host_and_port_are_one_sentence_each(database_url: str) -> None:
    user, address, database = parts(database_url)
    for url, said in {
        f"postgresql://postgres:secret@{address}/{database}": "refused the user or the password",
        f"postgresql://postgres@{address}/{database}": "NEXUS_DATABASE_URL has none",
        f"postgresql://{user}@{address}/secret": "The database of NEXUS_DATABASE_URL does not exist",
        f"postgresql://{user}@secret.invalid/{database}": "The host of NEXUS_DATABASE_URL is not known",
        f"postgresql://{user}@127.0.0.1:{free_port()}/{database}": "No server listens on the host and port",
        f"postgresql://{user}@%2Fsecret/{database}": "listens on the socket of this machine",
        f"postgresql://{user}@{address}/{database}?sslmode=require": "asks for encryption",
        f"postgresql://{user}@{address}/{database}?sslmode=secret": "has a value that PostgreSQL's library",
        f"postgresql://{user}@{address}/{database}?options=-csecret%3D1": "does not take the options",
        "postgresql://?service=secret": "is not defined on this machine",
    }.items():
        assert said in connection_error(url).what, url


def test_a_role_that_may_not_connect_and_one_that_may_not_write_get_different_errors(database_url: str) -> None:
    _, address, database = parts(database_url)
    with role(database_url, "reader", "secret", "default_transaction_read_only = on"):
        several = f"postgresql://reader:secret@{address},{address}/{database}"
        assert (
            connection_error(several).what
            == "No host of NEXUS_DATABASE_URL is a server that takes writes. (SQLSTATE 08001)"
        )
        with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
        assert connection_error(f"postgresql://reader:secret@{address}/{database}").sqlstate == "42501"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail.example ESMTP\r\n", b"", b"N"])
def test_another_service_on_the_port_is_reported_as_such(answer: bytes) -> None:
    with answering(answer) as port:
        error = connection_error(f"postgresql://u:secret@127.0.0.1:{port}/d?gssencmode=disable")
    assert "is no PostgreSQL server" in error.what


@pytest.mark.parametrize(
    ("text", "sqlstate"),
    [
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "u", database "d", no encryption', "28000"),
        ('FATAL:  role "u" does not exist', "28000"),
        ('FATAL:  role "u" is not permitted to log in', "28000"),
        ('FATAL:  Peer authentication failed for user "u"', "28000"),
        ("FATAL:  sorry, too many clients already", "53300"),
        ('FATAL:  too many connections for role "u"', "53300"),
        ("FATAL:  the database system is starting up", "57P03"),
        ("FATAL:  the database system is in recovery mode", "57P03"),
        ("SSL error: certificate verify failed: self-signed certificate", "08001"),
        ('root certificate file "/certificates/root.crt" does not exist', "08001"),
        ('server certificate for "a" does not match host name "b"', "08001"),
        ("timeout expired", "08001"),
        ("No route to host", "08001"),
        ("FATAL:  no such database: d", "3D000"),  # PgBouncer
        ("FATAL:  SASL authentication failed", "28P01"),  # PgBouncer
        ("FATAL:  unsupported startup parameter in options: x", "08001"),  # PgBouncer
    ],
)
def test_messages_of_servers_and_poolers_become_one_sentence_with_a_remedy(text: str, sqlstate: str) -> None:
    error = connection_failure(
        psycopg2.OperationalError(f'connection to server at "h" (10.0.0.2), port 1 failed: {text}')
    )
    assert error is not None
    assert error.sqlstate == sqlstate
    assert "10.0.0" not in str(error)
    assert error.remedy


def test_a_text_in_another_language_keeps_the_general_sentence() -> None:
    text = 'connection to server at "h", port 1 failed: FATAL:  etwas anderes'
    assert connection_failure(psycopg2.OperationalError(text)) is None
    assert "does not answer, or does not let the role in" in database_error(psycopg2.OperationalError(text)).what
