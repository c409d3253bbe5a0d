"""A hospital's directory for the demo: the files that pydicom ships for its own tests, and generated series.

pydicom's files are of many kinds, character sets and transfer syntaxes, and some are broken on purpose.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from fm_pipeline.sandbox.dicom.series import write_series

_SERIES = (
    # folder, images, bytes, modality, Patient ID, name, birth date, study date
    ("2025/11/CT-0001", 40, 132_000, "CT", "DEMO-0001", "Demo^Anna", "19650312", "20251103"),
    ("2025/11/MR-0002", 24, 66_000, "MR", "DEMO-0002", "Demo^Bruno", "19810721", "20251110"),
    ("2025/10/CT-0003", 30, 132_000, "CT", "DEMO-0003", "Demo^Clara", "19591130", "20251021"),
)


def make_hospital(folder: Path) -> int:
    """Fill a folder, and return the number of files in it."""
    for name, count, size, modality, patient_id, patient_name, birth_date, study_date in _SERIES:
        write_series(
            folder / name,
            count,
            size,
            modality=modality,
            patient_id=patient_id,
            patient_name=patient_name,
            birth_date=birth_date,
            study_date=study_date,
        )
    for path in sample_files():
        to = folder / "archive" / path.relative_to(_samples())
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    return sum(1 for path in folder.rglob("*") if path.is_file())


def sample_files() -> Iterator[Path]:
    """Yield the sample files that pydicom ships below its `data` folder."""
    for kind in ("test_files", "charset_files", "palettes"):
        yield from sorted(path for path in (_samples() / kind).rglob("*") if path.is_file())


def _samples() -> Path:
    return Path(str(files("pydicom.data")))
