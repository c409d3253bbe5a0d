"""The page from which people are told."""

from __future__ import annotations

from uuid import uuid4

from fm_pipeline.notifications.console_pages import DICOM_PAGE, EXPECTED_PAGE, PLAN_PAGE, RUN_PAGE, SYNC_PAGE
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch, send


def test_without_receivers_the_page_says_so_and_nobody_is_told(console: Console) -> None:
    admin, viewer = console.session("admin"), console.session("reception")
    assert "Nobody gets an email" in fetch(console, admin, "/settings/maintenance/")
    form = {"begins": "2999-01-01T20:00", "minutes": "30"}
    assert "Nobody was told" in send(console, admin, "/settings/maintenance/announce", 409, **form).text
    send(console, admin, "/settings/maintenance/announce", 400, begins="soon", minutes="30")
    send(console, admin, "/settings/maintenance/end", 409)
    assert "Nexus is being maintained" in fetch(console, viewer, "/settings/maintenance/page.html")
    for path in ("announce", "end"):
        send(console, viewer, f"/settings/maintenance/{path}", 403, **form)


def test_the_pages_to_which_mails_lead_are_there(console: Console) -> None:
    admin = console.session("admin")
    for page in (DICOM_PAGE, SYNC_PAGE):
        fetch(console, admin, page)
    assert "What is expected" in fetch(console, admin, EXPECTED_PAGE)
    assert "There is no plan of that id" in fetch(console, admin, PLAN_PAGE.format(uuid4()), 404)
    assert "There is no run of that id" in fetch(console, admin, RUN_PAGE.format(uuid4()), 404)
