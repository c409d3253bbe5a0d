"""Check Nexus: version, privileges of the role, structure of the tables, and what depends on them.

It reads the catalogue and Django's content types only. Nothing is locked or written. Where event triggers could forbid
tables, it creates a temporary one and rolls that back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import require_utf8
from fm_pipeline.db.privileges import Needs, missing_privileges
from fm_pipeline.db.table import Table
from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.registry import CONTACT_DETAIL
from fm_pipeline.errors import CatalogueStop, DatabaseError
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.console_grants import audit_can_be_changed
from fm_pipeline.nexus.grants import known_needs, reimport_needs
from fm_pipeline.nexus.profile_fit import fit_registry
from fm_pipeline.nexus.reimport.difference import plan_difference
from fm_pipeline.nexus.reimport.other_writes import parse_trigger_tables
from fm_pipeline.nexus.table_policy import REQUIRED_ENTITIES, Policy, make_policy, require_loadable_tables
from fm_pipeline.preflight import dependants
from fm_pipeline.preflight.finding import Finding, FindingBuilder
from fm_pipeline.preflight.restores import check_restores
from fm_pipeline.settings import Settings

# 14 introduced client_connection_check_interval, which releases a killed run's locks at once; 18 is the newest tested.
VERSIONS = range(14, 19)


def check_nexus(
    connection: Connection,
    settings: Settings,
    build: FindingBuilder,
    *,
    profile: Profile,
    fed: Mapping[str, frozenset[str]],
    absent: Collection[str],
) -> Iterator[Finding]:
    """Look at the database.

    Args:
        profile: of the mapping.
        absent: entities that FileMaker does not have and that are left out.
        fed: canonical fields by entity, as far as FileMaker could be asked.
    """
    with connection.cursor() as cursor:
        yield _version(connection, cursor, build)
        try:
            require_utf8(connection)
        except DatabaseError as error:
            yield build.from_error("nexus_structure_unknown", "encoding", error)
        yield from _own_schema(cursor, build)
        yield from _audit(cursor)
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        try:
            there = {name: entity for name, entity in profile.registry.items() if name not in absent}
            fitted = fit_registry(cursor, catalogue, there)
            policy = make_policy(
                catalogue,
                {*profile.entities, *REQUIRED_ENTITIES} & {*fitted.registry},
                letters=settings.nexus_letters,
                reminders=settings.nexus_reminders,
                registry=fitted.registry,
            )
            require_loadable_tables(catalogue)
            parse_trigger_tables(catalogue, settings.nexus_trigger_tables)
            updates = _updates(policy, settings, fed)
        except CatalogueStop as error:
            yield build.from_error("nexus_structure_unknown", f"schema {settings.nexus_schema}", error)
            return
        yield build.ok(
            f"schema {settings.nexus_schema}",
            f"{len(catalogue.columns):,} tables; every column that must be given is known",
        )
        for sentences in fitted.left_out.values():
            yield from (build.violation("entity_left_out", "left out", words.rstrip(".")) for words in sentences)
        missing, tables = _privileges(cursor, policy, updates)
        yield from _grants(build, missing)
        if tables:
            yield from dependants.check_dependants(cursor, policy, tables, build)
            if not missing:  # a restore needs the same and more
                yield from check_restores(connection, settings, policy, tables)


def can_read(cursor: Cursor, tables: Collection[Table]) -> bool:
    """Whether the role may read the tables."""
    return not missing_privileges(cursor, {table: {"SELECT"} for table in tables})


def _version(connection: Connection, cursor: Cursor, build: FindingBuilder) -> Finding:
    cursor.execute("SELECT current_user, current_database()")
    user, database = cursor.fetchone() or ("", "")
    major, minor = divmod(connection.server_version, 10_000)
    found = f"PostgreSQL {major}.{minor}, database {database}, role {user}"
    if major not in VERSIONS:
        return build.violation("nexus_version_unknown", "version", found)
    return build.ok("version", found)


def _own_schema(cursor: Cursor, build: FindingBuilder) -> Iterator[Finding]:
    """Check the privileges for the schema `fm_pipeline` and for temporary tables."""
    cursor.execute(
        "SELECT to_regnamespace('fm_pipeline') IS NOT NULL, has_database_privilege(current_database(), 'CREATE'),"
        " has_database_privilege(current_database(), 'TEMPORARY')"
    )
    exists, may_create, temporary = cursor.fetchone() or (False, False, False)
    if exists:
        cursor.execute(
            "SELECT has_schema_privilege('fm_pipeline', 'USAGE') AND has_schema_privilege('fm_pipeline', 'CREATE')"
        )
        may_create = cursor.fetchone() == (True,)
    lacking = [] if may_create else ["CREATE on schema fm_pipeline" if exists else "CREATE on the database"]
    lacking += [] if temporary else ["TEMPORARY on the database"]
    if lacking:
        yield build.violation("nexus_grant_missing", "schema fm_pipeline", f"the role lacks {' and '.join(lacking)}")
    elif refused := _refusal_of_tables(cursor):
        yield build.violation(
            "nexus_grant_missing",
            "schema fm_pipeline",
            refused,
            "Let its owner exempt the role (current_user in its function), or disable it while the pipeline runs: ALTER"
            " EVENT TRIGGER … DISABLE.",
        )
    else:
        yield build.ok("schema fm_pipeline", "is there" if exists else "will be made")


def _refusal_of_tables(cursor: Cursor) -> str:
    """Create a temporary table and roll that back; return what refuses it although the role has the privilege."""
    cursor.execute("SELECT string_agg(evtname, ', ' ORDER BY evtname) FROM pg_event_trigger WHERE evtenabled <> 'D'")
    (triggers,) = cursor.fetchone() or (None,)
    if triggers is None:
        return ""
    cursor.execute("SAVEPOINT trial")
    try:
        cursor.execute("CREATE TEMP TABLE fm_pipeline_trial ()")
    except psycopg2.Error as error:
        return f"an event trigger of the database lets the role create no table ({triggers}; SQLSTATE {error.pgcode})"
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT trial")
    return ""


def _audit(cursor: Cursor) -> Iterator[Finding]:
    """Warn if the role could change what it has recorded."""
    if audit_can_be_changed(cursor):
        found = "the role could change or drop it; only a trigger is in the way"
        remedy = "Run the statements of `fm-pipeline grants`: they give it an owner of its own, which has no login."
        yield Finding("Nexus", "audit trail", "warning", found, remedy=remedy)


def _updates(policy: Policy, settings: Settings, fed: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """Return, by table, the columns that are loaded; raise CatalogueStop if a required column has no rule."""
    updates = {}
    for entity in policy.entities:
        columns = list(entity.columns)  # all columns, if FileMaker did not answer
        if entity.name in fed:
            columns = entity.fed_columns(fed[entity.name] | ({CONTACT_DETAIL} & fed.keys()))
        difference = plan_difference(entity, policy.catalogue, columns, settings.nexus_only_columns)
        updates[entity.table] = list(difference.updates)
    return updates


def _privileges(cursor: Cursor, policy: Policy, updates: Mapping[str, Collection[str]]) -> tuple[Needs, list[Table]]:
    """Return the missing privileges, and the tables that a reimport may write (none if they cannot be determined)."""
    if not can_read(cursor, [policy.catalogue.content_types]):
        return missing_privileges(cursor, known_needs(policy)), []
    needs, tables = reimport_needs(cursor, policy, updates)
    return missing_privileges(cursor, needs), tables


def _grants(build: FindingBuilder, missing: Needs) -> Iterator[Finding]:
    if not missing:
        yield build.ok("privileges", "every table that a reimport reads or writes, and what its backup holds")
    yield from lacking_grants("nexus_grant_missing", build, missing)


def lacking_grants(rule: str, build: FindingBuilder, missing: Needs) -> Iterator[Finding]:
    """Yield a finding for each table, with the GRANT statement for the missing privileges."""
    for table, privileges in sorted(missing.items()):
        words = ", ".join(sorted(privileges))
        yield build.violation(
            rule,
            f"table {table}",
            f"the role lacks {words}",
            f"As the owner of the table: GRANT {words} ON {table} TO the role of NEXUS_DATABASE_URL."
            " `fm-pipeline grants` prints all of them.",
        )
