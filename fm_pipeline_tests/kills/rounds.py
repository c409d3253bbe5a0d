"""Rounds: start a reimport, kill it, check what must hold, and run the next one."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import psutil

from fm_pipeline_tests.kills.clinic import Broken, KillClinic
from fm_pipeline_tests.kills.moments import MOMENTS, Durations, Missed, Moment, random_moment
from fm_pipeline_tests.kills.runs import WAYS, Run, Way, check_temporary_files, running

Blow = Literal["run", "session", "server"]
BLOWS: tuple[Blow, ...] = ("run", "session", "server")
TRIES = 20  # a moment that is observed without a gate may be over before a busy machine observes it


@dataclass(frozen=True)
class Round:
    """The kind of run, what is killed (the run, one of its sessions, or all of PostgreSQL), and when."""

    way: Way
    blow: Blow
    moment: Moment

    def __str__(self) -> str:
        return f"{self.way}: {self.blow} killed, {self.moment.name}"


@dataclass
class Ledger:
    """The outcomes of the rounds."""

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield a table: what was killed, where, and how often Nexus was old and new afterwards."""
        places = sorted({(place, blow) for place, blow, _ in self.outcomes})
        yield f"{'killed':<10}{'where':<38}{'before':>8}{'after':>8}"
        for place, blow in places:
            counts = [self.outcomes[place, blow, state] for state in ("before", "after")]
            yield f"{blow:<10}{place:<38}{counts[0]:>8}{counts[1]:>8}"
        totals = [sum(n for (_, _, s), n in self.outcomes.items() if s == state) for state in ("before", "after")]
        yield f"{'all':<48}{totals[0]:>8}{totals[1]:>8}"
        yield from (f"BROKEN  {line}" for line in self.broken)


def schedule(count: int, rng: random.Random) -> list[Round]:
    """Return the rounds: first one of each kind, then every moment, then random moments."""
    durations = Durations()
    anywhere = random_moment(durations)
    chosen: list[Round] = [
        Round("command", "run", MOMENTS["phase 3, patients"]),
        Round("command", "run", MOMENTS["before COMMIT"]),
        Round("command", "run", MOMENTS["after COMMIT"]),
        Round("command", "run", MOMENTS["backup, writing"]),
        Round("command", "session", MOMENTS["phase 5, notes"]),
        Round("command", "server", MOMENTS["phase 8, validation"]),
        Round("command", "run", MOMENTS["staging of notes"]),
        Round("command", "run", MOMENTS["extraction"]),
        Round("command", "server", MOMENTS["around COMMIT"]),
        Round("command", "run", anywhere),
        Round("dagster", "run", MOMENTS["phase 2, delete"]),
    ]
    certain = [
        Round(way, blow, moment)
        for moment, way, blow in product(MOMENTS.values(), WAYS, BLOWS)
        if blow == "run" or not moment.only_run
    ]
    others = [each for each in certain if each not in chosen]
    rng.shuffle(others)
    # Every moment with every blow once, in either way; repetitions only if the count is large.
    seen = {(each.blow, each.moment.name) for each in chosen}
    for each in others:
        if (each.blow, each.moment.name) not in seen:
            seen.add((each.blow, each.moment.name))
            chosen.append(each)
    while len(chosen) < count:
        blow: Blow = rng.choices(BLOWS, weights=(8, 1, 1))[0]
        chosen.append(Round(rng.choices(WAYS, weights=(2, 1))[0], blow, anywhere))
    return chosen[:count]


def carry_out(clinic: KillClinic, rounds: list[Round], rng: random.Random, say: Callable[[str], None]) -> Ledger:
    """Carry out all rounds, also after a failed one."""
    ledger = Ledger()
    for number, each in enumerate(rounds, start=1):
        started = time.monotonic()
        try:
            place, state = _until_it_hits(clinic, each, rng)
        except Broken as broken:
            clinic.wait_for_server()
            ledger.broken.append(f"round {number} ({each}): {broken}")
            say(f"{number:>4}  {each}: BROKEN: {broken}")
            continue
        ledger.outcomes[place, each.blow, state] += 1
        seconds = time.monotonic() - started
        say(f"{number:>4}  {each} -> {state}; the next run succeeded ({seconds:.1f} s)")
    return ledger


def _until_it_hits(clinic: KillClinic, each: Round, rng: random.Random) -> tuple[str, str]:
    for _ in range(TRIES):
        try:
            return strike_once(clinic, each, rng)
        except Missed:
            continue
    raise Broken(f"{each.moment.name} was missed {TRIES} times")


def strike_once(clinic: KillClinic, each: Round, rng: random.Random) -> tuple[str, str]:
    """Carry out one round.

    Returns:
        Where the run was, and the state of Nexus right after: `before` or `after`.

    Raises:
        Broken: Nexus was neither, or something was left that hinders the next run.
        Missed: the moment was over too soon.
    """
    clinic.reset()
    place = each.moment.name
    with each.moment.lay(clinic, rng, each.way) as ambush:
        if clinic.state() != "before":
            clinic.reset()  # measuring has carried out a reimport
        with running(clinic, each.way, port=ambush.port) as run:
            ambush.wait(run)
            printed = _strike(clinic, each.blow, run, rng)
        clinic.check_sessions_are_gone()  # while the gate is still closed, so that this does not depend on it
    state = clinic.state()
    exit_code = run.process.returncode
    # Between two statements a run may not notice that its server was away.
    survived = each.blow != "run" and exit_code == 0 and state == "after"
    if state not in each.moment.states and not survived:
        raise Broken(f"Nexus is {state}")
    if each.blow != "run":
        _check_words(exit_code, printed, state)
    clinic.check_nothing_is_left()
    if place == "at random":
        place = f"at random: {clinic.reached()}"
    if each.way == "dagster":
        with running(clinic, "dagster") as again:
            said = again.end()
        if (again.process.returncode == 0) != (state == "before"):
            raise Broken(f"the next run ended with {again.process.returncode}:\n{said[-2000:]}")
        clinic.check_the_next_run(state, said)
    else:
        clinic.check_the_next_run(state)
    clinic.check_backups()
    clinic.check_nothing_is_left()
    check_temporary_files(clinic)
    return place, state


def _strike(clinic: KillClinic, blow: Blow, run: Run, rng: random.Random) -> str:
    """Kill, and return what the run has printed until its end."""
    if blow == "run":
        run.kill()
    elif blow == "session":
        if sessions := clinic.sessions():
            try:
                clinic.kill_session(rng.choice(sessions))
            except psutil.NoSuchProcess:  # the session had just ended, as those of staging often do
                raise Missed from None
        clinic.wait_for_server()
    else:
        clinic.kill_server()
        clinic.start_server()
    run.go_on()  # the moment may have paused it
    return run.end()


def _check_words(exit_code: int, printed: str, state: str) -> None:
    """Check that a run whose database was killed reports the state of Nexus correctly."""
    said = " ".join(printed.split())
    if exit_code == 0 and state != "after":
        raise Broken("the run says that it succeeded, and Nexus is unchanged")
    unchanged = "is unchanged" in said or "Nothing was changed" in said
    if exit_code != 0 and state == "after" and unchanged:
        raise Broken("the run says that Nexus is unchanged, and it is not")
    if "Traceback" in said:
        raise Broken(f"the run ended with a traceback:\n{printed[-3000:]}")
