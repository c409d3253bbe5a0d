"""The names of the columns of an export: from its header, or from the profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fm_pipeline.filemaker.exports.errors import ExportStop
from fm_pipeline.filemaker.exports.kinds import Format
from fm_pipeline.filemaker.exports.options import ExportOptions
from fm_pipeline.filemaker.exports.rows import RowBatch
from fm_pipeline.pluralize import counted

_RELATED = "::"  # between the table occurrence and the name of a related field


def column_names(first: Sequence[str], options: ExportOptions, kind: Format, name: str) -> tuple[list[str], bool]:
    """Return the names of all columns, and whether the first row is a header.

    A merge file always has a header. In other files the first row is one if it has the names of the profile: those of
    `columns`, in whatever order, or else at least two known ones and one of each needed group, with every cell filled
    and different.

    Args:
        name: of the file, for errors.

    Raises:
        ExportStop: there are neither a header nor named columns, their number is wrong, a name is there twice, or the
            first row has most of the names of `columns`, but not all.
    """
    names = without_prefix([cell.strip() for cell in first])
    given = list(options.columns)
    if kind == "mer" or _is_header(names, options):
        refuse_repeated(names, name)
        return names, True
    if not given:
        raise ExportStop(
            f"The first row of {name} is no header with the fields of the mapping profile.",
            meaning=f"Which of its {counted(len(names), 'column')} is which field cannot be told. Nothing was read.",
            remedy="Correct the names of the fields in the profile, or, if the file has no header, write the names of"
            " all its columns in their order as `columns` under `export` of the entity.",
        )
    if len(given) != len(names):
        raise wrong_number(name, options)
    if _names_most(names, given):
        raise ExportStop(
            f"The first row of {name} is a header with other names than `columns` in the mapping profile.",
            meaning="Which column is which field cannot be told. Nothing was read.",
            remedy="Correct `columns` under `export` of the entity, or take it out: a file with a header needs none.",
        )
    return given, False


def wrong_number(name: str, options: ExportOptions) -> ExportStop:
    """Return the error for a file with more or fewer columns than the profile names."""
    return ExportStop(
        f"{name} has not the {counted(len(options.columns), 'column')} that the mapping profile names.",
        meaning="Which column is which field cannot be told. Nothing was read.",
        remedy="Export the fields that `columns` names, in that order, or correct `columns`.",
    )


def is_related(name: str) -> bool:
    """Whether a column has fields of a related table."""
    return _RELATED in name


def without_prefix(names: Sequence[str]) -> list[str]:
    """Return the names without the table occurrence, if all of them have the same: it is the table's own."""
    prefixes = {name.rpartition(_RELATED)[0] for name in names}
    return [name.rpartition(_RELATED)[2] for name in names] if len(prefixes) == 1 else list(names)


def folded_headers(*headers: Sequence[str]) -> frozenset[frozenset[str]]:
    """Return headers in the form for `refuse_further_header`: their cells without case and order."""
    return frozenset(frozenset(cell.casefold() for cell in header) for header in headers)


def refuse_further_header(headers: frozenset[frozenset[str]], batch: RowBatch, name: str) -> None:
    """Raise if a record has nothing but the names of all columns: it would become a patient with the name First Name.

    Args:
        headers: from `folded_headers`.
        name: of the file.

    Raises:
        ExportStop: names the line.
    """
    cells = frozenset[str]().union(*headers) - {""}
    if cells.isdisjoint(map(str.casefold, batch.columns[0])):  # much faster than asking each row
        return
    for line, *row in zip(batch.lines, *batch.columns, strict=True):
        if frozenset(str(cell).casefold() for cell in row) in headers:
            raise ExportStop(
                f"The row in line {line:,} of {name} is a header.",
                meaning="Above it is a title, or the file was joined from several. Nothing was read.",
                remedy="Export it again and leave it as FileMaker writes it: without a title, and not joined by hand.",
            )


def _is_header(names: Sequence[str], options: ExportOptions) -> bool:
    folded = [name.casefold() for name in names]
    if options.columns:
        return sorted(folded) == sorted(name.casefold() for name in without_prefix(options.columns))
    there = set(folded)
    if "" in there or len(there) < len(folded):
        return False
    return len(there & options.known) > 1 and all(group & there for group in options.needed)


def _names_most(names: Sequence[str], given: Sequence[str]) -> bool:
    """Whether more than half of the cells, and more than two, are names of columns, which no record has."""
    known = {name.casefold() for name in without_prefix(given)}
    named = sum(name.casefold() in known for name in names)
    return named > max(len(names) / 2, 2)


def refuse_repeated(names: Sequence[str], name: str) -> None:
    """Raise if two columns have the same name.

    Raises:
        ExportStop: names their places.
    """
    counts = Counter(each.casefold() for each in names)
    repeated = [at for at, each in enumerate(names, start=1) if counts[each.casefold()] > 1 and each]
    if repeated:
        raise ExportStop(
            f"Columns {' and '.join(map(str, repeated))} of {name} have the same name.",
            meaning="Which of them counts cannot be told. Nothing was read.",
            remedy="Export each field once. A Merge file names related fields without their table occurrence: export"
            " none that is called like another field, or choose another format.",
        )
