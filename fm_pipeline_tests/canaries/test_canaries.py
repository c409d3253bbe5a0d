"""No value of a record in any file, whatever becomes of a run; and the search finds one that is there."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from pydantic import SecretStr

from fm_pipeline.nexus.backup.backup import make_backup
from fm_pipeline.nexus.backup.files import new_key
from fm_pipeline_tests.canaries.planted import CANARIES, EXPECTED_IN_A_BACKUP, PATIENTS, plant
from fm_pipeline_tests.canaries.scene import Scene, indiscreet_filemaker, scene, user_with_a_lock
from fm_pipeline_tests.canaries.search import find
from fm_pipeline_tests.defs.assets.test_runs import TRANSACTION
from fm_pipeline_tests.support.clinics import DATABASE, RUN_TIME, MigrationBench
from fm_pipeline_tests.support.services import LazyStack

NOBODY = 9  # the discard port: nobody listens
SMTP = {"smtp_host": "127.0.0.1", "smtp_from": "us@clinic.example", "smtp_to": "you@clinic.example"}
LAST_NAME = "last name"


def _json(path: Path, text: str) -> None:
    path.write_text(json.dumps({"outer": json.dumps({"name": text})}))


def _sqlite(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (?)", ("x" * 5000 + text + "x" * 5000,))
        connection.execute("INSERT INTO t VALUES (?)", (zlib.compress(text.encode()),))


def _mail(path: Path, text: str) -> None:
    body = base64.encodebytes(f"Dear administrator, {text}\n".encode()).decode()
    head = "Subject: x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    path.with_suffix(".eml").write_text(head + body)


WAYS_TO_WRITE: dict[str, Callable[[Path, str], object]] = {
    "UTF-8": lambda path, text: path.write_text(text, encoding="utf-8"),
    "upper case": lambda path, text: path.write_text(text.upper(), encoding="utf-8"),
    "UTF-16": lambda path, text: path.write_text(text, encoding="utf-16"),
    "JSON in JSON": _json,
    "percent": lambda path, text: path.write_text(f"GET /?name={quote(text)}"),
    "base64": lambda path, text: path.write_bytes(base64.b64encode(b"before" + text.encode() + b"after")),
    "gzip": lambda path, text: path.write_bytes(gzip.compress(text.encode())),
    "SQLite": _sqlite,
    "a mail": _mail,
    "a folder's name": lambda path, text: path.with_name(text).mkdir(),
}


@pytest.mark.parametrize("way", WAYS_TO_WRITE)
def test_the_search_finds_every_canary_however_it_was_written(tmp_path: Path, way: str) -> None:
    for number, (name, text) in enumerate(CANARIES.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "other.txt").write_text("nothing here")
        assert find(folder, CANARIES) == []
        WAYS_TO_WRITE[way](folder / "file", text)
        assert {found.name for found in find(folder, CANARIES)} == {name}
    assert find(tmp_path, CANARIES, allowed=[tmp_path / str(number) for number in range(len(CANARIES))]) == []


def test_no_value_of_a_record_is_in_any_file_after_successes_failures_and_a_kill(
    bench: MigrationBench,
    stack: LazyStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.chdir(tmp_path)  # no .env of this checkout
    plant(bench)
    bench = bench.with_settings(backup_key=SecretStr(new_key()))
    with scene(bench, tmp_path, stack.postgresql) as place:
        place.set_database(log_statement="all")
        assert place.graph().run("plan_reimport").success
        _search_log(place)
        place.set_database(log_statement=None, log_min_messages="fatal", log_error_verbosity="terse")
        _fail_in_the_transaction(place)
        _fail_while_reading_and_staging(place)
        place.keep("postgresql", place.new_log())  # errors quote rows: the role's settings must keep them out
        place.set_database(log_statement="all", log_min_messages=None, log_error_verbosity=None)
        _succeed(place, stack)
        _use_the_commands(place)
        _search_log(place)
        mails = [path.read_bytes() for path in stack.mail.folder.glob("*.eml")]
        for number, mail in enumerate(mails):
            (place.outputs / f"{number}.eml").write_bytes(mail)
        assert mails
        _search_everything(place, "".join(capfd.readouterr()) + caplog.text)
        _what_is_searched_is_there(place)


def _search_log(place: Scene) -> None:
    """With every statement logged: ours hold no value (COPY sends rows, not text)."""
    log = place.new_log()
    assert "statement: COPY" in log
    place.keep("postgresql", log)


def _fail_in_the_transaction(place: Scene) -> None:
    bench = place.bench
    graph = place.graph()
    permission = graph.permission()

    bench.execute("ALTER TABLE patients ADD CONSTRAINT odd CHECK (last_name <> %s) NOT VALID", CANARIES[LAST_NAME])
    assert "CheckViolation" in place.failure(graph.run("__ASSET_JOB", assets=["reimport_plan"]))
    bench.execute("ALTER TABLE patients DROP CONSTRAINT odd")

    bench.execute(
        "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no: %', NEW; END $$;"
        "CREATE TRIGGER odd BEFORE INSERT OR UPDATE ON patients FOR EACH ROW EXECUTE FUNCTION odd()"
    )
    assert "RaiseException" in place.failure(graph.run("__ASSET_JOB", assets=["reimport_plan"]))
    assert place.command("plan")[0] == 1
    bench.execute("DROP FUNCTION odd CASCADE")

    with user_with_a_lock(bench, "UPDATE notes SET content = %s", CANARIES["note"]):
        hasty = place.graph(nexus_lock_timeout_seconds=0.5)
        assert "Nexus web" in place.failure(hasty.run("__ASSET_JOB", assets=["reimport_plan"]))

    bench.execute(
        "UPDATE patients SET mrn = %s WHERE mrn = %s", CANARIES["record number"] + "X", CANARIES["record number"]
    )
    without_mail = place.graph(**SMTP, smtp_port=NOBODY, smtp_security="none")
    stale = without_mail.run("__ASSET_JOB", assets=TRANSACTION, config=permission)
    assert "stale" in place.failure(stale)
    bench.execute(
        "UPDATE patients SET mrn = %s WHERE mrn = %s", CANARIES["record number"], CANARIES["record number"] + "X"
    )

    not_a_folder = place.folder / "not-a-folder"
    not_a_folder.touch()
    assert "backup" in place.failure(place.graph(backup_dir=not_a_folder).run("__ASSET_JOB", assets=["nexus_backup"]))


def _fail_while_reading_and_staging(place: Scene) -> None:
    bench, graph = place.bench, place.graph()

    # COPY's CONTEXT shows the whole line.
    bench.execute(
        "ALTER TABLE fm_pipeline.staged_notes ADD CONSTRAINT odd CHECK (content <> %s) NOT VALID", CANARIES["note"]
    )
    assert "CheckViolation" in place.failure(graph.run("__ASSET_JOB", assets=["staged_notes"]))
    bench.execute("ALTER TABLE fm_pipeline.staged_notes DROP CONSTRAINT odd")

    words = f"Field validation refused the value {CANARIES[LAST_NAME]}, {CANARIES['phone']}"
    refusal = json.dumps({"messages": [{"code": "500", "message": words}], "response": {"data": words}})
    answers = (
        (500, "application/json", refusal, "FileMaker"),
        (200, "text/html", f"<html>{words}</html>", "is not the Data API's"),
    )
    for status, kind, body, sentence in answers:
        with indiscreet_filemaker(status, kind, body) as url:
            asked = place.graph(filemaker_url=url).run("__ASSET_JOB", assets=["filemaker_patients"])
            assert sentence in place.failure(asked)
            assert place.command("check", filemaker_url=url)[0] == 1

    bench.stand_in.disturb("cut", of=["records"])  # half a page of records, then the connection ends
    assert graph.run("__ASSET_JOB", assets=["filemaker_patients"]).success

    first, twice = PATIENTS
    sound = {
        record: {"id": filemaker_id, "clinic_name": clinic}
        for record, filemaker_id, clinic in bench.execute(
            "SELECT record_id, fields ->> 'filemaker_id', fields ->> 'clinic' FROM fm_pipeline.source_records"
            " WHERE entity = 'patient'"
        )
    }
    edit = bench.store.edit
    edit(DATABASE, "Patients", 1, {"clinic_name": CANARIES["clinic as typed"]})
    edit(DATABASE, "Patients", first, {"health_number": CANARIES["health number"] * 5})
    edit(DATABASE, "Patients", twice, {"id": sound[first]["id"]})
    staging = ["filemaker_patients", "filemaker_contact_details", "crosswalk", "staged_patients"]
    said = place.failure(graph.run("__ASSET_JOB", assets=staging))
    for rule in ("clinic_unknown", "value_too_long", "filemaker_id_twice"):
        assert rule in said
    assert place.command("check", "--full")[0] == 1
    edit(DATABASE, "Patients", 1, sound[1])
    edit(DATABASE, "Patients", first, {"health_number": CANARIES["health number"]})
    edit(DATABASE, "Patients", twice, sound[twice])


def _succeed(place: Scene, stack: LazyStack) -> None:
    mail = {**SMTP, "smtp_port": stack.mail.port, "smtp_security": "none"}
    graph = place.graph(**mail)
    assert graph.run("plan_reimport").success
    assert graph.run("full_reimport", config=graph.permission()).success


def _use_the_commands(place: Scene) -> None:
    assert place.command("check")[0] == 0
    nowhere = {"s3_endpoint_url": f"http://127.0.0.1:{NOBODY}", "s3_bucket": "files", "smtp_port": NOBODY}
    exit_code, said = place.command("check", **nowhere, **SMTP)
    assert exit_code == 1
    assert "S3" in said
    exit_code, said = place.command("plan", "--json")
    assert exit_code == 0
    plan = json.loads(said[said.index("{\n") :])
    place.kill_a_reimport(plan["id"], plan["confirm"])
    assert place.command("reimport", "--plan", plan["id"], "--confirm", "wrong words")[0] == 1
    assert place.command("reimport", "--plan", plan["id"], "--confirm", plan["confirm"])[0] == 0
    assert place.command("status")[0] == 0
    exit_code, said = place.command("backup")
    assert exit_code == 0
    assert place.command("backup", "--list")[0] == 0
    assert place.command("restore", said.strip().splitlines()[-1], "--dry-run")[0] == 0


def _search_everything(place: Scene, printed: str) -> None:
    place.keep("printed", printed)
    source = [path for path in place.folder.iterdir() if path.name.startswith("filemaker.sqlite")]
    assert find(place.folder, CANARIES, allowed=source) == []


def _what_is_searched_is_there(place: Scene) -> None:
    """Check that the search covered all kinds of files, and that it finds canaries."""
    folder, bench = place.folder, place.bench
    kept = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert {".age", ".csv", ".db", ".eml", ".err", ".json", ".md", ".out", ".sqlite", ".txt"} <= kept
    assert {found.name for found in find(folder, CANARIES)} >= {LAST_NAME, "phone", "note"}
    (place.outputs / "left.txt").write_text(f"oops: {CANARIES['phone']}")
    assert [(found.path, found.name) for found in find(place.outputs, CANARIES)] == [("left.txt", "phone")]
    # A backup without a key holds everything, which is why it is given one.
    plain = folder / "plain"
    make_backup(bench.with_settings(backup_key=None, backup_dir=plain).settings, now=RUN_TIME)
    assert {found.name for found in find(plain, CANARIES)} == EXPECTED_IN_A_BACKUP
    # What a server logs of an error by default: its log must be kept from that by settings of the role.
    place.new_log()
    bench.execute("ALTER TABLE patients ADD CONSTRAINT odd CHECK (title IS NULL) NOT VALID")
    with pytest.raises(psycopg2.errors.CheckViolation):
        bench.execute("UPDATE patients SET title = 'Dr' WHERE last_name = %s", CANARIES[LAST_NAME])
    assert CANARIES["health number"] in place.new_log()
