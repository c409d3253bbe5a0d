"""Ctrl-C waits neither for a statement nor for a server that says nothing; for a COMMIT it does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2

from fm_pipeline.db.connection import connect
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline_tests.support.proxies.proxy import silent_proxy
from fm_pipeline_tests.support.waiting import wait_until

LONG = "SELECT pg_sleep(3600)"
PROGRAM = """
from fm_pipeline.db.connection import connect
with connect({url!r}) as connection:
    connection.cursor().execute({statement!r})
"""
COMMITTING = """
from fm_pipeline.db.commit import commit, ignore_first_cancel
from fm_pipeline.db.connection import connect
with connect({url!r}) as connection, ignore_first_cancel():
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE done ()")
    cursor.execute({statement!r})
    commit(connection, {url!r})
"""


def interrupted(*command: str, at: Callable[[], bool], **settings: str) -> tuple[int, str]:
    """Press Ctrl-C in a Python program at a moment; return its exit code and its errors."""
    with subprocess.Popen(  # noqa: S603
        [sys.executable, *command], cwd=PACKAGE_PARENT, env=os.environ | settings, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            wait_until(at)
            run.send_signal(signal.SIGINT)
            _, said = run.communicate(timeout=10)  # less than any time limit of a connection
        finally:
            run.kill()
    return run.returncode, said


def running(url: str, statement: str) -> Callable[[], bool]:
    """Whether a session is at work on a statement."""

    def seen() -> bool:
        with closing(psycopg2.connect(url)) as observer, observer.cursor() as cursor:
            cursor.execute("SELECT FROM pg_stat_activity WHERE query = %s AND state = 'active'", (statement,))
            return cursor.fetchone() is not None

    return seen


def test_ctrl_c_ends_a_long_statement_at_once_and_the_server_ends_it_too(database_url: str) -> None:
    seen = running(database_url, LONG)
    _, said = interrupted("-c", PROGRAM.format(url=database_url, statement=LONG), at=seen)
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    wait_until(lambda: not seen())


def test_ctrl_c_ends_a_command_that_waits_for_a_silent_server(migrated_url: str, tmp_path: Path) -> None:
    with silent_proxy(migrated_url) as proxy:
        proxy.fall_silent(new_ones_too=True)
        code, said = interrupted(
            *("-m", "fm_pipeline", "status"),
            at=lambda: proxy.logins > 0,
            NEXUS_DATABASE_URL=proxy.url,
            STATE_DIR=str(tmp_path),
        )
    assert (code, said.split()[0]) == (130, "Interrupted.")


def test_ctrl_c_ends_the_wait_for_a_login() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"postgresql://u:p@127.0.0.1:{mute.getsockname()[1]}/nexus"
        accepted: list[socket.socket] = []

        def connected() -> bool:
            accepted.append(mute.accept()[0])
            return bool(accepted[0].recv(1))

        _, said = interrupted("-c", PROGRAM.format(url=url, statement=LONG), at=connected)
        assert said.splitlines()[-1] == "KeyboardInterrupt"
        accepted[0].close()


def test_ctrl_c_does_not_end_the_connection_during_a_commit(database_url: str) -> None:
    """It cannot be called back, and is waited for."""
    statement = "SELECT pg_sleep(1.5)"
    program = COMMITTING.format(url=database_url, statement=statement)
    code, said = interrupted("-c", program, at=running(database_url, statement))
    assert (code, said) == (0, "The cancel came too late: the transaction was being committed, and is carried out.\n")
    with connect(database_url) as connection:
        connection.cursor().execute("TABLE done")
