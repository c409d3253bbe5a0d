"""The waterfall: download the best readable container of a record. A worse one is used only if a better one is broken.

A network failure is not a broken picture. The record then waits for its next turn, so that a large picture is not
replaced by a small one because its download broke off. A container is passed over only if it fails in several runs.

With FILEMAKER_DOOR=odata, a container that the Data API does not send is asked for over OData, which another process
of FileMaker Server answers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from fm_pipeline.errors import FileMakerError, PipelineError
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.containers import ContainerDownloads, is_url
from fm_pipeline.filemaker.errors import (
    ContainerExpired,
    ContainerNotAFile,
    ContainerRefused,
    ContainerTooLarge,
    DownloadsStopped,
    RecordMissing,
    ServerTimeout,
    ServerUnavailable,
)
from fm_pipeline.images.containers.odata_files import ODataFiles
from fm_pipeline.images.containers.source import ContainerValue, ImageLayout, SourceImage, read_image
from fm_pipeline.images.pictures.inspect import Picture, RejectedPicture, inspect_with_thumbnail

_log = logging.getLogger(__name__)
InspectedFile = tuple[bytes, Picture, bytes]
"""Content, what it shows, and its thumbnail."""

ATTEMPTS_BEFORE_NEXT_CONTAINER = (
    3  # times that a record is tried before a container that does not come whole is passed over
)


@dataclass(frozen=True)
class BestContainer:
    """The picture of the best readable container.

    Attributes:
        container: its field.
        passed_over: better containers that cannot be read, with reasons.
    """

    container: str
    content: bytes = field(repr=False)
    picture: Picture
    thumbnail: bytes = field(repr=False)
    passed_over: dict[str, str]


class NoReadableContainer(PipelineError):
    """The record has containers, and none of them holds a picture.

    Args:
        passed_over: the containers and why.
    """

    def __init__(self, passed_over: dict[str, str]) -> None:
        self.passed_over = passed_over
        super().__init__("No container of the record holds a picture that can be read.")


class OutOfMemory(PipelineError):
    """A picture could not be decoded for lack of memory. A smaller one must not replace it."""


class RepeatedContainer(PipelineError):
    """A container has pictures in several repetitions, and a record stands for one."""


@dataclass
class Waterfall:
    """The ways to the files of the records of a layout.

    Args:
        client: of the Data API, which has the records.
        downloads: by the URLs in the containers.
        odata: asked for a container that the Data API does not send; None without.
    """

    client: DataApiClient
    layout: ImageLayout
    downloads: ContainerDownloads
    odata: ODataFiles | None = None
    _web_engine_stopped: bool = field(default=False, init=False)  # then OData is asked first: to ask it makes it worse

    def best(self, image: SourceImage, *, tried: int) -> BestContainer:
        """Download the best picture of a record.

        Args:
            tried: how often the record was tried before.

        Raises:
            NoReadableContainer, RepeatedContainer, OutOfMemory: see there.
            FileMakerError: the server did not send the file; the record waits for its next turn.
        """
        names = [cell.field for cell in image.containers]
        if len(set(names)) < len(names):
            raise RepeatedContainer("A container of the record has pictures in several repetitions.")
        passed_over: dict[str, str] = {}
        for cell in image.containers:
            if not is_url(cell.value):
                passed_over[cell.field] = "no_url"  # a question mark, or <No Access>
                continue
            got = self._file(image, cell, tried)
            if isinstance(got, str):
                passed_over[cell.field] = got
            else:
                content, picture, thumbnail = got
                return BestContainer(cell.field, content, picture, thumbnail, passed_over)
        raise NoReadableContainer(passed_over)

    def _file(self, image: SourceImage, cell: ContainerValue, tried: int) -> InspectedFile | str:
        """Return the picture of a container by either way, or why there is none."""
        if self._web_engine_stopped and (other := self._by_odata(image, cell)) is not None:
            return other
        try:
            got = self._download(image.record_id, cell)
        except (ContainerExpired, ServerTimeout, ServerUnavailable) as error:
            self._web_engine_stopped |= isinstance(error, DownloadsStopped)
            if (other := self._by_odata(image, cell)) is not None:
                return other
            if isinstance(error, DownloadsStopped) or tried < ATTEMPTS_BEFORE_NEXT_CONTAINER:
                raise
            return "does_not_come"
        other = self._by_odata(image, cell) if isinstance(got, str) else None
        return got if other is None else other

    def _download(self, record_id: int, cell: ContainerValue) -> InspectedFile | str:
        """Return the picture, or why the container has none; a failure is confirmed with a new URL."""
        reason = self._once(record_id, cell)
        if not isinstance(reason, str):
            return reason
        record = self.client.record(self.layout.name, record_id)
        if record is None:
            raise RecordMissing(f"The record {record_id} of the layout {self.layout.name} is gone.", code=101)
        containers = read_image(self.layout, record).containers
        fresh = next((each for each in containers if each.name == cell.name), None)
        return self._once(record_id, fresh) if fresh and is_url(fresh.value) else reason

    def _once(self, record_id: int, cell: ContainerValue) -> InspectedFile | str:
        try:
            file = self.downloads.download(self.layout.name, record_id, cell.name, str(cell.value))
        except ContainerNotAFile:
            return "html"
        except ContainerRefused:
            return "refused"
        except ContainerTooLarge:
            return "too_large"
        return _inspected(file.content)

    def _by_odata(self, image: SourceImage, cell: ContainerValue) -> InspectedFile | None:
        """Return the picture that OData sends for a container; None if there is none."""
        if self.odata is None:
            return None
        try:
            got = _inspected(self.odata.file(image, cell))
        except FileMakerError as error:
            _log.info("OData does not send the container either. %s", error.what)
            return None
        return None if isinstance(got, str) else got


def _inspected(content: bytes) -> InspectedFile | str:
    looked = inspect_with_thumbnail(content)
    if looked == RejectedPicture("no_memory"):
        raise OutOfMemory("There was not enough memory to decode a picture.")
    return looked.reason if isinstance(looked, RejectedPicture) else (content, *looked)
