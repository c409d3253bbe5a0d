"""The rules: complete, in order, and what a clinic may change about them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fm_pipeline.staging
from fm_pipeline.entities.rules import FEWEST_ROWS_FOR_A_SHARE, Rule, load_rules
from fm_pipeline.errors import SettingsError

RULES = load_rules()
MAPPING_PAGE = Path(__file__).parents[2] / "docs" / "mapping.md"
# Words in backticks on the page that look like rules and are names of fields and tables.
NAMES_OF_RULES = re.compile(r"_(unknown|ambiguous|twice|missing|not_\w+|without_\w+|in_\w+|removed|unreadable|empty)$")


def write(folder: Path, text: str) -> Path:
    file = folder / "rules.yaml"
    file.write_text(text, "utf-8")
    return file


def test_every_rule_of_the_mapping_page_exists_and_every_rule_is_on_the_page() -> None:
    words = set(re.findall(r"`([a-z][a-z0-9_]*)`", MAPPING_PAGE.read_text("utf-8")))
    # "and so on" on the page
    named = words | {f"{what}_unknown" for what in ("clinic", "clinician", "appointment_type", "funding")}
    assert set(RULES.by_id) - named == set()
    assert {word for word in named if NAMES_OF_RULES.search(word)} <= set(RULES.by_id)


def test_every_rule_that_the_code_notices_exists() -> None:
    noticed = set()
    for file in Path(fm_pipeline.staging.__path__[0]).rglob("*.py"):
        text = file.read_text("utf-8")
        noticed |= set(re.findall(r'(?:notice\(|append\(|empty=|(?<!\w)\[)"([a-z]+_[a-z_]+)"', text))
    assert {"dob_in_future", "nul_byte_removed", "title_unknown", "appointment_without_type"} <= noticed
    assert noticed - set(RULES.by_id) == set()


@pytest.mark.parametrize("rule", RULES.by_id.values(), ids=RULES.by_id)
def test_a_rule_says_what_it_means_and_what_to_do(rule: Rule) -> None:
    assert rule.means.endswith(".")
    assert rule.remedy.endswith(".")
    assert rule.action in rule.allowed
    assert "flag" not in rule.allowed or rule.action in ("flag", "stop")
    assert rule.stop_above is None or (rule.action != "stop" and 0 < rule.stop_above < 1)


def test_two_rows_for_one_name_or_id_can_only_be_a_stop() -> None:
    fixed = {rule.id for rule in RULES.by_id.values() if rule.allowed == ("stop",)}
    assert {
        "source_empty", "filemaker_id_missing", "filemaker_id_twice", "clinic_ambiguous", "clinician_ambiguous",
        "appointment_type_ambiguous", "funding_ambiguous", "nexus_grant_missing", "nexus_row_security",
    } <= fixed  # fmt: skip


def test_the_policy_that_is_shipped_is_chosen_by_its_name_and_leaves_what_must_stop() -> None:
    quarantine = load_rules(Path("quarantine"))
    changed = {rule.id for rule in quarantine.by_id.values() if rule != RULES[rule.id]}
    assert {rule.id: rule.action for rule in quarantine.by_id.values() if rule.id in changed} == {
        "patient_without_clinic": "flag",
        "appointment_without_clinic": "flag",
        "appointment_without_clinician": "flag",
        "appointment_without_type": "flag",
        "clinic_unknown": "quarantine",
        "clinician_unknown": "quarantine",
        "appointment_type_unknown": "quarantine",
        "funding_unknown": "quarantine",
        "value_too_long": "quarantine",
    }
    with pytest.raises(SettingsError, match="cannot be read"):
        load_rules(Path("lenient"))


@pytest.mark.parametrize(
    "text", ["source_shrunk: {least: 2}", "source_shrunk: {stop_above: 0.1}", "source_empty: flag"]
)
def test_what_is_asked_of_the_whole_source_is_changed_by_its_own_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"source_(shrunk|empty)"):
        load_rules(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("source_empty: {may_be_empty: sms_message}", "must be a list of entities"),
        ("source_empty: {may_be_empty: [messages]}", "names messages, but the entities are patient, "),
        ("source_empty: {may_be_empty: [patient]}", "without patients there is nothing to import"),
        ("source_empty: {stop_above: 0.5}", "can have action and may_be_empty, not stop_above"),
        ("source_shrunk: {least_of: {note: 40}}", "must give entities a share from 0 to 1"),
        ("source_shrunk: {least_of: [note]}", "must give entities a share from 0 to 1"),
        ("source_shrunk: {least_of: {notes: 0.4}}", "names notes, but the entities are"),
    ],
)
def test_an_exception_for_one_entity_that_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match="source_") as caught:
        load_rules(write(tmp_path, text))
    assert says in str(caught.value)


def test_the_first_rule_in_the_order_of_the_file_decides() -> None:
    assert RULES.outcome({"clinic_unknown", "record_without_patient", "title_unknown"}) == "record_without_patient"
    assert RULES.outcome({"patient_unknown", "file_not_in_nexus"}) == "file_not_in_nexus"
    assert RULES.outcome({"title_unknown"}) is None


def test_a_clinic_changes_actions_and_limits(tmp_path: Path) -> None:
    rules = load_rules(
        write(
            tmp_path,
            "appointment_without_clinician: flag\n"
            "date_unreadable: {action: quarantine, stop_above: 0.2}\n"
            "patient_unknown: {stop_above: null}\n",
        )
    )
    assert rules["appointment_without_clinician"].action == "flag"
    assert (rules["date_unreadable"].action, rules["date_unreadable"].stop_above) == ("quarantine", 0.2)
    assert rules["patient_unknown"].stop_above is None
    assert list(rules.by_id) == list(RULES.by_id)
    assert rules.outcome({"appointment_without_clinician"}) is None
    assert rules.outcome({"date_unreadable"}) == "date_unreadable"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_rules(write(tmp_path, "# nothing yet\n")) == RULES


def test_everything_that_is_wrong_in_the_file_is_named_at_once(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "clinic_ambigous: flag\n"
        "filemaker_id_twice: quarantine\n"
        "title_unknown: skip\n"
        "sex_unknown: {stop_above: 5}\n"
        "status_unknown: {limit: 0.5}\n"
        "dob_in_future: [flag]\n"
        "date_unreadable: {stop_above: true}\n",
    )
    with pytest.raises(SettingsError) as caught:
        load_rules(file)
    assert str(caught.value).count(";") >= 6
    for text in (
        "there is no rule clinic_ambigous",
        "the action of filemaker_id_twice may be stop",
        "the action of title_unknown may be flag or quarantine or stop",
        "stop_above of sex_unknown must be a share from 0 to 1",
        "status_unknown can have action and stop_above, not limit",
        "the action of dob_in_future may be",
        "stop_above of date_unreadable must be",
    ):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("- title_unknown\n", "title_unknown", "a: b: c\n", "a: [\n", "\tx"),
        "title_unknown: &within_itself\n  action: *within_itself\n",
    ],
)
def test_a_file_that_is_no_list_of_rules_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="rules file"):
        load_rules(write(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "title_unknown: stop\nsex_unknown: stop\ntitle_unknown: flag\n",
        "sex_unknown: stop\n\ntitle_unknown: {action: flag, action: stop}\n",
    ],
)
def test_what_stands_twice_in_the_file_is_refused_because_the_last_would_win_unseen(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"(title_unknown|action) is there twice, again in line 3\."):
        load_rules(write(tmp_path, text))


def test_a_tab_is_told_as_a_tab_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"line 2.*blanks, never with tabs"):
        load_rules(write(tmp_path, "title_unknown:\n\taction: flag\n"))


def test_a_file_that_is_not_there_or_not_utf_8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_rules(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_rules(tmp_path / "latin.yaml")


def test_a_share_of_a_handful_of_rows_never_stops() -> None:
    rule = RULES["date_unreadable"]
    assert not rule.is_exceeded(FEWEST_ROWS_FOR_A_SHARE - 1, FEWEST_ROWS_FOR_A_SHARE)
    assert rule.is_exceeded(FEWEST_ROWS_FOR_A_SHARE, FEWEST_ROWS_FOR_A_SHARE)
    assert not rule.is_exceeded(50, 1000)
    assert rule.is_exceeded(51, 1000)
