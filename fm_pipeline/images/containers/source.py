"""FileMaker's image records: the layout with its containers, the list of unmarked records, and one record.

The list is read completely before any mark is set. Paging over "records whose mark is empty" while marks are being set
skips records, because the found set shrinks while the offset grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import NamedTuple

from fm_pipeline.entities.profile import ContainerMapping, Profile
from fm_pipeline.entities.resolution import resolve
from fm_pipeline.errors import MappingError
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.paging import read_completely
from fm_pipeline.filemaker.door import Progress
from fm_pipeline.filemaker.errors import PrivilegeMissing, RecordMissing
from fm_pipeline.filemaker.model import Field, FileMakerRecord, Page, Value
from fm_pipeline.staging.values.dates import read_date
from fm_pipeline.staging.values.keys import as_key
from fm_pipeline.staging.values.text import NO_ACCESS, plain_text
from fm_pipeline.staging.values.typed_dates import TypedDates

_MARK_TYPES = ("timeStamp", "text", "date")


@dataclass(frozen=True)
class ImageLayout:
    """The fields of the layout that feed the import of files, as the server spells them.

    Attributes:
        containers: best first; those that the layout does not have are left out.
        missing: containers of the profile that the layout does not have.
        mark: filled when the file of a record has been taken over.
        typed_dates: reads the dates of a text field.
    """

    name: str
    key: tuple[Field, ...]
    patient: tuple[Field, ...]
    containers: tuple[Field, ...]
    missing: tuple[str, ...]
    mark: Field
    date: tuple[Field, ...]
    category: tuple[Field, ...]
    recid: tuple[Field, ...]
    typed_dates: TypedDates


class ContainerValue(NamedTuple):
    """A container of a record: its field, the name under which the value came (`image(2)`), the value."""

    field: str
    name: str
    value: Value


@dataclass(frozen=True)
class SourceImage:
    """One record.

    Attributes:
        key: FileMaker's id in lower case; empty if there is none.
        recid: of the field, or FileMaker's record id where no field has it.
        patients: everything that names a patient, lower case, each once.
        has_date: whether there is anything in the date field.
        taken: the date, if it can be read.
        containers: those that are not empty, best first.
    """

    record_id: int
    mod_id: int
    key: str
    recid: int
    patients: tuple[str, ...]
    has_date: bool
    taken: date | None
    category: str
    marked: bool
    containers: tuple[ContainerValue, ...]


class UnmarkedRecord(NamedTuple):
    """A record that is still to be imported."""

    record_id: int
    key: str


def find_layout(client: DataApiClient, profile: Profile) -> ImageLayout:
    """Return the layout of images.

    Raises:
        MappingError: the profile has no containers, or the layout lacks the mark or all containers.
    """
    mapping = profile.entities.get("image")
    containers = mapping.containers if mapping else None
    resolution = resolve(profile, "image", client.layouts(), client.layout_fields)
    if containers is None:
        raise MappingError(
            f"The mapping profile {profile.name} does not say which containers hold the images.",
            meaning="Nothing was read.",
            remedy="Add `containers` to the entity image; docs/mapping.md shows how.",
        )
    fields = {field.name.casefold(): field for field in client.layout_fields(resolution.layout)}

    def on_layout(names: Sequence[str] | None) -> tuple[Field, ...]:
        return tuple(fields[name.casefold()] for name in names or () if name.casefold() in fields)

    found = tuple(field for field in on_layout(containers.best_first) if field.result == "container")
    have = {field.name.casefold() for field in found}
    return ImageLayout(
        name=resolution.layout,
        key=resolution.feeds["filemaker_id"],
        patient=resolution.feeds["patient"],
        containers=_some(found, resolution.layout, containers),
        missing=tuple(name for name in containers.best_first if name.casefold() not in have),
        mark=_mark(fields.get(containers.mark.casefold()), resolution.layout, containers.mark),
        date=on_layout(containers.date),
        category=on_layout(containers.category),
        recid=on_layout(containers.recid),
        typed_dates=TypedDates(resolution.dates),
    )


def _some(found: tuple[Field, ...], layout: str, wanted: ContainerMapping) -> tuple[Field, ...]:
    if not found:
        raise MappingError(
            f"The layout {layout} has none of the containers {', '.join(wanted.best_first)}.",
            meaning="Nothing was downloaded.",
            remedy=f"Place them on the layout {layout} in FileMaker, or correct the profile.",
        )
    return found


def _mark(field: Field | None, layout: str, name: str) -> Field:
    if field is None:
        raise MappingError(
            f"The layout {layout} has no field {name}, which says what was taken over already.",
            meaning="Without it every run would take everything anew. Nothing was downloaded.",
            remedy=f"In FileMaker, add the field {name} (Timestamp) to the layout {layout}, then start again.",
        )
    if field.result not in _MARK_TYPES or field.kind != "normal":
        raise MappingError(
            f"The field {name} of the layout {layout} cannot hold a timestamp ({field.kind}, {field.result}).",
            meaning="Nothing was downloaded.",
            remedy="Make it a plain field of type Timestamp in FileMaker, then start again.",
        )
    return field


def list_unmarked(client: DataApiClient, layout: ImageLayout, *, page_size: int) -> list[UnmarkedRecord]:
    """Return every record whose mark is empty, proved complete by FileMaker's count.

    Raises:
        PrivilegeMissing: the account may not see the mark; FileMaker would then find nothing, which looks like "done".
        ChangedWhileReading: the records were edited during every attempt.
    """

    def fetch(offset: int, limit: int) -> Page:
        return client.find(layout.name, [{layout.mark.name: "="}], offset=offset, limit=limit)

    def listed(records: Iterator[FileMakerRecord]) -> list[UnmarkedRecord]:
        return [UnmarkedRecord(record.record_id, record_key(record, layout.key)) for record in records]

    require_visible_mark(client, layout)
    return read_completely(fetch, listed, page_size=page_size)


def require_visible_mark(client: DataApiClient, layout: ImageLayout) -> None:
    """Check on the first record that the account may see the mark.

    Raises:
        PrivilegeMissing: it may not.
    """
    try:
        records = client.page(layout.name, 1, 1).records
    except RecordMissing:  # an empty table
        return
    if any(NO_ACCESS in _texts(record, (layout.mark,)) for record in records):
        raise PrivilegeMissing(f"The account may not see the field {layout.mark.name} of the layout {layout.name}.")


def read_all_images(
    client: DataApiClient, layout: ImageLayout, *, page_size: int, on_progress: Progress
) -> list[SourceImage]:
    """Return every record of the layout, marked or not. The URLs in the records expire."""
    return read_completely(
        partial(client.page, layout.name),
        lambda records: [read_image(layout, record) for record in records],
        page_size=page_size,
        on_progress=on_progress,
    )


def read_image(layout: ImageLayout, record: FileMakerRecord) -> SourceImage:
    """Return the image that a record describes."""
    date_text = _date_text(record, layout)
    recid = record_key(record, layout.recid)
    return SourceImage(
        record_id=record.record_id,
        mod_id=record.mod_id,
        key=record_key(record, layout.key),
        recid=int(recid) if recid.isdecimal() and len(recid) < 18 else record.record_id,
        patients=tuple(dict.fromkeys(key for text in _texts(record, layout.patient) if (key := as_key(text)))),
        has_date=date_text is not None,
        taken=read_date(date_text)[0] if date_text else None,
        category=next((plain_text(value)[0] for _, value in _cells(record, layout.category) if value != ""), ""),
        marked=any(text for text in _texts(record, (layout.mark,))),
        containers=tuple(
            ContainerValue(field.name, name, value)
            for field in layout.containers
            for name, value in _cells(record, (field,))
            if value != ""
        ),
    )


def _date_text(record: FileMakerRecord, layout: ImageLayout) -> str | None:
    """Return the first date, in a form that can be read; None if there is none.

    It is empty if somebody has typed it into a text field, and it could be two days.
    """
    for field in layout.date:
        for text in filter(None, _texts(record, (field,))):
            return layout.typed_dates.read(text)[0] if field.result == "text" else text
    return None


def _cells(record: FileMakerRecord, fields: Sequence[Field]) -> Iterator[tuple[str, Value]]:
    """Names and values, with each repetition. A field that is placed twice may come with and without a number."""
    for field in fields:
        names = [f"{field.name}({number})" for number in field.repetitions]
        if f"{field.name}(1)" not in record.fields:
            names.insert(0, field.name)
        for name in names:
            if name in record.fields:
                yield name, record.fields[name]


def _texts(record: FileMakerRecord, fields: Sequence[Field]) -> Iterator[str]:
    for _, value in _cells(record, fields):
        yield plain_text(value)[0].strip()


def record_key(record: FileMakerRecord, fields: Sequence[Field]) -> str:
    """Return the first of the fields that is not empty, as a key; empty if all are."""
    return next((key for text in _texts(record, fields) if (key := as_key(text))), "")
