"""Reading records: statements 25 to 38."""

from __future__ import annotations

import json

import pytest

from fm_pipeline.sandbox.filemaker.call import Behaviour
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import Raw
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in


@pytest.fixture
def crowd(client: Raw, store: Store) -> Raw:
    """250 more patients."""
    store.insert(client.database, "Patients", ({"id": f"Q{n}", "weight": n} for n in range(1, 251)))
    return client


def ids(rows: list[dict[str, str]]) -> list[int]:
    return [int(row["recordId"]) for row in rows]


def test_without_parameters_the_first_hundred_records_come_in_order_of_creation(crowd: Raw) -> None:  # 25
    assert ids(crowd.records("API_Patients").rows) == list(range(1, 101))


def test_offsets_count_from_one(crowd: Raw) -> None:  # 26
    assert ids(crowd.records("API_Patients", _offset=101, _limit=100).rows) == list(range(101, 201))
    assert ids(crowd.records("API_Patients", _offset=254, _limit=100).rows) == [254]


def test_data_info_counts_the_table_and_the_page(crowd: Raw) -> None:  # 27
    assert crowd.records("API_Patients", _limit=7).response["dataInfo"] == {
        "database": crowd.database,
        "layout": "API_Patients",
        "table": "Patients",
        "totalRecordCount": 254,
        "foundCount": 254,
        "returnedCount": 7,
    }


def test_version_17_has_no_data_info(store: Store, database: str) -> None:
    with running_stand_in(store, behaviour=Behaviour(version=17)) as old:
        client = Raw(old.base_url, database)
        client.login()
        assert set(client.records("API_Patients").response) == {"data"}
        client.session.close()


def test_a_row_has_exactly_five_keys_and_its_ids_are_text(client: Raw) -> None:  # 28
    for row in client.records("API_Patients").rows:
        assert set(row) == {"fieldData", "portalData", "recordId", "modId", "portalDataInfo"}
        assert isinstance(row["recordId"], str)
        assert row["modId"] == "0"


def test_an_offset_behind_the_last_record_is_101(client: Raw) -> None:  # 29
    assert client.records("API_Patients", _offset=5).end == (500, "101")
    assert client.find("API_Patients", {"name": "Ada"}, offset=3).end == (500, "401")  # 101


def test_an_empty_table_is_101_with_an_offset_and_empty_without(client: Raw) -> None:  # 30
    assert client.records("Empty", _offset=1).end == (500, "101")
    answer = client.records("Empty")
    assert (answer.end, answer.rows) == ((200, "0"), [])


@pytest.mark.parametrize("name", ["_offset", "_limit"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5"])
def test_an_offset_or_limit_that_is_no_number_from_one_is_960(client: Raw, name: str, value: str) -> None:  # 31
    assert client.records("API_Patients", **{name: value}).end == (400, "960")


def test_an_unknown_parameter_is_960_and_named(client: Raw) -> None:  # 32
    answer = client.records("API_Patients", limit=1, colour="red")
    assert answer.end == (400, "960")
    assert answer.message == "Unknown parameter(s): limit, colour"


def test_sorting_ascends_and_descends_by_the_type_of_the_field(client: Raw) -> None:  # 33
    def sorted_by(*keys: dict[str, str]) -> list[int]:
        return ids(client.records("API_Patients", _sort=json.dumps(keys)).rows)

    assert sorted_by({"fieldName": "name"}) == [4, 1, 2, 3]
    assert sorted_by({"fieldName": "name", "sortOrder": "descend"}) == [3, 2, 1, 4]
    assert sorted_by({"fieldName": "weight", "sortOrder": "ascend"}) == [4, 3, 2, 1]
    assert sorted_by({"fieldName": "photo"}, {"fieldName": "id", "sortOrder": "descend"}) == [4, 3, 2, 1]


def test_sorting_by_an_unknown_field_is_102_and_in_an_unknown_order_960(client: Raw) -> None:  # 33
    assert client.records("API_Patients", _sort='[{"fieldName":"nowhere"}]').end == (500, "102")
    assert client.records("API_Patients", _sort='[{"fieldName":"id","sortOrder":"up"}]').end == (400, "960")
    assert client.records("API_Patients", _sort="id").end == (400, "960")


def test_one_record_is_a_list_of_one_and_a_missing_one_is_101(client: Raw) -> None:  # 34
    assert client.record("API_Patients", 2).column("id") == ["P2"]
    assert client.record("API_Patients", 99).end == (500, "101")


def test_a_portal_shows_fifty_rows_and_says_how_many_there_are(client: Raw) -> None:  # 35
    row = client.record("With portals", 1).rows[0]
    assert len(row["portalData"]["Notes"]) == 50
    assert row["portalDataInfo"][0] == {
        "portalObjectName": "Notes",
        "database": client.database,
        "table": "pat_NOTES",
        "foundCount": 60,
        "returnedCount": 50,
    }
    assert client.record("With portals", 4).rows[0]["portalData"]["Notes"] == []


def test_offset_and_limit_of_a_portal_can_be_asked_for(client: Raw) -> None:  # 35
    row = client.records("With portals", _limit__Notes=60, _offset__pat_NOTES=60).rows[0]
    assert [len(rows) for rows in row["portalData"].values()] == [60, 1]
    found = client.find("With portals", {"id": "P1"}, **{"portal": ["Notes"], "limit.Notes": "3", "offset.Notes": 2})
    assert list(found.rows[0]["portalData"]) == ["Notes"]
    assert [line["recordId"] for line in found.rows[0]["portalData"]["Notes"]] == ["2", "3", "4"]


def test_an_unknown_portal_is_960(client: Raw) -> None:
    assert client.records("With portals", portal='["Nowhere"]').end == (400, "960")
    assert client.records("With portals", _limit__Nowhere=1).end == (400, "960")


def test_portal_rows_carry_their_ids_and_the_name_of_the_occurrence(client: Raw) -> None:  # 36
    first = client.record("With portals", 1).rows[0]["portalData"]
    assert first["Notes"][0] == {"recordId": "1", "pat_NOTES::text": "note 1", "modId": "0"}
    assert first["pat_NOTES"][0] == {"recordId": "1", "pat_NOTES::patient": "P1", "modId": "0"}


def test_version_one_shows_one_portal_row_on_a_layout_saved_as_a_list(client: Raw) -> None:
    assert len(client.record("As list", 1).rows[0]["portalData"]["Notes"]) == 50
    client.version = "v1"
    assert len(client.record("As list", 1).rows[0]["portalData"]["Notes"]) == 1
    assert len(client.record("With portals", 1).rows[0]["portalData"]["Notes"]) == 50


def test_layout_response_changes_the_layout_of_the_answer(client: Raw) -> None:  # 37
    answer = client.records("API_Patients", layout__response="Narrow")
    assert set(answer.rows[0]["fieldData"]) == {"id", "changed", "pat_NOTES::text"}
    assert answer.response["dataInfo"]["layout"] == "Narrow"
    assert client.records("API_Patients", layout__response="Nowhere").end == (500, "105")
    found = client.find("API_Patients", {"name": "Hopper"}, **{"layout.response": "Narrow"})
    assert found.column("id") == ["P2"]


def test_a_related_field_shows_the_first_related_record(client: Raw) -> None:
    assert client.records("Narrow").column("pat_NOTES::text") == ["note 1", "", "", ""]


def test_repetitions_are_fields_with_a_number(client: Raw, store: Store) -> None:  # 38
    store.insert(client.database, "Patients", [{"id": "P5", "phone": "1", "phone(2)": "2"}])
    data = client.record("API_Patients", 5).rows[0]["fieldData"]
    assert (data["phone(1)"], data["phone(2)"]) == ("1", "2")
    assert "phone" not in data
    assert client.find("API_Patients", {"phone": "2"}).column("id") == ["P5"]
    assert client.find("API_Patients", {"phone(1)": "2"}).end == (500, "401")


def test_a_record_id_is_never_given_again(client: Raw, store: Store) -> None:
    store.delete(client.database, "Patients", 4)
    store.insert(client.database, "Patients", [{"id": "P5"}])
    assert ids(client.records("API_Patients").rows) == [1, 2, 3, 5]
