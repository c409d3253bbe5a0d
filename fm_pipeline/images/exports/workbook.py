"""An export as an Excel workbook: its first sheet's cells as text."""

from __future__ import annotations

import warnings
from datetime import date, datetime
from io import BytesIO

from fm_pipeline.errors import ImageStop


def workbook_rows(data: bytes) -> tuple[list[list[str]], bool]:
    """The first sheet's rows as text: dates as FileMaker writes them, numbers without `.0`.

    Returns:
        The rows, and whether there are dates among them that the workbook knows as such: they are month first here.

    Raises:
        ImageStop: it is none, or broken.
    """
    import openpyxl  # noqa: PLC0415  # slow to import

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which are none of our business
            book = openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=True)  # by its bytes, not its name
        try:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what a file claims of its size is often wrong
            cells = list(sheet.iter_rows(values_only=True))
            rows = [[cell(value) for value in row] for row in cells]
        finally:
            book.close()
    except Exception as error:  # noqa: BLE001  # a ZIP of XML can be broken in many ways
        raise ImageStop(
            f"The workbook cannot be read ({type(error).__name__}).",
            meaning="Nothing was read from it.",
            remedy="Export it again, or as tab-separated text.",
        ) from None
    rows = [row for row in rows if any(row)]
    width = max(map(len, rows), default=0)
    dated = any(isinstance(value, date) for row in cells for value in row)
    return [row + [""] * (width - len(row)) for row in rows], dated  # empty cells at the end are not stored


def cell(value: object) -> str:
    """One cell's text."""
    from openpyxl.utils.escape import unescape  # noqa: PLC0415  # slow to import; CR is `_x000D_` in a workbook

    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime | date):
        return f"{value:%m/%d/%Y}"
    return unescape(value) if isinstance(value, str) else str(value)
