"""The client against the stand-in: sessions, dates, rows, writing."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from fm_pipeline.filemaker.data_api.client import fields_in
from fm_pipeline.filemaker.errors import (
    AccountLocked,
    DatabaseNotOpen,
    FieldMissing,
    LayoutMissing,
    PrivilegeMissing,
    RecordChanged,
    RecordInUse,
    RequestRefused,
    ServerBusy,
    ServerTooOld,
    ServerUnavailable,
    SlashRefused,
    TokenInvalid,
    WrongPassword,
)
from fm_pipeline.sandbox.filemaker.call import Behaviour
from fm_pipeline.sandbox.filemaker.data.schema import FieldDefinition, ServerAccount
from fm_pipeline_tests.filemaker.conftest import PASSWORD, Clinic, clinic_of_version, clinic_with


def test_one_session_serves_all_calls_and_is_logged_out_at_the_end(clinic: Clinic) -> None:
    clinic.notes(3)
    with clinic.client() as client:
        client.layouts()
        client.page("API_Notes", 1, 10)
        client.record("API_Notes", 1)
        assert clinic.server.counters()["open_sessions"] == 1
    assert clinic.answered("login") == 1
    assert clinic.server.counters()["open_sessions"] == 0


def test_the_session_is_logged_out_when_the_work_fails(clinic: Clinic) -> None:
    def work() -> None:
        with clinic.client() as client:
            client.layouts()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert clinic.server.counters()["open_sessions"] == 0


def test_a_failed_logout_never_hides_why_the_work_failed(clinic: Clinic) -> None:
    def work() -> None:
        with clinic.client() as client:
            client.layouts()
            clinic.server.disturb("bad_gateway", of=["logout"], times=None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert clinic.answered("logout") == 1


def test_a_failed_logout_makes_no_failure_of_what_was_done(clinic: Clinic, caplog: pytest.LogCaptureFixture) -> None:
    with clinic.client() as client:
        client.layouts()
        clinic.server.disturb("bad_gateway", of=["logout"], times=None)
    assert clinic.answered("logout") == 1
    assert "The session was not ended" in caplog.text


def test_a_wrong_password_is_asked_exactly_once(clinic: Clinic) -> None:
    with pytest.raises(WrongPassword, match="Correct FILEMAKER_USERNAME and FILEMAKER_PASSWORD"):
        clinic.client(password="wrong").layouts()
    assert clinic.answered("login") == 1
    assert clinic.pauses == []


def test_a_locked_account_is_not_tried_again(clinic: Clinic) -> None:
    clinic.server.faults(lockout_after=1)
    with pytest.raises(WrongPassword):
        clinic.client(password="wrong").layouts()
    with pytest.raises(AccountLocked, match="Wait 15 minutes"):
        clinic.client().layouts()
    assert clinic.answered("login") == 2


def test_a_password_that_was_changed_during_the_run_is_asked_once_more_only(clinic: Clinic) -> None:
    with clinic.client() as client:
        client.layouts()
        clinic.store.add_account(clinic.database, ServerAccount("pipeline", "a new one"))
        clinic.server.end_sessions()
        with pytest.raises(WrongPassword):
            client.layouts()
    assert clinic.answered("login") == 2


def test_a_missing_privilege_is_reported_by_its_name(clinic: Clinic) -> None:
    clinic.store.add_account(clinic.database, ServerAccount("guest", "x", privileges=()))
    with pytest.raises(PrivilegeMissing, match="extended privilege fmrest"):
        clinic.client(username="guest", password="x").layouts()


def test_a_missing_privilege_that_a_server_calls_a_wrong_password_is_named_too(tmp_path: Path) -> None:
    with clinic_with(Behaviour(no_fmrest_code=212), tmp_path) as clinic:
        clinic.store.add_account(clinic.database, ServerAccount("guest", "x", privileges=()))
        with pytest.raises(WrongPassword, match="lacks the extended privilege fmrest"):
            clinic.client(username="guest", password="x").layouts()


def test_an_unknown_file_is_reported_with_the_setting_to_check(clinic: Clinic) -> None:
    with pytest.raises(DatabaseNotOpen, match="Check FILEMAKER_DATABASE"):
        clinic.client(database="elsewhere").layouts()


@pytest.mark.parametrize("code", [812, 956])
def test_a_server_without_free_sessions_is_reported_as_busy(clinic: Clinic, code: int) -> None:
    clinic.server.faults(session_limit=0, session_limit_code=code)
    with pytest.raises(ServerBusy, match="Disconnect idle Data API clients"):
        clinic.client().layouts()


def test_a_session_that_ended_after_fifteen_minutes_is_replaced(clinic: Clinic) -> None:
    clinic.notes(1)
    with clinic.client() as client:
        client.layouts()
        clinic.server.advance(minutes=16)
        assert client.page("API_Notes", 1, 10).found_count == 1
    assert clinic.answered("login") == 2
    assert clinic.server.counters()["open_sessions"] == 0


@pytest.mark.parametrize("code", [952, 112])
def test_a_session_that_is_refused_twice_in_a_row_is_an_error(clinic: Clinic, code: int) -> None:
    clinic.server.disturb("code", code=code, times=None, of=["layouts"])
    with pytest.raises(TokenInvalid, match="FILEMAKER_DATABASE is spelled exactly"), clinic.client() as client:
        client.layouts()
    assert clinic.answered("layouts") == 2


def test_layouts_in_folders_are_listed_like_the_others(clinic: Clinic) -> None:
    clinic.layout("Start", ["id"])
    clinic.layout("API_Notes", ["id"], folder="API")
    with clinic.client() as client:
        assert sorted(client.layouts()) == ["API_Notes", "Start"]


def test_a_layout_with_blank_slash_and_umlaut_in_its_name_is_found(clinic: Clinic) -> None:
    clinic.layout("Ärzte / alle", ["id"], [{"id": "a"}])
    with clinic.client() as client:
        assert [field.name for field in client.layout_fields("Ärzte / alle")] == ["id"]
        assert client.page("Ärzte / alle", 1, 10).records[0].fields == {"id": "a"}


def test_a_slash_that_the_web_server_refuses_is_named(tmp_path: Path) -> None:
    """Seen by the integration tests of go-filemaker on a real server: `%2F` is 404 before the Data API sees it."""
    with clinic_with(Behaviour(passes_slashes=False), tmp_path) as clinic:
        clinic.layout("Notes / all", ["id"])
        clinic.layout("Notes", ["id"])
        with clinic.client() as client:
            assert [field.name for field in client.layout_fields("Notes")] == ["id"]
            with pytest.raises(SlashRefused, match="Notes / all") as refused:
                client.layout_fields("Notes / all")
    assert "without a slash" in refused.value.remedy


@pytest.mark.parametrize("code", [1630, 1700])
def test_a_slash_that_makes_another_url_of_the_request_is_named(clinic: Clinic, code: int) -> None:
    clinic.layout("Notes / all", ["id"])
    clinic.server.disturb("code", code=code, times=None, of=["layout", "records"])
    with clinic.client() as client:
        for question in (client.layout_fields, lambda name: client.page(name, 1, 1)):
            with pytest.raises(SlashRefused, match="Notes / all"):
                question("Notes / all")
        with pytest.raises(RequestRefused):
            client.page("Notes", 1, 1)


def test_a_field_that_is_placed_several_times_has_the_repetitions_of_all_its_places() -> None:
    places = [("dose", 6, 8), ("id", 1, 1), ("dose", 1, 2), ("id", 1, 1)]
    described = [{"name": name, "repetitionStart": a, "repetitionEnd": b} for name, a, b in places]
    assert [(field.name, field.repetitions) for field in fields_in(described)] == [
        ("dose", (1, 2, 6, 7, 8)),
        ("id", (1,)),
    ]


def test_layout_fields_tell_type_and_repetitions(clinic: Clinic) -> None:
    clinic.layout("L", [FieldDefinition("seen", "timestamp"), FieldDefinition("phone", repetitions=3)])
    with clinic.client() as client:
        seen, phone = client.layout_fields("L")
    assert (seen.result, seen.repetitions) == ("timeStamp", (1,))
    assert phone.repetitions == (1, 2, 3)


def test_a_missing_layout_is_reported_by_name(clinic: Clinic) -> None:
    with pytest.raises(LayoutMissing, match="API_Notes"), clinic.client() as client:
        client.layout_fields("API_Notes")


def test_a_find_without_a_match_and_a_record_that_is_gone_are_no_errors(clinic: Clinic) -> None:
    clinic.notes(2)
    with clinic.client() as client:
        assert client.find("API_Notes", [{"id": "==nobody"}]).records == ()
        assert client.record("API_Notes", 99) is None


def test_a_find_gives_the_page_that_is_asked_for_in_the_order_asked_for(clinic: Clinic) -> None:
    clinic.notes(9)
    sort = [{"fieldName": "id", "sortOrder": "descend"}]
    with clinic.client() as client:
        page = client.find("API_Notes", [{"patient_id": "==p"}], offset=2, limit=2, sort=sort)
    assert (page.found_count, [record.record_id for record in page.records]) == (9, [8, 7])


def test_dates_come_in_iso_form_and_older_servers_are_asked_for_it_once(clinic: Clinic, tmp_path: Path) -> None:
    def read_twice(of: Clinic) -> tuple[str | None, object]:
        of.layout("L", [FieldDefinition("born", "date")], [{"born": "2001-02-03"}])
        with of.client() as client:
            client.page("L", 1, 1)
            return client.date_format, client.find("L", [{"born": "*"}]).records[0].fields["born"]

    assert read_twice(clinic) == ("iso", "2001-02-03")
    with clinic_of_version(19, tmp_path) as old:
        assert read_twice(old) == ("us", "02/03/2001")
        assert old.server.counters()["answers"]["960"] == 1


def test_a_server_that_does_not_count_its_records_is_too_old(tmp_path: Path) -> None:
    with clinic_of_version(17, tmp_path) as old, old.client() as client:
        old.notes(1)
        with pytest.raises(ServerTooOld, match="FileMaker Server 18 or later"):
            client.page("API_Notes", 1, 10)


def test_the_version_can_be_read_without_an_account(clinic: Clinic) -> None:
    with clinic.client(password="wrong") as client:
        assert client.product_info()["version"].startswith("21.")


def test_an_edit_returns_the_new_modification_id(clinic: Clinic) -> None:
    clinic.notes(1)
    with clinic.client() as client:
        read = client.record("API_Notes", 1)
        assert read is not None
        assert client.edit("API_Notes", 1, {"note": "c"}, read.mod_id) == read.mod_id + 1
        edited = client.record("API_Notes", 1)
        assert edited is not None
        assert edited.fields["note"] == "c"


def test_a_record_that_does_not_exist_is_none(clinic: Clinic) -> None:
    clinic.notes(1)
    with clinic.client() as client:
        assert client.record("API_Notes", 2) is None


def test_an_edit_of_a_record_that_somebody_changed_leaves_it_as_it_is(clinic: Clinic) -> None:
    clinic.notes(1)
    with clinic.client() as client:
        client.edit("API_Notes", 1, {"note": "theirs"})
        with pytest.raises(RecordChanged, match="Read the record again"):
            client.edit("API_Notes", 1, {"note": "ours"}, mod_id=0)
        found = client.record("API_Notes", 1)
    assert found is not None
    assert found.fields["note"] == "theirs"


def test_an_edit_of_an_open_record_and_of_a_field_off_the_layout_say_what_to_do(clinic: Clinic) -> None:
    clinic.notes(1)
    clinic.server.faults(records_in_use={"API_Notes": [1]})
    with clinic.client() as client:
        with pytest.raises(RecordInUse, match="to leave it"):
            client.edit("API_Notes", 1, {"note": "x"})
        with pytest.raises(FieldMissing, match="Place the field on the layout"):
            client.edit("API_Notes", 1, {"elsewhere": "x"})


def test_an_edit_with_a_modification_id_is_never_repeated(clinic: Clinic) -> None:
    clinic.notes(1)
    clinic.server.disturb("bad_gateway", of=["edit"], times=None)
    with clinic.client() as client, pytest.raises(ServerUnavailable, match="it may have been done"):
        client.edit("API_Notes", 1, {"note": "x"}, 0)
    assert clinic.answered("edit") == 1


def test_two_threads_never_send_two_requests_at_the_same_time(clinic: Clinic) -> None:
    clinic.notes(50)
    with clinic.client() as client:
        threads = [
            threading.Thread(target=lambda: [client.page("API_Notes", offset, 5) for offset in range(1, 50, 5)])
            for _ in "abc"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert clinic.server.counters()["most_under_way"] == 1
    assert clinic.answered("login") == 1


def test_no_value_and_no_password_is_in_logs_or_errors(clinic: Clinic, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    clinic.layout("L", ["name"], [{"name": "Canarygrove"}])
    clinic.server.disturb("bad_gateway", times=2)
    with clinic.client() as client:
        client.page("L", 1, 1)
        client.find("L", [{"name": "==Canarygrove"}])
        with pytest.raises(FieldMissing) as refused:
            client.edit("L", 1, {"elsewhere": "Canarygrove"})
    assert "did not answer" in caplog.text
    for text in (caplog.text, str(refused.value)):
        assert "Canarygrove" not in text
        assert PASSWORD not in text
