"""The console's connections to PostgreSQL, in a process of its own: Django has one configuration in each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fm_pipeline.sandbox.stack.service import PACKAGE_PARENT

PROGRAM = """
import sys, time
import django
from django.db import OperationalError, connection
from fm_pipeline.db import stalled_connections as stalled
from fm_pipeline_tests.support.proxies.proxy import silent_proxy

stalled.SAMPLE_SECONDS, stalled.BUSY_SECONDS, stalled.ANSWER_SECONDS = 0.02, 0.05, 0.3
django.setup()
with silent_proxy(sys.argv[1]) as proxy:
    connection.settings_dict["PORT"] = proxy.port
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        proxy.fall_silent(new_ones_too=True)
        try:
            cursor.execute("SELECT 1")
        except OperationalError:
            print("ended")
"""


def test_a_request_ends_with_an_error_when_postgresql_falls_silent(database_url: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "fm_pipeline.console.django_settings",
        "NEXUS_DATABASE_URL": database_url + "?sslmode=disable&gssencmode=disable",
        "STATE_DIR": str(tmp_path),
    }
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM, database_url],
        cwd=PACKAGE_PARENT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "ended\n", done.stderr
