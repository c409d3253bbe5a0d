"""The files of containers over OData, for those that the Data API does not send."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.resolution import resolve
from fm_pipeline.filemaker.connect import open_odata
from fm_pipeline.filemaker.errors import ContainerRefused
from fm_pipeline.filemaker.model import Field
from fm_pipeline.filemaker.odata.door import ODataDoor
from fm_pipeline.images.containers.source import ContainerValue, SourceImage, record_key
from fm_pipeline.settings import Settings


@dataclass(frozen=True)
class ODataFiles:
    """The containers of a table occurrence.

    Args:
        key: the fields with FileMaker's id of a record.
    """

    door: ODataDoor
    table: str
    key: tuple[Field, ...]

    def file(self, image: SourceImage, cell: ContainerValue) -> bytes:
        """Return the file of a container of a record.

        Raises:
            ContainerRefused: the record is another one than that of the layout, or the repetition is not the first.
            FileMakerError: OData does not send it.
        """
        if cell.name not in (cell.field, f"{cell.field}(1)"):
            raise ContainerRefused("OData sends the first repetition of a container only.")
        # A table occurrence may bear the layout's name and show another table, with another picture under the same id.
        records = self.door.client.rows(self.table, self.key, image.record_id - 1, 1).records
        same = [record for record in records if record.record_id == image.record_id]
        if not image.key or [record_key(record, self.key) for record in same] != [image.key]:
            raise ContainerRefused(f"The record {image.record_id} of {self.table} is not that of the layout.")
        return self.door.client.file(self.table, image.record_id, cell.field)


def open_odata_files(settings: Settings, profile: Profile, stack: ExitStack) -> ODataFiles | None:
    """Return the containers of the profile's images, if FILEMAKER_DOOR is odata.

    Args:
        stack: closes the connection.

    Raises:
        MappingError: the file has no such table occurrence, or not with the fields.
        FileMakerError: OData refused.
    """
    if settings.filemaker_door != "odata":
        return None
    door = stack.enter_context(ODataDoor(open_odata(settings)))
    resolution = resolve(profile, "image", door.tables(), door.fields, door.kind)
    return ODataFiles(door, resolution.layout, resolution.feeds["filemaker_id"])
