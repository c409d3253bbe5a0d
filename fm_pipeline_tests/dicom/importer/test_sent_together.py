"""Small files that are sent together in one request, and what follows when that does not work."""

from __future__ import annotations

import io
import shutil
import threading
import zipfile
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ImplicitVRLittleEndian

from fm_pipeline.dicom.importer.run_job import ImportFailed
from fm_pipeline.dicom.orthanc.delivery import Delivery
from fm_pipeline.sandbox.dicom.instances import as_file, image
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.dicom.importer.test_decide import UNCERTAIN
from fm_pipeline_tests.dicom.importer.test_faults import FILES, resumed, stopped
from fm_pipeline_tests.support.orthanc import own_orthanc
from fm_pipeline_tests.support.proxies.orthanc_proxy import FORGET, Fault, OrthancProxy, answer, orthanc_proxy

CLOSE, FULL = Fault("close"), answer(500, 14)


def is_zip(content: bytes) -> bool:
    return content.startswith(b"PK\3\4")


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class Uploads:
    """The uploads that passed a proxy, to which it gives a fault or none."""

    def __init__(self, proxy: OrthancProxy, fault: Fault | None = None) -> None:
        self.fault = fault
        self.contents: list[bytes] = []
        proxy.fault_of_content = self._of

    def _of(self, content: bytes) -> Fault | None:
        self.contents.append(content)
        return self.fault if is_zip(content) else None

    @property
    def together(self) -> list[bytes]:
        return [content for content in self.contents if is_zip(content)]


def ends(importing: ImportBench, job_id: int) -> Counter[tuple[str, str | None, int]]:
    """Outcome, reason and sends of all files, counted."""
    return Counter((row.status, row.reason, row.sends) for row in importing.rows(job_id).values())


def configured(ledger: str, tmp_path: Path, orthanc: Any) -> ImportBench:
    folder = tmp_path / "hospital"
    write_series(folder, FILES, 2_000)
    return ImportBench(import_settings(ledger, orthanc.settings(), tmp_path / "state"), folder)


def test_small_files_travel_in_few_requests_under_names_of_our_own_and_one_of_uncertain_id_travels_alone(
    proxied: tuple[ImportBench, OrthancProxy],
) -> None:
    importing, proxy = proxied
    uploads = Uploads(proxy)
    (importing.folder / "uncertain.dcm").write_bytes(UNCERTAIN.file)
    importing = replace(importing, settings=importing.settings.model_copy(update={"orthanc_never_overwrites": True}))
    job = importing.imported(threads=1)
    assert ends(importing, job.id) == {("imported", None, 1): FILES + 1}
    assert importing.instances() == FILES + 1
    assert len(uploads.contents) < FILES / 2
    sent = [members(content) for content in uploads.together]
    assert all(list(each) == [str(number) for number in range(len(each))] for each in sent)
    written = {path.read_bytes() for path in importing.folder.iterdir()}
    alone = [content for content in uploads.contents if not is_zip(content)]
    assert sorted([*alone, *(content for each in sent for content in each.values())]) == sorted(written)
    assert UNCERTAIN.file in alone


def test_what_orthanc_leaves_out_or_filters_has_its_own_end_and_the_others_are_imported(
    ledger: str, tmp_path: Path
) -> None:
    lua = tmp_path / "filter.lua"
    lua.write_text('function ReceivedInstanceFilter(dicom) return dicom.PatientID ~= "LEFT OUT" end')
    with own_orthanc(LuaScripts=[str(lua)]) as orthanc:
        importing = configured(ledger, tmp_path, orthanc)
        (importing.folder / "IM000020-filtered").write_bytes(
            as_file(image("filtered", patient_id="LEFT OUT", size=500))
        )
        shutil.copyfile(str(get_testdata_file("SC_rgb_jpeg.dcm")), importing.folder / "IM000022-refused")
        job = importing.imported(threads=1)
        assert ends(importing, job.id) == {
            ("imported", None, 1): FILES,
            ("skipped", "filtered_by_orthanc", 1): 1,
            ("bad", "orthanc_bad_file_format", 1): 1,
        }


@pytest.mark.parametrize("alone", [True, False])
def test_a_file_whose_preamble_begins_like_a_zip_archive_is_imported_alone_and_among_others(
    importing: ImportBench, alone: bool
) -> None:
    importing.folder.mkdir(exist_ok=True)
    for number, begin in enumerate((b"PK\3\4", b"PK\5\6")):
        content = bytearray(as_file(image(f"archive {number}")))
        content[:4] = begin
        (importing.folder / f"IM{number}").write_bytes(content)
    if not alone:
        write_series(importing.folder, FILES, 2_000)
    expected = 2 if alone else FILES + 2
    job = importing.imported(threads=1)
    assert ends(importing, job.id) == {("imported", None, 1): expected}
    assert importing.instances() == expected


@pytest.mark.parametrize("options", [{}, {"IngestTranscoding": str(ImplicitVRLittleEndian)}], ids=["", "converts"])
def test_a_file_on_which_orthanc_fails_keeps_no_other_file_of_its_request_out(
    ledger: str, tmp_path: Path, options: dict[str, str]
) -> None:
    lua = tmp_path / "filter.lua"
    lua.write_text(
        'function ReceivedInstanceFilter(dicom) if dicom.PatientID == "FAILS" then error("no") end return true end'
    )
    with own_orthanc(LuaScripts=[str(lua)], **options) as orthanc:
        importing = configured(ledger, tmp_path, orthanc)
        (importing.folder / "IM000020-fails").write_bytes(as_file(image("fails", patient_id="FAILS", size=500)))
        job = stopped(importing, threads=1)
        assert job.error_reason == "orthanc_filter_error"
        # Those before it in the request are stored although Orthanc answers 500: they are imported too.
        assert ends(importing, job.id) == {("imported", None, 1): FILES, ("failed", "orthanc_filter_error", 1): 1}
        assert importing.instances() == FILES


@pytest.mark.parametrize("threads", [1, 4])
def test_what_orthanc_has_stored_of_a_request_before_its_disk_was_full_is_imported(
    proxied: tuple[ImportBench, OrthancProxy], threads: int
) -> None:
    importing, proxy = proxied
    full, refused = threading.Event(), threading.Event()
    stored: list[bytes] = []

    def stores_the_first_half(content: bytes) -> Fault | None:
        if content in stored:
            return None
        if not is_zip(content):
            if full.is_set():
                refused.set()
            return FULL if full.is_set() else None
        held = list(members(content).values())
        stored.extend(held[: len(held) // 2])
        with importing.orthanc() as orthanc:
            for file in held[: len(held) // 2]:
                orthanc.upload(file, len(file))
        if full.is_set():
            refused.wait(10)  # the job is being stopped when the answer to this request arrives
        full.set()
        return FULL

    proxy.fault_of_content = stores_the_first_half
    job = stopped(importing, threads=threads)
    assert job.error_reason == "orthanc_storage_full"
    assert importing.outcomes(job.id) == {"imported": importing.instances()}
    proxy.fault_of_content = lambda _: None
    resumed(importing, job)
    assert importing.outcomes(job.id) == {"imported": FILES}


def test_what_another_client_stores_at_that_moment_is_compared(proxied: tuple[ImportBench, OrthancProxy]) -> None:
    importing, proxy = proxied
    same, other, changed = image("same"), image("other"), image("other")
    changed.InstanceNumber = 99
    (importing.folder / "IM000020-same").write_bytes(as_file(same))
    (importing.folder / "IM000020-other").write_bytes(as_file(other))

    def ends_orthanc(content: bytes) -> bool:
        if is_zip(content) and as_file(same) in content:
            with importing.orthanc() as orthanc:
                for file in (as_file(same), as_file(changed)):
                    orthanc.upload(file, len(file))
        return False

    proxy.ends_orthanc = ends_orthanc
    job = importing.imported(threads=1)
    assert ends(importing, job.id) == {
        ("imported", None, 1): FILES,
        ("already_there", None, 1): 1,
        ("conflict", "other_content", 1): 1,
    }


@pytest.mark.parametrize(
    "fault", [answer(403), answer(415), answer(400, 15), answer(200)], ids=lambda fault: str(fault.status)
)
def test_where_no_archive_is_accepted_each_file_is_sent_alone_and_the_log_says_so(
    proxied: tuple[ImportBench, OrthancProxy], fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    importing, proxy = proxied
    uploads = Uploads(proxy, fault)
    with caplog.at_level("INFO"):
        job = importing.imported(threads=1)
    assert ends(importing, job.id) == {("imported", None, 1): FILES}
    assert len(uploads.together) == 1
    assert "accepts no ZIP archives" in caplog.text


def test_requests_that_are_too_large_for_a_proxy_are_halved_until_it_lets_them_through(
    proxied: tuple[ImportBench, OrthancProxy],
) -> None:
    importing, proxy = proxied
    uploads = Uploads(proxy)
    proxy.most_bytes = 8_000  # three files
    job = importing.imported(threads=1)
    assert ends(importing, job.id) == {("imported", None, 1): FILES}
    sizes = [len(content) for content in uploads.together]
    assert max(sizes) > 8_000
    assert max(sizes[-3:]) < 8_000


@pytest.mark.parametrize("fault", [CLOSE, FORGET], ids=["not stored", "stored"])
def test_connections_that_are_lost_over_requests_with_several_files_end_with_files_that_are_sent_alone(
    proxied: tuple[ImportBench, OrthancProxy], fault: Fault
) -> None:
    importing, proxy = proxied
    uploads = Uploads(proxy, fault)
    job = importing.imported(threads=1)
    ended = ends(importing, job.id)
    assert set(ended) == {("imported", None, 1), *([("imported", None, 2)] if fault is CLOSE else [])}
    assert importing.instances() == FILES == sum(ended.values())
    sizes = [len(members(content)) for content in uploads.together]
    assert all(later <= max(1, earlier // 2) for earlier, later in pairwise(sizes)), sizes


def test_all_files_of_a_request_are_recorded_as_sent_at_once_when_orthanc_does_not_come_back(
    ledger: str, tmp_path: Path
) -> None:
    with own_orthanc() as orthanc, orthanc_proxy(orthanc.settings()["ORTHANC_URL"]) as proxy:
        importing = configured(ledger, tmp_path, orthanc)
        importing = replace(importing, settings=importing.settings.model_copy(update={"orthanc_url": proxy.url}))

        def ends_orthanc(content: bytes) -> bool:
            if is_zip(content):
                orthanc.kill()
            return is_zip(content)

        proxy.ends_orthanc = ends_orthanc
        job_id = importing.new_job()
        with pytest.raises(ImportFailed) as failure:
            importing.run(job_id, threads=1, patience_seconds=0.3)
        assert failure.value.job.error_reason == "orthanc_unreachable"
        ended = ends(importing, job_id)
        assert ended[("failed", "no_answer", 1)] > 1
        assert set(ended) == {("failed", "no_answer", 1), ("imported", None, 1)}
        proxy.ends_orthanc = lambda _: False
        orthanc.start()
        resumed(importing, failure.value.job)


def test_an_orthanc_that_is_gone_is_waited_for_once_and_not_for_each_file_of_a_request(
    ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[str] = []
    wait = Delivery.wait_until_available

    def counted(delivery: Delivery, pause: float = 0) -> None:
        waits.append("begun")
        wait(delivery, pause)

    monkeypatch.setattr(Delivery, "wait_until_available", counted)
    with own_orthanc() as orthanc, orthanc_proxy(orthanc.settings()["ORTHANC_URL"]) as proxy:
        importing = configured(ledger, tmp_path, orthanc)
        importing = replace(importing, settings=importing.settings.model_copy(update={"orthanc_url": proxy.url}))
        lost: list[int] = []

        def lose_a_large_one(content: bytes) -> Fault | None:
            if not is_zip(content) or len(members(content)) < 8:
                return None
            lost.append(len(members(content)))
            return CLOSE

        def ends_orthanc(content: bytes) -> bool:
            if lost and not is_zip(content) and orthanc.process:
                orthanc.kill()
                return True
            return False

        proxy.fault_of_content, proxy.ends_orthanc = lose_a_large_one, ends_orthanc
        job_id = importing.new_job()
        with pytest.raises(ImportFailed):
            importing.run(job_id, threads=1, patience_seconds=0.3)
        (size,) = lost
        ended = ends(importing, job_id)
        assert ended[("suspect", "kills_orthanc", 2)] == 1
        assert ended[("failed", "no_answer", 1)] == size - 1
        assert len(waits) < size


def test_a_lossless_conversion_by_orthanc_changes_nothing_of_it(ledger: str, tmp_path: Path) -> None:
    with own_orthanc(IngestTranscoding=str(ImplicitVRLittleEndian)) as orthanc:
        importing = configured(ledger, tmp_path, orthanc)
        assert ends(importing, importing.imported().id) == {("imported", None, 1): FILES}
        assert ends(importing, importing.imported().id) == {("already_there", None, 0): FILES}
