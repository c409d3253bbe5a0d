"""A caller of the ten calls, and a hospital's directory of its own for each test."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.support.orthanc import need_orthanc

SIZE = 2_000


@dataclass(frozen=True)
class Caller:
    """Calls as one account, as a page of the console would."""

    console: Console
    session: requests.Session

    def get(self, name: str, **query: Any) -> requests.Response:
        return self.session.get(f"{self.console.url}/api/sync/{name}", params=query, timeout=60)

    def post(self, name: str, body: Any, **headers: str) -> requests.Response:
        given = {"X-CSRFToken": self.session.cookies.get("fm_console_csrf", ""), **headers}
        return self.session.post(f"{self.console.url}/api/sync/{name}", json=body, headers=given, timeout=60)

    def machine(self, scope: str) -> Caller:
        """Return a machine with a token that this account makes."""
        made = {"name": f"calls {uuid.uuid4()}", "scope": scope, "days": "1", **self.console.token(self.session)}
        page = self.session.post(f"{self.console.url}/settings/tokens/make", data=made, timeout=30)
        machine = self.console.session()
        machine.headers["Authorization"] = f"Bearer {re.findall(r'fmc_[-a-zA-Z0-9_]{43}', page.text)[0]}"
        del machine.headers["Origin"]
        return Caller(self.console, machine)

    def started(self, folder: Path, job_type: str = "manual") -> int:
        answer = self.post("start-import", {"source_path": str(folder), "job_type": job_type})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["data"]["job_id"])


@pytest.fixture(scope="package")
def admin(console: Console) -> Caller:
    """An admin who calls."""
    return Caller(console, console.session("admin"))


@pytest.fixture
def folder(console: Console) -> Path:
    """A folder with five instances that Orthanc has never had."""
    need_orthanc()
    name = uuid.uuid4().hex
    folder = console.hospital / name
    write_series(folder, 5, SIZE, name=name, patient_id=name)
    return folder
