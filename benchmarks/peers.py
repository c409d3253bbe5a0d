"""Other programs that bring a folder of DICOM files to Orthanc, beside an import job.

    python benchmarks/peers.py [--json FILE] [--rounds N] [--files N] [--kilobytes N]

pyorthanc (`pip install pyorthanc`), and `dcmsend` and `storescu` (Debian: `apt-get install dcmtk`) are left out where
they are not installed. docs/benchmarks.md says more.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from into_orthanc.measure import compared
from results import options, report

from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline.sandbox.stack.orthanc import OrthancService
from fm_pipeline.sandbox.stack.ports import free_port


class DicomOrthanc(OrthancService):
    """An Orthanc that also speaks DICOM, with Orthanc's defaults."""

    dicom_port: ClassVar[int] = free_port()

    def configuration(self) -> dict[str, Any]:
        """The options of the stack's Orthanc, and those of its DICOM server."""
        return super().configuration() | {"DicomServerEnabled": True, "DicomPort": self.dicom_port}

    def settings(self) -> dict[str, str]:
        """URL, user and password, and the DICOM port."""
        return super().settings() | {"ORTHANC_DICOM_PORT": str(self.dicom_port)}


PEERS = {
    "bare": "a bare loop of four threads",
    "sample": "one connection per file",
    "pyorthanc": "pyorthanc's upload",
    "dcmsend": "dcmsend",
    "storescu": "storescu",
}


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--kilobytes", type=int, default=512)
    given = parser.parse_args()
    installed = {"bare", "sample", *(name for name in ("dcmsend", "storescu") if shutil.which(name))}
    if importlib.util.find_spec("pyorthanc"):
        installed.add("pyorthanc")
    peers = [name for name in PEERS if name in installed]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in write_series(folder, given.files, given.kilobytes << 10):
            path.rename(path.with_suffix(".dcm"))  # pyorthanc takes no other names
        measured = compared(["ours", *peers], folder, given.rounds, print, orthanc=DicomOrthanc)
    report("peers", [measured.row(name, PEERS[name], 1) for name in peers], given.json)


if __name__ == "__main__":
    main()
