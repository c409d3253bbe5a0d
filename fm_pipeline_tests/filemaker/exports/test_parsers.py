"""The parsers of text against whatever can be written: no row is lost, glued to another, or made of halves."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.quoted import quoted_batches
from fm_pipeline.filemaker.exports.rows import RowFaults
from fm_pipeline.filemaker.exports.tab import tab_batches
from fm_pipeline_tests.filemaker.exports.files import pieces, rows_of

ENDS = st.sampled_from(["\r", "\n", "\r\n"])
PLACES = st.lists(st.integers(0, 10_000), max_size=8)
# What people type, and what parsers trip over; a tab is written as a blank, a return as VT.
TEXT = st.text(st.sampled_from("ab \"',;é€\x1c\x1e\x85\u2028\ufeff\x00😀\v"), max_size=4)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Rows of one width, of which the first cell is filled: a blank line is no row."""
    width = draw(st.integers(2, 5))
    row = st.tuples(st.text("xyz", min_size=1, max_size=3), *[TEXT] * (width - 1)).map(list)
    return draw(st.lists(row, min_size=1, max_size=6))


def shown(rows: list[list[str]]) -> list[tuple[str, ...]]:
    """The rows as the Data API has them."""
    return [tuple(text.replace("\v", "\r") for text in row) for row in rows]


@settings(max_examples=80, deadline=None)
@given(tables(), ENDS, st.integers(0, 3), PLACES)
def test_a_tab_file_gives_every_row_whole_however_it_is_divided(
    rows: list[list[str]], end: str, blank: int, places: list[int]
) -> None:
    text = end * blank + "".join("\t".join(row) + end for row in rows)
    faults = RowFaults()
    found = rows_of(tab_batches(pieces(text, places), faults, name="x"))
    assert [row for _, row in found] == shown(rows)
    assert [line for line, _ in found] == list(range(blank + 1, blank + len(rows) + 1))
    assert not faults.count


@settings(max_examples=80, deadline=None)
@given(tables(), st.sampled_from(",;"), ENDS, st.booleans(), st.integers(0, 3), PLACES)
@example([["x", ""], ["x", "\v"]], ",", "\r", False, 0, [])
def test_a_quoted_file_gives_every_row_whole_however_it_is_divided(
    rows: list[list[str]], separator: str, end: str, is_ended: bool, blank: int, places: list[int]
) -> None:
    lines = [separator.join('"' + text.replace('"', '""') + '"' for text in row) for row in rows]
    text = end * blank + end.join(lines) + (end if is_ended else "")
    faults = RowFaults()
    assert [row for _, row in rows_of(quoted_batches(pieces(text, places), faults, name="x"))] == shown(rows)
    assert not faults.count


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("text", ["a;b;c;d", "a\tb\tc\td", "a,b;c", '""a;b"";c;d'])
def test_texts_with_other_separators_behind_a_number_without_quotes_stay_whole(text: str, end: str) -> None:
    rows = [f'1,"{text}","x"', '2,"y","z"', f'3,"{text}",""']  # as FileMaker 16 and earlier write numbers
    faults = RowFaults()
    found = [row for _, row in rows_of(quoted_batches([end.join(rows)], faults, name="x"))]
    shown = text.replace('""', '"')
    assert (found, faults.count) == ([("1", shown, "x"), ("2", "y", "z"), ("3", shown, "")], 0)


@settings(max_examples=80, deadline=None)
@given(tables(), st.data())
def test_line_ends_of_two_kinds_end_records_or_stand_in_fields_but_never_halve_a_row(
    rows: list[list[str]], data: st.DataObject
) -> None:
    end = data.draw(ENDS, "end")
    others = [each for each in ("\r", "\n") if each not in end]
    inside = data.draw(st.sampled_from([*others, ""]), "inside a field")
    lines = ["\t".join([row[0], *(f"{text}{inside}z" for text in row[1:])]) for row in rows]
    ends = data.draw(st.lists(st.sampled_from([end, "\r\n"]), min_size=len(rows), max_size=len(rows)), "ends")
    text = "".join(line + each for line, each in zip(lines, ends, strict=True))
    faults = RowFaults()
    width = len(rows[0])
    try:
        found = rows_of(tab_batches(pieces(text, data.draw(PLACES, "places")), faults, name="x", width=width))
    except ExportStop as error:  # a few rows may be readable in two ways, and then they are not read at all
        if "in two ways" not in error.what:
            raise
        return
    in_field = "\r" if inside else ""
    assert [row for _, row in found] == [
        (row[0], *(f"{text}{in_field}z".replace("\v", "\r") for text in row[1:])) for row in rows
    ]
    assert not faults.count


@settings(max_examples=50, deadline=None)
@given(tables(), st.data())
def test_a_row_with_another_number_of_fields_is_a_fault_with_its_line(
    rows: list[list[str]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(rows)), "place")
    wrong = data.draw(st.sampled_from([["only"], [*rows[0], "one more"]]), "row")
    lines = ["\t".join(row) for row in [*rows[:at], wrong, *rows[at:]]]
    faults = RowFaults()
    texts = pieces("".join(line + "\r" for line in lines), data.draw(PLACES, "places"))
    found = rows_of(tab_batches(texts, faults, name="x", width=len(rows[0])))
    assert [row for _, row in found] == shown(rows)
    assert (faults.count, faults.lines) == (1, [at + 1])


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from('a"\t,;\r\n\v\x1d'), max_size=40), PLACES)
def test_any_text_is_read_the_same_however_it_is_divided_or_stops(text: str, places: list[int]) -> None:
    for parse in (tab_batches, quoted_batches):
        results: list[tuple[object, RowFaults]] = []
        for texts in ([text], pieces(text, places), list(text)):
            faults = RowFaults()
            try:
                results.append((rows_of(parse(texts, faults, name="x", width=3)), faults))
            except ExportStop as error:
                results.append((error.what, RowFaults()))
        assert results[0] == results[1] == results[2]


def test_line_ends_that_can_be_read_in_two_ways_stop() -> None:
    with pytest.raises(ExportStop, match="in two ways"):
        list(tab_batches(["a\tb\rc\nd\te\r"], RowFaults(), name="x"))


def test_a_text_that_ends_with_a_line_end_makes_no_second_way() -> None:
    assert [row for _, row in rows_of(tab_batches(["a\tb\n\rc\td\r"], RowFaults(), name="x"))] == [
        ("a", "b\r"), ("c", "d"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\tb\tc\ra\tb", "The last record of x, in line 2, is cut"),
        ("a\tb\tc\ra\tb\tc", "The last record of x, in line 2, has no line end"),
        ("a\tb\tc\r\na\tb\t", "The last record of x, in line 2, has no line end"),
        ("a\rb\r", "have one column"),
    ],
)
def test_a_tab_file_that_is_cut_or_has_one_column_stops(text: str, words: str) -> None:
    with pytest.raises(ExportStop, match=words):
        list(tab_batches([text], RowFaults(), name="x"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"a","b"\r"a","b', "The last record of x, in line 2, is cut"),
        ('"a","b"\r"a"', "in line 2, is cut"),
        ('"a",1\r"a",2', "The last record of x, in line 2, has no line end"),
        ('"a","b"\r"a",', "The last record of x, in line 2, has no line end"),
        ('"a","b"\r"a"x,"b"\r"a","b"\r', "A quote in line 2 of x does not end, or text stands behind one"),
        ('"a"\r', "have one column"),
    ],
)
def test_a_quoted_file_that_is_cut_or_has_a_lone_quote_stops(text: str, words: str) -> None:
    with pytest.raises(ExportStop, match=words):
        list(quoted_batches([text], RowFaults(), name="x"))
