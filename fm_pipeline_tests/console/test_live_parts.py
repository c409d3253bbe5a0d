"""The parts of a page that are replaced every few seconds, in a real Chromium: what a visitor does is not disturbed.

While a form is on its way, the page is not asked by JavaScript: the answer may never come. What the browser requests
tells where it is led.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
from playwright.sync_api import Browser, Page, Response, Route, expect

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.test_data_management import PAGE, added_runs
from fm_pipeline_tests.console.visitor import DESKTOP, visitor

ANSWER_MILLISECONDS = 30_000
# Tells by an attribute of the page that an answer with a new part was dealt with.
NOTE_ANSWERS = """
document.addEventListener("htmx:afterOnLoad", (event) => {
  if (event.detail.xhr.status !== 204) document.body.dataset.answered = event.detail.xhr.status;
})
"""


def fill_in(page: Page, words: str) -> None:
    """Do all that the confirmation of a reimport asks for, but for the button."""
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_label("To confirm").fill(words)


def leads_away(answer: Response) -> bool:
    return "hx-redirect" in answer.headers


def test_a_plan_that_becomes_stale_leads_nowhere_while_its_confirmation_is_on_the_way(
    browser: Browser, console: Console
) -> None:
    admin, made = visitor(browser, console, DESKTOP), console.bench.plan(now=datetime.now(UTC))
    page, held, led_to = admin.page, list[Route](), list[str]()

    def hold(route: Route) -> None:  # a method of a list takes no attribute, which Playwright gives it
        held.append(route)

    admin.log_in("admin")
    page.goto(f"{console.url}{PAGE}/plans/{made.id}")
    fill_in(page, made.confirmation)
    page.route("**/reimport", hold)
    page.on("request", lambda each: led_to.append(each.url) if each.is_navigation_request() else None)
    console.bench.execute("UPDATE notes SET content = content || '!'")
    try:
        with page.expect_response(leads_away, timeout=ANSWER_MILLISECONDS):
            page.locator("#carry-out button").click(no_wait_after=True)
        with page.expect_response(leads_away, timeout=ANSWER_MILLISECONDS):
            pass  # it asks again: the first answer has led nowhere
        assert [address.rsplit("/", 1)[-1] for address in led_to] == ["reimport"]
        held[0].continue_()
        expect(page.get_by_role("heading", name="This plan is stale: it was not carried out")).to_be_visible()
    finally:
        console.bench.execute("UPDATE notes SET content = left(content, -1)")


def test_a_button_that_is_pressed_is_not_replaced_before_it_is_released(browser: Browser, console: Console) -> None:
    admin, made = visitor(browser, console, DESKTOP), console.bench.plan(now=datetime.now(UTC))
    page, button = admin.page, admin.page.locator("#carry-out button")
    admin.log_in("admin")
    page.goto(f"{console.url}{PAGE}/plans/{made.id}")
    page.evaluate(NOTE_ANSWERS)
    button.hover()
    page.mouse.down()
    with added_runs(console) as add:
        add("plan_reimport", dg.DagsterRunStatus.STARTED)
        expect(page.locator("body")).to_have_attribute("data-answered", "200", timeout=ANSWER_MILLISECONDS)
        expect(button).to_be_enabled()
        page.mouse.move(0, 0)
        page.mouse.up()
        expect(button).to_be_disabled(timeout=ANSWER_MILLISECONDS)


def test_a_run_that_ends_without_a_reason_leaves_its_log_open(browser: Browser, console: Console) -> None:
    viewer = visitor(browser, console, DESKTOP)
    viewer.log_in("reception")
    page, lines, meaning = viewer.page, viewer.page.locator("#log pre"), viewer.page.locator("#log-meaning")
    with added_runs(console) as add, dg.DagsterInstance.from_config(str(console.log.parents[1] / "dagster")) as own:
        run_id = add("export_nexus_csv", dg.DagsterRunStatus.STARTED)
        page.goto(f"{console.url}{PAGE}/runs/{run_id}")
        expect(meaning).to_be_visible()
        expect(lines).to_be_hidden()
        run = own.get_run_by_id(run_id)
        assert run
        own.report_run_failed(run)
        expect(page.get_by_role("alert")).to_contain_text("The log below says why it ended")
        expect(lines).to_be_visible()
        expect(meaning).to_have_count(0)
        # The log itself comes once more, and stays unfolded.
        expect(lines).to_contain_text("failed", ignore_case=True, timeout=ANSWER_MILLISECONDS)
        expect(lines).to_be_visible()
