"""The charts of images, as somebody sees them on the pages of assets."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from playwright.sync_api import Page

from fm_pipeline.definitions import build_defs
from fm_pipeline.defs.assets.plots import NARROW, bar
from fm_pipeline_tests.browser.conftest import LaunchingWebserver
from fm_pipeline_tests.images.scene import Scene
from fm_pipeline_tests.support.buckets import BucketBench
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.services import LazyStack

pytestmark = pytest.mark.xdist_group("browser")


class Runs:
    """Runs in the web server's instance, carried out beside Playwright, whose event loop has this thread."""

    def __init__(self, bench: MigrationBench, home: Path) -> None:
        self._bench, self._home = bench, home

    def __call__(self, job: str, config: Mapping[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._run, job, config).result()

    def _run(self, job: str, config: Mapping[str, Any] | None) -> dg.ExecuteInProcessResult:
        defs = build_defs(read_settings=lambda: self._bench.settings)
        with dg.DagsterInstance.from_config(str(self._home)) as instance:
            return defs.resolve_job_def(job).execute_in_process(instance=instance, run_config={"ops": config or {}})


def bars_of(page: Page, bench: MigrationBench) -> None:
    """Wait until the page shows a bar for each year, of the length that the database says, and the categories."""
    years = bench.execute("SELECT extract(year FROM date_taken)::int, count(*) FROM images_image GROUP BY 1")
    longest = max(count for _, count in years)
    for year, count in years:
        page.get_by_role("row", name=f"{year} {count:,} {bar(count, longest, NARROW)}", exact=True).first.wait_for()
    row = page.get_by_role("row").filter(has=page.get_by_text("images_by_category", exact=True)).first
    row.get_by_role("table").wait_for()


def test_after_a_reimport_the_page_of_the_image_batches_shows_a_bar_for_each_year_and_category(
    page: Page, clinic: MigrationBench, webserver: LaunchingWebserver
) -> None:
    run = Runs(clinic, webserver.home)
    (event,) = run("plan_reimport").asset_materializations_for_node("reimport_plan")
    permission = {key: event.metadata[key].value for key in ("plan_id", "confirm")}
    run("full_reimport", {"reimport_transaction": {"config": permission}})
    page.goto("/assets/image_batches")
    bars_of(page, clinic)


def test_after_the_link_the_page_of_the_linked_images_shows_them_and_the_summary(
    page: Page, clinic: MigrationBench, webserver: LaunchingWebserver, stack: LazyStack, tmp_path: Path
) -> None:
    scene = Scene(clinic, BucketBench(stack.s3), tmp_path)
    for recid in range(2, 8):
        scene.add(recid, date=f"10/18/{2013 + recid}", category="Gait_side | *left*")
    scene.add(8, date="")
    bench = scene.bench.with_settings(image_export_file=scene.export_file)
    assert Runs(bench, webserver.home)("link_images").success
    page.goto("/assets/linked_images")
    bars_of(page, bench)
    page.get_by_text("Images linked:", exact=False).first.wait_for()
