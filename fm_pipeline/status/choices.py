"""What callers of this package may choose from. It imports nothing, so that help and wrong usage are shown at once."""

from __future__ import annotations

SAMPLE = 200  # files: if one in a hundred is missing, the sample shows it in seven of eight cases
