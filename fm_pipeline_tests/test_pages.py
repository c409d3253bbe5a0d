"""The pages: every file that they name exists, and every link leads to a heading that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP

PAGES = {path.relative_to(TOP).as_posix(): path for path in [*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")]}
# Paths begin at the top (`docs/mapping.md`), in the package (`dicom/sensor/decision.py`) or in the tests.
TOPS = (TOP, TOP / "fm_pipeline", TOP / "fm_pipeline_tests")
FIRST = "|".join(sorted(path.name for top in TOPS for path in top.iterdir() if re.fullmatch(r"[a-z_]+", path.name)))
FILE = re.compile(rf"`((?:{FIRST})/[\w./-]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)")


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: lower case, no punctuation, dashes for blanks."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_names_exists(name: str) -> None:
    named = FILE.findall(PAGES[name].read_text("utf-8"))
    assert [path for path in named if not any((top / path).exists() for top in TOPS)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_to_a_heading(name: str) -> None:
    for target, anchor in LINK.findall(PAGES[name].read_text("utf-8")):
        page = (PAGES[name].parent / target).resolve() if target else PAGES[name]
        assert page.exists(), target
        assert not anchor or anchor in _anchors(page), f"{target}#{anchor}"
