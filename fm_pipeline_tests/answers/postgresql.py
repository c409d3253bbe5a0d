"""Random answers of a PostgreSQL server, or of another program in its place, message by message.

Source: PostgreSQL manual, "Frontend/Backend Protocol": "Message Formats" and "Error and Notice Message Fields".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st

from fm_pipeline_tests.answers.strategies import Said

PASSWORD = "pass-word-7f3a"  # of the URL; a server that receives it in clear text may repeat it
CANARY = "Zebedee Quagmire 0400 555 019"  # a value of a record, which texts of errors may quote
SQLSTATES = st.one_of(
    st.sampled_from(
        [
            "08000",
            "08006",
            "08P01",
            "0A000",
            "22P02",
            "23505",
            "25006",
            "25P02",
            "28000",
            "28P01",
            "2D000",
            "3D000",
            "40001",
            "40P01",
            "42501",
            "42703",
            "42P01",
            "42883",
            "53100",
            "53200",
            "53300",
            "54000",
            "55000",
            "55006",
            "55P03",
            "57014",
            "57P01",
            "57P03",
            "58000",
            "58030",
            "F0000",
            "P0001",
            "XX000",
            "XX001",
        ]
    ),
    st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=5, max_size=5),
    st.sampled_from(["", "0", "00000", "2350", "235055", "abcde", "é", PASSWORD]),
)
_TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            f'password authentication failed for user "{PASSWORD}"',
            f'FATAL:  database "{CANARY}" does not exist',
            "the database system is starting up",
            f"Key (name)=({CANARY}) already exists.",
            "x" * 40_000,
            "%s %(a)s {0}",
        ]
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
)


def message(kind: bytes, body: bytes, *, longer: int = 0) -> bytes:
    """Return one message of the server, whose length field is wrong by `longer`."""
    return kind + struct.pack("!I", (len(body) + 4 + longer) & 0xFFFFFFFF) + body


AUTHENTICATED = message(b"R", struct.pack("!I", 0))
PASSWORD_ASKED = message(b"R", struct.pack("!I", 3))
KEY = message(b"K", struct.pack("!II", 7, 7))
READY = message(b"Z", b"I")


def parameter(name: bytes, value: bytes) -> bytes:
    """Return a ParameterStatus message."""
    return message(b"S", name + b"\0" + value + b"\0")


PARAMETERS = {
    b"server_version": b"18.0",
    b"server_encoding": b"UTF8",
    b"client_encoding": b"UTF8",
    b"standard_conforming_strings": b"on",
    b"DateStyle": b"ISO, MDY",
    b"integer_datetimes": b"on",
    b"TimeZone": b"UTC",
}
WELCOME = [AUTHENTICATED, *(parameter(name, value) for name, value in PARAMETERS.items()), KEY, READY]


@st.composite
def errors(draw: st.DrawFn, kind: bytes = b"E") -> bytes:
    """Return an ErrorResponse (`E`) or NoticeResponse (`N`) of any SQLSTATE; fields may be missing or not UTF-8."""
    fields = {b"S": "ERROR", b"V": "ERROR", b"C": draw(SQLSTATES), b"M": draw(_TEXTS)}
    for code in draw(st.sets(st.sampled_from([b"D", b"H", b"P", b"q", b"W", b"F", b"R", b"?"]), max_size=3)):
        fields[code] = draw(_TEXTS)
    for code in draw(st.sets(st.sampled_from([b"s", b"t", b"c", b"d", b"n"]), max_size=2)):  # names of objects
        fields[code] = draw(st.sampled_from(["patients", "größe", ""]))
    for code in draw(st.sets(st.sampled_from(sorted(fields)), max_size=2)):
        del fields[code]
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "latin-1", "utf-16"]))
    body = b"".join(
        code + text.encode(encoding, "replace").replace(b"\0", b"?") + b"\0" for code, text in fields.items()
    )
    return message(kind, body + draw(st.sampled_from([b"\0"] * 9 + [b""])))


@st.composite
def _requests_of_a_login(draw: st.DrawFn) -> bytes:
    """Return an Authentication… message: of the manual, or of an unknown kind."""
    code = draw(st.sampled_from([0, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]) | st.integers(0, 2**32 - 1))
    content = draw(
        st.sampled_from(
            [
                b"",
                b"salt",
                b"SCRAM-SHA-256\0\0",
                b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0",
                b"NONE\0\0",
                b"r=nonce,s=c2FsdA==,i=1",
                b"v=c2ln",
                b"e=other-error",
            ]
        )
        | st.binary(max_size=12)
    )
    return message(b"R", struct.pack("!I", code) + content)


_KINDS = [bytes([code]) for code in b"RSKZNECDTIAGHWv123snt\0\xff"]  # those of the protocol, and none


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """Return one message, valid or not."""
    one: bytes = draw(
        st.one_of(
            errors(),
            errors(),
            errors(kind=b"N"),
            _requests_of_a_login(),
            st.builds(
                parameter,
                st.sampled_from([*PARAMETERS, b"is_superuser", b"\xff"]),
                st.sampled_from([b"", b"latin1", b"none", b"off", b"9.0", b"999999999999", b"\xff", b"18.0 (Distro)"]),
            ),
            st.builds(message, st.just(b"Z"), st.sampled_from([b"I", b"T", b"E", b"?", b""])),
            st.builds(message, st.just(b"C"), st.sampled_from([b"SET\0", b"COMMIT\0", b"SELECT 1\0", b"", b"\0"])),
            st.builds(message, st.just(b"v"), st.sampled_from([b"", struct.pack("!II", 0, 0)])),
            st.builds(
                message,
                st.sampled_from(_KINDS),
                st.binary(max_size=12),
                longer=st.sampled_from([0, 0, 1, -1, -4, -5, -9, 100, 2**31 - 9]),
            ),
        )
    )
    return one


_NO_POSTGRESQL = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"",
            b"S",  # TLS is accepted, but nothing follows
            b"G",
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            b"220 mail.example ESMTP\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"EFATAL:  unsupported frontend protocol\n\0",  # the form of servers before 7.4
            b"E" + b"x" * 40_000,
        ]
    ),
)


@st.composite
def _greetings(draw: st.DrawFn) -> bytes:
    """Return the messages after a login, mostly with an error in them."""
    parts = list(WELCOME)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(parts)))
        parts[place : place + draw(st.integers(0, 2))] = [draw(_messages())]
    whole = b"".join(parts)
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.integers(0, 5)) == 0 else whole


@st.composite
def conversations(draw: st.DrawFn) -> list[Said]:
    """Return a server's answers on each connection, one to each packet of the client; then it closes."""
    answers = [b"N"] if draw(st.integers(0, 9)) else []  # no TLS
    answers += draw(st.sampled_from([[], [], [PASSWORD_ASKED]]) | st.lists(_requests_of_a_login(), max_size=2))
    answers += [draw(st.just(b"".join(WELCOME)) | _greetings() | _NO_POSTGRESQL | _messages())]
    for _ in range(draw(st.integers(0, 4))):
        done = message(b"C", b"SET\0") + READY
        answers.append(
            draw(
                st.sampled_from([done] * 4)
                | errors().map(lambda one: one + READY)
                | _messages().map(lambda one: one + READY)
                | _messages()
                | _NO_POSTGRESQL
            )
        )
    return [Said(answer, draw(st.sampled_from([1] * 6 + [3]))) for answer in answers]


@dataclass(frozen=True)
class Fault:
    """A fault between a client and a real server.

    Attributes:
        kind: close the connection, or replace an answer (all messages up to ReadyForQuery).
        after: number of messages or answers, of all connections together, before the fault occurs once.
        instead: replaces the answer: an ErrorResponse, or something else, after which the connection is closed.
    """

    kind: Literal["close", "error", "other"]
    after: int
    instead: bytes = b""


FAULTS = st.one_of(
    st.builds(Fault, st.just("close"), st.integers(0, 150)),
    st.builds(Fault, st.just("error"), st.integers(0, 60), errors()),
    st.builds(Fault, st.just("other"), st.integers(0, 60), _NO_POSTGRESQL),
)
