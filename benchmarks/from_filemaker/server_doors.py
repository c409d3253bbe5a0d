"""A stand-in with one table, read through a door and by the plainest loop that fetches the same pages."""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

import requests

from fm_pipeline.filemaker.connect import open_door
from fm_pipeline.filemaker.door import DoorKind, Reading
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.stack.filemaker import DATABASE, FileMakerService
from fm_pipeline.sandbox.stack.stack import temporary_stack
from fm_pipeline.settings import Settings, load_settings

PAGE = 1000
TABLE = "Notes"
FIELDS = (
    *(FieldDefinition(name) for name in ("id", "patient_id", "type", "note", "created_by")),
    *(FieldDefinition("number", "number"), FieldDefinition("changed", "timestamp")),
)
Fetch = Callable[[requests.Session, Settings], int]


class Timed(NamedTuple):
    """Records and seconds of one reading."""

    records: int
    seconds: float


@contextmanager
def served(records: int) -> Iterator[Settings]:
    """Serve a file with so many notes; the settings name it."""
    with temporary_stack([FileMakerService]) as stack:
        service = stack.service(FileMakerService)
        with closing(Store(service.state_file)) as store:
            store.create_table(DATABASE, TABLE, FIELDS)
            store.create_layout(DATABASE, TABLE, TABLE, [field.name for field in FIELDS])
            store.insert(DATABASE, TABLE, map(_note, range(records)))
        named = {name.lower(): value for name, value in service.settings().items()}
        yield load_settings(_env_file=None, nexus_database_url="postgresql://nobody@127.0.0.1:1/none", **named)


def by_door(settings: Settings, kind: DoorKind) -> Timed:
    """Open a door and read the table through it."""
    start = time.perf_counter()
    with open_door(settings.model_copy(update={"filemaker_door": kind})) as door:
        reading = Reading(TABLE, door.fields(TABLE), PAGE)
        records = door.read(reading, lambda found: sum(1 for _ in found))
    return Timed(records, time.perf_counter() - start)


def by_loop(settings: Settings, kind: DoorKind) -> Timed:
    """Fetch the same pages and parse them, without a check of anything."""
    fetch: Fetch = _odata if kind == "odata" else _data_api
    start = time.perf_counter()
    with requests.Session() as session:
        records = fetch(session, settings)
    return Timed(records, time.perf_counter() - start)


def _data_api(session: requests.Session, settings: Settings) -> int:
    base = f"{settings.filemaker_url}/fmi/data/vLatest/databases/{DATABASE}"
    logged_in = session.post(f"{base}/sessions", auth=_account(settings), json={}, timeout=60).json()
    session.headers["Authorization"] = f"Bearer {logged_in['response']['token']}"
    records = 0
    while True:
        window = f"_offset={records + 1}&_limit={PAGE}&portal=[]&dateformats=2"
        found = session.get(f"{base}/layouts/{TABLE}/records?{window}", timeout=60).json()["response"].get("data", [])
        if not found:
            return records
        records += len(found)


def _odata(session: requests.Session, settings: Settings) -> int:
    session.auth = _account(settings)
    session.headers["Accept"] = "application/json;IEEE754Compatible=true"
    names = ",".join([*(f"%22{field.name}%22" for field in FIELDS), "ROWID", "ROWMODID"])
    base = f"{settings.filemaker_url}/fmi/odata/v4/{DATABASE}/{TABLE}?$select={names}&$orderby=ROWID%20asc&$top={PAGE}"
    records = last = 0
    while found := session.get(f"{base}&$filter=ROWID%20gt%20{last}", timeout=60).json()["value"]:
        records, last = records + len(found), int(found[-1]["ROWID"])
    return records


def _account(settings: Settings) -> tuple[str, str]:
    if settings.filemaker_username is None or settings.filemaker_password is None:
        sys.exit("The stand-in has no account.")
    return settings.filemaker_username, settings.filemaker_password.get_secret_value()


def _note(number: int) -> dict[str, object]:
    rng = random.Random(number)  # noqa: S311
    ids = (str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(2))
    text = "a note of some length " * rng.randint(1, 15)
    return {
        **dict(zip(("id", "patient_id"), ids, strict=True)),
        **{"type": "Clinical notes", "note": text, "created_by": "somebody", "number": number},
        "changed": f"2024-01-{number % 28 + 1:02}T03:04:05",
    }
