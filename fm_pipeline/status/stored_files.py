"""Do the files exist that Nexus' rows name, and can they be read? Documents, images, thumbnails, in whatever bucket.

All or a sample are looked for; a few of those that are there are opened, since a listing says nothing of an object that
may not be read, is archived, or was cut off when it was written.

Reads only. A row that names no file, an object that is not there, and a bucket that cannot be read are three things:
what could not be looked at is never called missing.
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
from fm_pipeline.nexus.policy import DOCUMENTS, IMAGES
from fm_pipeline.retry import retry
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import Bucket, make_client

Kind = Literal["documents", "images", "thumbnails"]
KINDS: tuple[Kind, ...] = ("documents", "images", "thumbnails")
NO_BUCKET = "no bucket"  # neither the row nor a setting names one
OPENED = 25  # files of each kind
OPENED_BYTES = 65_536  # of each of them at most
TRIES = 2  # of opening a file: a stream that is cut once says nothing of the object
SAMPLE = 200  # files: a bucket of which a hundredth is gone is noticed seven times in eight
NO_READ_PERMISSION = "the account has no right to read them (s3:GetObject), so that only their names were looked for."
ROWS_A_FETCH = 2000
KEYS_A_REPORT = 1000  # of a listing; as many as S3 gives on a page


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that a row names; `row_id` is the row's Nexus id. Without a key the row names none.

    Attributes:
        size: what the row says; None or 0 if it says nothing.
    """

    kind: Kind
    row_id: str
    bucket: str
    key: str
    size: int | None = None


@dataclass(frozen=True)
class FileCheck:
    """What was found of the files of one kind.

    Attributes:
        rows: that name a file or should; those of thumbnails only if they name one.
        looked_at: files that were looked for and could be answered for.
        missing: Nexus ids of rows whose file does not exist.
        without_key: Nexus ids of rows that name no file.
        opened: files of which the first bytes came.
        unreadable: Nexus ids of rows whose file is there and cannot be opened, with S3's code.
        differing: Nexus ids of rows whose file is empty or has another size than the row says.
        not_opened: S3's code, where the account may open none of the files; that is its rights' fault, not a file's.
        not_looked_at: files of buckets that could not be read, by S3's code.
        remedies: what to do about each of these codes.
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
        """Every file that was to be looked at exists, and those that were opened are as their rows say."""
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
    """Which files exist, and of which nobody can tell (S3's code); the buckets that can be read, by name.

    `remedies` says what to do about each of the codes.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.exists: dict[StoredFile, bool] = {}
        self.unknown: dict[StoredFile, str] = {}
        self.remedies: dict[str, str] = {}

    def mark_unknown(self, files: Iterable[StoredFile], error: StorageError) -> None:
        """S3 did not tell of these files."""
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
    """Look for the files of Nexus' rows.

    Args:
        sample: how many of each kind, drawn by lot; None for all of them, by listing.
        chance: draws the lot.
        on_progress: gets the step, how many files are answered for, and of how many.

    Raises:
        SettingsError: S3 is not set up.
    """
    lots = {kind: _Sample(sample, chance or random.Random()) for kind in kinds}  # noqa: S311  # a sample, no secret
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        for file in read_files(cursor, catalogue, settings.s3_bucket or ""):
            if file.kind in lots:
                lots[file.kind].put(file)
    wanted = [file for lot in lots.values() for file in lot.drawn()]
    on_progress("files", 0, len(wanted))  # a server that is away is waited for
    look = look_up_by_listing if sample is None else look_up_each
    answers = look(settings, wanted, lambda done: on_progress("files", done, len(wanted)))
    chance = chance or random.Random()  # noqa: S311  # a sample, no secret
    return [_summary(kind, lot, answers, _open_some(settings, lot, answers, chance)) for kind, lot in lots.items()]


class _Sample:
    """Files of one kind: how many there are, and those that are drawn, without holding the others.

    Each file that comes has the same chance (Vitter's algorithm R). Without a number all are drawn.
    """

    def __init__(self, size: int | None, chance: random.Random) -> None:
        self.rows = 0
        self.without_key: list[str] = []
        self._size, self._chance = size, chance
        self._named = 0
        self._drawn: list[tuple[int, StoredFile]] = []

    def put(self, file: StoredFile) -> None:
        """The next file."""
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
        """In the order in which they came."""
        return [file for _, file in sorted(self._drawn, key=lambda each: each[0])]


def read_files(
    cursor: Cursor, catalogue: Catalogue, bucket: str, *, rows: Sequence[str] | None = None
) -> Iterator[StoredFile]:
    """Every file that a row of Nexus names; documents and images without a key come too, without one.

    Args:
        bucket: of rows that name none.
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
        # A cursor of the server's: the rows need not be here all at once.
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
    """Look for many files: a request for each thousand objects of the top folders that they lie in."""
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
    """Look for a few files: one request each, several at a time."""
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
    """The buckets that the files name; files of one that cannot be read are unknown from here on.

    So one question tells for each bucket what would else be a failure of each file.
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
    """Open some of the files that are there: their sizes, or S3's code where one cannot be opened."""
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
