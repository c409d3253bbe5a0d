"""Answers that random ones have found, one by one: of FileMaker Server and of S3."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fm_pipeline.errors import StorageError
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.errors import NotTheDataApi, ServerTimeout
from fm_pipeline_tests.answers import clients
from fm_pipeline_tests.answers.server import answering_server
from fm_pipeline_tests.answers.strategies import Said
from fm_pipeline_tests.support.scripted_http import Request, reply, scripted

OK = [{"code": "0", "message": "OK"}]
SESSION = reply(200, {"response": {"token": "t"}, "messages": OK})


def said_by_filemaker(body: str | dict[str, Any], question: Callable[[DataApiClient], object]) -> None:
    def answering(request: Request) -> bytes:
        return SESSION if request.path.endswith("/sessions") or request.method == "DELETE" else reply(200, body)

    with (
        scripted(answering) as server,
        DataApiClient(f"http://127.0.0.1:{server.port}", "clinic", "user", "word", sleep=lambda _: None) as client,
        pytest.raises(NotTheDataApi),
    ):
        question(client)


@pytest.mark.parametrize(
    ("response", "question"),
    [
        ({"productInfo": ["19"]}, DataApiClient.product_info),
        ({"layouts": {"name": "a"}}, DataApiClient.layouts),
        ({"layouts": [{"isFolder": False}]}, DataApiClient.layouts),
        ({"fieldMetaData": [{"result": "text"}]}, lambda client: client.layout_fields("a")),
        ({"fieldMetaData": [{"name": "a", "repetitionEnd": 10**9}]}, lambda client: client.layout_fields("a")),
        ({"dataInfo": [], "data": []}, lambda client: client.page("a", 1, 1)),
        ({"dataInfo": {"foundCount": "many"}, "data": []}, lambda client: client.page("a", 1, 1)),
        ({"dataInfo": {"foundCount": 1}, "data": [{"recordId": "1"}]}, lambda client: client.page("a", 1, 1)),
        ({"dataInfo": {"foundCount": 1}, "data": []}, lambda client: client.record("a", 1)),
        ({"modId": None}, lambda client: client.edit("a", 1, {})),
        ({}, lambda client: client.edit("a", 1, {})),
    ],
)
def test_an_answer_in_the_envelope_without_the_requested_data_is_not_the_data_apis(
    response: dict[str, Any], question: Callable[[DataApiClient], object]
) -> None:
    said_by_filemaker({"response": response, "messages": OK}, question)


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 20_000])
def test_json_that_is_nested_without_end_is_not_the_data_apis(body: str) -> None:
    said_by_filemaker(body, lambda client: client.page("a", 1, 1))


@pytest.mark.parametrize("token", ["", "\u00fc\u2014", "a\r\nb", 7, None])
def test_a_token_that_no_header_can_hold_is_none(token: object) -> None:
    with (
        scripted(lambda _: reply(200, {"response": {"token": token}, "messages": OK})) as server,
        DataApiClient(f"http://127.0.0.1:{server.port}", "clinic", "user", "word", sleep=lambda _: None) as client,
        pytest.raises(NotTheDataApi),
    ):
        client.layouts()


def test_headers_that_drip_end_with_the_time_out() -> None:
    dripping = Said(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 90, pieces=500, pause_seconds=0.05)
    with answering_server() as server:
        server.will_say([dripping])
        begun = time.monotonic()
        url = f"http://127.0.0.1:{server.port}"
        with DataApiClient(url, "clinic", "user", "word", timeout=0.3) as client, pytest.raises(ServerTimeout):
            client.product_info()
        assert time.monotonic() - begun < 15
        server.will_say([Said(b"")])
    assert threading.active_count() < 100


LISTED = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Contents>%s</Contents></ListBucketResult>'


@pytest.mark.parametrize(
    ("question", "body"),
    [
        ("put", ""),
        ("put", "<html>OK</html>"),
        ("copy", "<CopyObjectResult/>"),
        ("list", LISTED % "<Key>patients/1.jpg</Key>"),
        ("find", LISTED % "<Size>7</Size>"),
        ("list", "<html><body>Not S3</html>"),
    ],
)
def test_an_answer_that_s3_would_not_give_is_not_a_success(question: str, body: str) -> None:
    with scripted(lambda _: reply(200, body)) as server, pytest.raises(StorageError) as refused:
        clients.S3.questions[question](server.port)
    assert refused.value.remedy
