"""Related records and global fields, written as the Data API Guide says."""

from __future__ import annotations

from typing import Any

import pytest

from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
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
