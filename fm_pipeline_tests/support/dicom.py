"""Settings for DICOM imports, without FileMaker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fm_pipeline.settings import Settings, load_settings


def dicom_settings(database_url: str, folder: Path, **more: Any) -> Settings:
    """Return settings with a database and the directory `hospital` in a folder of the test."""
    given: dict[str, Any] = {
        "nexus_database_url": database_url,
        "state_dir": folder / "state",
        "hospital_data_path": folder / "hospital",
    }
    return load_settings(_env_file=None, **(given | more))


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables."""
    given = settings.model_dump(exclude_unset=True)
    return {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in given.items()
        if value is not None
    }
