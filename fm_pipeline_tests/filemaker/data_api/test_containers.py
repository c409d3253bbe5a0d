"""Downloading the files of containers: both modes of the server, and everything that is no file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.data_api.containers import ContainerDownloads, ContainerFile, is_url
from fm_pipeline.filemaker.errors import (
    ContainerElsewhere,
    ContainerExpired,
    ContainerNotAFile,
    ContainerRefused,
    ContainerTooLarge,
    DownloadsStopped,
    RecordMissing,
    ServerTimeout,
    ServerUnavailable,
)
from fm_pipeline.filemaker.transport import origin
from fm_pipeline.sandbox.filemaker.call import Behaviour
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition
from fm_pipeline.sandbox.filemaker.data.schema import StoredContainerFile as Stored
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.filemaker.conftest import Clinic, clinic_on
from fm_pipeline_tests.sandbox.filemaker.running import running_stand_in
from fm_pipeline_tests.support.pictures import ERROR_PAGE, picture

JPEG = picture(1)


def fill(clinic: Clinic) -> Clinic:
    fields = [
        FieldDefinition("id"),
        FieldDefinition("image_Full", "container"),
        FieldDefinition("image_small", "container", repetitions=2),
    ]
    rows: list[dict[str, object]] = [
        {"id": "1", "image_Full": Stored(JPEG), "image_small(2)": Stored(picture(2))},
        {"id": "2", "image_Full": Stored(ERROR_PAGE, mime="text/html")},
    ]
    clinic.layout("API_Images", fields, rows)
    return clinic


@pytest.fixture
def images(clinic: Clinic) -> Clinic:
    return fill(clinic)


@contextmanager
def server_that(folder: Path, **behaves: Any) -> Iterator[Clinic]:
    store = Store(folder / "state.sqlite")
    with running_stand_in(store, behaviour=Behaviour(**behaves)) as server, clinic_on(store, server) as made:
        yield fill(made)
    store.close()


def download(client: DataApiClient, record_id: int = 1, name: str = "image_Full", **how: Any) -> ContainerFile:
    record = client.record("API_Images", record_id)
    assert record
    return ContainerDownloads(client, **how).download("API_Images", record_id, name, str(record.fields[name]))


def test_a_file_comes_with_its_type_and_the_next_one_needs_one_request_only(images: Clinic) -> None:
    with images.client() as client:
        containers = ContainerDownloads(client)
        record = client.record("API_Images", 1)
        assert record
        for _ in range(2):
            got = containers.download("API_Images", 1, "image_Full", str(record.fields["image_Full"]))
            assert (got.content, got.content_type) == (JPEG, "image/jpeg")
    assert (images.answered("container_key"), images.answered("container")) == (1, 2)


@pytest.mark.parametrize("behaves", [{"authenticated_stream": 2}, {"redirects_streams": False}])
def test_the_other_ways_of_servers_work_too(tmp_path: Path, behaves: dict[str, Any]) -> None:
    with server_that(tmp_path, **behaves) as images, images.client() as client:
        assert download(client).content == JPEG
        assert download(client, name="image_small(2)").content == picture(2)


def test_a_url_that_died_with_its_session_is_replaced_by_reading_the_record_again(images: Clinic) -> None:
    with images.client() as client:
        record = client.record("API_Images", 1)
        assert record
        containers, url = ContainerDownloads(client), str(record.fields["image_Full"])
        containers.download("API_Images", 1, "image_Full", url)
        images.server.advance(minutes=16)
        assert containers.download("API_Images", 1, "image_Full", url).content == JPEG
    assert images.answered("login") == 2


@pytest.mark.hard_case(31)
def test_a_repeated_401_is_an_error_after_one_new_url(images: Clinic) -> None:
    images.server.disturb("unauthorized", times=None, of=["container"])
    with images.client() as client, pytest.raises(ContainerExpired):
        download(client)
    assert (images.answered("container"), images.answered("record")) == (2, 2)


@pytest.mark.parametrize("what", ["bad_gateway", "service_unavailable", "gateway_timeout"])
def test_a_web_engine_that_stopped_is_not_asked_again(images: Clinic, what: str) -> None:
    images.server.disturb(what, times=None, of=["container"])
    with images.client() as client, pytest.raises(DownloadsStopped, match="wait an hour"):
        download(client)
    assert images.answered("container") == 1
    assert images.pauses == []


@pytest.mark.hard_case(31)
def test_a_cut_stream_or_wrong_content_length_is_no_file(images: Clinic) -> None:
    images.server.disturb("cut", of=["container"])
    with images.client() as client, pytest.raises(ServerUnavailable):
        download(client)


@pytest.mark.parametrize("record_id", [1, 2])
@pytest.mark.hard_case(28)
def test_a_page_is_never_a_file_whether_the_server_or_the_container_has_it(images: Clinic, record_id: int) -> None:
    if record_id == 1:
        images.server.disturb("wrong_content", of=["container"])
    with images.client() as client, pytest.raises(ContainerNotAFile):
        download(client, record_id)


def test_json_called_a_jpeg_is_no_file(images: Clinic) -> None:
    images.server.disturb("not_json", of=["container"])
    with images.client() as client, pytest.raises(ContainerNotAFile):
        download(client)


def test_a_file_larger_than_the_limit_is_not_read_to_its_end(images: Clinic) -> None:
    with images.client() as client, pytest.raises(ContainerTooLarge):
        download(client, limit=len(JPEG) - 1)


def test_a_file_that_does_not_come_is_a_time_out(images: Clinic) -> None:
    images.server.disturb("slow", seconds=3600, of=["container"])
    with images.client(timeout=0.2) as client, pytest.raises(ServerTimeout):
        download(client)


def test_a_file_in_drops_is_given_up_too(images: Clinic) -> None:
    with images.client() as client, pytest.raises(ServerTimeout, match="within 0 seconds"):
        download(client, longest=0)


def test_a_record_or_file_that_went_meanwhile(images: Clinic) -> None:
    with images.client() as client:
        dead = f"{images.server.base_url}/Streaming_SSL/MainDB/{'a' * 64}.jpg?RCType=EmbeddedRCFileProcessor"
        images.store.edit(images.database, "API_Images", 2, {"image_Full": ""})
        with pytest.raises(ContainerRefused):
            ContainerDownloads(client).download("API_Images", 2, "image_Full", dead)
        images.store.delete(images.database, "API_Images", 2)
        with pytest.raises(RecordMissing):
            ContainerDownloads(client).download("API_Images", 2, "image_Full", dead)


def test_a_url_of_another_server_gets_neither_token_nor_cookie(images: Clinic) -> None:
    port = images.server.base_url.rpartition(":")[2]
    with images.client() as client:
        for stranger in (
            f"http://localhost:{port}/Streaming_SSL/MainDB/a.jpg",
            f"https://127.0.0.1:{port}/Streaming_SSL/MainDB/a.jpg",
            f"http://127.0.0.1:{port}@localhost/a.jpg",
            f"http://user:word@127.0.0.1:{port}/a.jpg",
            "http://127.0.0.1:1/Streaming_SSL/MainDB/a.jpg",
            "http://[broken/a.jpg",
        ):
            with pytest.raises(ContainerElsewhere):
                ContainerDownloads(client).download("API_Images", 1, "image_Full", stranger)
    assert images.answered("container_key") == 0


def test_the_letter_case_of_a_host_and_the_usual_port_make_no_difference() -> None:
    assert origin("https://FileMaker.Clinic.Example:443/x") == origin("https://filemaker.clinic.example/fmi/data")
    assert origin("https://filemaker.clinic.example:444/x") != origin("https://filemaker.clinic.example")


def test_what_a_container_can_hold_besides_a_url() -> None:
    assert is_url("https://host/Streaming_SSL/MainDB/a.jpg")
    assert not any(map(is_url, ("", "?", "<No Access>", "image.jpg", 1)))
