"""A PACS: Orthanc, from the system's package (Debian: `orthanc`), with storage, index and password of its own.

Orthanc 1.10 cannot bind to one address; with `RemoteAccessAllowed` off it refuses everybody but this machine.
Source of the options: the comments in /etc/orthanc/orthanc.json.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack.service import Service
from fm_pipeline.sandbox.stack.state import write_json

USERNAME = "pipeline"


class Orthanc(Service):
    """The PACS that DICOM files are imported into. Not a wheel, so it may be missing on a machine."""

    name = "orthanc"

    @classmethod
    def available(cls) -> bool:
        return _program() is not None

    def prepare(self) -> None:
        super().prepare()
        if not self.available():
            raise PipelineError(
                "Orthanc is not installed, so there is no PACS to start.",
                remedy="Install it, on Debian: apt-get install orthanc",
            )
        write_json(self._configuration_file, self.configuration())

    def configuration(self) -> dict[str, Any]:
        """The options that differ from Orthanc's defaults."""
        return {
            "Name": "Sandbox",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "HttpPort": self.port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USERNAME: self._password},
            "DicomServerEnabled": False,
            "Plugins": [],
        }

    def command(self) -> Sequence[str]:
        return [_program() or "Orthanc", str(self._configuration_file)]

    def ready(self) -> bool:
        try:
            # A session that trusts no environment: a proxy or .netrc of the user must not come between.
            with requests.Session() as session:
                session.trust_env = False
                settings = self.settings()
                login = (USERNAME, settings["ORTHANC_PASSWORD"])
                return session.get(f"{settings['ORTHANC_URL']}/system", auth=login, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def settings(self) -> dict[str, str]:
        return {
            "ORTHANC_URL": f"http://127.0.0.1:{self.port}",
            "ORTHANC_USERNAME": USERNAME,
            "ORTHANC_PASSWORD": self._password,
        }

    @property
    def _password(self) -> str:
        return self.secrets.get("orthanc_password")

    @property
    def _configuration_file(self) -> Path:
        return self.folder / "orthanc.json"


def _program() -> str | None:
    """Debian puts it where only root looks."""
    return shutil.which("Orthanc", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
