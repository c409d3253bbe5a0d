"""The base class of the stack's services. A new service is a subclass, and one more entry in `stack.SERVICES`."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

import fm_pipeline
from fm_pipeline.sandbox.stack.processes import ProcessRecord, SystemAccount, find, spawn
from fm_pipeline.sandbox.stack.state import Secrets

# Where `python -m fm_pipeline...` finds the package, installed or not
PACKAGE_PARENT = Path(fm_pipeline.__file__).parents[1]


@dataclass(frozen=True)
class Service(ABC):
    """One server that listens on 127.0.0.1 at `port` and keeps its files under `state_dir`."""

    name: ClassVar[str]
    serves: ClassVar[bool] = True  # whether it listens on its port; a daemon does not
    starts_last: ClassVar[bool] = False  # when all others answer
    stop_signal: ClassVar[int] = signal.SIGTERM
    ready_seconds: ClassVar[float] = 60.0  # limit of its start

    state_dir: Path
    port: int
    secrets: Secrets

    @property
    def folder(self) -> Path:
        """The service's own files."""
        return self.state_dir / self.name

    @property
    def log(self) -> Path:
        """What the server printed since its last start."""
        return self.state_dir / "logs" / f"{self.name}.log"

    @property
    def nonce(self) -> str:
        """A random text that only this server knows. A server that returns it is identified by it."""
        return self.secrets.get(f"{self.name}_nonce")

    @classmethod
    def available(cls) -> bool:
        """Return whether this machine has the program; False only for programs that no wheel contains."""
        return True

    def prepare(self) -> None:
        """Create what must exist before the start; idempotent."""
        self.folder.mkdir(mode=0o700, exist_ok=True)

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return program and arguments, without secrets."""

    @property
    def working_folder(self) -> Path:
        """The working directory of the server, where `-m fm_pipeline...` finds the package."""
        return PACKAGE_PARENT

    def process_environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        return dict(os.environ)

    def account(self) -> SystemAccount | None:
        """Return the system user to run as, or None for ours."""
        return None

    @abstractmethod
    def ready(self) -> bool:
        """Return whether this server, and not another one on the same port, answers."""

    def set_up(self) -> None:
        """Create what the server must contain (a database, a bucket); idempotent."""
        return

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return the settings with which the pipeline uses this service."""

    def record(self) -> ProcessRecord:
        """Return the record that is written before the start."""
        return ProcessRecord(port=self.port, command=list(self.command()), stop_signal=self.stop_signal)

    def start(self) -> psutil.Process:
        """Start the server; it is not ready yet."""
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        self.log.unlink(missing_ok=True)
        return spawn(
            self.command(),
            log=self.log,
            environment=self.process_environment(),
            folder=self.working_folder,
            account=self.account(),
        )

    def alive(self) -> bool:
        """Return whether its process runs."""
        return find(self.record()) is not None

    def log_says(self, words: str) -> bool:
        """Return whether the server has printed these words since its start."""
        return self.log.exists() and words in self.log.read_text(encoding="utf-8", errors="replace")
