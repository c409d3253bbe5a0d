"""NEXUS_DATABASE_URL as parameters of libpq, PostgreSQL's own client library.

libpq parses URLs itself: several hosts, sockets, IPv6, every parameter. It accepts no reserved character in a
password, so user and password are split off first and encoded. No error repeats a part of the URL, because any part
may belong to a password. Source: PostgreSQL manual, "Connection Strings" (libpq) and "Parameter Key Words".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote

import psycopg2
from psycopg2.extensions import parse_dsn

from fm_pipeline.errors import PipelineError, SettingsError

FORM = "Write it as postgresql://user:password@host:5432/database."
SEVERAL = (
    "Write several hosts as postgresql://user:password@host1:5432,host2:5432/database?target_session_attrs=read-write."
)
ENCODE = (
    "Write reserved characters of the user and the password in percent-encoding: @ as %40, / as %2F, : as %3A,"
    " % as %25."
)

_SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://")
_OTHER_SCHEME = re.compile(r"(\w+)(?:\+\w+)?://")
_KEY_VALUE = re.compile(r"(?:^|\s)(?:host|hostaddr|port|dbname|user|password|service|sslmode)\s*=")
# What follows the user and the password: hosts, database, parameters.
_PLACE = re.compile(r"(?P<hosts>[^/?@#\s]*)(?:/[^/?@#]*)?(?:\?(?P<query>(?:\w+=[^&#]*(?:&\w+=[^&#]*)*)?))?")
_PORT = re.compile(r"0*[1-9]\d{0,4}")
# Of a server that takes writes. Without one of them, another server than the primary may be connected to.
WRITABLE = ("read-write", "primary")


def connection_parameters(database_url: str) -> dict[str, str]:
    """Parse a URL into parameters, by libpq's names.

    Args:
        database_url: `postgresql://…` as people, psql and SQLAlchemy write it.

    Raises:
        SettingsError: it is not such a URL, or libpq would not accept it. The message repeats nothing of the URL but
            the name of a database system or a parameter.
    """
    text = database_url.strip()
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise _no_url(text)
    credentials, place = _split(text[scheme.end() :])
    found = _PLACE.fullmatch(place)
    query = (found.group("query") if found else "") or ""
    _refuse_wrong_parameters([each.partition("=")[0] for each in query.split("&") if each])
    try:
        parameters: dict[str, str] = parse_dsn(f"postgresql://{_encoded(credentials)}{place}")
    except (psycopg2.Error, ValueError):  # a byte that is no text, a NUL
        raise SettingsError("NEXUS_DATABASE_URL is not a database URL.", remedy=f"{FORM} {ENCODE}") from None
    return _checked(parameters)


@contextmanager
def named_in_errors(name: str) -> Iterator[None]:
    """Give the URL another name in errors of the block, which call it NEXUS_DATABASE_URL."""

    def renamed(text: str) -> str:
        said = text.replace("NEXUS_DATABASE_URL", name)
        return said[:1].upper() + said[1:]

    try:
        yield
    except PipelineError as error:
        PipelineError.__init__(error, renamed(error.what), meaning=renamed(error.meaning), remedy=renamed(error.remedy))
        raise


def _no_url(text: str) -> SettingsError:
    if other := _OTHER_SCHEME.match(text):
        return SettingsError(
            f"NEXUS_DATABASE_URL names the database system {other.group(1)}.",
            meaning="Nexus lives in PostgreSQL.",
            remedy=FORM,
        )
    if _KEY_VALUE.search(text):
        return SettingsError("NEXUS_DATABASE_URL is a list of parameters (host=… dbname=…), not a URL.", remedy=FORM)
    return SettingsError("NEXUS_DATABASE_URL is not a database URL.", remedy=FORM)


def _split(rest: str) -> tuple[str, str]:
    """Split off user and password; each part may be empty.

    A password may contain the characters that end it, as long as the URL can be read in one way only.
    """
    ways = [("", rest), *((rest[: at.start()], rest[at.end() :]) for at in re.finditer("@", rest))]
    ways = [way for way in ways if _PLACE.fullmatch(way[1]) and not set("/?#") & set(way[0].partition(":")[0])]
    if len(ways) > 1:
        ways = [way for way in ways if _ports_are_numbers(way[1])]
    if len(ways) == 1:
        return ways[0]
    if not ways:
        raise SettingsError("NEXUS_DATABASE_URL is not a database URL.", remedy=f"{FORM} {ENCODE}")
    raise SettingsError(
        "NEXUS_DATABASE_URL can be read in more than one way, because of an @ in it.", remedy=f"{FORM} {ENCODE}"
    )


def _ports_are_numbers(place: str) -> bool:
    hosts = re.split(r"[/?]", place, maxsplit=1)[0].split(",")
    ports = [re.sub(r"^\[[^]]*\]|^[^:]*", "", host).removeprefix(":") for host in hosts]
    return all(not port or _PORT.fullmatch(port) for port in ports)


def _encoded(credentials: str) -> str:
    """Return user and password in percent-encoding; a % that encodes nothing stands for itself."""
    if not credentials:
        return ""
    user, colon, password = credentials.partition(":")
    return f"{_encode(user)}{colon}{_encode(password)}@"


def _encode(text: str) -> str:
    return quote(unquote(text, errors="strict"), safe="")


def _refuse_wrong_parameters(names: list[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise SettingsError(
                f"NEXUS_DATABASE_URL has the parameter {name} more than once.",
                meaning="PostgreSQL's library would take the last one.",
                remedy=SEVERAL if name in {"host", "port"} else "Write it once.",
            )
        try:
            parse_dsn(f"postgresql://?{name}=true")  # ssl knows this value only
        except psycopg2.Error:
            raise SettingsError(
                f"NEXUS_DATABASE_URL has a parameter that PostgreSQL's library does not know: {name}.",
                remedy="Correct it or take it out; the PostgreSQL manual lists them (libpq, Parameter Key Words).",
            ) from None


def _checked(parameters: dict[str, str]) -> dict[str, str]:
    """Check hosts and ports; with several hosts, require the primary."""
    hosts = _list(parameters.get("host") or parameters.get("hostaddr"))
    ports = _list(parameters.get("port"))
    if not all(not port or (_PORT.fullmatch(port) and int(port) <= 65_535) for port in ports):
        raise SettingsError(
            "NEXUS_DATABASE_URL has a port that is no number from 1 to 65535.", remedy=f"{FORM} {ENCODE}"
        )
    if len(hosts) > 1 and (not all(hosts) or len(ports) not in (0, 1, len(hosts))):
        raise SettingsError(
            "NEXUS_DATABASE_URL has several hosts, of which one is empty, or as many ports as do not fit them.",
            remedy=SEVERAL,
        )
    if len(hosts) > 1 and parameters.setdefault("target_session_attrs", WRITABLE[0]) not in WRITABLE:
        raise SettingsError(
            "NEXUS_DATABASE_URL has several hosts, and target_session_attrs lets it take one that refuses writes.",
            meaning="Two connections of a run might lead to different servers.",
            remedy=SEVERAL,
        )
    return parameters


def _list(value: str | None) -> list[str]:
    return value.split(",") if value else []
