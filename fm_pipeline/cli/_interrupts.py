"""Ctrl-C ends every command that runs until then."""

from __future__ import annotations

import signal


def restore_sigint() -> None:
    """SIGINT raises KeyboardInterrupt, also where a shell started us with SIGINT ignored, as a background job."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
