"""A supervisor with small parts: `python -m fm_pipeline_tests.serve.small_service FOLDER BEHAVIOUR… serve`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from fm_pipeline.console.service.part_states import write_part_states
from fm_pipeline.serve.lock import locked
from fm_pipeline.serve.parts import ServicePart
from fm_pipeline.serve.supervisor import Supervisor


def main(folder: Path, *behaviours: str) -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parts = [
        ServicePart(behaviour, "fm_pipeline_tests.serve.part_program", (behaviour,), stop_seconds=0.5)
        for behaviour in behaviours
    ]
    with locked(folder) as lock:
        Supervisor(
            parts,
            os.environ,
            address="http://127.0.0.1:8000",
            locks=[lock],
            is_ready=lambda: True,
            publish=lambda states: write_part_states(folder, states),
        ).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:-1])
