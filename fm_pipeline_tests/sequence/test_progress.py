"""Progress: what each place shows of a run, and that none of them can harm it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

import psycopg2
import pytest
from rich.console import Console

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.nexus.reimport.report import PhaseRecord
from fm_pipeline.sequence.progress import LogSink, Progress, Step, TableSink, TerminalSink, run_progress
from fm_pipeline.status.overview import read_overview
from fm_pipeline_tests.support.clinics import MigrationBench

BEGIN = datetime(2025, 11, 13, 23, 0, 20, tzinfo=UTC)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Kept:
    """A sink that keeps what it is shown."""

    interval: ClassVar = timedelta(seconds=1)
    shows_start: ClassVar = True

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.is_closed = False

    def show(self, step: Step) -> None:
        self.steps.append(step)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(database_url: str) -> str:
    migrate(database_url)
    return database_url


def log_lines(clock: Clock) -> tuple[list[str], Progress]:
    lines: list[str] = []
    return lines, Progress([LogSink(lines.append, ZoneInfo("Australia/Sydney"))], now=clock)


def test_the_log_has_the_lines_of_the_import_sequence(clock: Clock) -> None:
    lines, progress = log_lines(clock)
    with progress:
        on_phase = progress.phases([2])
        clock.pass_by(6)
        on_phase(PhaseRecord(2, "Deleted 2,842 patients", 2842, 5.0))
        clock.pass_by(1.5)
        on_phase(PhaseRecord(8, "All validation checks passed", 20, 1.5))
    assert lines == [
        "[2025-11-14 10:00:21] Locks and digests: ✅ Done (1.0 s)",
        "[2025-11-14 10:00:26] Phase 2: ✅ Deleted 2,842 patients (5.0 s)",
        "[2025-11-14 10:00:27] Phase 8: ✅ All validation checks passed (1.5 s)",
    ]


def test_the_log_gets_a_line_each_five_seconds_and_one_at_the_end(clock: Clock) -> None:
    lines, progress = log_lines(clock)
    with progress:
        for rows in range(0, 4001, 100):
            progress.update("read patient", rows, 4000, errors=rows // 2000)
            clock.pass_by(0.3)
    assert lines == [
        "[2025-11-14 10:00:25] Read patient: 1,700 of 4,000 (5 s, about 7 s left)",
        "[2025-11-14 10:00:30] Read patient: 3,400 of 4,000, 1 error (10 s, about 2 s left)",
        "[2025-11-14 10:00:32] Read patient: ✅ 4,000 done, 2 errors (12.3 s)",
    ]


def test_a_step_that_fails_is_not_shown_as_done(clock: Clock) -> None:
    lines, progress = log_lines(clock)
    progress.update("stage note", 10, 30)
    clock.pass_by(2)
    with pytest.raises(RuntimeError), progress:
        raise RuntimeError
    assert lines == ["[2025-11-14 10:00:22] Stage note: ❌ Stopped at 10 of 30 (2.0 s)"]


def test_the_time_left_is_shown_only_if_it_can_be_estimated(clock: Clock) -> None:
    step = Step("read note", BEGIN, BEGIN + timedelta(seconds=10), done=25, total=100)
    assert step.eta_seconds == pytest.approx(30)
    for unknown in ({"done": 0}, {"total": None}, {"total": 0}):
        assert Step(**(vars(step) | unknown)).eta_seconds is None


def test_every_step_is_shown_at_its_start_and_its_end_and_seldom_in_between(clock: Clock) -> None:
    kept = Kept()
    with Progress([kept], now=clock) as progress:
        for rows in range(100):
            progress.update("write", rows, 99)
            clock.pass_by(0.1)
        progress.update("verify", 1, 1)
    written = [step.done for step in kept.steps if step.name == "write"]
    assert (written[0], written[-1]) == (0, 99)
    assert len(written) == 11
    assert [step.name for step in kept.steps if step.ended_at] == ["write", "verify"]
    assert kept.is_closed


def test_a_sink_that_fails_is_left_out_and_the_others_and_the_run_go_on(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Kept):
        def show(self, step: Step) -> None:
            raise ValueError("Zephyrine Quollthorpe")

    kept, failing = Kept(), Failing()
    with Progress([failing, kept], now=clock) as progress:
        progress.update("write", 1, 2)
        assert failing.is_closed
        progress.update("write", 2, 2)
    assert kept.steps[-1].ended_at
    assert [record.getMessage() for record in caplog.records] == [
        "Progress is no longer shown by Failing (ValueError)."
    ]


def test_the_table_can_be_read_while_the_run_goes_on(database: str, clock: Clock) -> None:
    with Progress([TableSink(database, "a run")], now=clock) as progress:
        progress.update("read patient", 1000, 2842)
        clock.pass_by(1)
        progress.update("read patient", 2842, 2842)
        progress.update("stage patient", 10, 2842, errors=3)
        seen = read_overview(database)["progress"]
    assert [(row["step"], row["done"], row["total"], row["errors"]) for row in seen] == [
        ("read patient", 2842, 2842, 0),
        ("stage patient", 10, 2842, 3),
    ]
    assert [row["finished_at"] is None for row in seen] == [False, True]
    assert read_overview(database)["progress"][-1]["finished_at"]


def test_a_step_that_fails_never_ends_in_the_table(database: str, clock: Clock) -> None:
    progress = Progress([TableSink(database, "a run")], now=clock)
    progress.update("read patient", 2842, 2842)
    progress.update("stage patient", 10, 2842)
    with pytest.raises(RuntimeError), progress:
        raise RuntimeError
    assert [row["finished_at"] is None for row in read_overview(database)["progress"]] == [False, True]


def test_the_steps_of_several_assets_keep_their_order(database: str, clock: Clock) -> None:
    for name in ("read patient", "stage patient", "write"):
        with Progress([TableSink(database, "a run")], now=clock) as progress:
            progress.update(name, 1)
    assert [row["step"] for row in read_overview(database)["progress"]] == ["read patient", "stage patient", "write"]


def test_a_lost_connection_of_the_table_is_no_loss_to_the_run(
    database: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with Progress([TableSink(database, "a run")], now=clock) as progress:
        progress.update("write", 1)
        with connect(database) as other, other.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            other.commit()
        progress.update("verify", 1)
    assert "TableSink" in caplog.text


def test_a_locked_progress_table_delays_the_run_only_briefly(
    database: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(database) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE fm_pipeline.progress")
        with Progress([TableSink(database, "a run")], now=clock) as progress:
            progress.update("write", 1)
    assert "TableSink (LockNotAvailable)" in caplog.text


def test_the_terminal_shows_bars_with_records_and_errors(clock: Clock) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Progress([TerminalSink(console)], now=clock) as progress:
        progress.update("read patient", 1000, 2842)
        clock.pass_by(1)
        progress.update("read patient", 2842, 2842, errors=2)
        progress.phases()(PhaseRecord(2, "Deleted 3 patients", 3, 0.1))
    assert isinstance(console.file, io.StringIO)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    assert re.search(r"read patient .*2842/2842 2 errors", shown)
    assert re.search(r"phase 2 .*3/3", shown)


@pytest.fixture
def written() -> tuple[Console, Callable[[], str]]:
    file = io.StringIO()
    return Console(file=file), file.getvalue


def test_a_waiting_step_shows_its_note_instead_of_the_time_left(
    clock: Clock,
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    lines: list[str] = []
    with Progress([TerminalSink(console), LogSink(lines.append, UTC)], now=clock) as progress:
        for done, note in ((10, ""), (10, "The server is away."), (10, "The server is away."), (20, "")):
            progress.update("import", done, 100, note=note)
            clock.pass_by(6)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.count("The server is away.") == 1
    assert shown.index("The server is away.") < shown.index("It goes on.")
    waiting = [line for line in lines if "away" in line]
    assert [line.partition("Import: ")[2] for line in waiting] == [
        "10 of 100 (6 s) The server is away.",
        "10 of 100 (12 s) The server is away.",
    ]


def test_a_step_that_ends_while_it_waits_does_not_go_on(clock: Clock) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)

    def fail() -> None:
        with Progress([TerminalSink(console)], now=clock) as progress:
            progress.update("import", 10, 100, note="The server is away.")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert isinstance(console.file, io.StringIO)
    assert "The server is away." in console.file.getvalue()
    assert "It goes on." not in console.file.getvalue()


@pytest.mark.usefixtures("staged_once")
def test_the_progress_of_a_whole_reimport(bench: MigrationBench, written: tuple[Console, Callable[[], str]]) -> None:
    console, output = written
    lines: list[str] = []
    with run_progress(bench.settings, "a run", log=lines.append, console=console) as progress:
        during: list[int] = []
        on_phase = progress.phases()

        def watched(record: PhaseRecord) -> None:
            on_phase(record)
            during.append(len(read_overview(bench.database_url)["progress"]))

        bench.reimport(on_phase=watched)
    assert during == [3, 4, 5, 6, 7, 8, 8], "others read it while the transaction runs"
    overview = read_overview(bench.database_url)
    steps = overview["progress"]
    assert [row["step"] for row in steps] == ["locks and digests", *(f"phase {number}" for number in range(2, 9))]
    assert all(row["finished_at"] for row in steps)
    assert sum("✅" in line for line in lines) == len(steps)
    assert output().splitlines() == lines
    assert len(overview["reimports"]) == len(overview["plans"]) == len(overview["backups"]) == 1
    assert overview["plans"][0]["carried_out"]


def test_a_database_without_the_pipeline_has_an_empty_overview(database_url: str) -> None:
    assert not any(read_overview(database_url).values())
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace('fm_pipeline')")
        assert cursor.fetchone() == (None,), "it writes nothing"
    connection.close()
