"""The whole clinic: generates it, and returns the content of both systems and the expected result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fm_pipeline.sandbox.clinic.appointments import make_appointment, make_appointments
from fm_pipeline.sandbox.clinic.as_found import lose_documents, make_bad_notes, spoil_appointments, spoil_patients
from fm_pipeline.sandbox.clinic.bulk_dump import BulkDump, make_bulk_dump
from fm_pipeline.sandbox.clinic.contacts import make_contact_details
from fm_pipeline.sandbox.clinic.filemaker.layouts import LAYOUTS, FileMakerTable, make_table
from fm_pipeline.sandbox.clinic.filemaker.layouts_wep import wep_layouts
from fm_pipeline.sandbox.clinic.files import Batch, make_documents, make_images
from fm_pipeline.sandbox.clinic.model import EARLIER_IMPORT, KeptOut, stream
from fm_pipeline.sandbox.clinic.names import Pools, make_pools
from fm_pipeline.sandbox.clinic.nexus import earlier_files, earlier_links, earlier_rows
from fm_pipeline.sandbox.clinic.nexus.oracle import Expected, NexusOnlyColumns, Truth, expect
from fm_pipeline.sandbox.clinic.nexus.state import ANY, State, TableContent, empty_state
from fm_pipeline.sandbox.clinic.nexus.system import Lookups, add_system, make_lookups
from fm_pipeline.sandbox.clinic.nexus.values import Profile
from fm_pipeline.sandbox.clinic.notes import make_message, make_messages, make_note, make_notes
from fm_pipeline.sandbox.clinic.people import make_patients
from fm_pipeline.sandbox.clinic.referrers import make_companies, make_patient_referrers, make_referrers
from fm_pipeline.sandbox.clinic.sizes import defects_at, sizes_at

Images = Literal["linked", "bulk"]


@dataclass(frozen=True)
class Clinic:
    """A synthetic clinic: the content of FileMaker and Nexus, and the expected result of a reimport."""

    truth: Truth
    pools: Pools
    lookups: Lookups
    bulk_dump: BulkDump | None = None  # of a clinic whose images are not linked yet

    def filemaker_tables(self, profile: Profile = "nexus") -> list[FileMakerTable]:
        """Return FileMaker's layouts of a profile, with raw values in the order of their record ids."""
        truth = self.truth
        records: dict[str, Sequence[Any]] = {
            "patient": truth.patients,
            "contact_detail": truth.details,
            "appointment": truth.appointments,
            "note": truth.notes,
            "sms_message": truth.messages,
            "document": truth.documents,
            "image": truth.images,
            "company": truth.companies,
            "referrer": truth.referrers,
            "patient_referrer": truth.patient_referrers,
        }
        layouts = LAYOUTS if profile == "nexus" else wep_layouts(truth.before["clinics"])
        return [
            make_table(layout, list(_scattered(records[entity], truth.kept_out.get(entity, ()))))
            for entity, layout in layouts.items()
        ]

    def nexus_tables(self) -> list[TableContent]:
        """Return the rows of Nexus before the reimport, tables in an order for loading."""
        return [
            TableContent(table.name, table.columns, {key: _settled(row) for key, row in table.rows.items()})
            for table in self.truth.before.values()
        ]

    def expected(self, nexus_only_columns: NexusOnlyColumns = "keep", profile: Profile = "nexus") -> Expected:
        """Return the expected content of Nexus after a reimport of everything, and the counts of its report."""
        return expect(self.truth, nexus_only_columns, profile)


def generate_clinic(
    seed: int = 20251114, scale: float = 1.0, *, as_found: bool = False, images: Images = "linked"
) -> Clinic:
    """Generate a clinic. The same seed and scale give the same clinic in every process.

    Args:
        seed: of everything that is random.
        scale: 1 is the size of the real clinic (2,842 patients); 0.05 is enough for most tests.
        as_found: with everything that was wrong with the real one (`fm_pipeline.sandbox.clinic.as_found`).
        images: `linked`, Nexus has them; `bulk`, they lie in the bulk dump and Nexus has none.

    Raises:
        ValueError: the scale is not positive.
    """
    sizes = sizes_at(scale, as_found=as_found)
    pools = make_pools(seed)
    lookups = make_lookups(stream(seed, "lookups"))
    everybody = make_patients(stream(seed, "patients"), pools, lookups, sizes.patients + sizes.vanished_patients)
    patients, gone = everybody[: sizes.patients], everybody[sizes.patients :]
    details = make_contact_details(stream(seed, "contacts"), pools, patients, sizes.contact_details)
    appointments = make_appointments(stream(seed, "appointments"), lookups, patients, sizes.appointments)
    notes = make_notes(stream(seed, "notes"), patients, sizes.notes)
    messages = make_messages(stream(seed, "messages"), patients, sizes.messages)
    documents = make_documents(stream(seed, "documents"), patients, sizes)
    bulk_dump = None
    if images == "bulk":
        batches: list[Batch] = []
        image_records, bulk_dump = make_bulk_dump(stream(seed, "bulk dump"), patients, sizes)
    else:
        image_records, batches = make_images(stream(seed, "images"), patients, sizes)
    kept_out: dict[str, list[KeptOut]] = {}
    if as_found:
        rng, defects = stream(seed, "as found"), defects_at(scale)
        nameless = spoil_patients(rng, pools, lookups, patients, defects)
        kept_out["patient"] = nameless
        kept_out["appointment"] = spoil_appointments(rng, lookups, appointments, patients, nameless, defects)
        kept_out["note"] = make_bad_notes(rng, patients, nameless, defects)
        lose_documents(rng, documents, patients, defects)

    # Records that FileMaker no longer has: of vanished patients, and some others.
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
    if batches:
        earlier_files.add_batches(state, rng, batches, retired, sizes)
    earlier_links.add_links(state, rng, patients, gone, staying, sizes)
    rng = stream(seed, "referrers")
    companies = make_companies(rng, pools, state)
    referrers = make_referrers(rng, pools, companies, state)
    links = make_patient_referrers(rng, patients, referrers)
    files = documents, image_records
    truth = Truth(
        patients, details, appointments, notes, messages, *files, companies, referrers, links, state, kept_out
    )
    return Clinic(truth, pools, lookups, bulk_dump)


def _scattered(loaded: Sequence[Any], kept_out: Sequence[KeptOut]) -> Iterator[Any]:
    """Yield all records, with those that are not loaded evenly distributed."""
    placed = 0
    for number, record in enumerate(loaded, start=1):
        yield record
        due = len(kept_out) * number // len(loaded)
        yield from (kept.record for kept in kept_out[placed:due])
        placed = due


def _settled(row: tuple[object, ...]) -> tuple[object, ...]:
    """Return a row to be stored: a value that is not determined gets a time."""
    settled = tuple([_settle(value) for value in row])
    return row if settled == row else settled  # most are the same, and a large clinic has many


def _settle(value: object) -> object:
    if value is ANY:
        return EARLIER_IMPORT
    if isinstance(value, dict) and ANY in value.values():
        return {key: EARLIER_IMPORT.isoformat() if each is ANY else each for key, each in value.items()}
    return value
