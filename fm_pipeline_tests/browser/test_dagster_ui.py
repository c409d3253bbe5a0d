"""What people find on Dagster's pages: the definitions, the phases in their order, the jobs, and why a run stopped."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from fm_pipeline.definitions import defs
from fm_pipeline_tests.bench.clinics import MigrationBench

# One web server for all of them, also when the tests are spread over processes.
pytestmark = pytest.mark.xdist_group("browser")
GROUPS = {spec.group_name for spec in defs.resolve_all_asset_specs()}


def test_the_web_server_loads_the_definitions(page: Page) -> None:
    page.goto("/deployment/locations")
    page.get_by_role("link", name="fm_pipeline").first.wait_for()
    page.get_by_text("Loaded", exact=True).wait_for()


def test_the_graph_shows_every_phase(page: Page) -> None:
    page.goto("/asset-groups")
    for phase in range(9):
        assert any(str(group).startswith(f"phase_{phase}_") for group in GROUPS)
    for group in GROUPS:
        page.get_by_text(str(group), exact=True).first.wait_for()


def test_the_jobs_are_listed(page: Page) -> None:
    page.goto("/jobs")
    for job in ("full_reimport", "plan_reimport"):
        page.get_by_role("link", name=job).wait_for()


def test_a_full_reimport_without_a_plan_stops_and_its_page_says_what_to_do(page: Page, clinic: MigrationBench) -> None:
    before = clinic.digests()
    page.goto("/locations/fm_pipeline/jobs/full_reimport")
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_text("View", exact=True).click()
    page.wait_for_url("**/runs/*")
    page.get_by_text("Failure", exact=True).first.wait_for()
    for sentence in (
        "A reimport needs a plan and a confirmation.",
        "Nothing was changed.",
        "Make a plan (job plan_reimport, or fm-pipeline plan), read it, then launch full_reimport",
    ):
        page.get_by_text(sentence).first.wait_for()
    assert clinic.digests() == before
