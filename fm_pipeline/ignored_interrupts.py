"""A cancel or Ctrl-C that Python drops comes again.

A signal handler raises its exception wherever the main thread is. In a callback of the garbage collector or in a
`__del__` nothing can be raised: Python prints "Exception ignored in" and goes on, and so does the run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

AGAIN_SECONDS = 0.05


def repeat_ignored_interrupts() -> None:
    """From now on, an interrupt that Python has ignored is sent to this process again, until it ends something.

    It is KeyboardInterrupt, SystemExit of a handler of SIGTERM, or what Dagster raises when a run is cancelled.
    """
    if sys.unraisablehook is not _hook:
        _others.append(sys.unraisablehook)
        sys.unraisablehook = _hook


_others = [sys.__unraisablehook__]


def _hook(ignored: sys.UnraisableHookArgs) -> None:
    kind = ignored.exc_type
    # By its name: to import Dagster takes a second. Others that are no Exception (asyncio's CancelledError, greenlet's
    # GreenletExit) end a task, and not the process.
    if not issubclass(kind, KeyboardInterrupt | SystemExit) and kind.__name__ != "DagsterExecutionInterruptedError":
        _others[-1](ignored)
        return
    number = signal.SIGTERM if issubclass(kind, SystemExit) else signal.SIGINT
    # Not at once: the callback is still there.
    again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
