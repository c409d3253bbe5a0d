"""The mail catcher as a service. The program itself is `smtp_catcher.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fm_pipeline.sandbox.stack.service import Service


class SmtpService(Service):
    """A mail server that delivers into a folder: one `.eml` file per email."""

    name = "mail"

    def command(self) -> Sequence[str]:
        catcher = [sys.executable, "-m", "fm_pipeline.sandbox.stack.smtp_catcher"]
        return [*catcher, "--port", str(self.port), "--folder", str(self.folder)]

    def process_environment(self) -> dict[str, str]:
        return {**super().process_environment(), "PYTHONUNBUFFERED": "1"}

    def ready(self) -> bool:
        return self.log_says(f"listening on 127.0.0.1:{self.port}")

    def settings(self) -> dict[str, str]:
        return {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.port),
            "SMTP_SECURITY": "none",  # it has no TLS, and listens on this machine only
            "SMTP_FROM": "fm-pipeline@clinic.example",
            "SMTP_TO": "administrators@clinic.example",
        }
