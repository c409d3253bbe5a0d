"""The rules of docs/mapping.md as data: what each means, what it does, and what a clinic may change about it.

A policy is a file that changes some of them: the clinic's own, or one that comes with the pipeline
(`policies/quarantine.yaml`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from fm_pipeline.entities.registry import ENTITIES
from fm_pipeline.entities.yaml_keys import repeated_key
from fm_pipeline.errors import SettingsError

Action = Literal["stop", "quarantine", "skip", "flag"]

# Below so many rows a share says nothing: one odd record in a table of ten is ten per cent.
FEWEST_ROWS_FOR_A_SHARE = 20
RECORDS_HIDDEN = "filemaker_records_hidden"  # asked for by the preflight and by each sync


@dataclass(frozen=True)
class Rule:
    """One rule; the attributes are described at the top of rules.yaml."""

    id: str
    means: str
    remedy: str
    action: Action
    allowed: tuple[Action, ...]
    stop_above: float | None = None
    least: float | None = None
    least_of: Mapping[str, float] | None = None
    may_be_empty: tuple[str, ...] | None = None

    @property
    def threshold(self) -> str:
        """The limit in words; empty when there is none."""
        if self.stop_above is not None:
            return f"stop above {self.stop_above:.0%} of the rows"
        if self.least is not None:
            of = "".join(f", {entity} {share:.0%}" for entity, share in (self.least_of or {}).items())
            return f"at least {self.least:.0%} of before{of}"
        return f"not for {', '.join(self.may_be_empty)}" if self.may_be_empty else ""

    def is_exceeded(self, rows: int, of: int) -> bool:
        """Whether so many of the entity's rows broke the rule that it becomes a stop."""
        return self.stop_above is not None and rows >= FEWEST_ROWS_FOR_A_SHARE and rows > self.stop_above * of

    def is_too_few(self, rows: int, of: int, entity: str = "") -> bool:
        """Whether so many rows are less than the share of those before that there must be at least.

        Args:
            entity: whose own share counts, if it has one.
        """
        least = (self.least_of or {}).get(entity, self.least)
        return least is not None and of >= FEWEST_ROWS_FOR_A_SHARE and rows < least * of


@dataclass(frozen=True)
class Rules:
    """All rules by id, in the order in which they decide."""

    by_id: Mapping[str, Rule]

    def __getitem__(self, rule_id: str) -> Rule:
        return self.by_id[rule_id]

    @cached_property
    def _deciding(self) -> dict[str, int]:
        """Position of the rules that keep a row out."""
        return {rule.id: n for n, rule in enumerate(self.by_id.values()) if rule.action != "flag"}

    def outcome(self, noticed: set[str]) -> str | None:
        """The rule that keeps a row out: the first in the order of rules.yaml. None when the row is ready."""
        deciding = [rule for rule in noticed if rule in self._deciding]
        return min(deciding, key=self._deciding.__getitem__) if deciding else None


def load_rules(path: Path | None = None, entities: Collection[str] = ()) -> Rules:
    """The rules, with what a clinic's own file changes.

    Args:
        path: a YAML file that gives rules another action (`title_unknown: quarantine`) or another limit
            (`date_unreadable: {stop_above: 0.1}`), or both; or the bare name of a policy that comes with the
            pipeline. None for the defaults.
        entities: that it may name beside those that come with the pipeline.

    Raises:
        SettingsError: names every line of the file that is wrong.
    """
    rules, entities = dict(_shipped_rules()), [*dict.fromkeys([*ENTITIES, *entities])]
    if path is not None:
        faults: list[str] = []
        for name, wanted in _read_changes(path).items():
            rules_or_fault = _changed(rules.get(str(name)), name, wanted, entities)
            if isinstance(rules_or_fault, Rule):
                rules[rules_or_fault.id] = rules_or_fault
            else:
                faults.append(rules_or_fault)
        if faults:
            raise SettingsError(
                f"The rules file {path} is wrong: {'; '.join(faults)}.",
                meaning="No rule was changed.",
                remedy="docs/mapping.md describes the rules; fm_pipeline/entities/rules.yaml lists what each allows.",
            )
    return Rules(rules)


@cache  # every step of a reimport asks for them, one of them while the tables are locked
def _shipped_rules() -> Mapping[str, Rule]:
    shipped = yaml.safe_load(files(__package__).joinpath("rules.yaml").read_text("utf-8"))
    lists = ("allowed", "may_be_empty")
    return {
        name: Rule(name, **fields | {each: tuple(fields[each]) for each in lists if each in fields})
        for name, fields in shipped.items()
    }


def _read_changes(path: Path) -> dict[object, Any]:
    file: Traversable = path
    if str(path).isidentifier():
        file = files(__package__).joinpath("policies", f"{path}.yaml")
    try:
        text = file.read_text("utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        changes = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none; lists without end
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(
            f"The rules file {path} cannot be read ({type(error).__name__}{where}).",
            remedy="Set RULES_FILE to the path of a YAML file in UTF-8, or to quarantine, the policy that is shipped."
            + (" Write one rule a line, and indent with blanks, never with tabs." if mark else ""),
        ) from None
    if changes is None:
        return {}
    if not isinstance(changes, dict):
        raise SettingsError(
            f"The rules file {path} is not a list of rules.",
            remedy="Write one rule a line, for example `title_unknown: quarantine`.",
        )
    if again := repeated_key(root):
        raise SettingsError(
            f"The rules file {path} is wrong: {again.value} is there twice, again in line {again.start_mark.line + 1}.",
            meaning="No rule was changed.",
            remedy="Keep one of the two.",
        )
    return changes


def _changed(rule: Rule | None, name: object, wanted: object, entities: Collection[str]) -> Rule | str:
    """Return the rule with the wanted changes, or what is wrong with them."""
    if rule is None:
        return f"there is no rule {name}"
    changes = wanted if isinstance(wanted, dict) else {"action": wanted}
    known = _parts(rule)
    if unknown := sorted(str(key) for key in changes if key not in known):
        return f"{name} can have {' and '.join(known)}, not {', '.join(unknown)}"
    action = changes.get("action", rule.action)
    if action not in get_args(Action) or action not in rule.allowed:
        return f"the action of {name} may be {' or '.join(rule.allowed)}"
    limits = {limit: changes.get(limit, getattr(rule, limit)) for limit in known[1:]}
    if fault := next((fault for limit, value in limits.items() if (fault := _fault(limit, value, entities))), ""):
        return fault.replace("{}", str(name))
    if "may_be_empty" in limits:
        limits["may_be_empty"] = tuple(limits["may_be_empty"])
    return replace(rule, action=action, **limits)


def _fault(limit: str, value: Any, entities: Collection[str]) -> str:
    """What is wrong with a part of a rule but its action; empty when nothing is. `{}` stands for the rule."""
    if limit in ("stop_above", "least"):
        return "" if value is None or _is_share(value) else f"{limit} of {{}} must be a share from 0 to 1"
    if limit == "least_of" and not (isinstance(value, dict) and all(map(_is_share, value.values()))):
        return "least_of of {} must give entities a share from 0 to 1, as in `note: 0.4`"
    if limit == "may_be_empty" and not isinstance(value, list | tuple):
        return "may_be_empty of {} must be a list of entities, as in [sms_message]"
    if strange := [str(each) for each in value if each not in entities]:
        return f"{limit} of {{}} names {', '.join(strange)}, but the entities are {', '.join(entities)}"
    if limit == "may_be_empty" and "patient" in value:
        return "may_be_empty of {} cannot name patient: without patients there is nothing to import"
    return ""


def _parts(rule: Rule) -> tuple[str, ...]:
    """What a clinic's own file may say of a rule."""
    if rule.may_be_empty is not None:
        return ("action", "may_be_empty")
    return ("action", "stop_above") if rule.least is None else ("action", "least", "least_of")


def _is_share(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= 1
