"""The Data Management page as people use it, in a real Chromium, at desktop and phone size."""

from __future__ import annotations

from typing import Literal
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, expect

from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages import dicom_job
from fm_pipeline_tests.console.visitor import DESKTOP, PHONE, SMALL_PHONE, visitor
from fm_pipeline_tests.support.orthanc import need_orthanc
from fm_pipeline_tests.support.waiting import wait_until

# What is beyond the right edge of the screen, and in nothing that scrolls.
CUT_OFF = """
() => [...document.querySelectorAll('main *')].filter(each => {
  if (each.closest('.visually-hidden, svg, details:not([open]) > :not(summary), option')) return false;
  const box = each.getBoundingClientRect(), holder = each.parentElement.closest('.scroll, pre');
  return box.width && box.right > innerWidth + 1 && !holder;
}).map(each => each.outerHTML.slice(0, 80))
"""
# Whether all of it can be seen without scrolling to the side.
IN_SIGHT = """
each => {
  const box = each.getBoundingClientRect(), holder = each.closest('.scroll').getBoundingClientRect();
  return box.left >= holder.left - 1 && box.right <= holder.right + 1;
}
"""
RUN_MILLISECONDS = 180_000
MOST_CLICKS = 7  # from the login, whose button counts, to a confirmed reimport


def test_an_admin_makes_a_plan_and_confirms_a_reimport_in_few_clicks(browser: Browser, console: Console) -> None:
    admin = visitor(browser, console, DESKTOP)
    page = admin.page
    ((patient, name),) = console.bench.execute("SELECT id::text, last_name FROM patients ORDER BY id LIMIT 1")
    console.bench.execute("UPDATE patients SET last_name = 'Changed in Nexus' WHERE id::text = %s", patient)
    admin.log_in("manager")

    admin.click("button", "Dry Run Preview")
    expect(page.get_by_role("heading", name="Progress")).to_be_visible(timeout=RUN_MILLISECONDS)
    page.reload()
    faults = admin.serious_faults()
    # The plan opens by itself.
    expect(page.get_by_role("heading", name="What would be done, by table")).to_be_visible(timeout=RUN_MILLISECONDS)
    patients = page.get_by_role("row", name="patients").first
    expect(patients.get_by_role("cell").nth(4)).to_have_text("1")  # to change
    faults += admin.serious_faults()

    admin.click("link", "Full Reimport")
    boxes = page.get_by_role("checkbox").all()
    admin.clicks += 3 - len(boxes)  # with records in quarantine there is one more
    for box in boxes:
        box.check()
        admin.clicks += 1
    faults += admin.serious_faults()
    words = page.locator("label.confirm .words").inner_text()
    page.get_by_label("To confirm").fill(words)
    admin.click("button", "Reimport")
    assert admin.clicks <= MOST_CLICKS
    expect(page.get_by_role("heading", name="Progress")).to_be_visible(timeout=RUN_MILLISECONDS)
    page.reload()
    expect(page.get_by_role("heading", name="Result")).to_be_visible(timeout=RUN_MILLISECONDS)
    expect(page.locator("#steps ~ .scroll")).to_contain_text("Delete what FileMaker no longer has")
    expect(page.locator("#log pre")).to_be_hidden()
    page.get_by_text("Show the lines").click()
    expect(page.locator("#log pre")).to_contain_text("Phase 8: ✅ All validation checks passed")
    expect(page.locator("#run")).to_contain_text("manager")
    expect(page.locator("#run")).to_contain_text("This is the way back: restore it")
    faults += admin.serious_faults()
    run = page.url

    assert console.bench.execute("SELECT last_name FROM patients WHERE id::text = %s", patient) == [(name,)]
    run_id = run.rsplit("/", 1)[-1]
    actors = console.bench.execute("SELECT DISTINCT actor FROM fm_pipeline.audit WHERE run_id = %s", run_id)
    assert actors == [("manager",)]
    assert (faults, admin.errors) == ([], [])


def test_an_admin_cancels_a_run_and_reads_that_nexus_is_unchanged(browser: Browser, console: Console) -> None:
    admin = visitor(browser, console, PHONE)
    admin.log_in("admin")
    before = console.bench.digests()
    admin.click("button", "Dry Run Preview")
    admin.page.get_by_role("button", name="Cancel this run").hover()
    admin.page.mouse.down()
    # The part of the page that has the button comes again while it is pressed.
    admin.page.evaluate("new Promise(done => document.addEventListener('htmx:afterOnLoad', done, {once: true}))")
    admin.page.mouse.up()
    expect(admin.page.get_by_role("status").first).to_contain_text("cancelled", timeout=RUN_MILLISECONDS)
    expect(admin.page.get_by_role("alert")).to_contain_text("Nexus is unchanged")
    assert console.bench.digests() == before
    assert not admin.is_wider_than_the_screen()


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_every_page_of_the_menu_fits_the_screen_and_has_no_serious_fault_for_axe(
    browser: Browser, console: Console, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    viewer = visitor(browser, console, size)
    viewer.page.emulate_media(color_scheme=scheme)
    viewer.page.goto(f"{console.url}/login/")
    faults = viewer.serious_faults()
    viewer.log_in("reception" if size == DESKTOP else "admin")  # who has more on some pages
    addresses = [link.get_attribute("href") for link in viewer.page.locator("nav a").all()]
    wide = []
    for address in addresses:
        if address == "/dagster":
            continue
        viewer.page.goto(f"{console.url}{address}")
        faults += viewer.serious_faults()
        wide += [address] if viewer.is_wider_than_the_screen() else []
    assert (faults, wide, viewer.errors) == ([], [], [])


def test_an_admin_imports_a_folder_of_dicom_files_and_takes_it_back(browser: Browser, console: Console) -> None:
    need_orthanc()
    name = uuid4().hex
    folder = console.hospital / name
    write_series(folder, 4, 2_000, name=name, patient_id=f"SECRET-{name}")
    admin = visitor(browser, console, PHONE)
    page, session = admin.page, console.session("admin")
    session.headers["X-Forwarded-For"] = dicom_job.ADDRESS
    page.set_extra_http_headers({"X-Forwarded-For": dicom_job.ADDRESS})
    admin.log_in("admin")
    page.goto(f"{console.url}/settings/dicom")
    page.get_by_label("Directory").fill(str(folder))
    page.get_by_label("Kind").select_option("manual")
    admin.click("button", "Scan only")
    expect(page.get_by_text("4 files to import")).to_be_visible()
    admin.click("button", "Start import")
    expect(page.locator("#job")).to_be_visible()
    job_id = int(page.url.rsplit("/", 1)[-1])
    dicom_job.assert_it_starts_by_itself(console, session, job_id)
    page.reload()
    expect(page.locator("#job .badge").first).to_have_text("done", timeout=RUN_MILLISECONDS)
    dicom_job.assert_it_has_imported(console, session, job_id, folder)
    faults = admin.serious_faults()
    admin.click("link", "Take back")
    expect(page.get_by_role("link", name="Not now")).to_have_attribute("href", f"/settings/dicom/jobs/{job_id}")
    page.get_by_label("To confirm").fill(page.locator("label.confirm .words").inner_text())
    faults += admin.serious_faults()
    admin.click("button", "Delete in Orthanc")
    expect(page.get_by_role("heading", name="Taken back")).to_be_visible(timeout=RUN_MILLISECONDS)
    page.reload()
    expect(page.get_by_text("taken back", exact=True)).to_have_count(4)
    faults += admin.serious_faults()
    assert not admin.is_wider_than_the_screen()
    assert (faults, admin.errors) == ([], [])
    dicom_job.assert_it_is_taken_back(console, session, job_id)


def test_a_viewer_finds_no_button_and_is_refused_by_every_address(browser: Browser, console: Console) -> None:
    viewer = visitor(browser, console, PHONE)
    viewer.log_in("reception")
    page = viewer.page
    expect(page.get_by_role("button", name="Dry Run Preview")).to_have_count(0)
    page.get_by_role("link", name="Read the newest plan").click()
    expect(page.get_by_role("heading", name="would be lost")).to_be_visible()
    expect(page.get_by_role("link", name="Full Reimport")).to_have_count(0)
    page.goto(f"{page.url}/reimport")
    expect(page.get_by_role("heading", name="Only an administrator may do this")).to_be_visible()


def test_no_page_is_cut_off_or_moves_sideways_on_a_small_phone(browser: Browser, console: Console) -> None:
    admin, bench = visitor(browser, console, SMALL_PHONE), console.bench
    admin.log_in("admin")
    made = bench.plan()
    ((reimport, backup),) = bench.execute("SELECT id::text, backup_id::text FROM fm_pipeline.reimports LIMIT 1")
    ((entity, record_id),) = bench.execute("SELECT entity, record_id FROM fm_pipeline.staged_outcomes LIMIT 1")
    plan, settings = f"/settings/data-management/plans/{made.id}", "/settings"
    addresses = [
        plan,
        f"{plan}/change/patients",
        f"{settings}/history/plans/{made.id}",
        f"{settings}/history/reimports/{reimport}",
        f"{settings}/history/?since=2000-01-01",
        f"{settings}/backups/{backup}",
        f"{settings}/not-loaded/{entity}/{record_id}",
        f"{settings}/dicom/configuration",
        f"{settings}/dicom/jobs",
        f"{settings}/tokens/",
        "/account/",
        "/audit/",
    ]
    addresses += [str(link.get_attribute("href")) for link in admin.page.locator("nav a").all()]
    found = {}
    for address in addresses:
        if address == "/dagster":
            continue
        admin.page.goto(f"{console.url}{address}")
        if cut := admin.page.evaluate(CUT_OFF) or admin.is_wider_than_the_screen():
            found[address] = cut
    assert found == {}


def test_a_small_phone_shows_the_columns_that_matter_and_the_newest_day_without_scrolling(
    browser: Browser, console: Console
) -> None:
    admin = visitor(browser, console, SMALL_PHONE)
    page = admin.page
    admin.log_in("admin")
    columns = {
        f"/settings/data-management/plans/{console.bench.plan().id}": "Delete",
        "/settings/history/?since=2000-01-01": "Outcome",
        "/settings/not-loaded/": "Records",
        "/settings/backups/": "Restore",
        "/settings/dicom/jobs": "Not imported",
        "/audit/": "Result",
    }
    hidden = []
    for address, column in columns.items():
        page.goto(f"{console.url}{address}")
        heading = page.get_by_role("columnheader", name=column, exact=True)
        hidden += [] if heading.evaluate(IN_SIGHT) else [address]
    assert hidden == []
    days = page.get_by_role("group", name="Imported by day, as a chart")

    def are_counted() -> bool:
        page.goto(f"{console.url}/settings/dicom")
        return days.count() > 0

    wait_until(are_counted)
    assert days.locator("rect").last.evaluate(IN_SIGHT)
