"""An upgrade from the first schema that was in use: everything that it held is there afterwards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from alembic import command
from alembic.config import Config
from click.testing import CliRunner
from psycopg2 import sql
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from fm_pipeline.cli.main import main
from fm_pipeline.db.migrate import MIGRATIONS, is_migrated, migrate
from fm_pipeline.errors import DatabaseError

FIRST = "0008"  # the schema of commit f78b675
# SHA-256 of the SQL of all migrations up to it, in order: a migration that was released is never edited.
FIRST_SQL = "45a1579538d3c319af3f33bade08e22aedd4eed1b1297a1e8f3523d172cca0b3"
# What a clinic had on record.
ROWS = """
INSERT INTO fm_pipeline.crosswalk (entity, filemaker_key, nexus_id, origin)
VALUES ('patient', 'key', '00000000-0000-0000-0000-000000000001', 'metadata');
INSERT INTO fm_pipeline.source_records VALUES ('patient', 1, 1, 'key', 'key', '{"id": "key"}');
INSERT INTO fm_pipeline.audit (actor, action, outcome) VALUES ('somebody', 'reimport', 'done');
INSERT INTO fm_pipeline.backups VALUES ('00000000-0000-0000-0000-000000000002', NULL, now(), '/backups/one', true, 1,
    '{"patients": [1, "digest"]}', now());
INSERT INTO fm_pipeline.backups VALUES ('00000000-0000-0000-0000-000000000008', NULL, now() - interval '1 day',
    '/backups/earlier', true, 1, '{"patients": [1, "digest"]}', now() - interval '1 day');
INSERT INTO fm_pipeline.plans VALUES
    ('00000000-0000-0000-0000-000000000003', NULL, 'somebody', now(), '{}', '{}', '{}');
INSERT INTO fm_pipeline.import_jobs (job_type, source_path, status, requested_by) VALUES
    ('initial', '/a', 'completed', 'x');
INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status, orthanc_instance_id)
VALUES (1, '/a/b.dcm', 'b.dcm', '00000000-0000-0000-0000-000000000004', 'imported', 'instance');
INSERT INTO fm_pipeline.watched_roots (path_hash, directory, mount_point)
VALUES ('00000000-0000-0000-0000-000000000005', '/a', '/');
INSERT INTO fm_pipeline.image_copies (recid, patient_key, batch_id, source_key, source_size, source_etag, target_key,
    state, planned_at) VALUES (1, 'key', '00000000-0000-0000-0000-000000000006', 's', 1, 'e', 't', 'copied', now());
INSERT INTO fm_pipeline.waterfall_lists VALUES ('00000000-0000-0000-0000-000000000007', NULL, now(), 'API_Images', 1);
INSERT INTO fm_pipeline.waterfall_images (record_id, list_id, filemaker_key)
VALUES (1, '00000000-0000-0000-0000-000000000007', 'key');
"""


def upgrade_to_the_first(url: str) -> None:
    """Make the schema as it was."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA fm_pipeline"))
        config.attributes["connection"] = connection
        command.upgrade(config, FIRST)


def contents(cursor: Any) -> dict[str, list[dict[str, Any]]]:
    """All rows of our tables."""
    cursor.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'fm_pipeline' AND tablename <> 'alembic_version'"
    )
    found = {}
    for (table,) in cursor.fetchall():
        cursor.execute(sql.SQL("SELECT to_jsonb(t) FROM {} t").format(sql.Identifier("fm_pipeline", table)))
        found[table] = [row for (row,) in cursor.fetchall()]
    return found


@pytest.fixture
def first_schema(database_url: str) -> Iterator[Any]:
    """A cursor in a database with the schema as it was, and rows in it."""
    upgrade_to_the_first(database_url)
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(ROWS)
        connection.commit()
        yield cursor


def test_an_upgrade_keeps_every_row_that_was_there(first_schema: Any, database_url: str) -> None:
    before = contents(first_schema)
    assert not is_migrated(first_schema.connection)
    first_schema.connection.commit()
    migrate(database_url)
    after = contents(first_schema)
    assert is_migrated(first_schema.connection)
    assert set(before) <= set(after)
    assert sum(map(len, before.values())) == sum(len(after[table]) for table in before) > 10
    for table, rows in before.items():
        assert all(any(row.items() <= now.items() for now in after[table]) for row in rows), table
    assert "run_requests" in after.keys() - before.keys()
    assert {row["folder"]: row["number"] for row in after["backups"]} == {"/backups/one": 2, "/backups/earlier": 1}
    first_schema.execute("SELECT nextval(pg_get_serial_sequence('fm_pipeline.backups', 'number'))")
    assert first_schema.fetchone() == (3,)


def test_an_upgrade_that_changes_the_audit_trail_names_the_permission_that_it_needs(
    first_schema: Any, database_url: str
) -> None:
    owner, login = (f"{kind}_{database_url.rsplit('/', 1)[1]}" for kind in ("owner", "login"))
    ours = f"ALL TABLES IN SCHEMA fm_pipeline TO {login}; GRANT ALL ON SCHEMA fm_pipeline TO {login}"
    first_schema.execute(f"CREATE ROLE {owner}; CREATE ROLE {login} LOGIN PASSWORD 'weak'; GRANT ALL ON {ours}")
    first_schema.execute(
        "SELECT format('ALTER TABLE fm_pipeline.%%I OWNER TO %%I', tablename,"
        " CASE tablename WHEN 'audit' THEN %s ELSE %s END) FROM pg_tables WHERE schemaname = 'fm_pipeline'",
        (owner, login),
    )
    first_schema.execute("; ".join(statement for (statement,) in first_schema.fetchall()))
    first_schema.connection.commit()
    as_login = re.sub("//.*@", f"//{login}:weak@", database_url)
    try:
        with pytest.raises(DatabaseError, match="changes the table of the audit trail") as refused:
            migrate(as_login)
        assert "GRANT fm_pipeline_audit" in refused.value.remedy
        first_schema.execute(f"GRANT {owner} TO {login}")
        first_schema.connection.commit()
        migrate(as_login)
    finally:
        first_schema.connection.rollback()
        first_schema.execute(f"DROP OWNED BY {owner}, {login} CASCADE; DROP ROLE {owner}, {login}")
        first_schema.connection.commit()


def test_an_older_release_refuses_the_tables_of_a_newer_one(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(database_url)
    monkeypatch.setenv("NEXUS_DATABASE_URL", database_url)
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        assert is_migrated(connection)
        cursor.execute("UPDATE fm_pipeline.alembic_version SET version_num = '9999'")
        connection.commit()
        assert not is_migrated(connection), "so that a sensor migrates, and is refused too"
    refused = CliRunner().invoke(main, ["backup"])
    assert refused.exit_code == 1
    assert "those of a newer release: schema 9999" in refused.stderr
    assert "Nothing was changed." in refused.stderr


def test_a_migration_that_was_released_is_not_edited() -> None:
    scripts = sorted(path for path in (MIGRATIONS / "versions").glob("0*.sql") if path.stem[:4] <= FIRST)
    assert hashlib.sha256(b"".join(path.read_bytes() for path in scripts)).hexdigest() == FIRST_SQL
