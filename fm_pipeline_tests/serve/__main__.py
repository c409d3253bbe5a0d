"""`python -m fm_pipeline_tests.serve --count 20 --seed 1`: exit code 0 if every check held."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import dagster as dg

from fm_pipeline_tests.kills.clinic import Broken, Gate, KillClinic, kill_clinic
from fm_pipeline_tests.kills.runs import measure
from fm_pipeline_tests.serve.served_clinic import EVERYTHING, SUPERVISOR, VICTIMS, ServedClinic, served
from fm_pipeline_tests.support.searching import count_and_seed, say

LONGEST_WAIT_SECONDS = 30.0  # of a random moment, from the launch of the run


def main() -> int:
    """Kill parts of the service, and print the outcomes."""
    said = "Kill the service in the middle of reimports."
    arguments = count_and_seed("kills-serve", said, count=20, of="rounds", seed="decides the moments").parse_args()
    rng = random.Random(arguments.seed)  # noqa: S311  # moments, not secrets
    outcomes: Counter[tuple[str, str, str]] = Counter()
    broken = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, kill_clinic(Path(folder)) as clinic:
        measure(clinic, "command")
        clinic.learn_after()
        for number in range(arguments.count):
            victim = VICTIMS[number % len(VICTIMS)]
            gate = rng.choice([*Gate, None])  # None is a random moment
            started = time.monotonic()
            try:
                status, state = _round(clinic, victim, gate, rng)
            except Broken as fault:
                broken += 1
                say(f"{number + 1:>4}  {victim} at {_name(gate)}: BROKEN: {fault}")
                continue
            outcomes[victim, status, state] += 1
            seconds = time.monotonic() - started
            say(f"{number + 1:>4}  {victim} at {_name(gate)}: the run is {status}, Nexus {state} ({seconds:.0f} s)")
    for (victim, status, state), count in sorted(outcomes.items()):
        say(f"{count:>4} × {victim}: {status}, {state}")
    return 1 if broken else 0


def _round(clinic: KillClinic, victim: str, gate: Gate | None, rng: random.Random) -> tuple[str, str]:
    """Kill once; return how the run ended, and the state of Nexus.

    Raises:
        Broken: the run never ends, Nexus contradicts it, or the next reimport does not succeed.
    """
    clinic.reset()
    with served(clinic) as here:
        here.start()
        status = _struck(here, victim, gate, rng)
        state = clinic.state()
        if state != ("after" if status is dg.DagsterRunStatus.SUCCESS else "before"):
            raise Broken(f"the run is {status.value}, but Nexus is {state}")
        # A run that had begun outlives everything but its own death.
        if gate and victim != EVERYTHING and status is not dg.DagsterRunStatus.SUCCESS:
            raise Broken(f"the run ended with {status.value}, though only the {victim} was killed")
        if state == "before" and here.end_of(here.reimport()) is not dg.DagsterRunStatus.SUCCESS:
            raise Broken("the next reimport does not succeed")
    return status.value, state


def _struck(here: ServedClinic, victim: str, gate: Gate | None, rng: random.Random) -> dg.DagsterRunStatus:
    if gate is None:
        run_id = here.reimport()
        time.sleep(rng.uniform(0, LONGEST_WAIT_SECONDS))
        _kill(here, victim)
    else:
        with here.closed(gate):
            run_id = here.reimport()
            here.wait_at(gate)
            _kill(here, victim)
    return here.end_of(run_id)


def _kill(here: ServedClinic, victim: str) -> None:
    here.kill(victim)
    if victim in (SUPERVISOR, EVERYTHING):
        here.start()
    else:
        here.wait_for_restart(victim)


def _name(gate: Gate | None) -> str:
    return gate.name if gate else "a random moment"


if __name__ == "__main__":
    sys.exit(main())
