"""The door as a whole: accounts, names, values, and what it never sends."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from requests import PreparedRequest

import fm_pipeline.filemaker.odata as package
from fm_pipeline.filemaker.door import Door, Reading
from fm_pipeline.filemaker.errors import (
    CertificateRefused,
    DatabaseNotOpen,
    FieldMissing,
    ServerUnavailable,
    WrongPassword,
)
from fm_pipeline.filemaker.odata.client import ODataClient
from fm_pipeline.filemaker.odata.door import ODataDoor
from fm_pipeline.filemaker.odata.errors import ODataPrivilegeMissing, RepetitionsHidden, TableNotReadable
from fm_pipeline.filemaker.transport import Transport
from fm_pipeline.sandbox.filemaker.call import Behaviour, ODataBehaviour
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.filemaker.conftest import PASSWORD, USER, Clinic, clinic_on
from fm_pipeline_tests.filemaker.odata.conftest import ids_of, read_ids
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in
from fm_pipeline_tests.support.tls import make_certificate

FIELDS = [
    FieldDefinition("id"),
    FieldDefinition("Größe, in cm", "number"),
    FieldDefinition("born", "date"),
    FieldDefinition("at", "time"),
    FieldDefinition("seen", "timestamp"),
    FieldDefinition("phone", repetitions=3),
    FieldDefinition("photo", "container"),
]
ROWS: list[dict[str, object]] = [
    {"id": "1", "Größe, in cm": 171.5, "born": "2001-02-03", "at": "04:05:06", "seen": "2024-05-06 07:08:09"},
    {"id": "O'B/2\rlines", "phone(1)": "one", "phone(3)": "three"},
    {"id": "3", "Größe, in cm": "12345678901234567890", "at": "36:00:00"},
]


def test_a_record_has_the_same_values_as_through_the_data_api_repetitions_included(clinic: Clinic) -> None:
    clinic.layout("People", FIELDS, ROWS)
    with clinic.client() as client:
        expected = list(client.page("People", 1, 10).records)
        described = {field.name: (field.result, field.repetitions) for field in client.layout_fields("People")}
    with clinic.odata() as opened:
        fields = [field for field in opened.fields("People") if field.result != "container"]
        assert {each.name: (each.result, each.repetitions) for each in opened.fields("People")} == described
        found = opened.read(Reading("People", fields, 2), list)
        assert opened.sample("People", fields).records == (found[0],)
    for record in expected:
        del record.fields["photo"]
    assert found == expected


def test_text_in_a_number_or_date_field_does_not_come_over_odata(clinic: Clinic) -> None:
    clinic.layout("People", FIELDS, [{"id": "1", "Größe, in cm": "about 171 cm", "born": "unknown"}])
    with clinic.client() as client:
        as_it_is = client.page("People", 1, 1).records[0].fields
    with clinic.odata() as opened:
        fields = [field for field in opened.fields("People") if field.name in ("Größe, in cm", "born")]
        (by_odata,) = opened.read(Reading("People", fields), list)
    assert (as_it_is["Größe, in cm"], as_it_is["born"]) == ("about 171 cm", "unknown")
    assert by_odata.fields == {"Größe, in cm": 171, "born": ""}


def test_a_server_that_shows_the_first_repetition_only_is_a_stop(
    clinic: Clinic, proxy: Callable[[str, str], None]
) -> None:
    clinic.layout("People", FIELDS, ROWS)
    proxy("/%22phone%22", "/%22id%22")
    with clinic.odata() as opened, pytest.raises(RepetitionsHidden, match="phone of People repeats"):
        read_ids(opened, "People", 10, ["id", "phone"])


def test_a_record_that_goes_before_its_repetitions_are_read_makes_the_reader_begin_again(clinic: Clinic) -> None:
    clinic.layout("People", FIELDS, ROWS)
    gone = {"delete": {"table": "People", "record_id": 2}}
    clinic.server.faults(between_pages=[{"after": 2, "do": [gone]}])
    with clinic.odata() as opened:
        assert read_ids(opened, "People", 10, ["id", "phone"]) == [1, 3]


def test_a_container_is_never_read_as_an_empty_field(clinic: Clinic) -> None:
    clinic.layout("People", FIELDS, ROWS)
    with clinic.odata() as opened, pytest.raises(FieldMissing, match="photo of People is a container"):
        read_ids(opened, "People", 10, ["id", "photo"])


def test_the_server_and_its_table_occurrences_are_described(clinic: Clinic) -> None:
    clinic.notes(3)
    with clinic.odata() as opened:
        assert opened.version().startswith("21.")
        assert opened.tables() == ["API_Notes"]
        assert opened.sample("API_Notes", opened.fields("API_Notes")).found_count == 3
        assert opened.source == f"{clinic.server.base_url}/fmi/odata/v4/{clinic.database}"
        with pytest.raises(TableNotReadable, match="only letters, digits"):
            opened.fields("Other")
        with pytest.raises(TableNotReadable, match="does not find the table occurrence Other"):
            opened.client.count("Other")


def test_an_account_is_told_what_it_lacks_and_a_wrong_password_is_sent_once(clinic: Clinic) -> None:
    clinic.store.add_account(clinic.database, ServerAccount("old", PASSWORD, privileges=("fmrest",)))
    with clinic.odata(username="old") as opened, pytest.raises(ODataPrivilegeMissing, match="fmodata"):
        opened.tables()
    with clinic.odata(password="other") as opened, pytest.raises(WrongPassword, match="FILEMAKER_PASSWORD"):
        opened.tables()
    with clinic.odata(database="other") as opened, pytest.raises(DatabaseNotOpen, match="FILEMAKER_DATABASE"):
        opened.tables()
    assert clinic.answered("odata_sets") == 4  # the unknown file is asked for with its suffix too
    assert clinic.pauses == []


def test_a_file_whose_name_has_a_dot_is_found_by_its_suffix(clinic: Clinic) -> None:
    name = f"{clinic.database} 06.1"
    clinic.store.create_database(name, [ServerAccount(USER, PASSWORD)])
    clinic.store.create_table(name, "Notes", [FieldDefinition("id")])
    clinic.store.insert(name, "Notes", [{"id": "a"}, {"id": "b"}])
    with clinic.odata(database=name) as opened:
        assert read_ids(opened, "Notes", 10) == [1, 2]


@pytest.mark.parametrize("takes_bare_names", [True, False])
def test_a_table_occurrence_whose_name_is_no_plain_word_is_read(takes_bare_names: bool, tmp_path: Path) -> None:
    behaviour = Behaviour(odata=ODataBehaviour(takes_bare_names=takes_bare_names))
    store = Store(tmp_path / "state.sqlite")
    with running_stand_in(store, behaviour=behaviour) as server, clinic_on(store, server) as clinic:
        clinic.layout("Köche & Gäste@Haus", ["id"], [{"id": "a"}, {"id": "b"}])
        with clinic.odata() as opened:
            assert read_ids(opened, "Köche & Gäste@Haus", 1) == [1, 2]
    store.close()


def test_the_web_server_in_place_of_the_engine_is_asked_again_and_then_given_up(clinic: Clinic) -> None:
    clinic.server.disturb("bad_gateway", of=["odata_metadata"], times=None)
    with clinic.odata() as opened, pytest.raises(ServerUnavailable, match="Admin Console"):
        opened.version()
    assert clinic.answered("odata_metadata") == 6


def test_every_request_is_a_get_with_the_account_and_no_cookie(clinic: Clinic, sent: list[PreparedRequest]) -> None:
    clinic.layout("People", FIELDS, ROWS)
    with clinic.odata() as opened:
        fields = [field for field in opened.fields("People") if field.result != "container"]
        opened.version()
        opened.tables()
        opened.sample("People", fields)
        opened.read(Reading("People", fields, 2), ids_of)
    assert len(sent) > 10
    for request in sent:
        assert request.method == "GET"
        assert request.headers["Authorization"].startswith("Basic ")
        assert "Cookie" not in request.headers
        assert "%24" not in str(request.url)
        assert "+" not in str(request.url)


def test_nothing_in_the_product_can_send_a_write_over_odata() -> None:
    """One place makes the requests of OData, and its verb is a constant."""
    folder = Path(package.__file__).parent
    trees = {path.name: ast.parse(path.read_text("utf-8")) for path in folder.glob("*.py")}
    calls = [
        (name, node)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in ("Call", "send")
    ]
    made = [(name, ast.unparse(node)) for name, node in calls if getattr(node.func, "id", "") == "Call"]
    assert [name for name, _ in made] == ["client.py"]
    assert made[0][1].startswith("Call('GET', ")
    words = {node.value for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not words & {"POST", "PUT", "PATCH", "DELETE", "$batch"}
    product = folder.parents[1]
    others = [
        path.relative_to(product).as_posix()
        for path in product.rglob("*.py")
        if "fmi/odata" in path.read_text("utf-8") and not path.is_relative_to(product / "sandbox")
    ]
    assert others == ["filemaker/odata/client.py"]


def test_a_server_with_a_private_authority_is_read_if_its_bundle_is_named(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    store = Store(tmp_path / "state.sqlite")
    with running_stand_in(store, tls=certificate) as server, clinic_on(store, server) as clinic:
        clinic.notes(2)
        for bundle, opens in ((certificate[0], True), (None, False)):
            transport = Transport(server.base_url, ca_bundle=bundle, timeout=60)
            with ODataDoor(ODataClient(transport, clinic.database, USER, PASSWORD)) as opened:
                typed: Door = opened
                if opens:
                    assert typed.tables() == ["API_Notes"]
                    continue
                with pytest.raises(CertificateRefused, match="No password was sent"):
                    typed.tables()
    store.close()
