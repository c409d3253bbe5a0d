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
    for run_id, title in ((tried, "Image link (dry run)"), (imported, "Image import (dry run)")):
        page = fetch(console, session, f"/settings/data-management/runs/{run_id}")
        assert f"<h1>{title}</h1>" in page
        assert "Images that it has imported stay." not in page
    asked = "SELECT actor FROM fm_pipeline.run_requests WHERE run_id = ANY(%s)"
    assert console.bench.execute(asked, [tried, imported]) == [("admin",)] * 2, "Dagster took the configuration"
    viewer = console.session("reception")
    assert "Dry run</button>" not in fetch(console, viewer, "/settings/images/")
    for path in ("link", "import"):
        send(console, viewer, f"/settings/images/{path}", 403, dates="mdy")


def test_an_administrator_downloads_the_lists_of_the_images_that_are_not_there(console: Console) -> None:
    session, bench = console.session("admin"), console.bench
    link, imported = "/settings/images/not-linked.csv", "/settings/images/not-imported.csv"
    folder = bench.settings.state_dir / "images"
    assert "writes the list" in fetch(console, session, link, 404)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "not_linked.csv").write_text("line,recid,outcome,reason\n,12,error,archived\n")
    bench.execute(
        "WITH list AS (INSERT INTO fm_pipeline.waterfall_lists VALUES (gen_random_uuid(), NULL, now(), 'images', 3)"
        " RETURNING id) INSERT INTO fm_pipeline.waterfall_images"
        " (record_id, list_id, filemaker_key, state, reason, image_id)"
        " SELECT v.* FROM list, LATERAL (VALUES (7, list.id, 'a', 'failed', 'not_readable', NULL::uuid),"
        " (8, list.id, 'b', 'linked', 'not_marked', gen_random_uuid()),"
        " (9, list.id, 'c', 'linked', 'in_use', gen_random_uuid()), (10, list.id, 'd', 'skipped', 'no_date', NULL)) v"
    )
    try:
        assert fetch(console, session, link).splitlines()[1] == ",12,error,archived"
        rows = fetch(console, session, imported).splitlines()
    finally:
        (folder / "not_linked.csv").unlink()
        bench.execute("DELETE FROM fm_pipeline.waterfall_images; DELETE FROM fm_pipeline.waterfall_lists")
    assert [row.split(",")[:4] for row in rows[1:]] == [
        ["10", "d", "skipped", "no_date"],
        ["8", "b", "failed", "not_marked"],
        ["7", "a", "failed", "not_readable"],
    ]
    assert "Nothing: the next import sets the mark." in rows[2]
    audited = (
        "SELECT count(*) FROM fm_pipeline.audit WHERE action = 'download' AND detail LIKE 'The list of the images%'"
    )
    assert bench.execute(audited) == [(2,)]
