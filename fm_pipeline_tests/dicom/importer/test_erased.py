"""Files of erased patients come back by no incremental import, against a real Orthanc."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.erase_patient import ERASED, erase_patient_files
from fm_pipeline.dicom.history.erased_ids import known_ids
from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.dicom.model import Outcome, orthanc_id
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.dicom.importer.test_decide import UNCERTAIN, into
from fm_pipeline_tests.support.archives import zipped

WITHHELD = ("skipped", "taken_back", ["erased_before"])


def erase(importing: ImportBench, *patient_ids: str) -> None:
    with connect(importing.url) as connection, connection.cursor() as cursor:
        erase_patient_files(cursor, patient_ids, [str(importing.folder)])
        connection.commit()


def ends(importing: ImportBench, job: Job) -> dict[str, tuple[str, str | None, Sequence[str]]]:
    rows = importing.rows(job.id)
    return {Path(path).name: (row.status, row.reason, row.flags) for path, row in rows.items()}


@pytest.mark.parametrize("outcome", Outcome)
def test_a_file_that_changed_since_the_erasure_of_its_patient_is_withheld_whatever_its_outcome_was(
    importing: ImportBench, outcome: Outcome
) -> None:
    """As if only the folder said whose file it was, and as if its instance was known."""
    unread, read = (importing.put(f"QUOLL/{name}", as_file(image(name))) for name in ("unread", "read"))
    importing.put("QUOLL/imported", as_file(image("imported")))
    importing.imported()
    importing.execute("UPDATE fm_pipeline.import_history SET status = %s WHERE file_name <> 'imported'", outcome)
    importing.execute(
        "UPDATE fm_pipeline.import_history SET patient_id = NULL, orthanc_patient_id = NULL,"
        " orthanc_instance_id = NULL, instance_uid = NULL WHERE file_name = 'unread'"
    )
    with importing.orthanc() as orthanc:
        for name in ("unread", "read", "imported"):
            assert orthanc.delete_instance(_orthanc_id(name))
    erase(importing, "SANDBOX-1")
    os.utime(unread)
    of_the_same_uids = image("read")
    of_the_same_uids.InstanceNumber = 99
    read.write_bytes(as_file(of_the_same_uids))
    job = importing.imported("incremental")
    assert ends(importing, job) == {"unread": WITHHELD, "read": WITHHELD}
    assert (job.files_unchanged, importing.instances()) == (1, 0)


def test_files_of_an_erased_patient_that_no_import_has_met_are_withheld_in_folders_and_archives(
    importing: ImportBench,
) -> None:
    importing.put("a/1", as_file(image("1", patient_id="OTHER")))
    importing.put("a/0", as_file(image("0")))
    importing.imported()
    erase(importing, "SANDBOX-1 ")
    (importing.folder / "a/0").unlink()
    importing.put("b/2", as_file(image("2", study="another")))
    importing.put("b/undated", as_file(image("3", study_date="")))
    importing.put("c.zip", zipped([("4", as_file(image("4"))), ("5", as_file(image("5", patient_id="OTHER")))]))
    job = importing.imported("incremental")
    assert {name.rpartition("!/")[2]: end for name, end in ends(importing, job).items()} == {
        **dict.fromkeys(("2", "undated", "4"), WITHHELD),
        "5": ("imported", None, []),
        "c.zip": ("skipped", "archive_opened", []),
    }
    assert importing.instances() == 3
    assert importing.imported("manual").files_imported == 3  # somebody has decided so


def test_a_patient_id_that_no_import_has_met_is_not_kept_out_because_it_may_be_mistyped(importing: ImportBench) -> None:
    erase(importing, "SANDBOX-1")
    importing.put("a/1", as_file(image("1")))
    assert ends(importing, importing.imported("incremental")) == {"1": ("imported", None, [])}


def test_an_erased_patient_who_is_examined_later_is_imported_and_flagged(importing: ImportBench) -> None:
    importing.put("a/1", as_file(image("1")))
    importing.imported()
    erase(importing, "SANDBOX-1")
    importing.put("b/2", as_file(image("2", study="of later", study_date="20991231")))
    job = importing.imported("incremental")
    assert ends(importing, job) == {"2": ("imported", None, ["erased_before"])}


def test_an_erasure_leaves_another_patient_whose_file_had_the_same_path(importing: ImportBench) -> None:
    path = importing.put("IM1", as_file(image("1")))
    importing.imported()
    path.write_bytes(as_file(image("2", patient_id="OTHER")))
    other = importing.imported()
    erase(importing, "SANDBOX-1")
    (row,) = importing.rows(other.id).values()
    assert (row.file_path, row.patient_id, row.removed_at) == (str(path), "OTHER", None)
    os.utime(path)
    assert ends(importing, importing.imported("incremental")) == {"IM1": ("already_there", None, [])}


def test_a_patient_id_that_orthanc_reads_in_another_character_set_is_erased_as_orthanc_shows_it(
    importing: ImportBench,
) -> None:
    """As a newer Orthanc does with ISO_IR_100: the history has the Patient ID without the letters it cannot read."""
    importing.put("SANDBOX/1", as_file(image("1")))
    job = importing.imported()
    for table in ("import_history", "import_patients"):
        importing.execute(f"UPDATE fm_pipeline.{table} SET patient_id = 'SNDBOX-1'")  # noqa: S608
    with connect(importing.url) as connection, connection.cursor() as cursor:
        (known,) = known_ids(cursor, ["SANDBOX-1"])
        assert (known.is_known, known.files) == (True, 1)
        rows = erase_patient_files(cursor, ["SANDBOX-1"], [str(importing.folder)])
        connection.commit()
    assert (rows["import_history"], rows["import_patients"]) == (1, 1)
    (row,) = importing.rows(job.id).values()
    assert (row.file_path, row.patient_id, row.orthanc_patient_id) == (ERASED, None, None)
    importing.put("b/2", as_file(image("2", patient_id="SNDBOX-1")))  # as the next file of this patient is read
    assert ends(importing, importing.imported("incremental")) == {"2": WITHHELD}


def test_a_new_file_of_an_erased_patient_is_withheld_also_if_only_orthanc_knows_how_its_patient_id_is_read(
    ledger: str, tmp_path: Path
) -> None:
    with into(ledger, tmp_path, never_overwrites=True, DefaultEncoding="Utf8") as importing:
        importing.put("1", UNCERTAIN.file)
        importing.imported()
        with connect(importing.url) as connection, connection.cursor() as cursor:
            assert erase_patient_files(cursor, ["caf\u00e9"], [str(importing.folder)])["import_history"] == 1
            connection.commit()
        importing.put("b/2", UNCERTAIN.but(sop=b"1.2.826.0.1.4").file)
        assert ends(importing, importing.imported("incremental")) == {"2": WITHHELD}


@pytest.mark.parametrize("patient_id", ["SANDBOX-1", "OTHER"])
def test_persons_are_counted_also_by_the_id_that_orthanc_gives_their_patient(
    importing: ImportBench, patient_id: str
) -> None:
    for name in ("One", "Two"):
        importing.put(name, as_file(image(name, patient_name=name, patient_id=patient_id)))
    importing.imported()
    importing.execute("UPDATE fm_pipeline.import_history SET orthanc_patient_id = %s", orthanc_id("SANDBOX-1"))
    with connect(importing.url) as connection, connection.cursor() as cursor:
        (known,) = known_ids(cursor, ["SANDBOX-1"])
    assert (known.persons, known.files) == (2, 2)


def _orthanc_id(name: str) -> str:
    of = image(name)
    return orthanc_id(of.PatientID, of.StudyInstanceUID, of.SeriesInstanceUID, of.SOPInstanceUID)
