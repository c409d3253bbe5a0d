"""Helpers for pages: fetch one, send a form."""

from __future__ import annotations

import re
import threading
from functools import partial

import requests

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.support.waiting import InThread


def fetch(console: Console, session: requests.Session, path: str, status: int = 200) -> str:
    """Return a page; its status must be the expected one."""
    answer = session.get(console.url + path, timeout=60)
    assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
    return answer.text


def sent_together(
    console: Console, sessions: tuple[requests.Session, ...], path: str, /, **form: str
) -> list[requests.Response]:
    """Send a form from each session at the same moment, and return the answers in their order."""
    gate = threading.Barrier(len(sessions))

    def sent(session: requests.Session) -> requests.Response:
        gate.wait(30)
        fields = form | console.token(session)
        return session.post(console.url + path, data=fields, timeout=60, allow_redirects=False)

    return [thread.outcome() for thread in [InThread(partial(sent, session)) for session in sessions]]


def send(
    console: Console, session: requests.Session, path: str, status: int = 302, /, **form: str
) -> requests.Response:
    """Send a form with the session's CSRF token, as a page does; redirects are not followed."""
    form["csrfmiddlewaretoken"] = session.cookies["fm_console_csrf"]
    answer = session.post(console.url + path, data=form, timeout=60, allow_redirects=False)
    assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
    return answer


def is_led_to_wrong_words(page: str) -> bool:
    """Whether a page says that other words were typed, and the browser goes to that message."""
    return bool(re.search(r'<p [^>]*tabindex="-1" autofocus>These are not the words', page))


def run_of(answer: requests.Response) -> str:
    """Return the id of the run to whose page an answer leads."""
    return answer.headers["Location"].rstrip("/").rsplit("/", 1)[-1]
