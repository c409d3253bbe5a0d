"""The guard while the accounts cannot be read."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import Message

from fm_pipeline.console.gateway.context import ADMIN
from fm_pipeline.console.gateway.guard import Guard
from fm_pipeline.console.gateway.visitors import Visitor


async def _record(*_: object, **__: object) -> None:
    """Keep nothing."""


async def _status(guard: Guard) -> int:
    """Of the answer to a request for a page."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": "GET", "path": "/dagster/runs", "query_string": b"", "headers": headers}
    await guard(scope, receive, send)
    return int(sent[0]["status"])


def test_that_the_accounts_cannot_be_read_is_logged_once_until_they_can(caplog: pytest.LogCaptureFixture) -> None:
    answers = [False, False, False, True, False, False]

    async def find(_: HTTPConnection) -> Visitor:
        if not answers.pop(0):
            raise ConnectionError("the database is away")
        return Visitor("admin", ADMIN)

    guard = Guard(
        PlainTextResponse("Dagster"),
        find,
        address_of=lambda _: "127.0.0.1",
        record=_record,
        hosts=["127.0.0.1"],
        url=None,
        no_accounts_page=lambda: "no accounts",
    )
    statuses = [asyncio.run(_status(guard)) for _ in range(len(answers))]
    assert statuses == [503, 503, 503, 200, 503, 503]
    assert [record.getMessage().partition(",")[0] for record in caplog.records if record.exc_info] == [
        "The accounts cannot be read"
    ] * 2
