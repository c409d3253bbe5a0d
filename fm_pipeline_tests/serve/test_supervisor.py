from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from fm_pipeline.console.service.part_states import STATE_FILE, PartState, read_part_states
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.support.waiting import wait_until


class Service:
    """A running supervisor of small parts."""

    def __init__(self, folder: Path, *behaviours: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        command = [sys.executable, "-m", "fm_pipeline_tests.serve.small_service", str(folder), *behaviours, "serve"]
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notifications.bind(str(folder / "notify"))
        self.notifications.settimeout(60)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                command,
                cwd=PACKAGE_PARENT,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
            )

    def states(self) -> dict[str, PartState]:
        return {state.name: state for state in read_part_states(self.folder.parent)}

    def said(self, words: str) -> bool:
        return words in self.log.read_text()

    def told_systemd(self) -> str:
        return self.notifications.recv(100).decode()

    def processes(self) -> list[psutil.Process]:
        """The parts, and the runs below them."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in found if "part_program" in " ".join(process.cmdline()) or is_run(process)]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def is_run(process: psutil.Process) -> bool:
    return "--multiprocessing-fork" in process.cmdline()


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "console").mkdir()
    return tmp_path / "console"


@contextmanager
def running(folder: Path, *behaviours: str) -> Iterator[Service]:
    service = Service(folder, *behaviours)
    try:
        wait_until(lambda: set(service.states()) == set(behaviours))
        yield service
    finally:
        service.notifications.close()
        if service.process.poll() is None:
            service.stop()


def test_a_part_that_dies_starts_again_after_growing_pauses(folder: Path) -> None:
    with running(folder, "lives", "dies") as service:
        wait_until(lambda: service.states()["dies"].restarts >= 2)
        assert service.said("The dies ended with 3. It starts again in 1 s.")
        assert service.said("It starts again in 2 s.")
        assert service.states()["dies"].exit_code == 3
        assert service.states()["lives"].restarts == 0


def test_sigterm_ends_every_part_and_kills_a_deaf_one_but_a_run_goes_on(folder: Path) -> None:
    with running(folder, "deaf", "lives", "has a run") as service:
        assert service.told_systemd() == "READY=1"
        wait_until(lambda: any(map(is_run, service.processes())))
        processes = service.processes()
        runs = [process for process in processes if is_run(process)]
        service.stop()
        assert service.process.returncode == 0
        assert [process for process in processes if alive(process)] == runs
        runs[0].kill()
        assert service.told_systemd() == "STOPPING=1"
    assert service.said("1 run goes on without it.")
    assert service.said("The deaf did not stop in")


def test_no_part_outlives_a_supervisor_that_is_killed_and_the_next_one_waits_for_them(folder: Path) -> None:
    with running(folder, "deaf", "lives") as service:
        wait_until(lambda: len(service.processes()) == 2)
        parts = service.processes()
        service.process.kill()
        service.process.wait()
        (folder / STATE_FILE).unlink()
        (folder / "notify").unlink()
        with running(folder, "lives") as later:  # it starts only when the lock is free, which the parts inherit
            assert not any(map(alive, parts))
            assert later.said("The lives runs as process")


def test_sighup_starts_every_part_anew(folder: Path) -> None:
    with running(folder, "lives") as service:
        assert service.told_systemd() == "READY=1"
        before = service.states()["lives"].pid
        service.process.send_signal(signal.SIGHUP)
        assert (service.told_systemd(), service.told_systemd()) == ("RELOADING=1", "READY=1")
        state = service.states()["lives"]
        assert (state.pid != before, state.restarts) == (True, 0)


def test_a_state_that_could_not_be_written_is_written_when_there_is_room_again(folder: Path) -> None:
    with running(folder, "lives") as service:
        assert service.told_systemd() == "READY=1"
        before = service.states()["lives"].pid
        (folder / f"{STATE_FILE}.new").mkdir()  # as a full disk does, it lets nothing be written there
        service.process.send_signal(signal.SIGHUP)
        assert (service.told_systemd(), service.told_systemd()) == ("RELOADING=1", "READY=1")
        assert service.log.read_text().count("The state of the parts cannot be written: Is a directory.") <= 3
        assert service.states()["lives"].pid == before
        (folder / f"{STATE_FILE}.new").rmdir()
        wait_until(lambda: service.states()["lives"].pid not in (None, before))


def test_a_second_service_in_the_same_folder_is_refused(folder: Path) -> None:
    with running(folder, "lives") as first:
        command = [sys.executable, "-m", "fm_pipeline_tests.serve.small_service", str(folder), "lives", "serve"]
        second = subprocess.run(command, cwd=PACKAGE_PARENT, capture_output=True, text=True, check=False)  # noqa: S603
        assert second.returncode != 0
        assert f"in use by another fm-pipeline serve (process {first.process.pid})" in second.stderr
