"""The commands on the pages: each can be parsed, and each block is run as it is written, or says why it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from fm_pipeline.sandbox.clinic.generate import generate_clinic
from fm_pipeline.sandbox.demo.clinic import fill_stack
from fm_pipeline.sandbox.demo.images import DemoImages
from fm_pipeline.sandbox.nexus.create import create_nexus
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.postgresql import PostgreSQLService
from fm_pipeline.sandbox.stack.postgresql_binaries import binaries
from fm_pipeline.sandbox.stack.stack import SERVICES, Stack
from fm_pipeline_tests.operations.pages import (
    PAGES,
    Block,
    blocks,
    commands,
    fault,
    inline_commands,
    unknown_settings,
)

FOLLOWED = "docs/operations.md"  # `test_page.py` runs it from top to bottom
MEASURES = "docs/benchmarks.md"  # its commands take minutes and need idle cores
# Blocks that the last test runs, by page and beginning.
RUN = {
    "start": ("README.md", ".venv/bin/fm-pipeline stack up"),
    "check and plan": ("README.md", ".venv/bin/fm-pipeline check "),
    "grants": ("SECURITY.md", "fm-pipeline grants"),
    "watch": ("docs/dicom.md", "fm-pipeline dicom configure --monitoring"),
    "convert": ("docs/commands.md", "fm-pipeline images convert"),
    "link": ("docs/commands.md", "fm-pipeline images link"),
    "restore": ("docs/runbook.md", "fm-pipeline backup --list"),
    "load": ("docs/runbook.md", "cd FOLDER\npsql"),
}
COMMANDS = [each for page in PAGES for each in blocks(page) if each.language == "sh" or page == MEASURES]


def block(name: str) -> Block:
    """The block of that name, of which there is one."""
    page, beginning = RUN[name]
    (found,) = [each for each in COMMANDS if each.page == page and each.text.startswith(beginning)]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_names_options_and_settings_that_there_are(page: str) -> None:
    whole = [words for each in COMMANDS if each.page == page for words in commands(each.text)]
    parts = [words for text in inline_commands(page) for words in commands(text)]
    faults = [f"{' '.join(words)}: {found}" for words in whole if (found := fault(words))]
    faults += [f"{' '.join(words)}: {found}" for words in parts if (found := fault(words, whole=False))]
    assert faults == []
    assert unknown_settings(page) == set()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("fm-pipeline backup --prun", "No such option"),
        ("fm-pipeline restoree FOLDER --dry-run", "there is no command restoree"),
        ("fm-pipeline dicom scn", "there is no command scn"),
        ("fm-pipeline patient", "Missing argument"),
        ("fm-pipeline patient 1 2", "unexpected extra argument"),
        ("SMTP_HOSTS=x fm-pipeline check", "SMTP_HOSTS is no setting"),
        ("scripts/demo --quik", "No such option"),
        ("scripts/gone", "there is no scripts/gone"),
        ("python benchmarks/images.py --wrong 1", "has no --wrong"),
        ("cd x && fm-pipeline check --wrong | less", "No such option"),
    ],
)
def test_a_command_with_a_mistake_is_found(line: str, found: str) -> None:
    assert found in "".join(fault(words) for words in commands(line))


def test_every_block_of_commands_is_run_or_says_why_it_is_not() -> None:
    unmarked = [each for page in PAGES for each in blocks(page) if not each.language and page != MEASURES]
    assert [each.first for each in unmarked if each.first.split()[0] in {"fm-pipeline", "python", "scripts/test"}] == []
    left = [each for each in COMMANDS if not each.reason and each.page not in {FOLLOWED, MEASURES}]
    assert left == sorted((block(name) for name in RUN), key=COMMANDS.index)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other system users can reach, with the environment and a filled stack, as the demo leaves it."""
    with tempfile.TemporaryDirectory(prefix="fm-pipeline-pages-") as name:
        top = Path(name)
        top.chmod(0o711)
        (top / ".venv").mkdir()
        (top / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        # Without Orthanc, which no block that is run needs.
        stack = Stack(top / ".state" / "demo", [kind for kind in SERVICES if kind is not OrthancService])
        try:
            stack.up()
            clinic = generate_clinic(scale=0.02, images="bulk")
            fill_stack(stack, clinic, "nexus")
            DemoImages(stack, clinic).fill()
            (top / ".state" / "demo" / "hospital").mkdir()
            yield top
        finally:
            Stack(top / ".state" / "demo").down()


def test_the_blocks_run_as_they_are_written(folder: Path) -> None:
    stack = Stack(folder / ".state" / "demo", [PostgreSQLService])
    postgresql = stack.service(PostgreSQLService)
    paths = [str(folder / ".venv" / "bin"), str(binaries(postgresql.data)), os.environ["PATH"]]
    environment = {
        **{name: os.environ[name] for name in ("HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ},
        "PATH": os.pathsep.join(paths),
    }

    def run(commands: str, **more: str) -> str:
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-euc", commands],
            cwd=folder,
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    first = block("start").text.splitlines(keepends=True)
    (end,) = [number for number, line in enumerate(first) if "stack down" in line]
    assert "fm-pipeline reimport --plan " in run("".join(first[:end]))
    own = {"FM_PIPELINE_ENV_FILE": str(folder / "demo.env")}
    assert "fm-pipeline reimport --plan " in run(block("check and plan").text, **own)
    run(block("watch").text, **own)
    shutil.copyfile(folder / ".state" / "demo" / "Image_DataV6.tab", folder / "Image_DataV6.tab")
    run(block("convert").text, **own)
    run(block("link").text, **own)
    with closing(psycopg2.connect(postgresql.url("nexus"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT s3_bucket, s3_key, file_size FROM documents_document")
        files = cursor.fetchall()
    s3 = folder / ".state" / "demo" / "s3"
    assert {(s3 / bucket / key).stat().st_size == size for bucket, key, size in files} == {True}

    backup = run("fm-pipeline backup", **own).splitlines()[-1]
    listed = block("restore").text.replace("FOLDER", backup)
    assert "Every row is as in the backup." in run(listed, **own)
    with closing(psycopg2.connect(postgresql.url("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE empty")
    with closing(psycopg2.connect(postgresql.url("empty"))) as connection:
        create_nexus(connection)
        connection.commit()
    loaded = block("load").text.replace("FOLDER", backup).replace("postgresql://…", postgresql.url("empty"))
    assert run(loaded).splitlines()[-1] == "COMMIT"

    run(block("grants").text.replace("-d nexus", f"-d {postgresql.url()}"), **own)
    run("".join(first[end:]), **own)
    assert not any(row.alive for row in Stack(folder / ".state" / "demo").status())
