"""Parse the listings of FTP servers: lines of MLSD and LIST.

RFC 3659 defines MLSD. No standard defines LIST: each system has its own format, and the date depends on the server's
language. So a date is recognised by its position and digits, and not by the names of months. Owner and group are not
parsed. Some lines are ambiguous: their entry has all possible names, and the caller decides with NLST, which lists only
names.

Everything is bytes, since a name may be in any character set.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, TypeAlias

_SIZE_DIGITS = 18
LONGEST_LINE = 4096  # bytes; a longer line is not parsed
Kind: TypeAlias = Literal["file", "folder", "other", "not_understood"]


@dataclass(frozen=True)
class RemoteEntry:
    """One name in a folder of the server.

    Attributes:
        name: as sent by the server; empty if unknown.
        kind: `other` is a link or a special file, which is never followed. `not_understood` is a line that cannot be
            parsed.
        size: bytes; None if the server does not report it.
        modified: by the server's clock; None if the server does not report it to the second.
        unique: the server's unique id (RFC 3659, 7.5.2); empty if the server does not report it.
        other_names: the other possible names of an ambiguous line, the most likely first.
    """

    name: bytes
    kind: Kind
    size: int | None = None
    modified: datetime | None = None
    unique: bytes = b""
    other_names: tuple[bytes, ...] = ()


def time_of(text: str) -> datetime | None:
    """Parse a time of RFC 3659 in UTC: 20251122103000, with or without a fraction; None if it is invalid."""
    try:
        return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def size_of(text: bytes | str) -> int | None:
    """Parse a size in bytes; None if it is invalid or larger than a file can be."""
    return (
        int(text)
        if len(text) <= _SIZE_DIGITS and text.isdigit() and (isinstance(text, bytes) or text.isascii())
        else None
    )


# The value of a fact may contain spaces ("UNIX.groupname=domain users;"), which RFC 3659 does not allow.
_MLSD = re.compile(rb" ?((?:[\w.+/-]+=[^;]*;)+) (.*)", re.DOTALL)


def entries_of_mlsd(lines: Sequence[bytes]) -> list[RemoteEntry]:
    """Parse an MLSD listing (RFC 3659, 7), without the folder itself and its parent."""
    entries = []
    for line in lines:
        found = _MLSD.fullmatch(line) if len(line) <= LONGEST_LINE else None
        facts = dict(_facts(found[1])) if found else {}
        if not found or "type" not in facts:
            entries.append(RemoteEntry(b"", "not_understood"))
            continue
        kind = facts["type"].lower()
        if kind in ("cdir", "pdir"):
            continue
        entries.append(
            RemoteEntry(
                found[2],
                "file" if kind == "file" else "folder" if kind == "dir" else "other",
                size_of(facts.get("size", "")),
                time_of(facts.get("modify", "")),
                facts.get("unique", "").encode("latin-1"),
            )
        )
    return entries


def _facts(text: bytes) -> Iterator[tuple[str, str]]:
    for fact in text.decode("latin-1").split(";"):
        name, _, value = fact.partition("=")
        yield name.lower(), value


def entries_of_list(lines: Sequence[bytes]) -> list[RemoteEntry]:
    """Parse a LIST listing, without the folder itself and its parent.

    The formats are UNIX with any date, owner and group, MS-DOS (IIS), NetWare, EPLF, OS/2, OpenVMS, VxWorks, Nortel,
    AS/400, z/OS, VShell.
    """
    understood = []
    lines = [line for line in _unwrapped(lines) if line.strip()]
    for number, line in enumerate(lines):
        if _ABOUT_THE_LISTING.match(line) or (number == 0 and _TOTAL.fullmatch(line.strip())):
            continue
        found = next(filter(None, (read(line) for read in _FORMS)), None) if len(line) <= LONGEST_LINE else None
        understood.append(found or RemoteEntry(b"", "not_understood"))
    return [entry for entry in _in_one_way(understood) if entry.name not in (b".", b"..")]


def with_names(entries: Sequence[RemoteEntry], names: Sequence[bytes]) -> list[RemoteEntry]:
    """Resolve ambiguous entries with the names in the folder.

    Args:
        names: of NLST. If it has none of an entry's names, the most likely name stays.
    """
    known = {name.rstrip(b"/").rpartition(b"/")[2] for name in names}
    decided = []
    for entry in entries:
        name = next((one for one in (entry.name, *entry.other_names) if one in known), entry.name)
        decided.append(replace(entry, name=name, other_names=()) if name else RemoteEntry(b"", "not_understood"))
    return decided


def _in_one_way(entries: list[RemoteEntry]) -> list[RemoteEntry]:
    """Use the second reading if every one of several lines has one: then it is the format of the server."""
    files = [entry for entry in entries if entry.name not in (b"", b".", b"..")]
    if len(files) > 1 and all(entry.other_names for entry in files):
        return [
            replace(entry, name=entry.other_names[0], other_names=(entry.name, *entry.other_names[1:]))
            if entry.name and entry.other_names
            else entry
            for entry in entries
        ]
    return entries


_ABOUT_THE_LISTING = re.compile(
    rb"Directory [A-Z0-9_$]*:?\[|Total of \d+ files?|Grand total of |"  # OpenVMS
    rb"\s*size\s+date\s+time\s+name\s*$|[\s-]+$|"  # VxWorks
    rb"Volume Unit|\s*Name\s+VV\.MM\s",  # z/OS
    re.IGNORECASE,
)
# The line that ls prints first, in any language: one or two words, and how many blocks.
_TOTAL = re.compile(rb"[^\s\d]+(?: [^\s\d]+)?[ :]+[\d.,]+ ?[KMGTkB]?i?B?")

_TIME = rb"\d{1,2}[:.h]\d\d(?:[:.]\d\d(?:[.,]\d+)?)?(?:[AaPp][Mm]?)?"
_SECONDS = re.compile(rb":\d\d:\d\d\S*$")
_YEAR = rb"(?:19|20)\d\d(?:[\x80-\xff]\S*)?"
_MONTH = rb"\d{0,2}[^\s\d:/-][^\s\d]*"  # "Nov", "Okt.", and a number with a sign behind it in Chinese, Japanese, Korean
_DAY = rb"(?:0?[1-9]|[12]\d|3[01])(?:[.,]|[\x80-\xff]\S*)?"
_FULL = (
    rb"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}-[^\s\d-]+-\d{2,4}"
    rb"|\d{4}(?:[\x80-\xff]+\d{1,2}){2}[\x80-\xff]*)"
)
# The most likely first. `_AFTER_THE_DATE` has what may follow a date in some formats.
_DATES = (
    rb"%(year)b +\d{1,2}[\x80-\xff]\S* +%(day)b(?! +(?:%(time)b|%(year)b) )",
    rb"%(month)b +\d{1,2}, +%(year)b +%(time)b",
    rb"(?:[^\s\d]+ +)?%(month)b +%(day)b,? +(?:%(time)b|%(year)b)",
    rb"(?:[^\s\d]+ +)?%(day)b +%(month)b +(?:%(time)b|%(year)b)",
    rb"%(full)b(?:[ T]+%(time)b)?",
    rb"\d{1,2}[-/.]\d{1,2} +(?:%(time)b|%(year)b)",
    rb"\d{1,2} +\d{1,2} +(?:%(time)b|%(year)b)",
)
_PARTS = {b"month": _MONTH, b"day": _DAY, b"time": _TIME, b"year": _YEAR, b"full": _FULL}
_SURE, _NUMBERS_ALONE = (
    [re.compile(rb"(\d[\d.,]*[kKMGT]?)[ \t]+" + date % _PARTS + rb"(?= |$)") for date in dates]
    for dates in (_DATES[:-1], _DATES[-1:])
)
_AFTER_THE_DATE = re.compile(
    rb" +(?:" + _TIME + rb"|" + _YEAR + rb"|[+-]\d{4}|[AaPp]\.?[Mm]\.?)(?= )"  # "Nov 22, 2025 10:30", "10:30:00 +0100"
)
_MODE = re.compile(rb"([-dlbcpsDCMPnw?](?=[-rwxsStTlL]{9})|-(?=[-A-Z]{9})).{9}[+.@*]?(.*)", re.DOTALL)
_NUMERIC_MODE = re.compile(rb"(0?[0-7]{5,6}) +(?:\S+ +){2}(\d+) +\d+ +(.*)", re.DOTALL)
_NETWARE = re.compile(rb"([-d]) ?\[[-A-Z]{6,10}\] (.*)", re.DOTALL)
_MOST_ENDS = 32
_UNIX_KINDS: dict[bytes, Kind] = {b"-": "file", b"d": "folder"}


def _unix(line: bytes) -> RemoteEntry | None:
    """`-rw-r--r--+ 1 owner group 1024 Nov 22 10:30 name`."""
    found = _MODE.fullmatch(line)
    if not found:
        return None
    kind = _UNIX_KINDS.get(found[1], "other")
    return _dated(found[2], kind) or RemoteEntry(b"", kind, other_names=tuple(_ends(found[2])))


def _ends(text: bytes) -> Iterator[bytes]:
    """Yield the possible names of a line without a recognisable date: everything behind each space."""
    for found in itertools.islice(re.finditer(rb" (?=[^ ])", text), _MOST_ENDS):
        yield text[found.end() :]


def _netware(line: bytes) -> RemoteEntry | None:
    """`- [RWCEAFMS] owner 1024 Nov 22 10:30    name`."""
    found = _NETWARE.fullmatch(line)
    return _dated(found[2], _UNIX_KINDS[found[1]], blanks=4) if found else None


def _dated(text: bytes, kind: Kind, *, blanks: int = 1) -> RemoteEntry | None:
    """Parse a line whose name follows size and date."""
    found = _size_and_date(text)
    names = list(_names(text[found.end() :], blanks)) if found else []
    if not found or not names:
        return None
    if len(names) > 1 and _SECONDS.search(found[0]) and _AFTER_THE_DATE.match(text, found.end()):
        names[:2] = names[1::-1]  # no system writes seconds without year or zone
    # What was taken for a year may be the size: "12 staff 2024 Nov 22 10:30", where 12 is the owner
    again = _size_and_date(text, found.start() + found[0].rfind(b" "))
    if again and again.start() < found.end():
        names += _names(text[again.end() :], blanks)
    name, *others = names
    size = size_of(found[1]) if text[found.start() - 1 : found.start()] in (b"", b" ", b"\t") else None
    if kind == "other":
        name = name.partition(b" -> ")[0]
    return RemoteEntry(name.removesuffix(b"/") if kind == "folder" else name, kind, size, other_names=tuple(others))


def _size_and_date(text: bytes, begin: int = 0) -> re.Match[bytes] | None:
    """Find the first size and date in a line. A name may look like them, too."""
    for forms in (_SURE, _NUMBERS_ALONE):
        found = [match for match in (form.search(text, begin) for form in forms) if match]
        if found:
            return min(found, key=re.Match.start)
    return None


def _names(rest: bytes, blanks: int) -> Iterator[bytes]:
    """Yield the name, then the names if more of the line belongs to the date, or if leading spaces are padding."""
    padding = len(rest) - len(rest.lstrip(b" "))
    if not rest.strip(b" "):
        if padding > blanks:
            yield rest[blanks:]
        return
    yield rest[min(padding, blanks) :]
    more = _AFTER_THE_DATE.match(rest)
    if more:
        yield from _names(rest[more.end() :], 1)
    if padding > blanks:
        yield rest[padding:]


_DOS = re.compile(
    rb"[ \t]*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ \t]+\d{1,2}[:.]\d\d(?:[:.]\d\d)?[ \t]?(?:[^\s\d<]{1,6}[ \t]+){0,2}[ \t]*"
    rb"(?:<([A-Za-z]+) *>|(\d[\d.,'\xa0]*))( +)(.*)",
    re.DOTALL,
)
_DOS_BLANKS = 10  # between <DIR> and a name, as IIS writes it


def _dos(line: bytes) -> RemoteEntry | None:
    """`11-22-25  10:30AM   <DIR>          name`, `22.11.2025  10:30   1,024 name`."""
    found = _DOS.fullmatch(line)
    if not found:
        return None
    mark, size, padding, rest = found.groups()
    if mark is None:
        digits = re.sub(rb"[.,'\xa0]", b"", size)
        return _padded("file", padding, rest, 1, size=size_of(digits))
    linked = mark.upper().startswith((b"JUNCTION", b"SYMLINK"))
    return _padded("other" if linked else "folder", padding, rest, _DOS_BLANKS)


def _padded(kind: Kind, padding: bytes, rest: bytes, blanks: int, *, size: int | None = None) -> RemoteEntry:
    extra = padding[blanks:]
    return RemoteEntry(extra + rest, kind, size, other_names=(rest,) if extra else ())


_EPLF = re.compile(rb"\+([^\t]*)\t(.*)", re.DOTALL)


def _eplf(line: bytes) -> RemoteEntry | None:
    """`+i8388621.48594,m825718503,r,s280,<tab>name`."""
    found = _EPLF.fullmatch(line)
    if not found:
        return None
    facts = found[1].split(b",")
    size = next((size_of(fact[1:]) for fact in facts if fact.startswith(b"s")), None)
    return RemoteEntry(found[2], "folder" if b"/" in facts else "file" if b"r" in facts else "other", size)


def _numeric(line: bytes) -> RemoteEntry | None:
    """`0100644 500 101 12345 123456789 name`: mode in octal, owner, group, size, seconds."""
    found = _NUMERIC_MODE.fullmatch(line)
    if not found:
        return None
    kinds: dict[int, Kind] = {0o4: "folder", 0o10: "file"}
    return RemoteEntry(found[3], kinds.get(int(found[1], 8) >> 12, "other"), size_of(found[2]))


Made: TypeAlias = "Callable[[re.Match[bytes]], RemoteEntry]"


def _form(pattern: bytes, made: Made) -> Callable[[bytes], RemoteEntry | None]:
    compiled = re.compile(pattern, re.DOTALL)

    def read(line: bytes) -> RemoteEntry | None:
        found = compiled.fullmatch(line)
        return made(found) if found else None

    return read


def _of_vms(found: re.Match[bytes]) -> RemoteEntry:
    """Parse an OpenVMS line. A file keeps its version in the name, since there may be several; a folder does not."""
    name, folder = found[1], re.fullmatch(rb"(.*)\.DIR;\d+", found[1], re.IGNORECASE)
    return RemoteEntry(folder[1], "folder") if folder else RemoteEntry(name, "file")


def _of_as400(found: re.Match[bytes]) -> RemoteEntry:
    kind, name = found[2], found[3]
    if name.endswith(b"/"):
        return RemoteEntry(name[:-1], "folder")
    folder = kind in (b"DIR", b"DDIR", b"FLR", b"LIB")
    file = kind in (b"STMF", b"DSTMF", b"FILE", b"MEM", b"DOC")
    return RemoteEntry(name, "folder" if folder else "file" if file else "other", size_of(found[1] or b""))


def _slashed(found: re.Match[bytes]) -> RemoteEntry:
    """Parse a line of VShell, where the name of a folder ends with a slash."""
    size, name = found.groups()
    return RemoteEntry(name[:-1], "folder") if name.endswith(b"/") else RemoteEntry(name, "file", size_of(size))


_FORMS: tuple[Callable[[bytes], RemoteEntry | None], ...] = (
    # OpenVMS: `NAME.EXT;1  2/9  22-NOV-2025 10:30:13  [OWNER] (RWED,RWED,RE,)`, its fields in any order
    _form(rb"([^\s;]+;\d+)[ \t]+[^;]*?(?:\d{1,2}-[^\s\d-]+-\d{4}\b|no privilege|insufficient privilege)[^;]*", _of_vms),
    _unix,
    _dos,
    _eplf,
    _netware,
    _numeric,
    # VxWorks: `1024  Nov-22-2025  10:30:00  name`, with `<DIR>` behind a folder's name
    _form(
        rb" *(\d+) +[^\s\d-]+-\d\d-\d{4} +\d\d:\d\d:\d\d +(.*?)( +<DIR>)? *",
        lambda m: RemoteEntry(m[2], "folder" if m[3] else "file", size_of(m[1])),
    ),
    # OS/2: `1024  A  11-22-25  10:30  name`, `0 DIR  11-22-125  10:30  name`
    _form(
        rb" *(\d+) +(DIR)? *[A-Z]* +\d\d-\d\d-\d{2,4} +\d\d:\d\d(?:[ap]m?)? {1,2}(\S.*)",
        lambda m: RemoteEntry(m[3], "folder" if m[2] else "file", size_of(m[1])),
    ),
    # AS/400: `OWNER 1024 02/23/25 15:09:55 *STMF name`; a member has neither size nor time
    _form(rb"\S* +(?:(\d+) +)?(?:\d\d[/.]\d\d[/.]\d\d +\d\d:\d\d:\d\d +)?\*([A-Z0-9]+) +(\S.*)", _of_as400),
    # VShell: `1024  Nov 22, 2025 10:30 name`, a folder's name with a slash
    _form(rb" *(\d+) +[^\s\d]+ +\d{1,2}, +\d{4} +\d\d:\d\d (.*)", _slashed),
    # Nortel: `name  1024  06/03/25  Thur.   10:20:03`
    _form(
        rb"(\S.*?) +(\d+) +\d\d/\d\d/\d\d +\S+ +\d\d:\d\d:\d\d *",
        lambda m: RemoteEntry(m[1], "file", size_of(m[2])),
    ),
    # z/OS: data sets (`PO` holds members), then members
    _form(
        rb" *\S+ +\S+ +\d{4}/\d\d/\d\d +\S+ +\S+ +\S+ +\d+ +\d+ +(P[SO])(?:-E|U)? +(\S+) *",
        lambda m: RemoteEntry(m[2].strip(b"'"), "folder" if m[1] == b"PO" else "file"),
    ),
    _form(
        rb" *(\S+) +\d\d\.\d\d +\d{4}/\d\d/\d\d +\d{4}/\d\d/\d\d +\d\d:\d\d +\d+ +\d+ +\d+ +\S+ *",
        lambda m: RemoteEntry(m[1], "file"),
    ),
)


def _unwrapped(lines: Sequence[bytes]) -> list[bytes]:
    """Join lines of OpenVMS, which writes a long name on a line of its own."""
    whole: list[bytes] = []
    for line in lines:
        if whole and re.fullmatch(rb"[^\s;]+;\d+\s*", whole[-1]) and re.match(rb"\s*\d", line):
            whole[-1] = whole[-1].rstrip() + b" " + line.lstrip()
        else:
            whole.append(line)
    return whole
