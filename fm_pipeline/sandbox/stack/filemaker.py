"""The FileMaker stand-in as a service. Its answers are implemented in `fm_pipeline.sandbox.filemaker`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fm_pipeline.sandbox.stack.service import Service

DATABASE = "clinic"
USER = "pipeline"


class FileMakerService(Service):
    """A server that speaks the FileMaker Data API."""

    name = "filemaker"

    @property
    def state_file(self) -> Path:
        """The stand-in's data. A `Store` can be opened on it while the server runs."""
        return self.folder / "filemaker.sqlite"

    def command(self) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "fm_pipeline.sandbox.filemaker"),
            *("--port", str(self.port), "--state-file", str(self.state_file)),
            *("--database", DATABASE, "--username", USER),
        ]

    def process_environment(self) -> dict[str, str]:
        password = self.secrets.get("filemaker_password")
        return {**super().process_environment(), "PYTHONUNBUFFERED": "1", "FILEMAKER_PASSWORD": password}

    def ready(self) -> bool:
        return self.log_says(f"listening on http://127.0.0.1:{self.port}")

    def settings(self) -> dict[str, str]:
        return {
            "FILEMAKER_URL": f"http://127.0.0.1:{self.port}",
            "FILEMAKER_DATABASE": DATABASE,
            "FILEMAKER_USERNAME": USER,
            "FILEMAKER_PASSWORD": self.secrets.get("filemaker_password"),
        }
