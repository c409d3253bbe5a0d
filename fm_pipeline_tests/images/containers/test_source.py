"""What a record of FileMaker says of its picture."""

from __future__ import annotations

from fm_pipeline.filemaker.model import Field, FileMakerRecord
from fm_pipeline.images.containers.source import ImageLayout, read_image
from fm_pipeline.staging.values.typed_dates import TypedDates


def test_a_picture_of_a_container_that_is_placed_twice_counts_once() -> None:
    container, key, mark = Field("image", "normal", "container", (1, 2)), *map(_text, ("id", "NexusExportDate"))
    layout = ImageLayout("Images", (key,), (), (container,), (), mark, (), (), (), TypedDates(None))
    url = "https://filemaker.example/Streaming_SSL/MainDB/1.jpg"
    cells = {"id": "a", "NexusExportDate": "", "image": url, "image(1)": url, "image(2)": ""}
    (found,) = read_image(layout, FileMakerRecord(1, 0, dict(cells))).containers
    assert (found.field, found.name, found.value) == ("image", "image(1)", url)


def _text(name: str) -> Field:
    return Field(name, "normal", "text")
