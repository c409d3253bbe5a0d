"""An FTP server that sends the replies of a test."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

GREETING = "greeting"
DONE = " done"  # suffix of a command that transfers data: its reply after the data
_LISTING = b"type=file;size=3;modify=20251122103000; scan.dcm\r\n"
_RIGHT: dict[str, bytes] = {
    GREETING: b"220 ready\r\n",
    "USER": b"331 password\r\n",
    "PASS": b"230 in\r\n",
    "FEAT": b"211-features\r\n MLST type*;size*;modify*;\r\n UTF8\r\n211 end\r\n",
    "CWD": b"250 there\r\n",
    "REST": b"350 on\r\n",
    "SIZE": b"213 3\r\n",
    "MDTM": b"213 20251122103000\r\n",
    "QUIT": b"221 bye\r\n",
}
TRANSFERS = {
    "MLSD": _LISTING,
    "LIST": b"-rw-r--r-- 1 a b 3 Nov 22 10:30 scan.dcm\r\n",
    "NLST": b"scan.dcm\r\n",
    "RETR": b"abc",
}

# What to do in place of a reply: end the connection, end it by RST, never reply.
Silence = Literal["close", "reset", "silent"]
Ends = Literal["close", "reset"]
Answers = Mapping[str, "bytes | Silence"]


@dataclass
class ScriptedFtp:
    """The running server.

    Attributes:
        answers: replies by command that replace the normal ones.
        data: content of transfers by command that replaces the normal one; None for no data and no end.
        ends: how data connections end.
        username: any.
        commands: the received commands; GREETING for each control connection.
    """

    port: int
    answers: Answers
    data: Mapping[str, bytes | None]
    ends: Ends
    username: str = "anybody"
    commands: list[str] = field(default_factory=list)


@contextmanager
def scripted_ftp(
    answers: Answers, data: Mapping[str, bytes | None] | None = None, ends: Ends = "close"
) -> Iterator[ScriptedFtp]:
    """Answer on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ScriptedFtp(listener.getsockname()[1], answers, data or {}, ends)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with suppress(OSError):
                    control, _ = listener.accept()
                    threading.Thread(target=_serve, args=(server, control), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            ended.set()
            with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
                pass  # so that accept() returns
            thread.join(5)


def _serve(server: ScriptedFtp, control: socket.socket) -> None:
    with control, suppress(OSError), socket.create_server(("127.0.0.1", 0)) as data:
        control.settimeout(60)
        data.settimeout(1)
        port = data.getsockname()[1]
        right = _RIGHT | {"PASV": f"227 (127,0,0,1,{port >> 8},{port & 255})\r\n".encode()}
        lines = control.makefile("rb")
        command = GREETING
        while True:
            server.commands.append(command)
            begin = right.get(command, b"150 coming\r\n" if command in TRANSFERS else b"200 yes\r\n")
            if not _answered(control, server.answers.get(command, begin)):
                return
            if command in TRANSFERS and server.answers.get(command, begin) == begin:
                _transfer(data, server.data.get(command, TRANSFERS[command]), server.ends)
                if not _answered(control, server.answers.get(command + DONE, b"226 done\r\n")):
                    return
            line = lines.readline()
            if not line or command == "QUIT":
                return
            command = line.split()[0].decode("latin-1") if line.strip() else ""


def _answered(control: socket.socket, answer: bytes | Silence) -> bool:
    """Whether the connection stands."""
    if answer == "silent":
        return True
    if isinstance(answer, bytes):
        control.sendall(answer)
        return True
    if answer == "reset":
        _reset(control)
    return False


def _transfer(listener: socket.socket, content: bytes | None, ends: Ends) -> None:
    with listener.accept()[0] as channel:
        if content is None:
            channel.settimeout(60)
            channel.recv(1)  # until the client hangs up
            return
        channel.sendall(content)
        if ends == "reset":
            _reset(channel)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
