"""The clinic is the same each time, has the sizes of the real one, and is of nobody."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys

import pytest

from fm_pipeline.sandbox.clinic.generate import Clinic, generate_clinic
from fm_pipeline.sandbox.clinic.names import MEDICARE_WEIGHTS, MOBILES
from fm_pipeline.sandbox.clinic.nexus.system import django_password
from fm_pipeline.sandbox.clinic.sizes import sizes_at

PRINT_DIGEST = """
import hashlib
from fm_pipeline.sandbox.clinic.generate import generate_clinic
clinic = generate_clinic(seed=7, scale=0.02)
print(hashlib.sha256(repr((clinic.filemaker_tables(), clinic.nexus_tables(), clinic.expected())).encode()).hexdigest())
"""


def rows_of(clinic: Clinic) -> dict[str, int]:
    return {table.layout: len(table.rows) for table in clinic.filemaker_tables()}


def digest(clinic: Clinic) -> str:
    text = repr((clinic.filemaker_tables(), clinic.nexus_tables(), clinic.expected()))
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_same_seed_gives_the_same_clinic_in_another_process() -> None:
    ours = digest(generate_clinic(seed=7, scale=0.02))
    theirs = subprocess.run(  # noqa: S603  # our own interpreter and our own words
        [sys.executable, "-c", PRINT_DIGEST],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77"},
    )
    assert theirs.stdout.strip() == ours


def test_another_seed_gives_another_clinic() -> None:
    assert digest(generate_clinic(seed=7, scale=0.02)) != digest(generate_clinic(seed=8, scale=0.02))


def test_at_scale_one_the_sizes_are_those_of_the_real_clinic() -> None:
    clinic = generate_clinic()
    assert rows_of(clinic) == {
        "API_Patients": 2_842,
        "API_Contact_Details": 10_688,
        "API_Appointments": 9_830,
        "API_Notes": 11_210,
        "API_Messages": 5_352,
        "API_Docs": 11_274,
        "API_Images": 6_664,
    }
    nexus = {table.name: table for table in clinic.nexus_tables()}
    assert len(nexus["documents_document"].rows) == 10_190
    assert len(nexus["images_image"].rows) == 6_574
    assert len(nexus["images_batch"].rows) == 1_661
    expected = clinic.expected()
    assert len(expected.tables["images_batch"].ids("object_id")) == 1_303
    assert expected.sources["document"].by_rule == {"file_not_in_nexus": 1_084}
    assert expected.sources["image"].by_rule == {"file_not_in_nexus": 90}
    assert (expected.documents_relinked, expected.batches_repaired) == (412, 268)


@pytest.mark.parametrize("scale", [0.001, 0.05, 0.3])
def test_a_small_clinic_keeps_the_proportions_and_some_of_every_kind(scale: float) -> None:
    clinic = generate_clinic(scale=scale)
    counts = rows_of(clinic)
    if scale >= 0.05:
        assert counts["API_Notes"] == round(11_210 * scale)
        assert counts["API_Appointments"] == pytest.approx(9_830 * scale, abs=1)
    for name, change in clinic.expected().changes.items():
        assert change.before > 0, name
        if name in ("patients", "appointments", "notes", "sms_messages"):
            assert min(change.inserted, change.deleted, change.unchanged) > 0, name
    assert clinic.expected().documents_relinked > 0
    assert clinic.expected().batches_repaired > 0
    # Nexus has no links between patients and referrers until a reimport loads them.
    assert [table.name for table in clinic.nexus_tables() if not table.rows] == ["patient_referrers"]


def test_a_scale_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        sizes_at(0)


def test_no_telephone_number_can_ring(clinic: Clinic) -> None:
    numbers = [d.value for d in clinic.truth.details if d.kind in ("phone", "mobile")]
    numbers += [message.phone_number for message in clinic.truth.messages]
    assert numbers
    for number in numbers:
        digits = re.sub(r"\D", "", number.replace("+61 ", "0"))
        assert digits in MOBILES or re.fullmatch(r"0[2378](5550|7010)\d{4}", digits), "a number outside the film ranges"


def test_no_mail_address_can_exist(clinic: Clinic) -> None:
    addresses = [d.value for d in clinic.truth.details if d.kind == "email"]
    assert addresses
    assert all(re.fullmatch(r"[a-z0-9.]+@example\.(com|org|net)", address) for address in addresses)


def test_no_medicare_number_is_valid(clinic: Clinic) -> None:
    checked = 0
    for patient in clinic.truth.patients:
        digits = [int(c) for c in patient.health_number or "" if c.isdigit()]
        if len(digits) == 10:
            right = sum(d * w for d, w in zip(digits, MEDICARE_WEIGHTS, strict=False)) % 10
            assert digits[8] != right
            checked += 1
    assert checked > 50


def test_ids_are_spelled_in_upper_and_lower_case(clinic: Clinic) -> None:
    ids = [patient.filemaker_id for patient in clinic.truth.patients]
    assert any(i == i.upper() for i in ids)
    assert any(i == i.lower() for i in ids)


def test_no_time_falls_into_the_hour_that_the_clock_change_makes_doubtful(clinic: Clinic) -> None:
    truth = clinic.truth
    times = [t for a in truth.appointments for t in (a.start, a.end, a.created_at) if t]
    times += [t for m in truth.messages for t in (m.sent_at, m.created_at) if t]
    times += [patient.created_at for patient in truth.patients] + [note.created_at for note in truth.notes]
    assert all(time.hour != 2 for time in times)


def test_a_password_is_stored_as_django_stores_it() -> None:
    algorithm, iterations, salt, hashed = django_password("sandbox", "salt").split("$")
    known = hashlib.pbkdf2_hmac("sha256", b"sandbox", b"salt", int(iterations))
    assert (algorithm, salt) == ("pbkdf2_sha256", "salt")
    assert base64.b64decode(hashed) == known
