"""Asset checks: a sample of the files that documents and images name is looked for in S3. They only warn."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from fm_pipeline.defs.explained_failure import cancelled_reimport, explained
from fm_pipeline.defs.resources import NexusTarget
from fm_pipeline.status.choices import SAMPLE
from fm_pipeline.status.stored_files import NO_READ_PERMISSION, FileCheck, Kind, check_files

IDS = 50  # of rows in the metadata; the command fm-pipeline files check has all of them


def file_checks() -> list[dg.AssetChecksDefinition]:
    """The checks of the code location."""
    return [
        _check("documents", "documents_exist", ("documents",)),
        _check("image_batches", "images_exist", ("images", "thumbnails")),
    ]


def _check(asset: str, name: str, kinds: Sequence[Kind]) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name=name,
        blocking=False,
        description=f"A sample of {SAMPLE} files each of {' and '.join(kinds)} is in S3; some are opened. Warns only.",
    )
    def files_exist(context: dg.AssetCheckExecutionContext, nexus: NexusTarget) -> dg.AssetCheckResult:
        if not nexus.settings.s3_bucket:
            return _result(True, "S3_BUCKET is not set, so no file was looked for.")
        try:
            with explained(lambda: cancelled_reimport(nexus.settings, context.run.run_id)):
                found = check_files(nexus.settings, kinds=kinds)
        except dg.Failure as fault:  # the import itself is done; it must not fail for S3's sake
            return _result(False, str(fault.description))
        faulty = {str(check.kind): [*check.unreadable, *check.differing][:IDS] for check in found}
        missing = {str(check.kind): list(check.missing[:IDS]) for check in found if check.missing}
        return _result(
            all(check.passed for check in found),
            "; ".join(_sentence(check) for check in found),
            looked_at=sum(check.looked_at for check in found),
            missing=sum(len(check.missing) for check in found),
            without_key=sum(len(check.without_key) for check in found),
            not_looked_at=sum(sum(check.not_looked_at.values()) for check in found),
            opened=sum(check.opened for check in found),
            **({"faulty_rows": dg.MetadataValue.json(faulty)} if any(faulty.values()) else {}),
            **({"missing_rows": dg.MetadataValue.json(missing)} if missing else {}),
        )

    return files_exist


def _sentence(check: FileCheck) -> str:
    faults = [(len(check.missing), "missing"), (len(check.without_key), "named by no key")]
    faults += [
        (len(check.unreadable), "that cannot be opened"),
        (len(check.differing), "without the size that the row says"),
    ]
    faults += [(files, f"that could not be looked at ({code})") for code, files in check.not_looked_at.items()]
    words = ", ".join(f"{count:,} {what}" for count, what in faults if count)
    remedies = "".join(f". {remedy}" for remedy in check.remedies.values()).removesuffix(".")
    opened = f"none opened: {NO_READ_PERMISSION.rstrip('.')}" if check.not_opened else f"{check.opened:,} opened"
    return f"{check.kind}: {check.looked_at:,} of {check.rows:,} looked at, {opened}, {words or 'all there'}{remedies}"


def _result(passed: bool, description: str, **metadata: Any) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed, severity=dg.AssetCheckSeverity.WARN, description=description, metadata=metadata
    )
