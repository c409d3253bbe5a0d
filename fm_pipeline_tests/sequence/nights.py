"""Weeks of nights at random: both systems are edited by day, and each morning Nexus must be what the model says.

`python -m fm_pipeline_tests.sequence.nights --count 50 --seed 1` tries so many clinics, two weeks each. `--done N` goes
on after the first N of an earlier call. Exit code 0 if every morning was as expected.

Weeks are lists and no RuleBasedStateMachine of Hypothesis: the nights take nearly all the time, and of lists their
number can be fixed; each event is a method of `Clinic`, as it would be a rule there.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
from hypothesis import strategies as st

from fm_pipeline.filemaker.door import DoorKind
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.settings import load_settings
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in
from fm_pipeline_tests.sequence.nights_clinic import FIELDS, LAYOUTS, Clinic
from fm_pipeline_tests.support.clinics import DATABASE, PASSWORD, USER, MigrationBench
from fm_pipeline_tests.support.postgres import empty_database, empty_nexus
from fm_pipeline_tests.support.searching import search, search_options
from fm_pipeline_tests.support.services import LazyStack, memory_folder

NIGHTS = 14
PROFILE = """
patient:
  layout: [Patients]
  sync: {modified: [modified]}
  fields: {filemaker_id: [id], first_name: [first_name], last_name: [last_name], dob: [dob], coordinator_name: [coordinator_name]}
appointment:
  sync: {modified: [modified], ids: [Appointments]}
  layout: [Appointments]
  fields: {filemaker_id: [id], patient: [patient], start: [start], notes: [notes]}
note:
  sync: {modified: [modified]}
  layout: [Notes]
  fields: {filemaker_id: [id], patient: [patient], content: [content]}
"""  # noqa: E501  # one line an entity
RULES = """
patient_unknown: {action: quarantine, stop_above: 1}
patient_without_clinic: {action: flag}
appointment_without_clinic: {action: flag}
appointment_without_clinician: {action: flag}
appointment_without_type: {action: flag}
source_empty: {may_be_empty: [appointment, note]}
source_shrunk: {least_of: {patient: 0, appointment: 0, note: 0}}
"""
# What happens by day; the numbers choose among what there is.
EVENTS = (
    *("fm_insert", "fm_edit", "fm_edit", "fm_edit", "fm_delete", "fm_move", "fm_merge", "fm_recreate", "fm_rekey"),
    *("nexus_edit", "nexus_edit", "nexus_revert", "nexus_delete", "nexus_insert", "both_edit"),
)
DOORS: tuple[DoorKind, ...] = ("data_api", "odata")
DISTURBANCES = ("", "", "", "", "outage", "kill", "save", "save")

Day = tuple[list[tuple[str, int, int]], str, int]


Weeks = tuple[DoorKind, list[Day]]


def two_weeks(nights: int = NIGHTS) -> st.SearchStrategy[Weeks]:
    """By which door FileMaker is read, and of each day what happens, and what disturbs the night."""
    number = st.integers(0, 999)
    events = st.lists(st.tuples(st.sampled_from(EVENTS), number, number), max_size=7)
    day = st.tuples(events, st.sampled_from(DISTURBANCES), number)
    return st.tuples(st.sampled_from(DOORS), st.lists(day, min_size=nights, max_size=nights))


class Nights:
    """Tries weeks, each in a clinic of its own."""

    def __init__(self, server: PostgreSQLService, folder: Path, template: str) -> None:
        self._server, self._folder, self._template = server, folder, template
        self._numbers = itertools.count(1)
        self.seen: Counter[str] = Counter()

    @contextmanager
    def clinic(self, door: DoorKind = "data_api") -> Iterator[Clinic]:
        """A clinic after its first reimport."""
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        with empty_database(self._server, self._template) as url, _bench(url, folder, door) as bench:
            yield Clinic(bench, self.seen)

    def try_out(self, weeks: Weeks) -> None:
        """Live through the days and nights."""
        door, days = weeks
        self.seen[door] += 1
        with self.clinic(door) as clinic:
            for events, disturbance, number in days:
                for event, first, second in events:
                    getattr(clinic, event)(first, second)
                clinic.night(disturbance, number)


@contextmanager
def nights(server: PostgreSQLService, folder: Path) -> Iterator[Nights]:
    """A Nexus without patients, of which each clinic is a copy."""
    with empty_nexus(server) as url:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_content_type (app_label, model) VALUES ('patients', 'patient')"
                " ON CONFLICT DO NOTHING"
            )
            connection.commit()
        yield Nights(server, folder, url.rsplit("/", 1)[1])


@contextmanager
def _bench(url: str, folder: Path, door: DoorKind) -> Iterator[MigrationBench]:
    (folder / "profile.yaml").write_text(PROFILE)
    (folder / "rules.yaml").write_text(RULES)
    with closing(Store(folder / "filemaker.sqlite")) as store:
        store.create_database(DATABASE, [ServerAccount(USER, PASSWORD)])
        for kind, fields in FIELDS.items():
            types = {"dob": "date", "start": "timestamp", "modified": "timestamp"}
            definitions = [FieldDefinition(name, types.get(name, "text")) for name in fields]  # type: ignore[arg-type]
            store.create_table(DATABASE, LAYOUTS[kind], definitions)
            store.create_layout(DATABASE, LAYOUTS[kind], LAYOUTS[kind], list(fields))
        with running_stand_in(store) as stand_in:
            settings = load_settings(
                _env_file=None,
                nexus_database_url=url,
                filemaker_url=stand_in.base_url,
                filemaker_database=DATABASE,
                filemaker_username=USER,
                filemaker_password=PASSWORD,
                filemaker_profile=str(folder / "profile.yaml"),
                filemaker_door=door,
                rules_file=folder / "rules.yaml",
                filemaker_sync=True,
                filemaker_sync_changes=1000,
                state_dir=folder / "state",
            )
            yield MigrationBench(settings, stand_in, store)


def main() -> int:
    """Search."""
    options = search_options("nights", __doc__, count=50).parse_args()
    with (
        temporary_stack([], parent=memory_folder()) as running,
        tempfile.TemporaryDirectory() as folder,
        nights(LazyStack(running).postgresql, Path(folder)) as tried,
    ):
        search(two_weeks(), tried.try_out, options, part=10, seen=lambda: str(dict(tried.seen)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
