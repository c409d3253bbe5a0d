"""A cancel, Ctrl-C or SIGTERM that comes in a callback, where Python drops what is raised."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import signal, sys, time, weakref
from fm_pipeline.ignored_interrupts import repeat_ignored_interrupts

def wait():
    record = type("Record", (), {})()
    reference = weakref.ref(record, lambda _: signal.raise_signal(NUMBER))
    del record
    print("went on", flush=True)
    time.sleep(30)

"""
_CTRL_C = """
NUMBER = signal.SIGINT
repeat_ignored_interrupts()
try:
    wait()
except KeyboardInterrupt:
    print("interrupted")
"""
_SIGTERM = """
NUMBER = signal.SIGTERM
signal.signal(NUMBER, lambda *_: sys.exit("interrupted"))
repeat_ignored_interrupts()
wait()
"""
_CANCEL = """
import dagster as dg
from dagster._utils.interrupts import raise_interrupts_as
from fm_pipeline.defs.explained_failure import explained

NUMBER = signal.SIGINT
try:
    with raise_interrupts_as(dg.DagsterExecutionInterruptedError), explained(lambda: "interrupted"):
        wait()
except dg.DagsterExecutionInterruptedError as error:
    print(error)
"""


def _output(program: str) -> str:
    command = [sys.executable, "-c", _PROGRAM + program]
    return subprocess.run(  # noqa: S603  # our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    ).stdout


@pytest.mark.parametrize("program", [_CTRL_C, _SIGTERM, _CANCEL], ids=["Ctrl-C", "SIGTERM", "a cancel in Dagster"])
def test_an_interrupt_that_a_callback_drops_comes_again(program: str) -> None:
    assert _output(program) == "went on\ninterrupted\n"


def test_the_end_of_a_task_of_asyncio_is_no_interrupt() -> None:
    said = _output("""
import asyncio, threading
class Task:
    def __del__(self):
        raise asyncio.CancelledError
repeat_ignored_interrupts()
Task()
print("threads:", threading.active_count())
""")
    assert "Exception ignored" in said
    assert said.endswith("threads: 1\n")  # none that sends an interrupt


def test_any_other_error_of_a_callback_is_reported_as_before() -> None:
    assert "Exception ignored" in _output("NUMBER = 'none'\nrepeat_ignored_interrupts()\ntime.sleep = print\nwait()\n")
