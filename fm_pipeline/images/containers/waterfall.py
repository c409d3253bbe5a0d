"""The waterfall: download the best readable container of a record. A worse one is used only if a better one is broken.

A network failure is not a broken picture. The record then waits for its next turn, so that a large picture is not
replaced by a small one because its download broke off. A container is passed over only if it fails in several runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fm_pipeline.errors import PipelineError
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
from fm_pipeline.images.containers.source import ImageLayout, SourceImage, read_image
from fm_pipeline.images.pictures.inspect import Picture, RejectedPicture, inspect_with_thumbnail

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


def best_container(
    client: DataApiClient, containers: ContainerDownloads, layout: ImageLayout, image: SourceImage, *, tried: int
) -> BestContainer:
    """Download the best picture of a record.

    Args:
        tried: how often the record was tried before.

    Raises:
        NoneReadable, SeveralPictures, NotEnoughMemory: see there.
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
        try:
            got = _download(client, containers, layout, image.record_id, cell.name, str(cell.value))
        except (ContainerExpired, ServerTimeout, ServerUnavailable) as error:
            if isinstance(error, DownloadsStopped) or tried < ATTEMPTS_BEFORE_NEXT_CONTAINER:
                raise
            got = "does_not_come"
        if isinstance(got, str):
            passed_over[cell.field] = got
        else:
            content, picture, thumbnail = got
            return BestContainer(cell.field, content, picture, thumbnail, passed_over)
    raise NoReadableContainer(passed_over)


def _download(
    client: DataApiClient, containers: ContainerDownloads, layout: ImageLayout, record_id: int, name: str, url: str
) -> tuple[bytes, Picture, bytes] | str:
    """Return the picture, or why the container has none; a failure is confirmed with a new URL."""
    reason = _once(containers, layout, record_id, name, url)
    if not isinstance(reason, str):
        return reason
    record = client.record(layout.name, record_id)
    if record is None:
        raise RecordMissing(f"The record {record_id} of the layout {layout.name} is gone.", code=101)
    fresh = next((cell for cell in read_image(layout, record).containers if cell.name == name), None)
    return _once(containers, layout, record_id, name, str(fresh.value)) if fresh and is_url(fresh.value) else reason


def _once(
    containers: ContainerDownloads, layout: ImageLayout, record_id: int, name: str, url: str
) -> tuple[bytes, Picture, bytes] | str:
    try:
        file = containers.download(layout.name, record_id, name, url)
    except ContainerNotAFile:
        return "html"
    except ContainerRefused:
        return "refused"
    except ContainerTooLarge:
        return "too_large"
    looked = inspect_with_thumbnail(file.content)
    if looked == RejectedPicture("no_memory"):
        raise OutOfMemory("There was not enough memory to decode a picture.")
    return looked.reason if isinstance(looked, RejectedPicture) else (file.content, *looked)
