"""A mail server that writes each email into a folder and delivers none.

python -m fm_pipeline.sandbox.stack.smtp_catcher --port PORT --folder FOLDER
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path

import click
from aiosmtpd.smtp import SMTP, Envelope, Session


class _Catcher:
    """The handler that aiosmtpd calls with each email (https://aiosmtpd.aio-libs.org, "Handlers")."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content or b""
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".incoming-")
        with os.fdopen(handle, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        Path(name).rename(self.folder / f"{time.time_ns()}.eml")  # complete, or not there
        return "250 Message accepted for delivery"


@click.command()
@click.option("--port", type=int, required=True, help="TCP port on 127.0.0.1.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the emails go.")
def main(port: int, folder: Path) -> None:
    """Catch emails until ended by a signal."""
    asyncio.run(_serve(port, folder))


async def _serve(port: int, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(
        lambda: SMTP(_Catcher(folder), hostname="localhost", loop=loop), "127.0.0.1", port
    )
    click.echo(f"listening on 127.0.0.1:{port}")
    await ended.wait()
    server.close()


if __name__ == "__main__":
    main()
