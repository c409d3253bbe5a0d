"""Whether `dagster.yaml` in DAGSTER_HOME says what that of this release says. It is a copy, and releases change it."""

from __future__ import annotations

from pathlib import Path

import yaml

import fm_pipeline.defs

OURS = Path(fm_pipeline.defs.__file__).with_name("dagster.yaml")
# Of these the pipeline depends; all else is a matter of the clinic.
DECIDING = ("run_coordinator", "run_launcher", "concurrency", "run_monitoring")
_SEVERAL_HOSTS = "fm_pipeline.defs.celery_run_launcher"  # they have another file (docs/scaling.md)


def differing_parts(file: Path) -> list[str]:
    """Return the names of the deciding parts that differ; none if the file is for several hosts or cannot be read."""
    try:
        copy = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # Dagster says it
        return []
    given = copy if isinstance(copy, dict) else {}
    launcher = given.get("run_launcher")
    if isinstance(launcher, dict) and launcher.get("module") == _SEVERAL_HOSTS:
        return []
    ours = yaml.safe_load(OURS.read_text("utf-8"))
    return [name for name in DECIDING if given.get(name) != ours[name]]
