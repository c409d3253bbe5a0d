"""Dagster's pages in a real browser behind the gateway: the policy stops nothing, and a viewer's buttons are grey."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from fm_pipeline_tests.browser.chromium import chromium
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.gateway.test_mutations import graphql

_PATIENCE = 60_000  # milliseconds
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.violations.push(event.violatedDirective + " " + event.blockedURI));
"""
_LAUNCH = """
mutation { launchRun(executionParams: { mode: "default", selector: { jobName: "plan_reimport",
  repositoryLocationName: "fm_pipeline", repositoryName: "__repository__" } }) {
  ... on LaunchRunSuccess { run { runId } } } }
"""
_END = """
mutation End($id: String!) { terminateRun(runId: $id, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename } }
"""
_JOB = "locations/fm_pipeline/jobs/plan_reimport"
_CHANGES = {  # title and text of a page by its path
    "asset-groups": ("Global asset lineage", "Reload definitions"),
    _JOB: ("Jobs | plan_reimport", "Materialize all"),
}
_FOLLOW = """
(path) => { history.pushState({}, "", path); dispatchEvent(new PopStateEvent("popstate")); }
"""


@contextmanager
def _page(console: Console, browser: Browser, username: str) -> Iterator[tuple[Page, BrowserContext]]:
    with browser.new_context(base_url=console.url) as context:
        context.set_default_timeout(_PATIENCE)
        context.add_init_script(_WATCH)
        cookies = console.session(username).cookies.items()
        context.add_cookies([{"name": name, "value": value, "url": console.url} for name, value in cookies])
        yield context.new_page(), context


def test_no_page_runs_into_the_policy_or_asks_another_host_and_a_viewer_finds_grey_buttons(console: Console) -> None:
    admin = console.session("admin")
    run_id = graphql(console, admin, _LAUNCH).json()["data"]["launchRun"]["run"]["runId"]
    graphql(console, admin, _END, id=run_id)
    places = {
        f"runs/{run_id}": ("Runs | plan_reimport", "plan_reimport"),
        "overview/activity": ("Overview | Timeline", "Now"),
        "runs": ("Runs | All", "Filter"),
        **_CHANGES,
    }
    launchpad = {f"{_JOB}/playground": ("Jobs | plan_reimport | Launchpad", "Launch Run")}  # a viewer is led to the job
    asked: list[str] = []
    with chromium() as browser:
        if browser is None:
            pytest.skip("no Chromium")
        for username in ("admin", "reception"):
            with _page(console, browser, username) as (page, context):
                context.on("request", lambda request: asked.append(request.url))
                page.goto(f"/dagster/runs/{run_id}")
                for path, (title, text) in {**places, **(launchpad if username == "admin" else {})}.items():
                    page.evaluate(_FOLLOW, f"/dagster/{path}")  # as a link does: each document has the same policy
                    expect(page).to_have_title(re.compile(re.escape(title)), timeout=_PATIENCE)
                    expect(page.get_by_text(text).first).to_be_visible(timeout=_PATIENCE)
                    assert (path, page.evaluate("window.violations")) == (path, [])
                    if path in _CHANGES:
                        button = page.get_by_role("button", name=text)
                        expect(button.first).to_be_enabled(enabled=username == "admin", timeout=_PATIENCE)
    assert len(asked) > 50
    own = (console.url, console.url.replace("http", "ws", 1), "data:", "blob:")
    assert [address for address in asked if not address.startswith(own)] == []
