"""Orthanc as a service of the stack: its own password and port, this machine only, left out where it is missing."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import psutil
import pytest
import requests

from fm_pipeline.errors import PipelineError
from fm_pipeline.sandbox.stack.orthanc import ORTHANC, OrthancService
from fm_pipeline.sandbox.stack.smtp import SmtpService
from fm_pipeline.sandbox.stack.stack import Stack
from fm_pipeline_tests.support.orthanc import emptied, need_orthanc, own_orthanc
from fm_pipeline_tests.support.services import LazyStack


def test_orthanc_requires_its_password_and_answers_only_this_machine(stack: LazyStack) -> None:
    settings = emptied(stack.orthanc).settings()
    login = (settings["ORTHANC_USERNAME"], settings["ORTHANC_PASSWORD"])
    statistics = f"{settings['ORTHANC_URL']}/statistics"
    assert requests.get(statistics, auth=login, timeout=5).json()["CountInstances"] == 0
    assert requests.get(statistics, auth=(login[0], "wrong"), timeout=5).status_code == 401
    assert requests.get(statistics, timeout=5).status_code == 401
    elsewhere = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    }
    for address in elsewhere:
        refused = requests.get(statistics.replace("127.0.0.1", address), auth=login, timeout=5)
        assert refused.status_code in {401, 403}


def test_orthancs_password_is_in_a_file_that_nobody_else_can_read(stack: LazyStack) -> None:
    folder = stack.orthanc.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "orthanc.json").stat().st_mode) == 0o600


def test_a_killed_orthanc_comes_back_on_the_same_port() -> None:
    with own_orthanc(Name="killed") as orthanc:
        before = orthanc.settings()
        orthanc.kill()
        assert orthanc.process is None
        orthanc.start()
        assert orthanc.settings() == before
        assert orthanc.service.ready()


def test_a_machine_without_orthanc_gets_the_other_servers_and_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrthancService, "available", classmethod(lambda _: False))
    stack = Stack(tmp_path / "state", (SmtpService, OrthancService))
    assert stack.service_types == (SmtpService,)
    assert stack.missing == (OrthancService,)


def test_another_orthanc_can_be_named_also_by_a_script_that_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_orthanc()
    with own_orthanc() as usual:
        process = usual.process
        assert process is not None
        program = process.exe()
        script = tmp_path / "Orthanc"
        script.write_text(f'#!/bin/sh\nexec "{usual.service.command()[0]}" --verbose "$@"\n', "utf-8")
    script.chmod(0o700)
    monkeypatch.setenv(ORTHANC.setting, str(script))
    with own_orthanc() as named:
        process = named.process
        assert process is not None
        assert (process.exe(), "--verbose" in process.cmdline()) == (program, True)
        named.kill()
        assert named.process is None


def test_a_named_orthanc_that_cannot_be_executed_is_reported_and_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ORTHANC.setting, str(tmp_path))
    with pytest.raises(PipelineError, match=r"FM_PIPELINE_ORTHANC names .* no file that can be executed"):
        Stack(tmp_path / "state", (OrthancService,)).up()
