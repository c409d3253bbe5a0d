"""Documents and image batches at random: at patients who go or stay, at nobody, with and without evidence of a patient.

`python -m fm_pipeline_tests.nexus.reimport.random_gone_files --count 2000 --seed 1` makes so many plans with the
decision `archive`. `--done N` goes on after the first N of an earlier call. Exit code 0 if each time exactly those
files go to the archive patient that were listed before, and no file of a patient who stays is moved.
"""

from __future__ import annotations

import json
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from fm_pipeline.nexus.reimport.files_of_gone_patients import list_files_without_patient
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline_tests.support.clinics import MigrationBench, migration_bench, small_clinic
from fm_pipeline_tests.support.postgres import empty_database
from fm_pipeline_tests.support.searching import search, search_options
from fm_pipeline_tests.support.services import LazyStack, memory_folder

CHUNK = 100
SCALE = 0.01
DOCUMENTS, BATCHES = 12, 5
TABLES = {"documents_document": DOCUMENTS, "images_batch": BATCHES}
# Patients: two who go, one of them with a FileMaker id; two who stay; an id that nobody has.
OWNERS = ("goes", "goes with an id", "stays", "stays too", "nobody")
KINDS = ("patient", "patient", "patient", "company", "")
EVIDENCE = ("", "goes with an id", "stays", "stays too", "unheard of")


@dataclass(frozen=True)
class Example:
    """Of each document and batch: whose it is, and of documents whom their metadata name."""

    owners: tuple[str, ...]
    evidence: tuple[str, ...]
    kinds: tuple[str, ...]  # the content type of each; nothing if it has none
    archive_stays_in_filemaker: bool


def examples() -> st.SearchStrategy[Example]:
    """Any of them."""
    rows = DOCUMENTS + BATCHES
    return st.builds(
        Example,
        owners=st.tuples(*[st.sampled_from(OWNERS)] * rows),
        evidence=st.tuples(*[st.sampled_from(EVIDENCE)] * DOCUMENTS),
        kinds=st.tuples(*[st.sampled_from(KINDS)] * rows),
        archive_stays_in_filemaker=st.booleans(),
    )


class Bench:
    """A staged clinic, whose files each example lays anew."""

    def __init__(self, staged: MigrationBench) -> None:
        self._staged = staged
        self.seen: Counter[str] = Counter()
        (first, second, third) = staged.execute(
            "SELECT nexus_id::text, filemaker_key FROM fm_pipeline.staged_patients JOIN patients ON id = nexus_id"
            " ORDER BY 1 LIMIT 3"
        )
        gone_key = str(uuid.uuid4())
        self._patients = {"stays": first[0], "stays too": second[0], "nobody": str(uuid.uuid4())}
        self._keys = {"": "", "stays": first[1], "stays too": second[1], "unheard of": str(uuid.uuid4())}
        self._keys["goes with an id"] = gone_key
        self._archives = {True: third[1], False: self._add({})}
        self._patients["goes"] = self._add({})
        self._patients["goes with an id"] = self._add({"filemaker_id": gone_key})
        staged.extract_and_stage()  # the crosswalk learns the id of the one who goes
        self._ids = {
            table: [
                row
                for (row,) in staged.execute(f"SELECT id::text FROM {table} ORDER BY id LIMIT {rows}")  # noqa: S608
            ]
            for table, rows in TABLES.items()
        }
        staged.execute("UPDATE images_image SET filemaker_id = NULL")
        staged.execute("UPDATE documents_document SET filemaker_id = gen_random_uuid()")

    def _add(self, metadata: dict[str, str]) -> str:
        own_id = str(uuid.uuid4())
        self._staged.execute(
            "INSERT INTO patients (id, first_name, last_name, filemaker_metadata, archived, created_at, updated_at)"
            " VALUES (%s, 'Jo', 'Example', %s, false, now(), now())",
            own_id,
            json.dumps(metadata),
        )
        return own_id

    def try_out(self, example: Example) -> None:
        """Lay the files, list, plan, compare."""
        owners, kinds, evidence = iter(example.owners), iter(example.kinds), iter(example.evidence)
        for table, ids in self._ids.items():
            for row in ids:
                self._staged.execute(
                    f"UPDATE {table} SET object_id = %s, content_type_id = (SELECT id FROM django_content_type"  # noqa: S608
                    " WHERE model = %s LIMIT 1) WHERE id = %s",
                    self._patients[next(owners)],
                    next(kinds) or ("" if table == "documents_document" else "patient"),
                    row,
                )
                if table == "documents_document":
                    key = self._keys[next(evidence)]
                    metadata = json.dumps({"filemaker_patient_id": key.upper()}) if key else None
                    self._staged.execute(f"UPDATE {table} SET filemaker_metadata = %s WHERE id = %s", metadata, row)  # noqa: S608
        archive = self._archives[example.archive_stays_in_filemaker]
        decided = self._staged.with_settings(nexus_files_of_gone_patients="archive", nexus_archive_patient=archive)
        with decided.connection() as connection, connection.cursor() as cursor:
            listed = {file.id: file.patient_id for file in list_files_without_patient(cursor, decided.settings)}
        report = decided.plan().report
        assert report.documents
        assert report.batches
        archived = {**report.documents.archived, **report.batches.archived}
        assert archived == listed
        goes = {self._patients["goes"], self._patients["goes with an id"]}
        assert set(archived.values()) <= goes
        self.seen["archived"] += len(archived)
        self.seen["relinked"] += report.documents.relinked + report.batches.relinked


@contextmanager
def random_bench(server: PostgreSQLService, folder: Path) -> Iterator[Bench]:
    """A small clinic, staged."""
    with empty_database(server) as url, migration_bench(url, folder, small_clinic(SCALE)) as bench:
        yield Bench(bench.extract_and_stage())


def main() -> int:
    """Search."""
    said = "Plan with files of patients who go."
    options = search_options("random-gone-files", said, count=2_000, of="plans").parse_args()
    with (
        temporary_stack([], parent=memory_folder()) as running,
        tempfile.TemporaryDirectory(prefix="random-gone-files-") as folder,
        random_bench(LazyStack(running).postgresql, Path(folder)) as bench,
    ):
        search(examples(), bench.try_out, options, part=CHUNK, seen=lambda: str(dict(sorted(bench.seen.items()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
