"""Pictures for tests: real JPEGs and PNGs, and other content in their place."""

from __future__ import annotations

import io
import random
from typing import Literal

from PIL import Image


def picture(seed: int = 0, size: tuple[int, int] = (64, 48), kind: Literal["JPEG", "PNG"] = "JPEG") -> bytes:
    """Return a picture that differs from those of other seeds.

    Args:
        size: width and height in pixels.
    """
    rng = random.Random(seed)  # noqa: S311 - test data
    image = Image.new("RGB", (8, 6))
    image.putdata([(rng.randrange(256), rng.randrange(256), rng.randrange(256)) for _ in range(48)])
    out = io.BytesIO()
    image.resize(size).save(out, kind)
    return out.getvalue()


ERROR_PAGE = b"<!DOCTYPE html><html><body><h1>401 Unauthorized</h1></body></html>"
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
