"""Dagster's storage in PostgreSQL, as the console reads it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import dagster as dg
import psycopg2
import yaml

from fm_pipeline.console.gateway.context import optimize_for_site

ENDED = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def test_the_first_question_to_each_storage_after_a_restart_of_postgresql_is_answered(
    database_url: str, tmp_path: Path
) -> None:
    url = database_url.replace("postgresql:", "postgresql+psycopg2:")  # as in deploy/celery/dagster.yaml
    settings = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        optimize_for_site(instance)

        def answers() -> list[object]:
            return [
                instance.get_runs_count(),
                instance.get_latest_materialization_event(dg.AssetKey("patients")),
                instance.all_instigator_state(),
            ]

        before = answers()
        with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
            cursor.execute(ENDED)
            assert cursor.fetchone() == (3,)  # one of each storage
        assert answers() == before
