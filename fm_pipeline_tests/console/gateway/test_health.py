from __future__ import annotations

import shutil
from pathlib import Path

from fm_pipeline.console.gateway.context import ConsoleProcessContext
from fm_pipeline.console.gateway.health import dagster_checks


def test_a_folder_of_dagsters_history_that_is_gone_is_a_failed_check_with_what_to_do(
    context: ConsoleProcessContext, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path)
    heartbeat, _ = dagster_checks(context)
    assert (heartbeat.name, heartbeat.ok) == ("daemon heartbeat", False)
    assert heartbeat.detail.startswith("Dagster's history: A database file of this service cannot")
    assert "DAGSTER_HOME" in heartbeat.detail
