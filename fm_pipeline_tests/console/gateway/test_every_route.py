"""The gateway from outside: every route of the site × everybody who may not, or may only read.

A route that is in none of the tables fails the test: say what it is.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from uuid import uuid4

import pytest
import requests

from fm_pipeline.console.gateway.routes import ROUTES, Kind
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.gateway.site_routes import dagster_routes, django_routes, sample

_LOGIN = "/login/"
_DAGSTER_SAMPLES = {
    "/_next": "/_next/static/none.js",
    "/vendor": "/vendor/graphiql/graphiql.min.css",
    "/{path:path}": "/runs/none",
}


class Page(Enum):
    """What a route of Django is.

    - OPEN: for everybody, and harmless
    - READ: a viewer may read it; a change by it is for admins
    - OWN: everybody who is logged in changes something of their own by it
    - CHANGE: only to change something; a viewer is refused
    - ADMIN: a viewer is refused to read it as well
    - CALL: of the API, which answers a status and no page; for admins
    """

    OPEN = auto()
    READ = auto()
    OWN = auto()
    CHANGE = auto()
    ADMIN = auto()
    CALL = auto()


CALLS = (
    "cancel-import",
    "configure-hospital-path",
    "get-configuration",
    "get-import-history",
    "import-status",
    "list-jobs",
    "process-import",
    "scan-directory",
    "scan-new-files",
    "start-import",
)
DJANGO = {
    "/": Page.READ,
    "/account/": Page.READ,
    "/audit/": Page.READ,
    "/audit/csv": Page.ADMIN,
    "/account/end-sessions": Page.OWN,
    "/health": Page.OPEN,
    "/login/": Page.OPEN,
    "/logout/": Page.OPEN,
    "/metrics": Page.READ,
    "/settings/backups/": Page.READ,
    "/settings/backups/<uuid:backup_id>": Page.READ,
    "/settings/backups/<uuid:backup_id>/dry-run": Page.CHANGE,
    "/settings/backups/<uuid:backup_id>/restore": Page.CHANGE,
    "/settings/backups/<uuid:backup_id>/verify": Page.CHANGE,
    "/settings/backups/export": Page.CHANGE,
    "/settings/backups/exports/<str:name>/<str:file>": Page.ADMIN,
    "/settings/backups/make": Page.CHANGE,
    "/settings/data-management": Page.READ,
    "/settings/data-management/dry-run": Page.CHANGE,
    "/settings/data-management/plans/<uuid:plan_id>": Page.READ,
    "/settings/data-management/plans/<uuid:plan_id>/change/<str:table>": Page.READ,
    "/settings/data-management/plans/<uuid:plan_id>/delete/<str:table>": Page.READ,
    "/settings/data-management/plans/<uuid:plan_id>/insert/<str:table>": Page.READ,
    "/settings/data-management/plans/<uuid:plan_id>/reimport": Page.ADMIN,
    "/settings/data-management/plans/<uuid:plan_id>/state": Page.READ,
    "/settings/data-management/runs/<uuid:run_id>": Page.READ,
    "/settings/data-management/runs/<uuid:run_id>/cancel": Page.CHANGE,
    "/settings/data-management/runs/<uuid:run_id>/log": Page.READ,
    "/settings/data-management/runs/<uuid:run_id>/log.txt": Page.READ,
    "/settings/data-management/runs/<uuid:run_id>/state": Page.READ,
    "/settings/data-management/state": Page.READ,
    "/settings/data-management/runs": Page.READ,
    "/settings/dicom": Page.READ,
    "/settings/dicom/configuration": Page.READ,
    "/settings/dicom/jobs": Page.READ,
    "/settings/dicom/jobs/<int:job_id>": Page.READ,
    "/settings/dicom/jobs/<int:job_id>/cancel": Page.CHANGE,
    "/settings/dicom/jobs/<int:job_id>/files.csv": Page.ADMIN,
    "/settings/dicom/jobs/<int:job_id>/one-person": Page.ADMIN,
    "/settings/dicom/jobs/<int:job_id>/remove": Page.READ,
    "/settings/dicom/jobs/<int:job_id>/remove/instances.csv": Page.ADMIN,
    "/settings/dicom/jobs/<int:job_id>/remove/start": Page.CHANGE,
    "/settings/dicom/jobs/<int:job_id>/resume": Page.CHANGE,
    "/settings/dicom/live": Page.READ,
    "/settings/dicom/scan": Page.CHANGE,
    "/settings/dicom/start": Page.CHANGE,
    "/settings/history/": Page.READ,
    "/settings/history/plans/<uuid:identifier>": Page.READ,
    "/settings/history/reimports/<uuid:identifier>": Page.READ,
    "/settings/history/runs/<str:run_id>": Page.READ,
    "/settings/images/": Page.READ,
    "/settings/images/import": Page.CHANGE,
    "/settings/images/link": Page.CHANGE,
    "/settings/images/not-imported.csv": Page.ADMIN,
    "/settings/images/not-linked.csv": Page.ADMIN,
    "/settings/maintenance/": Page.READ,
    "/settings/maintenance/announce": Page.CHANGE,
    "/settings/maintenance/end": Page.CHANGE,
    "/settings/maintenance/page.html": Page.READ,
    "/settings/not-loaded/": Page.READ,
    "/settings/not-loaded/<str:entity>/<int:record_id>": Page.READ,
    "/settings/not-loaded/<str:entity>/<int:record_id>/name": Page.CHANGE,
    "/settings/not-loaded/csv": Page.ADMIN,
    "/settings/service": Page.READ,
    "/settings/sync/": Page.READ,
    "/settings/sync/<uuid:sync_id>": Page.READ,
    "/settings/sync/<uuid:sync_id>/confirm": Page.CHANGE,
    "/settings/sync/<uuid:sync_id>/undo": Page.CHANGE,
    "/settings/sync/start": Page.CHANGE,
    "/settings/tokens/": Page.ADMIN,
    "/settings/tokens/<int:token_id>/revoke": Page.CHANGE,
    "/settings/tokens/make": Page.CHANGE,
    "/api/sync/": Page.CALL,
    "/api/sync/docs": Page.READ,
    "/api/sync/openapi.json": Page.READ,
    **{f"/api/sync/{call}{end}": Page.CALL for call in CALLS for end in ("", ".php")},
}
READS = {
    Page.READ: {200, 301, 302, 404},
    Page.OWN: {405},
    Page.CHANGE: {403, 405},
    Page.ADMIN: {403},
    Page.CALL: {401, 403, 404, 405},
}
# By Dagster's kinds: GET without a session, GET as a viewer.
DAGSTER = {
    Kind.PAGE: (302, 200),
    Kind.FILE: (401, 200),
    Kind.GRAPHQL: (405, 405),
    Kind.DOWNLOAD: (401, 403),
    Kind.CLOSED: (404, 404),
}


@dataclass(frozen=True)
class Visitors:
    """Everybody who comes to the gateway."""

    nobody: requests.Session
    expired: requests.Session
    forged: requests.Session
    viewer: requests.Session
    admin: requests.Session
    read_token: requests.Session
    dicom_token: requests.Session
    wrong_token: requests.Session

    @property
    def strangers(self) -> dict[str, requests.Session]:
        sessions = {"nobody": self.nobody, "expired": self.expired, "forged": self.forged}
        return {**sessions, "wrong token": self.wrong_token}


@pytest.fixture(scope="module")
def visitors(console: Console) -> Visitors:
    expired = console.session("manager")
    key = expired.cookies["fm_console_session"]
    past = "UPDATE fm_console.django_session SET expire_date = now() - interval '1 minute' WHERE session_key = %s"
    console.bench.execute(past, key)
    nobody, forged = console.session(), console.session()
    for session in (nobody, forged):
        session.get(console.url + _LOGIN, timeout=30)
    forged.cookies["fm_console_session"] = "0123456789abcdefghijklmnopqrstuv"
    admin = console.session("admin")
    return Visitors(
        nobody=nobody,
        expired=expired,
        forged=forged,
        viewer=console.session("reception"),
        admin=admin,
        read_token=_with_token(console, _make_token(console, admin, "read")),
        dicom_token=_with_token(console, _make_token(console, admin, "dicom")),
        wrong_token=_with_token(console, "fmc_0123456789"),
    )


def _make_token(console: Console, admin: requests.Session, scope: str) -> str:
    form = {"name": f"gateway {uuid4()}", "scope": scope, "days": "1"}
    headers = {"X-CSRFToken": admin.cookies["fm_console_csrf"]}
    answer = admin.post(f"{console.url}/settings/tokens/make", data=form, headers=headers, timeout=60)
    return str(re.findall(r"fmc_[\w-]{40,}", answer.text)[0])


def _with_token(console: Console, token: str) -> requests.Session:
    session = console.session()
    session.headers["Authorization"] = f"Bearer {token}"
    return session


def _ask(  # a request is no fewer things
    console: Console,
    session: requests.Session,
    method: str,
    path: str,
    *,
    token: bool = True,
    origin: str | None = None,
) -> requests.Response:
    headers = {"Origin": origin or console.url}
    if token:
        headers["X-CSRFToken"] = session.cookies.get("fm_console_csrf") or ""
    return session.request(method, console.url + path, headers=headers, timeout=60, allow_redirects=False)


def test_every_route_of_django_is_known(console: Console) -> None:
    assert set(django_routes(console.environment)) == set(DJANGO), "Say in the table what the new route is."


def test_every_route_of_dagster_is_known() -> None:
    assert set(dagster_routes()) == set(ROUTES), "Read what the new route answers, and say in the table who may ask."


@pytest.mark.parametrize("route", [route for route, page in DJANGO.items() if page is not Page.OPEN])
def test_a_page_of_the_console_is_closed_to(console: Console, visitors: Visitors, route: str) -> None:
    path, page = sample(route), DJANGO[route]

    def is_closed_to_stranger(name: str, session: requests.Session) -> None:
        for method in ("GET", "POST"):
            answer = _ask(console, session, method, path)
            assert _is_outside(answer, page), (name, method, answer.status_code)

    def changes_nothing(session: requests.Session) -> None:
        for method in ("POST", "DELETE"):
            assert _ask(console, session, method, path).status_code in _no(page), method

    def reads(session: requests.Session) -> None:
        shown = _ask(console, session, "GET", path)
        assert shown.status_code in READS[page]
        assert "no-store" in shown.headers["Cache-Control"]

    def may_read_only(session: requests.Session) -> None:
        if page is not Page.OWN or session is visitors.read_token:
            changes_nothing(session)
        reads(session)

    def has_no_more_than_the_ten_calls(session: requests.Session) -> None:
        if page is not Page.CALL:
            changes_nothing(session)
            assert _ask(console, session, "GET", path).status_code in _no(page)

    def needs_token_and_own_page(session: requests.Session) -> None:
        assert _ask(console, session, "POST", path, token=False).status_code in _no(page)
        assert _ask(console, session, "POST", path, origin="https://elsewhere.example").status_code in _no(page)

    with ThreadPoolExecutor() as at_once:  # everybody comes at the same time, each with one request after the other
        asking = [
            *(at_once.submit(is_closed_to_stranger, *stranger) for stranger in visitors.strangers.items()),
            *(at_once.submit(may_read_only, session) for session in (visitors.viewer, visitors.read_token)),
            at_once.submit(has_no_more_than_the_ten_calls, visitors.dicom_token),
            at_once.submit(needs_token_and_own_page, visitors.admin),
        ]
    for each in asking:
        each.result()


def _is_outside(answer: requests.Response, page: Page) -> bool:
    """Whether somebody without a session was told no more than to log in."""
    if answer.status_code == 302:
        return answer.headers["Location"].startswith(_LOGIN)
    return answer.status_code == 401 or (page in (Page.CALL, Page.OWN) and answer.status_code in (404, 405))


def _no(page: Page) -> set[int]:
    """The statuses of a refused change; a call of the API also has no such name or method."""
    return {Page.CALL: {401, 403, 404, 405}, Page.OWN: {403, 405}}.get(page, {403})


def test_the_open_pages_of_the_console_change_nothing_without_a_login(console: Console, visitors: Visitors) -> None:
    for route in (route for route, page in DJANGO.items() if page is Page.OPEN):
        for session in (visitors.nobody, visitors.expired, visitors.forged):
            assert _ask(console, session, "GET", sample(route)).status_code in (200, 405, 503), route
        assert _ask(console, visitors.nobody, "POST", sample(route), token=False).status_code in (403, 405), route
        elsewhere = _ask(console, visitors.nobody, "POST", sample(route), origin="https://elsewhere.example")
        assert elsewhere.status_code in (403, 405), route
    assert _ask(console, visitors.nobody, "GET", "/static/console/console.css").status_code == 200
    assert _ask(console, visitors.nobody, "GET", "/nothing").status_code == 404


def test_every_route_of_dagster_answers_by_its_kind(console: Console, visitors: Visitors) -> None:
    for route, kind in ROUTES.items():
        path = "/dagster" + _DAGSTER_SAMPLES.get(route, route.replace("{path:path}", "x").partition("{")[0])
        without, viewer = DAGSTER[kind]
        for name, session in visitors.strangers.items():
            expected = 401 if (name, without) == ("wrong token", 302) else without
            assert (_ask(console, session, "GET", path).status_code, path, name) == (expected, path, name)
        for session in (visitors.viewer, visitors.read_token):
            answered = _ask(console, session, "GET", path).status_code
            assert (answered, path) == (404 if path.endswith("none.js") else viewer, path)
        assert _ask(console, visitors.dicom_token, "GET", path).status_code in (403, 404, 405), path
        for session in (visitors.nobody, visitors.viewer, visitors.admin):
            if kind is not Kind.GRAPHQL:
                assert _ask(console, session, "POST", path).status_code in (404, 405), path


def test_graphql_is_closed_to_everybody_outside_and_to_pages_of_other_sites(
    console: Console, visitors: Visitors
) -> None:
    address, query = f"{console.url}/dagster/graphql", {"query": "{ version }"}
    for session in visitors.strangers.values():
        assert session.post(address, json=query, timeout=30).status_code == 401
    for session in (visitors.viewer, visitors.admin):
        assert session.post(address, json=query, timeout=30).status_code == 200
        for origin in (None, "null", "https://elsewhere.example"):
            assert session.post(address, json=query, headers={"Origin": origin}, timeout=30).status_code == 403
    assert visitors.dicom_token.post(address, json=query, timeout=30).status_code == 403
    elsewhere = visitors.read_token.post(address, json=query, headers={"Origin": None}, timeout=30)
    assert elsewhere.status_code == 200
    change = {"query": "mutation { reloadWorkspace { __typename } }"}
    assert visitors.read_token.post(address, json=change, timeout=30).status_code == 403
