"""Orthanc's address in the settings."""

from __future__ import annotations

from urllib.parse import urlsplit

from fm_pipeline.env_file import where_looked_for
from fm_pipeline.errors import SettingsError
from fm_pipeline.settings import Settings


def need_orthanc_url(settings: Settings) -> str:
    """Return Orthanc's address.

    Raises:
        SettingsError: ORTHANC_URL is missing, or contains more than an address.
    """
    if settings.orthanc_url is None:
        raise SettingsError(
            "ORTHANC_URL is not set.", remedy=f"Set it in the environment or in .env ({where_looked_for()})."
        )
    parts = urlsplit(settings.orthanc_url)
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            "ORTHANC_URL has a user name or a password in it.",
            remedy="Write them in ORTHANC_USERNAME and ORTHANC_PASSWORD, and the address alone in ORTHANC_URL.",
        )
    if parts.query or parts.fragment:
        raise SettingsError(
            "ORTHANC_URL has a question mark or a # in it.",
            remedy="Write the address of Orthanc's REST API, as http://orthanc.example:8042.",
        )
    return settings.orthanc_url
