"""Requests made from the OpenAPI description: every answer is one of the description, and none is a 500."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from fm_pipeline_tests.console.api.conftest import Caller

COUNT = int(os.environ.get("FM_PIPELINE_CALLS", "3"))  # of each kind for each call; scripts/fuzz-calls makes more
SECONDS = float(os.environ.get("FM_PIPELINE_CALLS_SECONDS", "inf"))  # at most, for each kind of each call
AT_ONCE = 50  # between two looks at the clock
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
PATHS = strategies.one_of(
    strategies.text(max_size=60),
    strategies.sampled_from(
        [
            "C:\\Hospital\\DICOM\\Data",
            "\\\\server\\share",
            "/\0",
            "/" + "x" * 4095,
            "/" + "/".join("x" * 300 for _ in range(10)),
            "file:///etc/passwd",
            "/proc/self/root",
            "/dev/zero",
            "~",
            "/%00",
            "/\u202e",
            "/../" * 50,
        ]
    ),
    strategies.text(alphabet="/.\\:\0%é\U0001f600 ", max_size=30).map(lambda text: f"/{text}"),
)


def random_cases(name: str, test: Callable[..., None], **given: Any) -> None:
    made, until = 0, time.monotonic() + SECONDS
    while made < COUNT and time.monotonic() < until:
        settings = hypothesis.settings(
            max_examples=min(AT_ONCE, COUNT - made),
            deadline=None,
            database=None,
            derandomize=COUNT < 100,
            suppress_health_check=list(HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        settings(hypothesis.given(**given)(test))()
        made += settings.max_examples
    sys.stdout.write(f"{name}: {made:,} requests\n")


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_random_requests_are_answered_as_described(admin: Caller, mode: schemathesis.GenerationMode) -> None:
    described = admin.get("openapi.json").json()
    del described["components"]["securitySchemes"]  # otherwise random cookies and tokens would be sent
    for path in described["paths"].values():
        for call in path.values():
            del call["security"]
    schema = schemathesis.openapi.from_dict(described)
    session = admin.machine("dicom").session

    def answered(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(base_url=admin.console.url, session=session, checks=CHECKS, timeout=60)

    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) == 10
    for operation in operations:
        try:
            random_cases(f"{mode.value} {operation.path}", answered, case=operation.as_strategy(generation_mode=mode))
        except hypothesis.errors.Unsatisfiable:  # a call without parameters has no wrong ones
            assert operation.path.endswith("get-configuration")


def test_strange_paths_are_refused(admin: Caller) -> None:
    def refused(path: str) -> None:
        for name, body in (
            ("scan-directory", {"path": path}),
            ("scan-new-files", {"path": path}),
            ("start-import", {"source_path": path}),
            ("configure-hospital-path", {"hospital_data_path": path}),
        ):
            answer = admin.post(name, body)
            assert (answer.status_code, answer.json()["success"]) == (400, False), (name, path)

    random_cases("strange paths, each for four calls", refused, path=PATHS)
