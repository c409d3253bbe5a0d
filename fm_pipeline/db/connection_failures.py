"""Why a connection to PostgreSQL failed, as an error with a remedy.

libpq gives no SQLSTATE for a failed connection, only a text; part of it comes from the server (in its own language) or
from PgBouncer. The text names host, user and database, so it is matched here and never repeated. A text that matches no
pattern gets the general error of `fm_pipeline.db.connection`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import psycopg2

from fm_pipeline.errors import DatabaseError

_AGAIN = "then start again."
_MEANING = "Without this connection nothing is read from Nexus and nothing is written to it."


class ConnectionFailure(NamedTuple):
    """One kind of failure.

    Attributes:
        pattern: a regular expression that is searched in libpq's text.
        sqlstate: the server's SQLSTATE if there is one, else 08001 ("unable to establish connection").
    """

    pattern: str
    sqlstate: str
    what: str
    remedy: str


# The first match counts: with several hosts, the answer of one server says more than the silence of another.
CONNECTION_FAILURES = (
    ConnectionFailure(
        r"(?:[Pp]eer|[Ii]dent|certificate) authentication failed",
        "28000",
        "PostgreSQL does not take this user from this system account or certificate.",
        "Let an administrator look at pg_hba.conf, or use a host and a password in NEXUS_DATABASE_URL.",
    ),
    ConnectionFailure(
        r"no password supplied",
        "28P01",
        "PostgreSQL asks for a password, and NEXUS_DATABASE_URL has none.",
        "Write it as postgresql://user:password@host:5432/database.",
    ),
    ConnectionFailure(
        r"(?:password|SASL|SCRAM|PAM|LDAP|GSSAPI) authentication failed|authentication failed for user"
        r"|SASL authentication|wrong password",
        "28P01",
        "PostgreSQL refused the user or the password of NEXUS_DATABASE_URL.",
        "Correct them. Reserved characters are written in percent-encoding there: @ as %40, / as %2F, % as %25.",
    ),
    ConnectionFailure(
        r'role ".*" does not exist|no such user',
        "28000",
        "PostgreSQL does not know the user of NEXUS_DATABASE_URL.",
        "Correct the user's name, or let an administrator make the role (SECURITY.md lists its grants).",
    ),
    ConnectionFailure(
        r"is not permitted to log in",
        "28000",
        "The user of NEXUS_DATABASE_URL may not log in to PostgreSQL.",
        "Let an administrator give the role LOGIN.",
    ),
    ConnectionFailure(
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "28000",
        "PostgreSQL does not let this user into this database from this machine.",
        "Let an administrator add the line to pg_hba.conf. If it asks for encryption, add ?sslmode=require to"
        " NEXUS_DATABASE_URL.",
    ),
    ConnectionFailure(
        r'database ".*" does not exist|no such database',
        "3D000",
        "The database of NEXUS_DATABASE_URL does not exist on this server.",
        "Correct the database's name (without one it is the user's name), or the host.",
    ),
    ConnectionFailure(
        r"permission denied for database|is not currently accepting connections",
        "42501",
        "The role may not connect to the database of NEXUS_DATABASE_URL.",
        "Let an administrator grant CONNECT on the database to the role.",
    ),
    ConnectionFailure(
        r"too many (?:clients|connections)|remaining connection slots|no more connections allowed",
        "53300",
        "PostgreSQL has no connection left for the role.",
        f"Let the server take more connections, or end some; a reimport needs three. {_AGAIN.capitalize()}",
    ),
    ConnectionFailure(
        r"starting up|shutting down|in recovery mode|not yet accepting connections|not accepting connections",
        "57P03",
        "PostgreSQL is starting or stopping.",
        f"Wait until it runs, {_AGAIN}",
    ),
    ConnectionFailure(
        r"session is read-only|hot standby mode|server is in hot standby|session is not read-only",
        "08001",
        "No host of NEXUS_DATABASE_URL is a server that takes writes.",
        f"Name the primary server too, or wait until there is one; {_AGAIN}",
    ),
    ConnectionFailure(
        r"does not support SSL|server does not support GSSAPI",
        "08001",
        "NEXUS_DATABASE_URL asks for encryption, and the PostgreSQL server has none.",
        "Let an administrator turn TLS on (ssl = on), or take sslmode out of NEXUS_DATABASE_URL.",
    ),
    ConnectionFailure(
        r"certificate verify failed|root certificate file|does not match host name|SSL error|certificate file"
        r"|private key file",
        "08001",
        "The certificate of the PostgreSQL server is not trusted or has expired, or a certificate file of ours"
        " cannot be used.",
        "Look whether it has expired, or whether that of its authority has. Name the authority's file:"
        " NEXUS_DATABASE_URL=postgresql://…?sslmode=verify-full&sslrootcert=FILE. The host must be the one that the"
        " certificate names.",
    ),
    ConnectionFailure(
        r"could not translate host name|could not parse network address|Name or service not known",
        "08001",
        "The host of NEXUS_DATABASE_URL is not known.",
        "Correct the host's name, or make it known to this machine (DNS, /etc/hosts).",
    ),
    ConnectionFailure(
        r"\.s\.PGSQL\.\d+\" failed: (?:No such file|Connection refused)",
        "08001",
        "No PostgreSQL server listens on the socket of this machine that NEXUS_DATABASE_URL names.",
        "Start the server, or write a host into NEXUS_DATABASE_URL: postgresql://user:password@host:5432/database.",
    ),
    ConnectionFailure(
        r"Connection refused",
        "08001",
        "No server listens on the host and port of NEXUS_DATABASE_URL.",
        "Correct host and port, or start the server. A server that accepts only its own machine needs another"
        " listen_addresses.",
    ),
    ConnectionFailure(
        r"timeout expired|timed out|No route to host|[Nn]etwork is unreachable",
        "08001",
        "The host of NEXUS_DATABASE_URL does not answer.",
        "Correct host and port, start the machine, or let the firewall pass.",
    ),
    ConnectionFailure(
        r"definition of service|service file",
        "08001",
        "The service that NEXUS_DATABASE_URL names is not defined on this machine.",
        "Define it in ~/.pg_service.conf or the file that PGSERVICEFILE names, or write the host into the URL.",
    ),
    ConnectionFailure(
        r"received invalid response|expected authentication request|server closed the connection unexpectedly"
        r"|unsupported frontend protocol|could not receive data|invalid response to SSL",
        "08001",
        "What listens on the host and port of NEXUS_DATABASE_URL is no PostgreSQL server, or it is just stopping.",
        "Correct host and port (PostgreSQL's is 5432 as a rule).",
    ),
    ConnectionFailure(
        r"invalid .* value|invalid connection option|could not match",
        "08001",
        "A parameter behind the ? of NEXUS_DATABASE_URL has a value that PostgreSQL's library does not know.",
        "Correct it; the PostgreSQL manual lists them (libpq, Parameter Key Words).",
    ),
    ConnectionFailure(
        r"unrecognized configuration parameter|unsupported startup parameter|invalid command-line argument",
        "08001",
        "The server or its pooler does not take the options of NEXUS_DATABASE_URL.",
        "Take options= out of it.",
    ),
)


def connection_failure(error: psycopg2.Error) -> DatabaseError | None:
    """Return the error with a remedy, or None if its text matches no pattern."""
    text = str(error)
    for refusal in CONNECTION_FAILURES:
        if re.search(refusal.pattern, text):
            return DatabaseError(
                f"{refusal.what} (SQLSTATE {refusal.sqlstate})",
                sqlstate=refusal.sqlstate,
                meaning=_MEANING,
                remedy=refusal.remedy,
            )
    return None
