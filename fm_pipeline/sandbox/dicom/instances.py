"""Valid instances, made with pydicom: images with pixel data of a given size, and kinds without pixel data.

UIDs are derived from the arguments, so that the same call returns the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    HangingProtocolStorage,
    ImplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    RTPlanStorage,
    generate_uid,
)
from pydicom.uid import (
    EnhancedSRStorage as StructuredReportStorage,
)

PREFIX = "1.2.826.0.1.3680043.8.498."  # pydicom's own root for generated UIDs
_IMAGES = {"CT": CTImageStorage, "MR": MRImageStorage}
# Instances that hospitals store in addition to images: modality, SOP class, and required attributes.
_OTHER_KINDS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "structured_report": ("SR", StructuredReportStorage, {"CompletionFlag": "COMPLETE", "ValueType": "CONTAINER"}),
    "rt_plan": ("RTPLAN", RTPlanStorage, {"RTPlanLabel": "sandbox", "RTPlanGeometry": "PATIENT"}),
    "presentation_state": ("PR", GrayscaleSoftcopyPresentationStateStorage, {"ContentLabel": "SANDBOX"}),
    "key_objects": ("KO", KeyObjectSelectionDocumentStorage, {"ValueType": "CONTAINER"}),
    "encapsulated_pdf": (
        "DOC",
        EncapsulatedPDFStorage,
        {"MIMETypeOfEncapsulatedDocument": "application/pdf", "EncapsulatedDocument": b"%PDF-1.4\n%%EOF\n"},
    ),
}
OTHER_KINDS = tuple(_OTHER_KINDS)


def uid(*names: object) -> str:
    """Return the UID for these names."""
    return generate_uid(PREFIX, [str(name) for name in names])


def image(
    name: str,
    *,
    patient_id: str = "SANDBOX-1",
    patient_name: str = "Sandbox^Sample",
    birth_date: str = "19700101",
    study: str = "study",
    series: str = "series",
    modality: str = "CT",
    study_date: str = "20251122",
    size: int = 2_048,
) -> Dataset:
    """Create an image with 16-bit pixels.

    Args:
        name: determines the SOP Instance UID, together with study and series.
        study, series: determine their UIDs, together with the Patient ID.
        modality: `CT` or `MR`.
        size: approximate bytes of pixel data; the file has about 800 more.
    """
    dataset = _patient(patient_id, patient_name, birth_date, study, series, study_date)
    dataset.SOPClassUID = _IMAGES[modality]
    dataset.SOPInstanceUID = uid(patient_id, study, series, name)
    dataset.Modality = modality
    side = max(2, int((size / 2) ** 0.5) // 2 * 2)
    dataset.Rows, dataset.Columns = max(2, size // 2 // side), side
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.RescaleIntercept, dataset.RescaleSlope = "0", "1"
    pixels = np.random.default_rng(int(dataset.SOPInstanceUID[-9:])).integers(
        0, 4096, size=dataset.Rows * dataset.Columns, dtype=np.uint16
    )
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def without_pixels(kind: str, name: str = "1", *, patient_id: str = "SANDBOX-1") -> Dataset:
    """Create an instance without pixel data, of a kind in `OTHER_KINDS`."""
    modality, sop_class, attributes = _OTHER_KINDS[kind]
    dataset = _patient(patient_id, "Sandbox^Sample", "19700101", "study", kind, "20251122")
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid(patient_id, kind, name)
    dataset.Modality = modality
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def nested(depth: int) -> Dataset:
    """Create a valid image with sequences of that nesting depth."""
    dataset = image(f"nested-{depth}")
    inner = Dataset()
    inner.ConceptNameCodeSequence = Sequence([])
    for _ in range(depth - 1):
        outer = Dataset()
        outer.ContentSequence = Sequence([inner])
        inner = outer
    dataset.ContentSequence = inner.ContentSequence if depth > 1 else Sequence([])
    return dataset


def hanging_protocol() -> bytes:
    """Return valid DICOM without a patient and a study: how a reader likes images to be laid out."""
    dataset = Dataset()
    dataset.SOPClassUID = HangingProtocolStorage
    dataset.SOPInstanceUID = uid("a hanging protocol")
    dataset.HangingProtocolName = "SANDBOX"
    return as_file(dataset)


def directory_object() -> bytes:
    """Return a DICOMDIR: a directory of the files on a medium."""
    dataset = Dataset()
    dataset.FileSetID = "SANDBOX"
    dataset.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.FileSetConsistencyFlag = 0
    dataset.DirectoryRecordSequence = Sequence([])
    return as_file(dataset, sop_class=MediaStorageDirectoryStorage)


def as_file(
    dataset: Dataset,
    transfer_syntax: str = ExplicitVRLittleEndian,
    *,
    sop_class: str | None = None,
    preamble: bytes = b"\0" * 128,
) -> bytes:
    """Return the bytes of a DICOM file (PS3.10, 7.1). A transfer syntax unknown to pydicom is written explicitly."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class or dataset.get("SOPClassUID", ""))
    meta.MediaStorageSOPInstanceUID = UID(dataset.get("SOPInstanceUID", "") or uid("none"))
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID(PREFIX + "1")
    known = transfer_syntax in {ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
    written = Dataset(dataset)
    written.file_meta = meta
    written.preamble = preamble
    if known:
        return _saved(written, enforce_file_format=True)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = _saved(written, enforce_file_format=True)
    if transfer_syntax == ExplicitVRLittleEndian:
        return content
    meta.TransferSyntaxUID = UID(transfer_syntax)
    empty = Dataset()
    empty.file_meta, empty.preamble = meta, preamble
    header = _saved(empty, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return header + headerless(dataset)


def headerless(dataset: Dataset, *, implicit_vr: bool = False, little_endian: bool = True) -> bytes:
    """Return the data set alone, as old consoles and planning systems write it."""
    return _saved(Dataset(dataset), implicit_vr=implicit_vr, little_endian=little_endian)


def _saved(dataset: Dataset, **how: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, **how)
    return buffer.getvalue()


def _patient(patient_id: str, patient_name: str, birth_date: str, study: str, series: str, study_date: str) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = patient_id, patient_name, birth_date
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = uid(patient_id, study)
    dataset.SeriesInstanceUID = uid(patient_id, study, series)
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = study_date, "101500", "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "", ""
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    return dataset
