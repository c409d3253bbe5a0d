"""Errors about the configured folder on the FTP server."""

from __future__ import annotations

from fm_pipeline.errors import FtpError
from fm_pipeline.pluralize import counted


def unknown_listing(lines: int) -> FtpError:
    """Return the error for a folder of whose listing no line could be read."""
    return FtpError(
        f"The FTP server lists the configured folder in a form that is not known: {counted(lines, 'line')}, and none"
        " could be read.",
        meaning="Nothing was pulled; nothing is known of what lies there.",
        remedy="Turn on MLSD (RFC 3659) on the server, or let it list as UNIX or MS-DOS does.",
    )


def no_folder() -> FtpError:
    """Return the error for a folder that the server does not list."""
    return FtpError(
        "The FTP server does not list the configured folder.",
        meaning="It is not there, or the account may not see it. Nothing was pulled.",
        remedy="Check --ftp-path, which begins at the account's own root, and the account's rights on it.",
    )
