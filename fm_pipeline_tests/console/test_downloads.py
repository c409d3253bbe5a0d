"""Downloads: what a spreadsheet would run is a text, and nothing is collected before it is sent."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator

import pytest
from django.conf import settings

from fm_pipeline.console.downloads import BLOCK, csv_download, file_download, plain_cell

if not settings.configured:
    settings.configure()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "  =1", "\n=1"])
def test_what_a_spreadsheet_takes_for_a_formula_is_sent_as_a_text(text: str) -> None:
    assert plain_cell(text) == f"'{text}"


def test_numbers_and_other_texts_are_sent_as_they_are() -> None:
    assert [plain_cell(value) for value in (-1, 2.5, "a=1", "", "3F6DE406-A4C6")] == [
        "-1",
        "2.5",
        "a=1",
        "",
        "3F6DE406-A4C6",
    ]


def test_a_csv_holds_every_row_in_utf_8() -> None:
    rows = [("é", "=1"), *((str(number), 'a "quoted", text') for number in range(2500)), ("\ud800", "")]

    async def read() -> bytes:
        return b"".join([block async for block in csv_download("x.csv", ("a", "b"), (row for row in rows))])

    found = list(csv.reader(io.StringIO(asyncio.run(read()).decode())))
    assert found[:2] == [["a", "b"], ["é", "'=1"]]
    assert (len(found), found[-1]) == (len(rows) + 1, ["?", ""])


def test_rows_are_read_while_they_are_sent_and_no_longer_than_the_browser_listens() -> None:
    drawn = 0
    closed = False

    def endless() -> Iterator[tuple[object, ...]]:
        nonlocal drawn, closed
        try:
            while True:
                drawn += 1
                yield (drawn,)
        finally:
            closed = True

    async def listen() -> None:
        blocks = aiter(csv_download("x.csv", ("a",), endless()))
        await anext(blocks)
        await anext(blocks)
        await blocks.aclose()  # type: ignore[attr-defined]

    asyncio.run(listen())
    assert drawn < 2500
    assert closed


def test_a_file_is_read_in_blocks_and_closed() -> None:
    file = io.BytesIO(b"x" * (2 * BLOCK + 1))

    async def sizes() -> list[int]:
        return [len(block) async for block in file_download("ünï.csv", file)]

    assert asyncio.run(sizes()) == [BLOCK, BLOCK, 1]
    assert file.closed
