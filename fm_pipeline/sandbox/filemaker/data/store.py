"""Stores FileMaker files in one SQLite file, which survives a kill of the server.

Every table has one SQLite table: `record_id`, `mod_id`, and for each repetition of a field the text (`v…`) and its sort
key (`k…`) for finds and sorts. Indexes on keys are created when a find first needs them, as in FileMaker. Definitions
are read for each request, so another process may change them.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from fm_pipeline.sandbox.filemaker.data import container_files, sql_functions, values
from fm_pipeline.sandbox.filemaker.data.schema import (
    FieldDefinition,
    LayoutDefinition,
    Occurrence,
    Portal,
    Script,
    ServerAccount,
    StoredContainerFile,
)

_CATALOGUE = """
CREATE TABLE IF NOT EXISTS file (name TEXT PRIMARY KEY, locale TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS account (
    file TEXT, name TEXT COLLATE NOCASE, salt BLOB NOT NULL, hash BLOB NOT NULL, definition TEXT NOT NULL,
    PRIMARY KEY (file, name));
CREATE TABLE IF NOT EXISTS fm_table (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file TEXT, name TEXT, definition TEXT NOT NULL, UNIQUE (file, name));
CREATE TABLE IF NOT EXISTS occurrence (
    file TEXT, base TEXT, name TEXT, definition TEXT NOT NULL, PRIMARY KEY (file, base, name));
CREATE TABLE IF NOT EXISTS layout (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file TEXT, name TEXT, definition TEXT NOT NULL, UNIQUE (file, name));
CREATE TABLE IF NOT EXISTS script (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file TEXT, name TEXT, definition TEXT NOT NULL, UNIQUE (file, name));
"""
# The stand-in's passwords are as public as its data; the hash only keeps them out of a file that may be shared.
_HASH_ROUNDS = 1000


@dataclass(frozen=True)
class StoreTable:
    """A table in the store: the SQLite table of its rows, and its fields by name."""

    id: int
    name: str
    fields: Mapping[str, FieldDefinition]

    @property
    def rows(self) -> str:
        """Name of the SQLite table with the records."""
        return f"rows_{self.id}"

    def column(self, field: str, repetition: int = 1) -> str:
        """Return the SQLite column with the text of a field."""
        return f"v{list(self.fields).index(field)}_{repetition}"

    def key(self, field: str, repetition: int = 1) -> str:
        """Return the SQLite column with the sort key of a field."""
        return f"k{list(self.fields).index(field)}_{repetition}"

    def cells(self) -> list[tuple[FieldDefinition, int]]:
        """Return every field with each of its repetitions, in the order of the columns."""
        return [(field, n) for field in self.fields.values() for n in range(1, field.repetitions + 1)]


class Store:
    """The files of one stand-in server.

    Args:
        path: the SQLite file; created if it does not exist. Safe for several threads and processes.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._indexed: set[str] = set()
        self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.row_factory = sqlite3.Row
        sql_functions.register(self._db)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _CATALOGUE)
        self._db.executescript(container_files.TABLE)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block in one transaction; an exception rolls it back. A nested block joins the outer one."""
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for reading only."""
        with self._lock:
            yield self._db

    # Making files

    def create_database(
        self, name: str, accounts: Iterable[ServerAccount] = (), locale: values.Locale | None = None
    ) -> None:
        """Create a file (named without `.fmp12`) with its accounts, or change the locale of an existing one."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO file VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET locale = excluded.locale",
                (name, json.dumps(asdict(locale or values.Locale()))),
            )
            for account in accounts:
                self.add_account(name, account)

    def add_account(self, db: str, account: ServerAccount) -> None:
        """Add an account, or change its password and privileges; create the file if it is missing."""
        salt = secrets.token_bytes(16)
        rights = {"privileges": list(account.privileges), "no_access": dict(account.no_access)}
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO file VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                (db, json.dumps(asdict(values.Locale()))),
            )
            connection.execute(
                "INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?, ?)",
                (db, account.name, salt, _hash(account.password, salt), json.dumps(rights)),
            )

    def create_table(self, db: str, table: str, fields: Iterable[FieldDefinition]) -> None:
        """Create an empty table. Raises sqlite3.IntegrityError if the file already has one of that name."""
        fields = list(fields)
        with self.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO fm_table (file, name, definition) VALUES (?, ?, ?)",
                (db, table, json.dumps([asdict(field) for field in fields])),
            )
            made = StoreTable(cursor.lastrowid or 0, table, {field.name: field for field in fields})
            columns = "".join(
                f", {made.column(field.name, n)} TEXT NOT NULL DEFAULT '', {made.key(field.name, n)}"
                for field, n in made.cells()
            )
            # AUTOINCREMENT: a record id is never reused, also after a delete.
            connection.execute(
                f"CREATE TABLE {made.rows} "
                f"(record_id INTEGER PRIMARY KEY AUTOINCREMENT, mod_id INTEGER NOT NULL DEFAULT 0{columns})"
            )

    def create_occurrence(self, db: str, table: str, name: str, related_table: str, match: tuple[str, str]) -> None:
        """Relate `table` to `related_table`, under the name of a table occurrence, where `match` is equal."""
        made = Occurrence(name, table, related_table, match)
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO occurrence VALUES (?, ?, ?, ?)",
                (db, table, name, json.dumps(asdict(made))),
            )

    def create_layout(
        self,
        db: str,
        layout: str,
        table: str,
        fields: Sequence[str],
        portals: Sequence[Portal] = (),
        folder: str | None = None,
        view: str = "form",
        repetitions: Mapping[str, int] | None = None,
    ) -> None:
        """Create or change a layout. The arguments are those of `schema.LayoutDefinition`.

        Raises:
            KeyError: there is no such table, field or occurrence.
        """
        shown = self.table(db, table)
        for name in fields:
            self._check_field(db, shown, name)
        for portal in portals:
            for name in portal.fields:
                self._check_field(db, shown, f"{portal.occurrence}::{name}")
        definition: dict[str, object] = {
            "name": layout,
            "table": table,
            "fields": list(fields),
            "folder": folder,
            "view": view,
            "repetitions": dict(repetitions or {}),
        }
        definition |= {"portals": [asdict(portal) for portal in portals]}
        self._keep(db, "layout", layout, definition)

    def _check_field(self, db: str, table: StoreTable, name: str) -> None:
        *occurrences, plain = name.split("::")
        for occurrence in occurrences:
            table = self.table(db, self.occurrence(db, table.name, occurrence).related_table)
        if plain not in table.fields:
            raise KeyError(f"{table.name} has no field {plain}")

    def create_script(self, db: str, script: Script) -> None:
        """Create a script, or change its result."""
        self._keep(db, "script", script.name, asdict(script))

    def _keep(self, file: str, kind: str, name: str, definition: Mapping[str, object]) -> None:
        with self.transaction() as connection:
            connection.execute(
                f"INSERT INTO {kind} (file, name, definition) VALUES (?, ?, ?) "  # noqa: S608 - our own words
                "ON CONFLICT (file, name) DO UPDATE SET definition = excluded.definition",
                (file, name, json.dumps(definition)),
            )

    def insert(self, db: str, table: str, rows: Iterable[Mapping[str, object]]) -> int:
        """Add records in bulk, in one transaction, in the order given.

        Keys are field names, `name(2)` for a repetition; containers take a `StoredContainerFile`. Dates are ISO or
        MM/DD/YYYY; other text in a date field is kept as it is. Auto-enter fields that a row leaves out get the time
        of the call.

        Returns:
            The number of records added.

        Raises:
            KeyError: the file has no such table, or the table no such field.
        """
        found = self.table(db, table)
        now = datetime.now(UTC).replace(tzinfo=None)
        automatic = {f.name: now for f in found.fields.values() if f.auto_enter in ("creation", "modification")}
        keys = [field.name for field in found.fields.values() if field.auto_enter == "uuid"]
        cells = found.cells()
        names = {cell_name(field.name, n): i for i, (field, n) in enumerate(cells)}
        names |= {field.name: i for i, (field, n) in enumerate(cells) if n == 1}
        columns = ", ".join(f"{found.column(field.name, n)}, {found.key(field.name, n)}" for field, n in cells)
        marks = ", ".join(["?"] * (2 * len(cells)))

        def prepared() -> Iterator[list[object]]:
            for row in rows:
                values_ = [""] * len(cells)
                for name, value in {**automatic, **{key: str(uuid4()).upper() for key in keys}, **row}.items():
                    if name not in names:
                        raise KeyError(f"{table} has no field {name}")
                    values_[names[name]] = self._text(cells[names[name]][0], value)
                pairs = ((text, values.sort_key(cells[i][0].type, text)) for i, text in enumerate(values_))
                yield [part for pair in pairs for part in pair]

        with self.transaction() as connection:
            cursor = connection.executemany(
                f"INSERT INTO {found.rows} ({columns}) VALUES ({marks})",  # noqa: S608 - names of our own making
                prepared(),
            )
            return cursor.rowcount if cursor.rowcount > 0 else 0

    def delete(self, db: str, table: str, record_id: int) -> None:
        """Delete a record, as a user of FileMaker Pro would."""
        rows = self.table(db, table).rows
        with self.transaction() as connection:
            connection.execute(f"DELETE FROM {rows} WHERE record_id = ?", (record_id,))  # noqa: S608

    def edit(self, db: str, table: str, record_id: int, row: Mapping[str, object]) -> None:
        """Change fields of a record, as a user of FileMaker Pro would; its modification id grows by one."""
        found = self.table(db, table)
        texts = {name: self._text(found.fields[name], value) for name, value in row.items()}
        sets = "".join(f", {found.column(name)} = ?, {found.key(name)} = ?" for name in texts)
        pairs = ((text, values.sort_key(found.fields[name].type, text)) for name, text in texts.items())
        with self.transaction() as connection:
            connection.execute(
                f"UPDATE {found.rows} SET mod_id = mod_id + 1{sets} WHERE record_id = ?",  # noqa: S608
                (*(part for pair in pairs for part in pair), record_id),
            )

    def _text(self, field: FieldDefinition, value: object) -> str:
        """Return the text to store; for a container's file its key."""
        if isinstance(value, StoredContainerFile):
            return container_files.keep(self._db, value)
        return values.canonical(field.type, value)

    def index(self, table: StoreTable, key: str) -> None:
        """Create the index on a key column, if it does not exist yet."""
        name = f"{table.rows}_{key}"
        if name in self._indexed:
            return
        with self.transaction() as connection:
            connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table.rows} ({key})")
        self._indexed.add(name)

    # Asking for descriptions

    def databases(self) -> list[str]:
        """Return the names of all files."""
        with self.reading() as db:
            return [row["name"] for row in db.execute("SELECT name FROM file ORDER BY name")]

    def locale(self, db: str) -> values.Locale:
        """Return the date formats of the file."""
        with self.reading() as connection:
            row = connection.execute("SELECT locale FROM file WHERE name = ?", (db,)).fetchone()
        return values.Locale(**json.loads(row["locale"]))

    def account(self, db: str, name: str, password: str) -> ServerAccount | None:
        """Return the account (without its password) if name and password match, else None."""
        with self.reading() as connection:
            row = connection.execute("SELECT * FROM account WHERE file = ? AND name = ?", (db, name)).fetchone()
        if row is None or not secrets.compare_digest(_hash(password, row["salt"]), row["hash"]):
            return None
        return ServerAccount(row["name"], "", **json.loads(row["definition"]))

    def table(self, db: str, name: str) -> StoreTable:
        """Return a table by name. Raises KeyError."""
        with self.reading() as connection:
            row = connection.execute("SELECT * FROM fm_table WHERE file = ? AND name = ?", (db, name)).fetchone()
        if row is None:
            raise KeyError(f"{db} has no table {name}")
        fields = [FieldDefinition(**definition) for definition in json.loads(row["definition"])]
        return StoreTable(row["id"], name, {field.name: field for field in fields})

    def occurrence(self, db: str, base: str, name: str) -> Occurrence:
        """Return the table occurrence of that name, related to table `base`. Raises KeyError."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT definition FROM occurrence WHERE file = ? AND base = ? AND name = ?", (db, base, name)
            ).fetchone()
        if row is None:
            raise KeyError(f"{base} of {db} has no relationship {name}")
        definition = json.loads(row["definition"])
        return Occurrence(**{**definition, "match": tuple(definition["match"])})

    def table_behind(self, db: str, occurrence: str) -> StoreTable | None:
        """Return the table of an occurrence, or None. A table's own name is its first occurrence."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT definition FROM occurrence WHERE file = ? AND name = ?", (db, occurrence)
            ).fetchone()
        try:
            return self.table(db, str(json.loads(row["definition"])["related_table"]) if row else occurrence)
        except KeyError:
            return None

    def layouts(self, db: str) -> list[LayoutDefinition]:
        """Return all layouts of a file, in the order of their creation."""
        with self.reading() as connection:
            rows = connection.execute("SELECT definition FROM layout WHERE file = ? ORDER BY id", (db,))
            return [_layout(row["definition"]) for row in rows]

    def layout(self, db: str, name: str) -> LayoutDefinition | None:
        """Return a layout by name, or None."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT definition FROM layout WHERE file = ? AND name = ? COLLATE NOCASE", (db, name)
            ).fetchone()
        return _layout(row["definition"]) if row else None

    def scripts(self, db: str) -> list[Script]:
        """Return all scripts of a file, in the order of their creation."""
        with self.reading() as connection:
            rows = connection.execute("SELECT definition FROM script WHERE file = ? ORDER BY id", (db,))
            return [Script(**json.loads(row["definition"])) for row in rows]


def cell_name(field: str, repetition: int) -> str:
    """Return the name of one repetition of a field, as FileMaker writes it."""
    return f"{field}({repetition})"


def _layout(definition: str) -> LayoutDefinition:
    parts = json.loads(definition)
    return LayoutDefinition(**{**parts, "portals": [Portal(**portal) for portal in parts["portals"]]})


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _HASH_ROUNDS)
