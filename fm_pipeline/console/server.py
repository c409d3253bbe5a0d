"""The web server of the site, in a process of its own.

    python -m fm_pipeline.console.server WORKSPACE LISTENING CODE_SOCKET

`fm-pipeline serve` starts it, and has opened its socket.
"""

from __future__ import annotations

import logging
import re
import socket
import sys
import time
from typing import Any

import uvicorn

from fm_pipeline.console.site import Site, prepare
from fm_pipeline.settings import load_settings

CODE_SERVER_SECONDS = 60.0  # afterwards the site starts without it, and says so
POLL_SECONDS = 0.1
HEALTH_PATH = "/health"
STOP_SECONDS = 5  # for requests that are being answered; a websocket of an open page has no end of its own
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LOG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        # With the zone, which is the clinic's for all parts of `serve`.
        "line": {
            "()": "fm_pipeline.console.server.LineFormatter",
            "fmt": "%(asctime)s site: %(levelname)s %(name)s: %(message)s",
            "datefmt": "%Y-%m-%d %H:%M:%S %z",
        }
    },
    "filters": {
        "no probe": {"()": "fm_pipeline.console.server.NoProbe"},
        "no trace": {"()": "fm_pipeline.console.server.NoTrace"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "alembic": {"level": "WARNING"},  # Dagster's own tables
        "django.request": {"filters": ["no probe"]},
        "django.security.DisallowedHost": {"filters": ["no trace"]},
    },
    "root": {"level": "INFO", "handlers": ["stderr"]},
}


class LineFormatter(logging.Formatter):
    """Keeps a message on one line. A visitor chooses the address that it names, and must not write lines of the log."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the message with its control characters escaped; a stack trace below it keeps its lines."""
        return _CONTROL.sub(lambda found: repr(found[0])[1:-1], super().formatMessage(record))


class NoProbe(logging.Filter):
    """Leaves out the answers of the health page. That something is not well is their content, and no error of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is kept. Django gives it the request."""
        return getattr(getattr(record, "request", None), "path", None) != HEALTH_PATH


class NoTrace(logging.Filter):
    """Leaves out the stack trace. Its message says all, and anybody can cause it by sending a wrong name."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record."""
        record.exc_info = record.exc_text = None
        return True


def main(workspace_file: str, listening: str, code_socket: str) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        listening: file descriptor of the socket.
        code_socket: of the code server, which loads its definitions meanwhile.
    """
    site = Site(workspace_file)
    # Requests are not logged: open pages ask all the time, and a proxy has a log of its own.
    config = uvicorn.Config(
        site,
        lifespan="on",  # "auto" serves a site whose start has failed
        log_config=_LOG,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    prepare(load_settings())
    site.load()
    _wait_for(code_socket)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(listening))])


def _wait_for(code_socket: str) -> None:
    until = time.monotonic() + CODE_SERVER_SECONDS
    while time.monotonic() < until:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(code_socket) == 0:
                return
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
