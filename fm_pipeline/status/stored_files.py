"""Check that the files named by rows of Nexus exist and can be read: documents, images, thumbnails, in any bucket.

All files or a sample are looked up. Some of the existing files are opened, because a listing does not show that an
object cannot be read, is archived, or is truncated.

Nothing is written. Three findings are distinct: a row names no file, an object does not exist, a bucket cannot be read.
A file that could not be looked up is never reported as missing.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from fm_pipeline.db.connection import connect
from fm_pipeline.errors import StorageError
from fm_pipeline.nexus.catalogue.schema import Catalogue, read_catalogue
from fm_pipeline.nexus.table_names import DOCUMENTS, IMAGES
from fm_pipeline.retry import retry
from fm_pipeline.settings import Settings
from fm_pipeline.status.choices import SAMPLE
from fm_pipeline.storage.bucket import Bucket
from fm_pipeline.storage.client import make_client

Kind = Literal["documents", "images", "thumbnails"]
KINDS: tuple[Kind, ...] = ("documents", "images", "thumbnails")
NO_BUCKET = "no bucket"  # neither the row nor the settings name one
OPENED = 25  # files of each kind
OPENED_BYTES = 65_536  # of each of them at most
TRIES = 2  # to open a file: one broken stream does not mean that the object is damaged
NO_READ_PERMISSION = "the account has no right to read them (s3:GetObject), so that only their names were looked for."
ROWS_A_FETCH = 2000
KEYS_A_REPORT = 1000  # of a listing; as many as S3 gives on a page


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a row of Nexus. An empty key means that the row names none.

    Attributes:
        size: as stored in the row; None or 0 if it is not stored.
    """

    kind: Kind
    row_id: str
    bucket: str
    key: str
    size: int | None = None


@dataclass(frozen=True)
class FileCheck:
    """The result for the files of one kind.

    Attributes:
        rows: rows that name a file or should; thumbnails only if the row names one.
        looked_at: files that were looked up with a definite result.
        missing: Nexus ids of rows whose file does not exist.
        without_key: Nexus ids of rows that name no file.
        opened: files whose first bytes could be read.
        unreadable: S3's code by Nexus id of the row, for existing files that cannot be opened.
        differing: Nexus ids of rows whose file is empty or has another size than in the row.
        not_opened: S3's code if the account may open none of the files: a privilege is missing, no file is damaged.
        not_looked_at: number of files in buckets that cannot be read, by S3's code.
        remedies: what to do, by code.
    """

    kind: Kind
    rows: int
    looked_at: int
    missing: Sequence[str] = ()
    without_key: Sequence[str] = ()
    opened: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    differing: Sequence[str] = ()
    not_opened: str = ""
    not_looked_at: dict[str, int] = field(default_factory=dict)
    remedies: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every file exists, and every opened file matches its row."""
        return not (self.missing or self.without_key or self.not_looked_at or self.unreadable or self.differing)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, S3's codes and Nexus ids; no keys, which may hold names."""
        return {
            "kind": self.kind,
            "rows": self.rows,
            "looked_at": self.looked_at,
            "missing": list(self.missing),
            "without_key": list(self.without_key),
            "opened": self.opened,
            "unreadable": self.unreadable,
            "differing": list(self.differing),
            "not_opened": self.not_opened,
            "not_looked_at": self.not_looked_at,
        }


class LookupResult:
    """Which files exist, S3's code for those that could not be looked up, and the readable buckets by name.

    `remedies` says what to do, by code.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.exists: dict[StoredFile, bool] = {}
        self.unknown: dict[StoredFile, str] = {}
        self.remedies: dict[str, str] = {}

    def mark_unknown(self, files: Iterable[StoredFile], error: StorageError) -> None:
        """Record that these files could not be looked up."""
        self.remedies[error.code] = error.remedy
        self.unknown |= dict.fromkeys(files, error.code)


def check_files(
    settings: Settings,
    *,
    sample: int | None = SAMPLE,
    kinds: Sequence[Kind] = KINDS,
    chance: random.Random | None = None,
    on_progress: Callable[[str, int, int], None] = lambda _step, _done, _total: None,
) -> list[FileCheck]:
    """Look up the files of rows of Nexus.

    Args:
        sample: size of a random sample of each kind; None for all files, by listing.
        chance: draws the sample.
        on_progress: receives the step, the number of files that are done, and the total.

    Raises:
        SettingsError: S3 is not configured.
    """
    lots = {kind: _Sample(sample, chance or random.Random()) for kind in kinds}  # noqa: S311  # a sample, no secret
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        for file in read_files(cursor, catalogue, settings.s3_bucket or ""):
            if file.kind in lots:
                lots[file.kind].put(file)
    wanted = [file for lot in lots.values() for file in lot.drawn()]
    on_progress("files", 0, len(wanted))  # a server that is down is waited for
    look = look_up_by_listing if sample is None else look_up_each
    answers = look(settings, wanted, lambda done: on_progress("files", done, len(wanted)))
    chance = chance or random.Random()  # noqa: S311  # a sample, no secret
    return [_summary(kind, lot, answers, _open_some(settings, lot, answers, chance)) for kind, lot in lots.items()]


class _Sample:
    """A random sample of the files of one kind, by reservoir sampling (Vitter's algorithm R).

    Args:
        size: of the sample; None keeps all files.
    """

    def __init__(self, size: int | None, chance: random.Random) -> None:
        self.rows = 0
        self.without_key: list[str] = []
        self._size, self._chance = size, chance
        self._named = 0
        self._drawn: list[tuple[int, StoredFile]] = []

    def put(self, file: StoredFile) -> None:
        """Add the next file."""
        self.rows += 1
        if not file.key:
            self.without_key.append(file.row_id)
            return
        self._named += 1
        if self._size is None or len(self._drawn) < self._size:
            self._drawn.append((self._named, file))
        elif (place := self._chance.randrange(self._named)) < self._size:
            self._drawn[place] = (self._named, file)

    def drawn(self) -> list[StoredFile]:
        """Return the sample in the order of the rows."""
        return [file for _, file in sorted(self._drawn, key=lambda each: each[0])]


def read_files(
    cursor: Cursor, catalogue: Catalogue, bucket: str, *, rows: Sequence[str] | None = None
) -> Iterator[StoredFile]:
    """Yield the file of every row of Nexus; documents and images without a key are included.

    Args:
        bucket: for rows that name none.
        rows: only the rows with these Nexus ids.
    """
    sources: tuple[tuple[Kind, str, str, str], ...] = (
        ("documents", DOCUMENTS, "s3_key", "file_size"),
        ("images", IMAGES, "s3_key", "file_size"),
        ("thumbnails", IMAGES, "s3_thumbnail_key", "thumbnail_size"),
    )
    for kind, name, column, size in sources:
        table = catalogue.table(name)
        columns = catalogue.columns.get(table, {})
        if column not in columns:
            continue
        where = sql.SQL("WHERE id = ANY(%s::uuid[]) ") if rows is not None else sql.SQL("")
        own = sql.SQL("coalesce(nullif(s3_bucket, ''), %s)") if "s3_bucket" in columns else sql.SQL("%s")
        # A server-side cursor: the rows are not all kept in memory.
        with cursor.connection.cursor(f"files_{kind}") as reading:
            reading.itersize = ROWS_A_FETCH
            reading.execute(
                sql.SQL("SELECT id::text, {}, coalesce({}, ''), {} FROM {} {}ORDER BY id").format(
                    own,
                    sql.Identifier(column),
                    sql.Identifier(size) if size in columns else sql.SQL("NULL::integer"),
                    table.identifier,
                    where,
                ),
                (bucket, list(rows)) if rows is not None else (bucket,),
            )
            for row_id, of_row, key, bytes_of_row in reading:
                if key or kind != "thumbnails":
                    yield StoredFile(kind, row_id, of_row, key, bytes_of_row)


def look_up_by_listing(
    settings: Settings, files: Sequence[StoredFile], on_progress: Callable[[int], None] = lambda _done: None
) -> LookupResult:
    """Look up many files by listing their top folders: one request for a thousand objects."""
    answers = _check_buckets(settings, files)
    by_place: dict[tuple[str, str], dict[str, list[StoredFile]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        if file not in answers.unknown:
            folder, slash, _ = file.key.partition("/")
            by_place[file.bucket, folder + slash][file.key].append(file)
    for (bucket, prefix), wanted in by_place.items():
        try:
            for number, found in enumerate(answers.buckets[bucket].list(prefix), start=1):
                for file in wanted.pop(found.key, ()):
                    answers.exists[file] = True
                if number % KEYS_A_REPORT == 0:
                    on_progress(len(answers.exists) + len(answers.unknown))
        except StorageError as error:
            answers.mark_unknown((file for same in wanted.values() for file in same), error)
        else:
            answers.exists |= {file: False for same in wanted.values() for file in same}
        on_progress(len(answers.exists) + len(answers.unknown))
    return answers


def look_up_each(
    settings: Settings, files: Sequence[StoredFile], on_progress: Callable[[int], None] = lambda _done: None
) -> LookupResult:
    """Look up a few files: one request each, several at a time."""
    answers = _check_buckets(settings, files)

    def look(file: StoredFile) -> tuple[StoredFile, bool | StorageError]:
        try:
            return file, answers.buckets[file.bucket].exists(file.key)
        except StorageError as error:
            return file, error

    with ThreadPoolExecutor(settings.s3_concurrency) as pool:
        for file, found in pool.map(look, [file for file in files if file not in answers.unknown]):
            if isinstance(found, StorageError):
                answers.mark_unknown([file], found)
            else:
                answers.exists[file] = found
            on_progress(len(answers.exists) + len(answers.unknown))
    return answers


def _check_buckets(settings: Settings, files: Sequence[StoredFile]) -> LookupResult:
    """Check each bucket that the files name; files of a bucket that cannot be read are recorded as unknown.

    So a bucket that cannot be read causes one failed request and not one for each file.
    """
    answers = LookupResult()
    client = make_client(settings)
    for name in {file.bucket for file in files}:
        bucket = Bucket(client, name, settings.s3_bulk_prefix)
        try:
            if not name:
                raise StorageError("No bucket is named.", code=NO_BUCKET, remedy="Set S3_BUCKET.")
            bucket.check_access()
        except StorageError as error:
            answers.mark_unknown([file for file in files if file.bucket == name], error)
        else:
            answers.buckets[name] = bucket
    return answers


def _open_some(
    settings: Settings, lot: _Sample, answers: LookupResult, chance: random.Random
) -> dict[StoredFile, int | str]:
    """Open some of the existing files; return their sizes, or S3's code for one that cannot be opened."""
    there = [file for file in lot.drawn() if answers.exists.get(file)]

    def opened(file: StoredFile) -> int | str:
        try:
            return retry(
                lambda: answers.buckets[file.bucket].read_beginning(file.key, OPENED_BYTES),
                is_transient=lambda error: isinstance(error, StorageError) and error.code != "AccessDenied",
                pauses=[0] * (TRIES - 1),
            )
        except StorageError as error:
            return error.code or "no code"

    chosen = chance.sample(there, min(OPENED, len(there)))
    with ThreadPoolExecutor(settings.s3_concurrency) as pool:
        return dict(zip(chosen, pool.map(opened, chosen), strict=True))


def _summary(kind: Kind, lot: _Sample, answers: LookupResult, opened: dict[StoredFile, int | str]) -> FileCheck:
    files = lot.drawn()
    refused = {file: found for file, found in opened.items() if isinstance(found, str)}
    denied = next(iter(refused.values())) if set(refused.values()) == {"AccessDenied"} else ""
    no_right = denied if len(refused) == len(opened) else ""
    unknown = Counter(answers.unknown[file] for file in files if file in answers.unknown)
    return FileCheck(
        kind,
        rows=lot.rows,
        looked_at=sum(file in answers.exists for file in files),
        missing=[file.row_id for file in files if answers.exists.get(file) is False],
        without_key=lot.without_key,
        opened=len(opened) - len(refused),
        unreadable={} if no_right else {file.row_id: code for file, code in refused.items()},
        differing=sorted(
            file.row_id
            for file, size in opened.items()
            if isinstance(size, int) and (not size or (file.size and size != file.size))
        ),
        not_opened=no_right,
        not_looked_at=dict(unknown),
        remedies={code: answers.remedies[code] for code in unknown},
    )
