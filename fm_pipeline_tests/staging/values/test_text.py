"""What becomes of text, character by character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_pipeline.staging.values.text import one_line, plain_text, several_lines

HARD_TEXTS = (
    "NA", "Null", "True", "1e5", "0800", "0412345678", "\\", "\\N", "\\.", "\\t", "'", '"', "a\tb", "🙂", "👩🏽‍🦽",
    "\u00a0x\u00a0", "a\u2028b", "a\u0085b", "a\x0cb", "\ufeffx", "Zoë", "Zoe\u0308", "%s", "=1+1",
)  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # halves of surrogate pairs too
ANY_VALUE = ANY_TEXT | st.integers() | st.floats() | st.none() | st.booleans()


@pytest.mark.parametrize("text", HARD_TEXTS, ids=ascii)
def test_case_4_hard_texts_stay_as_they_are(text: str) -> None:
    assert one_line(text) == (text, [])
    assert several_lines(text) == (text, [])


@pytest.mark.parametrize(
    ("raw", "text", "rules"),
    [
        (" \t\r\n\vx\v\n\r\t ", "x", []),
        ("a\rb", "a b", ["line_break_in_one_line_field"]),
        ("a\r\nb", "a b", ["line_break_in_one_line_field"]),
        ("a\vb", "a b", ["line_break_in_one_line_field"]),
        ("a\0b", "ab", ["nul_byte_removed"]),
        ("\0 a", "a", ["nul_byte_removed"]),
        ("a\x1db", "a\x1db", ["repetition_in_field"]),
        ("a\ud83d", "a\ufffd", ["half_character_replaced"]),
        ("", "", []),
        (None, "", []),
        (0, "0", []),
        (1.0, "1", []),
        (1.5, "1.5", []),
        (True, "true", []),
    ],
)
def test_one_line_text_is_trimmed_and_stays_one_line(raw: object, text: str, rules: list[str]) -> None:
    assert one_line(raw) == (text, rules)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("a\vb", "a\nb"),
        ("a\rb\r\nc\nd", "a\nb\nc\nd"),
        ("a\n\rb", "a\n\nb"),
        ("  a \r \v\r\n", "  a"),
        ("a\t\r", "a\t"),
        (" \r", ""),
    ],
)
def test_case_5_line_breaks_of_several_lines_become_line_feeds(raw: str, text: str) -> None:
    assert several_lines(raw) == (text, [])


def test_case_5_repetitions_in_one_field_are_reported() -> None:
    assert several_lines("a\x1db") == ("a\x1db", ["repetition_in_field"])


@given(ANY_VALUE)
def test_no_value_at_all_raises_and_every_result_can_be_stored(value: object) -> None:
    for clean in (plain_text, one_line, several_lines):
        text, _ = clean(value)
        assert "\0" not in text
        text.encode()


@given(ANY_TEXT)
def test_cleaning_clean_text_changes_nothing(raw: str) -> None:
    for clean in (one_line, several_lines):
        text, _ = clean(raw)
        again, rules = clean(text)
        assert again == text
        assert set(rules) <= {"repetition_in_field"}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n\v\x1d\t ")))
def test_every_other_character_stays(text: str) -> None:
    assert one_line(text) == (text, [])
    assert several_lines(text) == (text, [])
