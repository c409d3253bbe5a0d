"""How an entity is staged, as it is written down."""

from __future__ import annotations

import os
import subprocess
import sys

from fm_pipeline.entities.registry import ENTITIES
from fm_pipeline.nexus.staged_registry import as_json

CODE = """
from fm_pipeline.entities.registry import ENTITIES
from fm_pipeline.nexus.staged_registry import as_json
print(*map(as_json, ENTITIES.values()), sep="\\n")
"""


def test_a_definition_is_the_same_text_in_every_process_since_a_plan_is_bound_to_it() -> None:
    texts = {
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", CODE],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert texts == {"\n".join(map(as_json, ENTITIES.values())) + "\n"}
