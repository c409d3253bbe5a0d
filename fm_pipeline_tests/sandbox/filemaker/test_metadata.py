"""Envelope and metadata: statements 17 to 24."""

from __future__ import annotations

import pytest

from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import Raw

FIELD_KEYS = {
    *("name", "type", "displayType", "result", "global", "autoEnter", "fourDigitYear", "maxRepeat"),
    *("maxCharacters", "notEmpty", "numeric", "timeOfDay", "repetitionStart", "repetitionEnd"),
}


def test_every_answer_has_a_response_and_a_code_that_is_text(client: Raw) -> None:  # 17
    url = f"{client.base_url}/fmi/data/v1"
    for path in ("productInfo", "databases", "validateSession", "nonsense", client.on("Nowhere")):
        body = client.session.get(f"{url}/{path}", timeout=10).json()
        assert set(body) == {"response", "messages"}
        assert isinstance(body["messages"][0]["code"], str)


def test_product_info_needs_no_login_and_has_exactly_six_keys(visitor: Raw) -> None:  # 18
    info = visitor.request("GET", "productInfo").response["productInfo"]
    assert set(info) == {"name", "buildDate", "version", "dateFormat", "timeFormat", "timeStampFormat"}


def test_databases_are_named_without_extension(visitor: Raw) -> None:  # 19
    assert {"name": visitor.database} in visitor.request("GET", "databases").response["databases"]


def test_layouts_in_a_folder_stand_below_it(client: Raw) -> None:  # 20
    rows = client.request("GET", f"databases/{client.database}/layouts").response["layouts"]
    (folder,) = [row for row in rows if row.get("isFolder")]
    assert folder["name"] == "More"
    assert [row["name"] for row in folder["folderLayoutNames"]] == ["Narrow"]
    assert {"name": "API_Patients", "table": "Patients"} in rows


def test_scripts_in_a_folder_stand_below_it(client: Raw) -> None:  # 21
    rows = client.request("GET", f"databases/{client.database}/scripts").response["scripts"]
    assert rows == [
        {"name": "Tidy", "isFolder": False},
        {"name": "Old", "isFolder": True, "folderScriptNames": [{"name": "Broken", "isFolder": False}]},
    ]


def test_a_layout_describes_its_fields_and_portals(client: Raw, store: Store) -> None:  # 22
    found = client.request("GET", client.on("API_Patients")).response
    fields = {field["name"]: field for field in found["fieldMetaData"]}
    assert all(set(field) == FIELD_KEYS for field in fields.values())
    assert [fields[name]["result"] for name in ("name", "born", "weight", "wait")] == ["text", "date", "number", "time"]
    assert fields["seen"]["result"] == "timeStamp"
    assert (fields["phone"]["maxRepeat"], fields["phone"]["repetitionEnd"]) == (2, 2)
    store.create_layout(client.database, "One phone", "Patients", ["phone"], repetitions={"phone": 1})
    (phone,) = client.request("GET", client.on("One phone")).response["fieldMetaData"]
    assert (phone["maxRepeat"], phone["repetitionEnd"]) == (2, 1)
    (row, *_) = client.request("GET", client.on("One phone", "/records")).response["data"]
    assert list(row["fieldData"]) == ["phone(1)"]
    portals = client.request("GET", client.on("With portals")).response["portalMetaData"]
    assert [field["name"] for field in portals["Notes"]] == ["pat_NOTES::text"]
    assert [field["name"] for field in portals["pat_NOTES"]] == ["pat_NOTES::patient"]


def test_the_old_metadata_url_lists_the_same_fields(client: Raw) -> None:
    found = client.request("GET", client.on("Narrow", "/metadata")).response["metaData"]
    assert [field["name"] for field in found] == ["id", "changed", "pat_NOTES::text"]


def test_fields_that_are_not_on_the_layout_are_nowhere(client: Raw) -> None:  # 23
    found = client.request("GET", client.on("API_Patients")).response["fieldMetaData"]
    assert "hidden" not in [field["name"] for field in found]
    assert all("hidden" not in row["fieldData"] for row in client.records("API_Patients").rows)


def test_an_unknown_layout_is_105(client: Raw) -> None:  # 24
    assert client.request("GET", client.on("Nowhere")).end == (500, "105")
    assert client.records("Nowhere").end == (500, "105")
    assert client.find("Nowhere", {"id": "1"}).end == (500, "105")


def test_a_slash_in_a_layout_name_is_percent_encoded(client: Raw) -> None:
    assert client.records("Day/Night").end == (200, "0")


@pytest.mark.parametrize("name", ["nowhere", "pat_NOTES::nowhere", "nowhere::text"])
def test_a_layout_of_a_field_that_does_not_exist_is_refused_when_it_is_made(
    store: Store, database: str, name: str
) -> None:
    with pytest.raises(KeyError, match="nowhere"):
        store.create_layout(database, "Wrong", "Patients", [name])
