"""Weeks of nights at random: both systems are edited by day, and each morning Nexus must be what the model says.

`python -m fm_pipeline_tests.sequence.nights --count 50 --seed 1` tries so many clinics, two weeks each. `--done N` goes
on after the first N of an earlier call. Exit code 0 if every morning was as expected.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import psycopg2

from fm_pipeline.filemaker.door import DoorKind
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.settings import load_settings
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in
from fm_pipeline_tests.sequence.nights_clinic import NIGHTS, Clinic
from fm_pipeline_tests.sequence.nights_model import COLUMNS
from fm_pipeline_tests.sequence.nights_systems import FIELDS, LAYOUTS, RULES, STRICT_RULES, profile_of
from fm_pipeline_tests.support.clinics import DATABASE, FILEMAKER, PASSWORD, USER, MigrationBench
from fm_pipeline_tests.support.postgres import empty_database, empty_nexus
from fm_pipeline_tests.support.searching import search_machines, search_options
from fm_pipeline_tests.support.services import LazyStack, memory_folder

STEPS = 60  # of days and nights, in which there is time for two weeks


class Nights:
    """Makes clinics, each a copy of one that had its first reimport."""

    def __init__(self, server: PostgreSQLService, folder: Path, url: str) -> None:
        self._server, self._folder, self._origin = server, folder, url.rsplit("/", 1)[1]
        self._numbers = itertools.count(1)
        self.seen: Counter[str] = Counter()
        first = Clinic(partial(_bench, url, folder), self.seen)
        first.begin("data_api")
        first.teardown()
        self._start = first.state

    def make(self, nights: int = NIGHTS) -> Clinic:
        """Return a clinic that has not begun."""
        return Clinic(self._copied, self.seen, self._start, nights)

    @contextmanager
    def clinic(self, door: DoorKind = "data_api") -> Iterator[Clinic]:
        """A clinic that has begun."""
        clinic = self.make()
        try:
            clinic.begin(door)
            yield clinic
        finally:
            clinic.teardown()

    @contextmanager
    def _copied(self, door: DoorKind) -> Iterator[MigrationBench]:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        shutil.copyfile(self._folder / FILEMAKER, folder / FILEMAKER)
        with empty_database(self._server, self._origin) as url, _bench(url, folder, door) as bench:
            yield bench


@contextmanager
def nights(server: PostgreSQLService, folder: Path) -> Iterator[Nights]:
    """Make the clinic of which the others are copies."""
    with empty_nexus(server) as url:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_content_type (app_label, model) VALUES ('patients', 'patient')"
                " ON CONFLICT DO NOTHING"
            )
            connection.commit()
        with closing(Store(folder / FILEMAKER)) as store:
            store.create_database(DATABASE, [ServerAccount(USER, PASSWORD)])
            for kind, fields in FIELDS.items():
                types = {"dob": "date", "start": "timestamp", "modified": "timestamp"}
                definitions = [FieldDefinition(name, types.get(name, "text")) for name in fields]  # type: ignore[arg-type]
                store.create_table(DATABASE, LAYOUTS[kind], definitions)
                store.create_layout(DATABASE, LAYOUTS[kind], LAYOUTS[kind], list(fields))
        yield Nights(server, folder, url)


@contextmanager
def _bench(url: str, folder: Path, door: DoorKind) -> Iterator[MigrationBench]:
    for name, text in (("profile", profile_of(COLUMNS)), ("rules", RULES), ("strict", STRICT_RULES)):
        (folder / f"{name}.yaml").write_text(text)
    with closing(Store(folder / FILEMAKER)) as store, running_stand_in(store) as stand_in:
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
        search_machines(tried.make, options, part=50, steps=STEPS, seen=lambda: str(dict(tried.seen)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
