"""What people find on Dagster's pages: the definitions, the phases in their order, the jobs, and why a run stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from fm_pipeline.definitions import defs
from fm_pipeline.sandbox.stack.dagster import DagsterWebserver
from fm_pipeline.sandbox.stack.state import SECRETS_FILE, Secrets
from fm_pipeline_tests.browser.conftest import LaunchingWebserver
from fm_pipeline_tests.browser.graphql import Ui
from fm_pipeline_tests.support.clinics import MigrationBench

# One web server for all of them, also when the tests are spread over processes.
pytestmark = pytest.mark.xdist_group("browser")
REFUSED = "so it runs only when it alone was selected"
DICOM = ("dicom_inventory", "orthanc_instances")
GROUPS = {spec.group_name for spec in defs.resolve_all_asset_specs()}


@pytest.fixture(scope="module")
def ui(dagster_url: str) -> Ui:
    return Ui(dagster_url)


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
    assert page.get_by_text("Stack Trace").count() == 0
    assert clinic.digests() == before


def test_the_button_materialize_all_imports_nothing_and_links_nothing(ui: Ui, clinic: MigrationBench) -> None:
    before = clinic.digests()
    graph = defs.resolve_asset_graph()
    said = ui.failures(ui.launch(*(key.to_user_string() for key in graph.materializable_asset_keys)))
    assert {step for step, sentence in said.items() if REFUSED in sentence} == {
        "imported_dicom_files",
        "image_metadata_csv",
        "bulk_dump_inventory",
    }
    assert "needs a plan and a confirmation" in said["preflight"]
    assert clinic.digests() == before


def test_a_refused_run_that_is_repeated_from_its_failed_asset_is_refused_again(ui: Ui) -> None:
    """The second run selects nothing but the import: Dagster leaves out what the first one has done."""
    run_id = ui.launch("crosswalk", *DICOM)
    assert ui.failures(run_id).keys() == {"imported_dicom_files"}
    repeated = ui.repeat(run_id, "FROM_ASSET_FAILURE")
    assert REFUSED in ui.failures(repeated)["imported_dicom_files"]
    assert ui.selection(repeated) == set(DICOM)


def test_the_web_server_of_somebody_else_is_not_taken_for_the_demos(
    webserver: LaunchingWebserver, tmp_path: Path
) -> None:
    assert webserver.ready()
    assert not DagsterWebserver(tmp_path, webserver.port, Secrets(tmp_path / SECRETS_FILE)).ready()
