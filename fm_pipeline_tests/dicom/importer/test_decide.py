"""Files of which Orthanc's id is not certain, and damaged files: nothing is overwritten, and each has its own end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from fm_pipeline.dicom.files.elements import EXPLICIT, IMPLICIT
from fm_pipeline.dicom.importer.run_job import ImportFailed
from fm_pipeline.dicom.model import orthanc_id
from fm_pipeline.sandbox.dicom.instances import as_file, headerless, image, without_pixels
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.dicom.files.handwritten import PATIENT_ID, SERIES, SOP, STUDY, Handwritten, element, grey_image
from fm_pipeline_tests.dicom.files.verdicts import instance
from fm_pipeline_tests.support.orthanc import own_orthanc

UNCERTAIN = Handwritten(patient_id="caf\u00e9".encode())
GARBAGE = bytes(range(56, 256))
NAME = 0x00100010


@contextmanager
def into(ledger: str, tmp_path: Path, *, never_overwrites: bool = False, **options: Any) -> Iterator[ImportBench]:
    """An import into an Orthanc with these options."""
    with own_orthanc(**options) as orthanc:
        folder = tmp_path / "hospital"
        folder.mkdir()
        settings = import_settings(
            ledger, orthanc.settings(), tmp_path / "state", orthanc_never_overwrites=never_overwrites
        )
        yield ImportBench(settings, folder)


def stored_md5(importing: ImportBench, content: bytes) -> str | None:
    with importing.orthanc() as orthanc:
        return orthanc.md5(instance(content).orthanc_id)


def put(importing: ImportBench, **files: Handwritten | bytes) -> None:
    for name, content in files.items():
        (importing.folder / name).write_bytes(content if isinstance(content, bytes) else content.file)


def ended(importing: ImportBench, job_id: int) -> dict[str, tuple[str, str | None]]:
    return {Path(path).name: (row.status, row.reason) for path, row in importing.rows(job_id).items()}


def test_where_orthanc_overwrites_a_file_whose_id_is_not_certain_is_not_sent_and_the_others_are(
    ledger: str, tmp_path: Path
) -> None:
    with into(ledger, tmp_path, OverwriteInstances=True, DefaultEncoding="Utf8") as importing:
        put(importing, certain=Handwritten(), uncertain=UNCERTAIN)
        job = importing.imported()
        assert ended(importing, job.id) == {"certain": ("imported", None), "uncertain": ("failed", "id_uncertain")}
        assert (job.status, job.instances_missing, importing.instances()) == ("completed", 0, 1)
        (row,) = [row for row in importing.rows(job.id).values() if row.status == "failed"]
        assert (row.orthanc_instance_id, row.sends) == (None, 0)


def test_where_orthanc_keeps_the_first_a_file_whose_id_is_not_certain_is_recorded_with_the_id_of_the_answer(
    ledger: str, tmp_path: Path
) -> None:
    with into(ledger, tmp_path, never_overwrites=True, DefaultEncoding="Utf8") as importing:
        put(importing, first=UNCERTAIN, other=UNCERTAIN.but(pixels=b"\1" * 64))
        first = importing.imported()
        assert ended(importing, first.id) == {"first": ("imported", None), "other": ("conflict", "other_content")}
        (row,) = [row for row in importing.rows(first.id).values() if row.status == "imported"]
        assert row.orthanc_instance_id != instance(UNCERTAIN.file).orthanc_id
        assert (first.instances_expected, first.instances_missing) == (1, 0)
        again = importing.imported()
        assert ended(importing, again.id)["first"] == ("already_there", None)
        assert importing.instances() == 1


@pytest.mark.parametrize("default", ["Utf8", "Ascii", "Greek", "Windows1251"])
def test_the_history_has_each_patient_id_as_orthanc_has_read_it(ledger: str, tmp_path: Path, default: str) -> None:
    values = (
        (b"caf\xe9", None),
        ("caf\u00e9".encode(), None),
        ("\u03b1\u03b2".encode("iso8859-7"), None),
        ("\u0416\u0434".encode("cp1251"), b""),
        (b"\xe9\xe8", b""),
        (b"M\xfcller", b"ISO_IR_100"),
        ("\u0160\u010d".encode("iso8859-15", "ignore"), b"ISO_IR 203"),
        (b"ABC\x1b$B;3ED\x1b(B", b"\\ISO 2022 IR 87"),
    )
    with into(ledger, tmp_path, never_overwrites=True, DefaultEncoding=default) as importing:
        for number, (value, character_set) in enumerate(values):
            of = Handwritten(patient_id=value, character_set=character_set, sop=b"1.2.9.%d" % number)
            put(importing, **{f"{number}": of, f"{number} copy": of})
        job = importing.imported()
        assert job.outcomes | {"imported": len(values), "duplicate": len(values)} == job.outcomes
        for number in (job.id, importing.imported().id):
            for row in importing.rows(number).values():
                assert orthanc_id(row.patient_id or "") == row.orthanc_patient_id, row.patient_id
                assert row.flags == ([] if row.patient_id else ["missing_patient_id"])


def test_a_patient_id_that_orthanc_reads_as_another_ones_is_flagged(ledger: str, tmp_path: Path) -> None:
    with into(ledger, tmp_path, never_overwrites=True, DefaultEncoding="Utf8") as importing:
        put(importing, first=UNCERTAIN.but(character_set=b"ISO_IR 192", early=element(NAME, "PN", b"One")))
        importing.imported()
        put(importing, second=UNCERTAIN.but(sop=b"1.2.826.0.1.4", early=element(NAME, "PN", b"Two")))
        (row,) = importing.rows(importing.imported("incremental").id).values()
        assert (row.patient_id, row.flags) == ("caf\u00e9", ["patient_id_with_another_name"])


def test_what_an_older_orthanc_does_not_tell_counts_as_overwriting_until_the_setting_says_otherwise(
    importing: ImportBench,
) -> None:
    put(importing, uncertain=UNCERTAIN)
    with importing.orthanc() as orthanc:
        tells = orthanc.overwrites() is not None
    job = importing.imported()
    assert ended(importing, job.id) == {"uncertain": ("imported", None) if tells else ("failed", "id_uncertain")}


@pytest.mark.parametrize("uid", [b" 1.2.9", b"1.2 .9", b"1.2.9 \0", b"1.2.9\t", b"SERIES 1 A"])
def test_an_instance_with_white_space_in_its_uid_is_not_overwritten_where_orthanc_would(
    importing: ImportBench, uid: bytes
) -> None:
    first, other = Handwritten(series=uid), Handwritten(series=uid, pixels=b"\1" * 64)
    put(importing, first=first)
    importing.imported()
    before = stored_md5(importing, first.file)
    put(importing, other=other)
    job = importing.imported()
    assert ended(importing, job.id) == {"first": ("already_there", None), "other": ("conflict", "other_content")}
    assert {row.sends for row in importing.rows(job.id).values()} == {0}
    assert stored_md5(importing, first.file) == before


@pytest.mark.parametrize("tag", [SOP, SERIES, STUDY, PATIENT_ID])
def test_an_identifier_with_a_nul_in_it_does_not_stop_the_job(importing: ImportBench, tag: int) -> None:
    names = {SOP: "sop", SERIES: "series", STUDY: "study", PATIENT_ID: "patient_id"}
    put(importing, odd=Handwritten(vrs=((tag, "UN"),)).but(**{names[tag]: b"1.2\x009.7"}), plain=Handwritten())
    job = importing.imported()
    assert (job.status, ended(importing, job.id)["plain"]) == ("completed", ("imported", None))


def test_what_another_sender_has_replaced_in_orthanc_is_a_conflict_and_not_already_there(
    ledger: str, tmp_path: Path
) -> None:
    with into(ledger, tmp_path, OverwriteInstances=True) as importing:
        put(importing, first=Handwritten(), stays=Handwritten(sop=b"1.2.826.0.1.4"))
        put(importing, third=Handwritten(sop=b"1.2.826.0.1.5", encoding=IMPLICIT))
        importing.imported()
        other, third = Handwritten(pixels=b"\1" * 80).file, Handwritten(sop=b"1.2.826.0.1.5", encoding=EXPLICIT).file
        with importing.orthanc() as orthanc:
            orthanc.upload(other, len(other))
            orthanc.upload(third, len(third))
            may_convert = orthanc.converts_to() is None
        job = importing.imported()
        assert ended(importing, job.id) == {
            "first": ("conflict", "other_content"),
            "stays": ("already_there", None),
            "third": ("already_there", None) if may_convert else ("conflict", "other_transfer_syntax"),
        }
        assert stored_md5(importing, other) == hashlib.md5(other, usedforsecurity=False).hexdigest()


def test_an_answer_with_another_id_than_was_computed_stops_the_job_and_the_instance_is_on_record(
    ledger: str, tmp_path: Path
) -> None:
    """A lossy IngestTranscoding gives each instance a new SOP Instance UID."""
    with into(ledger, tmp_path, IngestTranscoding=str(JPEGBaseline8Bit)) as importing:
        put(importing, image=grey_image())
        with pytest.raises(ImportFailed, match="an id that does not follow from its identifiers") as failure:
            importing.imported()
        job = failure.value.job
        assert (job.status, job.error_reason) == ("failed", "orthanc_other_id")
        (row,) = importing.rows(job.id).values()
        with importing.orthanc() as orthanc:
            assert row.status == "imported"
            assert orthanc.sizes([row.orthanc_instance_id or ""])
        assert importing.run(job.id).status == "completed"


@pytest.mark.parametrize("never_overwrites", [False, True])
def test_a_damaged_file_of_an_instance_that_orthanc_has_is_bad_and_no_conflict(
    importing: ImportBench, never_overwrites: bool
) -> None:
    settings = importing.settings.model_copy(update={"orthanc_never_overwrites": never_overwrites})
    importing = replace(importing, settings=settings)
    put(importing, a_whole=Handwritten(), b_damaged=Handwritten().file + GARBAGE)
    with importing.orthanc() as orthanc:
        keeps = never_overwrites or orthanc.overwrites() is False
    job = importing.imported()
    assert ended(importing, job.id) == {
        "a_whole": ("imported", None),
        "b_damaged": ("bad", "orthanc_bad_file_format" if keeps else "damaged_copy"),
    }
    row = importing.rows(job.id)[str(importing.folder / "b_damaged")]
    assert row.file_hash is not None
    assert stored_md5(importing, Handwritten().file) != row.file_hash


def test_a_file_that_holds_a_second_instance_is_flagged_because_orthanc_reads_only_the_first(
    importing: ImportBench,
) -> None:
    """Whether Orthanc stores such a file depends on its version."""
    second = image("second", patient_id="OTHER")
    put(importing, known=as_file(image("known")))
    importing.imported()
    put(
        importing,
        known_first=as_file(image("known")) + as_file(second),
        whole=as_file(image("0")) + as_file(second),
        without_preamble=as_file(image("1")) + as_file(second)[132:],
        headerless=as_file(image("2")) + headerless(second),
        deflated=as_file(image("3"), DeflatedExplicitVRLittleEndian) + as_file(second),
        implicit_first=as_file(image("6"), ImplicitVRLittleEndian) + as_file(second),
        implicit_second=as_file(image("7")) + as_file(second, ImplicitVRLittleEndian),
        both_implicit=as_file(image("8"), ImplicitVRLittleEndian) + as_file(second, ImplicitVRLittleEndian),
        other_order=as_file(image("9"), ExplicitVRBigEndian) + as_file(second),
        implicit_report=as_file(without_pixels("structured_report"), ImplicitVRLittleEndian) + as_file(second),
        padded=as_file(image("10"), ImplicitVRLittleEndian) + bytes(500) + as_file(second),
        own_preamble=as_file(image("11"), ImplicitVRLittleEndian) + b"II*\0" + as_file(second)[4:],
        implicit_and_meta=as_file(image("12"), ImplicitVRLittleEndian) + as_file(second)[132:],
        headerless_first=headerless(image("13")) + as_file(second, ImplicitVRLittleEndian),
        twice=as_file(image("4")) * 2,
        implicit_twice=as_file(image("14"), ImplicitVRLittleEndian) * 2,
        alone=as_file(image("5")),
    )
    rows = {Path(path).name: row for path, row in importing.rows(importing.imported("incremental").id).items()}
    not_flagged = {name for name, row in rows.items() if row.flags != ["holds_another_instance"]}
    assert not_flagged == {"alone", "twice", "implicit_twice"}
    assert rows["known_first"].status in {"conflict", "bad"}
    assert stored_md5(importing, as_file(second)) is None
