from __future__ import annotations

import csv
import html

from fm_pipeline_tests.console.conftest import Console

RUN = "5f2c0d1e-audit-page"


def test_the_audit_trail_is_read_with_filters_and_pages_and_an_admin_downloads_it(console: Console) -> None:
    console.bench.execute(
        "INSERT INTO fm_pipeline.audit (actor, action, outcome, run_id, detail, address) SELECT CASE n %% 2 WHEN 0 THEN"
        " 'manager' ELSE 'manager (token night)' END, 'cancel', 'refused', %s, format('=cmd <b>%%s</b>', n),"
        " '203.0.113.77' FROM generate_series(0, 119) n ORDER BY n",
        RUN,
    )
    viewer, admin = console.session("reception"), console.session("manager")
    first = viewer.get(f"{console.url}/audit/?actor=manager&action=cancel&run_id={RUN}", timeout=30).text
    assert first.count("203.0.113.77") == 100
    assert html.escape("=cmd <b>119</b>") in first
    second = viewer.get(f"{console.url}/audit/?actor=manager&run_id={RUN}&page=2", timeout=30).text
    assert second.count("203.0.113.77") == 20
    odd = viewer.get(f"{console.url}/audit/?run_id={RUN}&since=2999-01-01&until=x%00&page=99999999999", timeout=30)
    assert (odd.status_code, "203.0.113.77" in odd.text) == (200, False)
    assert viewer.get(f"{console.url}/audit/csv", timeout=30).status_code == 403
    rows = list(csv.DictReader(admin.get(f"{console.url}/audit/csv?run_id={RUN}", timeout=30).text.splitlines()))
    assert len(rows) == 120
    assert {row["detail"][:5] for row in rows} == {"'=cmd"}  # no formula
    last = console.bench.execute("SELECT actor, action, outcome FROM fm_pipeline.audit ORDER BY id DESC LIMIT 1")
    assert last == [("manager", "download", "done")]
