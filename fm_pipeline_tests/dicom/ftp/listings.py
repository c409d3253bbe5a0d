"""Listings as FTP servers write them, made up: forms of many systems, dates of many languages, names of any bytes.

`python -m fm_pipeline_tests.dicom.ftp.listings --count 100000 --seed 1` reads so many of them; exit code 0 if each
name came out as it went in.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import hypothesis
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from fm_pipeline.dicom.ftp.listing import RemoteEntry, entries_of_list, with_names
from fm_pipeline_tests.support.searching import count_and_seed, say

MONTHS = [
    *(
        "Jan",
        "May",
        "Aug",
        "Nov",
        "Dec",
        "Okt",
        "Dez",
        "Mär",
        "mars",
        "avr.",
        "juil.",
        "août",
        "déc.",
        "gen",
        "ott",
        "ene",
    ),
    *("dic", "mrt", "sty", "paź", "янв", "нояб.", "úno", "říj", "Ara", "Ağu", "1月", "11月", "11월", "marras", "tammi"),
]
TOTALS = [
    "total 12",
    "insgesamt 12",
    "total 4.0K",
    "razem 12",
    "celkem 12",
    "итого 12",
    "合計 12",
    "总用量 12",
    "yhteensä 4",
]
OWNERS = ["root", "1000", "scanner", "Domain Users", "DOMAIN\\ct scanner", "-", "0", "büro", "a b c", "12"]
HARD_NAMES = [
    *(b" leading", b"  two", b"trailing ", b"a -> b", b"10:30 x", b"2024 x", b"2024", b"+0100 x", b"AM x", b"total 5"),
    *(b"1024 Nov 22 10:30 x", b"Nov 22 10:30 x", b"<DIR> x", b"-dash", b".hidden", b"a;1", b"\xff\xfe", "é".encode()),
    *(b"-rw-r--r-- 1 o g 1 Nov 22 10:30 x", b"22.11.2025 10:30 x", b"*STMF x", b"x\ty", b"DICOMDIR", b"+i,\t", b"..."),
]


@dataclass
class Listing:
    """Lines, and what they say.

    Attributes:
        form: of which system.
        expected: names, and whether each is a folder.
    """

    form: str
    lines: list[bytes] = field(default_factory=list)
    expected: list[tuple[bytes, bool]] = field(default_factory=list)

    def read(self) -> list[RemoteEntry]:
        """As a session reads it: between two readings of a line NLST decides."""
        found = entries_of_list(self.lines)
        if any(entry.other_names for entry in found):
            found = with_names(found, [name for name, _ in self.expected])
        return found

    def holds(self) -> bool:
        """Whether every name came out as it went in."""
        return [(entry.name, entry.kind) for entry in self.read()] == [
            (name, "folder" if folder else "file") for name, folder in self.expected
        ]


any_name = st.one_of(
    st.sampled_from(HARD_NAMES),
    st.binary(min_size=1, max_size=30).map(lambda text: text.translate(None, b"\0\r\n/")),
    st.text(min_size=1, max_size=20).map(lambda text: text.encode("utf-8", "ignore").translate(None, b"\0\r\n/")),
).filter(lambda name: name.strip(b" \t\v\f") not in (b"", b".", b"..") and name != b"..")
plain_name = st.from_regex(r"[A-Z0-9][A-Z0-9_-]{0,12}(\.[A-Z0-9]{1,3})?", fullmatch=True).map(str.encode)
Line = Callable[[DrawFn, bytes, bool, int], bytes]


def _pick(draw: DrawFn, *choices: str) -> str:
    return draw(st.sampled_from(choices))


def _date(draw: DrawFn) -> str:
    """As ls and its relatives write it, in some language."""
    month, day = draw(st.sampled_from(MONTHS)), draw(st.integers(1, 31))
    time, year = f"{draw(st.integers(0, 23)):02}:{draw(st.integers(0, 59)):02}", draw(st.integers(1980, 2099))
    return _pick(
        draw,
        f"{month} {day:2} {_pick(draw, time, f' {year}')}",
        f"{month} {day:02} {time}",
        f"{day:2} {month} {_pick(draw, time, f' {year}')}",
        f"{day}. {month} {_pick(draw, time, str(year))}",
        f"{year}-11-{day:02} {time}",
        f"{year}-11-{day:02} {time}:00.000000000 +0100",
        f"{year}/11/{day:02} {time}",
        f"{day:02}.11.{year} {time}",
        f"{year}年11月{day}日 {time}",
        f"Sat {month} {day:2} {time}:15 {year}",
        f"{month} {day:02}, {year} {time}",
        f"11-{day:02} {_pick(draw, time, str(year))}",
    )


def _unix(draw: DrawFn, name: bytes, folder: bool, size: int) -> bytes:
    mode = ("d" if folder else "-") + _pick(draw, "rw-r--r--", "rwxr-x---", "---------", "rwsr-Sr-T")
    mode += _pick(draw, "", "+", ".", "@")
    owner, group = draw(st.sampled_from(OWNERS)), draw(st.sampled_from([*OWNERS, ""]))
    links = _pick(draw, "  1 ", " 12 ", " ")
    head = f"{mode}{links}{owner:8} {group:8} {size:8} {_date(draw)} "
    return head.encode() + name


def _dos(draw: DrawFn, name: bytes, folder: bool, size: int) -> bytes:
    day = draw(st.integers(1, 31))
    date = _pick(
        draw, f"11-{day:02}-25", f"{day:02}-11-2025", f"{day:02}.11.2025", f"2025-11-{day:02}", f"{day:02}/11/25"
    )
    time = _pick(draw, "10:30AM", "11:30PM", "10:30", "10:30:15", "10:30 AM", "10:30 a. m.")
    shown = _pick(draw, str(size), f"{size:,}", f"{size:,}".replace(",", "."))
    what = f"{'<DIR>':12}   " if folder else f"{shown:>14} "
    return f"{date}  {time}       {what}".encode() + name


def _eplf(draw: DrawFn, name: bytes, folder: bool, size: int) -> bytes:
    facts = "/" if folder else f"r,s{size}"
    return f"+i8388621.{size},m{size},{_pick(draw, '', 'up644,')}{facts},\t".encode() + name


def _netware(draw: DrawFn, name: bytes, folder: bool, size: int) -> bytes:
    head = f"{'d' if folder else '-'} [R----F--] {draw(st.sampled_from(OWNERS)):12} {size:10}       Nov 22 10:30    "
    return head.encode() + name


def _vms(draw: DrawFn, name: bytes, folder: bool, size: int) -> bytes:
    stem = name + b".DIR;1" if folder else name + b".DCM;3"
    gap = _pick(draw, "  ", "\r\n    ")
    return (
        stem
        + f"{gap}{size % 99}/{size}  {draw(st.integers(1, 31)):2}-NOV-2025 10:30:15  [PACS,CT] (RWED,RWED,RE,)".encode()
    )


def _vxworks(draw: DrawFn, name: bytes, folder: bool, size: int) -> bytes:
    head = f"{size:8}    Nov-{draw(st.integers(1, 31)):02}-2025  10:30:00   "
    return head.encode() + name + (b"             <DIR>" if folder else b"")


def _as400(draw: DrawFn, name: bytes, folder: bool, size: int) -> bytes:
    head = f"PACS {size:12} {draw(st.integers(1, 12)):02}/22/25 10:30:15 {'*DIR' if folder else '*STMF':10} "
    return head.encode() + name + (b"/" if folder else b"")


def _os2(draw: DrawFn, name: bytes, folder: bool, size: int) -> bytes:
    return (
        f"{size:12} {'DIR' if folder else '   '}       {_pick(draw, '11-22-25', '11-22-125')}  10:30  ".encode() + name
    )


FORMS: dict[str, tuple[Line, st.SearchStrategy[bytes]]] = {
    "unix": (_unix, any_name),
    "dos": (_dos, any_name),
    "eplf": (_eplf, any_name),
    "netware": (_netware, any_name),
    "vms": (_vms, plain_name.filter(lambda name: b"." not in name)),
    "vxworks": (_vxworks, plain_name),
    "as400": (_as400, plain_name),
    "os2": (_os2, plain_name),
}


@st.composite
def listings(draw: DrawFn) -> Listing:
    """Listings of one form each."""
    form = draw(st.sampled_from(sorted(FORMS)))
    line, names = FORMS[form]
    listing = Listing(form)
    if form == "unix" and draw(st.booleans()):
        listing.lines.append(draw(st.sampled_from(TOTALS)).encode())
    for name in draw(st.lists(names, min_size=1, max_size=6, unique=True)):
        folder = draw(st.booleans())
        listing.lines += line(draw, name, folder, draw(st.integers(0, 10**9))).split(b"\r\n")
        listing.expected.append((name + b".DCM;3" if form == "vms" and not folder else name, folder))
    return listing


def main() -> int:
    """Read many listings."""
    said = "Read listings of FTP servers that are made up."
    arguments = count_and_seed("ftp-listings", said, count=100_000, of="listings").parse_args()
    seen: Counter[str] = Counter()

    @hypothesis.seed(arguments.seed)
    @hypothesis.settings(max_examples=arguments.count, deadline=None, database=None)
    @hypothesis.given(listings())
    def every_name_comes_out(listing: Listing) -> None:
        seen[listing.form] += 1
        assert listing.holds(), (listing, listing.read())

    every_name_comes_out()
    say(f"{sum(seen.values()):,} listings: {dict(sorted(seen.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
