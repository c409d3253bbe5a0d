"""Backups: one snapshot, nothing in plain when there is a key, and no half a backup that looks like a whole one."""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from pydantic import SecretStr

from fm_pipeline.errors import DatabaseError, PipelineError, SettingsError
from fm_pipeline.nexus.backup import rows
from fm_pipeline.nexus.backup.backup import Backup, backup_folder, list_backups, make_backup
from fm_pipeline.nexus.backup.files import BackupStop, new_key, read_key
from fm_pipeline.nexus.backup.manifest import read_manifest
from fm_pipeline.nexus.backup.restore import restore
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.references import touched_tables
from fm_pipeline.nexus.table_policy import make_policy
from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT
from fm_pipeline.sequence.reimport import reimport
from fm_pipeline_tests.support.clinics import RUN_TIME, MigrationBench

CANARY = "Zebedee Quagmire 0400 555 019"


def backup(bench: MigrationBench, **options: Any) -> Backup:
    return make_backup(bench.settings, now=RUN_TIME, **options)


def leftovers(bench: MigrationBench) -> list[str]:
    """Names of everything in the folder of the backups."""
    return sorted(path.name for path in backup_folder(bench.settings).glob("*"))


def test_a_backup_holds_every_table_that_a_reimport_can_touch_as_it_is(nexus: MigrationBench) -> None:
    """Also before anything was staged; its digests are those that the reimport compares under its locks."""
    made = backup(nexus)
    now = nexus.digests()
    ours = {"fm_pipeline.crosswalk", "fm_pipeline.retired_patient_ids"}
    assert {name: now[name] for name in made.digests if name not in ours} == {
        name: digest for name, digest in made.digests.items() if name not in ours
    }
    with nexus.connection() as connection, connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, "public")
        policy = make_policy(
            catalogue, ("patient", "appointment", "note", "sms_message"), letters="delete", reminders="delete"
        )
        touched = {str(table) for table in touched_tables(cursor, policy, {})}
    assert set(made.digests) == touched | ours
    assert "xero_invoices" in touched
    assert list_backups(nexus.settings) == [made]
    assert made.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made.folder.iterdir()} == {0o600}
    assert made.bytes == sum(path.stat().st_size for path in made.folder.iterdir())


@pytest.mark.usefixtures("staged_once")
def test_a_reimport_finds_the_backup_that_was_made_before_it(bench: MigrationBench) -> None:
    permission = bench.permission(bench.plan())
    made = backup(bench)
    reimport(bench.settings, now=RUN_TIME, permission=permission)
    assert bench.execute("SELECT backup_id::text FROM fm_pipeline.reimports") == [(made.id,)]


def test_a_backup_is_one_snapshot_while_a_user_writes(nexus: MigrationBench) -> None:
    before = nexus.digests()
    wrote = []

    def write(step: str, done: int, total: int) -> None:
        if (step, done) == ("write", 1):  # the patients are written, the appointments are not
            nexus.execute("DELETE FROM notes WHERE id IN (SELECT id FROM notes LIMIT 3)")
            nexus.execute("UPDATE patients SET title = 'Dr'; UPDATE appointments SET reason = 'changed meanwhile'")
            wrote.append(done)

    made = backup(nexus, on_progress=write)
    assert wrote == [1]
    assert nexus.digests() != before
    assert {name: made.digests[name] for name in ("patients", "appointments", "notes")} == {
        name: before[name] for name in ("patients", "appointments", "notes")
    }


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every path that this process opens for writing, or makes, meanwhile."""
    paths: list[str] = []
    listening = [True]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "open" and isinstance(arguments[2], int):
            path, _, flags = arguments
            if isinstance(path, str | Path) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                paths.append(str(path))

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of a module that is imported late: no work of a backup
    sys.addaudithook(hook)  # stays for the life of the process: it can only be told to be silent
    yield paths
    listening.clear()


def test_with_a_key_nothing_in_plain_ever_touches_the_disk(
    nexus: MigrationBench, opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "temporary"
    empty.mkdir()
    monkeypatch.setenv("TMPDIR", str(empty))
    nexus.execute("UPDATE notes SET content = %s", CANARY)
    key = new_key()
    encrypted = backup(nexus.with_settings(backup_key=SecretStr(key)))
    written = {Path(path).name for path in opened}
    assert written == {path.name for path in encrypted.folder.iterdir()}
    assert all(name.endswith((".age", ".age.sha256")) for name in written)
    assert list(empty.iterdir()) == []
    assert encrypted.encrypted
    canaries = [CANARY.encode(), b"Quagmire", b"patients", b"nexus_id"]
    for path in encrypted.folder.iterdir():
        content = path.read_bytes()
        assert not any(canary in content for canary in canaries)
        if path.suffix == ".age":
            assert content.startswith(b"age-encryption.org/v1\n")
    # The search would find it: whoever has the key can read the file, with age itself too.
    (notes,) = encrypted.folder.glob("*-notes.copy.gz.age")
    plain = gzip.decompress(pyrage.decrypt(notes.read_bytes(), [pyrage.x25519.Identity.from_str(key)]))
    assert CANARY.encode() in plain
    known = str(nexus.execute("SELECT * FROM fm_pipeline.backups")) + str(
        nexus.execute("SELECT * FROM fm_pipeline.audit")
    )
    assert "Quagmire" not in known
    assert key not in known


def test_a_key_that_is_none_is_refused_without_repeating_it(nexus: MigrationBench) -> None:
    with pytest.raises(SettingsError, match="BACKUP_KEY") as caught:
        backup(nexus.with_settings(backup_key=SecretStr("hunter2")))
    assert "hunter2" not in str(caught.value)
    assert leftovers(nexus) == []


@pytest.mark.hard_case(19)
def test_a_backup_whose_rows_come_back_otherwise_does_not_count(nexus: MigrationBench) -> None:
    def damage(step: str, done: int, total: int | None) -> None:
        if (step, done) == ("verify", 0) and total:  # the files were compared with the manifest, and none is loaded yet
            (folder,) = backup_folder(nexus.settings).glob("*.partial")
            (notes,) = folder.glob("*-notes.copy.gz")
            notes.write_bytes(gzip.compress(gzip.decompress(notes.read_bytes()).replace(b"a", b"e", 1)))

    with pytest.raises(BackupStop, match=r"of notes does not give back .* no backup"):
        backup(nexus, on_progress=damage)
    assert leftovers(nexus) == []
    assert list_backups(nexus.settings) == []
    assert nexus.execute("SELECT outcome FROM fm_pipeline.audit ORDER BY id") == [("started",), ("refused",)]


def test_a_backup_that_cannot_be_recorded_leaves_no_files(nexus: MigrationBench) -> None:
    nexus.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'no room' USING ERRCODE = 'disk_full'; END $$;"
        "CREATE TRIGGER full_disk BEFORE INSERT ON fm_pipeline.backups FOR EACH ROW EXECUTE FUNCTION full_disk()"
    )
    with pytest.raises(DatabaseError, match="53100"):
        backup(nexus)
    assert leftovers(nexus) == []


def test_the_scratch_tables_are_gone_afterwards_also_when_it_failed(nexus: MigrationBench) -> None:
    schemas = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_' ORDER BY 1"
    before = nexus.execute(schemas)
    backup(nexus)

    def fail(step: str, done: int, total: int) -> None:
        if (step, done) == ("verify", 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(nexus, on_progress=fail)
    assert nexus.execute(schemas) == before
    assert nexus.execute("SELECT relname FROM pg_class WHERE relname LIKE 'backup\\_%%' AND relkind = 'r'") == []
    assert nexus.execute("SELECT outcome FROM fm_pipeline.audit ORDER BY id DESC LIMIT 1") == [("cancelled",)]


def test_ctrl_c_while_a_file_of_the_backup_is_read_is_no_damaged_backup(
    nexus: MigrationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            signal.raise_signal(signal.SIGINT)
            return b""

    monkeypatch.setattr(rows, "open_for_reading", lambda *_: Interrupting())
    with pytest.raises(KeyboardInterrupt):
        backup(nexus)
    assert nexus.execute("SELECT outcome FROM fm_pipeline.audit ORDER BY id DESC LIMIT 1") == [("cancelled",)]


def run_python(bench: MigrationBench, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, with the settings of the bench."""
    environment |= {
        "PATH": os.defpath,
        # With a limit on the size of files, the interpreter would leave cut files of its own.
        "PYTHONDONTWRITEBYTECODE": "1",
        "NEXUS_DATABASE_URL": bench.database_url,
        "STATE_DIR": str(bench.settings.state_dir),
    }
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], cwd=PACKAGE_PARENT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("step", ["write", "verify"])
@pytest.mark.hard_case(14)
def test_a_backup_that_was_killed_is_none_and_the_next_one_clears_up(nexus: MigrationBench, step: str) -> None:
    killed = run_python(
        nexus,
        "import os, signal, datetime; from fm_pipeline.settings import load_settings\n"
        "from fm_pipeline.nexus.backup.backup import make_backup\n"
        "make_backup(load_settings(), now=datetime.datetime.now(datetime.UTC), on_progress=lambda step, done, total:"
        f" os.kill(os.getpid(), signal.SIGKILL) if (step, done) == ({step!r}, 3) else None)",
    )
    assert killed.returncode == -signal.SIGKILL
    (left,) = leftovers(nexus)
    assert left.endswith(".partial")
    assert list_backups(nexus.settings) == []
    made = backup(nexus)
    assert leftovers(nexus) == [made.folder.name]


@pytest.mark.parametrize("key", ["", new_key()], ids=["plain", "encrypted"])
@pytest.mark.hard_case(19)
def test_a_full_disk_is_reported_before_nexus_is_changed(nexus: MigrationBench, key: str) -> None:
    before = nexus.digests()
    refused = run_python(
        nexus,
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from fm_pipeline.cli.main import main; main(['backup'])",
        BACKUP_KEY=key,
    )
    assert refused.returncode == 1, refused.stderr
    assert "The backup could not be written: File too large.\nNothing was changed in Nexus.\n" in refused.stderr
    assert leftovers(nexus) == []
    assert list_backups(nexus.settings) == []
    assert nexus.digests() == before


@pytest.mark.hard_case(19)
def test_a_folder_that_cannot_be_created_is_reported(nexus: MigrationBench, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("in the way")
    with pytest.raises(BackupStop, match=r"could not be written: .*BACKUP_DIR"):
        backup(nexus.with_settings(state_dir=tmp_path / "a file"))
    assert nexus.execute("SELECT outcome FROM fm_pipeline.audit ORDER BY id") == [("started",), ("refused",)]


def test_a_second_backup_into_the_same_folder_is_refused_while_one_is_written(nexus: MigrationBench) -> None:
    refusals = []

    def second(step: str, done: int, total: int) -> None:
        if (step, done) == ("write", 2):
            with pytest.raises(BackupStop, match="Another backup") as caught:
                backup(nexus)
            refusals.append(caught.value)

    made = backup(nexus, on_progress=second)
    assert len(refusals) == 1
    assert list_backups(nexus.settings) == [made]


@pytest.mark.hard_case(16)
def test_rows_that_a_policy_hides_make_it_fail_instead_of_missing_rows(nexus: MigrationBench) -> None:
    """Under row level security a plain SELECT would leave rows out and say nothing."""
    nexus.execute(
        "DROP ROLE IF EXISTS narrow; CREATE ROLE narrow LOGIN PASSWORD 'narrow';"
        "GRANT USAGE ON SCHEMA public, fm_pipeline TO narrow;"
        "GRANT USAGE ON SEQUENCE fm_pipeline.audit_id_seq TO narrow;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, fm_pipeline TO narrow"
    )
    user, _, rest = nexus.database_url.partition("@")
    narrow = nexus.with_settings(nexus_database_url=SecretStr(f"{user.partition('//')[0]}//narrow:narrow@{rest}"))
    try:
        made = backup(narrow)  # the rights that SECURITY.md asks for are enough
        nexus.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON notes USING (false)")
        with pytest.raises(DatabaseError, match="42501"):
            backup(narrow)
        assert list_backups(nexus.settings) == [made]
    finally:
        nexus.execute("DROP OWNED BY narrow; DROP ROLE narrow")


def test_a_clock_that_was_once_wrong_does_not_hide_the_backup_of_the_rows(nexus: MigrationBench) -> None:
    made_in_the_future = RUN_TIME + timedelta(days=400)
    make_backup(nexus.settings, now=made_in_the_future)
    nexus.execute("UPDATE patients SET mrn = 'edited' WHERE id = (SELECT min(id::text)::uuid FROM patients)")
    nexus.extract_and_stage()
    assert nexus.reimport().committed


def _flip(offset: float) -> Callable[[bytes], bytes]:
    def flipped(content: bytes) -> bytes:
        at = min(int(len(content) * offset), len(content) - 1)
        return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]

    return flipped


DAMAGES = {f"a bit at {offset:.0%}": _flip(offset) for offset in (0.0, 0.001, 0.5, 0.9, 1.0)} | {
    "cut in half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "empty": lambda content: b"",
    "with a byte more": lambda content: content + b"\n",
}


def _is_refused(folder: Path, key: pyrage.x25519.Identity | None) -> bool:
    try:
        read_manifest(folder, key)
    except BackupStop as stop:
        return "Nothing was changed" in stop.meaning
    return False


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.hard_case(19)
def test_a_damaged_backup_is_refused_wherever_the_damage_is(nexus: MigrationBench, encrypted: bool) -> None:
    """Each file in turn, each damage in turn; a file that is missing, one too many, no key, another key."""
    nexus = nexus.with_settings(backup_key=SecretStr(new_key()) if encrypted else None)
    made = backup(nexus)
    key = read_key(nexus.settings)
    assert read_manifest(made.folder, key).digests == made.digests
    (patients,) = made.folder.glob("*-patients.copy.gz*")
    manifest = made.folder / ("manifest.json.age" if encrypted else "manifest.json")
    checksum = made.folder / f"{manifest.name}.sha256"
    for path in (patients, manifest, checksum):
        whole = path.read_bytes()
        for name, damaged in DAMAGES.items():
            path.write_bytes(damaged(whole))
            assert _is_refused(made.folder, key), f"{path.name} {name} was taken for a backup"
        path.unlink()
        with pytest.raises(BackupStop, match=r"lacks|has no manifest"):
            restore(nexus.settings, made.folder, confirm="", dry_run=True)
        path.write_bytes(whole)
    (made.folder / "extra").touch()
    with pytest.raises(BackupStop, match="does not name"):
        restore(nexus.settings, made.folder, confirm="", dry_run=True)
    (made.folder / "extra").unlink()
    if encrypted:
        with pytest.raises(BackupStop, match="encrypted with another key"):
            restore(
                nexus.with_settings(backup_key=SecretStr(new_key())).settings, made.folder, confirm="", dry_run=True
            )
        with pytest.raises(BackupStop, match=r"is encrypted.*Set BACKUP_KEY"):
            restore(nexus.with_settings(backup_key=None).settings, made.folder, confirm="", dry_run=True)
    restore(nexus.settings, made.folder, confirm="", dry_run=True)
    with pytest.raises(PipelineError, match="could not be read"):
        read_manifest(made.folder / "nowhere", key)
