"""The plan: the reimport, rolled back. It shows what would happen, and the words that permit it."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from fm_pipeline.defs.assets.metadata import console_link
from fm_pipeline.defs.assets.plots import changes_by_table, losses_on_top, not_loaded_by_rule, patients_on_page
from fm_pipeline.defs.explained_failure import explained
from fm_pipeline.defs.names import OWNERS, PLAN, PLAN_TAG, POOL, STAGED_ASSETS
from fm_pipeline.defs.requester import REMARK, requester
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.notifications.alerts import enqueue_alert
from fm_pipeline.notifications.console_pages import PLAN_PAGE
from fm_pipeline.notifications.email_texts.plan import plan_ready
from fm_pipeline.pluralize import counted
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.sequence.reimport import make_plan

# With the schedule nightly_plan on: one night that is missed warns, two fail. People write into both systems every day,
# so an older plan no longer fits in any case.
PLAN_OF_TODAY, PLAN_LASTS = timedelta(hours=26), timedelta(hours=50)


class PlanConfig(dg.Config):
    """A remark."""

    requested_by: str = Field(default="", description=REMARK)


@dg.asset(
    group_name=PLAN,
    deps=STAGED_ASSETS,
    description="Does everything that the reimport would do, rolls it back, and shows what it was. Nexus is unchanged."
    " Carry it out on its page of the console, or launch full_reimport with plan_id and confirm. The plan is void as"
    " soon as anything changes.",
    kinds={"postgres"},
    owners=OWNERS,
    pool=POOL,
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=PLAN_LASTS, warn_window=PLAN_OF_TODAY),
)
def reimport_plan(context: dg.AssetExecutionContext, config: PlanConfig, nexus: NexusTarget) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows only the bare class
    """Make a plan of all phases."""
    with explained():
        settings = nexus.prepare().settings
    with explained(), run_progress(settings, context.run.run_id, log=context.log.info) as progress:
        plan = make_plan(
            settings,
            now=datetime.now(UTC),
            actor=requester(context, settings, config.requested_by),
            run_id=context.run.run_id,
            on_phase=progress.phases(prefix="plan, "),
        )
        enqueue_alert(
            settings,
            f"plan-{plan.id}",
            plan_ready(plan.id, plan.report.as_dict()),
            now=datetime.now(UTC),
            page=PLAN_PAGE.format(plan.id),
            link="assets/reimport_plan",
        )
    context.instance.add_run_tags(context.run.run_id, {PLAN_TAG: plan.id})
    for sentence in plan.report.losses:
        context.log.info(sentence)
    context.log.info(f"Plan {plan.id}: {counted(plan.report.changed_rows, 'row')} of Nexus would change")
    context.log.info(f"To carry it out: full_reimport with plan_id={plan.id} and confirm={plan.confirmation!r}")
    return dg.MaterializeResult(
        metadata={
            "changes": dg.MetadataValue.md(changes_by_table(plan.report)),
            "would_be_lost": dg.MetadataValue.md(losses_on_top(plan.report)),
            **console_link(settings, PLAN_PAGE.format(plan.id)),
            "plan_id": plan.id,
            "confirm": plan.confirmation,
            # Rows. Short keys, because a long one makes the column of values too narrow for the plan's id.
            "would_change": plan.report.changed_rows,
            "would_be_deleted": sum(change.deleted for change in plan.report.tables.values()),
            "without_filemaker_id": sum(change.without_filemaker_id for change in plan.report.tables.values()),
            "not_loaded": dg.MetadataValue.md(not_loaded_by_rule(plan.report.sources)),
            **{name: dg.MetadataValue.md(chart) for name, chart in patients_on_page(plan.report).items()},
            "plan": dg.MetadataValue.md(plan.report.as_markdown()),
        }
    )
