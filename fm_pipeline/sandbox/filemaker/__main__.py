"""`python -m fm_pipeline.sandbox.filemaker`: the stand-in as a process of its own."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from fm_pipeline.sandbox.filemaker.call import Behaviour, Engine
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline.sandbox.filemaker.serving import Server, listen, url


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0, or 2 with a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m fm_pipeline.sandbox.filemaker", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--state-file", type=Path, required=True, help="SQLite file, made if it is missing")
    parser.add_argument("--database", required=True, help="name of the FileMaker file, made if it is missing")
    parser.add_argument("--username", required=True, help="account with the extended privilege fmrest")
    parser.add_argument("--password-file", type=Path, help="otherwise FILEMAKER_PASSWORD in the environment")
    parser.add_argument("--tls-cert", type=Path, help="PEM file; then the server speaks https")
    parser.add_argument("--tls-key", type=Path, help="PEM file of the private key")
    parser.add_argument("--server-version", type=int, default=21, help="major version to behave like")
    parser.add_argument("--authenticated-stream", type=int, choices=(1, 2), default=1, help="the server preference")
    given = parser.parse_args(arguments)
    if (given.tls_cert is None) != (given.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    try:
        password = (
            given.password_file.read_text("utf-8").rstrip("\r\n")
            if given.password_file
            else os.environ["FILEMAKER_PASSWORD"]
        )
        listening = listen(given.port)
    except KeyError:
        parser.error("the password is missing: give --password-file or set FILEMAKER_PASSWORD")
    except OSError as error:
        parser.error(str(error))
    store = Store(given.state_file)
    store.add_account(given.database, ServerAccount(given.username, password))
    tls = (given.tls_cert, given.tls_key) if given.tls_cert else None

    def say_ready() -> None:
        sys.stdout.write(f"listening on {url(listening, tls is not None)}\n")
        sys.stdout.flush()

    engine = Engine(store, Behaviour(version=given.server_version, authenticated_stream=given.authenticated_stream))
    # uvicorn shuts down in good order and then raises the signal anew; without this it would look like a crash.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        Server(engine, tls, say_ready).run(sockets=[listening])
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
