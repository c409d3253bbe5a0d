"""The websocket by which Dagster's page follows a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from fm_pipeline.console.gateway.guard import SESSION_CHECK_SECONDS
from fm_pipeline_tests.console.conftest import Console

_PROTOCOL = Subprotocol("graphql-ws")
_PATIENCE = 20 * SESSION_CHECK_SECONDS
_COLUMNS = ("is_active", "is_staff", "password")
_ENDS = {
    "manager": "is_active = false",
    "reception": "password = 'pbkdf2_sha256$1$x$' || password",
    "admin": "is_staff = false",
}


@contextmanager
def websocket(
    console: Console, session: requests.Session, origin: str, path: str = "graphql"
) -> Iterator[ClientConnection]:
    cookies = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
    address = f"{console.url.replace('http', 'ws', 1)}/dagster/{path}"
    headers = {"Cookie": cookies} if cookies else {}
    with connect(
        address, origin=Origin(origin), subprotocols=[_PROTOCOL], additional_headers=headers, proxy=None
    ) as opened:
        yield opened


def test_it_follows_what_happens_for_an_admin_and_a_viewer(console: Console) -> None:
    for name in ("admin", "reception"):
        with websocket(console, console.session(name), console.url) as opened:
            opened.send(json.dumps({"type": "connection_init"}))
            assert json.loads(opened.recv(_PATIENCE)) == {"type": "connection_ack"}


def test_it_is_refused_before_it_is_accepted_without_a_session_or_from_another_site(console: Console) -> None:
    admin, nobody = console.session("admin"), console.session()
    forged = console.session()
    forged.cookies["fm_console_session"] = "a" * 32
    other_port = console.url.rsplit(":", 1)[0] + ":1"
    for session, origin, path in (
        (nobody, console.url, "graphql"),
        (forged, console.url, "graphql"),
        (admin, "https://elsewhere.example", "graphql"),
        (admin, other_port, "graphql"),
        (admin, console.url.replace("http", "https", 1), "graphql"),
        (admin, "null", "graphql"),
        (admin, console.url, "elsewhere"),
    ):
        with pytest.raises(InvalidStatus) as refused, websocket(console, session, origin, path):
            pass
        assert refused.value.response.status_code == 403


def test_it_ends_when_the_account_is_deactivated_or_its_password_changes_or_it_loses_its_role(console: Console) -> None:
    execute = console.bench.execute
    kept = execute(f"SELECT {', '.join(_COLUMNS)}, username FROM auth_user WHERE username = ANY(%s)", list(_ENDS))  # noqa: S608
    with ExitStack() as stack:
        opened = [stack.enter_context(websocket(console, console.session(name), console.url)) for name in _ENDS]
        for connection in opened:
            connection.send(json.dumps({"type": "connection_init"}))
            connection.recv(_PATIENCE)
        try:
            for name, change in _ENDS.items():
                execute(f"UPDATE auth_user SET {change} WHERE username = %s", name)  # noqa: S608  # a table of this test
            for connection in opened:
                with pytest.raises(ConnectionClosed) as ended:
                    connection.recv(_PATIENCE)
                assert (ended.value.rcvd and ended.value.rcvd.code) == 1008
        finally:
            for row in kept:
                execute(f"UPDATE auth_user SET {' = %s, '.join(_COLUMNS)} = %s WHERE username = %s", *row)  # noqa: S608


def test_a_viewer_does_not_get_what_a_run_prints(console: Console) -> None:
    query = 'subscription { capturedLogs(logKey: ["none", "compute_logs", "none"]) { stdout stderr } }'
    with websocket(console, console.session("reception"), console.url) as opened:
        opened.send(json.dumps({"type": "start", "id": "1", "payload": {"query": query}}))
        shown = json.loads(opened.recv(_PATIENCE))
    assert "Only an administrator" in shown["payload"]["data"]["capturedLogs"]["stdout"]


def test_a_mutation_does_not_pass_by_it(console: Console) -> None:
    for name in ("admin", "reception"):
        with websocket(console, console.session(name), console.url) as opened:
            start = {"type": "start", "id": "1", "payload": {"query": "mutation { reloadWorkspace { __typename } }"}}
            opened.send(json.dumps(start))
            assert json.loads(opened.recv(_PATIENCE))["type"] == "error"
