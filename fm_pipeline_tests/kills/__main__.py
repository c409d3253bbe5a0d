"""`python -m fm_pipeline_tests.kills --count 100 --seed 1`: exit code 0 if every check held."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from fm_pipeline_tests.kills.clinic import kill_clinic
from fm_pipeline_tests.kills.rounds import carry_out, schedule
from fm_pipeline_tests.kills.runs import measure


def main() -> int:
    """Kill reimports and print the outcomes."""
    parser = argparse.ArgumentParser(prog="kills", description="Kill reimports at every moment; Nexus is old or new.")
    parser.add_argument("--count", type=int, default=100, help="how many rounds")
    parser.add_argument("--seed", type=int, default=1, help="decides the order and the random moments")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)  # noqa: S311  # moments, not secrets

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="kills-") as folder, kill_clinic(Path(folder)) as clinic:
        say(f"An undisturbed reimport takes {measure(clinic, 'command'):.1f} s.")
        clinic.learn_after()
        ledger = carry_out(clinic, schedule(arguments.count, rng), rng, say)
    for line in ledger.lines():
        say(line)
    return 1 if ledger.broken else 0


if __name__ == "__main__":
    sys.exit(main())
