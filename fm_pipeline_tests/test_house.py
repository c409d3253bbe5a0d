"""Rules of the house that a machine can hold: what is documented, what is shipped, what no file may contain."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml
from dotenv import dotenv_values
from setuptools import find_packages

from fm_pipeline.cli.main import main
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT as TOP
from fm_pipeline.sandbox.stack.stack import SERVICES
from fm_pipeline.settings import Settings
from fm_pipeline_tests.layers import with_layers


def commands(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that can be called, with its words as typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


COMMANDS = dict(commands(main, "fm-pipeline"))


def tracked_files() -> list[Path]:
    """The files of the project, also those that are new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=TOP,
        capture_output=True,
        check=True,
    )
    return [TOP / name for name in listed.stdout.decode().split("\0") if name and (TOP / name).is_file()]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_option_is_documented(words: str) -> None:
    pages = (TOP / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", pages, flags=re.MULTILINE)
    (section,) = [section for section in sections if section.startswith(f"`{words}`\n")]
    for parameter in COMMANDS[words].params:
        for name in parameter.opts if isinstance(parameter, click.Option) else [parameter.human_readable_name]:
            assert f"`{name}`" in section or not name.startswith("--"), f"{words} {name}"
    options = {name for parameter in COMMANDS[words].params for name in parameter.opts}
    assert set(re.findall(r"^\| `(--[a-z0-9-]+)`", section, flags=re.MULTILINE)) <= options


def test_every_command_says_what_it_does() -> None:
    assert [words for words, command in COMMANDS.items() if not command.get_short_help_str()] == []


def test_the_example_of_an_environment_lists_every_setting_with_a_comment_and_nothing_else() -> None:
    lines = (TOP / ".env.example").read_text(encoding="utf-8").splitlines()
    names = [line.split("=", 1)[0] for line in lines if line and not line.startswith("#")]
    assert names == [name.upper() for name in Settings.model_fields]
    for before, line in pairwise(lines):
        if line and not line.startswith("#"):
            assert before.startswith("# "), f"{line} has no comment"


def test_the_defaults_in_the_example_are_the_real_ones() -> None:
    shown = dotenv_values(TOP / ".env.example")
    for name, field in Settings.model_fields.items():
        if not field.is_required() and field.default is not None:
            assert shown[name.upper()] == str(field.default), name


def test_the_example_can_be_read_as_settings_and_holds_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = dotenv_values(TOP / ".env.example")
    for name in shown:
        monkeypatch.delenv(name, raising=False)
    settings = Settings(_env_file=TOP / ".env.example")  # type: ignore[call-arg]
    assert not settings.filemaker_password or settings.filemaker_password.get_secret_value() == ""
    assert not settings.aws_secret_access_key or settings.aws_secret_access_key.get_secret_value() == ""


def test_constraints_are_names_and_versions_in_order() -> None:
    text = (TOP / "constraints.txt").read_text(encoding="ascii")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!]*", line)] == []
    assert lines == sorted(lines, key=str.upper)
    assert "scripts/pin" in text


def test_the_package_is_shipped_without_its_tests_and_every_folder_of_it_is_a_package() -> None:
    pyproject = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    include = pyproject["tool"]["setuptools"]["packages"]["find"]["include"]
    shipped = set(find_packages(str(TOP), include=include))
    assert {name.split(".")[0] for name in shipped} == {"fm_pipeline"}
    modules = [path for path in tracked_files() if path.suffix == ".py" and path.is_relative_to(TOP / "fm_pipeline")]
    assert {".".join(path.parent.relative_to(TOP).parts) for path in modules} == shipped


def test_an_init_file_holds_a_docstring_only() -> None:
    for path in tracked_files():
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), path
            assert len(tree.body) == 1, path


def test_every_script_is_documented() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in [*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")])
    scripts = {path.name for path in (TOP / "scripts").iterdir() if not path.name.startswith("_")}
    assert {name for name in scripts if f"scripts/{name}" not in pages} == set()


# A home folder or a temporary one of whoever wrote the file, and hosts that packages are downloaded from
MACHINE = re.compile(r"(/home/[a-z]|/root/|/Users/[A-Za-z]|/work/|[A-Z]:\\Users)")
REGISTRY = re.compile(r"(deb\.debian|pypi\.org|pythonhosted|artifactory|nexus3?/repository|registry\.npmjs|index-url)")


def test_no_file_names_a_path_of_a_machine_or_a_package_registry() -> None:
    for path in tracked_files():
        if path == Path(__file__) or path.suffix in {".png", ".dcm", ".gz"}:
            continue
        text = path.read_text(encoding="utf-8")
        for pattern in (MACHINE, REGISTRY):
            found = pattern.search(text)
            assert found is None, f"{path.relative_to(TOP)}: {found and found.group()}"


def test_workspace_and_instance_say_what_the_project_relies_on() -> None:
    (location,) = yaml.safe_load((TOP / "workspace.yaml").read_text())["load_from"]
    assert location == {"python_module": {"module_name": "fm_pipeline.definitions", "location_name": "fm_pipeline"}}
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert project["code_location_target_module"] == location["python_module"]["module_name"]
    assert project["code_location_name"] == location["python_module"]["location_name"]
    instance = yaml.safe_load((TOP / "dagster.yaml").read_text())
    assert instance["telemetry"] == {"enabled": False}
    assert instance["concurrency"]["pools"]["granularity"] == "run"
    assert instance["run_monitoring"]["max_runtime_seconds"] > 0


def test_scripts_can_be_run_and_ask_for_nothing_but_a_plain_shell() -> None:
    for path in (TOP / "scripts").iterdir():
        if not path.name.startswith("_"):
            assert path.stat().st_mode & 0o111 == 0o111, path
            assert path.read_text(encoding="utf-8").startswith("#!/bin/sh\n"), path


def test_services_have_names_of_their_own() -> None:
    assert len({kind.name for kind in SERVICES}) == len(SERVICES)


MOST_MODULES = 18
MIGRATIONS = "fm_pipeline/db/migrations/versions"  # numbered, and one more for each change of our tables


def test_a_folder_has_few_modules() -> None:
    counted = Counter(path.parent for path in tracked_files() if path.suffix == ".py" and path.name != "__init__.py")
    folders = {str(folder.relative_to(TOP)): number for folder, number in counted.items()}
    assert {name: number for name, number in folders.items() if number > MOST_MODULES and name != MIGRATIONS} == {}


def test_only_one_module_imports_what_is_private_in_dagster() -> None:
    private = re.compile(r"^\s*(from|import) dagster\w*\._", re.MULTILINE)
    paths = [path for path in (TOP / "fm_pipeline").rglob("*.py") if private.search(path.read_text(encoding="utf-8"))]
    assert [path.relative_to(TOP / "fm_pipeline").as_posix() for path in paths] == ["defs/dagster_internals.py"]


def test_the_picture_of_the_layers_is_the_contracts() -> None:
    page = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert with_layers(page, TOP / "pyproject.toml") == page, "run scripts/layers"


def _described(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The names that a docstring describes under Args and Attributes."""
    sections = re.findall(r"^(?:Args|Attributes):\n((?: {4}.*\n?)+)", ast.get_docstring(node) or "", re.MULTILINE)
    entries = [entry for section in sections for entry in re.findall(r"^ {4}(\w[\w, ]*):", section, re.MULTILINE)]
    return {name for entry in entries for name in entry.split(", ")}


def test_a_docstring_describes_only_what_is_there() -> None:
    strangers = []
    for path in tracked_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.suffix == ".py" else ():
            if isinstance(node, ast.ClassDef):
                there = set(re.findall(r"\w+", "\n".join(ast.unparse(part) for part in node.body[1:])))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                there = {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
            else:
                continue
            strangers += [f"{path.relative_to(TOP)}: {node.name}: {name}" for name in _described(node) - there]
    assert strangers == []


MOST_LINES = 400
MOST_REPEATED_LINES = 8


def test_a_file_is_short_enough_to_be_read() -> None:
    lines = {
        str(path.relative_to(TOP)): path.read_text(encoding="utf-8").count("\n")
        for path in tracked_files()
        if path.suffix == ".py"
    }
    assert {name: number for name, number in lines.items() if number > MOST_LINES} == {}


def test_a_class_name_stands_in_one_module() -> None:
    modules: dict[str, set[str]] = {}
    for path in (TOP / "fm_pipeline").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                modules.setdefault(node.name, set()).add(path.relative_to(TOP / "fm_pipeline").as_posix())
    assert {name: places for name, places in modules.items() if len(places) > 1} == {}


def _lines_of_code(path: Path) -> list[tuple[int, str]]:
    """The lines with their numbers, without blank lines, comments, imports and docstrings."""
    text = path.read_text(encoding="utf-8")
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        is_text = (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )
        if isinstance(node, ast.Import | ast.ImportFrom) or is_text:
            assert isinstance(node, ast.stmt)
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if number not in left_out)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def test_no_eight_lines_stand_in_two_places() -> None:
    seen: dict[tuple[str, ...], str] = {}
    repeated = []
    for path in tracked_files():
        if path.suffix != ".py":
            continue
        code = _lines_of_code(path)
        for start in range(len(code) - MOST_REPEATED_LINES + 1):
            block = code[start : start + MOST_REPEATED_LINES]
            place = f"{path.relative_to(TOP)}:{block[0][0]}"
            if (first := seen.setdefault(tuple(line for _, line in block), place)) != place:
                repeated.append(f"{place} repeats {first}")
    assert repeated == []


# The packages that the project was asked to use, and the module that does the most with each.
NAMED_PACKAGES = {
    "dagster": "defs/assets/reimport.py",  # the whole Dagster layer
    "dagster_aws": "defs/s3_compute_logs.py",  # the outputs of runs on several hosts, in S3
    "pandas": "images/exports/records.py",  # the records of an export, with a type for every column
    "pydicom": "dicom/files/text.py",  # character sets and the dictionary of elements
    "requests": "filemaker/transport.py",  # HTTP to FileMaker Server
    "sqlalchemy": "db/migrate.py",  # the migrations, with Alembic
}


@pytest.mark.parametrize(("package", "module"), NAMED_PACKAGES.items())
def test_a_named_package_does_its_work_in_production_code(package: str, module: str) -> None:
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name) or ""
        for node in ast.walk(ast.parse((TOP / "fm_pipeline" / module).read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert package in {name.split(".")[0] for name in imported}
