"""A role that may do what a reimport needs, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from fm_pipeline_tests.support.clinics import MigrationBench


@pytest.fixture
def role(bench: MigrationBench) -> Iterator[MigrationBench]:
    """The bench with a role of its own, which may do what a reimport needs and no more."""
    bench.execute("DROP ROLE IF EXISTS preflight_role")
    bench.execute("CREATE ROLE preflight_role LOGIN PASSWORD 'sandbox'")
    (database,) = bench.execute("SELECT current_database()")[0]
    bench.execute(
        f'GRANT CREATE, TEMPORARY ON DATABASE "{database}" TO preflight_role;'
        " GRANT SELECT, UPDATE, INSERT, DELETE ON ALL TABLES IN SCHEMA public TO preflight_role"
    )
    url = make_url(bench.database_url).set(username="preflight_role", password="sandbox")
    yield bench.with_settings(nexus_database_url=SecretStr(url.render_as_string(hide_password=False)))
    bench.execute("DROP OWNED BY preflight_role; DROP ROLE preflight_role")
