"""`python -m fm_pipeline_tests.kills --count 100 --seed 1`: exit code 0 if every check held."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from fm_pipeline_tests.kills.clinic import kill_clinic
from fm_pipeline_tests.kills.rounds import carry_out, schedule
from fm_pipeline_tests.kills.runs import measure
from fm_pipeline_tests.support.searching import count_and_seed, say


def main() -> int:
    """Kill reimports and print the outcomes."""
    said = "Kill reimports in every step; Nexus is old or new."
    arguments = count_and_seed("kills", said, count=100, of="rounds", seed="decides the moments").parse_args()
    rng = random.Random(arguments.seed)  # noqa: S311  # moments, not secrets
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, kill_clinic(Path(folder)) as clinic:
        say(f"An undisturbed reimport takes {measure(clinic, 'command'):.1f} s.")
        clinic.learn_after()
        ledger = carry_out(clinic, schedule(arguments.count, rng), rng, say)
    for line in ledger.lines():
        say(line)
    return 1 if ledger.broken else 0


if __name__ == "__main__":
    sys.exit(main())
