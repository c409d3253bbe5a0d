"""A file that is dropped into the hospital's directory arrives while somebody looks on, and nobody touches anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from dagster import DagsterRunStatus
from dagster_graphql import DagsterGraphQLClient
from playwright.sync_api import Browser, Page

from fm_pipeline.db.migrate import migrate
from fm_pipeline.defs.assets.dicom import STEP
from fm_pipeline.dicom.configuration.configuration import SHORTEST_INTERVAL, configure
from fm_pipeline.dicom.history.jobs import SENSOR, get_job, list_jobs
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.stack.dagster import DagsterDaemon, DagsterWebserver
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.settings import Settings
from fm_pipeline_tests.support.dicom import dicom_settings, environment_of
from fm_pipeline_tests.support.orthanc import emptied, need_orthanc
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_database
from fm_pipeline_tests.support.proxies.orthanc_proxy import OrthancProxy, busy_from, orthanc_proxy
from fm_pipeline_tests.support.services import LazyStack
from fm_pipeline_tests.support.waiting import wait_until

LIMIT_SECONDS = 300
FINISHED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}


@dataclass(frozen=True)
class Scene:
    """Dagster with its daemon, an empty Orthanc with a proxy before it, an almost empty directory that is watched."""

    port: int
    settings: Settings
    orthanc: OrthancService
    proxy: OrthancProxy
    hospital: Path

    @property
    def database_url(self) -> str:
        return self.settings.nexus_database_url.get_secret_value()

    def instances(self) -> int:
        given = self.orthanc.settings()
        login = (given["ORTHANC_USERNAME"], given["ORTHANC_PASSWORD"])
        return len(requests.get(f"{given['ORTHANC_URL']}/instances", auth=login, timeout=30).json())

    def finished_runs(self) -> list[DagsterRunStatus]:
        """How the runs ended that have ended, by the jobs of the ledger."""
        client = DagsterGraphQLClient("127.0.0.1", port_number=self.port)
        states = [client.get_run_status(job.run_id) for job in list_jobs(self.database_url).jobs if job.run_id]
        return [state for state in states if state in FINISHED]


def watch(settings: Settings, *, on: bool) -> None:
    changes = {"monitoring_enabled": on, "monitoring_interval": SHORTEST_INTERVAL, "quiet_period": 0}
    configure(settings, changes, actor="test", now=datetime.now(UTC))


@pytest.fixture(scope="module")
def scene(
    browser: Browser, stack: LazyStack, postgresql: DisposablePostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    need_orthanc()
    tmp_path = tmp_path_factory.mktemp("scene")
    hospital = tmp_path / "hospital"
    hospital.mkdir()
    (hospital / "readme.txt").write_text("no image")
    with empty_database(postgresql) as database_url, pytest.MonkeyPatch.context() as patch, ExitStack() as given:
        migrate(database_url)
        orthanc = emptied(stack.orthanc)
        names = {name.lower(): value for name, value in orthanc.settings().items()}
        proxy = given.enter_context(orthanc_proxy(names["orthanc_url"]))
        settings = dicom_settings(database_url, tmp_path, **names | {"orthanc_url": proxy.url})
        watch(settings, on=True)
        for name, value in environment_of(settings).items():
            patch.setenv(name, value)
        with temporary_stack([DagsterWebserver, DagsterDaemon]) as dagster:
            port = dagster.service(DagsterWebserver).port
            yield Scene(port, settings, orthanc, proxy, hospital)


@pytest.mark.filterwarnings("ignore:Using variable_values:DeprecationWarning")  # Dagster's client, of its library
def test_a_file_that_is_dropped_in_arrives_while_the_page_is_open(browser: Browser, scene: Scene) -> None:
    page: Page = browser.new_page(base_url=f"http://127.0.0.1:{scene.port}", viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(LIMIT_SECONDS * 1000)
    try:
        page.goto("/assets/orthanc_instances")
        page.get_by_text("orthanc_instances").first.wait_for()
        (scene.hospital / "dropped").write_bytes(as_file(image("dropped", patient_name="Quollthorpe^Zephyrine")))
        wait_until(lambda: scene.instances() == 1, LIMIT_SECONDS)
        wait_until(lambda: bool(scene.finished_runs()), LIMIT_SECONDS)
        assert scene.finished_runs() == [DagsterRunStatus.SUCCESS]
        page.reload()  # mostly the page shows it by itself
        page.get_by_text("new_instances").first.wait_for()
        page.goto(f"/locations/fm_pipeline/sensors/{SENSOR}")
        page.get_by_text("1 run requested").first.wait_for()
        assert "Quollthorpe" not in page.content()
    finally:
        page.close()
    jobs = list_jobs(scene.database_url).jobs
    assert {job.requested_by for job in jobs} == {SENSOR}


@pytest.mark.filterwarnings("ignore:Using variable_values:DeprecationWarning")  # Dagster's client, of its library
@pytest.mark.hard_case(43)
def test_terminate_ends_the_import_cleanly_and_another_run_goes_on_with_it(scene: Scene, tmp_path: Path) -> None:
    watch(scene.settings, on=False)
    before = scene.instances()
    # All at once: a tick that began before may still list the directory, and would ask for what it has met of them.
    write_series(tmp_path / "many", 300, 2_000)
    scene.proxy.fault = busy_from(scene.proxy.uploads + 2)  # the first file is sent alone, others after it together
    (tmp_path / "many").rename(scene.hospital / "many")
    watch(scene.settings, on=True)
    client = DagsterGraphQLClient("127.0.0.1", port_number=scene.port)
    wait_until(lambda: scene.instances() == before + 1, LIMIT_SECONDS)
    watch(scene.settings, on=False)
    job = list_jobs(scene.database_url).jobs[0]
    assert job.run_id
    run_id = job.run_id
    client.terminate_run(run_id)
    wait_until(lambda: client.get_run_status(run_id) is DagsterRunStatus.CANCELED, LIMIT_SECONDS)
    cancelled = get_job(scene.database_url, job.id)
    assert cancelled.status == "cancelled"
    assert cancelled.cancel_requested_at  # by a person: the sensor leaves its files alone
    assert scene.instances() - before == cancelled.files_imported == 1
    scene.proxy.fault = lambda _: None
    config = {"ops": {STEP: {"config": {"job_id": job.id}}}}
    again = client.submit_job_execution("dicom_import", repository_location_name="fm_pipeline", run_config=config)
    wait_until(lambda: client.get_run_status(again) is DagsterRunStatus.SUCCESS, LIMIT_SECONDS)
    assert scene.instances() - before == 300
    ended = get_job(scene.database_url, job.id)
    assert (ended.status, ended.files_processed) == ("completed", ended.total_files)
