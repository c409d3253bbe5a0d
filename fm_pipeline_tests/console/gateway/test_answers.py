"""How requests must look, and what the answers tell: never a stack, never a 500 for what a client sent."""

from __future__ import annotations

import json

from fm_pipeline.console.gateway.answers import HEADERS
from fm_pipeline_tests.console.conftest import Console

_NO_RUN = "00000000-0000-4000-8000-000000000000"
_BODIES = (
    *("", "[]", "7", "{}", '{"query": 7}', '{"query": "{ version }", "variables": []}', "\xff", '{"query": "{"}'),
    *('[{"query": "{ version }"}]', '{"query": "subscription { locationStateChangeEvents { event { eventType } } }"}'),
)
_NOT_THERE = (
    "download_debug/nothing",
    f"download_debug/{_NO_RUN}",
    "logs/x",
    f"logs/{_NO_RUN}/compute_logs/none.out",
    f"logs/{_NO_RUN}/compute_logs/none.complete",
    "logs/..%2F..%2Fdagster.yaml",
    "logs/%2E%2E/%2E%2E/x.out",
    "logs/a%00/out",
    f"logs/{'a' * 300}/out",
)


def test_graphql_is_taken_only_as_one_json_object_by_post_from_a_page_of_this_site(console: Console) -> None:
    admin, address = console.session("admin"), f"{console.url}/dagster/graphql"
    query = {"query": "{ version }"}
    assert admin.post(address, json=query, timeout=30).status_code == 200
    for accept in ("*/*", "text/html"):
        assert admin.get(address, params=query, headers={"Accept": accept}, timeout=30).status_code == 405
    for kind in (
        "text/plain",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "text/plain; application/json",
    ):
        answer = admin.post(address, data=json.dumps(query), headers={"Content-Type": kind}, timeout=30)
        assert answer.status_code == 415, kind
    for origin in (
        "https://elsewhere.example",
        "null",
        console.url + "0",
        console.url.replace("http", "https", 1),
        None,
    ):
        answer = admin.post(address, json=query, headers={"Origin": origin}, timeout=30)
        assert answer.status_code == 403, origin
    for body in _BODIES:
        headers = {"Content-Type": "application/json"}
        answer = admin.post(address, data=body.encode("latin-1"), headers=headers, timeout=30)
        assert answer.status_code == 400, body


def test_another_name_of_the_host_is_refused(console: Console) -> None:
    admin = console.session("admin")
    for path in ("/dagster/overview", "/settings/data-management", "/login/", "/health"):
        answer = admin.get(console.url + path, headers={"Host": "elsewhere.example"}, timeout=30)
        assert (answer.status_code, path) == (400, path)


def test_no_redirect_names_the_scheme_which_a_proxy_may_have_changed(console: Console) -> None:
    admin = console.session("admin")
    answer = admin.get(f"{console.url}/dagster", allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["Location"]) == (307, "/dagster/")
    assert admin.post(f"{console.url}/dagster/graphql/", json={"query": "{ version }"}, timeout=30).status_code == 405


def test_what_is_not_there_is_a_404_for_an_admin_and_a_403_for_a_viewer(console: Console) -> None:
    for name, status in (("admin", 404), ("reception", 403)):
        session = console.session(name)
        for path in _NOT_THERE:
            answer = session.get(f"{console.url}/dagster/{path}", timeout=30)
            assert (answer.status_code, path) == (status, path)
            assert len(answer.text) < 100


def test_every_answer_has_the_headers_that_keep_it_to_this_site(console: Console) -> None:
    admin = console.session("admin")
    answers = [
        admin.get(f"{console.url}/dagster/{path}", timeout=30) for path in ("runs", "favicon.svg", "logs/x", "vendor/x")
    ]
    answers.append(admin.post(f"{console.url}/dagster/graphql", json={"query": "{ version }"}, timeout=30))
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    page, picture, *others = answers
    assert "nonce-" in page.headers["Content-Security-Policy"]
    assert "max-age" in picture.headers["Cache-Control"]
    assert all("sandbox" in answer.headers["Content-Security-Policy"] for answer in others)
    assert all("no-store" in answer.headers["Cache-Control"] for answer in [page, *others])


def test_an_unexpected_error_is_told_without_its_text(console: Console) -> None:
    query = "mutation { terminateRuns(runIds: []) { __typename } }"
    answer = console.session("admin").post(f"{console.url}/dagster/graphql", json={"query": query}, timeout=30)
    assert "errorInfo" not in answer.text
    assert "Traceback" not in answer.text
