from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from fm_pipeline.console.gateway.context import ConsoleProcessContext
from fm_pipeline.defs.dagster_internals import WorkspaceFileTarget
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ConsoleProcessContext]:
    """An instance with the project's own dagster.yaml, and no code location."""
    (tmp_path / "dagster.yaml").write_text((PACKAGE_PARENT / "dagster.yaml").read_text())
    (tmp_path / "workspace.yaml").write_text("load_from: []")
    with (
        dg.DagsterInstance.from_config(str(tmp_path)) as instance,
        ConsoleProcessContext(instance, WorkspaceFileTarget([str(tmp_path / "workspace.yaml")])) as opened,
    ):
        yield opened
