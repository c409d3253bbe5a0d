"""Records that were not loaded: a list for everybody, a CSV for administrators, no names."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch, send


def test_everybody_sees_ids_and_counts_and_an_admin_downloads_them(console: Console) -> None:
    viewer, admin = console.session("reception"), console.session("admin")
    ((entity, record_id, filemaker_id, rule),) = console.bench.execute(
        "SELECT entity, record_id, filemaker_id, rule FROM fm_pipeline.staged_outcomes WHERE outcome = 'skipped'"
        " ORDER BY entity, record_id LIMIT 1"
    )
    page = fetch(console, viewer, f"/settings/not-loaded/?entity={entity}&rule={rule}")
    assert filemaker_id in page
    assert "CSV" not in page
    record = f"/settings/not-loaded/{entity}/{record_id}"
    assert rule in fetch(console, viewer, record)
    assert viewer.get(f"{console.url}/settings/not-loaded/csv", timeout=60).status_code == 403

    answer = admin.get(f"{console.url}/settings/not-loaded/csv?entity={entity}", timeout=60)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="not_loaded.csv"'
    head, *rows = csv.reader(io.StringIO(answer.text))
    assert head == ["entity", "record_id", "filemaker_id", "outcome", "rule", "clinic"]
    counted = "SELECT count(*) FROM fm_pipeline.staged_outcomes WHERE outcome <> 'ready' AND entity = %s"
    assert [(len(rows),)] == console.bench.execute(counted, entity)
    recorded = (
        "SELECT count(*) > 0 FROM fm_pipeline.audit WHERE action = 'download' AND detail LIKE '%%(filter: entity)%%'"
    )
    assert console.bench.execute(recorded) == [(True,)]

    for path in ("?page=99999999999", "?page=x", "?entity=%00&clinic=%00", "?clinic=%ED%A0%80"):
        fetch(console, viewer, f"/settings/not-loaded/{path}")
    for path in ("patient/99999999999999999999", "%00/1", "patient/0"):
        fetch(console, viewer, f"/settings/not-loaded/{path}", 404)


def test_a_name_is_refused_unless_the_setting_allows_it(console: Console) -> None:
    ((entity, record_id),) = console.bench.execute(
        "SELECT entity, record_id FROM fm_pipeline.staged_outcomes WHERE outcome = 'skipped' LIMIT 1"
    )
    record = f"/settings/not-loaded/{entity}/{record_id}"
    admin = console.session("admin")
    assert "Show the name" not in fetch(console, admin, record)
    assert "has not allowed it (setting CONSOLE_SHOW_NAMES)" in send(console, admin, f"{record}/name", 403).text
    assert console.bench.execute(
        "SELECT DISTINCT actor, outcome FROM fm_pipeline.audit WHERE action = 'show_names'"
    ) == [("admin", "refused")]
    assert "administrator" in send(console, console.session("reception"), f"{record}/name", 403).text


_OPEN_A_NAME = """
import django
django.setup()
from django.test import Client
from fm_pipeline.sandbox.clinic.nexus.system import SANDBOX_PASSWORD
client = Client()
client.post("/login/", {"username": "manager", "password": SANDBOX_PASSWORD})
page = client.get("/settings/not-loaded/note/990001").content.decode()
name = client.post("/settings/not-loaded/note/990001/name").content.decode()
print("Show the name" in page, "Quollthorpe" in page, "Zephyrine Quollthorpe" in name)
"""


def test_with_the_setting_an_admin_opens_the_name_of_one_record_and_it_is_recorded(console: Console) -> None:
    bench = console.bench
    person = json.dumps({"first_name": "Zephyrine", "last_name": "Quollthorpe"})
    row = "INSERT INTO fm_pipeline.source_records VALUES (%s, 990001, 1, %s, %s, %s)"
    bench.execute(row, "patient", "of a person", None, person)
    bench.execute(row, "note", "of a note", "of a person", "{}")
    bench.execute("INSERT INTO fm_pipeline.staged_outcomes VALUES ('note', 990001, 'N', 'quarantined', 'note_empty')")
    try:
        environment = {
            **os.environ,
            **console.environment,
            "CONSOLE_SHOW_NAMES": "True",
            "CONSOLE_ALLOWED_HOSTS": "testserver",
            "DJANGO_SETTINGS_MODULE": "fm_pipeline.console.django_settings",
        }
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _OPEN_A_NAME], env=environment, capture_output=True, text=True, check=False
        )
    finally:
        for table in ("source_records", "staged_outcomes"):
            bench.execute(f"DELETE FROM fm_pipeline.{table} WHERE record_id = 990001")  # noqa: S608
    assert done.stdout.split() == ["True", "False", "True"], done.stderr
    recorded = "SELECT actor, outcome, detail FROM fm_pipeline.audit WHERE detail LIKE %s"
    assert bench.execute(recorded, "%note record 990001%") == [
        ("manager", "done", "The name of the note record 990001.")
    ]
