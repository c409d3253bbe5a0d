"""One full reimport by the code that PYTHONPATH names, with the settings of the environment. Prints its seconds.

`sync.py --before REV` runs it with an earlier commit. So it uses only what the commits of both sides have.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sequence.read_and_stage import read_and_stage
from fm_pipeline.sequence.reimport import make_plan, reimport
from fm_pipeline.settings import load_settings

ACTOR = "benchmark"


def main() -> None:
    """Read, stage and plan; then take the time to read, stage, back up and reimport."""
    settings, now = load_settings(_env_file=None), datetime.now(UTC)
    read_and_stage(settings)
    plan = make_plan(settings, now=now, actor=ACTOR)
    started = time.perf_counter()
    read_and_stage(settings)
    make_backup(settings, now=now, actor=ACTOR)
    reimport(settings, now=now, permission=Permission(plan.id, plan.confirmation, ACTOR))
    print(time.perf_counter() - started)  # noqa: T201


if __name__ == "__main__":
    main()
