"""A Nexus database with a few names to look up, and raw records put straight into the staging schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fm_pipeline.nexus.database import connect
from fm_pipeline.nexus.migrate import migrate
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline_tests.staging.bench import Staging


@pytest.fixture
def staging(database_url: str) -> Iterator[Staging]:
    """An empty staging schema beside a Nexus with one clinic, clinician, appointment type and funding source."""
    migrate(database_url)
    with connect(database_url) as connection:
        create_nexus(connection)
        staging = Staging(connection)
        staging.add_names()
        yield staging
