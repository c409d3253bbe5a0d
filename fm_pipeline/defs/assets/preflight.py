"""Phase 0, before anything is read: the preflight, with a check for each of its areas that blocks what comes after."""

from collections.abc import Iterator

import dagster as dg

from fm_pipeline.defs.assets.reimport import refuse_at_once
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import OWNERS, POOL, PREFLIGHT
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.errors import Stop
from fm_pipeline.pluralize import counted
from fm_pipeline.preflight.finding import Finding, stops
from fm_pipeline.preflight.preflight import preflight as run_preflight

AREAS = {
    "FileMaker": "FileMaker answers, lets the account in, and has every layout and field that the profile needs.",
    "Nexus": "Nexus is a version and structure that is known, and the role may do what a reimport does.",
    "source": "No entity is empty, or much smaller than what it would replace.",
    "services": "S3 and the mail server answer, as far as they are set; our own folder is private and can be written.",
}
MARKS = {"good": "✅", "warning": "⚠️", "stop": "❌"}


@dg.asset(
    group_name=PREFLIGHT,
    description="Looks at everything that a reimport needs, before anything is read: the two systems, what the account"
    " and the role may do, how much there is, S3, email. Writes nothing; fm-pipeline check shows the same."
    " In a reimport it first looks at the plan and its words, so that a run that may not be carried out ends here.",
    kinds={"filemaker", "postgres"},
    owners=OWNERS,
    pool=POOL,
    check_specs=[
        dg.AssetCheckSpec(area.lower(), asset="preflight", blocking=True, description=description)
        for area, description in AREAS.items()
    ],
)
def preflight(context: dg.AssetExecutionContext, nexus: NexusTarget) -> Iterator[dg.MaterializeResult[None]]:
    """Look, and say all of it at once."""

    def say(finding: Finding) -> None:
        context.log.info(f"{MARKS[finding.level]} {finding.subject}: {finding.found}")

    with explained():
        refuse_at_once(context, nexus.settings)
        findings = run_preflight(nexus.settings, on_finding=say)
    yield dg.MaterializeResult(
        metadata={
            "findings": dg.MetadataValue.md(as_markdown(findings)),
            "not_looked_at": "FileMaker's records: the checks of the staged assets say what these break.",
            "stops": len(stops(findings)),
            "warnings": sum(finding.level == "warning" for finding in findings),
        },
        check_results=[_result(area, [finding for finding in findings if finding.area == area]) for area in AREAS],
    )
    if stopping := stops(findings):  # else the run and its email would only say that a check failed
        reasons = "".join(f"\n- {_sentence(finding)}" for finding in stopping)
        with explained():
            raise Stop(
                f"The preflight stops for {counted(len(stopping), 'reason')}:{reasons}",
                meaning="Nothing was read into staging. Nexus is unchanged.",
                remedy="Settle each of them, then start again; fm-pipeline check shows the same.",
            )


def _sentence(finding: Finding) -> str:
    return f"{finding.rule}: {finding.subject}: {finding.found}. {finding.remedy}"


def _result(area: str, findings: list[Finding]) -> dg.AssetCheckResult:
    stopping = stops(findings)
    words = [_sentence(finding) for finding in stopping]
    return dg.AssetCheckResult(
        check_name=area.lower(),
        passed=not stopping,
        description="\n".join(words) or "Nothing in this area stops a reimport.",
        metadata={"findings": dg.MetadataValue.md(as_markdown(findings))} if findings else {},
    )


def as_markdown(findings: list[Finding]) -> str:
    """A table for people."""
    lines = ["| | what | found | rule | what to do |", "|---|---|---|---|---|"]
    for finding in findings:
        cells = (MARKS[finding.level], finding.subject, finding.found, finding.rule, finding.remedy)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
