"""What a recording asks a server, and what of the answers it keeps."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from fm_pipeline.filemaker.connect import FileMakerAccount
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.recorder.asking import Questions, record
from fm_pipeline.filemaker.recorder.forms import form_of
from fm_pipeline.filemaker.recorder.names import Names
from fm_pipeline.filemaker.recorder.recording import Exchange, Recording
from fm_pipeline.filemaker.recorder.shapes import code_in, shape_of
from fm_pipeline.filemaker.recorder.transport import BudgetSpent, RecordingTransport, harmless_headers
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, Portal, ServerAccount, StoredContainerFile
from fm_pipeline_tests.filemaker.conftest import PASSWORD as CLINIC_PASSWORD
from fm_pipeline_tests.filemaker.conftest import USER as CLINIC_USER
from fm_pipeline_tests.filemaker.conftest import Clinic

LAYOUT = "API_Patients"
# No four characters of these are in a word of the interfaces, and no number of four digits in a recording ends so.
DATABASE, USER, PASSWORD = "Zqxkv Wjyzq", "vkqzjx", "xqwzkj:Vzq9vkj7wq"
FIELD, OTHER_TABLE, OCCURRENCE = "zvkq wjxq", "Qjvkwz Xqvz", "Kqzvjwq"
VALUES = {
    "id": "7b83f916-4e57-4d6a-9c38-f5178e6f2a94",
    "first_name": "Wzqvkj",
    "last_name": "Xqzkvj-Wvqjx",
    FIELD: "vqzxk jwqzv\rzkqvw jxzqk\x0bqwvzx, kjqzv 'Jzqvxk'",
    "phone": "(08) 9471 6358",
    "email": "wqzvk.jxqz@kvqzjw.example",
    "weight": "8367.459",
    "height": "1 937 kjzq",
    "dob": "1947-08-16",
    "died": "zqvxk 1958",
    "start": "13:47:58",
    "modified": "1973-06-19T17:46:39",
    "picture": StoredContainerFile(b"kvzqjwx" * 20, name="wqzkxjv.jpg"),
}
TYPES = {
    "weight": "number",
    "height": "number",
    "dob": "date",
    "died": "date",
    "start": "time",
    "modified": "timestamp",
}


def _fields() -> Iterator[FieldDefinition]:
    for name in VALUES:
        kind = "container" if name == "picture" else TYPES.get(name, "text")
        yield FieldDefinition(name, kind, repetitions=2 if name == FIELD else 1)  # type: ignore[arg-type]


def fill(clinic: Clinic) -> None:
    """A file whose every value and name can be recognised."""
    store = clinic.store
    store.create_database(DATABASE, [ServerAccount(USER, PASSWORD)])
    if any(layout.name == LAYOUT for layout in store.layouts(DATABASE)):
        return
    store.create_table(DATABASE, LAYOUT, _fields())
    store.create_table(DATABASE, OTHER_TABLE, [FieldDefinition("id"), FieldDefinition(FIELD)])
    store.create_occurrence(DATABASE, LAYOUT, OCCURRENCE, OTHER_TABLE, ("id", "id"))
    portal = Portal(OCCURRENCE, [FIELD])
    store.create_layout(DATABASE, LAYOUT, LAYOUT, [*VALUES, f"{OCCURRENCE}::{FIELD}"], [portal], folder=OTHER_TABLE)
    store.insert(DATABASE, LAYOUT, [VALUES | {f"{FIELD}(2)": VALUES["email"]}] * 8)
    store.insert(DATABASE, OTHER_TABLE, [{"id": VALUES["id"], FIELD: VALUES["last_name"]}] * 3)


def ask(
    clinic: Clinic, *, password: str = PASSWORD, keep_names: bool = False, wrong_password: bool = False
) -> Recording:
    account = FileMakerAccount(clinic.server.base_url, DATABASE, USER, SecretStr(password))
    names = Names({LAYOUT, "id", "first_name", "last_name", "dob"}, keep_all=keep_names)
    return record(Questions(account, [[LAYOUT]], [[LAYOUT]], names, wrong_password=wrong_password))


def traces(secrets: Sequence[str], pieces: int = 4) -> Iterator[str]:
    """Every piece of a secret, and what can be made of the whole without hiding it."""
    for secret in secrets:
        raw = secret.encode()
        yield from (secret[start : start + pieces] for start in range(len(secret) - pieces + 1))
        yield quote(secret, safe="")
        yield from (b64encode(raw[start:]).decode().rstrip("=")[:-1] for start in range(3))
        for algorithm in ("md5", "sha1", "sha256", "sha512"):
            digest = hashlib.new(algorithm, raw)
            yield from (digest.hexdigest()[:12], b64encode(digest.digest()).decode()[:12])


def is_trace(piece: str) -> bool:
    """Whether nobody writes it by chance."""
    return len(piece) >= 4 and bool(re.search(r"[^\W_].*[^\W_]", piece))


def found_in(text: str, secrets: Sequence[str]) -> set[str]:
    lower = text.lower()
    return {piece for piece in traces(secrets) if is_trace(piece) and piece.lower() in lower}


def test_a_recording_holds_no_piece_of_a_value_of_a_name_or_of_the_account(clinic: Clinic) -> None:
    fill(clinic)
    values = [value for value in VALUES.values() if isinstance(value, str)] + ["kvzqjwxkvzq", "wqzkxjv"]
    names = [FIELD, OTHER_TABLE, OCCURRENCE]
    private = [DATABASE, USER, PASSWORD, f"{USER}:{PASSWORD}"]
    recording = ask(clinic, wrong_password=True)
    assert found_in(recording.text(), [*values, *names, *private]) == set()
    assert "127.0.0.1" not in recording.text()
    assert f'"{LAYOUT}"' in recording.text()
    with_names = ask(clinic, keep_names=True).text()
    assert found_in(with_names, [*values, *private]) == set()
    assert f'"{FIELD}"' in with_names
    # Not even where the JSON is broken, and the page of a web server quotes what it likes
    clinic.server.faults(
        broken_values=[{"table": LAYOUT, "record_id": 2, "field": "last_name", "as": "control_characters"}]
    )
    broken = ask(clinic)
    assert "UnreadableAnswer" in {step.client for step in broken.steps}
    assert found_in(broken.text(), [*values, *names, *private]) == set()


def test_a_recording_reads_only_and_leaves_no_session(clinic: Clinic) -> None:
    fill(clinic)
    recording = ask(clinic)
    counted = clinic.server.counters()
    assert set(counted["requests"]) == {
        "product_info", "login", "logout", "layouts", "layout", "records", "record", "find", "container_key",
        "odata_sets", "odata_metadata", "odata_rows", "odata_count", "odata_field",
    }  # fmt: skip
    assert counted["open_sessions"] == 0
    assert counted["most_under_way"] == 1
    assert sum(counted["requests"].values()) == len(list(recording.exchanges())) <= 40
    assert {step.client for step in recording.steps if step.step in ("first page", "rows", "layouts", "tables")} == {
        "ok"
    }
    assert Recording.model_validate_json(recording.text()) == recording


def test_an_account_that_is_refused_is_not_tried_again(clinic: Clinic) -> None:
    fill(clinic)
    recording = ask(clinic, password="wrong")
    assert clinic.server.counters()["answers"].get("212") == 1
    assert [(step.step, step.client) for step in recording.steps] == [
        ("product info", "ok"),
        ("layouts", "WrongPassword"),
        ("log out", "ok"),
    ]


def test_a_header_is_kept_by_name_and_its_value_only_where_that_is_a_word_of_the_protocol() -> None:
    kept = harmless_headers(
        {
            "Content-Type": "application/json;odata.metadata=minimal",
            "Server": "zqvkjw.example",
            "OData-Version": "4.01",
            "Set-Cookie": "session=zqvkjw",
            "X-Clinic-Zqvkjw": "zqvkjw",
        }
    )
    assert kept == {
        "content-type": "application/json;odata.metadata=minimal",
        "odata-version": "4.01",
        "server": "another",
        "set-cookie": "there",
    }


def test_a_recording_sends_no_more_requests_than_it_may(clinic: Clinic) -> None:
    clinic.notes(1)
    transport = RecordingTransport(clinic.server.base_url, Names(()), most=3, ca_bundle=None, timeout=60)
    with DataApiClient("", clinic.database, CLINIC_USER, CLINIC_PASSWORD, transport=transport) as client:
        client.product_info()
        client.layouts()
        with pytest.raises(BudgetSpent):
            client.layout_fields("API_Notes")
    assert clinic.server.counters()["requests"] == {"product_info": 1, "login": 1, "layouts": 1, "logout": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'{"messages": 1}', b'{"error": []}', b"\xff\xfe{", b"<html>Wzq", b"<a><!DOCTYPE b></a>",
        b'{"Wzq": ' * 900 + b"1" + b"}" * 900, b"[" * 90_000, b"<a>" * 900, b"9" * 5000, b'{"\\ud800": "\\udfff"}',
    ],
)  # fmt: skip
def test_whatever_a_server_sends_has_a_shape(body: bytes) -> None:
    for keep_all in (False, True):
        shape = shape_of(body, Names((), keep_all=keep_all))
        exchange = Exchange(request="", status=200, code=code_in(body), milliseconds=0, headers={}, shape={**shape})
        assert shape
        assert keep_all or "wzq" not in exchange.model_dump_json().lower()


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, "null"),
        ("", "empty text"),
        (True, "boolean"),
        (-12.5, "number, minus, 2 and 1 digits"),
        (1e300, "number, with an exponent"),
        ("2026-03-01T09:00:00Z", "text 9999-99-99T99:99:99Z"),
        ("(08) 9471 6358", "text (99) 9999 9999"),
        ("9c38-f517", "text XXXX-XXXX"),
        ("Wzqvkj\r2", "text, up to 8: letters, digits, control 13"),
        ("Wäzq", "text, up to 4: letters, beyond ASCII"),
        ("https://wzq.example/8", "url"),
    ],
)
def test_a_form_says_what_a_value_is_made_of(value: object, form: str) -> None:
    assert form_of(value) == form
