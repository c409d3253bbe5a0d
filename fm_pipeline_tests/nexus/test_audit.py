"""The audit trail is a witness: what it cannot write down changes nothing of what happened."""

from __future__ import annotations

import logging

import pytest

from fm_pipeline.nexus.audit import audited
from fm_pipeline_tests.bench.clinics import MigrationBench, small_clinic

NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'no room'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON fm_pipeline.audit FOR EACH ROW WHEN (NEW.outcome <> 'started'
    AND NEW.action = 'reimport') EXECUTE FUNCTION no_room()
"""


def test_a_committed_reimport_is_no_failure_because_its_end_cannot_be_written_down(
    bench: MigrationBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.extract_and_stage().execute(NO_ROOM)
    with caplog.at_level(logging.WARNING):
        assert bench.reimport().committed
    assert bench.differences(small_clinic().expected()) == []
    assert "audit trail" in caplog.text


def test_a_cancelled_run_stays_a_cancelled_one_when_its_end_cannot_be_written_down(bench: MigrationBench) -> None:
    bench.extract_and_stage().execute(NO_ROOM)
    with pytest.raises(KeyboardInterrupt), audited(bench.database_url, actor="bench", action="reimport"):
        raise KeyboardInterrupt
