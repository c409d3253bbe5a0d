"""A mistaken import is taken back, against a real Orthanc."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from fm_pipeline.db.connection import connect
from fm_pipeline.db.locks import try_lock
from fm_pipeline.dicom.api import remove_import as remove_import_module
from fm_pipeline.dicom.api.remove_import import plan_removal, remove_import
from fm_pipeline.dicom.history.erase_patient import erase_patient_files
from fm_pipeline.dicom.history.job_ledger import REMOVAL_LOCK
from fm_pipeline.dicom.history.jobs import request_cancel
from fm_pipeline.dicom.history.removals import EXPORTED, Removal, export_instances, list_removals
from fm_pipeline.dicom.importer.run_job import ImportFailed
from fm_pipeline.errors import LockStop, PlanStop, RequestError
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.support.proxies.proxy import cutting_proxy


def removed(importing: ImportBench, job_id: int) -> Removal:
    words = plan_removal(importing.settings, job_id).confirmation
    return remove_import(importing.settings, job_id, confirm=words, actor="test")


def folder_with(importing: ImportBench, name: str, count: int) -> Path:
    write_series(importing.folder / name, count, 2_000, name=name)
    return importing.folder / name


def test_only_what_the_job_brought_is_deleted(importing: ImportBench) -> None:
    before, mistaken = folder_with(importing, "before", 2), folder_with(importing, "mistaken", 4)
    importing.imported(folder=before)
    (mistaken / "known").write_bytes((before / "IM000000").read_bytes())
    job = importing.imported(folder=mistaken)
    later = importing.folder / "later"
    later.mkdir()
    (later / "copy").write_bytes((mistaken / "IM000001").read_bytes())
    importing.imported(folder=later)

    plan = plan_removal(importing.settings, job.id)
    assert (plan.instances.removable, plan.instances.met_by_others) == (3, 1)
    removal = removed(importing, job.id)
    assert (removal.instances_planned, removal.instances_deleted, removal.instances_kept) == (3, 3, 0)
    assert importing.instances() == 3
    gone = [Path(path).name for path, row in importing.rows(job.id).items() if row.removed_at]
    assert sorted(gone) == ["IM000000", "IM000002", "IM000003"]
    with connect(importing.url) as connection, connection.cursor() as cursor:
        assert list_removals(cursor, job.id) == [removal]
        assert importing.execute(
            "SELECT outcome FROM fm_pipeline.audit WHERE action = 'dicom_set_aside' ORDER BY id"
        ) == [
            ("started",),
            ("done",),
        ]


def test_removed_files_do_not_come_back_by_themselves_and_a_new_job_brings_them_back(importing: ImportBench) -> None:
    folder = folder_with(importing, "mistaken", 3)
    removed(importing, importing.imported(folder=folder).id)
    incremental = importing.imported("incremental", folder=folder)
    assert (incremental.files_unchanged, importing.instances()) == (3, 0)
    again = importing.imported("initial", folder=folder)
    assert importing.outcomes(again.id) == {"imported": 3}
    assert not any(row.flags for row in importing.rows(again.id).values())
    assert importing.instances() == 3


def test_taken_back_files_come_back_by_no_incremental_import_whatever_their_times_and_paths_but_corrected_ones_do(
    importing: ImportBench,
) -> None:
    touched, moved = (importing.put(f"mistaken/{name}", as_file(image(name))) for name in ("touched", "moved"))
    corrected = importing.put("mistaken/corrected", as_file(image("corrected")))
    first = importing.imported()
    importing.execute(  # a copy that crashed Orthanc before it was read whole
        "INSERT INTO fm_pipeline.import_history (job_id, file_path, file_name, path_hash, status, orthanc_instance_id)"
        " SELECT job_id, '/copy', 'copy', gen_random_uuid(), 'suspect', orthanc_instance_id"
        " FROM fm_pipeline.import_history WHERE file_path = %s",
        str(corrected),
    )
    removed(importing, first.id)
    os.utime(touched)
    moved = moved.rename(importing.folder / "moved")
    of_the_same_uids = image("corrected")
    of_the_same_uids.InstanceNumber = 99
    corrected.write_bytes(as_file(of_the_same_uids))
    job = importing.imported("incremental")
    outcomes = {Path(path): (row.status, row.reason, *row.flags) for path, row in importing.rows(job.id).items()}
    withheld = ("skipped", "taken_back")
    assert outcomes == {touched: withheld, moved: withheld, corrected: ("imported", None)}
    assert (importing.instances(), importing.imported("incremental").files_unchanged) == (1, 3)

    assert importing.imported("manual").files_imported == 2
    with importing.orthanc() as orthanc:  # they are as others from now on
        assert orthanc.delete_instance(importing.rows(job.id)[str(touched)].orthanc_instance_id or "")
    os.utime(touched)
    assert importing.imported("incremental").files_imported == 1


def test_files_of_an_erased_patient_come_back_by_no_incremental_import_and_are_flagged_in_others(
    importing: ImportBench,
) -> None:
    moved, corrected, failed = (importing.put(f"a/{name}", as_file(image(name))) for name in ("1", "2", "3"))
    first = importing.imported()
    importing.execute("UPDATE fm_pipeline.import_history SET status = 'failed' WHERE file_path = %s", str(failed))
    with importing.orthanc() as orthanc, connect(importing.url) as connection, connection.cursor() as cursor:
        for row in importing.rows(first.id).values():
            assert orthanc.delete_instance(row.orthanc_instance_id or "")
        erase_patient_files(cursor, ["SANDBOX-1"], [str(importing.folder)])
        connection.commit()
    moved = moved.rename(importing.folder / "moved")
    of_the_same_uids = image("2")
    of_the_same_uids.InstanceNumber = 99
    corrected.write_bytes(as_file(of_the_same_uids))
    job = importing.imported("incremental")
    outcomes = {Path(path): (row.status, row.reason, row.flags) for path, row in importing.rows(job.id).items()}
    assert outcomes == dict.fromkeys((moved, corrected), ("skipped", "taken_back", ["erased_before"]))
    assert (job.files_unchanged, importing.instances()) == (1, 0)
    manual = importing.imported("manual")
    assert [row.flags for row in importing.rows(manual.id).values()] == [["erased_before"]] * 3
    assert importing.instances() == 3


def test_a_cancelled_job_whose_files_are_all_erased_does_not_become_one_for_the_whole_directory(
    importing: ImportBench,
) -> None:
    file = importing.put("a/1", as_file(image("1")))
    importing.imported()
    importing.put("b/2", as_file(image("2", patient_id="OTHER")))
    job_id = importing.new_job("incremental", files=[str(file)])
    request_cancel(importing.url, job_id)
    with connect(importing.url) as connection, connection.cursor() as cursor:
        erase_patient_files(cursor, ["SANDBOX-1"], [str(importing.folder)])
        connection.commit()
    with pytest.raises(ImportFailed, match="cannot be read"):
        importing.run(job_id)
    assert importing.instances() == 1


def test_a_later_reading_of_the_same_files_does_not_keep_a_job_from_being_taken_back(importing: ImportBench) -> None:
    folder = folder_with(importing, "mistaken", 3)
    first = importing.imported(folder=folder)
    again = importing.imported("manual", folder=folder)
    assert importing.outcomes(again.id) == {"already_there": 3}
    (folder / "copy").write_bytes((folder / "IM000002").read_bytes())
    importing.imported("incremental", folder=folder)  # relies on that instance from another path
    plan = plan_removal(importing.settings, first.id)
    assert (plan.instances.removable, plan.instances.met_by_others) == (2, 1)
    assert removed(importing, first.id).instances_deleted == 2
    gone = [Path(path).name for path, row in importing.rows(again.id).items() if row.removed_at]
    assert sorted(gone) == ["IM000000", "IM000001"]
    assert (importing.imported("incremental", folder=folder).files_unchanged, importing.instances()) == (4, 1)


def test_what_a_later_job_sent_again_because_orthanc_had_lost_it_is_taken_back_by_neither_job(
    importing: ImportBench,
) -> None:
    folder = folder_with(importing, "before", 2)
    first = importing.imported(folder=folder)
    with importing.orthanc() as orthanc:
        for row in importing.rows(first.id).values():
            assert orthanc.delete_instance(row.orthanc_instance_id or "")
    again = importing.imported("manual", folder=folder)
    assert again.files_imported == 2
    for job in (first, again):
        plan = plan_removal(importing.settings, job.id)
        assert (plan.instances.removable, plan.instances.met_by_others) == (0, 2)


def test_a_person_is_forgotten_if_an_import_that_was_taken_back_brought_all_of_the_patient_id(
    importing: ImportBench,
) -> None:
    def imported(name: str, patient_id: str, person: str) -> tuple[int, list[str]]:
        of = image(name, patient_id=patient_id, patient_name=person)
        of.SpecificCharacterSet = "ISO_IR 100"
        path = importing.put(f"{name}/1", as_file(of))
        job = importing.imported(folder=path.parent)
        return job.id, importing.rows(job.id)[str(path)].flags

    another = ["patient_id_with_another_name"]
    removed(importing, imported("mistaken", "A", "Another^Person")[0])
    assert imported("first", "A", "Own^Patient")[1] == []
    assert imported("before", "B", "Müller^Hans")[1] == []  # Orthanc's answer would not tell the name
    mistaken, flags = imported("mistaken again", "B", "Another^Person")
    assert flags == another
    removed(importing, mistaken)
    assert imported("mixed", "B", "Third^Person")[1] == another


def test_an_instance_that_somebody_has_replaced_in_orthanc_stays(importing: ImportBench) -> None:
    one, other = image("same"), image("same")
    other.InstanceNumber = 99
    (importing.folder / "one").write_bytes(as_file(one))
    job = importing.imported()
    with importing.orthanc() as orthanc:
        assert orthanc.delete_instance(next(iter(importing.rows(job.id).values())).orthanc_instance_id or "")
        content = as_file(other)
        orthanc.upload(content, len(content))
    removal = removed(importing, job.id)
    assert (removal.instances_deleted, removal.instances_kept, importing.instances()) == (0, 1, 1)


def test_what_orthanc_has_lost_is_recorded_as_absent(importing: ImportBench) -> None:
    job = importing.imported(folder=folder_with(importing, "mistaken", 2))
    with importing.orthanc() as orthanc:
        assert orthanc.delete_instance(next(iter(importing.rows(job.id).values())).orthanc_instance_id or "")
    removal = removed(importing, job.id)
    assert (removal.instances_deleted, removal.instances_absent) == (1, 1)
    with pytest.raises(RequestError, match="holds nothing"):
        removed(importing, job.id)


@pytest.mark.parametrize("step", ["begin_removal", "record_removed", "end_removal"])
def test_a_removal_is_recorded_once_if_the_connection_is_lost_at_the_commit_of_its_record(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    job = importing.imported(folder=folder_with(importing, "mistaken", 2))
    arm, before, target = threading.Event(), getattr(remove_import_module, step), urlsplit(importing.url)

    def armed(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(remove_import_module, step, before)
        arm.set()
        return before(*args, **kwargs)

    monkeypatch.setattr(remove_import_module, step, armed)
    with cutting_proxy(target.hostname or "", target.port or 0, "after", arm=arm) as port:
        place = target._replace(netloc=f"{target.username}:{target.password}@127.0.0.1:{port}")
        url = SecretStr(place.geturl() + "?sslmode=disable&gssencmode=disable")
        cut_off = ImportBench(importing.settings.model_copy(update={"nexus_database_url": url}), importing.folder)
        removal = removed(cut_off, job.id)
    assert not arm.is_set()
    assert (removal.instances_deleted, removal.instances_absent, importing.instances()) == (2, 0, 0)
    with connect(importing.url) as connection, connection.cursor() as cursor:
        assert list_removals(cursor, job.id) == [removal]


def test_without_the_words_of_this_moment_nothing_is_deleted(importing: ImportBench) -> None:
    job = importing.imported(folder=folder_with(importing, "mistaken", 2))
    for words in ("", "yes", f"remove 3 of job {job.id}", f"remove 2 of job {job.id + 1}"):
        with pytest.raises(PlanStop):
            remove_import(importing.settings, job.id, confirm=words, actor="test")
    assert importing.instances() == 2


def test_a_job_that_may_still_run_is_not_removed(importing: ImportBench) -> None:
    folder_with(importing, "mistaken", 2)
    job_id = importing.new_job()
    with pytest.raises(RequestError, match="pending"):
        remove_import(importing.settings, job_id, confirm="", actor="test")


def test_no_import_runs_during_a_removal_and_no_removal_during_an_import(importing: ImportBench) -> None:
    job = importing.imported(folder=folder_with(importing, "mistaken", 1))
    for shared in (False, True):
        with connect(importing.url) as connection, connection.cursor() as cursor:
            assert try_lock(cursor, REMOVAL_LOCK, shared=shared)
            with pytest.raises(LockStop):
                removed(importing, job.id)
            if not shared:
                with pytest.raises(LockStop, match="removed from Orthanc"):
                    importing.imported(folder=importing.folder)
    removed(importing, job.id)


def test_the_list_of_a_job_has_what_it_brought_before_and_after_the_removal(importing: ImportBench) -> None:
    job = importing.imported(folder=folder_with(importing, "mistaken", 3))
    for expected in (0, 3):
        with connect(importing.url) as connection:
            rows = [dict(zip(EXPORTED, row, strict=True)) for row in export_instances(connection, job.id)]
        assert len(rows) == 3
        assert sum(row["removed_at"] is not None for row in rows) == expected
        if not expected:
            removed(importing, job.id)
