"""A real FTP server (pyftpdlib) for one test, with the faults that servers and lines have."""

from __future__ import annotations

import socket
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # asyncore and asynchat, which it brings for Python 3.12
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.filesystems import AbstractedFS
    from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

USER, PASSWORD = "pipeline", "a password of the test bench"
READ_ONLY = "elr"  # change folder, list, read


@dataclass
class Faults:
    """What the server does wrong from now on.

    Attributes:
        cut_after: bytes of a file after which both connections are lost, once for each number in it.
        without: commands that it says it does not know.
        busy: files and folders, by the end of their path, that are not to be had now (450).
        forbidden: folders, by the end of their path, that may not be entered.
        lines: appended to every listing by MLSD, as the server says them.
    """

    cut_after: list[int] = field(default_factory=list)
    without: set[str] = field(default_factory=set)
    busy: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    lines: list[bytes] = field(default_factory=list)


@dataclass
class FtpBench:
    """The running server."""

    port: int
    root: Path
    faults: Faults
    commands: Counter[str]


@contextmanager
def ftp_server(root: Path, *, certificate: Path | None = None) -> Iterator[FtpBench]:
    """Serve a folder, read-only, to one account, on 127.0.0.1.

    Args:
        certificate: a PEM file with the key; TLS is then demanded on both connections.
    """
    faults, commands = Faults(), Counter[str]()
    handler = _handler(faults, commands, certificate)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(root), perm=READ_ONLY)
    handler.authorizer = authorizer
    loop = IOLoop()
    server = FTPServer(("127.0.0.1", 0), handler, ioloop=loop)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            server.serve_forever(timeout=0.02, blocking=False, handle_exit=False)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield FtpBench(server.address[1], root, faults, commands)
    finally:
        ended.set()
        thread.join()
        server.close_all()


def _handler(faults: Faults, commands: Counter[str], certificate: Path | None) -> Any:
    base: Any = TLS_FTPHandler if certificate else FTPHandler

    class Filesystem(AbstractedFS):  # type: ignore[misc]
        def format_mlsx(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
            yield from super().format_mlsx(*args, **kwargs)
            yield from faults.lines

    class Channel(base.dtp_handler):  # type: ignore[misc]
        def send(self, data: bytes) -> int:
            if faults.cut_after and self.tot_bytes_sent >= faults.cut_after[0] and self.file_obj is not None:
                faults.cut_after.pop(0)
                for end in (self.cmd_channel.socket, self.socket):
                    end.shutdown(socket.SHUT_RDWR)
                return 0
            return int(super().send(data))

    class Handler(base):  # type: ignore[misc]
        def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
            commands[cmd] += 1
            if cmd in faults.without:
                self.respond(f'500 Command "{cmd}" not understood.')
                return
            if cmd == "CWD" and faults.forbidden and arg.endswith(faults.forbidden):
                self.respond("550 Permission denied.")
                return
            if cmd in {"RETR", "CWD"} and faults.busy and arg.endswith(faults.busy):
                self.respond("450 File busy.")
                return
            super().pre_process_command(line, cmd, arg)

        def ftp_REST(self, line: str) -> None:
            if "REST" in faults.without:
                self.respond("502 REST not implemented.")
            else:
                super().ftp_REST(line)

    Handler.abstracted_fs = Filesystem
    Handler.dtp_handler = Channel
    Handler.auth_failed_timeout = 0
    Handler.use_sendfile = False  # so that every block passes Channel.send
    if certificate:
        Handler.certfile = str(certificate)
        Handler.tls_control_required = Handler.tls_data_required = True
    return Handler
