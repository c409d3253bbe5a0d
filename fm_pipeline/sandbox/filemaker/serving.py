"""Runs the application with uvicorn on a port of 127.0.0.1, with TLS if a certificate is given."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from fm_pipeline.sandbox.filemaker.app import make_app
from fm_pipeline.sandbox.filemaker.call import Engine


def listen(port: int = 0) -> socket.socket:
    """Return a socket that listens on 127.0.0.1; port 0 for a free one. Raises OSError if the port is taken."""
    return socket.create_server(("127.0.0.1", port))


class Server(uvicorn.Server):
    """A uvicorn server that calls back when it is ready.

    Args:
        engine: state of the stand-in.
        tls: certificate and private key, PEM files.
        on_ready: called once the server accepts connections.
    """

    def __init__(
        self, engine: Engine, tls: tuple[Path, Path] | None = None, on_ready: Callable[[], None] | None = None
    ) -> None:
        certificate, key = tls or (None, None)
        super().__init__(
            uvicorn.Config(
                make_app(engine),
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                timeout_graceful_shutdown=1,
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the server, then call `on_ready`."""
        await super().startup(sockets=sockets)
        if self._on_ready and self.started:
            self._on_ready()


def url(listening: socket.socket, tls: bool) -> str:
    """Return the base URL of a listening socket."""
    return f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}"
