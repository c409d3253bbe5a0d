from __future__ import annotations

import logging
import socket
import threading

import pytest
import requests
import uvicorn
from starlette.types import Receive, Scope, Send

from fm_pipeline.console.site import answer_until_stopped
from fm_pipeline_tests.support.waiting import InThread, wait_until

_asked = threading.Event()


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers nothing."""
    _asked.set()
    while True:
        await receive()


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    await answer_until_stopped(endless, scope, receive, send)


def test_a_request_that_the_stop_of_the_site_ends_says_so_and_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    _asked.clear()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(site, lifespan="off", log_config=None, timeout_graceful_shutdown=0)
        server = uvicorn.Server(config)
        serving = InThread(lambda: server.run(sockets=[listening]))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with caplog.at_level(logging.ERROR):
            request = InThread(lambda: requests.get(address, timeout=30))
            wait_until(_asked.is_set)
            server.should_exit = True
            answer = request.outcome()
            serving.outcome()
    assert answer.status_code == 503
    assert "look at the page History before you repeat it" in answer.text
    assert [record.exc_info for record in caplog.records if record.exc_info] == []
