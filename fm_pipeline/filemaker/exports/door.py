"""A folder of export files as a door: its tables are files, one for each entity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self, TypeVar

from fm_pipeline.filemaker.door import DoorKind, Reading
from fm_pipeline.filemaker.exports.copies import refuse_copies
from fm_pipeline.filemaker.exports.errors import ExportChanged, ExportStop
from fm_pipeline.filemaker.exports.kinds import SUFFIXES, Format
from fm_pipeline.filemaker.exports.options import ExportOptions
from fm_pipeline.filemaker.exports.table import ExportTable
from fm_pipeline.filemaker.model import Field, FileMakerRecord, Page

T = TypeVar("T")


class ExportsDoor:
    """Reads the files of a folder. See `fm_pipeline.filemaker.door.Door`.

    Args:
        folder: with the files; others in it are ignored.
        options: what the profile says of each file.

    Raises:
        ExportStop: from every method but `close`: the folder or a file cannot be read, or two files are of one entity,
            one of them perhaps a copy.
    """

    kind: Final[DoorKind] = "exports"

    def __init__(self, folder: Path, options: Sequence[ExportOptions] = ()) -> None:
        self.source = f"exports in {folder}"
        self._folder, self._options = folder, options
        self._opened: dict[str, ExportTable] = {}
        self._read: dict[str, ExportTable] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget what was seen. No file stays open between two calls."""
        self._opened.clear()
        self._read.clear()

    def version(self) -> str:
        """Return nothing: an export does not say which FileMaker wrote it."""
        return ""

    def tables(self) -> list[str]:
        """Return the names of the files without their suffix."""
        return [files[0].stem for files in self._files().values()]

    def fields(self, table: str) -> list[Field]:
        """Return the columns of a file; only XML knows their types."""
        return self._table(table).fields

    def format(self, table: str) -> Format:
        """Return the format of a file, by its content."""
        return self._table(table).format

    def written(self) -> dict[str, float]:
        """Return the names of the files that were looked into, and when each was last written, in seconds."""
        return {table.name: table.written for table in self._opened.values()}

    def sample(self, table: str, fields: Sequence[Field]) -> Page:
        """Return the first record, and the number of all, for which the whole file is read and checked."""
        found = self._table(table)
        first: list[FileMakerRecord] = []
        for record in found.records([field.name for field in fields]):
            if not first:
                first.append(record)
        return Page(tuple(first), found.counts.records)

    def read(self, reading: Reading, consume: Callable[[Iterator[FileMakerRecord]], T]) -> T:
        """Read a file to its end, and make sure that it is still the same, and so are those that were read before."""
        table = self._table(reading.table)
        result = consume(table.records([field.name for field in reading.fields], reading.on_progress))
        self._read[reading.table.casefold()] = table
        self._refuse_changed()
        return result

    def _refuse_changed(self) -> None:
        """Raise if a file that was read is another one by now: files of two exports contradict each other."""
        for table in self._read.values():
            try:
                is_still = table.is_still(table.path)
            except ExportStop:  # it is gone
                is_still = False
            if not is_still:
                raise ExportChanged(
                    f"The export file {table.name} changed after it was read, and before the last one was."
                )

    def _table(self, name: str) -> ExportTable:
        """Return a file with its columns. It is looked at again if it was replaced since."""
        folded = name.casefold()
        files = self._files()
        options = next((each for each in self._options if folded in _folded(each.files)), ExportOptions())
        names = {folded, *_folded(options.files)}
        matching = [path for each in names for path in files.get(each, ())]
        if len(matching) > 1:
            raise ExportStop(
                f"{' and '.join(sorted(path.name for path in matching))} are files of the same entity.",
                meaning="Which of them counts is not guessed from their age. Nothing was read.",
                remedy="Leave one of them in the folder.",
            )
        if not matching:
            raise ExportStop(
                f"The export file {name} is not in the folder any more.",
                meaning="Nothing was read.",
                remedy="Export it again; look at FILEMAKER_EXPORTS_FOLDER.",
            )
        others = {name for each in self._options for name in _folded(each.files)} - names
        with self._readable():
            refuse_copies(matching[0], names, others)
        opened = self._opened.get(folded)
        if opened is None or not opened.is_still(matching[0]):
            opened = self._opened[folded] = ExportTable(matching[0], options)
        return opened

    def _files(self) -> Mapping[str, list[Path]]:
        """Return the export files by their names without suffix and case."""
        files: dict[str, list[Path]] = {}
        with self._readable():
            for path in sorted(self._folder.iterdir()):
                if path.suffix.lower() in SUFFIXES and not path.name.startswith((".", "~$")) and path.is_file():
                    files.setdefault(path.stem.casefold(), []).append(path)
        return files

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn errors of the folder into ours."""
        try:
            yield
        except OSError as error:
            raise ExportStop(
                f"The folder of exports cannot be read ({error.strerror or type(error).__name__}).",
                meaning="Nothing was read.",
                remedy="Check FILEMAKER_EXPORTS_FOLDER, and who may read the folder.",
            ) from None


def _folded(names: Sequence[str]) -> set[str]:
    return {name.casefold() for name in names}
