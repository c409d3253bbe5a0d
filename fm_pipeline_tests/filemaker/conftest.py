"""A FileMaker stand-in for the tests of a process, and in it a file of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.door import DataApiDoor
from fm_pipeline.filemaker.odata.client import ODataClient
from fm_pipeline.filemaker.odata.door import ODataDoor
from fm_pipeline.filemaker.transport import Transport
from fm_pipeline.sandbox.filemaker.call import Behaviour
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in

USER = "pipeline"
PASSWORD = "käse:only for tests"
_files = itertools.count(1)


@dataclass
class Clinic:
    """One FileMaker file on a running stand-in.

    Args:
        pauses: what the clients would have slept between repeats, in seconds.
    """

    store: Store
    server: StandIn
    database: str
    pauses: list[float] = field(default_factory=list)

    def client(
        self, *, username: str = USER, password: str = PASSWORD, database: str | None = None, timeout: float = 60
    ) -> DataApiClient:
        """A client of the file that does not really pause."""
        name = self.database if database is None else database
        return DataApiClient(self.server.base_url, name, username, password, timeout=timeout, sleep=self.pauses.append)

    def data_api(self) -> DataApiDoor:
        """The door of the Data API into the file."""
        return DataApiDoor(self.client())

    def odata(self, *, username: str = USER, password: str = PASSWORD, database: str | None = None) -> ODataDoor:
        """The door of OData into the file."""
        name = self.database if database is None else database
        transport = Transport(self.server.base_url, ca_bundle=None, timeout=60, sleep=self.pauses.append)
        return ODataDoor(ODataClient(transport, name, username, password))

    def layout(
        self,
        name: str,
        fields: Sequence[FieldDefinition | str],
        rows: Sequence[Mapping[str, object]] = (),
        folder: str | None = None,
    ) -> None:
        """Make a table and a layout with all its fields."""
        made = [FieldDefinition(one) if isinstance(one, str) else one for one in fields]
        self.store.create_table(self.database, name, made)
        self.store.create_layout(self.database, name, name, [one.name for one in made], folder=folder)
        self.store.insert(self.database, name, rows)

    def notes(self, count: int) -> None:
        """A layout API_Notes with numbered notes, which get the record ids 1, 2, 3 …"""
        rows = [{"id": f"n{number}", "patient_id": "p", "note": f"text {number}"} for number in range(1, count + 1)]
        self.layout("API_Notes", ["id", "patient_id", "note"], rows)

    def answered(self, what: str) -> int:
        """How many requests of a kind the stand-in got."""
        return int(self.server.counters()["requests"].get(what, 0))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give up soon on the next so many readings of a layout, which the server is to hold back, and on no other call.

    So it does not matter how fast the machine is: what is to be answered has all the time, what is not has none.
    """
    send, left = HTTPAdapter.send, [0]

    def send_impatiently(adapter: HTTPAdapter, request: PreparedRequest, **options: Any) -> Response:
        if left[0] and urlsplit(request.url or "").path.endswith("/records"):
            left[0] -= 1
            options["timeout"] = (60, 0.1)
        return send(adapter, request, **options)

    monkeypatch.setattr(HTTPAdapter, "send", send_impatiently)

    def give_up_on(readings: int) -> None:
        left[0] = readings

    return give_up_on


@contextmanager
def clinic_on(store: Store, server: StandIn) -> Iterator[Clinic]:
    """A new file on a healthy stand-in; the server is healed again at the end."""
    clinic = Clinic(store, server, f"clinic {next(_files)}")
    store.create_database(clinic.database, [ServerAccount(USER, PASSWORD)])
    server.reset_counters()
    try:
        yield clinic
    finally:
        server.faults()
        server.finish()
        server.end_sessions()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, StandIn]]:
    """The stand-in of this process."""
    store = Store(tmp_path_factory.mktemp("filemaker") / "state.sqlite")
    with running_stand_in(store) as server:
        yield store, server
    store.close()


@pytest.fixture
def clinic(served: tuple[Store, StandIn]) -> Iterator[Clinic]:
    """An empty file that this test has for itself."""
    with clinic_on(*served) as made:
        yield made


@contextmanager
def clinic_with(behaviour: Behaviour, folder: Path) -> Iterator[Clinic]:
    """A file on a server of another behaviour."""
    store = Store(folder / "state.sqlite")
    with running_stand_in(store, behaviour=behaviour) as server, clinic_on(store, server) as made:
        yield made
    store.close()


def clinic_of_version(version: int, folder: Path) -> AbstractContextManager[Clinic]:
    """A file on a server of another version."""
    return clinic_with(Behaviour(version=version), folder)
