"""The sensor that tells what did not come, as Dagster calls it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from fm_pipeline.defs.sensors.overdue import overdue_alarms
from fm_pipeline_tests.support.clinics import MigrationBench
from fm_pipeline_tests.support.mail import mail_settings, mails_of, text_of
from fm_pipeline_tests.support.services import LazyStack


def _tick(bench: MigrationBench, cursor: str | None) -> tuple[str, str]:
    """Return the reason of a tick that asks for nothing, and its cursor."""
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance, cursor=cursor)
        result = overdue_alarms(lambda: bench.settings)(context)
        assert isinstance(result, dg.SkipReason)
        return result.skip_message or "", context.cursor or ""


@pytest.mark.usefixtures("reimported_once")
def test_a_plan_that_did_not_come_is_mailed_once_and_again_when_it_is_back(
    bench: MigrationBench, stack: LazyStack
) -> None:
    mail = {name: value for name, value in mail_settings(Path(), stack.mail.port) if name.startswith("smtp_")}
    bench = bench.with_settings(**mail, expect_plan_hours=24, support_contact="Clinic IT")
    reason, cursor = _tick(bench, None)
    assert reason.startswith("There was no plan or reimport since 2025-11-20 14:00")
    (occurrence,) = json.loads(cursor).values()
    _, cursor = _tick(bench, cursor)
    (missed,) = mails_of(stack.mail, f"overdue.plan.{occurrence}")
    assert "Help: Clinic IT" in text_of(missed)

    bench.plan(datetime.now(UTC))
    reason, cursor = _tick(bench, cursor)
    assert (reason, cursor) == ("1 expectation: all came in time.", "{}")
    assert len(mails_of(stack.mail, "back.plan.")) == 1
    assert "not set" in _tick(bench.with_settings(expect_plan_hours=None), cursor)[0]
