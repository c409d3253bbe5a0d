"""Numbers of records: those of the clinic that the pipeline was built for, times a scale."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """Numbers of records. FileMaker's first, then those that only Nexus has."""

    patients: int
    contact_details: int
    appointments: int
    notes: int
    messages: int
    document_records: int
    image_records: int
    documents: int
    batches: int
    batch_patients: int
    images: int
    bulk_images: int  # in the bulk dump, before they are linked
    orphaned_documents: int
    orphaned_batches: int
    vanished_patients: int  # in Nexus, gone from FileMaker
    vanished_appointments: int
    vanished_notes: int
    vanished_messages: int
    letters: int
    reminders: int
    invoices: int
    bookmarks: int
    audit_entries: int


@dataclass(frozen=True)
class Defects:
    """Numbers of records with defects, in the clinic "as found"."""

    nameless_patients: int
    patients_without_clinic: int
    appointments_without_clinic: int
    appointments_without_clinician_and_type: int
    events_not_imported: int  # no patient, or no start
    notes_not_imported: int  # empty, or no such patient
    lost_documents: int  # without any evidence of their patient


def defects_at(scale: float) -> Defects:
    """Return the numbers of defects of the real clinic, times a scale; at least a few of each kind."""

    def of(count: int, least: int) -> int:
        return max(round(count * scale), least)

    return Defects(
        nameless_patients=of(3, 1),
        patients_without_clinic=of(86, 3),
        appointments_without_clinic=of(32, 3),
        appointments_without_clinician_and_type=of(1_496, 5),
        events_not_imported=of(5_312, 40),
        notes_not_imported=of(198, 12),
        lost_documents=of(42, 6),
    )


def sizes_at(scale: float, *, as_found: bool = False) -> Sizes:
    """Return the sizes at a scale; 1 is the real clinic's. Every kind keeps a few records, however small the scale.

    Raises:
        ValueError: the scale is not positive.
    """
    if scale <= 0:
        raise ValueError(f"The scale must be positive, not {scale}.")

    def of(count: int, least: int = 5) -> int:
        return max(round(count * scale), least)

    patients = of(2_842, 80)
    documents = of(10_190, 40)
    batch_patients = min(of(1_303, 12), patients // 2)
    batches = of(1_661, batch_patients)
    images = of(6_574, batches)
    return Sizes(
        patients=patients,
        contact_details=of(10_688, 120),
        appointments=of(9_837 if as_found else 9_830, 60),
        notes=of(11_210, 60),
        messages=of(5_352, 40),
        document_records=documents + of(11_274 - 10_190),
        image_records=images + of(6_664 - 6_574),
        documents=documents,
        batches=batches,
        batch_patients=batch_patients,
        images=images,
        bulk_images=of(6_490, batches + 12),
        orphaned_documents=of(412, 8),
        orphaned_batches=of(268, 4),
        vanished_patients=of(12, 3),
        vanished_appointments=of(140),
        vanished_notes=of(160),
        vanished_messages=of(75),
        letters=of(310),
        reminders=of(190),
        invoices=of(1_200, 12),
        bookmarks=of(60),
        audit_entries=of(400),
    )
