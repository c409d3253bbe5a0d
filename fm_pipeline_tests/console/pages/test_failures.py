from __future__ import annotations

import pytest

from fm_pipeline_tests.console.conftest import Console


@pytest.mark.parametrize("username", [None, "reception"])
def test_an_unknown_address_is_answered_by_a_page_that_says_so(console: Console, username: str | None) -> None:
    answer = console.session(username).get(f"{console.url}/settings/nothing-here", timeout=30)
    assert answer.status_code == 404
    assert "There is no such page." in answer.text


def test_a_form_of_another_page_is_refused_with_what_to_do_and_recorded_for_an_account(console: Console) -> None:
    address = f"{console.url}/settings/maintenance/announce"
    ((since,),) = console.bench.execute("SELECT max(id) FROM fm_pipeline.audit")
    admin, nobody = console.session("admin"), console.session()
    for session in (admin, admin, nobody):
        answer = session.post(address, timeout=30)
        assert answer.status_code == 403
        assert "Nothing was changed." in answer.text
        assert "Load the page again" in answer.text
    rows = "SELECT actor, outcome, detail FROM fm_pipeline.audit WHERE id > %s AND action = 'access'"
    detail = "POST announce-maintenance: the form did not come from a page of this site."
    assert console.bench.execute(rows, since) == [("admin", "refused", detail)]
