"""A client without any cleverness: one call, one request, whose query goes out as it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, Portal, StoredContainerFile
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import PASSWORD
from fm_pipeline_tests.sandbox.filemaker.running import StandIn
from fm_pipeline_tests.support.pictures import picture


@dataclass
class RawOData:
    """A client of one file."""

    base_url: str
    database: str
    account: str = "admin"
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, path: str, **headers: str) -> requests.Response:
        """GET a path below the file, or a whole URL. Underscores in names of headers are hyphens."""
        url = path if path.startswith("http") else f"{self.base_url}/fmi/odata/v4/{self.database}{path}"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.get(url, headers=given, auth=(self.account, PASSWORD), timeout=60)

    def rows(self, path: str) -> list[dict[str, Any]]:
        """The rows of a list, without their control keys."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return [{k: v for k, v in row.items() if not k.startswith("@")} for row in answer.json()["value"]]

    def found(self, wanted: str) -> list[str]:
        """The ids that a `$filter` finds."""
        return [row["id"] for row in self.rows(f"/Patients?$select=id&$filter={wanted}")]

    def failure(self, path: str) -> tuple[int, str]:
        """HTTP status and code of an error."""
        answer = self.get(path)
        return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
def odata(stand_in: StandIn, database: str) -> Iterator[RawOData]:
    """A client of the filled file."""
    client = RawOData(stand_in.base_url, database)
    yield client
    client.session.close()


@pytest.fixture
def keyed(store: Store, database: str) -> str:
    """The file, with two tables whose key fields are unique: `contacts` by text, `visits` by number."""
    store.create_table(
        database,
        "contacts",
        [FieldDefinition("id", unique=True), FieldDefinition("First Name"), FieldDefinition("photo", "container")],
    )
    store.create_table(
        database, "visits", [FieldDefinition("number", "number", unique=True), FieldDefinition("contact")]
    )
    store.create_occurrence(database, "contacts", "contact_visits", "visits", ("id", "contact"))
    store.create_layout(database, "visits of contacts", "contacts", ["id"], [Portal("contact_visits", ["number"])])
    photo = StoredContainerFile(picture(1), "face é.jpg")
    store.insert(
        database,
        "contacts",
        [{"id": "O'B/1", "First Name": "Ada", "photo": photo}, {"id": "C2", "First Name": "Grace"}],
    )
    store.insert(database, "visits", [{"number": n, "contact": "O'B/1"} for n in (1, 2, 3)])
    return database
