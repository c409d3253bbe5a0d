"""What the gateway writes into the audit trail."""

from __future__ import annotations

from typing import Any

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.gateway.test_mutations import graphql

_NO_RUN = "00000000-0000-4000-8000-000000000000"


def _rows(console: Console, since: int) -> list[tuple[Any, ...]]:
    columns = "actor, action, outcome, detail, run_id, address"
    return console.bench.execute(f"SELECT {columns} FROM fm_pipeline.audit WHERE id > %s ORDER BY id", since)  # noqa: S608


def _last(console: Console) -> int:
    return int(console.bench.execute("SELECT coalesce(max(id), 0) FROM fm_pipeline.audit")[0][0])


def test_a_mutation_is_recorded_before_and_after_with_its_name_and_run_and_no_argument(console: Console) -> None:
    admin, viewer = console.session("admin"), console.session("reception")
    since = _last(console)
    limit = 'mutation Harmless { other: setConcurrencyLimit(concurrencyKey: "Doe, Jane", limit: 1) }'
    graphql(console, admin, limit)
    graphql(console, viewer, limit)
    graphql(console, admin, 'mutation { deleteConcurrencyLimit(concurrencyKey: "Doe, Jane") }')
    graphql(console, admin, f'mutation {{ terminateRun(runId: "{_NO_RUN}") {{ __typename }} }}')
    graphql(console, admin, 'mutation { deleteRun(runId: "Doe, Jane") { __typename } }')
    graphql(console, admin, "{ version }")
    assert _rows(console, since) == [
        ("admin", "dagster", "started", "Dagster: setConcurrencyLimit.", None, "127.0.0.1"),
        ("admin", "dagster", "done", "Dagster: setConcurrencyLimit (bool).", None, "127.0.0.1"),
        ("reception", "dagster", "refused", "Dagster: setConcurrencyLimit.", None, "127.0.0.1"),
        ("admin", "dagster", "started", "Dagster: deleteConcurrencyLimit.", None, "127.0.0.1"),
        ("admin", "dagster", "done", "Dagster: deleteConcurrencyLimit (bool).", None, "127.0.0.1"),
        ("admin", "dagster", "started", "Dagster: terminateRun.", _NO_RUN, "127.0.0.1"),
        ("admin", "dagster", "failed", "Dagster: terminateRun (RunNotFoundError).", _NO_RUN, "127.0.0.1"),
        ("admin", "dagster", "started", "Dagster: deleteRun.", None, "127.0.0.1"),
        ("admin", "dagster", "failed", "Dagster: deleteRun (RunNotFoundError).", None, "127.0.0.1"),
    ]


def test_downloads_and_refusals_are_recorded_and_files_of_the_page_are_not(console: Console) -> None:
    admin, viewer, nobody = console.session("admin"), console.session("reception"), console.session()
    since = _last(console)
    for session in (admin, viewer, nobody):
        session.get(f"{console.url}/dagster/download_debug/{_NO_RUN}", timeout=30)
        session.get(f"{console.url}/dagster/logs/Doe/Jane/out", timeout=30)
        session.get(f"{console.url}/dagster/favicon.svg", timeout=30)
    headers = {"Origin": "https://elsewhere.example"}
    for session in (admin, nobody):
        session.post(f"{console.url}/dagster/graphql", json={"query": "{ version }"}, headers=headers, timeout=30)
    assert [row[:5] for row in _rows(console, since)] == [
        ("admin", "download", "failed", "Dagster: the record of a run.", _NO_RUN),
        ("admin", "download", "failed", "Dagster: the output of a run.", None),
        ("reception", "download", "refused", "Dagster: the record of a run.", _NO_RUN),
        ("reception", "download", "refused", "Dagster: the output of a run.", None),
        ("admin", "dagster", "refused", "Dagster: a request of another site's page.", None),
    ]
