"""When to kill: defined moments in every step of a reimport, and random ones."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field

import psycopg2

from fm_pipeline.nexus.backup.backup import PARTIAL
from fm_pipeline_tests.kills.clinic import GATES, Gate, KillClinic
from fm_pipeline_tests.kills.runs import Run, Way, measure
from fm_pipeline_tests.support.proxies.proxy import cutting_proxy

LAST_PAGE = 10  # of the small clinic's records, at the bench's page size
# PostgreSQL answers a COMMIT of this size within a few milliseconds.
COMMIT_SECONDS = 0.006


@dataclass
class Ambush:
    """The preparation for a moment, made before a run starts.

    Attributes:
        wait: returns when the moment has come.
        port: of PostgreSQL for the run, if not its own.
    """

    wait: Callable[[Run], None]
    port: int | None = None


Lay = Callable[[KillClinic, random.Random, Way], AbstractContextManager[Ambush]]


@dataclass(frozen=True)
class Moment:
    """A moment of a reimport.

    Attributes:
        name: as shown in the summary.
        lay: prepares for it, and cleans up at the end of its block.
        states: the possible states of Nexus afterwards.
        only_run: only the run can be killed there; the database must keep running.
    """

    name: str
    lay: Lay
    states: frozenset[str] = field(default=frozenset({"before"}))
    only_run: bool = False


@contextmanager
def _closed(clinic: KillClinic, gate: Gate) -> Iterator[Callable[[], None]]:
    """Keep a gate closed; yield the function that opens it before the end of the block."""
    with closing(psycopg2.connect(clinic.bench.database_url)) as holder:
        holder.autocommit = True
        with holder.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", (GATES, int(gate)))
        yield holder.close


def _at(gate: Gate) -> Lay:
    @contextmanager
    def lay(clinic: KillClinic, _rng: random.Random, _way: Way) -> Iterator[Ambush]:
        with _closed(clinic, gate):
            yield Ambush(lambda run: run.wait_until(gate.name, lambda: clinic.waits_at(gate)))

    return lay


@contextmanager
def _extraction(clinic: KillClinic, rng: random.Random, _way: Way) -> Iterator[Ambush]:
    """Wait while FileMaker answers slowly to some page."""
    page = rng.randrange(LAST_PAGE)
    stand_in = clinic.bench.stand_in
    stand_in.reset_counters()
    stand_in.disturb("slow", seconds=600, times=1, after=page, of=["records"])

    def asked() -> bool:
        return int(stand_in.counters()["requests"].get("records", 0)) > page

    try:
        yield Ambush(lambda run: run.wait_until(f"page {page + 1}", asked))
    finally:
        stand_in.faults()


@contextmanager
def _backup_write(clinic: KillClinic, _rng: random.Random, _way: Way) -> Iterator[Ambush]:
    def half() -> bool:
        return any(clinic.backups.glob(f"*{PARTIAL}/0*"))

    def whole() -> bool:
        return any(clinic.backups.glob(f"*{PARTIAL}/manifest*.sha256"))

    def wait(run: Run) -> None:
        run.wait_until("half a backup", half, every_seconds=0.0005)
        run.pause()
        if whole() or not half():
            raise Missed

    yield Ambush(wait)


@contextmanager
def _report(clinic: KillClinic, _rng: random.Random, _way: Way) -> Iterator[Ambush]:
    """Wait until the report is being written, after the commit."""
    reports = clinic.bench.settings.state_dir / "reports"
    yield Ambush(lambda run: run.wait_until("the report", lambda: any(reports.glob("*")), every_seconds=0.0005))


def _commit_lost(moment: str) -> Lay:
    """Close the connection right before the server receives COMMIT, or after it has committed, before its answer."""

    @contextmanager
    def lay(clinic: KillClinic, _rng: random.Random, _way: Way) -> Iterator[Ambush]:
        arm = threading.Event()
        server = clinic.postgresql
        with (
            _closed(clinic, Gate.RECORD) as open_gate,
            cutting_proxy("127.0.0.1", server.port, "before" if moment == "before" else "after", arm=arm) as port,
        ):

            def wait(run: Run) -> None:
                run.wait_until("the last statement", lambda: clinic.waits_at(Gate.RECORD))
                arm.set()
                open_gate()
                run.wait_until("COMMIT", lambda: not arm.is_set(), every_seconds=0.0005)
                if moment == "after":
                    run.wait_until("committed", lambda: clinic.reached() == "after the commit", every_seconds=0.0005)

            yield Ambush(wait, port)

    return lay


@contextmanager
def _commit_race(clinic: KillClinic, rng: random.Random, _way: Way) -> Iterator[Ambush]:
    """Wait until some milliseconds around COMMIT; it is not known on which side."""
    with _closed(clinic, Gate.RECORD) as open_gate:

        def wait(run: Run) -> None:
            run.wait_until("the last statement", lambda: clinic.waits_at(Gate.RECORD))
            open_gate()
            time.sleep(rng.uniform(0, COMMIT_SECONDS))

        yield Ambush(wait)


class Durations:
    """The duration of an undisturbed run, by way; measured when first needed."""

    def __init__(self) -> None:
        self._known: dict[Way, float] = {}

    def of(self, clinic: KillClinic, way: Way) -> float:
        """Return the duration in seconds. A measurement begins at the state before, and leaves the state after."""
        if way not in self._known:
            self._known[way] = measure(clinic, way)
        return self._known[way]


def random_moment(durations: Durations) -> Moment:
    """Return a random moment of a run; all are equally likely."""

    @contextmanager
    def lay(clinic: KillClinic, rng: random.Random, way: Way) -> Iterator[Ambush]:
        offset = rng.uniform(0, durations.of(clinic, way))

        def wait(run: Run) -> None:
            run.wait_until("a session in the database", clinic.sessions, every_seconds=0.002)
            time.sleep(offset)

        yield Ambush(wait)

    return Moment("at random", lay, frozenset({"before", "after"}))


class Missed(Exception):
    """The moment was over before it could be used; the round is repeated."""


EITHER = frozenset({"before", "after"})
MOMENTS = {
    moment.name: moment
    for moment in (
        Moment("extraction", _extraction),
        Moment("staging of patients", _at(Gate.STAGING_PATIENTS)),
        Moment("staging of notes", _at(Gate.STAGING_NOTES)),
        Moment("backup, writing", _backup_write),
        Moment("backup, verifying", _at(Gate.BACKUP_VERIFY)),
        Moment("backup, recording", _at(Gate.BACKUP_RECORD)),
        Moment("phase 2, delete", _at(Gate.PHASE_2)),
        Moment("phase 3, patients", _at(Gate.PHASE_3)),
        Moment("phase 4, appointments", _at(Gate.PHASE_4)),
        Moment("phase 5, notes", _at(Gate.PHASE_5)),
        Moment("phase 6, documents", _at(Gate.PHASE_6)),
        Moment("phase 7, images", _at(Gate.PHASE_7)),
        Moment("phase 8, validation", _at(Gate.PHASE_8)),
        Moment("before COMMIT", _commit_lost("before"), only_run=True),
        Moment("around COMMIT", _commit_race, EITHER),
        Moment("after COMMIT", _commit_lost("after"), frozenset({"after"}), only_run=True),
        Moment("writing the report", _report, frozenset({"after"})),
    )
}
