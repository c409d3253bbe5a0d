"""Syncs, and a reimport that trusts unchanged layouts, against full reimports; all read from a FileMaker stand-in.

    python benchmarks/sync.py [--json FILE] [--rounds N] [--scale N] [--before REV]

Every round makes the full reimport, a sync with nothing new and one with 1 % changed, one after the other, in the same
clinic; then a plan and its reimport with nothing new, as by default and with REIMPORT_TRUSTS_UNCHANGED_LAYOUTS. The
medians count. The CPU time of this process is printed beside; PostgreSQL and the stand-in have their own.

With `--before` each round also makes the full reimport of an earlier commit, in a clinic of its own with the same
records. The syncs are then compared with it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import psycopg2
import yaml
from compare import checkout_of
from pydantic import SecretStr
from results import Row, options, report

from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.sandbox.clinic.fill import fill_nexus
from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.sequence.read_and_stage import read_and_stage
from fm_pipeline.sequence.reimport import ReimportPlan, make_plan, reimport
from fm_pipeline.sequence.sync_with_emails import run_sync
from fm_pipeline.settings import Settings, load_settings

DATABASE, USER, PASSWORD, ACTOR = "clinic", "pipeline", "of the benchmark", "benchmark"
MODIFIED, LONG_AGO = "modificationTimestamp", "2020-01-01T00:00:00"
CHANGED = {"Patients": "coordinator_name", "Appointments": "notes", "Notes": "note"}  # a field of each that is edited


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the clinic; 1 is the real size")
    parser.add_argument("--before", metavar="REV", help="compare the syncs with the full reimport of this commit")
    given = parser.parse_args()
    taken: dict[str, list[float]] = {}
    with temporary_stack([PostgreSQLService]) as stack, TemporaryDirectory() as folder:
        server, place = stack.service(PostgreSQLService), Path(folder)
        earlier = checkout_of(given.before, place / "before") if given.before else None
        for number in range(given.rounds):
            with clinic_in_both(server, f"round_{number}", place, given.scale) as (settings, store):
                measured = one_round(settings, store)
            if earlier:
                with clinic_in_both(server, f"before_{number}", place, given.scale) as (settings, _):
                    measured["full before"] = earlier_reimport(earlier, settings)
            for name, took in measured.items():
                taken.setdefault(name, []).append(took)
    seconds = {name: median(values) for name, values in taken.items()}
    full = ("full before", f"the full reimport of {given.before}") if earlier else ("full", "a full reimport")
    report(
        "sync",
        [
            Row(f"sync with nothing new, against {full[1]} (s)", seconds["quiet"], seconds[full[0]], 0.1, "at_most"),
            Row(f"sync with 1 % changed, against {full[1]} (s)", seconds["1 %"], seconds[full[0]], 0.2, "at_most"),
            Row(
                "reimport of unchanged layouts that it trusts, against plan and reimport (s)",
                seconds["trusting"],
                seconds["plan and reimport"],
                0.5,
                "at_most",
            ),
        ],
        given.json,
    )


def one_round(settings: Settings, store: Store) -> dict[str, float]:
    """Return the seconds of the full reimport without its plan, of the syncs, and of the reimports with nothing new."""
    now = datetime.now(UTC)
    plan = read_and_plan(settings, now)

    def full() -> None:
        carry_out(settings, plan, now)

    def plan_and_reimport() -> None:
        carry_out(settings, read_and_plan(settings, now), now)

    def sync() -> str:
        return run_sync(settings, actor=ACTOR, run_id="benchmark").status

    taken = {"full": timed(full)}
    sync()  # the first one reads each layout whole
    taken["quiet"] = timed(sync, "nothing_new")
    change(store, settings)
    taken["1 %"] = timed(sync, "committed")
    taken["plan and reimport"] = timed(plan_and_reimport)
    plan = read_and_plan(settings, now)
    settings = settings.model_copy(update={"reimport_trusts_unchanged_layouts": True})
    taken["trusting"] = timed(partial(carry_out, settings, plan, now))
    return taken


def earlier_reimport(checkout: Path, settings: Settings) -> float:
    """Return the seconds of a full reimport by the code of another checkout, in a process of its own."""
    asked = ("nexus_database_url", "filemaker_url", "filemaker_database", "filemaker_username", "filemaker_password")
    values = settings.model_dump(include={*asked, "rules_file", "state_dir"})
    environment = {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
    }
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, str(Path(__file__).with_name("earlier_reimport.py"))],
        env=os.environ | environment | {"PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def read_and_plan(settings: Settings, now: datetime) -> ReimportPlan:
    """Read, stage and plan."""
    read_and_stage(settings)
    return make_plan(settings, now=now, actor=ACTOR)


def carry_out(settings: Settings, plan: ReimportPlan, now: datetime) -> None:
    """Read, stage, back up and reimport, as the command does."""
    read_and_stage(settings, after_plan=True)
    make_backup(settings, now=now, actor=ACTOR)
    reimport(settings, now=now, permission=Permission(plan.id, plan.confirmation, ACTOR))


def timed(work: Callable[[], object], expected: object = None) -> float:
    """Return the seconds of some work, whose result must be as expected."""
    started, busy = time.perf_counter(), time.process_time()
    if (result := work()) != expected:
        raise SystemExit(f"The sync ended as {result}, not {expected}: there is nothing to compare.")
    print(f"CPU time {time.process_time() - busy:.2f} s", file=sys.stderr)  # noqa: T201
    return time.perf_counter() - started


def change(store: Store, settings: Settings) -> None:
    """Edit one record of a hundred in FileMaker."""
    stamp = datetime.now(ZoneInfo(settings.clinic_time_zone)).strftime("%Y-%m-%dT%H:%M:%S")
    for table, field in CHANGED.items():
        with store.reading() as connection:
            (rows,) = connection.execute(f"SELECT count(*) FROM {store.table(DATABASE, table).rows}").fetchone()  # noqa: S608
        for record in random.Random(1).sample(range(1, rows + 1), max(rows // 100, 1)):  # noqa: S311
            store.edit(DATABASE, table, record, {field: f"changed {record}", MODIFIED: stamp})


@contextmanager
def clinic_in_both(server: PostgreSQLService, name: str, place: Path, scale: float) -> Iterator[tuple[Settings, Store]]:
    """A clinic in a new Nexus and in a stand-in that answers over HTTP; each record has a time of its last change."""
    with closing(psycopg2.connect(server.url("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name} TEMPLATE template0")
    folder, database_url, clinic = place / name, server.url(name), generate_clinic(scale=scale)
    folder.mkdir()
    with closing(psycopg2.connect(database_url)) as connection:
        create_nexus(connection)
        connection.commit()
        fill_nexus(connection, clinic)
    profile = yaml.safe_load(resources.files("fm_pipeline.entities").joinpath("nexus.yaml").read_text("utf-8"))
    for entity in profile.values():
        entity["sync"] = {"modified": [MODIFIED]}
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile), "utf-8")
    with closing(Store(folder / "filemaker.sqlite")) as store:
        store.create_database(DATABASE, [ServerAccount(USER, PASSWORD)])
        for table in clinic.filemaker_tables():
            name = table.layout.removeprefix("API_")
            fields = [FieldDefinition(*field) for field in (*table.fields, (MODIFIED, "timestamp"))]
            store.create_table(DATABASE, name, fields)
            store.create_layout(DATABASE, table.layout, name, [field.name for field in fields])
            store.insert(DATABASE, name, ({**record, MODIFIED: LONG_AGO} for record in table.records()))
        with served(folder / "filemaker.sqlite") as address:
            yield (
                load_settings(
                    _env_file=None,
                    nexus_database_url=database_url,
                    filemaker_url=address,
                    filemaker_database=DATABASE,
                    filemaker_username=USER,
                    filemaker_password=PASSWORD,
                    filemaker_profile=str(folder / "profile.yaml"),
                    rules_file=Path("quarantine"),
                    filemaker_sync=True,
                    filemaker_sync_changes=1_000_000,
                    state_dir=folder / "state",
                ),
                store,
            )


@contextmanager
def served(state_file: Path) -> Iterator[str]:
    """Serve a stand-in from a process of its own; its address."""
    options = ["--port", "0", "--state-file", str(state_file), "--database", DATABASE, "--username", USER]
    process = subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "fm_pipeline.sandbox.filemaker", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FILEMAKER_PASSWORD": PASSWORD},
    )
    try:
        yield (process.stdout.readline() if process.stdout else "").strip().removeprefix("listening on ")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
