"""The entities and their canonical fields, as docs/mapping.md lists them, and what an entity cannot do without."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entity:
    """A kind of FileMaker record.

    Args:
        fields: every canonical field that a profile may feed.
        required: of each group, the layout must feed at least one field.
        optional: a profile may leave the entity out.
    """

    fields: frozenset[str]
    required: tuple[frozenset[str], ...]
    optional: bool = False


def _entity(fields: str, required: str, *, optional: bool = False) -> Entity:
    """`required` separates groups by blanks, and the alternatives of a group by `|`."""
    groups = tuple(frozenset(group.split("|")) for group in required.split())
    return Entity(frozenset(fields.split()), groups, optional)


ENTITIES: dict[str, Entity] = {
    "patient": _entity(
        "filemaker_id title first_name middle_names last_name dob sex health_number clinic clinic_filemaker_id "
        "funding coordinator_name coordinator_date plan_start_date plan_end_date ndis_plan_start_date "
        "ndis_plan_end_date xero_contact_id created_at",
        "filemaker_id first_name last_name dob",
    ),
    "contact_detail": _entity(
        "filemaker_id patient kind label phone mobile email is_default street street2 suburb state postcode",
        "filemaker_id patient kind phone|mobile|email|street",
        optional=True,
    ),
    "appointment": _entity(
        "filemaker_id patient clinic clinic_filemaker_id clinician appointment_type start start_date start_time "
        "end end_date end_time all_day status reason notes created_at",
        "filemaker_id patient start|start_date",
    ),
    "note": _entity(
        "filemaker_id patient note_type content created_at created_by",
        "filemaker_id patient content",
    ),
    "sms_message": _entity(
        "filemaker_id patient phone_number message status sent_at created_at",
        "filemaker_id patient message",
        optional=True,
    ),
    "document": _entity("filemaker_id patient export_date", "filemaker_id patient", optional=True),
    "image": _entity("filemaker_id patient export_date", "filemaker_id patient", optional=True),
}
