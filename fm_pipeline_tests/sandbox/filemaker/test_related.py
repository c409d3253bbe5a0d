"""Related records and global fields, written as the Data API Guide says."""

from __future__ import annotations

from typing import Any

import pytest

from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, Portal
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import Raw
from fm_pipeline_tests.sandbox.filemaker.running import StandIn

LAYOUT = "With portals"


def notes(client: Raw, number: int) -> list[tuple[str, str, str]]:
    rows = client.record(LAYOUT, number).rows[0]["portalData"]["Notes"]
    return [(row["recordId"], row["modId"], row["pat_NOTES::text"]) for row in rows]


def test_rows_of_a_portal_are_made_edited_and_deleted_with_their_record(client: Raw) -> None:
    portal = {"Notes": [{"pat_NOTES::text": "one"}, {"pat_NOTES::text": "two"}]}
    made = client.create(LAYOUT, {"id": "P5"}, portalData=portal)
    assert made.response == {
        "recordId": "5",
        "modId": "0",
        "newPortalRecordInfo": [
            {"tableName": "pat_NOTES", "recordId": "61", "modId": "0"},
            {"tableName": "pat_NOTES", "recordId": "62", "modId": "0"},
        ],
    }
    changed = [{"recordId": "61", "modId": "0", "pat_NOTES::text": "uno"}, {"pat_NOTES::text": "three"}]
    assert client.edit(LAYOUT, 5, {}, portalData={"pat_NOTES": changed}).response == {
        "modId": "0",
        "newPortalRecordInfo": [{"tableName": "pat_NOTES", "recordId": "63", "modId": "0"}],
    }
    assert notes(client, 5) == [("61", "1", "uno"), ("62", "0", "two"), ("63", "0", "three")]
    assert client.edit(LAYOUT, 5, {"deleteRelated": "Notes.62"}).end == (200, "0")
    assert [number for number, _, _ in notes(client, 5)] == ["61", "63"]


@pytest.mark.parametrize(
    ("portal", "code"),
    [
        ({"Nothing": []}, "102"),
        ({"Notes": [{"text": "no full name"}]}, "102"),
        ({"Notes": [{"pat_NOTES::patient": "not in this portal"}]}, "102"),
        ({"Notes": [{"recordId": "1", "pat_NOTES::text": "of another patient"}]}, "101"),
        ({"Notes": [{"recordId": "x", "pat_NOTES::text": ""}]}, "101"),
        ({"Notes": {"pat_NOTES::text": ""}}, "960"),
        ([], "960"),
    ],
)
def test_an_error_in_one_related_record_changes_nothing(client: Raw, portal: Any, code: str) -> None:
    assert client.edit(LAYOUT, 2, {"id": "changed"}, portalData=portal).code == code
    assert client.record(LAYOUT, 2).column("id") == ["P2"]
    stale = {"Notes": [{"pat_NOTES::text": "new"}, {"recordId": "1", "modId": "7", "pat_NOTES::text": ""}]}
    assert client.edit(LAYOUT, 1, {}, portalData=stale).end == (500, "306")
    assert len(notes(client, 1)) == 50
    assert client.record(LAYOUT, 1).rows[0]["portalDataInfo"][0]["foundCount"] == 60


def test_a_related_field_beside_the_portals_belongs_to_the_first_a_new_or_a_named_record(client: Raw) -> None:
    for name, number, text in (("pat_NOTES::text", 1, "first"), ("pat_NOTES::text.2", 1, "second")):
        assert client.edit("Narrow", number, {name: text}).end == (200, "0")
    assert [text for _, _, text in notes(client, 1)][:3] == ["first", "second", "note 3"]
    client.edit("Narrow", 2, {"pat_NOTES::text": "made"})
    client.edit("Narrow", 2, {"pat_NOTES::text.0": "one more"})
    assert [text for _, _, text in notes(client, 2)] == ["made", "one more"]
    assert client.edit("Narrow", 2, {"pat_NOTES::patient": "off the layout"}).end == (500, "102")


@pytest.fixture
def towns(store: Store, database: str) -> str:
    """Patients with addresses in a portal, sorted by street; each address shows a field of its town."""
    store.create_table(
        database, "Addresses", [FieldDefinition("patient"), FieldDefinition("street"), FieldDefinition("town")]
    )
    store.create_table(database, "Towns", [FieldDefinition("name"), FieldDefinition("people", "number")])
    store.create_occurrence(database, "Patients", "address", "Addresses", ("id", "patient"))
    store.create_occurrence(database, "Addresses", "town_info", "Towns", ("town", "name"))
    portal = Portal("address", ["street", "town", "town_info::people"], sort=["-street"])
    store.create_layout(database, "With towns", "Patients", ["id"], [portal])
    store.insert(database, "Towns", [{"name": "Utrecht", "people": 1}])
    store.insert(database, "Addresses", [{"patient": "P1", "street": s, "town": "Utrecht"} for s in "bca"])
    return database


def test_a_portal_is_sorted_and_shows_and_writes_fields_of_a_table_further_on(client: Raw, towns: str) -> None:  # 104
    def lines() -> list[tuple[str, object]]:
        rows = client.record("With towns", 1).rows[0]["portalData"]["address"]
        return [(row["address::street"], row["town_info::people"]) for row in rows]

    assert lines() == [("c", 1), ("b", 1), ("a", 1)]
    described = client.request("GET", client.on("With towns")).response["portalMetaData"]["address"]
    assert [field["name"] for field in described][2] == "town_info::people"
    new = {"address::street": "d", "address::town": "Gouda", "town_info::people": 7}
    made = client.edit("With towns", 1, {}, portalData={"address": [new, {"recordId": "1", "town_info::people": 2}]})
    entries = [(entry["tableName"], entry["recordId"]) for entry in made.response["newPortalRecordInfo"]]
    assert entries == [("address", "4"), ("address", "4"), ("town_info", "2")]  # 102: one entry for each field
    assert lines() == [("d", 7), ("c", 2), ("b", 2), ("a", 2)]
    wrong = client.edit("With towns", 1, {}, portalData={"address": [{"town_info::name": "off the portal"}]})
    assert wrong.code == "102"


def test_a_relation_by_a_global_field_follows_the_session(  # 106
    client: Raw, store: Store, database: str, stand_in: StandIn
) -> None:
    store.create_table(database, "Desk", [FieldDefinition("gWho", is_global=True)])
    store.create_occurrence(database, "Desk", "chosen", "Patients", ("gWho", "id"))
    store.create_layout(database, "Desk", "Desk", ["gWho", "chosen::name"], [Portal("chosen", ["name"])])
    store.insert(database, "Desk", [{}])
    other = Raw(stand_in.base_url, database)
    other.login()
    for session, who, name in ((client, "P2", "Grace Hopper"), (other, "P3", "Mary Anning")):
        session.request("PATCH", f"databases/{database}/globals", json={"globalFields": {"Desk::gWho": who}})
        row = session.record("Desk", 1).rows[0]
        assert (row["fieldData"]["chosen::name"], row["portalData"]["chosen"][0]["chosen::name"]) == (name, name)
    client.edit("Desk", 1, {"chosen::name": "Grace"})
    assert client.record("Desk", 1).column("chosen::name") == ["Grace"]
    assert other.record("Desk", 1).column("chosen::name") == ["Mary Anning"]
    other.session.close()


def test_a_key_is_entered_when_a_record_is_made(client: Raw, store: Store, database: str) -> None:
    store.create_table(database, "Keyed", [FieldDefinition("key", auto_enter="uuid"), FieldDefinition("name")])
    store.create_layout(database, "Keyed", "Keyed", ["key", "name"])
    store.insert(database, "Keyed", [{"name": "one"}, {"key": "given"}])
    client.create("Keyed", {"name": "three"})
    keys = client.records("Keyed").column("key")
    assert (len({*keys}), keys[1], [len(key) for key in keys]) == (3, "given", [36, 5, 36])
    client.edit("Keyed", 1, {"name": "changed"})
    assert client.records("Keyed").column("key") == keys


def test_a_portal_that_is_no_text_is_960(client: Raw) -> None:
    assert client.records(LAYOUT, portal='[{"name":"Notes"}]').end == (400, "960")


def test_a_global_field_has_one_value_in_each_session(
    client: Raw, store: Store, database: str, stand_in: StandIn
) -> None:
    store.create_table(database, "Settings", [FieldDefinition("id"), FieldDefinition("gDay", "date", is_global=True)])
    store.create_layout(database, "Settings", "Settings", ["id", "gDay"])
    store.insert(database, "Settings", [{"id": "1"}, {"id": "2"}])
    path = f"databases/{database}/globals"
    assert client.request("PATCH", path, json={"globalFields": {"Settings::gDay": "02/29/2024"}}).response == {}
    assert client.records("Settings").column("gDay") == ["02/29/2024"] * 2
    assert client.edit("Settings", 1, {"gDay": "03/01/2024"}).end == (200, "0")
    assert client.records("Settings", dateformats=2).column("gDay") == ["2024-03-01"] * 2
    described = client.request("GET", client.on("Settings")).response["fieldMetaData"]
    assert [field["global"] for field in described] == [False, True]
    other = Raw(stand_in.base_url, database)
    other.login()
    assert other.records("Settings").column("gDay") == ["", ""]
    for name, code in (("Settings::id", "102"), ("gDay", "102"), ("No::gDay", "102"), ("Settings::gDay", "500")):
        assert other.request("PATCH", path, json={"globalFields": {name: "soon"}}).code == code
    assert other.request("PATCH", path, json={"gDay": ""}).code == "960"
    other.session.close()
