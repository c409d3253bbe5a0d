"""What every service of the stack can do. A new one is a subclass and one more line in `stack.SERVICES`."""

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
    """One server, its files under `state_dir`, listening on 127.0.0.1 at `port`."""

    name: ClassVar[str]
    serves: ClassVar[bool] = True  # on its port; a daemon has one and does not use it
    stop_signal: ClassVar[int] = signal.SIGTERM

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
        """Known to this server alone. One that can be asked for it is recognised by it."""
        return self.secrets.get(f"{self.name}_nonce")

    @classmethod
    def available(cls) -> bool:
        """Whether this machine has the program; only of one that no wheel brings is it False."""
        return True

    def prepare(self) -> None:
        """Make what must be there before the start. Called again it changes nothing."""
        self.folder.mkdir(mode=0o700, exist_ok=True)

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Program and arguments, without secrets."""

    @property
    def working_folder(self) -> Path:
        """Where the server runs; the place where `-m fm_pipeline...` finds the package."""
        return PACKAGE_PARENT

    def process_environment(self) -> dict[str, str]:
        """The environment of the process."""
        return dict(os.environ)

    def account(self) -> SystemAccount | None:
        """The system user to run as, if not ours."""
        return None

    @abstractmethod
    def ready(self) -> bool:
        """Whether this very server, not another on the same port, answers."""

    def set_up(self) -> None:
        """Make what the server must hold (a database, a bucket). Called again it changes nothing."""
        return

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The settings that point the pipeline at this service."""

    def record(self) -> ProcessRecord:
        """The intent to start, written down before the start."""
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
        """Whether its process runs."""
        return find(self.record()) is not None

    def log_says(self, words: str) -> bool:
        """Whether the server has printed these words since its start."""
        return self.log.exists() and words in self.log.read_text(encoding="utf-8", errors="replace")
