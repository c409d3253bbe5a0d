"""Waiting in a test: for a condition, with a limit, never for a time."""

from __future__ import annotations

from collections.abc import Callable

from fm_pipeline.sandbox.stack import waiting


def wait_until(condition: Callable[[], bool], limit_seconds: float = 60) -> None:
    """Go on when the condition holds.

    Raises:
        AssertionError: it did not hold within the limit.
    """
    assert waiting.wait_until(condition, limit_seconds), f"not so within {limit_seconds} seconds: {condition}"
