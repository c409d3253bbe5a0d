"""A Nexus database with a few names to look up, and raw records put straight into the staging schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline_tests.filemaker.conftest import clinic, served
from fm_pipeline_tests.staging.bench import Staging

__all__ = ["clinic", "served", "staging"]  # the first two for the tests of the extraction


@pytest.fixture
def staging(database_url: str) -> Iterator[Staging]:
    """An empty staging schema beside a Nexus with one clinic, clinician, appointment type and funding source."""
    migrate(database_url)
    with connect(database_url) as connection:
        create_nexus(connection)
        staging = Staging(connection)
        staging.add_names()
        yield staging
