"""Containers: statements 60 to 65, 53b and 54, by plain HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from fm_pipeline.sandbox.filemaker.call import Behaviour
from fm_pipeline.sandbox.filemaker.data.schema import ServerAccount, StoredContainerFile
from fm_pipeline.sandbox.filemaker.data.store import Store
from fm_pipeline_tests.sandbox.filemaker.raw import PASSWORD, Raw
from fm_pipeline_tests.sandbox.filemaker.running import StandIn, running_stand_in
from fm_pipeline_tests.support.pictures import PDF, picture

JPEG = picture(1)


@pytest.fixture
def photo(client: Raw, store: Store, database: str) -> str:
    """The URL of the first patient's photograph."""
    store.edit(database, "Patients", 1, {"photo": StoredContainerFile(JPEG)})
    return url_of(client)


@pytest.fixture
def open_client(store: Store, database: str) -> Iterator[Raw]:
    """Logged in to a server that has AuthenticatedStream=2."""
    with running_stand_in(store, behaviour=Behaviour(authenticated_stream=2)) as server:
        made = Raw(server.base_url, database)
        made.login()
        yield made
        made.session.close()


def url_of(client: Raw, number: int = 1) -> str:
    return str(client.record("API_Patients", number).column("photo")[0])


def get(url: str, cookie: str = "", token: str = "") -> requests.Response:
    headers = {"Cookie": cookie} if cookie else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(url, headers=headers, allow_redirects=False, timeout=10)


def upload(client: Raw, rest: str, **options: Any) -> tuple[tuple[int, str], str, dict[str, Any]]:
    files = options.pop("files", {"upload": ("new.jpg", picture(2), "image/jpeg")})
    answer = client.request("POST", client.on("API_Patients", f"/records/{rest}"), files=files, **options)
    return answer.end, answer.message, answer.response


def test_a_container_is_empty_or_an_opaque_url_of_the_server(client: Raw, photo: str) -> None:  # 60
    pattern = re.escape(client.base_url) + r"/Streaming_SSL/MainDB/[0-9a-f]{64}\.jpg\?RCType=EmbeddedRCFileProcessor"
    assert re.fullmatch(pattern, photo)
    assert client.records("API_Patients").column("photo") == [url_of(client), "", "", ""]


def test_the_variants_of_a_url(client: Raw, store: Store, database: str) -> None:
    other = StoredContainerFile(JPEG, name="no ending", stored="external", folder="Additional_1")
    store.edit(database, "Patients", 2, {"photo": other})
    assert re.search(r"/Streaming_SSL/Additional_1/[0-9a-f]{64}\?RCType=RCFileProcessor$", url_of(client, 2))
    store.edit(database, "Patients", 2, {"photo": "?"})
    assert url_of(client, 2) == "?"


def test_the_hand_shake_asks_for_the_token_and_then_for_the_cookie(client: Raw, photo: str) -> None:  # 61
    assert get(photo).status_code == 401
    assert get(photo, token="ab" * 26).status_code == 401
    first = get(photo, token=client.token)
    assert first.status_code == 302
    assert re.fullmatch(r"X-FMS-Session-Key=\w+; Path=/Streaming_SSL; HttpOnly", first.headers["Set-Cookie"])
    location = first.headers["Location"]
    assert get(location).status_code == get(location, token=client.token).status_code == 401
    got = get(location, cookie=first.headers["Set-Cookie"].partition(";")[0])
    assert (got.status_code, got.content, got.headers["Content-Type"]) == (200, JPEG, "image/jpeg")  # 64
    assert got.headers["Content-Length"] == str(len(JPEG))


def test_a_server_may_hand_out_the_cookie_without_the_token(  # 62
    open_client: Raw, store: Store, database: str
) -> None:
    store.edit(database, "Patients", 1, {"photo": StoredContainerFile(JPEG)})
    first = get(url_of(open_client))
    assert first.status_code == 302
    assert get(first.headers["Location"]).status_code == 401
    assert get(first.headers["Location"], cookie=first.headers["Set-Cookie"]).content == JPEG


def test_a_server_may_answer_with_the_file_at_once(store: Store, database: str) -> None:
    store.edit(database, "Patients", 1, {"photo": StoredContainerFile(JPEG)})
    with running_stand_in(store, behaviour=Behaviour(redirects_streams=False)) as server:
        direct = Raw(server.base_url, database)
        direct.login()
        assert get(url_of(direct), token=direct.token).content == JPEG
        assert get(url_of(direct)).status_code == 401
        direct.session.close()


def test_the_cookie_is_good_for_the_original_url_too_with_its_attributes(client: Raw, photo: str) -> None:  # 62b
    cookie = get(photo, token=client.token).headers["Set-Cookie"]
    assert get(photo, cookie=cookie).content == JPEG
    assert get(photo, cookie=cookie).content == JPEG
    assert get(photo, cookie="X-FMS-Session-Key=wrong").status_code == 401


def test_a_url_dies_with_its_session_and_the_next_one_gives_another(  # 63
    client: Raw, photo: str, stand_in: StandIn
) -> None:
    cookie = get(photo, token=client.token).headers["Set-Cookie"]
    stand_in.advance(minutes=14)
    assert get(photo, cookie=cookie).status_code == 200  # a download is no call: the session goes on to age
    stand_in.advance(minutes=2)
    assert get(photo, cookie=cookie).status_code == get(photo, token=client.token).status_code == 401
    client.login()
    assert url_of(client) != photo
    assert get(photo, token=client.token).status_code == 401
    assert get(url_of(client), token=client.token).status_code == 302


@pytest.mark.hard_case(502)
def test_comes_after_so_many_downloads_for_a_time(client: Raw, photo: str, stand_in: StandIn) -> None:  # 65
    stand_in.hold_clock("2026-03-01T09:00:00")
    client.login()
    photo = url_of(client)
    cookie = get(photo, token=client.token).headers["Set-Cookie"]
    stand_in.disturb("bad_gateway", of=["container"], after=3, times=None, lasts=300)
    assert [get(photo, cookie=cookie).status_code for _ in range(5)] == [200, 200, 200, 502, 502]
    stand_in.advance(minutes=5)
    assert get(photo, cookie=cookie).status_code == 200
    assert stand_in.counters()["requests"]["container"] == 6


def test_a_file_can_arrive_cut_halved_or_as_a_page(client: Raw, photo: str, stand_in: StandIn) -> None:
    cookie = get(photo, token=client.token).headers["Set-Cookie"]
    stand_in.disturb("half", of=["container"])
    assert get(photo, cookie=cookie).content == JPEG[: len(JPEG) // 2]
    stand_in.disturb("cut", of=["container"])
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        get(photo, cookie=cookie)
    stand_in.disturb("unauthorized", of=["container"])
    assert get(photo, cookie=cookie).status_code == 401
    stand_in.disturb("wrong_content", of=["container"])
    assert get(photo, cookie=cookie).headers["Content-Type"].startswith("text/html")


def test_an_upload_fills_a_container_and_adds_one_to_the_modification_id(client: Raw) -> None:  # 53b
    assert upload(client, "1/containers/photo/1") == ((200, "0"), "OK", {"modId": "1"})
    assert upload(client, "1/containers/photo", params={"modId": "1"})[2] == {"modId": "2"}
    cookie = get(url_of(client), token=client.token).headers["Set-Cookie"]
    assert get(url_of(client), cookie=cookie).content == picture(2)
    assert upload(client, "1/containers/photo/1", params={"modId": "1"})[0] == (500, "306")


def test_any_type_may_be_uploaded_byte_for_byte(client: Raw) -> None:
    content = b"\r\n--\r\n" + bytes(range(256)) + PDF + b"\r\n"
    upload(client, "1/containers/photo/1", files={"upload": ("letter.pdf", content, "application/pdf")})
    assert ".pdf?" in url_of(client)
    cookie = get(url_of(client), token=client.token).headers["Set-Cookie"]
    got = get(url_of(client), cookie=cookie)
    assert (got.content, got.headers["Content-Type"]) == (content, "application/pdf")


def test_an_upload_without_the_part_called_upload_is_refused_with_that_message(client: Raw) -> None:  # 54
    end, message, _ = upload(client, "1/containers/photo/1", files={"file": ("new.jpg", b"x", "image/jpeg")})
    assert (end, message) == ((400, "960"), "Upload payload must contain a part named 'upload'.")


@pytest.mark.parametrize(
    ("rest", "code"), [("1/containers/name/1", "102"), ("1/containers/photo/2", "102"), ("99/containers/photo", "101")]
)
def test_an_upload_to_a_missing_field_or_record_is_refused(client: Raw, rest: str, code: str) -> None:
    assert upload(client, rest)[0] == (500, code)


def test_an_upload_to_a_record_in_use_is_301(client: Raw, stand_in: StandIn) -> None:
    stand_in.faults(records_in_use={"Patients": [1]})
    assert upload(client, "1/containers/photo/1")[0] == (500, "301")


def test_a_container_without_privilege_shows_no_access(visitor: Raw, store: Store, database: str) -> None:
    store.add_account(database, ServerAccount("blind", PASSWORD, no_access={"Patients": ["photo"]}))
    visitor.login("blind")
    assert visitor.record("API_Patients", 1).column("photo") == ["<No Access>"]
    assert upload(visitor, "1/containers/photo/1")[0] == (500, "201")
