"""The pipeline's requests to PostgreSQL: the check, the status, a plan, and the migrations."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.errors import PipelineError
from fm_pipeline.nexus.reimport.plan import usable_plan
from fm_pipeline.preflight.preflight import preflight
from fm_pipeline.settings import Settings
from fm_pipeline.status.overview import read_overview
from fm_pipeline_tests.answers.clients import PATIENCE, Asking
from fm_pipeline_tests.answers.postgresql import CANARY, PASSWORD
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL, empty_nexus

NOBODY = f"postgresql://user:{PASSWORD}@127.0.0.1:{{port}}/nexus?gssencmode=disable&connect_timeout=2"


def _checked(url: str) -> object:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(_env_file=None, nexus_database_url=SecretStr(url), state_dir=Path(folder))  # type: ignore[call-arg]
        return preflight(settings, files=True)


def _plan(url: str) -> object:
    with connect(url) as connection, connection.cursor() as cursor:
        return usable_plan(cursor, "none")


_QUESTIONS: dict[str, Callable[[str], object]] = {
    "check": _checked,
    "status": read_overview,
    "plan": _plan,
    "migrations": migrate,
}


def asking(url: str = NOBODY) -> Asking:
    """The questions.

    Args:
        url: of the database, with `{port}` in place of the port.
    """

    def of(question: Callable[[str], object]) -> Callable[[int], object]:
        return lambda port: question(url.format(port=port))

    return Asking(
        {name: of(question) for name, question in _QUESTIONS.items()},
        (PipelineError,),
        PATIENCE,
        never_said=(PASSWORD, CANARY),
    )


@contextmanager
def nexus_database(server: DisposablePostgreSQL) -> Iterator[str]:
    """Create a migrated Nexus database without rows; yield its URL with `{port}` in place of the port."""
    with empty_nexus(server) as url:
        migrate(url)
        yield url.replace(f":{server.port}/", ":{port}/") + "?gssencmode=disable&sslmode=disable"
