"""Ports and folders that something else uses."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack.dagster import DagsterWebserver
from fm_pipeline.sandbox.stack.filemaker import FileMakerService
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.ownership import OWNER_FILE, owned
from fm_pipeline.sandbox.stack.ports import listens
from fm_pipeline.sandbox.stack.s3 import S3Service
from fm_pipeline.sandbox.stack.service import Service
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.sandbox.stack.stack import Stack
from fm_pipeline.sandbox.stack.state import SECRETS_FILE, Secrets
from fm_pipeline_tests.sandbox.stack.processes import processes_of
from fm_pipeline_tests.sandbox.stack.test_stack import QUICK, kill, start_in_another_process, wait_for_up
from fm_pipeline_tests.support.answering import answering
from fm_pipeline_tests.support.postgres import DisposablePostgreSQL
from fm_pipeline_tests.support.waiting import wait_until

OK = b"HTTP/1.1 200 OK\r\n"


class Impostor(SmtpService):
    """A mail catcher whose port somebody else takes in the moment before it starts, and answers on it."""

    taken: ClassVar[list[socket.socket]] = []

    def start(self) -> psutil.Process:
        if not self.taken:
            self.taken.append(socket.create_server(("127.0.0.1", self.port)))
        return super().start()

    def ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False


def test_a_server_that_took_the_port_in_between_is_not_taken_for_ours(folder: Path) -> None:
    Impostor.taken.clear()
    stack = Stack(folder, (Impostor,))
    stack.up()
    (somebody,) = Impostor.taken
    with somebody:
        assert stack.service(Impostor).port != somebody.getsockname()[1]
        assert stack.answers(Impostor)
        other = replace(stack.service(Impostor), port=somebody.getsockname()[1])
        assert other.ready()
        process = psutil.Process(stack.status()[0].pid)
        assert not listens(process, other.port)


def test_a_port_that_was_asked_for_and_is_taken_is_refused_with_the_process_that_has_it(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        with pytest.raises(PipelineError, match=f"Port {port} is taken by process {os.getpid()}") as caught:
            Stack(folder, QUICK).up({"mail": port})
    assert "No request was sent" in caught.value.meaning
    assert processes_of(folder) == []


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\n<html>"]
)
@pytest.mark.parametrize(
    "kind", [DisposablePostgreSQL, S3Service, OrthancService, DagsterWebserver, FileMakerService, SmtpService]
)
def test_no_service_takes_another_programs_answer_for_its_own(folder: Path, kind: type[Service], answer: bytes) -> None:
    folder.mkdir(mode=0o700)
    with answering(answer) as port:
        assert not kind(folder, port, Secrets(folder / SECRETS_FILE)).ready()


def test_a_database_server_with_other_files_is_not_taken_for_ours_though_it_lets_us_in(
    folder: Path, postgresql: DisposablePostgreSQL
) -> None:
    folder.mkdir(mode=0o700)
    ours = DisposablePostgreSQL(folder, postgresql.port, postgresql.secrets)
    assert postgresql.ready()
    assert not ours.ready()


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it(folder: Path) -> None:
    holder = start_in_another_process(folder, ["SmtpService"], context=True)
    wait_for_up(holder)
    before = Stack(folder, QUICK).status()
    for act in (Stack(folder, QUICK).up, Stack(folder).down, Stack(folder, QUICK).__enter__):
        with pytest.raises(PipelineError, match=f"in use by process {holder.pid}") as caught:
            act()
        assert "Nothing was started, stopped or removed" in caught.value.meaning
    assert Stack(folder, QUICK).status() == before
    kill(holder)
    wait_until(lambda: processes_of(folder) == [])
    Stack(folder, QUICK).up()  # the lock ended with its process, though its file still names it


def test_a_stack_ends_though_its_process_goes_on_using_the_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with owned(folder):
        with Stack(folder, QUICK):
            pass
        assert processes_of(folder) == []


def test_an_owner_file_from_before_a_restart_of_the_machine_locks_nobody_out(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / OWNER_FILE).write_text(f"{os.getppid()}\n")  # a living process that has nothing to do with it
    with Stack(folder, QUICK) as stack:
        assert stack.status()[0].alive
