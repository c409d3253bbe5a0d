"""The staged entities: which table each goes into, which Nexus columns it feeds, and by which transformation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fm_pipeline.staging.record import Record
from fm_pipeline.staging.transforms.appointments import transform_appointment
from fm_pipeline.staging.transforms.file_links import transform_file_link
from fm_pipeline.staging.transforms.messages import transform_message
from fm_pipeline.staging.transforms.notes import transform_note
from fm_pipeline.staging.transforms.patients import transform_patient

# A value as COPY takes it, by the column of the staged table.
Row = dict[str, object]

ID_COLUMNS = ("nexus_id", "record_id", "filemaker_key")
CONTACT_DETAIL = "contact_detail"  # staged with the patients, into their columns


@dataclass(frozen=True)
class StagedEntity:
    """How one entity is staged.

    Attributes:
        feeds: Nexus column -> canonical fields; one of them is enough for the column to be fed. Columns that have
            no source field in a record of the entity itself name the entity that they come from.
        transform: gives the values of `columns` that are not ids; what is wrong is noticed in the record.
        by_content: Nexus keeps no FileMaker id for its rows, so that only their content tells them apart.
        files: the Nexus table whose `filemaker_id` must know the record, for documents and images.
    """

    name: str
    staged_table: str
    transform: Callable[[Record], Row]
    nexus_table: str = ""
    feeds: Mapping[str, tuple[str, ...]] | None = None
    has_patient: bool = True
    needs_uuid: bool = False
    by_content: bool = False
    files: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the staged table."""
        if self.files:
            return ("entity", "filemaker_id", "record_id", "patient_key")
        return (*ID_COLUMNS, *("source_created_at" if c == "created_at" else c for c in self.feeds or ()))

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Of the columns, those that other tables are joined by."""
        keys = {*ID_COLUMNS, "entity", "filemaker_id", "patient_key", "patient_id"}
        return tuple(column for column in self.columns if column in keys)

    def fed_columns(self, fed: frozenset[str]) -> list[str]:
        """The Nexus columns that an extraction with these canonical fields feeds."""
        return [column for column, sources in (self.feeds or {}).items() if fed.intersection(sources)]


def _same(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: (name,) for name in names}


ENTITIES = {
    entity.name: entity
    for entity in (
        StagedEntity(
            "patient",
            "staged_patients",
            transform_patient,
            nexus_table="patients",
            feeds=_same("first_name", "last_name", "middle_names", "dob", "sex", "title", "health_number")
            | {"funding_type_id": ("funding",), "clinic_id": ("clinic", "clinic_filemaker_id")}
            | _same("coordinator_name", "coordinator_date", "plan_start_date", "plan_end_date")
            | _same("ndis_plan_start_date", "ndis_plan_end_date")
            | {
                "filemaker_metadata": ("filemaker_id",),
                "contact_json": (CONTACT_DETAIL,),
                "address_json": (CONTACT_DETAIL,),
            }
            | _same("created_at"),
            has_patient=False,
        ),
        StagedEntity(
            "appointment",
            "staged_appointments",
            transform_appointment,
            nexus_table="appointments",
            feeds={
                "filemaker_event_id": ("filemaker_id",),
                "patient_id": ("patient",),
                "clinic_id": ("clinic", "clinic_filemaker_id"),
                "clinician_id": ("clinician",),
                "appointment_type_id": ("appointment_type",),
                "start_time": ("start", "start_date"),
                "end_time": ("end", "end_date", "end_time", "all_day"),
            }
            | _same("status", "reason", "notes", "created_at"),
            needs_uuid=True,
        ),
        StagedEntity(
            "note",
            "staged_notes",
            transform_note,
            nexus_table="notes",
            feeds={"patient_id": ("patient",)} | _same("note_type", "content", "created_by", "created_at"),
            by_content=True,
        ),
        StagedEntity(
            "sms_message",
            "staged_sms_messages",
            transform_message,
            nexus_table="sms_messages",
            feeds={"patient_id": ("patient",)} | _same("phone_number", "message", "status", "sent_at", "created_at"),
            by_content=True,
        ),
        StagedEntity(
            "document",
            "staged_file_links",
            transform_file_link,
            needs_uuid=True,
            files="documents_document",
        ),
        StagedEntity("image", "staged_file_links", transform_file_link, needs_uuid=True, files="images_image"),
    )
}
