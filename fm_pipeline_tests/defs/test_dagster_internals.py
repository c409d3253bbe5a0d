"""What the project takes from Dagster although it is private: a release that moves it is noticed here."""

from __future__ import annotations

import importlib
import re

import dagster as dg
import pytest

from fm_pipeline.defs import dagster_internals
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT

_NAME = re.compile(r"\bdagster\w*(?:\.\w+)*\._\w+(?:\.\w+)*")
PRIVATE = sorted(
    {
        (path.relative_to(PACKAGE_PARENT).as_posix(), name)
        for path in (PACKAGE_PARENT / "fm_pipeline").rglob("*.py")
        for name in _NAME.findall(path.read_text("utf-8"))
    }
)


def find(name: str) -> object:
    """A module, or what a module has."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize(("file", "name"), PRIVATE)
def test_a_private_name_that_the_project_uses_is_where_it_was(file: str, name: str) -> None:
    assert find(name), f"{file} uses {name}"


def test_the_private_names_are_in_one_module_and_in_three_texts() -> None:
    assert {file for file, _ in PRIVATE} == {
        "fm_pipeline/defs/dagster_internals.py",
        "fm_pipeline/sandbox/demo/run.py",
        "fm_pipeline/sandbox/stack/dagster.py",
        "fm_pipeline/serve/parts.py",
    }


def test_what_has_a_public_name_is_not_taken_from_inside() -> None:
    assert [name for name in dagster_internals.__all__ if hasattr(dg, name)] == []


def test_the_tags_are_those_of_the_runs_that_dagster_has_kept() -> None:
    assert {name: getattr(dagster_internals, name) for name in dagster_internals.__all__ if name.endswith("_TAG")} == {
        "BACKFILL_ID_TAG": "dagster/backfill",
        "GRPC_INFO_TAG": ".dagster/grpc_info",
        "PARENT_BACKFILL_ID_TAG": "dagster/parent_backfill_id",
        "PARENT_RUN_ID_TAG": "dagster/parent_run_id",
        "RETRY_NUMBER_TAG": "dagster/retry_number",
        "RUN_KEY_TAG": "dagster/run_key",
        "SCHEDULE_NAME_TAG": "dagster/schedule_name",
        "SENSOR_NAME_TAG": "dagster/sensor_name",
    }
