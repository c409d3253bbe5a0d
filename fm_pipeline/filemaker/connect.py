"""Open the FileMaker file that the settings name, by the door that they name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import SecretStr

from fm_pipeline.env_file import where_looked_for
from fm_pipeline.errors import SettingsError
from fm_pipeline.filemaker.door import Door
from fm_pipeline.filemaker.exports.options import ExportOptions
from fm_pipeline.settings import Settings

if TYPE_CHECKING:
    from fm_pipeline.filemaker.data_api.client import DataApiClient
    from fm_pipeline.filemaker.odata.client import ODataClient


class FileMakerAccount(NamedTuple):
    """Address, file and account of FileMaker Server."""

    url: str
    database: str
    username: str
    password: SecretStr


def require_filemaker(settings: Settings) -> FileMakerAccount:
    """Return the FileMaker settings, before work that needs FileMaker starts.

    Raises:
        SettingsError: names each setting that is missing.
    """
    given = {name: getattr(settings, f"filemaker_{name}") for name in FileMakerAccount._fields}
    missing = [f"FILEMAKER_{name.upper()}" for name, value in given.items() if value is None]
    if missing:
        are, them, they_mean = ("are", "them", "they mean") if len(missing) > 1 else ("is", "it", "it means")
        place = f"in the environment or in .env ({where_looked_for()})"
        raise SettingsError(
            f"FileMaker is needed for this, and {' and '.join(missing)} {are} not set.",
            meaning="Nothing was begun.",
            remedy=f"Set {them} {place}; .env.example says what {they_mean}.",
        )
    return FileMakerAccount(**given)


def open_door(settings: Settings, exports: Sequence[ExportOptions] = ()) -> Door:
    """Return the door of FILEMAKER_DOOR; nothing is sent yet.

    Args:
        exports: what the profile says of export files, for who reads their fields or records.

    Raises:
        SettingsError: a setting that it needs is missing.
    """
    if settings.filemaker_door == "odata":
        from fm_pipeline.filemaker.odata.door import ODataDoor  # noqa: PLC0415  # slow to import

        return ODataDoor(open_odata(settings))
    if settings.filemaker_door == "exports":
        from fm_pipeline.filemaker.exports.door import ExportsDoor  # noqa: PLC0415

        return ExportsDoor(_require_folder(settings), exports)
    from fm_pipeline.filemaker.data_api.door import DataApiDoor  # noqa: PLC0415

    return DataApiDoor(open_client(settings))


def require_source(settings: Settings) -> None:
    """Fail before work that needs FileMaker starts.

    Raises:
        SettingsError: a setting that the door needs is missing.
    """
    open_door(settings).close()


def open_odata(settings: Settings) -> ODataClient:
    """Return a client of OData; nothing is sent yet.

    Raises:
        SettingsError: a setting is missing.
    """
    from fm_pipeline.filemaker.odata.client import ODataClient  # noqa: PLC0415  # slow to import
    from fm_pipeline.filemaker.transport import Transport  # noqa: PLC0415

    account = require_filemaker(settings)
    transport = Transport(account.url, **_options(settings))
    return ODataClient(transport, account.database, account.username, account.password.get_secret_value())


def _require_folder(settings: Settings) -> Path:
    if settings.filemaker_exports_folder is None:
        raise SettingsError(
            "FILEMAKER_DOOR is exports, and FILEMAKER_EXPORTS_FOLDER is not set.",
            meaning="Nothing was begun.",
            remedy="Name the folder with the export files; .env.example says what it is.",
        )
    return settings.filemaker_exports_folder


def open_client(settings: Settings) -> DataApiClient:
    """Return a client of the Data API, for what only it can do; nothing is sent yet.

    Raises:
        SettingsError: a setting is missing.
    """
    from fm_pipeline.filemaker.data_api.client import DataApiClient  # noqa: PLC0415  # slow to import

    account = require_filemaker(settings)
    return DataApiClient(*account[:3], account.password.get_secret_value(), **_options(settings))


def _options(settings: Settings) -> dict[str, Any]:
    return {"ca_bundle": settings.filemaker_ca_bundle, "timeout": settings.filemaker_timeout_seconds}
