"""Compiles `$filter` to an SQL condition on the rows of the store: a recursive descent over its words.

Operators bind as OData 4.01, Part 2, section 5.1.1.16 orders them. An empty field is null, and null compares with
nothing but `eq null` and `ne null`. Text is compared exactly, letter case included; real servers may differ there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from fm_pipeline.sandbox.filemaker.data import values
from fm_pipeline.sandbox.filemaker.data.find_requests import Condition
from fm_pipeline.sandbox.filemaker.odata.failures import ServiceError, syntax, wrong_types
from fm_pipeline.sandbox.filemaker.odata.tokens import FilterToken, words

ValueKind = Literal["text", "number", "date", "time", "timestamp", "null", "condition"]

_COMPARISONS = {"eq": "=", "ne": "IS NOT", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_SUMS = {"add": "+", "sub": "-"}
_PRODUCTS = {"mul": "*", "div": "/", "mod": "%"}
# Parentheses within each other. SQLite's own parser ends at a depth of 100, and a level may become three of its.
_DEEPEST = 25


@dataclass(frozen=True)
class Term:
    """A part of the filter as SQL, with its parameters and the type of its value.

    Args:
        key: for a text field, its indexed column with the text in one letter case.
    """

    sql: str
    parameters: tuple[object, ...]
    kind: ValueKind
    key: str | None = None


# name of a function, types of its arguments, SQL with {0}, {1}, …, type of the result
_FUNCTIONS: Mapping[str, tuple[tuple[tuple[ValueKind, ...], ...], str, ValueKind]] = {
    "contains": ((("text",), ("text",)), "instr({0}, {1}) > 0", "condition"),
    "startswith": ((("text",), ("text",)), "instr({0}, {1}) = 1", "condition"),
    "endswith": ((("text",), ("text",)), "ends_with({0}, {1})", "condition"),
    "tolower": ((("text",),), "lower_case({0})", "text"),
    "toupper": ((("text",),), "upper_case({0})", "text"),
    "trim": ((("text",),), "trim({0})", "text"),
    "length": ((("text",),), "length({0})", "number"),
    "indexof": ((("text",), ("text",)), "(instr({0}, {1}) - 1)", "number"),
    "concat": ((("text",), ("text",)), "({0} || {1})", "text"),
    "year": ((("date", "timestamp"),), "CAST(substr({0}, 1, 4) AS INTEGER)", "number"),
    "month": ((("date", "timestamp"),), "CAST(substr({0}, 6, 2) AS INTEGER)", "number"),
    "day": ((("date", "timestamp"),), "CAST(substr({0}, 9, 2) AS INTEGER)", "number"),
    "hour": ((("timestamp",),), "CAST(substr({0}, 12, 2) AS INTEGER)", "number"),
    "minute": ((("timestamp",),), "CAST(substr({0}, 15, 2) AS INTEGER)", "number"),
    "second": ((("timestamp",),), "CAST(substr({0}, 18, 2) AS INTEGER)", "number"),
    "date": ((("timestamp",),), "substr({0}, 1, 10)", "date"),
    "round": ((("number",),), "round({0})", "number"),
}


def compile_filter(text: str, column: Callable[[str], Term], now: datetime) -> Condition:
    """Return the condition that a `$filter` means.

    Args:
        text: the option's value, decoded.
        column: returns the term of a field's name; raises ServiceError for a field that is not there.
        now: what `now()` returns.

    Raises:
        ServiceError: -1002 for a text that cannot be parsed, 8309 for types that do not fit.
    """
    term = _Parser(words(text), column, now).whole()
    return Condition(term.sql, term.parameters)


class _Parser:
    def __init__(self, tokens: list[FilterToken], column: Callable[[str], Term], now: datetime) -> None:
        self._tokens, self._column, self._now = tokens, column, now
        self._at = self._depth = 0

    def whole(self) -> Term:
        term = self._either()
        if self._next.kind != "end":
            raise syntax(self._next.rest)
        return _condition(term)

    @property
    def _next(self) -> FilterToken:
        return self._tokens[self._at]

    def _take(self, *wanted: str) -> str | None:
        """Go past the next word if it is one of these, and return it."""
        token = self._next
        if token.kind in ("word", "mark") and token.value in wanted:
            self._at += 1
            return token.value
        return None

    def _expect(self, mark: str) -> None:
        if self._take(mark) is None:
            raise syntax(self._next.rest)

    def _either(self) -> Term:
        terms = [self._both()]
        while self._take("or"):
            terms.append(self._both())
        return _joined("OR", terms)

    def _both(self) -> Term:
        terms = [self._denied()]
        while self._take("and"):
            terms.append(self._denied())
        return _joined("AND", terms)

    def _denied(self) -> Term:
        if self._take("not"):
            self._deeper()
            inner = _condition(self._denied())
            self._depth -= 1
            return Term(f"(({inner.sql}) IS NOT TRUE)", inner.parameters, "condition")
        return self._comparison()

    def _comparison(self) -> Term:
        left = self._sum()
        if operator := self._take(*_COMPARISONS):
            return _compared(left, operator, self._sum())
        if self._take("in"):
            self._expect("(")
            terms = [_compared(left, "eq", self._sum())]
            while self._take(","):
                terms.append(_compared(left, "eq", self._sum()))
            self._expect(")")
            return _joined("OR", terms)
        return left

    def _sum(self) -> Term:
        term = self._product()
        while operator := self._take(*_SUMS):
            term = _calculated(term, _SUMS[operator], self._product())
        return replace(term, sql=f"({term.sql})") if term.kind == "number" else term

    def _product(self) -> Term:
        term = self._value()
        while operator := self._take(*_PRODUCTS):
            term = _calculated(term, _PRODUCTS[operator], self._value())
        return term

    def _value(self) -> Term:
        token = self._next
        if self._take("("):
            self._deeper()
            inner = self._either()
            self._depth -= 1
            self._expect(")")
            return inner
        self._at += 1
        match token.kind:
            case "text":
                return Term("?", (token.value,), "text")
            case "number":
                return Term("?", (float(token.value) if set(token.value) & set(".eE") else int(token.value),), "number")
            case "date" | "time" | "timestamp":
                return _moment(token)
            case "name":
                return self._column(token.value)
            case "word":
                return self._word(token)
        raise syntax(token.rest)

    def _word(self, token: FilterToken) -> Term:
        if token.value == "null":
            return Term("NULL", (), "null")
        if token.value in ("true", "false"):
            return Term("1" if token.value == "true" else "0", (), "condition")
        if self._next.kind == "mark" and self._next.value == "(":
            return self._function(token)
        return self._column(token.value)

    def _function(self, token: FilterToken) -> Term:
        self._expect("(")
        self._deeper()
        given: list[Term] = []
        if self._take(")") is None:
            given.append(self._either())
            while self._take(","):
                given.append(self._either())
            self._expect(")")
        self._depth -= 1
        parameters = tuple(parameter for term in given for parameter in term.parameters)
        if token.value == "now" and not given:
            return Term("?", (values.canonical("timestamp", self._now),), "timestamp")
        if token.value == "substring" and 2 <= len(given) <= 3:
            kinds: list[ValueKind] = ["text", "number", "number"]
            if [term.kind for term in given] != kinds[: len(given)]:
                raise wrong_types()
            length = f", {given[2].sql}" if len(given) == 3 else ""
            return Term(f"substr({given[0].sql}, 1 + {given[1].sql}{length})", parameters, "text")
        wanted, sql, kind = _FUNCTIONS.get(token.value, ((), "", "null"))
        if not sql or len(wanted) != len(given):
            raise syntax(token.rest)
        if any(term.kind not in kinds_ for term, kinds_ in zip(given, wanted, strict=True)):
            raise wrong_types()
        return Term(sql.format(*(term.sql for term in given)), parameters, kind)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise syntax(self._next.rest)


def _moment(token: FilterToken) -> Term:
    """Return the key of a date, time or timestamp. A timestamp is wall-clock time, with or without the `Z`."""
    kind: Literal["date", "time", "timestamp"] = token.kind  # type: ignore[assignment]
    text = token.value
    if kind == "timestamp":
        text = text[:16] + (text[16:19] if text[16:17] == ":" else ":00")
    parsed = values.parse(kind, text, values.ISO, values.Locale())
    key = values.sort_key(kind, parsed or "")
    if key is None:
        raise syntax(token.rest)
    return Term("?", (key,), kind)


def _condition(term: Term) -> Term:
    if term.kind != "condition":
        raise ServiceError(400, "-1002", "Error: the filter is a value and no condition")
    return term


def _joined(word: str, terms: list[Term]) -> Term:
    """Return all terms joined side by side, not one within the other; a single term as it is."""
    if len(terms) == 1:
        return terms[0]
    sql = f" {word} ".join(_condition(term).sql for term in terms)
    return Term(f"({sql})", tuple(parameter for term in terms for parameter in term.parameters), "condition")


def _compared(left: Term, operator: str, right: Term) -> Term:
    sql, parameters = _COMPARISONS[operator], left.parameters + right.parameters
    if "null" in (left.kind, right.kind):
        if operator not in ("eq", "ne"):
            raise wrong_types()
        word = "IS" if operator == "eq" else "IS NOT"
        return Term(f"({left.sql} {word} {right.sql})", parameters, "condition")
    if left.kind != right.kind:
        raise wrong_types()
    exact = f"({left.sql} {sql} {right.sql})"
    if operator == "eq" and left.key and right.sql == "?":
        # The key finds the candidates by its index, the text decides.
        return Term(f"({left.key} = ? AND {exact})", (str(right.parameters[0]).casefold(), *parameters), "condition")
    return Term(exact, parameters, "condition")


def _calculated(left: Term, sign: str, right: Term) -> Term:
    if left.kind != "number" or right.kind != "number":
        raise wrong_types()
    return Term(f"{left.sql} {sign} {right.sql}", left.parameters + right.parameters, "number")
