"""An import job that is killed, with Orthanc under it; the large round is `scripts/dicom-kills`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fm_pipeline.db.migrate import migrate
from fm_pipeline_tests.dicom.bench import ImportBench, import_settings
from fm_pipeline_tests.dicom.importer.kills import killed_import, main
from fm_pipeline_tests.support.orthanc import OwnOrthanc, own_orthanc


@pytest.mark.hard_case(43)
def test_a_killed_import_and_a_killed_orthanc_leave_each_instance_once_and_one_row_a_file(
    database_url: str, tmp_path: Path
) -> None:
    with own_orthanc() as orthanc:
        migrate(database_url)
        importing = ImportBench(import_settings(database_url, orthanc.settings(), tmp_path / "state"), tmp_path / "h")
        rng = random.Random(1)  # noqa: S311  # moments, not secrets
        assert killed_import(importing, orthanc, files=400, kills=2, restarts=1, rng=rng) == []


def test_the_large_round_says_so_where_orthanc_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["dicom-kills"])
    monkeypatch.setattr(OwnOrthanc, "available", staticmethod(lambda: False))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("Orthanc is not installed")
