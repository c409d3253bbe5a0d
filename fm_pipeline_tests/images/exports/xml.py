"""FileMaker's export as XML."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from fm_pipeline.images.exports.columns import POSITIONS


def xml(
    rows: list[list[str]], names: Sequence[str] = POSITIONS, *, dates: str = "M/d/yyyy", found: int | None = None
) -> str:
    """FMPXMLRESULT as FileMaker Pro writes it; a field with GS in it has several values."""
    fields = "".join(
        f'<FIELD EMPTYOK="YES" MAXREPEAT="1" NAME={quoteattr(name)} TYPE="{"DATE" if name == "date" else "TEXT"}"/>'
        for name in names
    )
    lines = "".join(
        f'<ROW MODID="3" RECORDID="{number}">'
        + "".join(
            "<COL>" + "".join(f"<DATA>{escape(value)}</DATA>" for value in cell.split("\x1d")) + "</COL>"
            for cell in each
        )
        + "</ROW>"
        for number, each in enumerate(rows, start=2)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" ?><FMPXMLRESULT xmlns="http://www.filemaker.com/fmpxmlresult">'
        '<ERRORCODE>0</ERRORCODE><PRODUCT BUILD="11-11-2022" NAME="FileMaker" VERSION="ProAdvanced 19.6.1"/>'
        f'<DATABASE DATEFORMAT="{dates}" LAYOUT="" NAME="Images.fmp12" RECORDS="9" TIMEFORMAT="h:mm:ss a"/>'
        f'<METADATA>{fields}</METADATA><RESULTSET FOUND="{len(rows) if found is None else found}">{lines}</RESULTSET>'
        "</FMPXMLRESULT>"
    )
