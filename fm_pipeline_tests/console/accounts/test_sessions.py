from __future__ import annotations

import pytest

from fm_pipeline_tests.console.conftest import Console

PAGE = "/settings/data-management"


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (
            "UPDATE auth_user SET is_active = false WHERE username = %s",
            "UPDATE auth_user SET is_active = true WHERE username = %s",
        ),
        (
            "UPDATE auth_user SET is_staff = NOT is_staff WHERE username = %s",
            "UPDATE auth_user SET is_staff = NOT is_staff WHERE username = %s",
        ),
        (
            "UPDATE auth_user SET password = reverse(password) WHERE username = %s",
            "UPDATE auth_user SET password = reverse(password) WHERE username = %s",
        ),
    ],
)
@pytest.mark.parametrize("username", ["manager", "reception"])
def test_a_session_ends_when_the_account_loses_what_it_logged_in_with_and_does_not_come_back(
    console: Console, change: str, undo: str, username: str
) -> None:
    session = console.session(username)
    console.bench.execute(change, username)
    try:
        ended = session.get(console.url + PAGE, timeout=30, allow_redirects=False)
    finally:
        console.bench.execute(undo, username)
    again = session.get(console.url + PAGE, timeout=30, allow_redirects=False)
    assert (ended.status_code, again.status_code) == (302, 302)


def test_a_viewer_who_leaves_the_group_is_out(console: Console) -> None:
    session = console.session("reception")
    ((row_id, user_id, group_id),) = console.bench.execute(
        "DELETE FROM auth_user_groups WHERE user_id = (SELECT id FROM auth_user WHERE username = 'reception')"
        " RETURNING id, user_id, group_id"
    )
    try:
        assert session.get(console.url + PAGE, timeout=30, allow_redirects=False).status_code == 302
    finally:
        console.bench.execute("INSERT INTO auth_user_groups VALUES (%s, %s, %s)", row_id, user_id, group_id)


def test_a_login_gives_a_new_session_and_leads_to_no_other_host(console: Console) -> None:
    for asked, given in [
        ("https://evil.example/", PAGE),
        ("//evil.example", PAGE),
        ("javascript:alert(1)", PAGE),
        ("/account/", "/account/"),
    ]:
        session = console.session()
        session.cookies.set("fm_console_session", planted := "a" * 32, domain="127.0.0.1")
        assert console.log_in(session, "manager", next_page=asked).headers["Location"] == given
        assert planted not in [cookie.value for cookie in session.cookies]


def test_an_account_sees_its_sessions_and_ends_the_others(console: Console) -> None:
    here, elsewhere = console.session("reception"), console.session("reception")
    page = here.get(f"{console.url}/account/", timeout=30).text
    assert "You are a viewer" in page
    assert page.count("<td>yes</td>") == 1
    here.post(f"{console.url}/account/end-sessions", data=console.token(here), timeout=30)
    assert elsewhere.get(console.url + PAGE, timeout=30, allow_redirects=False).status_code == 302
    assert here.get(console.url + PAGE, timeout=30, allow_redirects=False).status_code == 200


def test_what_is_sent_after_the_session_has_ended_leads_back_to_its_page_and_is_said_to_be_not_carried_out(
    console: Console,
) -> None:
    session = console.session("admin")
    del session.cookies["fm_console_session"]
    form, path = console.token(session), f"{PAGE}/dry-run"
    for referer, back in ((f"{console.url}{PAGE}?of=it", f"{PAGE}%3Fof%3Dit"), ("http://evil.example/page", "")):
        sent = session.post(
            console.url + path, data=form, headers={"Referer": referer}, timeout=30, allow_redirects=False
        )
        assert (sent.status_code, sent.headers["Location"]) == (302, f"/login/?next={back}")
    page = session.get(f"{console.url}/login/", timeout=30).text
    assert "Your session had ended, so nothing was carried out." in page
    part = {"HX-Request": "true", "HX-Current-URL": f"{console.url}{PAGE}#state"}
    asked = session.get(f"{console.url}{PAGE}/state", headers=part, timeout=30)
    assert (asked.status_code, asked.headers["HX-Redirect"]) == (401, f"/login/?next={PAGE}")
