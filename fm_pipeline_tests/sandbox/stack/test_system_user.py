"""The system user that PostgreSQL runs as when the sandbox runs as root."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator

import pytest

ASKS_FOR_THE_USER = """
import sys
from fm_pipeline.sandbox.stack import postgresql
postgresql.SYSTEM_USER = sys.argv[1]
sys.stdin.readline()
print(postgresql.PostgreSQLService.account(None).uid)
"""


@pytest.fixture
def no_such_user() -> Iterator[str]:
    """The name of a user that the machine does not have."""
    name = f"fm-pipeline-{os.getpid()}"
    yield name
    subprocess.run(["userdel", name], check=False, capture_output=True)  # noqa: S603, S607


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a system user")
def test_processes_that_start_at_once_get_the_same_user(no_such_user: str) -> None:
    command = [sys.executable, "-c", ASKS_FOR_THE_USER, no_such_user]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate()[0].strip() for process in processes}
    assert answers == {str(pwd.getpwnam(no_such_user).pw_uid)}
