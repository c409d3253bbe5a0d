"""One server for all tests here; each test has a FileMaker file of its own on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, Portal, Script, ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.filemaker.data.values import Locale
from fm_pipeline_tests.sandbox.filemaker.raw import PASSWORD, Raw
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in

_NUMBERS = itertools.count(1)

ACCOUNTS = (
    ServerAccount("admin", PASSWORD),
    ServerAccount("no_api", PASSWORD, privileges=()),
    ServerAccount("reception", PASSWORD, no_access={"Patients": ["notes"]}),
)
PATIENTS: list[dict[str, object]] = [
    {"id": "P1", "name": "Ada Lovelace", "born": "1815-12-10", "weight": 60, "seen": "2024-03-01T09:30:00"},
    {"id": "P2", "name": "Grace Hopper", "born": "1906-12-09", "weight": "12 kg", "seen": "2024-03-01T17:00:00"},
    {"id": "P3", "name": "Mary Anning", "born": "?", "weight": 7.5, "seen": "2024-03-02T08:00:00"},
    {"id": "P4", "name": "Ada Adams", "born": "", "weight": "", "seen": ""},
]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The store that the server serves."""
    made = Store(tmp_path_factory.mktemp("filemaker") / "state.sqlite")
    yield made
    made.close()


@pytest.fixture(scope="session")
def server(store: Store) -> Iterator[StandIn]:
    """The server."""
    with running_stand_in(store) as running:
        yield running


@pytest.fixture
def stand_in(server: StandIn) -> Iterator[StandIn]:
    """The server, healthy; healed again after the test."""
    yield server
    server.heal()


def fill(store: Store, database: str) -> None:
    """A small file: four patients, their notes in portals, an empty table, a layout in a folder, scripts."""
    store.create_database(database, ACCOUNTS, Locale(date="%d/%m/%Y"))
    store.create_table(
        database,
        "Patients",
        [
            FieldDefinition("id"),
            FieldDefinition("name"),
            FieldDefinition("born", "date"),
            FieldDefinition("weight", "number"),
            FieldDefinition("seen", "timestamp"),
            FieldDefinition("wait", "time"),
            FieldDefinition("phone", repetitions=2),
            FieldDefinition("notes"),
            FieldDefinition("photo", "container"),
            FieldDefinition("hidden"),
            FieldDefinition("made", "timestamp", auto_enter="creation"),
            FieldDefinition("changed", "timestamp", auto_enter="modification"),
        ],
    )
    store.create_table(database, "Notes", [FieldDefinition("patient"), FieldDefinition("text")])
    store.create_table(database, "Empty", [FieldDefinition("id")])
    store.create_occurrence(database, "Patients", "pat_NOTES", "Notes", ("id", "patient"))
    shown = ("id", "name", "born", "weight", "seen", "wait", "phone", "notes", "photo")
    store.create_layout(database, "API_Patients", "Patients", shown)
    store.create_layout(database, "Narrow", "Patients", ["id", "changed", "pat_NOTES::text"], folder="More")
    store.create_layout(database, "Day/Night", "Patients", ["id"])
    store.create_layout(database, "Empty", "Empty", ["id"])
    portals = [Portal("pat_NOTES", ["text"], name="Notes"), Portal("pat_NOTES", ["patient"])]
    store.create_layout(database, "With portals", "Patients", ["id"], portals)
    store.create_layout(database, "As list", "Patients", ["id"], portals, view="list")
    store.create_script(database, Script("Tidy", result="tidied"))
    store.create_script(database, Script("Broken", error=3, folder="Old"))
    store.insert(database, "Patients", PATIENTS)
    store.insert(database, "Notes", ({"patient": "P1", "text": f"note {n}"} for n in range(1, 61)))


@pytest.fixture
def database(store: Store) -> str:
    """The name of a filled file that this test has for itself."""
    name = f"Clinic{next(_NUMBERS)}"
    fill(store, name)
    return name


@pytest.fixture
def visitor(stand_in: StandIn, database: str) -> Iterator[Raw]:
    """A client that is not logged in."""
    client = Raw(stand_in.base_url, database)
    yield client
    client.session.close()


@pytest.fixture
def client(visitor: Raw) -> Raw:
    """A client that is logged in as admin."""
    assert visitor.login().end == (200, "0")
    return visitor
