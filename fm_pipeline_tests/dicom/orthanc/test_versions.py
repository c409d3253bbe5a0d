"""How versions and configurations of Orthanc differ, by the one that is installed or that FM_PIPELINE_ORTHANC names.

Where a version does not have an option, the test says what it does instead. docs/orthanc.md has the table.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fm_pipeline.dicom.history.jobs import Job
from fm_pipeline.dicom.importer.run_job import ImportFailed
from fm_pipeline.dicom.importer.verify import Comparison, compare
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.dicom.orthanc.responses import OrthancLimits
from fm_pipeline.dicom.orthanc.trial import try_questions, try_upload
from fm_pipeline.entities.rules import load_rules
from fm_pipeline.preflight.finding import FindingBuilder
from fm_pipeline.preflight.orthanc import check_orthanc
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.support.orthanc import own_orthanc
from fm_pipeline_tests.support.waiting import wait_until


@contextmanager
def configured(ledger: str, tmp_path: Path, **options: Any) -> Iterator[ImportBench]:
    """An import into an Orthanc with such options."""
    with own_orthanc(**options) as orthanc:
        folder = tmp_path / "hospital"
        folder.mkdir()
        yield ImportBench(import_settings(ledger, orthanc.settings(), tmp_path / "state"), folder)


def knows(importing: ImportBench, option: str) -> bool:
    """Whether this version shows an option of that name."""
    with importing.orthanc() as orthanc:
        return option in orthanc.system()


def ended(importing: ImportBench, **options: Any) -> Job:
    try:
        return importing.imported(**options)
    except ImportFailed as failure:
        return failure.job


def checked(importing: ImportBench) -> dict[str, str]:
    """What the check finds wrong, by rule."""
    findings = check_orthanc(importing.settings, FindingBuilder(load_rules(), "DICOM"))
    return {each.rule: each.found for each in findings if each.rule and each.rule != "orthanc_too_old"}


def test_an_orthanc_with_unusual_settings_takes_everything_once_and_knows_it_again(ledger: str, tmp_path: Path) -> None:
    unusual = {
        "HttpDescribeErrors": False,  # its errors are empty answers
        "KeepAlive": False,  # it closes each connection
        "HttpCompressionEnabled": True,
        "StorageCompression": True,
        "StoreMD5ForAttachments": False,  # its 404 for an MD5 is empty although the instance is there
    }
    with configured(ledger, tmp_path, **unusual) as importing:
        write_series(importing.folder, 8, 2_000)
        (importing.folder / "broken.dcm").write_bytes(as_file(image("broken"))[:-1])
        assert checked(importing) == {}
        first = importing.imported(verify_md5=True)
        assert importing.outcomes(first.id) == {"imported": 8, "bad": 1}
        assert (first.instances_missing, first.instances_differing) == (0, 0)
        importing.execute("TRUNCATE fm_pipeline.import_jobs CASCADE")  # so that Orthanc alone knows
        assert importing.outcomes(importing.imported().id) == {"already_there": 8, "bad": 1}
        assert importing.instances() == 8


def test_a_connection_that_orthanc_is_about_to_close_is_not_used_again(ledger: str, tmp_path: Path) -> None:
    with configured(ledger, tmp_path) as importing, importing.orthanc() as orthanc:
        orthanc.system()
        ((connection, until),) = orthanc._connections._idle
        assert until <= time.monotonic() + 0.8  # it says `Keep-Alive: timeout=1`, and closes without a word
        wait_until(lambda: time.monotonic() > until)
        orthanc.system()
        assert orthanc._connections._idle[0][0] is not connection


def test_orthanc_shows_what_it_overwrites_or_is_a_version_that_does_not(ledger: str, tmp_path: Path) -> None:
    with configured(ledger, tmp_path, OverwriteInstances=True) as importing, importing.orthanc() as orthanc:
        told = "OverwriteInstances" in orthanc.system()
        assert orthanc.overwrites() is (True if told else None)
        assert ("orthanc_overwrites" in checked(importing)) is told


def test_a_read_only_orthanc_stops_the_job_or_is_a_version_that_stores_all_the_same(
    ledger: str, tmp_path: Path
) -> None:
    with configured(ledger, tmp_path, ReadOnly=True) as importing:
        write_series(importing.folder, 3, 2_000)
        wrong, job = checked(importing), ended(importing)
        if knows(importing, "ReadOnly"):
            assert "read-only" in wrong["orthanc_right_missing"]
            assert (job.error_reason, job.files_processed) == ("orthanc_read_only", 0)
        else:
            assert (wrong, job.status, job.files_imported) == ({}, "completed", 3)


def test_a_right_that_orthancs_own_filter_withholds_stops_the_job_and_the_check_sees_it(
    ledger: str, tmp_path: Path
) -> None:
    script = tmp_path / "filter.lua"
    script.write_text(
        "function IncomingHttpRequestFilter(method, uri, ip, username, headers)\n"
        "  return method ~= 'POST' or uri ~= '/instances'\nend\n",
        "utf-8",
    )
    with configured(ledger, tmp_path, LuaScripts=[str(script)]) as importing:
        write_series(importing.folder, 3, 2_000)
        assert "POST /instances is refused (HTTP 403)" in checked(importing)["orthanc_right_missing"]
        assert ended(importing).error_reason == "orthanc_right_missing"


def test_a_filter_may_leave_files_out_and_one_that_fails_on_a_file_is_told_with_it(ledger: str, tmp_path: Path) -> None:
    script = tmp_path / "filter.lua"
    script.write_text(
        "function ReceivedInstanceFilter(dicom, origin, info)\n"
        "  if dicom.PatientID == 'FAILS' then return dicom.NoSuchTag .. 'x' end\n"
        "  return dicom.PatientID ~= 'UNWANTED'\nend\n",
        "utf-8",
    )
    with configured(ledger, tmp_path, LuaScripts=[str(script)]) as importing:
        for patient_id in ("FAILS", "UNWANTED", "WANTED"):
            content = as_file(image(patient_id, patient_id=patient_id))
            (importing.folder / f"{patient_id}.dcm").write_bytes(content)
        job = ended(importing)
        assert job.error_reason == "orthanc_filter_error"
        rows = {Path(path).stem: row for path, row in importing.rows(job.id).items()}
        assert {name: (row.status, row.reason, row.sends) for name, row in rows.items()} == {
            "FAILS": ("failed", "orthanc_filter_error", 1),
            "UNWANTED": ("skipped", "filtered_by_orthanc", 1),
            "WANTED": ("imported", None, 1),
        }


def test_a_full_store_stops_the_job_or_loses_patients_which_the_comparison_finds(ledger: str, tmp_path: Path) -> None:
    """Only newer versions can refuse what is new; 1.10.1 deletes its oldest patients for it."""
    with configured(ledger, tmp_path, MaximumStorageSize=1, MaximumStorageMode="Reject") as importing:
        for number in range(4):
            content = as_file(image(str(number), size=400 << 10, patient_id=f"P{number}"))
            (importing.folder / f"{number}.dcm").write_bytes(content)
        job = ended(importing, threads=1)
        if knows(importing, "MaximumStorageMode"):
            assert job.error_reason == "orthanc_storage_full"
            assert "MaximumStorageSize is 1 MB" in (job.error_message or "")
            assert importing.outcomes(job.id) == {"imported": 2}
        else:
            assert (job.error_reason, job.instances_missing) == ("missing_in_orthanc", 2)


def test_too_many_patients_stop_the_job_or_push_the_oldest_out(ledger: str, tmp_path: Path) -> None:
    with configured(ledger, tmp_path, MaximumPatientCount=2, MaximumStorageMode="Reject") as importing:
        for number in range(3):
            (importing.folder / f"{number}.dcm").write_bytes(as_file(image(str(number), patient_id=f"P{number}")))
        job = ended(importing, threads=1)
        if knows(importing, "MaximumStorageMode"):
            assert job.error_reason == "orthanc_patient_limit"
            assert "MaximumPatientCount is 2; beyond, it refuses" in checked(importing)["orthanc_nearly_full"]
        else:
            assert (job.error_reason, job.instances_missing) == ("missing_in_orthanc", 1)


def test_patients_of_earlier_imports_that_orthanc_deletes_for_new_ones_are_told(ledger: str, tmp_path: Path) -> None:
    with configured(ledger, tmp_path, MaximumPatientCount=2) as importing:
        for number in range(3):
            importing.put(f"{number // 2}/{number}.dcm", as_file(image(str(number), patient_id=f"P{number}")))
        assert importing.imported(folder=importing.folder / "0").status == "completed"
        job = ended(importing, folder=importing.folder / "1")
        assert (job.error_reason, job.instances_missing, job.files_imported) == ("missing_in_orthanc", 0, 1)
        assert "lost at least 1 instance of earlier imports" in (job.error_message or "")
        assert importing.run(job.id).status == "completed"


def test_an_orthanc_that_deletes_on_purpose_completes_a_job_and_gets_nothing_again(ledger: str, tmp_path: Path) -> None:
    with configured(ledger, tmp_path, MaximumPatientCount=1) as configured_so:
        settings = configured_so.settings.model_copy(update={"orthanc_keeps_all": False})
        importing = replace(configured_so, settings=settings)
        for number in range(3):
            importing.put(f"{number}.dcm", as_file(image(str(number), patient_id=f"P{number}")))
        job = importing.imported(threads=1)
        assert (job.status, job.files_imported, job.instances_missing) == ("completed", 3, 0)
        assert importing.instances() == 1
        again = importing.imported("incremental")
        assert (again.status, again.files_processed, again.files_unchanged) == ("completed", 0, 3)


def test_where_nothing_counts_as_missing_what_was_missing_stays_so_until_orthanc_has_it(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing = replace(importing, settings=importing.settings.model_copy(update={"orthanc_keeps_all": False}))
    for number in range(2):
        importing.put(f"{number}.dcm", as_file(image(str(number), patient_id=f"P{number}")))

    def lost(*given: Any, **more: Any) -> Comparison:
        importing.execute("UPDATE fm_pipeline.import_history SET missing_since = clock_timestamp()")
        ((instance_id,),) = importing.execute(
            "SELECT orthanc_instance_id FROM fm_pipeline.import_history WHERE patient_id = 'P1'"
        )
        with importing.orthanc() as orthanc:
            assert orthanc.delete_instance(instance_id)
        return compare(*given, **more)

    monkeypatch.setattr("fm_pipeline.dicom.importer.run_job.compare", lost)
    job = importing.imported()
    assert (job.status, job.instances_missing) == ("completed", 0)
    rows = importing.rows(job.id).values()
    assert {row.patient_id: row.missing_since is not None for row in rows} == {"P0": False, "P1": True}


@pytest.mark.parametrize(
    ("system", "may"),
    [
        ({}, True),  # before 1.11.3
        ({"MaximumStorageMode": "Recycle", "MaximumStorageSize": 0, "MaximumPatientCount": 0}, False),
        ({"MaximumStorageMode": "Recycle", "MaximumStorageSize": 0, "MaximumPatientCount": 9}, True),
        ({"MaximumStorageMode": "Reject", "MaximumStorageSize": 9, "MaximumPatientCount": 9}, False),
    ],
)
def test_an_orthanc_that_may_delete_patients_is_told_from_one_that_never_does(
    system: dict[str, Any], may: bool
) -> None:
    assert OrthancLimits(system, {}).may_recycle is may


def test_what_orthanc_converts_as_it_is_told_to_does_not_count_as_different(ledger: str, tmp_path: Path) -> None:
    with configured(ledger, tmp_path, IngestTranscoding=str(ExplicitVRLittleEndian)) as importing:
        importing.put("implicit.dcm", as_file(image("implicit"), ImplicitVRLittleEndian))
        importing.put("explicit.dcm", as_file(image("explicit"), ExplicitVRLittleEndian))
        job = importing.imported(verify_md5=True)
        with importing.orthanc() as orthanc:
            held = [orthanc.md5(row.orthanc_instance_id or "") for row in importing.rows(job.id).values()]
        sent = [row.file_hash for row in importing.rows(job.id).values()]
        assert sum(one != other for one, other in zip(held, sent, strict=True)) == 1
        assert (job.instances_expected, job.instances_missing, job.instances_differing) == (2, 0, 0)


def test_a_job_is_cancelled_while_orthanc_is_asked_what_it_has_converted(
    ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fm_pipeline.dicom.importer.verify._QUESTIONS", 1)
    told: list[int] = []

    def cancelled(*given: Any, **more: Any) -> Comparison:
        def tell(done: int) -> None:
            told.append(done)
            importing.execute("UPDATE fm_pipeline.import_jobs SET cancel_requested_at = clock_timestamp()")

        return compare(*given, **more | {"on_progress": tell})

    monkeypatch.setattr("fm_pipeline.dicom.importer.run_job.compare", cancelled)
    with configured(ledger, tmp_path, IngestTranscoding=str(ExplicitVRLittleEndian)) as importing:
        for name in ("1", "2", "3"):
            importing.put(f"{name}.dcm", as_file(image(name), ImplicitVRLittleEndian))
        assert importing.imported().status == "cancelled"
    assert told == [1]


def test_what_orthanc_cannot_convert_is_stored_as_it_came_or_told_as_not_supported(ledger: str, tmp_path: Path) -> None:
    """Where it converts, 1.13.0 answers 500 with its status 2 to a NumberOfFrames that is no number."""
    sample = get_testdata_file("badVR.dcm")
    assert isinstance(sample, str)
    with configured(ledger, tmp_path, IngestTranscoding="1.2.840.10008.1.2.4.70") as importing:
        (importing.folder / "badVR.dcm").write_bytes(Path(sample).read_bytes())
        (row,) = importing.rows(importing.imported().id).values()
        with importing.orthanc() as orthanc:
            newest = version(orthanc) >= (1, 13)
    assert (row.status, row.reason) == (("bad", "orthanc_not_supported") if newest else ("imported", None))


def version(orthanc: Orthanc) -> tuple[int, ...]:
    """Its numbers."""
    return tuple(int(part) for part in str(orthanc.system()["Version"]).split(".")[:2] if part.isdigit())


@pytest.mark.parametrize("size", [0, 16 << 20])
def test_what_is_no_dicom_file_shows_that_files_are_taken_and_stores_nothing(importing: ImportBench, size: int) -> None:
    with importing.orthanc() as orthanc:
        try_upload(orthanc, size)
        try_questions(orthanc)
    assert importing.instances() == 0
