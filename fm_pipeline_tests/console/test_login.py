from __future__ import annotations

from fm_pipeline_tests.console.conftest import Console


def test_without_a_session_every_page_leads_to_the_login(console: Console) -> None:
    answer = console.session().get(f"{console.url}/settings/data-management", allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login/?next=/settings/data-management")


def test_a_visitor_who_comes_by_a_link_in_an_email_keeps_the_session_and_the_forms_of_other_tabs(
    console: Console,
) -> None:
    """A browser sends cookies with such a visit only if they are `Lax`."""
    cookies = {cookie.name: cookie for cookie in console.session("admin").cookies}
    for name in ("fm_console_session", "fm_console_csrf"):
        assert cookies[name].get_nonstandard_attr("SameSite") == "Lax"


def test_an_admin_sees_data_management_and_dagster(console: Console) -> None:
    session = console.session("admin")
    assert "Dry Run Preview" in session.get(f"{console.url}/settings/data-management", timeout=30).text
    answer = session.post(f"{console.url}/dagster/graphql", json={"query": "{ version }"}, timeout=30)
    assert "version" in answer.json()["data"]


def test_a_viewer_reads_and_launches_nothing(console: Console) -> None:
    session = console.session("reception")
    page = session.get(f"{console.url}/settings/data-management", timeout=30).text
    assert "Dry Run Preview" not in page
    query = 'mutation { terminateRun(runId: "none") { __typename } }'
    answer = session.post(f"{console.url}/dagster/graphql", json={"query": query}, timeout=30)
    assert (answer.status_code, answer.json()["data"]) == (403, None)


def test_an_account_that_is_neither_staff_nor_in_the_group_does_not_get_in(console: Console) -> None:
    assert "may not log in here" in console.log_in(console.session(), "visitor").text
