"""One console a test process: `fm-pipeline serve` on a reimported clinic, with an admin and a viewer.

It ends with the tests of this folder. Three idle processes of Dagster take time from all later tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser

from fm_pipeline.nexus.grants import RoleNames, grant_statements
from fm_pipeline.sandbox.clinic.nexus.system import SANDBOX_PASSWORD, VIEWERS
from fm_pipeline.sandbox.stack.console import ConsoleService
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.browser.chromium import chromium
from fm_pipeline_tests.support.clinics import MigrationBench, Origin, copied_bench
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL
from fm_pipeline_tests.support.services import LazyStack


@dataclass(frozen=True)
class Console:
    """A running console and the clinic behind it.

    Attributes:
        hospital: the directory of DICOM files, the only allowed root.
        environment: the settings that it has been started with.
        log: what its parts have printed.
    """

    url: str
    bench: MigrationBench
    hospital: Path
    environment: Mapping[str, str]
    log: Path

    def session(self, username: str | None = None) -> requests.Session:
        """A browser's session: logged in, if a name is given; its requests come from a page of the console."""
        session = requests.Session()
        session.trust_env = False
        session.headers["Origin"] = self.url
        if username:
            answer = self.log_in(session, username)
            assert answer.status_code == 302, answer.text
        return session

    def log_in(
        self, session: requests.Session, username: str, password: str = SANDBOX_PASSWORD, next_page: str = ""
    ) -> requests.Response:
        """The answer to the form of the login; a redirect is not followed."""
        session.get(f"{self.url}/login/", timeout=30)
        form = {"username": username, "password": password, "next": next_page, **self.token(session)}
        return session.post(f"{self.url}/login/", data=form, timeout=30, allow_redirects=False)

    def token(self, session: requests.Session) -> dict[str, str]:
        """The field of a form that shows that it comes from a page of the console."""
        return {"csrfmiddlewaretoken": session.cookies["fm_console_csrf"]}


@contextmanager
def least_privileges(bench: MigrationBench) -> Iterator[dict[str, str]]:
    """The settings with the roles that `fm-pipeline grants` makes: for the console, for restores, and for all else."""
    database = bench.database_url.rsplit("/", 1)[1]
    roles = RoleNames(*(f"{database}_{each}" for each in ("pipeline", "restore", "console", "audit")))
    with bench.connection() as connection, connection.cursor() as cursor:
        statements = "\n".join(grant_statements(cursor, bench.settings, roles))
    bench.execute(statements)
    server = bench.database_url.partition("@")[2]
    settings = {}
    for name, role in (
        ("NEXUS_DATABASE_URL", roles.pipeline),
        ("RESTORE_DATABASE_URL", roles.restore),
        ("CONSOLE_DATABASE_URL", roles.console),
    ):
        bench.execute(f"ALTER ROLE {role} PASSWORD 'weak'")
        settings[name] = f"postgresql://{role}:weak@{server}"
    try:
        yield settings
    finally:
        ours = ", ".join(astuple(roles))
        bench.execute(f"DROP OWNED BY {ours} CASCADE; DROP ROLE {ours}")


@pytest.fixture(scope="package")
def console(
    postgresql: DisposablePostgreSQL,
    reimported_clinic: Origin,
    stack: LazyStack,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Console]:
    """A console that all tests of a process share."""
    folder = tmp_path_factory.mktemp("console")
    hospital = folder / "hospital"
    hospital.mkdir()
    orthanc = stack.orthanc.settings() if OrthancService.available() else {}
    with (
        copied_bench(postgresql, reimported_clinic, folder) as bench,
        least_privileges(bench) as roles,
        ExitStack() as running,
    ):
        # For a wrong password Django adds the rounds that a hash of its own algorithm lacks, today about a million.
        cheap = "UPDATE auth_user SET password = 'md5$salt$' || md5('salt' || %s)"
        bench.execute(cheap, SANDBOX_PASSWORD)
        environment = {
            **bench.environment(),
            **orthanc,
            "HOSPITAL_DATA_PATH": str(hospital),
            "CONSOLE_VIEWER_GROUP": VIEWERS,
            **roles,
            "CONSOLE_TRUSTED_PROXIES": "127.0.0.1",  # so that a test may come from another address
        }
        with pytest.MonkeyPatch.context() as patch:  # until it has started: other tests of this process follow
            for name, value in environment.items():
                patch.setenv(name, value)
            own = running.enter_context(temporary_stack([ConsoleService]))
        served = own.service(ConsoleService)
        yield Console(served.url, bench, hospital, environment, served.log)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    with chromium() as found:
        if found is None:
            pytest.skip("no Chromium on this machine")
        yield found
