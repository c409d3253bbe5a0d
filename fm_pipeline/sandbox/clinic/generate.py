"""The clinic as a whole: generate it, and ask it for both sides and for what must come out."""

from __future__ import annotations

from dataclasses import dataclass

from fm_pipeline.sandbox.clinic import earlier_files, earlier_links, earlier_rows, filemaker_side
from fm_pipeline.sandbox.clinic.appointments import make_appointment, make_appointments
from fm_pipeline.sandbox.clinic.contacts import make_contact_details
from fm_pipeline.sandbox.clinic.filemaker_side import FileMakerTable, make_table
from fm_pipeline.sandbox.clinic.files import make_documents, make_images
from fm_pipeline.sandbox.clinic.model import EARLIER_IMPORT, stream
from fm_pipeline.sandbox.clinic.names import Pools, make_pools
from fm_pipeline.sandbox.clinic.notes import make_message, make_messages, make_note, make_notes
from fm_pipeline.sandbox.clinic.oracle import Expected, NexusOnlyColumns, Truth, expect
from fm_pipeline.sandbox.clinic.people import make_patients
from fm_pipeline.sandbox.clinic.sizes import sizes_at
from fm_pipeline.sandbox.clinic.state import ANY, State, Table, empty_state
from fm_pipeline.sandbox.clinic.system import Lookups, add_system, make_lookups


@dataclass(frozen=True)
class Clinic:
    """A synthetic clinic: what FileMaker and Nexus hold, and what a reimport must make of it."""

    truth: Truth
    pools: Pools
    lookups: Lookups

    def filemaker_tables(self) -> list[FileMakerTable]:
        """FileMaker's layouts of profile `nexus`, rows with raw values in the order of their record ids."""
        side, truth = filemaker_side, self.truth
        return [
            make_table("API_Patients", side.PATIENT_FIELDS, truth.patients, side.patient_raw),
            make_table("API_Contact_Details", side.CONTACT_DETAIL_FIELDS, truth.details, side.contact_detail_raw),
            make_table("API_Appointments", side.APPOINTMENT_FIELDS, truth.appointments, side.appointment_raw),
            make_table("API_Notes", side.NOTE_FIELDS, truth.notes, side.note_raw),
            make_table("API_Messages", side.MESSAGE_FIELDS, truth.messages, side.message_raw),
            make_table("API_Docs", side.DOCUMENT_FIELDS, truth.documents, side.file_raw),
            make_table("API_Images", side.IMAGE_FIELDS, truth.images, side.file_raw),
        ]

    def nexus_tables(self) -> list[Table]:
        """The rows that Nexus holds before the reimport, tables in an order that they can be loaded in."""
        return [
            Table(table.name, table.columns, {key: _settled(row) for key, row in table.rows.items()})
            for table in self.truth.before.values()
        ]

    def expected(self, nexus_only_columns: NexusOnlyColumns = "keep") -> Expected:
        """What Nexus must hold after a reimport of everything, and the counts of its report."""
        return expect(self.truth, nexus_only_columns)


def generate_clinic(seed: int = 20251114, scale: float = 1.0) -> Clinic:
    """Generate a clinic: the same seed and scale give the same one in every process.

    Args:
        seed: of everything that is random.
        scale: 1 is the size of the real clinic (2,842 patients); 0.05 is enough for most tests.

    Raises:
        ValueError: the scale is not positive.
    """
    sizes = sizes_at(scale)
    pools = make_pools(seed)
    lookups = make_lookups(stream(seed, "lookups"))
    everybody = make_patients(stream(seed, "patients"), pools, lookups, sizes.patients + sizes.vanished_patients)
    patients, gone = everybody[: sizes.patients], everybody[sizes.patients :]
    details = make_contact_details(stream(seed, "contacts"), pools, patients, sizes.contact_details)
    appointments = make_appointments(stream(seed, "appointments"), lookups, patients, sizes.appointments)
    notes = make_notes(stream(seed, "notes"), patients, sizes.notes)
    messages = make_messages(stream(seed, "messages"), patients, sizes.messages)
    documents = make_documents(stream(seed, "documents"), patients, sizes)
    images, batches = make_images(stream(seed, "images"), patients, sizes)

    # What FileMaker had once: of its vanished patients, and some of the others.
    owners = gone + patients[: len(gone)]
    rng = stream(seed, "vanished")
    gone_appointments = [make_appointment(rng, lookups, rng.choice(owners)) for _ in range(sizes.vanished_appointments)]
    gone_notes = [make_note(rng, rng.choice(owners)) for _ in range(sizes.vanished_notes)]
    gone_messages = [make_message(rng, rng.choice(owners)) for _ in range(sizes.vanished_messages)]

    state: State = empty_state()
    rng = stream(seed, "nexus")
    add_system(state, rng, pools, lookups)
    earlier_rows.add_patients(state, rng, patients, gone, details)
    staying = earlier_rows.add_appointments(state, rng, appointments, gone_appointments)
    earlier_rows.add_notes(state, rng, notes, gone_notes)
    earlier_rows.add_messages(state, rng, messages, gone_messages, staying)
    retired = earlier_files.RetiredIds(rng)
    earlier_files.add_documents(state, rng, documents, retired, sizes)
    earlier_files.add_batches(state, rng, batches, retired, sizes)
    earlier_links.add_links(state, rng, patients, gone, staying, sizes)
    truth = Truth(patients, details, appointments, notes, messages, documents, images, state)
    return Clinic(truth, pools, lookups)


def _settled(row: tuple[object, ...]) -> tuple[object, ...]:
    """A row to be stored: a time that was not foretold gets one."""
    settled = tuple([_settle(value) for value in row])
    return row if settled == row else settled  # most are the same, and a large clinic has many


def _settle(value: object) -> object:
    if value is ANY:
        return EARLIER_IMPORT
    if isinstance(value, dict) and ANY in value.values():
        return {key: EARLIER_IMPORT.isoformat() if each is ANY else each for key, each in value.items()}
    return value
