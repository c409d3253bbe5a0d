"""*Data management* as it stays open: it learns of runs and plans, and disturbs nobody who reads or types there."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import requests

from fm_pipeline.db.audit import record
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.test_data_management import PAGE, added_runs, get
from fm_pipeline_tests.support.waiting import wait_until


class OpenPage:
    """*Data management*, as it is open in a browser: what it asks next, and what it is told."""

    def __init__(self, console: Console, user: str) -> None:
        self._console, self._session = console, console.session(user)
        self._seen: dict[str, str] = {}
        self.text = self._remembered(get(console, self._session).text)

    def asks(self) -> requests.Response:
        address = f"{self._console.url}{PAGE}/runs"
        answer = self._session.get(address, params=self._seen, timeout=60)
        self._remembered(answer.text)
        return answer

    def _remembered(self, text: str) -> str:
        self._seen |= dict(re.findall(r'name="(runs|left)" value="([^"]*)"', text))
        return text


def test_an_open_page_shows_the_runs_that_begin_and_end_without_being_loaded_again(console: Console) -> None:
    record(console.bench.database_url, actor="admin", action="restore", outcome="done")  # a moment before
    page = OpenPage(console, "admin")
    assert f'hx-get="{PAGE}/runs"' in page.text
    assert page.asks().status_code == 204, "a page that was just opened is as it should be"
    with added_runs(console) as add:
        run_id = add("plan_reimport")
        begun = page.asks().text
        assert f'href="{PAGE}/runs/{run_id}">Look at its progress' in begun
        assert "#confirmation" not in begun
        assert page.asks().status_code == 204
    ended = page.asks().text
    assert ("Dry Run Preview" in ended, "Look at its progress" in ended) == (True, False)
    assert page.asks().status_code == 204


def test_an_open_page_learns_of_a_plan_that_a_command_has_made(console: Console) -> None:
    page = OpenPage(console, "reception")
    made = console.bench.plan(now=datetime.now(UTC))
    answers: list[requests.Response] = []

    def is_told() -> bool:
        answers.append(page.asks())
        return answers[-1].status_code == 200

    wait_until(is_told)
    assert f'id="newest-plan" class="button quiet" href="{PAGE}/plans/{made.id}"' in answers[-1].text
    assert page.asks().status_code == 204


def test_a_time_left_is_renewed_alone_so_that_the_focus_stays_and_nothing_is_read_aloud(console: Console) -> None:
    viewer = console.session("reception")
    with added_runs(console) as add:
        run_id = add("plan_reimport")
        text = OpenPage(console, "reception").text
        (runs,) = re.findall(r'name="runs" value="([^"]*)"', text)
        old = {"runs": runs, "left": f"{run_id}:3 minutes"}
        answer = viewer.get(f"{console.url}{PAGE}/runs", params=old, timeout=60)
    assert answer.headers["HX-Reswap"] == "none"
    assert re.findall("<(?!/)(.*?)>", answer.text) == [
        f'input type="hidden" id="left-seen" name="left" value="{run_id}:" hx-swap-oob="true"',
        f'span id="left-{run_id}" hx-swap-oob="innerHTML"',
    ]
    (status,) = re.findall('<span role="status">(.*?)</span>(.*?</span>)', text)
    assert "left" not in status[0]
    assert status[1] == f'<span id="left-{run_id}"></span>'


def test_every_link_and_button_that_an_open_page_renews_has_an_id_by_which_the_focus_comes_back(
    console: Console,
) -> None:
    with added_runs(console) as add:
        add("make_backup")
        add("dicom_import")
        text = OpenPage(console, "admin").text.partition('<div id="runs"')[2].partition('<div id="state"')[0]
    can_have_it = re.findall("<(?:a|button)[ >][^>]*", text)
    assert [each for each in can_have_it if ' id="' not in each] == []
    ids = re.findall(' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert {"dry-run", "newest-plan"} <= set(ids)
