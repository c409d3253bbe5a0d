"""The rules of docs/mapping.md as data: what each means, what it does, and what a clinic may change about it.

A policy is a file that changes some of them: the clinic's own, or one that comes with the pipeline
(`policies/quarantine.yaml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from fm_pipeline.errors import SettingsError

Action = Literal["stop", "quarantine", "skip", "flag"]

# Below so many rows a share says nothing: one odd record in a table of ten is ten per cent.
FEWEST_ROWS_FOR_A_SHARE = 20


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

    @property
    def threshold(self) -> str:
        """The limit in words; empty when there is none."""
        if self.stop_above is not None:
            return f"stop above {self.stop_above:.0%} of the rows"
        return f"at least {self.least:.0%} of before" if self.least is not None else ""

    def is_exceeded(self, rows: int, of: int) -> bool:
        """Whether so many of the entity's rows broke the rule that it becomes a stop."""
        return self.stop_above is not None and rows >= FEWEST_ROWS_FOR_A_SHARE and rows > self.stop_above * of

    def is_too_few(self, rows: int, of: int) -> bool:
        """Whether so many rows are less than the share of those before that there must be at least."""
        return self.least is not None and of >= FEWEST_ROWS_FOR_A_SHARE and rows < self.least * of


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


def load_rules(path: Path | None = None) -> Rules:
    """The rules, with what a clinic's own file changes.

    Args:
        path: a YAML file that gives rules another action (`title_unknown: quarantine`) or another limit
            (`date_unreadable: {stop_above: 0.1}`), or both; or the bare name of a policy that comes with the
            pipeline. None for the defaults.

    Raises:
        SettingsError: names every line of the file that is wrong.
    """
    rules = dict(_shipped_rules())
    if path is not None:
        faults: list[str] = []
        for name, wanted in _read_changes(path).items():
            rules_or_fault = _changed(rules.get(str(name)), name, wanted)
            if isinstance(rules_or_fault, Rule):
                rules[rules_or_fault.id] = rules_or_fault
            else:
                faults.append(rules_or_fault)
        if faults:
            raise SettingsError(
                f"The rules file {path} is wrong: {'; '.join(faults)}.",
                meaning="No rule was changed.",
                remedy="docs/mapping.md describes the rules; fm_pipeline/staging/rules.yaml lists what each allows.",
            )
    return Rules(rules)


@cache  # every step of a reimport asks for them, one of them while the tables are locked
def _shipped_rules() -> Mapping[str, Rule]:
    shipped = yaml.safe_load(files("fm_pipeline.staging").joinpath("rules.yaml").read_text("utf-8"))
    return {name: Rule(name, **fields | {"allowed": tuple(fields["allowed"])}) for name, fields in shipped.items()}


def _read_changes(path: Path) -> dict[object, Any]:
    file: Traversable = path
    if str(path).isidentifier():
        file = files("fm_pipeline.staging").joinpath("policies", f"{path}.yaml")
    try:
        text = file.read_text("utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        changes = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
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
    if again := _again(root):
        raise SettingsError(
            f"The rules file {path} is wrong: {again.value} stands there again in line {again.start_mark.line + 1}.",
            meaning="No rule was changed.",
            remedy="Keep one of the two.",
        )
    return changes


def _again(node: yaml.Node | None) -> yaml.ScalarNode | None:
    """The first key that its mapping has already; YAML would take the last one without a word."""
    if not isinstance(node, yaml.MappingNode):
        return None
    seen = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                return key
            seen.add(key.value)
        if (again := _again(value)) is not None:
            return again
    return None


def _changed(rule: Rule | None, name: object, wanted: object) -> Rule | str:
    """The rule with what is wanted of it, or what is wrong with that."""
    if rule is None:
        return f"there is no rule {name}"
    changes = wanted if isinstance(wanted, dict) else {"action": wanted}
    known = ("action", "stop_above") if rule.least is None else ("action", "least")
    if unknown := sorted(str(key) for key in changes if key not in known):
        return f"{name} can have {' and '.join(known)}, not {', '.join(unknown)}"
    action = changes.get("action", rule.action)
    if action not in get_args(Action) or action not in rule.allowed:
        return f"the action of {name} may be {' or '.join(rule.allowed)}"
    limits = {limit: changes.get(limit, getattr(rule, limit)) for limit in known[1:]}
    for limit, share in limits.items():
        if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1):
            return f"{limit} of {name} must be a share from 0 to 1"
    return replace(rule, action=action, **limits)
