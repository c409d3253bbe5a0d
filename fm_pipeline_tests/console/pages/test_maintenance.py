"""The page from which people are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from fm_pipeline.notifications.console_pages import DICOM_PAGE, EXPECTED_PAGE, PLAN_PAGE, RUN_PAGE, SYNC_PAGE
from fm_pipeline_tests.console.conftest import Console
from fm_pipeline_tests.console.pages.forms import fetch, send


def test_without_receivers_the_page_says_so_and_nobody_is_told(console: Console) -> None:
    admin, viewer = console.session("admin"), console.session("reception")
    assert "Nobody gets an email" in fetch(console, admin, "/settings/maintenance/")
    form = {"begins": "2999-01-01T20:00", "minutes": "30"}
    assert "Nobody was told" in send(console, admin, "/settings/maintenance/announce", 409, **form).text
    send(console, admin, "/settings/maintenance/announce", 400, begins="soon", minutes="30")
    send(console, admin, "/settings/maintenance/end", 409)
    assert "Nexus is being maintained" in fetch(console, viewer, "/settings/maintenance/page.html")
    for path in ("announce", "end"):
        send(console, viewer, f"/settings/maintenance/{path}", 403, **form)


_ANNOUNCE_TWICE = """
import django
django.setup()
from concurrent.futures import ThreadPoolExecutor
from django.test import Client
from fm_pipeline.console.django_settings import PIPELINE
from fm_pipeline.notifications.outbox import Outbox
from fm_pipeline.sandbox.clinic.nexus.system import SANDBOX_PASSWORD
clients = Client(), Client()
for name, client in zip(("admin", "manager"), clients):
    client.post("/login/", {"username": name, "password": SANDBOX_PASSWORD})
for path, form in (("announce", {"begins": "2999-01-01T20:00", "minutes": "30"}), ("end", {})):
    with ThreadPoolExecutor() as together:
        pages = together.map(lambda client: client.post("/settings/maintenance/" + path, form, follow=True), clients)
        said = " ".join(page.content.decode() for page in pages)
    counts = said.count("is in the outbox"), said.count("No second email is sent")
    print(*counts, Outbox(PIPELINE.state_dir).count_unsent())
"""


def test_what_two_administrators_announce_at_once_is_one_email(console: Console, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **console.environment,
        "STATE_DIR": str(tmp_path),
        "SMTP_HOST": "127.0.0.1",
        "SMTP_FROM": "pipeline@clinic.example",
        "SMTP_TO": "admin@clinic.example",
        "CONSOLE_MAINTENANCE_MAILS": "users@clinic.example",
        "CONSOLE_ALLOWED_HOSTS": "testserver",
        "DJANGO_SETTINGS_MODULE": "fm_pipeline.console.django_settings",
    }
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _ANNOUNCE_TWICE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1", "1", "1", "1", "1", "2"], done.stderr


def test_the_pages_to_which_mails_lead_are_there(console: Console) -> None:
    admin = console.session("admin")
    for page in (DICOM_PAGE, SYNC_PAGE):
        fetch(console, admin, page)
    assert "What is expected" in fetch(console, admin, EXPECTED_PAGE)
    assert "There is no plan of that id" in fetch(console, admin, PLAN_PAGE.format(uuid4()), 404)
    assert "There is no run of that id" in fetch(console, admin, RUN_PAGE.format(uuid4()), 404)
