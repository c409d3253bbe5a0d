"""Orthanc as a service: from the system's package (Debian: `orthanc`), with its own storage, index and password.

`FM_PIPELINE_ORTHANC` names another executable, for example that of a newer Debian (CONTRIBUTING.md).

Orthanc 1.10 cannot bind to one address; with `RemoteAccessAllowed` off it accepts only connections from this machine.
Source of the options: the comments in /etc/orthanc/orthanc.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from fm_pipeline.sandbox.programs.programs import PROGRAMS
from fm_pipeline.sandbox.stack.service import Service
from fm_pipeline.sandbox.stack.state import write_json

USERNAME = "pipeline"
ORTHANC = PROGRAMS["orthanc"]  # a named one may be a script that ends in `exec` of it


class OrthancService(Service):
    """The PACS that DICOM files are imported into. No wheel contains it, so it may be missing on a machine."""

    name = "orthanc"

    @classmethod
    def available(cls) -> bool:
        return bool(ORTHANC.given) or ORTHANC.find() is not None  # a name that is wrong is told, not passed over

    def prepare(self) -> None:
        super().prepare()
        ORTHANC.require()
        write_json(self._configuration_file, self.configuration())

    def configuration(self) -> dict[str, Any]:
        """Return the options that differ from Orthanc's defaults."""
        return {
            "Name": f"Sandbox {self.nonce}",  # `/system` returns it, which identifies this server
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
        return [ORTHANC.require(), str(self._configuration_file)]

    def ready(self) -> bool:
        try:
            # A session without the environment: the user's proxy and .netrc must not be used.
            with requests.Session() as session:
                session.trust_env = False
                settings = self.settings()
                login = (USERNAME, settings["ORTHANC_PASSWORD"])
                answer = session.get(f"{settings['ORTHANC_URL']}/system", auth=login, timeout=5)
                return answer.ok and answer.json().get("Name") == self.configuration()["Name"]
        except (requests.RequestException, ValueError, AttributeError):  # another program answers on the port
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
