"""Random export files of every text format: the long run of `test_parsers`.

A whole file must give its rows. A file in which bytes were removed, added or changed must give rows of the right width
or stop with an error of ours; and rows found = rows in batches + faults, however the file is divided.
Each example has a seed of its own, the first one's plus its number, so a run can be continued with `--seed`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import click

from fm_pipeline.errors import FileMakerError
from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.options import ExportOptions
from fm_pipeline.filemaker.exports.quoted import quoted_batches
from fm_pipeline.filemaker.exports.rows import RowFaults
from fm_pipeline.filemaker.exports.tab import tab_batches
from fm_pipeline.filemaker.exports.table import ExportTable
from fm_pipeline_tests.filemaker.exports.files import rows_of

LETTERS = [*"abc \"',;0é€\v\x1d\x1e\x85\u2028😀", "\n"]
CODECS = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "mac_roman")
NAMED = {"cp1252": "windows-1252", "mac_roman": "macroman"}
OPTIONS = ExportOptions(columns=("id", "a", "b"))


@click.command()
@click.option("--count", default=1_000, show_default=True, help="Files.")
@click.option("--seed", default=1, show_default=True, help="Of the first file; each next one has one more.")
def main(count: int, seed: int) -> None:
    """Read many files; exit code 1 if one of them is read wrongly."""
    ends = Counter[str]()
    with (
        TemporaryDirectory() as folder,
        click.progressbar(range(seed, seed + count), label="Exports", file=sys.stderr) as seeds,
    ):
        for each in seeds:
            said = "as written" if (wrong := _wrong_with(Random(each), Path(folder))) is None else wrong  # noqa: S311
            ends[said] += 1
            if wrong:
                click.echo(f"seed {each}: {wrong}")
    click.echo(f"{ends['as written']:,} of {count:,} exports are read as they were written, or stop.")
    sys.exit(ends["as written"] != count)


def _wrong_with(rng: Random, folder: Path) -> str | None:
    """Make a file, read it, damage it, and read it again; None if nothing is wrong."""
    kind, codec, end = rng.choice(["tab", "csv", "mer"]), rng.choice(CODECS), rng.choice(["\r", "\n", "\r\n"])
    rows = [
        [str(rng.randrange(1, 99)), *(_text(rng, codec, end) for _ in range(2))] for _ in range(rng.randrange(1, 9))
    ]
    separator = "\t" if kind == "tab" else rng.choice(",;")
    shown = [["id", "a", "b"], *rows] if kind == "mer" else rows
    lines = (separator.join(text if kind == "tab" else _quoted(text) for text in row) for row in shown)
    data = "".join(line + end for line in lines).encode(codec)
    path = folder / f"x.{kind}"
    path.write_bytes(data)
    options = ExportOptions(columns=() if kind == "mer" else ("id", "a", "b"), encoding=NAMED.get(codec))  # type: ignore[arg-type]
    try:
        found = [list(record.fields.values()) for record in ExportTable(path, options).records(["id", "a", "b"])]
    except ExportStop as error:  # a small file whose line ends can be read in two ways
        return None if "two ways" in error.what else f"{kind}, {codec}, {end!r}: {error.what}"
    if found != [[_as_read(text) for text in row] for row in rows]:
        return f"{kind}, {codec}, {end!r}: other rows"
    damaged = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(damaged)) if damaged else 0
        damaged[at : at + rng.randrange(3)] = rng.choice([b"", b'"', b"\t", b"\r", b"\n", b"\0", b"\xff", b","])
    path.write_bytes(damaged)
    try:
        for record in ExportTable(path, options).records(["id", "a", "b"]):
            if len(record.fields) != 3 and kind != "mer":  # whose header may be damaged
                return f"{kind}, {codec}, {end!r}: a record with {len(record.fields)} fields"
    except FileMakerError:
        pass
    return _divided(rng, bytes(damaged).decode(codec, "replace"))


def _divided(rng: Random, text: str) -> str | None:
    """A text gives the same rows and faults in one piece and in many."""
    for parse in (tab_batches, quoted_batches):
        results = []
        for texts in (iter([text]), _pieces(rng, text)):
            faults = RowFaults()
            try:
                results.append((rows_of(parse(texts, faults, name="x", width=3)), faults, ""))
            except FileMakerError as error:
                results.append(([], RowFaults(), error.what))
        if results[0] != results[1]:
            return f"{parse.__name__}: other rows when it is divided"
        if any(len(row) != 3 for _, row in results[0][0]):
            return f"{parse.__name__}: a row of another width"
    return None


def _pieces(rng: Random, text: str) -> Iterator[str]:
    while text:
        at = rng.randrange(1, 1 + max(len(text) // 2, 1))
        yield text[:at]
        text = text[at:]


def _text(rng: Random, codec: str, end: str) -> str:
    text = "".join(rng.choices(LETTERS, k=rng.randrange(6))).replace("\n", "\n" if end == "\r" else "\r")
    text = text.replace("\r", "") if end == "\r\n" else text
    text = "".join(letter for letter in text if letter.encode(codec, "ignore"))
    return text.rstrip("\r") if end == "\n" else text  # both together would be CRLF


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _as_read(text: str) -> str:
    """Line ends as CR, and without the empty ones of several values."""
    return "\x1d".join(filter(None, text.replace("\n", "\r").replace("\v", "\r").split("\x1d")))


if __name__ == "__main__":
    main()
