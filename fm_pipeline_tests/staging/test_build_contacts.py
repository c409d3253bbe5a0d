"""Contact details become their patient's JSON columns."""

from __future__ import annotations

from fm_pipeline_tests.staging.bench import PATIENT, Staging, a_patient


def a_detail(number: int, **fields: object) -> dict[str, object]:
    return {"filemaker_id": f"c{number}", "patient": PATIENT, "is_default": ""} | fields


def an_address(number: int, street: str, **fields: object) -> dict[str, object]:
    return a_detail(number, kind="Address", street=street, **fields)


def stage(staging: Staging, *details: dict[str, object]) -> None:
    staging.extract("patient", [a_patient()])
    staging.extract("contact_detail", details)
    staging.build("patient")


def test_phones_mobiles_and_emails_are_kept_by_kind_and_label(staging: Staging) -> None:
    stage(
        staging,
        a_detail(1, kind="Phone", label=" Home", phone="0400 000 001", is_default=1),
        a_detail(2, kind="MOBILE", label="", mobile="0400000002", is_default="Yes"),
        a_detail(3, kind="email", label="Mum's\rwork", email="x@example.org", is_default=0),
        a_detail(4, kind="Phone", label="HOME", phone="03"),
        a_detail(5, kind="Phone", label="home 2", phone="04"),
        a_detail(6, kind="Phone", label="home", phone="05", email="ignored@example.org"),
    )
    assert staging.rows("staged_patients", "contact_json") == [
        {
            "phone": {
                "home": {"value": "0400 000 001", "default": True},
                "home 2": {"value": "03", "default": False},
                "home 2 2": {"value": "04", "default": False},
                "home 3": {"value": "05", "default": False},
            },
            "mobile": {"mobile": {"value": "0400000002", "default": True}},
            "email": {"mum's work": {"value": "x@example.org", "default": False}},
        }
    ]
    assert staging.rows("staged_patients", "address_json") == [None]
    assert staging.findings("contact_detail") == [(3, "line_break_in_one_line_field", "label")]


def test_the_default_address_is_the_patients_and_the_others_are_kept_in_the_metadata(staging: Staging) -> None:
    stage(
        staging,
        an_address(1, "1 First St"),
        an_address(2, "2 Second St", label="Work", suburb="Hill", state="NSW", postcode="0800", is_default=1),
        an_address(3, "3 Third St", label="Work", is_default=1),
    )
    assert staging.rows("staged_patients", "address_json") == [
        {
            "street": "2 Second St", "street2": "", "suburb": "Hill", "state": "NSW", "postcode": "0800",
            "type": "work", "default": True,
        }
    ]  # fmt: skip
    (metadata,) = staging.rows("staged_patients", "filemaker_metadata")
    assert [(a["street"], a["type"], a["default"]) for a in metadata["other_addresses"]] == [
        ("1 First St", "address", False),
        ("3 Third St", "work", True),
    ]


def test_without_a_default_the_first_address_is_the_patients(staging: Staging) -> None:
    stage(staging, an_address(1, ""), an_address(2, "2 Second St"), an_address(3, "3 Third St"))
    assert [a["street"] for a in staging.rows("staged_patients", "address_json")] == ["2 Second St"]
    assert staging.ends("contact_detail") == {1: "contact_detail_empty", 2: "ready", 3: "ready"}


def test_a_patient_with_one_address_has_no_other_addresses(staging: Staging) -> None:
    stage(staging, an_address(1, "1 First St"))
    assert "other_addresses" not in staging.rows("staged_patients", "filemaker_metadata")[0]
    assert staging.rows("staged_patients", "contact_json") == [{}]


def test_every_contact_detail_has_one_end(staging: Staging) -> None:
    staging.extract("patient", [a_patient(), a_patient(filemaker_id="nobody", first_name="", last_name="")])
    phone = {"kind": "Phone", "phone": "1"}
    staging.extract(
        "contact_detail",
        [
            a_detail(1, **phone),
            a_detail(2, kind="Phone", mobile="1"),
            a_detail(3, kind="Fax", phone="1"),
            a_detail(4, **phone, patient=""),
            a_detail(5, **phone, patient="zzz"),
            a_detail(6, **phone, patient="000"),
            a_detail(7, **phone, patient="NOBODY"),
            a_detail(8, **phone, filemaker_id=""),
            a_detail(9, **phone),
            a_detail(9, **phone, filemaker_id="C9"),
            a_detail(11, kind="Phone", phone="<No Access>"),
            a_detail(12, kind="", phone="1"),
        ],
    )
    result = staging.build("patient")
    assert list(staging.ends("contact_detail").values()) == [
        "ready",
        "contact_detail_empty",
        "contact_kind_unknown",
        "record_without_patient",
        "patient_unknown",
        "patient_unknown",
        "patient_not_loaded",
        "filemaker_id_missing",
        "filemaker_id_twice",
        "filemaker_id_twice",
        "field_not_readable",
        "contact_kind_unknown",
    ]
    assert {s.entity: (s.source_rows, s.ready, s.quarantined, s.skipped) for s in result.summaries} == {
        "contact_detail": (12, 1, 10, 1),
        "patient": (2, 1, 1, 0),
    }
    assert staging.rows("staged_patients", "contact_json") == [{"phone": {"phone": {"value": "1", "default": False}}}]


def test_details_find_their_patients_whatever_the_order_of_the_ids(staging: Staging) -> None:
    keys = ["b", "B2", "-", "ä", "z", "a b", "a-b", "ab", "~", "10", "9", "\U0001f600", "\uffee"]
    staging.extract("patient", [a_patient(filemaker_id=key) for key in keys])
    staging.extract(
        "contact_detail",
        [
            {"filemaker_id": f"c{n}", "patient": key.upper(), "kind": "Phone", "phone": key}
            for n, key in enumerate(reversed(keys))
        ],
    )
    staging.build("patient")
    assert set(staging.ends("contact_detail").values()) == {"ready"}
    for metadata, contacts in staging.rows("staged_patients", "filemaker_metadata", "contact_json"):
        assert contacts["phone"]["phone"]["value"] == metadata["filemaker_id"]


def test_hard_characters_survive_in_json(staging: Staging) -> None:
    value = '\\ "quoted" \u2028 🙂 \u00a0 \\N \\u0000'
    stage(staging, a_detail(1, kind="Phone", label=value, phone=value), a_detail(2, kind="Email", email="a\0b"))
    assert staging.rows("staged_patients", "contact_json") == [
        {
            "phone": {value.lower(): {"value": value, "default": False}},
            "email": {"email": {"value": "ab", "default": False}},
        }
    ]
    assert staging.findings("contact_detail") == [(2, "nul_byte_removed", "email")]
