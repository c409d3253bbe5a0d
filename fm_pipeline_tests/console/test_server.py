"""The log of the site."""

from __future__ import annotations

import logging
import sys

from fm_pipeline.console.server import _LOG, LineFormatter


def test_a_visitor_writes_no_line_of_the_log_and_a_stack_trace_keeps_its_lines() -> None:
    assert _LOG["formatters"] == {
        "line": {**_LOG["formatters"]["line"], "()": f"{LineFormatter.__module__}.LineFormatter"}
    }
    asked = "/plans/x\n2026-11-29 site: INFO all is well\x1b[31m\u2028"
    try:
        raise ValueError("a")
    except ValueError:
        record = logging.makeLogRecord({"msg": "%s: no plan.", "args": (asked,), "exc_info": sys.exc_info()})
    first, *trace = LineFormatter("site: %(message)s").format(record).splitlines()
    assert first == "site: /plans/x\\n2026-11-29 site: INFO all is well\\x1b[31m\\u2028: no plan."
    assert (trace[0], trace[-1]) == ("Traceback (most recent call last):", "ValueError: a")
