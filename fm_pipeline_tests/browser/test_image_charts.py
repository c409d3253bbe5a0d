"""The charts of images, as somebody sees them on the page of an asset."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest
from playwright.sync_api import Page

from fm_pipeline.assets.plots import bar
from fm_pipeline.definitions import build_defs
from fm_pipeline_tests.bench.clinics import MigrationBench
from fm_pipeline_tests.browser.conftest import LaunchingWebserver

pytestmark = pytest.mark.xdist_group("browser")


def reimported(clinic: MigrationBench, webserver: LaunchingWebserver) -> None:
    """Two runs in the web server's instance: a plan, and its reimport."""
    defs = build_defs(read_settings=lambda: clinic.settings)
    with dg.DagsterInstance.from_config(str(webserver.home)) as instance:
        plan = defs.resolve_job_def("plan_reimport").execute_in_process(instance=instance)
        (event,) = plan.asset_materializations_for_node("reimport_plan")
        config = {key: event.metadata[key].value for key in ("plan_id", "confirm")}
        defs.resolve_job_def("full_reimport").execute_in_process(
            instance=instance, run_config={"ops": {"reimport_transaction": {"config": config}}}
        )


def test_the_page_of_the_image_batches_shows_a_bar_for_each_year_and_category(
    page: Page, clinic: MigrationBench, webserver: LaunchingWebserver
) -> None:
    with ThreadPoolExecutor(1) as pool:  # Playwright's event loop runs in this one
        pool.submit(reimported, clinic, webserver).result()
    page.goto("/assets/image_batches")
    for chart in ("images_by_year", "images_by_category"):
        row = page.get_by_role("row").filter(has=page.get_by_text(chart, exact=True)).first
        row.get_by_role("table").wait_for()
    years = clinic.execute(
        "SELECT extract(year FROM date_taken)::int, count(*) FROM images_image GROUP BY 1 ORDER BY 1"
    )
    longest = max(count for _, count in years)
    for year, count in years:
        cells = page.get_by_role("row", name=f"{year} {count:,} {bar(count, longest)}", exact=True)
        cells.first.wait_for()
