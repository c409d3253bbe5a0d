"""The image link and the import from the containers are started from a page, the dry run of a link first."""

from __future__ import annotations

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch, run_of, send


def test_a_link_is_tried_first_and_what_is_no_number_starts_nothing(console: Console) -> None:
    session = console.session("admin")
    assert "A dry run comes first" in fetch(console, session, "/settings/images/")
    assert "was not tried" in send(console, session, "/settings/images/link", 409, dates="mdy", link="1").text
    send(console, session, "/settings/images/link", 400, dates="ymd", dry_run="1")
    send(console, session, "/settings/images/import", 400, limit="0", dry_run="1")
    link = {"dates": "dmy", "limit": "5", "restore_removed": "on", "dry_run": "1"}
    tried = run_of(send(console, session, "/settings/images/link", **link))
    imported = run_of(send(console, session, "/settings/images/import", limit="5", dry_run="1"))
    asked = "SELECT actor FROM fm_pipeline.run_requests WHERE run_id = ANY(%s)"
    assert console.bench.execute(asked, [tried, imported]) == [("admin",)] * 2, "Dagster took the configuration"
    viewer = console.session("reception")
    assert "Dry run</button>" not in fetch(console, viewer, "/settings/images/")
    for path in ("link", "import"):
        send(console, viewer, f"/settings/images/{path}", 403, dates="mdy")
