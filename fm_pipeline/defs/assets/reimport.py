"""Phases 2 to 8: seven assets, one transaction. A subset of them runs as one transaction too."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
from pydantic import Field

from fm_pipeline.defs.assets.image_charts import image_charts
from fm_pipeline.defs.assets.metadata import console_link, row_count
from fm_pipeline.defs.assets.plots import (
    changes_by_table,
    losses_on_top,
    not_loaded_by_rule,
    patients_on_page,
    phase_seconds,
    rows_by_table,
)
from fm_pipeline.defs.assets.system_configuration import observe_configuration
from fm_pipeline.defs.assets.tables import tables_of_assets
from fm_pipeline.defs.explained_failure import cancelled_reimport, explained
from fm_pipeline.defs.names import OWNERS, PLAN_TAG, POOL
from fm_pipeline.defs.registry import entities
from fm_pipeline.defs.requester import REMARK, requester
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.entities.registry import Entity, Phase, has_filemaker_id, loaded
from fm_pipeline.errors import PipelineError
from fm_pipeline.nexus.reimport.plan import Permission
from fm_pipeline.nexus.reimport.relink import REASONS, RelinkResult
from fm_pipeline.nexus.reimport.report import ReimportReport
from fm_pipeline.notifications.console_pages import RUN_PAGE
from fm_pipeline.notifications.send_run_emails import run_emails
from fm_pipeline.pluralize import rows_changed
from fm_pipeline.sequence.progress import run_progress
from fm_pipeline.sequence.reimport import reimport, validate_plan_early
from fm_pipeline.sequence.report_files import write_report
from fm_pipeline.settings import Settings

TRANSACTION = "reimport_transaction"
LEFT_OUT_TABLE = "Nothing was loaded: this Nexus has no such table, or this FileMaker file no such layout."
IDS = 100  # of a reason; the report's file has all of them


class PhaseAsset(NamedTuple):
    """How a phase shows in the graph."""

    phase: Phase
    key: str
    group: str
    description: str
    deps: list[str]
    tables: tuple[str, ...]


def _staged_of(phase: Phase) -> list[str]:
    return [f"staged_{entity.plural}" for entity in loaded(entities()) if entity.phase is phase]


def _tables_of(phase: Phase) -> tuple[str, ...]:
    return tuple(entity.table for entity in loaded(entities()) if entity.phase is phase)


PHASES = [
    PhaseAsset(
        Phase.DELETE,
        "deleted_patient_data",
        "phase_2_delete",
        "Deletes patients, appointments, notes, messages, letters and reminders that have no staged record. References"
        " to them are re-pointed to the patient's remaining row or set to NULL; if neither is possible, the reimport"
        " stops.",
        [*(f"staged_{entity.plural}" for entity in loaded(entities())), "nexus_backup"],
        (*(entity.table for entity in loaded(entities())), "letters_patientletter", "reminders"),
    ),
    PhaseAsset(
        Phase.PATIENTS,
        "patients",
        "phase_3_patients",
        "Patients with contacts and address. A patient that Nexus had keeps its id.",
        _staged_of(Phase.PATIENTS),
        _tables_of(Phase.PATIENTS),
    ),
    PhaseAsset(
        Phase.APPOINTMENTS,
        "appointments",
        "phase_4_appointments",
        "Appointments, in UTC.",
        _staged_of(Phase.APPOINTMENTS),
        _tables_of(Phase.APPOINTMENTS),
    ),
    PhaseAsset(
        Phase.NOTES,
        "notes_and_messages",
        "phase_5_notes",
        "Notes and SMS messages.",
        _staged_of(Phase.NOTES),
        _tables_of(Phase.NOTES),
    ),
    PhaseAsset(
        Phase.DOCUMENTS,
        "documents",
        "phase_6_documents",
        "Documents get their patient back: by crosswalk, their metadata, FileMaker's document records. Files in S3"
        " and every other column stay as they are.",
        ["staged_documents"],
        (),
    ),
    PhaseAsset(
        Phase.IMAGES,
        "image_batches",
        "phase_7_images",
        "Image batches get their patient back, and with them their images.",
        ["staged_images"],
        (),
    ),
    PhaseAsset(
        Phase.VALIDATION,
        "reimport_validation",
        "phase_8_validation",
        "What must hold before the commit. If a check fails, the transaction is rolled back and Nexus is unchanged.",
        [],
        (),
    ),
]


# Checks in the UI, by asset; the transaction has refused to commit unless they held.
def _checks(entity: Entity) -> tuple[str, ...]:
    """Of the table that an entity is loaded into."""
    kinds = ("count", "content", *(["filemaker_id_once"] if has_filemaker_id(entity) else []))
    return tuple(f"{entity.table}_{kind}" for kind in kinds)


def _checks_of(phase: Phase) -> tuple[str, ...]:
    """Of each table that a phase loads."""
    return tuple(name for entity in loaded(entities()) if entity.phase is phase for name in _checks(entity))


CHECKS = {
    "patients": _checks_of(Phase.PATIENTS),
    "appointments": _checks_of(Phase.APPOINTMENTS),
    "notes_and_messages": _checks_of(Phase.NOTES),
    "documents": ("documents_document_untouched", "documents_document_keep_their_patient"),
    "image_batches": ("images_batch_untouched", "images_batch_keep_their_patient", "images_image_untouched"),
    "reimport_validation": (
        "clinics_untouched",
        "clinicians_untouched",
        "appointment_types_untouched",
        "funding_sources_untouched",
        "nothing_else_written",
    ),
}


# What a check means, by the end of its name.
MEANINGS = {
    "count": "{}: Nexus has as many rows as were staged.",
    "content": "{}: every row of Nexus is what FileMaker's record says.",
    "filemaker_id_once": "{}: no FileMaker id is in Nexus twice.",
    "keep_their_patient": "{}: none lost its patient in this reimport.",
    "untouched": "{}: what a reimport must not change is as it was before.",
    "nothing_else_written": "No other table was written, not by a trigger either.",
}


def _check_specs() -> Iterator[dg.AssetCheckSpec]:
    for asset, names in CHECKS.items():
        for name in names:
            end = next(end for end in MEANINGS if name.endswith(end))
            meaning = MEANINGS[end].format(name.removesuffix(f"_{end}"))
            description = f"{meaning} If not, the reimport is rolled back, and Nexus is as it was."
            yield dg.AssetCheckSpec(name, asset=asset, description=description)


def _specs() -> Iterator[dg.AssetSpec]:
    before: list[str] = []
    for asset in PHASES:
        yield dg.AssetSpec(
            asset.key,
            deps=[*before, *asset.deps],
            group_name=asset.group,
            description=f"Phase {int(asset.phase)}. {asset.description}",
            kinds={"postgres"},
            owners=OWNERS,
            skippable=True,
        )
        before = [asset.key]


class ReimportConfig(dg.Config):
    """The permission. Without it the step stops and says what to do."""

    plan_id: str = Field(default="", description="Id of the plan that you have read; the asset reimport_plan shows it.")
    confirm: str = Field(
        default="", description="The database's name and its number of patients, as the plan shows: 'nexus 2842'."
    )
    requested_by: str = Field(default="", description=REMARK)

    def permission(self, context: dg.AssetExecutionContext, settings: Settings) -> Permission | None:
        """For `reimport`; None when nothing was given."""
        if not self.plan_id:
            return None
        return Permission(self.plan_id, self.confirm, requester(context, settings, self.requested_by))


def given_permission(run_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return plan_id, confirm and requested_by of a run's configuration; what is not given is missing."""
    ops = run_config.get("ops") or {}
    given: Mapping[str, Any] = (ops.get(TRANSACTION) or {}).get("config") or {}
    return given


def refuse_at_once(context: dg.AssetExecutionContext, settings: Settings, *, staged: bool = False) -> None:
    """In an early step of a run that ends with the transaction: refuse what would be refused there, an hour later.

    A run without the transaction, such as a plan's, passes. A run that may go on gets the tag of its plan.

    Args:
        staged: FileMaker's records are staged by now, so compare them with the plan too.

    Raises:
        PlanStop: see `validate_plan_early`.
    """
    selected = context.job_def.asset_layer.selected_asset_keys
    phases = [asset.phase for asset in PHASES if dg.AssetKey(asset.key) in selected]
    if not phases:
        return
    given = given_permission(context.run.run_config)
    if all(isinstance(value, str) for value in given.values()):  # else {"env": …}, which the transaction's step reads
        permission = ReimportConfig(**given).permission(context, settings)
        validate_plan_early(settings, permission, run_id=context.run.run_id, phases=phases, staged=staged)
        if permission:
            context.instance.add_run_tags(context.run.run_id, {PLAN_TAG: permission.plan_id.strip().lower()})


@dg.multi_asset(
    name=TRANSACTION,
    description="Delete, load, relink, validate, commit: all or nothing.",
    specs=list(_specs()),
    check_specs=list(_check_specs()),
    can_subset=True,
    pool=POOL,
)
def reimport_transaction(
    context: dg.AssetExecutionContext, config: ReimportConfig, nexus: NexusTarget
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Run the selected phases in one transaction and report them after its commit."""
    selected = [asset for asset in PHASES if dg.AssetKey(asset.key) in context.selected_asset_keys]

    phases = [asset.phase for asset in selected]
    with explained():
        settings = nexus.prepare().settings
    with (
        explained(lambda: cancelled_reimport(settings, context.run.run_id)),
        run_emails(settings, context.run.run_id, warn=context.log.warning, in_dagster=True, plan_id=config.plan_id),
        run_progress(settings, context.run.run_id, log=context.log.info) as progress,
    ):
        report = reimport(
            settings,
            now=datetime.now(UTC),
            permission=config.permission(context, settings),
            run_id=context.run.run_id,
            phases=phases,
            on_phase=progress.phases(phases),
        )
    context.log.info(f"✅ Import complete: {rows_changed(report.changed_rows)}. It took {report.seconds:.1f} seconds")
    # It is committed: what goes wrong from here on is a warning, and must not look like a failed reimport.
    database_url, charts, tables = settings.nexus_database_url.get_secret_value(), {}, {}
    with explained(lambda: cancelled_reimport(settings, context.run.run_id)):
        folder = write_report(database_url, settings.state_dir, report, warn=context.log.warning)
        try:
            with nexus.connect() as connection:
                for observation in observe_configuration(connection, settings.nexus_schema):
                    context.log_event(observation)
                tables = tables_of_assets(connection, settings.nexus_schema)
                charts = image_charts(connection, settings.nexus_schema) if Phase.IMAGES in phases else {}
        except PipelineError as error:
            context.log.warning(f"The reimport is committed, but the UI lacks some of its numbers. {error}")
    for asset in selected:
        metadata = _metadata(asset, report, folder) | (charts if asset.phase is Phase.IMAGES else {})
        metadata |= tables.get(asset.key, {})
        if asset.phase is Phase.VALIDATION:
            metadata |= console_link(settings, RUN_PAGE.format(context.run.run_id))
        yield dg.MaterializeResult(asset_key=asset.key, metadata=metadata)
    found = {check.name: check for check in report.checks}
    left_out = {name for entity in loaded(entities()) if entity.table not in report.tables for name in _checks(entity)}
    for key in context.selected_asset_check_keys:
        if check := found.get(key.name):
            yield dg.AssetCheckResult(
                asset_key=key.asset_key, check_name=key.name, passed=check.holds, description=check.found
            )
        elif key.name in left_out:  # else Dagster says that the step did not yield what it should
            yield dg.AssetCheckResult(
                asset_key=key.asset_key, check_name=key.name, passed=True, description=LEFT_OUT_TABLE
            )


def _rows_to_look_at(relinked: RelinkResult) -> Mapping[str, Any]:
    """Nexus ids of rows that nobody could relink, and of those that FileMaker disagrees with, by reason."""
    by_reason = {**relinked.unresolved, "disagrees": relinked.disagreeing}
    listed = {f"{reason}: {REASONS[reason]}": ids[:IDS] for reason, ids in by_reason.items() if ids}
    return {"rows_to_look_at": dg.MetadataValue.json(listed)} if listed else {}


def _metadata(asset: PhaseAsset, report: ReimportReport, folder: Path | None) -> dict[str, Any]:
    """Row counts of the phase; the whole report on the last one."""
    seconds = next((record.seconds for record in report.phases if record.phase == asset.phase), 0.0)
    changes = [report.tables[name] for name in asset.tables if name in report.tables]
    lost = {"lost": dg.MetadataValue.md(losses_on_top(report))}
    if asset.phase is Phase.DELETE:
        return lost | {"seconds": seconds} | {f"deleted_{change.table}": change.deleted for change in changes}
    if asset.phase is Phase.VALIDATION:
        return {
            "changes": dg.MetadataValue.md(changes_by_table(report)),
            **lost,
            "seconds": seconds,
            "not_loaded": dg.MetadataValue.md(not_loaded_by_rule(report.sources)),
            "seconds_by_phase": dg.MetadataValue.md(phase_seconds(report)),
            **{name: dg.MetadataValue.md(chart) for name, chart in patients_on_page(report).items()},
            **rows_by_table(report),
            "report": dg.MetadataValue.md(report.as_markdown()),
            "changed_rows": report.changed_rows,
            **({"report_files": dg.MetadataValue.path(folder)} if folder else {}),
        }
    relinked = {Phase.DOCUMENTS: report.documents, Phase.IMAGES: report.batches}.get(asset.phase)
    if relinked:
        return row_count(
            relinked.total,
            seconds=seconds,
            already_linked=relinked.already,
            relinked=relinked.relinked,
            by_evidence=dg.MetadataValue.json(dict(relinked.by_evidence)) if relinked.by_evidence else "none",
            without_patient={reason: len(ids) for reason, ids in relinked.unresolved.items()} or "none",
            disagreeing=len(relinked.disagreeing),
            **({"archived": len(relinked.archived)} if relinked.archived else {}),
            **({"detached": len(relinked.detached)} if relinked.detached else {}),
            **_rows_to_look_at(relinked),
        )
    return row_count(
        sum(change.after for change in changes),
        seconds=seconds,
        inserted=sum(change.inserted for change in changes),
        updated=sum(change.updated for change in changes),
        unchanged=sum(change.unchanged for change in changes),
    )
