from __future__ import annotations

from fm_pipeline.console.database import POOL
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.support.waiting import InThread, wait_until


def test_a_probe_without_an_account_learns_whether_all_is_well_and_no_more(console: Console) -> None:
    session = console.session()
    wait_until(lambda: session.get(f"{console.url}/health", timeout=30).status_code == 200)
    assert session.get(f"{console.url}/health", timeout=30).json() == {"status": "ok"}
    for address in ("/metrics", "/settings/service"):
        assert session.get(f"{console.url}{address}", timeout=30, allow_redirects=False).status_code in (302, 401)


def test_what_is_no_error_of_the_service_leaves_no_trace_in_its_log(console: Console) -> None:
    """Each start asks the health page until all parts answer."""
    before = console.log.read_text("utf-8")
    assert "/health" not in before
    answer = console.session().get(console.url, headers={"Host": "another.example"}, timeout=30)
    assert answer.status_code == 400
    logged = console.log.read_text("utf-8").removeprefix(before)
    assert "Invalid HTTP_HOST header: 'another.example'" in logged
    assert "Traceback" not in logged


def test_after_a_restart_of_the_database_the_first_request_is_answered(console: Console) -> None:
    """Also if the pool was full: every connection in it has ended then."""
    session = console.session("reception")
    address = f"{console.url}/settings/service"
    connections = "FROM pg_stat_activity WHERE usename = current_database() || '_console'"
    console.bench.execute(f"SELECT pg_terminate_backend(pid, 30000) {connections}")  # also what the start has left
    with console.bench.connection() as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE auth_user")  # so that no request ends before each has its connection
        requests: list[InThread] = []

        def is_full() -> bool:  # one that ends early, or without a connection, has another one in its place
            missing = POOL["max_size"] - sum(request.is_alive() for request in requests)
            requests.extend(InThread(lambda: session.get(address, timeout=30).status_code) for _ in range(missing))
            return len(console.bench.execute(f"SELECT pid {connections}")) >= POOL["max_size"]

        wait_until(is_full)
    assert {request.outcome() for request in requests} == {200}
    ended = console.bench.execute(f"SELECT pg_terminate_backend(pid, 30000) {connections}")
    assert len(ended) >= POOL["max_size"]
    assert session.get(address, timeout=30).status_code == 200


def test_who_is_logged_in_sees_each_part_and_its_numbers(console: Console) -> None:
    session = console.session("reception")
    page = session.get(f"{console.url}/settings/service", timeout=30).text
    for name in ("code server", "site", "daemon", "database", "daemon heartbeat", "code location"):
        assert f'<th scope="row">{name}</th>' in page
    numbers = session.get(f"{console.url}/metrics", timeout=30)
    assert numbers.headers["Content-Type"].startswith("text/plain")
    for line in (
        'fm_pipeline_up{check="database"} 1.0',
        'fm_pipeline_part_restarts_total{part="daemon"} 0.0',
        'fm_pipeline_runs{status="queued"} ',
        'fm_pipeline_last_timestamp_seconds{what="reimport"} ',
        "fm_pipeline_last_reimport_changed_rows ",
        'fm_pipeline_quarantined_rows{entity="appointment"} ',
    ):
        assert f"\n{line}" in numbers.text
