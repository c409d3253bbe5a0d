from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT

# The console's modules read the settings when they are imported, so they have a process of their own.
PROGRAM = """
import shutil, sys
from types import SimpleNamespace
import dagster as dg
from fm_pipeline.console.gateway.health import dagster_checks
with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    workspace = SimpleNamespace(code_location_entries={})
    shutil.rmtree(sys.argv[1])
    for check in dagster_checks(SimpleNamespace(instance=instance, get_current_workspace=lambda: workspace)):
        print(check.name, check.ok, check.detail, sep="; ")
"""


def test_a_folder_of_dagsters_history_that_is_gone_is_a_failed_check_with_what_to_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    url = {"NEXUS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}  # never asked
    asked = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM, str(home)],
        env=os.environ | url,
        cwd=PACKAGE_PARENT,
        capture_output=True,
        text=True,
        check=False,
    )
    heartbeat, *_ = asked.stdout.splitlines() or [asked.stderr]
    assert heartbeat.startswith("daemon heartbeat; False; Dagster's history: A database file of this service cannot")
    assert "DAGSTER_HOME" in heartbeat
