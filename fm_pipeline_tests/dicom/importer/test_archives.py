"""Archives imported into a real Orthanc: each file in them once, recognised, resumed; opened only where needed."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from fm_pipeline.dicom.files.archives.opened import OpenArchive
from fm_pipeline.dicom.files.is_dicom import inspect
from fm_pipeline.dicom.history.jobs import Job, request_cancel
from fm_pipeline.dicom.importer import archive_feed as feed_module
from fm_pipeline.dicom.importer.run_job import ImportFailed
from fm_pipeline.dicom.importer.verify import Comparison, compare
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.dicom.files.random_archives import search_imports
from fm_pipeline_tests.support.archives import gzipped, tarred, zipped


def images(*names: str) -> list[tuple[str, bytes]]:
    return [(f"CD/{name}", as_file(image(name))) for name in names]


def ends(importing: ImportBench, job: Job) -> dict[str, tuple[str, str | None]]:
    return {
        os.path.relpath(path, importing.folder) if "!/" not in path else path.removeprefix(f"{importing.folder}/"): (
            row.status,
            row.reason,
        )
        for path, row in importing.rows(job.id).items()
    }


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of archives as they are opened."""
    names: list[str] = []

    class Noted(OpenArchive):
        def __init__(self, found: object, *rest: object) -> None:
            names.append(os.path.basename(found.path))  # type: ignore[attr-defined]
            super().__init__(found, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(feed_module, "OpenArchive", Noted)
    return names


def test_each_file_in_zip_tar_and_gzip_is_imported_with_a_row_of_its_own(importing: ImportBench) -> None:
    importing.put("a.zip", zipped([*images("1", "2"), ("readme.txt", b"A text. " * 9)]))
    importing.put("b.tar", tarred(images("3", "4")))
    importing.put("c.tar.gz", gzipped(tarred(images("5"))))
    importing.put("IM6.dcm.gz", gzipped(as_file(image("6"))))
    job = importing.imported()
    assert ends(importing, job) == {
        "a.zip!/CD/1": ("imported", None),
        "a.zip!/CD/2": ("imported", None),
        "a.zip!/readme.txt": ("skipped", "text"),
        "a.zip": ("skipped", "archive_opened"),
        "b.tar!/CD/3": ("imported", None),
        "b.tar!/CD/4": ("imported", None),
        "b.tar": ("skipped", "archive_opened"),
        "c.tar.gz!/CD/5": ("imported", None),
        "c.tar.gz": ("skipped", "archive_opened"),
        "IM6.dcm.gz!/IM6.dcm": ("imported", None),
        "IM6.dcm.gz": ("skipped", "archive_opened"),
    }
    assert (job.total_files, job.files_processed, job.progress_percentage) == (11, 11, 100)
    assert (job.instances_expected, job.instances_missing, job.instances_differing) == (6, 0, 0)
    assert importing.instances() == 6
    row = importing.rows(job.id)[f"{importing.folder}/a.zip!/CD/1"]
    assert (row.file_name, row.file_size_bytes) == ("1", len(as_file(image("1"))))
    assert list((importing.settings.state_dir / "unpacked").iterdir()) == []


def test_the_same_instance_on_the_disk_and_in_archives_is_imported_once_and_from_the_disk(
    importing: ImportBench,
) -> None:
    (name, content), changed = images("1")[0], image("1")
    changed.InstanceNumber = 99
    importing.put("0.zip", zipped([(name, content), ("CD/again", content), ("CD/changed", as_file(changed))]))
    importing.put("1.tar", tarred([(name, content)]))
    importing.put("z/IM1", content)
    assert ends(importing, importing.imported()) == {
        "z/IM1": ("imported", None),
        "0.zip!/CD/1": ("duplicate", "same_content"),
        "0.zip!/CD/again": ("duplicate", "same_content"),
        "0.zip!/CD/changed": ("conflict", "other_content"),
        "0.zip": ("skipped", "archive_opened"),
        "1.tar!/CD/1": ("duplicate", "same_content"),
        "1.tar": ("skipped", "archive_opened"),
    }
    assert importing.instances() == 1


def test_an_archive_that_is_unchanged_is_not_opened_again(importing: ImportBench, opened: list[str]) -> None:
    importing.put("a.zip", zipped(images("1", "2")))
    importing.put("report.docx", zipped([("[Content_Types].xml", b"<x/>")]))
    importing.imported()
    assert sorted(opened) == ["a.zip", "report.docx"]
    opened.clear()
    for _ in range(2):
        job = importing.imported("incremental")
        assert (job.files_unchanged, job.files_processed) == (2, 0)
    assert opened == []
    importing.put("a.zip", zipped(images("1", "2", "3")))
    job = importing.imported("incremental")
    assert ends(importing, job) == {
        "a.zip!/CD/1": ("already_there", None),
        "a.zip!/CD/2": ("already_there", None),
        "a.zip!/CD/3": ("imported", None),
        "a.zip": ("skipped", "archive_opened"),
    }


def test_an_archive_that_an_earlier_version_passed_over_is_opened(importing: ImportBench) -> None:
    path = importing.put("a.zip", zipped(images("1")))
    facts = path.stat()
    first = importing.imported()
    importing.execute("DELETE FROM fm_pipeline.import_history WHERE file_path LIKE '%%!/%%'")
    importing.execute("UPDATE fm_pipeline.import_history SET reason = 'archive' WHERE job_id = %s", first.id)
    assert path.stat().st_ctime_ns == facts.st_ctime_ns
    job = importing.imported("incremental")
    assert ends(importing, job) == {"a.zip!/CD/1": ("already_there", None), "a.zip": ("skipped", "archive_opened")}


def test_a_file_in_an_archive_that_failed_is_tried_again_and_the_others_are_not(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing.put("a.zip", zipped(images("1", "2", "3")))
    real = OpenArchive.read

    def fails(self: OpenArchive, member: object) -> Iterator[bytes]:
        if member.name == "CD/2":  # type: ignore[attr-defined]
            raise OSError(5, "Input/output error")
        yield from real(self, member)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenArchive, "read", fails)
    first = importing.imported()
    assert ends(importing, first)["a.zip!/CD/2"] == ("failed", "input_output")
    assert ends(importing, first)["a.zip"] == ("failed", "member_failed")
    monkeypatch.undo()
    job = importing.imported("incremental")
    assert ends(importing, job) == {"a.zip!/CD/2": ("imported", None), "a.zip": ("skipped", "archive_opened")}
    assert job.files_unchanged == 2
    assert importing.imported("incremental").files_processed == 0
    assert importing.instances() == 3


@pytest.mark.parametrize("by", ["the same job", "the next incremental job"])
def test_what_orthanc_has_lost_of_an_archive_is_sent_again(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch, opened: list[str], by: str
) -> None:
    importing.put("sub/a.zip", zipped(images("1", "2")))
    importing.put("sub/b.zip", zipped(images("3")))
    job_id = importing.new_job()
    member = f"{importing.folder}/sub/a.zip!/CD/1"

    def loses(*given: Any, **more: Any) -> Comparison:
        with importing.orthanc() as orthanc:
            orthanc._ask("DELETE", f"/instances/{importing.rows(job_id)[member].orthanc_instance_id}")
        return compare(*given, **more)

    monkeypatch.setattr("fm_pipeline.dicom.importer.run_job.compare", loses)
    with pytest.raises(ImportFailed):
        importing.run(job_id)
    monkeypatch.setattr("fm_pipeline.dicom.importer.run_job.compare", compare)
    opened.clear()
    job = importing.run(job_id) if by == "the same job" else importing.imported("incremental")
    assert opened == ["a.zip"]
    assert job.files_imported == (3 if by == "the same job" else 1)
    assert importing.rows(job.id)[member].flags == ["sent_again"]
    assert importing.instances() == 3
    assert importing.imported("incremental").files_processed == 0
    lost = importing.execute("SELECT count(*) FROM fm_pipeline.import_history WHERE missing_since IS NOT NULL")
    assert lost == [(0,)]


def test_an_archive_that_changes_while_it_is_read_is_tried_again(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = importing.put("a.zip", zipped(images("1", "2", "3")))
    real = OpenArchive.read

    def touched(self: OpenArchive, member: object) -> Iterator[bytes]:
        if member.name == "CD/2":  # type: ignore[attr-defined]
            os.utime(path, (1, 1))
        yield from real(self, member)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenArchive, "read", touched)
    first = importing.imported(threads=1)
    assert ends(importing, first)["a.zip!/CD/2"] == ("failed", "changed")
    assert ends(importing, first)["a.zip"] == ("failed", "member_failed")
    monkeypatch.undo()
    job = importing.imported("incremental")
    assert importing.outcomes(job.id)["skipped"] == 1
    assert importing.instances() == 3


def test_a_job_that_is_cancelled_in_an_archive_goes_on_there_and_has_one_row_a_file(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(number) for number in range(80)]
    importing.put("a.tar.gz", gzipped(tarred(images(*names))))
    job_id = importing.new_job()
    real = OpenArchive.read

    def cancels(self: OpenArchive, member: object) -> Iterator[bytes]:
        if member.name == "CD/10":  # type: ignore[attr-defined]
            request_cancel(importing.url, job_id)
        yield from real(self, member)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenArchive, "read", cancels)
    monkeypatch.setattr("fm_pipeline.dicom.importer.coordinator._BATCH_SECONDS", 0)
    assert importing.run(job_id, threads=1).status == "cancelled"
    monkeypatch.undo()
    assert f"{importing.folder}/a.tar.gz" not in importing.rows(job_id)
    before = importing.job(job_id).files_processed
    assert before < 80
    job = importing.run(job_id)
    assert importing.outcomes(job_id) == {"imported": 80, "skipped": 1}
    assert (job.status, job.total_files) == ("completed", 81)
    assert importing.instances() == 80


def test_archives_above_the_limits_that_are_set_are_bad_and_the_rest_arrives(importing: ImportBench) -> None:
    importing.put("a.zip", zipped(images("1", "2", "3")))
    importing.put("b.zip", zipped(images("4")))
    settings = importing.settings.model_copy(update={"dicom_archive_members": 2})
    limited = ImportBench(settings, importing.folder)
    job = limited.imported()
    assert ends(limited, job) == {
        "a.zip": ("bad", "archive_too_many_members"),
        "b.zip!/CD/4": ("imported", None),
        "b.zip": ("skipped", "archive_opened"),
    }


def test_large_files_in_archives_are_sent_from_a_file_of_our_own(importing: ImportBench) -> None:
    large = image("large")
    large.PixelData = os.urandom(9 << 20)
    importing.put("a.zip", zipped([("IM1", as_file(large)), *images("1")], zipfile.ZIP_STORED))
    importing.put("b.dcm.gz", gzipped(as_file(large)))
    job = importing.imported()
    assert importing.outcomes(job.id) == {"imported": 2, "duplicate": 1, "skipped": 2}
    assert (job.instances_missing, job.instances_differing) == (0, 0)


def test_a_sensor_s_job_opens_the_archives_that_it_names(importing: ImportBench) -> None:
    path = importing.put("a.zip", zipped(images("1")))
    importing.put("other.zip", zipped(images("2")))
    job = importing.run(importing.new_job("incremental", files=[str(path)]))
    assert ends(importing, job) == {"a.zip!/CD/1": ("imported", None), "a.zip": ("skipped", "archive_opened")}


def test_a_folder_that_is_called_like_a_file_in_an_archive_is_another_file(importing: ImportBench) -> None:
    importing.put("a.zip", zipped([("IM1", as_file(image("1")))]))
    importing.put("a.zip!/IM1", as_file(image("2")))
    job = importing.imported()
    assert importing.execute("SELECT count(*), count(DISTINCT path_hash) FROM fm_pipeline.import_history") == [(3, 3)]
    assert job.files_imported == 2
    assert importing.instances() == 2


def test_a_file_at_which_our_code_breaks_stops_no_other(
    importing: ImportBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = as_file(image("broken"))
    importing.put("a.zip", zipped([*images("1"), ("CD/broken", broken), *images("2")]))
    importing.put("broken", broken)
    importing.put("3", as_file(image("3")))

    def breaks(content: Any, size: int) -> object:
        if content.read(size) == broken:
            raise IndexError("Surname^Given")
        return inspect(content, size)

    monkeypatch.setattr("fm_pipeline.dicom.files.read.inspect", breaks)
    job = importing.imported()
    assert importing.outcomes(job.id) == {"imported": 3, "failed": 3}
    assert ends(importing, job)["a.zip!/CD/broken"] == ("failed", "not_understood")
    assert ends(importing, job)["broken"] == ("failed", "not_understood")
    assert "Surname" not in str(importing.execute("SELECT * FROM fm_pipeline.import_history"))


def test_random_archives_come_into_orthanc_as_other_libraries_read_them(importing: ImportBench) -> None:
    search_imports(importing, 6, seed=1)
