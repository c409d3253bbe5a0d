"""The whole of staging as one call: parents first, then what points to them, two entities at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Lock

import psycopg2
from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import limit_lock_waits
from fm_pipeline.entities.order import ancestors, generations
from fm_pipeline.entities.profile import load_profile
from fm_pipeline.entities.registry import Registry
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.crosswalk import fill_others, fill_patients
from fm_pipeline.nexus.profile_fit import fit_registry
from fm_pipeline.nexus.staged_registry import without_left_out
from fm_pipeline.settings import Settings
from fm_pipeline.staging.origin import read_extractions
from fm_pipeline.staging.run import stage

SIDE_BY_SIDE = 2  # more threads do not help: Python works in one at a time, and PostgreSQL in the other
_SECONDS_BETWEEN_CANCELS = 0.1

OnStep = Callable[[str, int, int | None], None]


def stage_all(
    settings: Settings,
    *,
    run_id: str | None,
    now: datetime,
    on_step: OnStep = lambda *_: None,
    only_changed: bool = True,
) -> None:
    """Take over the known ids and build every entity that was extracted, each after those that it points to.

    That is the patients first and the others side by side, where the profile adds nothing.

    Each in a transaction of its own, on a connection that no other one uses at that time. After an error no further
    one is begun, those at work are waited for, and what was not built is as it was: `check_staged` then refuses the
    mixture. An interrupt (Ctrl-C) ends those at work too.

    Args:
        on_step: called with the step's name, records done, and their number; from one thread at a time.
        only_changed: build only what has changed since the last build; the result is the same.

    Raises:
        PipelineError: of any kind.
    """
    with closing(_Sessions(settings.nexus_database_url.get_secret_value())) as sessions:
        _stage_all(settings, sessions, run_id=run_id, now=now, on_step=on_step, only_changed=only_changed)


def _stage_all(
    settings: Settings, sessions: _Sessions, *, run_id: str | None, now: datetime, on_step: OnStep, only_changed: bool
) -> None:
    profile = load_profile(settings.filemaker_profile)
    waits = settings.nexus_lock_timeout_seconds

    def fill_the_others() -> None:
        with sessions.open() as connection, limit_lock_waits(connection, waits):
            fill_others(connection, catalogue, fitted)

    def build_one(entity: str, on_progress: Callable[[int, int], None]) -> None:
        with sessions.open() as connection:
            stage(
                *(connection, entity, settings),
                run_id=run_id,
                now=now,
                on_progress=on_progress,
                only_changed=only_changed,
                catalogue=catalogue,
            )

    on_step("stage patients", 0, None)
    with sessions.open() as connection, limit_lock_waits(connection, waits), connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        fitted = fit_registry(cursor, catalogue, without_left_out(cursor, profile.registry)).registry
        fill_patients(connection, catalogue)
        extracted = {entity: extraction.row_count for entity, extraction in read_extractions(cursor).items()}
    first, *later = _turns(fitted, extracted)
    before, patients = first[:-1], first[-1]
    if before:
        fill_the_others()
    for entity in before:
        on_step(f"stage {fitted[entity].plural}", 0, None)
        build_one(entity, partial(on_step, f"stage {fitted[entity].plural}"))
    _side_by_side([partial(build_one, patients, partial(on_step, "stage patients")), fill_the_others], sessions)
    total = sum(extracted[entity] for turn in later for entity in turn)
    on_step("stage what patients have", 0, total)
    counter = _Counter(partial(on_step, "stage what patients have"), total)
    for turn in later:
        _side_by_side([partial(build_one, entity, partial(counter.note, entity)) for entity in turn], sessions)


def _turns(registry: Registry, extracted: Mapping[str, int]) -> list[list[str]]:
    """What is built one after the other: the patients with what they point to, then the others by generations."""
    before = ancestors(registry, "patient")
    order = [entity.name for generation in generations(registry) for entity in generation]
    first = [name for name in order if name in before and name in extracted] + ["patient"]
    turns = [first]
    for generation in generations(registry):
        turn = [entity for entity in generation if entity.name in extracted and entity.name not in first]
        turn.sort(key=lambda entity: not entity.slow)
        if turn:
            turns.append([entity.name for entity in turn])
    return turns


class _Sessions:
    """The connections of all threads, so that one thread can end what the others are at.

    One that a block has left without an error serves the next block: a new one costs as much as a small build.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._open: set[Connection] = set()
        self._free: SimpleQueue[tuple[Connection, ExitStack]] = SimpleQueue()
        self._interrupted = False

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """A connection that no other thread uses until the end of the block; an open transaction is rolled back."""
        with ExitStack() as end:
            try:
                connection, its_end = self._free.get_nowait()
                end.push(its_end)
            except Empty:
                connection = end.enter_context(connect(self._url))
            self._open.add(connection)
            try:
                if self._interrupted:
                    raise CancelledError
                yield connection
                connection.rollback()
            finally:
                self._open.discard(connection)
            self._free.put((connection, end.pop_all()))

    def close(self) -> None:
        """Close what no block uses."""
        while not self._free.empty():
            self._free.get_nowait()[1].close()

    def cancel_until_done(self, futures: Collection[Future[None]]) -> None:
        """Cancel statement after statement: libpq does not return to Python for an interrupt, and would wait on.

        Args:
            futures: those that are known; an interrupt can come after a thread was started and before its future is.
        """
        self._interrupted = True
        while self._open or not all(future.done() for future in futures):
            for connection in self._open.copy():
                with suppress(psycopg2.Error):  # it has just been closed
                    connection.cancel()
            time.sleep(_SECONDS_BETWEEN_CANCELS)


def _side_by_side(work: Iterable[Callable[[], None]], sessions: _Sessions) -> None:
    futures: list[Future[None]] = []
    failed = Event()  # set by the thread that fails, so that not even that one begins anything more

    def unless_failed(each: Callable[[], None]) -> None:
        if failed.is_set():
            return
        try:
            each()
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="staging") as threads:
        try:  # an interrupt may come in each of these lines
            for each in work:
                futures.append(threads.submit(unless_failed, each))
            wait(futures, return_when=FIRST_EXCEPTION)
            threads.shutdown(cancel_futures=True)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            sessions.cancel_until_done(futures)
            raise
    for future in futures:
        if not future.cancelled():
            future.result()


class _Counter:
    """Adds up the records of builds that are side by side."""

    def __init__(self, report: Callable[[int, int], None], total: int) -> None:
        self._report, self._total, self._lock = report, total, Lock()
        self._done: dict[str, int] = {}

    def note(self, entity: str, done: int, _total: int) -> None:
        with self._lock:
            self._done[entity] = done
            self._report(sum(self._done.values()), self._total)
