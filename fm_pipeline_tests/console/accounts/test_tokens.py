from __future__ import annotations

import hashlib
import re
import secrets
from contextlib import suppress
from functools import partial

import pytest
import requests

from fm_pipeline.db.connection import connect
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import sent_together
from fm_pipeline_tests.support.waiting import InThread, wait_until

PAGE, TOKENS = "/settings/data-management", "/settings/tokens/"


def _made(console: Console, session: requests.Session, scope: str) -> str:
    form = {"name": f"machine {secrets.token_hex(4)}", "scope": scope, "days": "1", **console.token(session)}
    answer = session.post(f"{console.url}{TOKENS}make", data=form, timeout=30)
    (secret,) = re.findall(r"fmc_[\w-]{43}", answer.text)
    return str(secret)


def _status(console: Console, secret: str, method: str, path: str, **cookies: str) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    return requests.request(
        method, console.url + path, headers=headers, cookies=cookies, timeout=30, allow_redirects=False
    ).status_code


def test_a_token_does_what_its_scope_allows_without_a_csrf_token(console: Console) -> None:
    session = console.session("manager")
    scopes = {scope: _made(console, session, scope) for scope in ("read", "dicom", "admin")}
    asked = [("GET", PAGE), ("GET", TOKENS), ("POST", f"{TOKENS}999999/revoke")]
    answers = {scope: [_status(console, secret, *each) for each in asked] for scope, secret in scopes.items()}
    assert answers == {"read": [200, 403, 403], "dicom": [403, 403, 403], "admin": [200, 200, 404]}
    (stored,) = console.bench.execute(
        "SELECT digest, owner_name, last_used_at IS NOT NULL FROM fm_console.api_token WHERE digest = %s",
        hashlib.sha256(scopes["read"].encode()).hexdigest(),
    )
    assert stored[1:] == ("manager", True)
    assert scopes["read"] not in session.get(f"{console.url}{TOKENS}", timeout=30).text  # it is shown once


def test_with_a_token_in_the_header_the_cookies_do_not_count(console: Console) -> None:
    session = console.session("manager")
    cookies = {name: value for name, value in session.cookies.items() if value}
    assert _status(console, "fmc_wrong", "GET", PAGE, **cookies) == 401
    assert _status(console, _made(console, session, "read"), "GET", TOKENS, **cookies) == 403


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        ("UPDATE fm_console.api_token SET expires_at = now() WHERE digest = %s", None),
        (
            "UPDATE auth_user SET is_staff = false WHERE username = 'manager'",
            "UPDATE auth_user SET is_staff = true WHERE username = 'manager'",
        ),
        (
            "UPDATE auth_user SET is_active = false WHERE username = 'manager'",
            "UPDATE auth_user SET is_active = true WHERE username = 'manager'",
        ),
    ],
)
def test_a_token_ends_at_its_expiry_and_when_its_owner_is_no_admin_any_more(
    console: Console, change: str, undo: str | None
) -> None:
    secret = _made(console, console.session("manager"), "read")
    assert _status(console, secret, "GET", PAGE) == 200
    console.bench.execute(change, *([hashlib.sha256(secret.encode()).hexdigest()] if "%s" in change else []))
    try:
        assert _status(console, secret, "GET", PAGE) == 401
    finally:
        if undo:
            console.bench.execute(undo)


def test_a_revoked_token_is_refused_and_both_are_on_record(console: Console) -> None:
    session = console.session("manager")
    secret = _made(console, session, "admin")
    (token_id, name), *_ = console.bench.execute("SELECT id, name FROM fm_console.api_token ORDER BY id DESC")
    session.post(f"{console.url}{TOKENS}{token_id}/revoke", data=console.token(session), timeout=30)
    assert _status(console, secret, "GET", PAGE) == 401
    assert console.bench.execute(
        "SELECT actor, outcome FROM fm_pipeline.audit WHERE action = 'token' AND (detail LIKE %s OR actor LIKE %s)"
        " ORDER BY id",
        f"%{name}%",
        f"%{name}%",
    ) == [("manager", "done"), ("manager", "done"), (f"manager (token {name})", "refused")]
    details = console.bench.execute("SELECT string_agg(detail, ' ') FROM fm_pipeline.audit")
    assert secret not in details[0][0]


def test_a_token_is_a_visitor_of_dagster_too_as_its_scope_says(console: Console) -> None:
    session = console.session("manager")
    query = {"query": 'mutation { terminateRun(runId: "none") { __typename } }'}
    answers = {}
    for scope in ("read", "dicom", "admin"):
        headers = {"Authorization": f"Bearer {_made(console, session, scope)}"}
        answer = requests.post(f"{console.url}/dagster/graphql", json=query, headers=headers, timeout=30)
        answers[scope] = answer.json()["data"]["terminateRun"]["__typename"] if answer.ok else answer.status_code
    assert answers == {"read": 403, "dicom": 403, "admin": "RunNotFoundError"}


def test_what_a_viewer_or_a_token_is_refused_is_on_record_once_a_minute_and_a_file_is_not(console: Console) -> None:
    viewer, manager = console.session("reception"), console.session("manager")
    secret = _made(console, manager, "dicom")
    since = console.bench.execute("SELECT max(id) FROM fm_pipeline.audit")[0][0]
    machine = {"Authorization": f"Bearer {secret}", "X-Forwarded-For": "203.0.113.40"}
    viewer.headers["X-Forwarded-For"] = "203.0.113.40"
    for _ in "twice":
        assert viewer.get(f"{console.url}{TOKENS}", timeout=30).status_code == 403
        form = console.token(viewer)
        assert viewer.post(f"{console.url}{PAGE}/dry-run", data=form, timeout=30).status_code == 403
        assert viewer.get(f"{console.url}/api/sync/list-jobs", timeout=30).status_code == 403
        assert requests.get(console.url + PAGE, headers=machine, timeout=30).status_code == 403
        for file in ("/static/console/console.css", "/dagster/favicon.svg"):
            requests.get(console.url + file, headers=machine, timeout=30)
    rows = console.bench.execute(
        "SELECT split_part(actor, ' ', 1), split_part(detail, ':', 1) FROM fm_pipeline.audit"
        " WHERE id > %s AND action = 'access' AND outcome = 'refused' AND address = '203.0.113.40' ORDER BY id",
        since,
    )
    assert [actor for actor, _ in rows] == ["reception", "reception", "reception", "manager"], rows
    assert [what.split()[0] for _, what in rows] == ["GET", "POST", "GET", "GET"]


def test_of_two_requests_at_once_for_a_token_of_one_name_one_is_refused(console: Console) -> None:
    sessions = console.session("admin"), console.session("manager")
    form = {"name": f"machine {secrets.token_hex(4)}", "scope": "read", "days": "1"}
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'fm_console.api_token'::regclass"
    with connect(console.bench.database_url) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE fm_console.api_token IN SHARE MODE")  # tokens can be read, and not be made
        both = InThread(partial(sent_together, console, sessions, f"{TOKENS}make", **form))
        wait_until(lambda: console.bench.execute(waiting) != [(0,)])
        with suppress(AssertionError):  # time for the other to come as far
            wait_until(lambda: console.bench.execute(waiting) == [(2,)], 1)
    assert sorted(answer.status_code for answer in both.outcome()) == [200, 400]
