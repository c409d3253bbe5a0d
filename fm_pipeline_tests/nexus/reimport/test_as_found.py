"""The clinic as it was found: first everything stops with the whole list, then a policy lets the sound rows through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.errors import StagingStop
from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic
from fm_pipeline.sandbox.clinic.nexus.values import Profile
from fm_pipeline.staging.check import broken_rules, check_staging
from fm_pipeline.staging.summary import summary
from fm_pipeline_tests.support.clinics import MigrationBench, migration_bench


@pytest.fixture(scope="module")
def found() -> Clinic:
    return generate_clinic(scale=0.02, as_found=True)


@pytest.fixture(params=["wep", "nexus"])
def profile(request: pytest.FixtureRequest) -> Profile:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def as_found(database_url: str, tmp_path: Path, found: Clinic, profile: Profile) -> Iterator[MigrationBench]:
    with migration_bench(database_url, tmp_path, found, profile) as running:
        yield running


def test_the_first_run_stops_with_everything_that_is_wrong_and_nothing_else(
    as_found: MigrationBench, found: Clinic
) -> None:
    before = as_found.digests()
    as_found.extract_and_stage()
    with connect(as_found.database_url) as connection, connection.cursor() as cursor:
        stops = broken_rules(cursor, ["patient", "appointment", "note", "sms_message", "document", "image"])
        with pytest.raises(StagingStop) as caught:
            check_staging(connection)
    assert {(each.entity, each.rule): each.rows for each in stops} == found.expected().stops
    text = str(caught.value)
    assert len(text.splitlines()) <= 2 + 3 * len(stops)
    for each in stops:
        assert f"- {each.rule} ({each.entity}, {each.found}): " in text
        assert len(each.record_ids) == min(each.rows, 5)
    assert as_found.digests() == before


def test_under_the_policy_quarantine_nexus_is_as_expected(
    as_found: MigrationBench, found: Clinic, profile: Profile
) -> None:
    expected = found.expected(profile=profile)
    bench = as_found.with_settings(rules_file=Path("quarantine")).extract_and_stage()
    with connect(bench.database_url) as connection:
        summaries = summary(connection)
    assert {s.entity: (s.source_rows, s.ready, dict(s.by_rule)) for s in summaries} == {
        entity: (count.rows, count.loaded, count.by_rule) for entity, count in expected.sources.items()
    }
    assert {(s.entity, rule): rows for s in summaries for rule, rows in s.flagged.items()} == expected.flags
    report = bench.reimport()
    assert bench.differences(expected) == []
    assert report.documents is not None
    assert {reason: len(ids) for reason, ids in report.documents.unresolved.items()} == expected.lost_documents
    assert report.documents.relinked == expected.documents_relinked
    again = bench.extract_and_stage().reimport()
    assert again.changed_rows == 0
