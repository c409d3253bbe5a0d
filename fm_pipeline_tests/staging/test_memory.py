"""Staging needs little memory, however long the records are."""

from __future__ import annotations

import subprocess
import sys

from fm_pipeline_tests.staging.bench import PATIENT, Staging, a_patient

# A process of its own: its peak is of nothing else. The numbers are kB, as Linux tells them.
_STAGE_NOTES = """
import re, sys
from pathlib import Path
from fm_pipeline.db.connection import connect
from fm_pipeline.staging.build import build
from fm_pipeline.entities.rules import load_rules
from fm_pipeline_tests.staging.bench import NOW

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

with connect(sys.argv[1]) as connection:
    before = peak()
    build(connection, "note", rules=load_rules(None), run_id=None, now=NOW, time_zone="Australia/Sydney")
    print(peak() - before)
"""
NOTES, MEGABYTES = 60, 1


def test_a_build_of_long_notes_has_few_of_them_in_memory(staging: Staging, staging_url: str) -> None:
    staging.stage("patient", a_patient())
    staging.extract("note", [{"filemaker_id": f"n{n}", "patient": PATIENT, "content": "x"} for n in range(NOTES)])
    staging.execute(
        "UPDATE fm_pipeline.source_records SET fields = json_build_object('filemaker_id', filemaker_key,"
        " 'patient', patient_key, 'content', repeat('x', %s)) WHERE entity = 'note'",
        (MEGABYTES * 1_000_000,),
    )
    told = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _STAGE_NOTES, staging_url], check=True, capture_output=True, text=True
    ).stdout
    assert staging.execute("SELECT count(*), min(length(content)) FROM fm_pipeline.staged_notes") == [
        (NOTES, MEGABYTES * 1_000_000)
    ]
    assert int(told) / 1000 < NOTES * MEGABYTES / 2
