"""The `.env` is looked at before settings are read from it: what would be passed over in silence is refused.

A line that cannot be read, or a name with a typing error, would leave a setting at its default, and the default of
`NEXUS_LETTERS` deletes.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from dotenv.parser import parse_stream

from fm_pipeline.errors import SettingsError

# Above what names of other programs have in common with ours (AWS_DEFAULT_REGION and AWS_REGION: 0.71), and below one
# or two wrong letters, or a word cut short (SMTP_PASS for SMTP_PASSWORD: 0.82).
_ALIKE = 0.8


def look_at_env_file(file: Path, names: Collection[str]) -> None:
    """Refuse a file of which something would be passed over.

    Args:
        file: as it was named; it need not exist.
        names: of all settings, in capital letters.

    Raises:
        SettingsError: names the file, without its folder, and lines or names; never a value.
    """
    if not file.is_file():
        return
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(
            f"{file.name} is not in UTF-8.", remedy="Save it in UTF-8; editors call others ANSI, Unicode or UTF-16."
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{file.name} cannot be read ({error.strerror or type(error).__name__}).",
            remedy="Let the user of the pipeline read it.",
        ) from None
    bindings = list(parse_stream(io.StringIO(text)))
    if wrong := [binding.original.line for binding in bindings if binding.error]:
        raise SettingsError(
            f"{file.name} has lines that cannot be read: {', '.join(map(str, wrong))}.",
            remedy="Write NAME=value, close each quote, and begin a comment with #.",
        )
    for binding in bindings:
        name = (binding.key or "").upper()
        if name and name not in names and (meant := get_close_matches(name, names, n=1, cutoff=_ALIKE)):
            raise SettingsError(
                f"{file.name} sets {name}, which is no setting; {meant[0]} is one.",
                remedy="Correct the name, or put # before the line; .env.example lists all settings.",
            )
