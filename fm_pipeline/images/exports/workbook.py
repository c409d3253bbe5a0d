"""Read an export that is an Excel workbook: the cells of its one sheet as text."""

from __future__ import annotations

import math
import warnings
from collections.abc import Set
from datetime import date, datetime
from io import BytesIO

from fm_pipeline.errors import ImageStop
from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.workbook import refuse_unfit, several_sheets


def workbook_rows(data: bytes) -> tuple[list[list[str]], Set[int]]:
    """Return the rows of the sheet as text: dates as FileMaker writes them, numbers without `.0`.

    Returns:
        The rows, and the places of the columns in which cells are dates. Those are written month first, so their order
        is known. A date in a text field of FileMaker is a text here too.

    Raises:
        ImageStop: the bytes are not a workbook, or it is broken, or has merged cells or two sheets with cells.
    """
    import pandas as pd  # noqa: PLC0415  # slow to import

    try:
        refuse_unfit(BytesIO(data), "of images", formulas=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of openpyxl, about styles and extensions
            # Objects: pandas must guess neither types nor missing values.
            sheets = pd.read_excel(
                BytesIO(data), sheet_name=None, header=None, dtype=object, na_filter=False, engine="openpyxl"
            )
        filled = [sheet for sheet in sheets.values() if (sheet != "").any(axis=None)]
        if len(filled) > 1:
            raise several_sheets("of images", len(filled))
        cells = [tuple(row) for sheet in filled for row in sheet.itertuples(index=False, name=None)]
        rows = [[cell(value) for value in row] for row in cells]
    except ExportStop as stop:
        raise ImageStop(stop.what, meaning=stop.meaning, remedy=stop.remedy) from None
    except Exception as error:  # noqa: BLE001  # a ZIP of XML can be broken in many ways
        raise ImageStop(
            f"The workbook cannot be read ({type(error).__name__}).",
            meaning="Nothing was read from it.",
            remedy="Export it again, or as tab-separated text.",
        ) from None
    dated = {place for row in cells for place, value in enumerate(row) if isinstance(value, date)}
    return [row for row in rows if any(row)], dated


def cell(value: object) -> str:
    """Return the text of one cell."""
    from openpyxl.utils.escape import unescape  # noqa: PLC0415  # slow to import; CR is `_x000D_` in a workbook

    if value is None:
        return ""
    if isinstance(value, float):
        # pandas reads every error of a formula as NaN. It must not become an empty field or the text "nan".
        return "#N/A" if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, datetime | date):
        return f"{value:%m/%d/%Y}"
    return unescape(value) if isinstance(value, str) else str(value)
