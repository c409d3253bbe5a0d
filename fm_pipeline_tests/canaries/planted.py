"""Values that cannot come from anywhere else, in FileMaker's records and in rows that only Nexus has."""

from __future__ import annotations

from fm_pipeline_tests.support.clinics import DATABASE, MigrationBench

CANARIES = {
    "first name": "Quillonbárth",
    "last name": "O'Zyxquärrel",
    "health number": "HN69518372041",
    "phone": "0491837264",
    "email": "quillon@canary-roost.example",
    "street": "77 Budgerigar Gebüsch Lane",
    "coordinator": "Coordinella Finchworth",
    "note": 'The canary "coughs" at seven bells',
    "reason": "Feather loss & beak pain",
    "message": "Dear Quagmira, your perch is ready",
    "clinic as typed": "Cockatoo Cottage Unheardof",
    "record number": "MRN-CANARY-5519",
    "letter": "To the aviary of Madam Plumelia",
    "document": "scan-of-the-beak-of-quillon.pdf",
}
# Record ids of patients who are loaded and keep their Nexus row.
PATIENTS = (5, 6)
CONTACTS = range(1, 13)
ROWS = range(1, 9)
# What a backup after a reimport holds: letters are gone, and the clinic's name is planted only by a failure.
EXPECTED_IN_A_BACKUP = frozenset(CANARIES) - {"clinic as typed", "letter"}


def plant(bench: MigrationBench) -> None:
    """Put the canaries into both systems; the source stays one that can be loaded."""
    edit = bench.store.edit
    for record in PATIENTS:
        edit(
            DATABASE,
            "Patients",
            record,
            {
                "first_name": CANARIES["first name"],
                "last_name": CANARIES["last name"],
                "health_number": CANARIES["health number"],
                "coordinator_name": CANARIES["coordinator"],
            },
        )
    for record in CONTACTS:
        values = {"phone": CANARIES["phone"], "mobile": CANARIES["phone"], "email": CANARIES["email"]}
        edit(DATABASE, "Contact_Details", record, values | {"address_1": CANARIES["street"]})
    for record in ROWS:
        edit(DATABASE, "Notes", record, {"note": CANARIES["note"]})
        edit(DATABASE, "Appointments", record, {"notes": CANARIES["reason"]})
        edit(DATABASE, "Messages", record, {"message": CANARIES["message"], "phone_number": CANARIES["phone"]})
    for statement, name in (
        ("UPDATE patients SET mrn = %s WHERE id = (SELECT id FROM patients ORDER BY id LIMIT 1)", "record number"),
        ("UPDATE letters_patientletter SET recipient_name = %s, subject = recipient_name", "letter"),
        ("UPDATE documents_document SET original_name = %s, description = original_name", "document"),
    ):
        bench.execute(statement, CANARIES[name])
