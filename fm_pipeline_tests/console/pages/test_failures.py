from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch
from fm_pipeline_tests.support.waiting import wait_until


@pytest.mark.parametrize("username", [None, "reception"])
def test_an_unknown_address_is_answered_by_a_page_that_says_so(console: Console, username: str | None) -> None:
    answer = console.session(username).get(f"{console.url}/settings/nothing-here", timeout=30)
    assert answer.status_code == 404
    assert "There is no such page." in answer.text


def test_a_form_of_another_page_is_refused_with_what_to_do_and_recorded_for_an_account(console: Console) -> None:
    address = f"{console.url}/settings/maintenance/announce"
    ((since,),) = console.bench.execute("SELECT max(id) FROM fm_pipeline.audit")
    admin, nobody = console.session("admin"), console.session()
    admin.headers["X-Forwarded-For"] = "203.0.113.41"  # the same from one address is recorded once a minute
    for session in (admin, admin, nobody):
        answer = session.post(address, timeout=30)
        assert answer.status_code == 403
        assert "Nothing was changed." in answer.text
        assert "reload that page" in answer.text
    rows = "SELECT actor, outcome, detail FROM fm_pipeline.audit WHERE id > %s AND action = 'access'"
    detail = "POST announce-maintenance: the form did not come from a page of this site."
    assert console.bench.execute(rows, since) == [("admin", "refused", detail)]


@contextmanager
def closed_database(console: Console) -> Iterator[None]:
    """PostgreSQL lets the console's role in no more, and has ended its sessions."""
    ((role,),) = console.bench.execute("SELECT current_database() || '_console'")
    console.bench.execute(f"ALTER ROLE {role} NOLOGIN")
    try:
        console.bench.execute("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE usename = %s", role)
        yield
    finally:
        console.bench.execute(f"ALTER ROLE {role} LOGIN")


def test_without_the_database_every_page_says_so_and_comes_back_by_itself(console: Console) -> None:
    session = console.session("admin")
    history, state, call = "/settings/history/", "/settings/data-management/state", "/api/sync/get-configuration"

    def ask(path: str, **headers: str) -> requests.Response:
        return session.get(f"{console.url}{path}", headers=headers, timeout=60)

    with closed_database(console), ThreadPoolExecutor() as at_once:  # each waits for a connection
        whole, part, machine, sent, dagster, graphql = at_once.map(
            lambda asked: asked(),
            [
                lambda: ask(history),
                lambda: ask(state, **{"HX-Request": "true"}),
                lambda: ask(call),
                lambda: session.post(f"{console.url}/logout/", data=console.token(session), timeout=60),
                lambda: ask("/dagster/runs"),
                lambda: session.post(f"{console.url}/dagster/graphql", json={"query": "{ version }"}, timeout=60),
            ],
        )
    said = "The database of Nexus does not answer"
    assert [(answer.status_code, said in answer.text) for answer in (whole, part, machine, sent, dagster)] == [
        (503, True),
        (503, True),
        (500, True),
        (503, True),
        (503, True),
    ]
    assert '<meta http-equiv="refresh" content="10">' in dagster.text
    assert "style-src 'self'" in dagster.headers["Content-Security-Policy"]
    assert (graphql.status_code, graphql.headers["Content-Type"]) == (503, "text/plain; charset=utf-8")
    assert f'hx-get="{history}" hx-trigger="every 10s"' in whole.text
    assert "hx-get" not in sent.text
    assert "look at the page History before you repeat it" in sent.text
    assert "<html" not in part.text
    assert machine.json()["success"] is False
    wait_until(lambda: ask(history).status_code == 200)
    assert 'id="no-database" hx-swap-oob="true"' in ask(state, **{"HX-Request": "true"}).text


def test_the_address_of_a_button_opened_from_the_history_of_the_browser_is_explained(console: Console) -> None:
    for session in (console.session("admin"), console.session("reception")):
        page = fetch(console, session, "/settings/data-management/dry-run", 405)
        assert "This address takes only what a button sends. Nothing was changed." in " ".join(
            re.sub("<[^>]+>", " ", page).split()
        )
