"""Other rows of Nexus that refer to patients and appointments: letters, reminders, invoices, bookmarks, audit log."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Sequence
from decimal import Decimal

from fm_pipeline.sandbox.clinic.model import EARLIER_IMPORT, TODAY, Patient, new_uuid
from fm_pipeline.sandbox.clinic.nexus.state import State
from fm_pipeline.sandbox.clinic.nexus.system import COMPANY_TYPE, PATIENT_TYPE
from fm_pipeline.sandbox.clinic.sizes import Sizes

TIMES = {"created_at": EARLIER_IMPORT, "updated_at": EARLIER_IMPORT}


def add_links(
    state: State,
    rng: random.Random,
    patients: Sequence[Patient],
    vanished: Sequence[Patient],
    staying: Sequence[uuid.UUID],
    sizes: Sizes,
) -> None:
    """Add the rows.

    Args:
        patients: those that stay; only rows that may lose their patient point at the vanished ones.
        staying: the appointments that the reimport keeps.
    """
    everybody = list(state["patients"].rows)
    here = [patient.nexus_id for patient in patients if patient.nexus_id is not None]
    gone = [patient.nexus_id for patient in vanished if patient.nexus_id is not None]
    clinics = list(state["clinics"].rows)
    for number in range(sizes.letters):
        state["letters_patientletter"].add(
            id=new_uuid(rng), patient_id=rng.choice(everybody), letter_type="gp_report", recipient_name="Dr Who It May",
            subject=f"Report {number}", pages=[{"html": "<p>Thank you for the referral.</p>"}], **TIMES,
        )  # fmt: skip
    for number in range(sizes.reminders):
        state["reminders"].add(
            id=new_uuid(rng), patient_id=rng.choice(everybody), clinic_id=rng.choice(clinics), note="Recall",
            reminder_date=TODAY + dt.timedelta(days=number), status="pending", appointment_id=rng.choice(staying),
            created_by="reception", **TIMES,
        )  # fmt: skip
    _add_accounting(state, rng, here, gone, staying, sizes)
    companies = list(state["companies"].rows)
    for number in range(sizes.bookmarks):
        company = number % 5 == 0
        state["core_bookmark"].add(
            id=new_uuid(rng), user_id=1 + number % 4, content_type_id=COMPANY_TYPE if company else PATIENT_TYPE,
            object_id=rng.choice(companies) if company else rng.choice(here), created_at=EARLIER_IMPORT,
        )  # fmt: skip
    for number in range(1, sizes.audit_entries + 1):
        state["audit_log"].add(
            id=number, user_id=1 + number % 4, patient_id=rng.choice(here) if number % 10 else None, action="view",
            details={"path": "/patients/"}, created_at=EARLIER_IMPORT,
        )  # fmt: skip


def _add_accounting(
    state: State,
    rng: random.Random,
    here: Sequence[uuid.UUID],
    gone: Sequence[uuid.UUID],
    staying: Sequence[uuid.UUID],
    sizes: Sizes,
) -> None:
    """Add invoices, which never refer to a vanished patient (that would be a STOP), and links, which may."""
    going = list(state["appointments"].rows.keys() - set(staying))
    going.sort(key=str)
    companies = list(state["companies"].rows)
    links: list[dict[str, object]] = [{"patient_id": patient} for patient in [*here[::3], *gone[:2]]]
    links += [{"company_id": company} for company in companies[:4]]
    for link in links:
        state["xero_contact_links"].add(
            id=new_uuid(rng), xero_contact_id=str(new_uuid(rng)), last_synced_at=EARLIER_IMPORT, **link
        )
    for number in range(sizes.invoices):
        invoice_id = new_uuid(rng)
        appointment = (rng.choice(staying), None, rng.choice(staying), rng.choice(going))[min(number % 40, 3)]
        state["xero_invoices"].add(
            id=invoice_id, patient_id=rng.choice(here), number=f"INV-{number:05d}", status="paid",
            appointment_id=appointment, total=Decimal("180.00"), issued_on=TODAY, created_at=EARLIER_IMPORT,
        )  # fmt: skip
        state["xero_invoice_items"].add(
            id=new_uuid(rng), invoice_id=invoice_id, appointment_id=rng.choice(staying), description="AFO review",
            amount=Decimal("180.00"),
        )  # fmt: skip
