"""A coverage-guided fuzzer for the files that are read whole: any bytes are read, or stop with an error of ours.

Atheris is no dependency of the project: its wheel is large, and it exists for few versions of Python.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["fm_pipeline.filemaker.exports"]):
    from fm_pipeline.errors import FileMakerError
    from fm_pipeline.filemaker.exports.options import ExportOptions
    from fm_pipeline.filemaker.exports.table import ExportTable

SUFFIXES = (".tab", ".csv", ".mer", ".xml", ".xlsx")
OPTIONS = ExportOptions(columns=("id", "day", "note"), date_fields=frozenset({"day"}))


def main() -> None:
    """Run until libFuzzer's limits are reached; a crash is written to a file."""
    with TemporaryDirectory() as folder:

        def read(data: bytes) -> None:
            """The first byte chooses the suffix."""
            path = Path(folder) / f"x{SUFFIXES[data[0] % len(SUFFIXES)] if data else '.tab'}"
            path.write_bytes(data[1:])
            try:
                table = ExportTable(path, OPTIONS)
                names = [field.name for field in table.fields]
                found = sum(1 for _ in table.records(names))
            except FileMakerError:
                return
            if found != table.counts.records or table.counts.found != found + table.counts.continued:
                raise AssertionError("Rows were lost.")

        atheris.Setup(sys.argv, read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
