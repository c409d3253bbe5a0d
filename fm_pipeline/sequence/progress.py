"""Progress of a run: its steps, each with records done, total, errors, seconds and time left.

    with run_progress(settings, run_id, log=context.log.info) as progress:
        extract(..., on_progress=partial(progress.update, "read patient"))
        make_backup(..., on_progress=progress.update)
        reimport(..., on_phase=progress.phases())

It is shown by sinks: the table `fm_pipeline.progress`, written on a connection of its own so that others can read it
during the transaction; a log; and the terminal. They get counts and names of steps only. A sink that fails is dropped
and never fails the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from types import TracebackType
from typing import ClassVar, Protocol, Self
from zoneinfo import ZoneInfo

from psycopg2.extensions import cursor as Cursor
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.registry import Phase
from fm_pipeline.nexus.reimport.report import PhaseRecord
from fm_pipeline.pluralize import counted
from fm_pipeline.settings import Settings

PREPARATION_STEP = "locks and digests"


@dataclass(frozen=True)
class Step:
    """One step of a run, as it was at `updated_at`.

    Attributes:
        total: None as long as it is not known.
        ended_at: None while the step runs, and if it failed.
        sentence: what the step did, for the log; derived from the counts if empty.
        note: what the step is waiting for, in whole sentences; then there is no estimate of the time left.
    """

    name: str
    started_at: datetime
    updated_at: datetime
    done: int = 0
    total: int | None = None
    errors: int = 0
    ended_at: datetime | None = None
    failed: bool = False
    sentence: str = ""
    note: str = ""

    @property
    def seconds(self) -> float:
        """Since its start."""
        return max((self.updated_at - self.started_at).total_seconds(), 0.0)

    @property
    def eta_seconds(self) -> float | None:
        """Estimated time left at the speed so far; None if it cannot be estimated."""
        if self.note or self.ended_at or self.failed or not self.total or not self.done:
            return None
        return self.seconds / self.done * max(self.total - self.done, 0)


class Sink(Protocol):
    """A place where progress is shown.

    Attributes:
        interval: shortest time between two updates of a running step.
        shows_start: whether the first state of a step is shown at once.
    """

    interval: ClassVar[timedelta]
    shows_start: ClassVar[bool]

    def show(self, step: Step) -> None:
        """Show the state of a step. The last state is always passed on."""

    def close(self) -> None:
        """End the display; the run has ended."""


class Progress:
    """The steps of one run (or of one of its assets), one after the other. A new step ends the one before.

    Args:
        now: the clock.
    """

    def __init__(self, sinks: Sequence[Sink], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._shown: dict[Sink, datetime] = {}
        self._sinks = list(sinks)
        self._now = now
        self._step: Step | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._end(failed=kind is not None)
        for sink in list(self._sinks):
            self._attempt(sink, sink.close)

    def update(self, name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> None:
        """Report the state of a step. It ends when another step begins, or with the block."""
        now = self._now()
        if self._step is None or self._step.name != name:
            self._end()
            self._begin(name, now)
        assert self._step  # noqa: S101  # just begun
        self._step = replace(self._step, done=done, total=total, errors=errors, note=note, updated_at=now)
        self._show()

    def end(self, sentence: str = "", *, errors: int = 0) -> None:
        """End the step.

        Args:
            sentence: what it did, for the log; without the step's name and without a full stop.
        """
        if self._step:
            self._step = replace(self._step, sentence=sentence, errors=errors or self._step.errors)
        self._end()

    def phases(self, phases: Iterable[int] = tuple(Phase), *, prefix: str = "") -> Callable[[PhaseRecord], None]:
        """Return the callback `on_phase` of `reimport` and `make_plan`. When a phase ends, the next one is shown.

        Args:
            phases: of the transaction; validation always runs and may be left out.
            prefix: of the names of the steps, for example "plan, ".
        """
        following = dict(pairwise(sorted({*map(int, phases), int(Phase.VALIDATION)})))
        self.update(f"{prefix}{PREPARATION_STEP}", 0)

        def on_phase(record: PhaseRecord) -> None:
            now = self._now()
            begun = now - timedelta(seconds=record.seconds)
            name = f"{prefix}phase {record.phase}"
            if self._step is None or self._step.name != name:
                self._end(at=begun)
                self._begin(name, begun)
            assert self._step  # noqa: S101  # just begun
            self._step = replace(self._step, done=record.records, total=record.records, sentence=record.sentence)
            self._end(at=now)
            if record.phase in following:
                self.update(f"{prefix}phase {following[record.phase]}", 0)

        return on_phase

    def _begin(self, name: str, at: datetime) -> None:
        self._step = Step(name, at, at)
        self._shown = {sink: at for sink in self._sinks if not sink.shows_start}

    def _end(self, *, at: datetime | None = None, failed: bool = False) -> None:
        if self._step:
            now = at or self._now()
            self._step = replace(self._step, updated_at=now, ended_at=None if failed else now, failed=failed, note="")
            self._show()
            self._step = None

    def _show(self) -> None:
        step = self._step
        assert step  # noqa: S101  # nobody calls it without
        for sink in list(self._sinks):
            before = self._shown.get(sink)
            if step.ended_at or step.failed or before is None or step.updated_at - before >= sink.interval:
                self._shown[sink] = step.updated_at
                self._attempt(sink, lambda sink=sink: sink.show(step))  # type: ignore[misc]

    def _attempt(self, sink: Sink, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001  # progress is nice to have; the run is not
            self._sinks.remove(sink)
            with suppress(Exception):
                sink.close()
            logging.getLogger(__name__).warning(
                "Progress is no longer shown by %s (%s).", type(sink).__name__, type(error).__name__
            )


class TableSink:
    """Writes rows of `fm_pipeline.progress`, each committed at once on a connection of its own.

    Args:
        database_url: the Nexus database, already migrated.
    """

    interval: ClassVar = timedelta(seconds=0.5)
    shows_start: ClassVar = True

    _UPSERT = """
        INSERT INTO fm_pipeline.progress AS p
               (run_id, step, position, done, total, errors, started_at, updated_at, finished_at)
        VALUES (%(run_id)s, %(name)s,
                (SELECT coalesce(max(position), 0) + 1 FROM fm_pipeline.progress WHERE run_id = %(run_id)s),
                %(done)s, %(total)s, %(errors)s, %(started_at)s, %(updated_at)s, %(ended_at)s)
        ON CONFLICT (run_id, step) DO UPDATE SET
               done = excluded.done, total = excluded.total, errors = excluded.errors,
               started_at = excluded.started_at, updated_at = excluded.updated_at, finished_at = excluded.finished_at
    """

    def __init__(self, database_url: str, run_id: str) -> None:
        self._url, self._run_id = database_url, run_id
        self._open = ExitStack()
        self._cursor: Cursor | None = None

    def show(self, step: Step) -> None:
        if self._cursor is None:
            connection = self._open.enter_context(connect(self._url))
            connection.autocommit = True
            self._cursor = connection.cursor()
            self._cursor.execute(
                "SET statement_timeout = '2s'; SET lock_timeout = '300ms'; SET synchronous_commit = off"
            )
        self._cursor.execute(self._UPSERT, vars(step) | {"run_id": self._run_id})

    def close(self) -> None:
        self._open.close()


class LogSink:
    """Writes lines like `[2025-11-14 10:00:25] Phase 2: ✅ Deleted 2,842 patients (5.0 s)`.

    Args:
        write: takes one line.
        zone: of the times.
    """

    interval: ClassVar = timedelta(seconds=5)
    shows_start: ClassVar = False

    def __init__(self, write: Callable[[str], object], zone: tzinfo) -> None:
        self._write, self._zone = write, zone

    def show(self, step: Step) -> None:
        name = step.name[:1].upper() + step.name[1:]
        self._write(f"[{step.updated_at.astimezone(self._zone):%Y-%m-%d %H:%M:%S}] {name}: {_words(step)}")

    def close(self) -> None:
        """Do nothing; no resource is open."""


def _words(step: Step) -> str:
    count = f"{step.done:,} of {step.total:,}" if step.total is not None else f"{step.done:,}"
    errors = f", {counted(step.errors, 'error')}" if step.errors else ""
    if step.failed:
        return f"❌ Stopped at {count}{errors} ({step.seconds:.1f} s)"
    if step.ended_at:
        words = f"{step.done:,} done{errors}" if step.done else f"Done{errors}"
        return f"✅ {step.sentence or words} ({step.seconds:.1f} s)"
    left = f", about {step.eta_seconds:.0f} s left" if step.eta_seconds is not None else ""
    note = f" {step.note}" if step.note else ""
    return f"{count}{errors} ({step.seconds:.0f} s{left}){note}"


class TerminalSink:
    """Shows a bar for each step, with records, errors, seconds and time left.

    Args:
        console: a terminal; for other outputs use a `LogSink`.
    """

    interval: ClassVar = timedelta(seconds=0.1)
    shows_start: ClassVar = True

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[errors]}", style="red"),
            TimeElapsedColumn(),
            _Left(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._note = ""

    def show(self, step: Step) -> None:
        self._bars.start()
        if step.name not in self._tasks:
            self._tasks[step.name] = self._bars.add_task(step.name, total=step.total, errors="", waits=False)
        task = self._tasks[step.name]
        total = step.total if step.total is not None or not step.ended_at else step.done
        errors = counted(step.errors, "error") if step.errors else ""
        self._bars.update(task, completed=step.done, total=total, errors=errors, waits=bool(step.note))
        self._tell(step)
        if step.ended_at or step.failed:
            self._bars.stop_task(task)

    def _tell(self, step: Step) -> None:
        """Print a note above the bar when the step begins to wait, and when it goes on."""
        if step.note == self._note:
            return
        self._note = step.note
        if step.note:
            self._bars.console.print(Text(step.note, style="yellow"), soft_wrap=True)
        elif not step.failed:
            self._bars.console.print(Text("It goes on.", style="green"), soft_wrap=True)

    def close(self) -> None:
        self._bars.stop()


class _Left(TimeRemainingColumn):
    """The time left, or "waits" while the step waits for something."""

    def render(self, task: Task) -> Text:
        return Text("waits", style="yellow") if task.fields["waits"] else super().render(task)


def run_progress(
    settings: Settings, run_id: str, *, log: Callable[[str], object] | None = None, console: Console | None = None
) -> Progress:
    """Return the progress of a run, shown in the table and in the sinks that are given.

    Args:
        log: for example `context.log.info`.
        console: shows bars on a terminal, otherwise lines.
    """
    sinks: list[Sink] = [TableSink(settings.nexus_database_url.get_secret_value(), run_id)]
    zone = ZoneInfo(settings.clinic_time_zone)
    if log:
        sinks.append(LogSink(log, zone))
    if console:
        sinks.append(terminal_sink(console, zone))
    return Progress(sinks)


def terminal_sink(console: Console, zone: tzinfo) -> Sink:
    """Return a sink for bars on a terminal; for lines, with times of the zone, if the output goes to a file."""
    if console.is_terminal:
        return TerminalSink(console)
    return LogSink(lambda line: console.print(Text(line), soft_wrap=True), zone)
