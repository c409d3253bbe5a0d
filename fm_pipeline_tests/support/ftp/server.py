"""A real FTP server (pyftpdlib) for one test, with faults of servers and networks."""

from __future__ import annotations

import os
import socket
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # asyncore and asynchat, which it brings for Python 3.12
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.filesystems import AbstractedFS
    from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

USER, PASSWORD = "pipeline", "a password of the test bench"
READ_ONLY = "elr"  # change folder, list, read
CLOSE = "close"  # in place of a reply: close the control connection


@dataclass
class Faults:
    """Faults of the server. Paths are given by their end.

    Attributes:
        cut_after: bytes of a file after which both connections are closed, once for each number in it.
        without: commands that are not understood.
        denied: commands that are refused (550), as a proxy does.
        busy: files and folders that are not available (450).
        refused: files that may not be read.
        cuts_at: files at which the control connection is closed.
        forbidden: folders that may not be entered.
        lines: lines that are appended to every listing by MLSD.
        mlsd: changes each line of MLSD.
        listed: makes the line of LIST from a name, whether it is a folder, and its size; None for the UNIX form.
        head: lines before those of LIST.
        dash_ends: `LIST -a` closes the connection.
        dash_is_a_name: LIST treats `-a` as the name of a file.
        without_goodbye: data connections of TLS end without close_notify.
    """

    cut_after: list[int] = field(default_factory=list)
    without: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    busy: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    cuts_at: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    lines: list[bytes] = field(default_factory=list)
    mlsd: Callable[[bytes], bytes] = lambda line: line
    listed: Callable[[bytes, bool, int], bytes] | None = None
    head: list[bytes] = field(default_factory=list)
    dash_ends: bool = False
    dash_is_a_name: bool = False
    without_goodbye: bool = False


@dataclass
class FtpBench:
    """The running server."""

    port: int
    root: Path
    faults: Faults
    commands: Counter[str]
    username: str = USER


@contextmanager
def ftp_server(root: Path, *, certificate: Path | None = None, password: str = PASSWORD) -> Iterator[FtpBench]:
    """Serve a folder, read-only, to one account, on 127.0.0.1.

    Args:
        certificate: a PEM file with the key; TLS is then demanded on both connections.
        password: of the account.
    """
    faults, commands = Faults(), Counter[str]()
    handler = _handler(faults, commands, certificate)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, password, str(root), perm=READ_ONLY)
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


def _ends_in(path: str, ends: tuple[str, ...]) -> bool:
    return bool(ends) and path.endswith(ends)


def _handler(faults: Faults, commands: Counter[str], certificate: Path | None) -> Any:
    base: Any = TLS_FTPHandler if certificate else FTPHandler

    class Handler(base):  # type: ignore[misc]
        abstracted_fs = _filesystem(faults)
        dtp_handler = _data_channel(faults, base.dtp_handler)
        auth_failed_timeout = 0
        use_sendfile = False  # so that every block passes the channel's send()

        def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
            commands[cmd] += 1
            reply = _faulty_reply(faults, cmd, arg)
            if reply == CLOSE:
                self.close()
            elif reply:
                self.respond(reply)
            else:
                super().pre_process_command(line, cmd, arg)

        def ftp_REST(self, line: str) -> None:
            if "REST" in faults.without:
                self.respond("502 REST not implemented.")
            else:
                super().ftp_REST(line)

    if certificate:
        Handler.certfile = str(certificate)
        Handler.tls_control_required = Handler.tls_data_required = True
    return Handler


def _faulty_reply(faults: Faults, command: str, argument: str) -> str:
    """Return the reply of a fault, `CLOSE` to close the connection, or an empty text for the normal reply."""
    dash = (command, argument) == ("LIST", "-a")
    reads = command == "RETR"
    replies = (
        (CLOSE, (dash and faults.dash_ends) or (reads and _ends_in(argument, faults.cuts_at))),
        (f'500 Command "{command}" not understood.', command in faults.without),
        ("550 Permission denied.", command in faults.denied),
        ("550 Permission denied.", command == "CWD" and _ends_in(argument, faults.forbidden)),
        ("550 Permission denied.", reads and _ends_in(argument, faults.refused)),
        ("450 File busy.", command in {"RETR", "CWD"} and _ends_in(argument, faults.busy)),
        ("550 -a: no such file.", dash and faults.dash_is_a_name),
    )
    return next((reply for reply, applies in replies if applies), "")


def _filesystem(faults: Faults) -> type[AbstractedFS]:
    class Filesystem(AbstractedFS):  # type: ignore[misc]
        def format_mlsx(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
            yield from map(faults.mlsd, super().format_mlsx(*args, **kwargs))
            yield from faults.lines

        def format_list(self, basedir: str, listing: list[str], ignore_err: bool = True) -> Iterator[bytes]:
            if faults.listed is None:
                yield from super().format_list(basedir, listing, ignore_err)
                return
            yield from (line + b"\r\n" for line in faults.head)
            for name in listing:
                path = os.path.join(basedir, name)
                yield faults.listed(os.fsencode(name), os.path.isdir(path), os.path.getsize(path)) + b"\r\n"

    return Filesystem


def _data_channel(faults: Faults, base: Any) -> Any:
    class Channel(base):  # type: ignore[misc]
        def send(self, data: bytes) -> int:
            if faults.cut_after and self.tot_bytes_sent >= faults.cut_after[0] and self.file_obj is not None:
                faults.cut_after.pop(0)
                for end in (self.cmd_channel.socket, self.socket):
                    end.shutdown(socket.SHUT_RDWR)
                return 0
            return int(super().send(data))

        def _do_ssl_shutdown(self) -> None:
            if not faults.without_goodbye:
                super()._do_ssl_shutdown()
                return
            with socket.socket(fileno=os.dup(self.socket.fileno())) as raw:
                raw.shutdown(socket.SHUT_WR)  # TCP ends, without the alert of TLS before it
            self._ssl_closing = False
            DTPHandler.close(self)

    return Channel
