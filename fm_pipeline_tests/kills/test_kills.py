"""Ten rounds of hard case 14; `scripts/kills` makes a hundred."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fm_pipeline_tests.kills.clinic import Broken, KillClinic, kill_clinic
from fm_pipeline_tests.kills.rounds import carry_out, schedule
from fm_pipeline_tests.kills.runs import measure

ROUNDS = 10


@pytest.mark.hard_case(14)
def test_a_reimport_killed_at_any_moment_leaves_nexus_old_or_new_and_the_next_run_succeeds(tmp_path: Path) -> None:
    rng = random.Random(1)  # noqa: S311
    with kill_clinic(tmp_path) as clinic:
        measure(clinic, "command")
        clinic.learn_after()
        _what_must_not_pass_does_not(clinic)
        ledger = carry_out(clinic, schedule(ROUNDS, rng), rng, lambda line: None)
    assert ledger.broken == []
    assert sum(ledger.outcomes.values()) == ROUNDS
    assert {state for _, _, state in ledger.outcomes} == {"before", "after"}


def _what_must_not_pass_does_not(clinic: KillClinic) -> None:
    """Check that the checks themselves fail when they must."""
    assert clinic.state() == "before"
    clinic.check_nothing_is_left()
    clinic.bench.execute("UPDATE notes SET content = content || '.' WHERE id = (SELECT min(id::text)::uuid FROM notes)")
    with pytest.raises(Broken, match="neither before nor after: notes"):
        clinic.state()
    clinic.bench.execute("CREATE SCHEMA scratch")
    with pytest.raises(Broken, match="left behind in the server: schema"):
        clinic.check_nothing_is_left()
    (clinic.backups / "20250101T000000-half.partial").mkdir(parents=True)
    with pytest.raises(Broken, match="half a backup"):
        clinic.check_backups()
    clinic.reset()


def test_the_rounds_of_the_script_have_every_moment_and_every_blow() -> None:
    rounds = schedule(100, random.Random(1))  # noqa: S311
    assert len(rounds) == 100
    assert {each.way for each in rounds} == {"command", "dagster"}
    assert {each.blow for each in rounds if each.moment.name == "phase 4, appointments"} == {"run", "session", "server"}
    assert sum(each.moment.name == "at random" for each in rounds) >= 40
