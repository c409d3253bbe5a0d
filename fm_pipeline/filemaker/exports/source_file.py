"""The bytes of an export file, block by block, and the proof that they did not change while they were read."""

from __future__ import annotations

import codecs
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from fm_pipeline.filemaker.exports.encoding import Encoding, codec_of, detect, not_text
from fm_pipeline.filemaker.exports.errors import ExportChanged, ExportStop
from fm_pipeline.filemaker.exports.rows import LOST, SECTOR, lost, without_end

BLOCK = 1 << 16  # bytes; what is made of a block fits the caches of a processor, which counts for a third of the time
_SAMPLE = 1 << 22  # bytes from which a character set is told; smaller files are looked at whole


class FileIdentity(NamedTuple):
    """What changes when a file is replaced, or written to."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Self:
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


class SourceFile:
    """An export file that is open for one reading. Use it in a `with` block.

    Raises:
        ExportStop: the file cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.read_bytes = 0
        with self._readable():
            self._file = path.open("rb", buffering=0)
            self.identity = FileIdentity.of(os.fstat(self._file.fileno()))
        self.size = self.identity.size
        self.digest = 0  # of what was read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def head(self, length: int) -> bytes:
        """Return the first bytes; the reading itself still begins at the first."""
        with self._readable():
            return os.pread(self._file.fileno(), length, 0)

    def blocks(self) -> Iterator[bytes]:
        """Yield the whole file once, from its beginning."""
        while block := self._block():
            self.read_bytes += len(block)
            self.digest = zlib.crc32(block, self.digest)
            yield block

    def texts(self, encoding: Encoding, mark: int) -> Iterator[str]:
        """Yield the whole file as text.

        Args:
            mark: bytes of the byte order mark, which is left out.

        Raises:
            CharacterSetUnknown: a byte is no character; names its line.
            ExportStop: a part of the file was lost; names its line.
        """
        decoder = codecs.getincrementaldecoder(codec_of(encoding))()
        try:
            for block in self.blocks():
                text = decoder.decode(block[mark:] if mark else block)
                if LOST in text:
                    before = text[: text.index(LOST)].encode(codec_of(encoding))
                    raise lost(self.name, self._line_of(self.read_bytes - len(block) + mark + len(before)))
                yield text
                mark = 0
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            left = len(error.object) - error.start
            raise not_text(encoding, f"a byte in line {self._line_of(self.read_bytes - left):,}") from None

    def refuse_whole_sectors(self, encoding: Encoding) -> None:
        """Raise if the file has no line end at its end, and as many bytes as a copy that was cut short.

        Raises:
            ExportStop: see above.
        """
        if not self.size or self.size % SECTOR:
            return
        with self._readable():
            end = os.pread(self._file.fileno(), 2, self.size - 2)
            ends = tuple(each.encode(codec_of(encoding)) for each in "\r\n")
            if not end.endswith(ends):
                raise without_end(self.name, self._line_of(self.size))

    def beginning(self, encoding: Encoding, mark: int) -> str:
        """Return the first characters."""
        return self.head(1 << 13)[mark:].decode(codec_of(encoding), "replace")

    def detect_encoding(self, forced: Encoding | None) -> tuple[Encoding, int]:
        """Return the character set and the length of the byte order mark.

        A large file is judged by its beginning, or where that has ASCII only, by the first block that has more.

        Raises:
            CharacterSetUnknown: it cannot be told.
        """
        sample = self.head(_SAMPLE)
        encoding, mark = detect(sample, forced, is_cut=len(sample) < self.size)
        if mark or forced or not sample.isascii():
            return encoding, mark
        for at in range(len(sample), self.size, BLOCK):
            with self._readable():
                block = os.pread(self._file.fileno(), BLOCK, at)
            if not block.isascii():
                return detect(block, is_cut=at + len(block) < self.size)
        return encoding, mark

    def refuse_changed(self) -> None:
        """Raise if the file is not the one that was read, from its first to its last byte.

        Raises:
            ExportChanged: it was written to, replaced or removed.
        """
        digest, self.read_bytes = self.digest, 0
        with self._readable():
            os.lseek(self._file.fileno(), 0, os.SEEK_SET)
            self.digest = 0
            size = sum(len(block) for block in self.blocks())
            after = FileIdentity.of(os.fstat(self._file.fileno()))
        try:
            there = FileIdentity.of(self.path.stat())
        except OSError:
            there = None
        if not (self.identity == after == there and size == self.size and digest == self.digest):
            raise ExportChanged(f"The export file {self.name} changed while it was read.")

    def _block(self) -> bytes:
        with self._readable():
            return self._file.read(BLOCK)

    def _line_of(self, offset: int) -> int:
        """Return the number of the line with a byte; CR, LF and both together end a line."""
        lines, last = 1, b""
        for at in range(0, offset, BLOCK):
            with self._readable():
                block = os.pread(self._file.fileno(), min(BLOCK, offset - at), at)
            lines += block.count(b"\r") + block.count(b"\n") - (last + block).count(b"\r\n")
            last = block[-1:]
        return lines

    def _readable(self) -> _Readable:
        return _Readable(self.path.name)


class _Readable:
    """Turns the system's errors into ours."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError):
            raise ExportStop(
                f"The export file {self._name} cannot be read ({error.strerror or type(error).__name__}).",
                meaning="Nothing was changed.",
                remedy="Check FILEMAKER_EXPORTS_FOLDER, and who may read the file.",
            ) from None
