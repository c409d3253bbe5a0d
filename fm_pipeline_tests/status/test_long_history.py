"""What pages ask of ten years of runs reads the rows that they show, and not all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fm_pipeline.db.audit import requested_cancels
from fm_pipeline.db.connection import connect
from fm_pipeline.status.audit_trail import AuditFilter, read_audit
from fm_pipeline.status.dicom import read_watch_events
from fm_pipeline.status.history import HistoryFilter, read_history, read_reason, who_cancelled
from fm_pipeline.status.nexus_counts import newest_change
from fm_pipeline.status.recent import read_recent
from fm_pipeline_tests.support.postgres import rows_read

PLANS = """
INSERT INTO fm_pipeline.plans (id, requested_by, created_at, phases, inputs, report)
SELECT gen_random_uuid(), 'x', now() - n * interval '1 day', '{}', '{}',
    jsonb_build_object('changed_rows', n, 'seconds', 1.5, 'documents',
                       (SELECT jsonb_agg(gen_random_uuid()) FROM generate_series(1, 200) WHERE n > 0))
FROM generate_series(1, %s) n
"""
AUDIT = """
INSERT INTO fm_pipeline.audit (at, actor, action, outcome, run_id, address)
SELECT now() - (20000 - n) * interval '1 hour', 'sensor', CASE WHEN n = 1 THEN 'sync' ELSE 'dicom_import' END,
    (ARRAY['started', 'done'])[n % 2 + 1], 'run ' || n / 2, CASE WHEN n % 2 = 0 THEN '10.0.0.1' ELSE '' END
FROM generate_series(1, 20000) n;
ANALYZE fm_pipeline.audit
"""


def execute(url: str, statement: str, *values: object) -> None:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        connection.commit()


def test_a_page_of_the_history_reads_the_reports_that_it_shows(migrated_url: str) -> None:
    execute(migrated_url, PLANS, 60)

    def show() -> None:
        attempts, more = read_history(migrated_url, HistoryFilter())
        assert more
        assert (attempts[49]["changed_rows"], attempts[49]["seconds"]) == (50, 1.5)

    few = rows_read(migrated_url, "plans", show)
    execute(migrated_url, PLANS.replace("now()", "now() - interval '9 years'"), 240)
    assert rows_read(migrated_url, "plans", show) < 2 * few


def test_a_question_reads_few_rows_of_a_long_audit_trail(migrated_url: str) -> None:
    execute(migrated_url, AUDIT)
    for ask in (
        lambda: newest_change(migrated_url),
        lambda: read_reason(migrated_url, "run 5000"),
        lambda: who_cancelled(migrated_url, "run 5000"),
        lambda: requested_cancels(migrated_url, ["run 5000"]),
        lambda: read_watch_events(migrated_url),
        lambda: read_audit(migrated_url, AuditFilter(), 1, "UTC"),
        lambda: read_audit(migrated_url, AuditFilter(run_id="run 5000"), 1, "UTC"),
        lambda: read_recent(migrated_url, (datetime.now(UTC) - timedelta(days=1)).date()),
    ):
        assert rows_read(migrated_url, "audit", ask) < 1000, ask.__code__.co_names
