"""Import jobs against a real Orthanc: what is recognised, resumed, cancelled, refused; and how progress is told."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.db.connection import connect
from fm_pipeline.dicom.history.jobs import LOCK_CLASS, Job
from fm_pipeline.dicom.importer.run_job import ImportFailed, ImportOptions, JobProgress, run_job
from fm_pipeline.dicom.model import SetAside, orthanc_id
from fm_pipeline.dicom.orthanc.client import BULK_CONTENT
from fm_pipeline.dicom.orthanc.responses import is_older
from fm_pipeline.dicom.scan.walk import Met, scan
from fm_pipeline.errors import LockStop
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.support.waiting import wait_until


def sends(importing: ImportBench, job: Job) -> int:
    return sum(row.sends for row in importing.rows(job.id).values())


@pytest.mark.hard_case(37)
def test_the_same_bytes_again_are_recognised_before_anything_is_sent(importing: ImportBench) -> None:
    write_series(importing.folder / "a", 5, 2_000)
    first = importing.imported()
    assert importing.outcomes(first.id) == {"imported": 5}
    for path in list((importing.folder / "a").iterdir()):
        importing.put(f"b/{path.name}.dcm", path.read_bytes())
    second = importing.imported()
    assert importing.outcomes(second.id) == {"already_there": 5, "duplicate": 5}
    assert sends(importing, second) == 0
    assert importing.instances() == 5


@pytest.mark.hard_case(37)
def test_the_same_instance_with_other_bytes_is_a_conflict_with_both_hashes_and_the_first_stays(
    importing: ImportBench,
) -> None:
    one, other = image("same"), image("same")
    other.InstanceNumber = 99
    kept = importing.put("one.dcm", as_file(one)).read_bytes()
    importing.imported()
    changed = importing.put("two.dcm", as_file(other))
    job = importing.imported("incremental")
    row = importing.rows(job.id)[str(changed)]
    kept_md5 = hashlib.md5(kept, usedforsecurity=False).hexdigest()
    assert (row.status, row.reason, row.other_hash) == ("conflict", "other_content", kept_md5)
    assert row.file_hash == hashlib.md5(changed.read_bytes(), usedforsecurity=False).hexdigest()
    assert row.orthanc_instance_id is not None
    with importing.orthanc() as orthanc:
        assert orthanc.md5(row.orthanc_instance_id) == kept_md5
    assert importing.instances() == 1


@pytest.mark.hard_case(35)
def test_files_without_patient_id_and_patient_ids_of_two_people_are_stored_and_flagged(
    importing: ImportBench,
) -> None:
    anonymous = image("anonymous")
    del anonymous.PatientID
    importing.put("0.dcm", as_file(anonymous))
    importing.put("1.dcm", as_file(image("1", patient_id="SHARED", patient_name="First^Person")))
    importing.put("2.dcm", as_file(image("2", patient_id="SHARED", patient_name="FIRST PERSON^")))
    first = importing.imported()
    importing.put("3.dcm", as_file(image("3", patient_id="SHARED", patient_name="Second^Person", study="other")))
    second = importing.imported("incremental")
    flags = {Path(path).name: row.flags for job in (first, second) for path, row in importing.rows(job.id).items()}
    assert flags == {
        "0.dcm": ["missing_patient_id"],
        "1.dcm": [],
        "2.dcm": [],
        "3.dcm": ["patient_id_with_another_name"],
    }
    assert importing.instances() == 4
    assert "Person" not in str(importing.execute("SELECT * FROM fm_pipeline.import_patients"))


def test_a_patient_id_that_orthanc_has_from_another_sender_with_another_person_is_flagged(
    importing: ImportBench,
) -> None:
    persons = {"OTHER-NAME": ("First^Person", "19700101"), "OTHER-DATE": ("Zo\u00eb^Person", "19700101")}
    persons |= {"SAME": ("Second^Person", "19700101"), "UNKNOWN": ("Zo\u00eb^Person", "")}
    for number, (patient_id, (name, birth_date)) in enumerate(persons.items()):
        there = image("there", patient_id=patient_id, patient_name=name, birth_date=birth_date)
        there.SpecificCharacterSet = "ISO_IR 192"
        with importing.orthanc() as orthanc:
            orthanc.upload(content := as_file(there), len(content))
        born = "19991231" if patient_id == "OTHER-DATE" else "19700101"
        new = image("new", patient_id=patient_id, patient_name="Second^Person", birth_date=born, study="other")
        importing.put(f"{number}.dcm", as_file(new))
    rows = importing.rows(importing.imported().id).values()
    flagged = {row.patient_id for row in rows if row.flags == ["patient_id_with_another_name"]}
    with importing.orthanc() as orthanc:
        is_asked = not is_older(orthanc.system(), BULK_CONTENT)
    assert flagged == ({"OTHER-NAME", "OTHER-DATE"} if is_asked else set())
    assert {row.status for row in rows} == {"imported"}


def test_a_name_of_which_orthanc_drops_a_letter_does_not_make_one_person_two(importing: ImportBench) -> None:
    """The character sets are wrong or unknown, as in files of the field."""

    def named(name: str, patient_id: str, character_set: str, birth_date: str = "19700101") -> bytes:
        file = image(name, patient_id=patient_id, patient_name="M*ller^Anna", birth_date=birth_date)
        file.SpecificCharacterSet = "ISO_IR 100"
        content = as_file(file).replace(b"M*ller^Anna", b"M\xfcller^Anna")
        return content.replace(b"ISO_IR 100", character_set.encode())

    for number, character_set in enumerate(("ISO_IR 192", "ISO_IR_100", "ISO 8859-1")):
        there = named("there", f"P{number}", character_set)
        with importing.orthanc() as orthanc:
            orthanc.upload(there, len(there))
        importing.put(f"{number}.dcm", named("new", f"P{number}", character_set))
    importing.put("other.dcm", named("other", "P2", "ISO 8859-1", "19991231"))
    with importing.orthanc() as orthanc:
        held = orthanc.patients([orthanc_id(f"P{number}") for number in range(3)])
    assert not held or "Mller^Anna" in {patient.name for patient in held.values()}
    rows = importing.rows(importing.imported().id)
    flags = {Path(path).name: row.flags for path, row in rows.items() if row.flags}
    assert {name for name in flags if name in ("0.dcm", "1.dcm")} == set()
    assert flags["other.dcm"] == ["patient_id_with_another_name"]


def test_one_sop_instance_uid_under_two_patients_is_stored_twice_and_flagged(importing: ImportBench) -> None:
    one, another = image("same", patient_id="ONE"), image("same", patient_id="OTHER")
    another.SOPInstanceUID = one.SOPInstanceUID
    importing.put("1.dcm", as_file(one))
    importing.imported()
    other = importing.put("2.dcm", as_file(another))
    job = importing.imported("incremental")
    row = importing.rows(job.id)[str(other)]
    assert (row.status, row.flags) == ("imported", ["instance_uid_elsewhere"])
    assert importing.instances() == 2


def test_an_incremental_job_opens_only_what_is_new_or_changed(importing: ImportBench) -> None:
    paths = write_series(importing.folder, 4, 2_000)
    importing.put("notes.txt", b"a text " * 50)
    importing.imported()
    idle = importing.imported("incremental")
    assert (idle.files_unchanged, idle.files_processed, idle.total_files) == (5, 0, 0)
    assert (idle.status, idle.progress_percentage) == ("completed", 100)
    new = importing.put("new.dcm", as_file(image("new")))
    before = paths[0].stat()
    paths[0].write_bytes(as_file(image("another")).ljust(before.st_size, b"\0")[: before.st_size])
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    job = importing.imported("incremental")
    assert set(importing.rows(job.id)) == {str(new), str(paths[0])}
    assert (job.files_unchanged, job.total_files) == (4, 2)


def test_what_orthanc_has_from_somebody_else_is_not_sent_again(importing: ImportBench) -> None:
    for path in write_series(importing.folder, 3, 2_000):
        with importing.orthanc() as orthanc:
            content = path.read_bytes()
            orthanc.upload(content, len(content))
    job = importing.imported()
    assert importing.outcomes(job.id) == {"already_there": 3}
    assert sends(importing, job) == 0


def test_what_somebody_deleted_in_orthanc_is_sent_again_and_flagged(importing: ImportBench) -> None:
    (path,) = write_series(importing.folder, 1, 2_000)
    row = importing.rows(importing.imported().id)[str(path)]
    with importing.orthanc() as orthanc:
        orthanc._ask("DELETE", f"/instances/{row.orthanc_instance_id}")
    job = importing.imported()
    again = importing.rows(job.id)[str(path)]
    assert (again.status, again.flags) == ("imported", ["sent_again"])


@pytest.mark.hard_case(41)
def test_a_root_that_is_missing_or_empty_is_a_failed_job_and_nothing_is_marked_as_gone(
    importing: ImportBench,
) -> None:
    with pytest.raises(ImportFailed) as empty:
        importing.imported()
    assert (empty.value.job.status, empty.value.job.error_reason) == ("failed", "no_files")
    (path,) = write_series(importing.folder, 1, 2_000)
    importing.imported()
    path.unlink()
    importing.folder.rmdir()
    with pytest.raises(ImportFailed) as missing:
        importing.imported("incremental")
    assert missing.value.job.error_reason == "root_unavailable"
    assert importing.folder.name not in str(missing.value)
    assert importing.execute("SELECT count(*) FROM fm_pipeline.import_history WHERE missing_since IS NOT NULL") == [
        (0,)
    ]


@pytest.mark.hard_case(40)
def test_a_directory_that_cannot_be_read_is_listed_and_the_scan_is_not_complete(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(importing.folder / "readable", 2, 2_000)
    (importing.folder / "secret").mkdir()
    listing = os.scandir

    def refuse(path: Any) -> Any:  # a superuser, as tests may be, reads everything
        if str(path).endswith("secret"):
            raise PermissionError(13, "refused")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    job = importing.imported()
    assert (job.status, job.scan_complete, job.directories_unreadable) == ("completed", False, 1)
    assert importing.execute("SELECT reason FROM fm_pipeline.import_unreadable_directories") == [("permission",)]


def test_a_job_for_some_files_looks_at_no_other(importing: ImportBench) -> None:
    paths = write_series(importing.folder, 4, 2_000)
    outside = importing.put("../outside.dcm", as_file(image("outside")))
    (importing.folder / "way-out").symlink_to(importing.folder.parent)
    asked = [str(paths[0]), str(paths[2]), f"{importing.folder}/gone", f"{importing.folder}/way-out/{outside.name}"]
    job = importing.run(importing.new_job("manual", files=asked))
    rows = importing.rows(job.id)
    assert {path: (row.status, row.reason) for path, row in rows.items()} == {
        asked[0]: ("imported", None),
        asked[1]: ("imported", None),
        asked[2]: ("failed", "vanished"),
        asked[3]: ("skipped", "link_outside_root"),
    }


@pytest.mark.hard_case(43)
def test_a_job_on_a_folder_above_or_below_a_running_one_is_refused_until_that_has_ended(
    importing: ImportBench,
) -> None:
    write_series(importing.folder / "below", 2, 2_000)
    running = importing.new_job(folder=importing.folder / "below")
    above, beside = importing.new_job(), importing.new_job(folder=importing.folder / "belowbeside")
    with connect(importing.url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, running))
        for job in (above, running):
            with pytest.raises(LockStop):
                importing.run(job)
        with pytest.raises(ImportFailed, match="cannot be read"):
            importing.run(beside)
    assert importing.job(above).status == "pending"
    assert importing.run(above).files_imported == 2


@pytest.mark.hard_case(43)
def test_two_importers_of_one_instance_end_with_one_instance_and_no_conflict(importing: ImportBench) -> None:
    for name in ("left", "right"):
        write_series(importing.folder / name, 40, 2_000)
    jobs = [importing.new_job(folder=importing.folder / name) for name in ("left", "right")]
    threads = [threading.Thread(target=importing.run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = [importing.outcomes(job) for job in jobs]
    assert sum(each.get("imported", 0) for each in ended) == 40
    assert {name for each in ended for name in each} <= {"imported", "already_there", "duplicate"}
    assert importing.instances() == 40


class Watching:
    """Progress that does something once so many files are on record."""

    def __init__(self, after: int, action: Any) -> None:
        self.after, self.action, self.told = after, action, list[tuple[str, int, int | None]]()

    def __call__(self, name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> None:
        self.told.append((name, done, total))
        if self.action and done >= self.after:
            action, self.action = self.action, None
            action()


@pytest.mark.hard_case(49)
def test_progress_never_falls_never_passes_its_total_and_says_when_the_total_is_not_known(
    importing: ImportBench,
) -> None:
    write_series(importing.folder, 400, 2_000)
    job_id = importing.new_job()
    percentages: list[float] = []
    watching = Watching(0, None)

    def on_progress(name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> None:
        watching(name, done, total)
        percentages.append(importing.job(job_id).progress_percentage)

    run_job(importing.settings, job_id, on_progress=on_progress)
    importing_steps = [(done, total) for name, done, total in watching.told if name == "import"]
    assert [done for done, _ in importing_steps] == sorted(done for done, _ in importing_steps)
    assert all(total is None or done <= total for done, total in importing_steps)
    assert percentages == sorted(percentages)
    assert max(percentages) <= 100
    assert importing.job(job_id).progress_percentage == 100
    assert watching.told[-1][0] == "compare with Orthanc"


@pytest.mark.hard_case(42)
def test_progress_says_of_waiting_what_the_row_says_also_when_it_begins_or_ends_in_between(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(importing.folder, 3, 2_000)
    job_id = importing.new_job()
    asked = itertools.count()
    monkeypatch.setattr(JobProgress, "waits", property(lambda _: [None, "Orthanc has not answered."][next(asked) % 2]))
    told: list[tuple[str, str | None]] = []

    def on_progress(name: str, done: int, total: int | None = None, *, errors: int = 0, note: str = "") -> None:
        told.append((note, importing.job(job_id).error_message))

    run_job(importing.settings, job_id, on_progress=on_progress)
    assert [note for note, _ in told] == [message or "" for _, message in told]


@pytest.mark.hard_case(43)
def test_a_database_that_goes_away_for_a_moment_costs_nothing(importing: ImportBench) -> None:
    write_series(importing.folder, 300, 2_000)
    job_id = importing.new_job()

    def lose_all_connections() -> None:
        importing.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    job = run_job(importing.settings, job_id, on_progress=Watching(1, lose_all_connections))
    assert (job.status, job.files_imported, importing.outcomes(job_id)) == ("completed", 300, {"imported": 300})


def test_history_says_all_that_orthanc_says_and_the_md5_of_each_is_compared_on_request(importing: ImportBench) -> None:
    path = importing.put("1.dcm", as_file(image("1", patient_id="P1")))
    job = importing.imported(verify_md5=True)
    row = importing.rows(job.id)[str(path)]
    with importing.orthanc() as orthanc:
        said = orthanc._object(f"/instances/{row.orthanc_instance_id}")
        assert orthanc._object(f"/patients/{row.orthanc_patient_id}")["MainDicomTags"]["PatientID"] == "P1"
        assert said["ParentSeries"] == row.orthanc_series_id
        assert orthanc._object(f"/series/{row.orthanc_series_id}")["ParentStudy"] == row.orthanc_study_id
    assert said["MainDicomTags"]["SOPInstanceUID"] == row.instance_uid
    assert (row.patient_id, row.file_hash) == ("P1", hashlib.md5(path.read_bytes()).hexdigest())  # noqa: S324
    assert (job.instances_expected, job.instances_missing, job.instances_differing) == (1, 0, 0)


def test_options_have_safe_defaults() -> None:
    assert (ImportOptions().retry_suspects, ImportOptions().threads) == (False, 4)


@pytest.mark.hard_case(38)
def test_times_of_1970_and_of_the_year_2400_are_no_obstacle(importing: ImportBench) -> None:
    paths = write_series(importing.folder, 2, 2_000)
    for path, seconds in zip(paths, (0, 13_600_000_000), strict=True):
        os.utime(path, ns=(0, seconds * 10**9))
    assert importing.imported().files_imported == 2
    assert importing.imported("incremental").files_unchanged == 2


@pytest.mark.hard_case(45)
def test_the_first_upload_is_made_before_the_scan_ends(importing: ImportBench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(importing.folder, 3, 2_000)

    def slow_disk(root: str, *_: object) -> Iterator[Met]:
        yield from scan(root)
        wait_until(lambda: importing.instances() == 3)
        yield SetAside(f"{root}/last", "fifo")

    monkeypatch.setattr("fm_pipeline.dicom.importer.run_job.scan", slow_disk)
    assert importing.outcomes(importing.imported().id) == {"imported": 3, "skipped": 1}
