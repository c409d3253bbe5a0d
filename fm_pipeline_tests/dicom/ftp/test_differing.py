"""Files of an FTP server whose local name another file of the same size has."""

from __future__ import annotations

import os
from pathlib import Path

from fm_pipeline_tests.support.ftp.pulls import pulled
from fm_pipeline_tests.support.ftp.server import FtpBench


def test_a_file_that_differs_from_the_local_one_is_compared_again_if_one_of_them_has_changed(
    server: FtpBench, database: str, tmp_path: Path
) -> None:
    there, here = server.root / "one.dcm", tmp_path / "here" / "one.dcm"
    here.parent.mkdir()
    there.write_bytes(b"one")
    here.write_bytes(b"two")
    reports = [pulled(database, server, here.parent) for _ in range(2)]
    assert [(report.skipped, report.bytes) for report in reports] == [({"local_file_exists": 1}, n) for n in (3, 0)]
    here.write_bytes(b"one")
    os.utime(here, (1, 1))
    assert pulled(database, server, here.parent).known == 1
    there.write_bytes(b"corrected")
    assert pulled(database, server, here.parent).pulled == 1
