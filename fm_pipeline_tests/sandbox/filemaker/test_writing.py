"""Writing, scripts and wrong requests: statements 51 to 59."""

from __future__ import annotations

import pytest

from fm_pipeline_tests.sandbox.filemaker.raw import Raw
from fm_pipeline_tests.sandbox.filemaker.running import StandIn


def test_a_new_record_has_modification_id_0_and_an_edit_adds_one(client: Raw) -> None:  # 51
    made = client.create("API_Patients", {"id": "P5", "born": "02/29/2024", "phone(2)": "77"})
    assert made.response == {"recordId": "5", "modId": "0"}
    assert client.edit("API_Patients", 5, {"name": "Eve"}).response == {"modId": "1"}
    assert client.edit("API_Patients", 5, {}).response == {"modId": "1"}
    row = client.record("API_Patients", 5).rows[0]
    assert row["modId"] == "1"
    data = row["fieldData"]
    assert [data[name] for name in ("id", "name", "born", "phone(2)")] == ["P5", "Eve", "02/29/2024", "77"]


def test_dates_are_written_as_dateformats_says(client: Raw) -> None:
    client.create("API_Patients", {"born": "05/04/2020"}, dateformats=1)
    client.create("API_Patients", {"born": "2020-04-05"}, dateformats=2)
    assert client.records("API_Patients", _offset=5).column("born") == ["04/05/2020", "04/05/2020"]


def test_a_text_that_is_no_date_cannot_be_written_into_a_date_field(client: Raw) -> None:
    assert client.create("API_Patients", {"born": "soon"}).end == (500, "500")
    assert client.create("API_Patients", {"born": "2020-04-05"}).end == (500, "500")  # ISO needs dateformats=2
    assert client.edit("API_Patients", 1, {"wait": "soon"}).end == (500, "501")


def test_a_stale_modification_id_is_306_and_changes_nothing(client: Raw) -> None:  # 52
    assert client.edit("API_Patients", 1, {"name": "One"}, modId="0").end == (200, "0")
    assert client.edit("API_Patients", 1, {"name": "Two"}, modId="0").end == (500, "306")
    assert client.record("API_Patients", 1).column("name") == ["One"]


def test_a_field_that_is_not_on_the_layout_is_102_and_nothing_is_written(client: Raw) -> None:  # 53
    answer = client.edit("API_Patients", 1, {"name": "One", "hidden": "x"})
    assert (answer.end, answer.message) == ((500, "102"), "Field is missing")
    assert client.record("API_Patients", 1).column("name") == ["Ada Lovelace"]
    assert client.create("API_Patients", {"hidden": "x"}).end == (500, "102")
    assert client.records("API_Patients").response["dataInfo"]["totalRecordCount"] == 4


def test_a_record_can_be_duplicated_and_deleted(client: Raw) -> None:
    path = client.on("API_Patients", "/records/1")
    assert client.request("POST", path, json={}).response == {"recordId": "5", "modId": "0"}
    assert client.record("API_Patients", 5).column("name") == ["Ada Lovelace"]
    with_a_script = client.request("POST", path, json={"script": "Tidy", "script.param": "x"}).response
    assert with_a_script == {"recordId": "6", "modId": "0", "scriptError": "0", "scriptResult": "tidied"}
    assert client.request("POST", path, json={"fieldData": {}}).end == (400, "960")
    assert client.request("DELETE", path).response == {}
    assert client.request("DELETE", path).end == (500, "101")
    assert client.request("POST", path, json={}).end == (500, "101")
    assert client.edit("API_Patients", 1, {"name": "x"}).end == (500, "101")


def test_a_modification_timestamp_follows_every_edit(client: Raw, stand_in: StandIn) -> None:
    stand_in.hold_clock("2026-03-01T09:00:00")
    client.edit("API_Patients", 1, {"name": "One"})
    assert client.record("Narrow", 1).column("changed") == ["03/01/2026 09:00:00"]


def test_a_script_that_fails_is_no_failure_of_the_request(client: Raw) -> None:  # 55
    answer = client.request("GET", client.on("API_Patients", "/script/Broken"), params={"script.param": "x"})
    assert answer.end == (200, "0")
    assert answer.response == {"scriptError": "3"}
    assert client.request("GET", client.on("API_Patients", "/script/Nowhere")).end == (500, "104")


def test_scripts_around_a_request_answer_with_suffixes(client: Raw) -> None:  # 56
    around = {"script": "Tidy", "script.prerequest": "Broken", "script.presort": "Tidy", "script.presort.param": "x"}
    response = client.find("API_Patients", {"id": "P1"}, **around).response
    assert {name: value for name, value in response.items() if name.startswith("script")} == {
        "scriptError": "0",
        "scriptResult": "tidied",
        "scriptError.prerequest": "3",
        "scriptError.presort": "0",
        "scriptResult.presort": "tidied",
    }


@pytest.mark.parametrize(("verb", "rest"), [("PUT", "/records/1"), ("DELETE", "/records"), ("GET", "/_find")])
def test_a_wrong_verb_is_1704(client: Raw, verb: str, rest: str) -> None:  # 57
    assert client.request(verb, client.on("API_Patients", rest)).end == (405, "1704")


def test_a_resource_that_does_not_exist_is_1700(client: Raw) -> None:
    assert client.request("GET", client.on("API_Patients", "/nonsense")).end == (404, "1700")
    assert client.request("PATCH", f"databases/{client.database}/nonsense", json={}).end == (404, "1700")


@pytest.mark.parametrize("headers", [{"Content-Type": "text/plain"}, {}])
def test_a_body_that_is_not_called_json_is_415(client: Raw, headers: dict[str, str]) -> None:  # 58
    answer = client.request("POST", client.on("API_Patients", "/_find"), data="{}", headers=headers)
    assert answer.status == 415
    assert answer.code != "0"


@pytest.mark.parametrize(("body", "code"), [(b"{", "1710"), (b"\xff", "1710"), (b"", "1710"), (b"[]", "960")])
def test_a_body_that_is_no_json_object_is_400(client: Raw, body: bytes, code: str) -> None:  # 59
    json = {"Content-Type": "application/json"}
    assert client.request("POST", client.on("API_Patients", "/_find"), data=body, headers=json).end == (400, code)
