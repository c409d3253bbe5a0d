"""Clients that other people published and use against real servers: python-fmrest and fmdata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fmdata  # type: ignore[import-untyped]
import fmrest  # type: ignore[import-untyped]
import pytest
from fmdata.client import Client  # type: ignore[import-untyped]
from fmdata.session_providers import UsernamePasswordLogin  # type: ignore[import-untyped]
from fmrest.exceptions import FileMakerError  # type: ignore[import-untyped]

from fm_pipeline.sandbox.filemaker.call import Behaviour
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, Portal, Script, StoredContainerFile
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in
from fm_pipeline_tests.support.pictures import picture
from fm_pipeline_tests.support.tls import make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key: python-fmrest speaks https only."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def secure(store: Store, certificate: tuple[Path, Path]) -> Iterator[StandIn]:
    """The same store over https."""
    with running_stand_in(store, tls=certificate) as running:
        yield running


@pytest.fixture(scope="session")
def open_streams(store: Store, certificate: tuple[Path, Path]) -> Iterator[StandIn]:
    """The same over https, with AuthenticatedStream=2."""
    with running_stand_in(store, behaviour=Behaviour(authenticated_stream=2), tls=certificate) as running:
        yield running


def python_fmrest(secure: StandIn, database: str, **options: Any) -> fmrest.Server:
    options = {"password": "right", "layout": "API_Patients", "api_version": "vLatest", **options}
    return fmrest.Server(secure.base_url, "admin", database=database, verify_ssl=str(secure.ca_bundle), **options)


def test_python_fmrest_reads_finds_and_logs_out(secure: StandIn, database: str) -> None:
    with python_fmrest(secure, database) as server:
        server.login()
        records = server.get_records(sort=[{"fieldName": "name", "sortOrder": "descend"}], date_format="iso-8601")
        assert [record.id for record in records] == ["P3", "P2", "P1", "P4"]
        assert records.info["foundCount"] == 4
        assert [record.born for record in server.find([{"name": "Ada"}], limit=1)] == ["12/10/1815"]
        assert server.get_record(2).weight == "12 kg"
        portals = [{"name": "Notes", "limit": 3}]
        with_notes = server.get_record(1, portals=portals, request_layout="With portals")
        assert [line["pat_NOTES::text"] for line in with_notes.portal_Notes] == ["note 1", "note 2", "note 3"]
        assert server.find([{"id": "P1"}], response_layout="Narrow")[0]["pat_NOTES::text"] == "note 1"
    assert secure.counters()["open_sessions"] == 0


def test_python_fmrest_writes(secure: StandIn, database: str) -> None:
    with python_fmrest(secure, database) as server:
        server.login()
        number = server.create_record({"id": "P9", "born": "2020-02-29"}, date_format="iso-8601")
        assert number == 5
        record = server.get_record(number)
        record["name"] = "Nine"
        assert server.edit(record, validate_mod_id=True)
        assert server.get_record(number).name == "Nine"
        assert server.delete_record(number)
        with pytest.raises(FileMakerError, match="101"):
            server.get_record(number)


def test_python_fmrest_asks_for_metadata_and_runs_scripts(secure: StandIn, store: Store, database: str) -> None:
    store.create_script(database, Script("Echo", result="{parameter}!"))
    with python_fmrest(secure, database) as server:
        assert server.get_product_info()["name"] == "FileMaker Data API Engine"
        assert {"name": database} in server.get_databases()
        server.login()
        assert any(layout["name"] == "API_Patients" for layout in server.get_layouts())
        assert server.get_layout()[0]["name"] == "id"
        assert set(server.get_layout("With portals", metadata="portals")) == {"Notes", "pat_NOTES"}
        assert server.perform_script("Broken") == (3, None)
        assert server.perform_script("Tidy", "x") == (0, "tidied")
        server.find([{"id": "P1"}], scripts={"prerequest": ["Tidy", "x"]})
        assert server.last_script_result == {"prerequest": [0, "tidied"]}
        given = {"prerequest": ["Echo", "1"], "presort": ["Echo", "2"], "after": ["Echo", "3"]}
        server.find([{"id": "P1"}], scripts=given)
        assert server.last_script_result == {"prerequest": [0, "1!"], "presort": [0, "2!"], "after": [0, "3!"]}


def test_python_fmrest_writes_records_of_its_own_kind(secure: StandIn, database: str) -> None:
    with python_fmrest(secure, database) as server:
        server.login()
        made = server.create(fmrest.record.Record(["name", "born"], ["サーバ", "04.11.2017"]))
        record = server.get_record(made)
        assert (record.name, record.born) == ("サーバ", "04/11/2017")
        assert server.delete(record)
        assert server.upload_container(1, "photo", ("sample.csv", "one,two\n1,2\n"))


def test_python_fmrest_reaches_a_related_value_by_a_global_field(secure: StandIn, store: Store, database: str) -> None:
    store.create_table(database, "Desk", [FieldDefinition("g_active", is_global=True)])
    store.create_occurrence(database, "Desk", "active", "Patients", ("g_active", "id"))
    store.create_layout(database, "Desk", "Desk", ["g_active", "active::name"])
    store.insert(database, "Desk", [{}])
    with python_fmrest(secure, database, layout="Desk") as server:
        server.login()
        assert server.set_globals({"Desk::g_active": "P3"})
        assert server.get_record(1)["active::name"] == "Mary Anning"


def test_python_fmrest_uploads_and_downloads_a_container(open_streams: StandIn, database: str) -> None:
    with python_fmrest(open_streams, database) as server:
        server.login()
        assert server.upload_container(1, "photo", ("face.jpg", picture(1), "image/jpeg"))
        name, kind, length, response = server.fetch_file(server.get_record(1).photo)
        assert (kind, length, response.content) == ("image/jpeg", str(len(picture(1))), picture(1))
        assert name.endswith(".jpg")


def test_python_fmrest_takes_the_page_of_a_401_for_the_file(secure: StandIn, store: Store, database: str) -> None:
    """It sends no token, which a server with AuthenticatedStream=1 wants; see its source."""
    store.edit(database, "Patients", 1, {"photo": StoredContainerFile(picture(1))})
    with python_fmrest(secure, database) as server:
        server.login()
        _, kind, _, response = server.fetch_file(server.get_record(1).photo)
        assert (response.status_code, kind.partition(";")[0]) == (401, "text/html")


def test_python_fmrest_sees_the_errors_that_it_expects(secure: StandIn, database: str) -> None:
    with pytest.raises(FileMakerError, match="212"):
        python_fmrest(secure, database, password="wrong").login()
    with python_fmrest(secure, database) as server:
        server.login()
        with pytest.raises(FileMakerError, match="401"):
            server.find([{"name": "Nobody"}])
        with pytest.raises(FileMakerError, match="101"):
            server.get_records(request_layout="Empty")


def test_python_fmrest_logs_in_again_when_its_token_died(secure: StandIn, database: str) -> None:
    with python_fmrest(secure, database, auto_relogin=True) as server:
        server.login()
        secure.advance(minutes=16)
        assert len(list(server.get_records())) == 4


@pytest.fixture
def fmdata_client(stand_in: StandIn, database: str) -> Client:
    """fmdata logged in on first use, as its own documentation shows."""
    return Client(
        url=stand_in.base_url,
        database=database,
        login_provider=UsernamePasswordLogin("admin", "right"),
        version="21",
        too_fast_login_retry_timeout=None,
    )


def test_fmdata_pages_through_a_layout(fmdata_client: Client, store: Store, database: str) -> None:
    store.insert(database, "Patients", ({"id": f"Q{n}"} for n in range(246)))
    pages = fmdata_client.get_records_paginated(layout="API_Patients", page_size=100, limit=250)
    rows = [row for page in pages.pages for row in page.result.response.data]
    assert len({row.record_id for row in rows}) == 250
    assert rows[0].field_data["name"] == "Ada Lovelace"
    fmdata_client.logout()


def test_fmdata_finds_and_asks_for_portals(fmdata_client: Client) -> None:
    found = fmdata_client.find(layout="API_Patients", query=[{"name": "==Grace Hopper"}], limit=10)
    assert [row.field_data["id"] for row in found.response.data] == ["P2"]
    one = fmdata_client.get_record("With portals", "1", portals={"Notes": {"offset": 59, "limit": 5}})
    lines = one.response.data[0].portal_data["Notes"]
    assert [line.fields["pat_NOTES::text"] for line in lines] == ["note 59", "note 60"]
    fmdata_client.logout()


def test_fmdata_writes(fmdata_client: Client) -> None:
    made = fmdata_client.create_record("API_Patients", {"id": "P9"})
    assert (made.response.record_id, made.response.mod_id) == ("5", "0")
    assert fmdata_client.edit_record("API_Patients", "5", {"name": "Nine"}).response.mod_id == "1"
    assert fmdata_client.duplicate_record("API_Patients", "5").response.record_id == "6"
    fmdata_client.delete_record("API_Patients", "5").raise_exception_if_has_error()
    gone = fmdata_client.get_record("API_Patients", "5")
    assert [message.code for message in gone.messages] == ["101"]
    fmdata_client.logout()


def test_fmdata_counts_an_entry_for_each_field_of_a_new_portal_row(
    fmdata_client: Client, store: Store, database: str
) -> None:
    store.create_layout(database, "Both", "Patients", ["id"], [Portal("pat_NOTES", ["text", "patient"], name="Both")])
    row = {"pat_NOTES::text": "new", "pat_NOTES::patient": "P2"}
    changed = fmdata_client.edit_record("Both", "2", {}, portal_data={"Both": [row, row]})
    numbers = [entry.record_id for entry in changed.response.new_portal_record_info]
    assert numbers == ["61", "61", "62", "62"]
    fmdata_client.logout()


def test_fmdata_keeps_models_with_the_rows_of_their_portals(fmdata_client: Client, store: Store, database: str) -> None:
    portals = [Portal("pat_NOTES", ["text", "patient"], name="Notes", sort=["text"])]
    store.create_layout(database, "Model", "Patients", ["id", "name", "weight"], portals)

    class Note(fmdata.PortalModel):  # type: ignore[misc]
        class Meta:
            table_occurrence = "pat_NOTES"

        text = fmdata.String(field_name="pat_NOTES::text", field_type=fmdata.FMFieldType.Text)
        patient = fmdata.String(field_name="pat_NOTES::patient", field_type=fmdata.FMFieldType.Text)

    class Patient(fmdata.Model):  # type: ignore[misc]
        class Meta:
            client = fmdata_client
            layout = "Model"

        key = fmdata.String(field_name="id", field_type=fmdata.FMFieldType.Text)
        name = fmdata.String(field_name="name", field_type=fmdata.FMFieldType.Text)
        notes = fmdata.PortalField(model=Note, name="Notes")

    made = Patient.objects.create(key="P7", name="Cohort Seven")
    for text in ("b", "a"):
        made.notes.create(text=text, patient="P7")
    assert [note.text for note in made.notes.all()[:10]] == ["a", "b"]
    made.update(name="Cohort 7")
    made.save()
    (found,) = Patient.objects.find(name__contains="Cohort").chunking(1)
    assert (found.key, found.name) == ("P7", "Cohort 7")
    found.notes.all()[:10].delete()
    found.delete()
    assert len(Patient.objects.find(name__contains="Cohort")[:10]) == 0
    fmdata_client.logout()


def test_fmdata_pages_through_a_found_set_to_its_end(fmdata_client: Client) -> None:
    pages = fmdata_client.find_paginated(layout="API_Patients", query=[{"name": "*"}], page_size=2, limit=None)
    found = [row.field_data["id"] for page in pages.pages for row in page.result.response.data or []]
    assert found == ["P1", "P2", "P3", "P4"]
    fmdata_client.logout()


def test_fmdata_asks_for_metadata(fmdata_client: Client, database: str) -> None:
    # fmdata 0.1.5 looks one level too high for the name; python-fmrest and Claris's OpenAPI have `productInfo`.
    product = fmdata_client.get_product_info().response.raw_content["productInfo"]
    assert product["name"] == "FileMaker Data API Engine"
    assert database in [one.name for one in fmdata_client.get_databases().response.databases]
    assert "API_Patients" in [one.name for one in fmdata_client.get_layouts().response.layouts]
    fields = fmdata_client.get_layout(layout="API_Patients").response.field_meta_data
    assert "timeStamp" in [one.result for one in fields]
    fmdata_client.logout()


def test_fmdata_logs_in_again_when_its_token_died(fmdata_client: Client, stand_in: StandIn) -> None:
    assert len(fmdata_client.get_records("API_Patients", limit=2).response.data) == 2
    stand_in.advance(minutes=16)
    assert len(fmdata_client.get_records("API_Patients", limit=2).response.data) == 2
    assert stand_in.counters()["sessions_opened"] >= 2
    fmdata_client.logout()
