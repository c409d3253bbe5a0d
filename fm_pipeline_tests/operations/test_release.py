"""What a release holds: the wheel all of the package, the source archive all that an operator takes from it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP
from fm_pipeline_tests.operations.bill_of_materials import bill_of_materials

VERSION = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]["version"]
BUILD = "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"
LEFT_OUT = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "fm_pipeline_tests", "dagster_home"
)
# What docs/operations.md takes from a release
TAKEN = {"constraints.txt", "dagster.yaml", ".env.example", "deploy/fm-pipeline.service", "deploy/nginx.conf"}


def test_wheel_and_source_archive_hold_every_file_and_no_test(tmp_path: Path) -> None:
    release = tmp_path / "release"
    shutil.copytree(TOP, release, ignore=LEFT_OUT)
    shutil.copyfile(TOP / ".env.example", release / ".env.example")
    subprocess.run([sys.executable, "-c", BUILD], cwd=release, check=True, capture_output=True)  # noqa: S603
    package = {
        path.relative_to(TOP).as_posix()
        for path in (TOP / "fm_pipeline").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts  # Python also leaves halves of files there
    }
    with zipfile.ZipFile(release / "dist" / f"fm_pipeline-{VERSION}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
    assert {"fm_pipeline/defs/dagster.yaml", "fm_pipeline/defs/workspace.yaml"} < package <= names, (
        "the demo needs them"
    )
    assert {name for name in names - package if not name.startswith(f"fm_pipeline-{VERSION}.dist-info/")} == set()
    with tarfile.open(release / "dist" / f"fm_pipeline-{VERSION}.tar.gz") as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert package | TAKEN <= held
    assert not any(name.startswith("fm_pipeline_tests") for name in held)


def test_version_changelog_and_pages_agree() -> None:
    assert re.search(r"^## (\S+)", (TOP / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[1] == VERSION  # type: ignore[index]
    page = (TOP / "docs" / "operations.md").read_text("utf-8")
    assert set(re.findall(r"fm_pipeline-([\d.]+)-py3", page)) == {VERSION}


def test_the_bill_of_materials_names_every_pinned_package_and_what_the_wheel_needs() -> None:
    bill = bill_of_materials(TOP)
    scopes = {each["name"]: each["scope"] for each in json.loads(json.dumps(bill))["components"]}
    pinned = [line for line in (TOP / "constraints.txt").read_text("ascii").splitlines() if "==" in line]
    assert [f"{each['name']}=={each['version']}" for each in bill["components"]] == pinned
    for name, scope in {
        "dagster": "required",
        "botocore": "required",
        "uvloop": "required",
        "pytest": "optional",
    }.items():
        assert scopes[name] == scope, name
