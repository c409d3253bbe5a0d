"""The pages: the files, headings and messages that they name exist."""

from __future__ import annotations

import ast
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


def test_every_test_that_the_table_of_doors_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", PAGES["docs/doors.md"].read_text("utf-8"))
    code = "\n".join(path.read_text("utf-8") for path in (TOP / "fm_pipeline_tests").rglob("test_*.py"))
    assert len(named) > 20
    assert [name for name in named if f"def {name}(" not in code] == []


def _texts() -> str:
    """Every text in the code and the rules, one a line; what an f-string fills in is `…`."""
    texts = [(TOP / "fm_pipeline" / "entities" / "rules.yaml").read_text("utf-8")]
    for path in (TOP / "fm_pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts))
    return "\n".join(texts)


def test_every_message_that_the_runbook_explains_is_one_of_the_code() -> None:
    section = PAGES["docs/runbook.md"].read_text("utf-8").split("\n## What a STOP means\n")[1].split("\n#")[0]
    beginnings = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]
    assert len(beginnings) > 20
    texts = _texts()
    parts = [part.strip(" .:") for beginning in beginnings for part in re.split(r"…| / ", beginning)]
    assert [part for part in parts if part not in texts] == []


def test_the_table_of_documentation_in_the_readme_has_every_page() -> None:
    table = PAGES["README.md"].read_text("utf-8").split("\n## Documentation\n")[1]
    assert {name for name in PAGES if name.startswith("docs/")} - set(re.findall(r"\]\(([^)]+)\)", table)) == set()


def test_the_table_of_retention_names_every_table_that_an_erasure_empties() -> None:
    section = PAGES["docs/operations.md"].read_text("utf-8").split("\n## Retention\n")[1].split("\n### ")[0]
    package = TOP / "fm_pipeline"
    migrations = "\n".join(path.read_text("utf-8") for path in (package / "db/migrations/versions").glob("*.sql"))
    erasures = "\n".join(path.read_text("utf-8") for path in package.rglob("erase_patient.py"))
    emptied = {name for name in re.findall(r"CREATE TABLE fm_pipeline\.(\w+)", migrations) if f'"{name}"' in erasures}
    assert {"crosswalk", "import_history", "image_metadata"} <= emptied
    assert "staged_*" in section
    assert {name for name in emptied if not name.startswith("staged_")} - set(re.findall(r"\w+", section)) == set()


def test_every_function_that_contributing_names_is_in_its_file() -> None:
    named = re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", PAGES["CONTRIBUTING.md"].read_text("utf-8"))
    assert "delete_rows" in dict(named)
    for name, file in named:  # a setting is written in capital letters on the page
        text = (TOP / file).read_text("utf-8").lower()
        assert re.search(rf"^(def|class|   ) {name.lower()}\b", text, re.MULTILINE), name
