"""Check what only images need: grants and columns in Nexus, the bulk dump, the fields of FileMaker's image layout.

Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fm_pipeline.db.connection import connect
from fm_pipeline.db.privileges import missing_privileges
from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.resolution import resolve
from fm_pipeline.errors import CatalogueStop, DatabaseError, FileMakerError, MappingError, StorageError
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.filemaker.errors import PrivilegeMissing
from fm_pipeline.images.containers.source import find_layout, require_visible_mark
from fm_pipeline.images.nexus.batch_and_image_values import check_columns
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.grants import IMAGE_LINK
from fm_pipeline.nexus.table_names import BATCHES, IMAGES
from fm_pipeline.pluralize import counted
from fm_pipeline.preflight.filemaker import shown_repetitions
from fm_pipeline.preflight.finding import Finding, FindingBuilder
from fm_pipeline.preflight.nexus import lacking_grants
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import Bucket
from fm_pipeline.storage.client import WRITABLE
from fm_pipeline.storage.errors import storage_errors

# S3's code for a bucket without rules, and the codes of servers that do not support rules.
NO_RULES = {"NoSuchLifecycleConfiguration", "NotImplemented", "MethodNotAllowed", "501", "405"}


def check_image_tables(settings: Settings, build: FindingBuilder) -> Iterator[Finding]:
    """Check the tables of batches and images."""
    try:
        with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
            catalogue = read_catalogue(cursor, settings.nexus_schema)
            try:
                check_columns(catalogue)
            except CatalogueStop as error:
                yield build.from_error("image_structure_unknown", "tables", error)
                return
            tables = [catalogue.table(BATCHES), catalogue.table(IMAGES)]
            missing = missing_privileges(cursor, dict.fromkeys(tables, IMAGE_LINK))
    except DatabaseError as error:
        yield build.from_error("image_structure_unknown", "tables", error)
        return
    if missing:
        yield from lacking_grants("image_grant_missing", build, missing)
    else:
        yield build.ok("tables", f"{BATCHES} and {IMAGES} can be written; every column is known")


def check_bucket(bucket: Bucket, build: FindingBuilder) -> Iterator[Finding]:
    """Check the bulk dump, and the lifecycle rules and versioning of the bucket.

    Args:
        bucket: a bucket that can be listed.
    """
    yield _bulk_dump(bucket, build)
    yield from _lifecycle(bucket, build)
    yield _versioning(bucket, build)


def _bulk_dump(bucket: Bucket, build: FindingBuilder) -> Finding:
    try:
        first = next((found for found in bucket.list(bucket.bulk_prefix) if found.size), None)
        if first is None:
            return build.violation("image_dump_empty", "bulk dump", "nothing lies below S3_BULK_PREFIX")
        bucket.read(first.key, 0, 0)  # unlike HEAD, this needs the right to decrypt and an object that is not archived
    except StorageError as error:
        return build.from_error("image_dump_unreadable", "bulk dump", error)
    return build.ok("bulk dump", "is there, and can be read")


def _lifecycle(bucket: Bucket, build: FindingBuilder) -> Iterator[Finding]:
    try:
        with storage_errors("show its lifecycle rules"):
            rules = bucket.client.get_bucket_lifecycle_configuration(Bucket=bucket.name).get("Rules", [])
    except StorageError as error:
        if error.code not in NO_RULES:
            right = ": the role lacks s3:GetLifecycleConfiguration" if error.code == "AccessDenied" else ""
            yield build.ok("lifecycle", f"not known ({error.code}){right}")
            return
        rules = []
    deleting = [
        f"the rule {rule.get('ID') or 'without a name'} deletes files below {prefix} {when}"
        for rule in rules
        if (when := _expires(rule))
        for prefix in _reaches(rule, (bucket.bulk_prefix, WRITABLE))
    ]
    for found in deleting:
        yield build.violation("image_files_expire", "lifecycle", found)
    if not deleting:
        yield build.ok("lifecycle", "no rule deletes files of the bulk dump or of patients")


def _expires(rule: Mapping[str, Any]) -> str:
    """Return when an active rule deletes the current version of a file; empty if it never does.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
    """
    expiration = rule.get("Expiration", {})
    if rule.get("Status") != "Enabled":
        return ""
    if "Days" in expiration:
        return f"after {counted(expiration['Days'], 'day')}"
    return f"on {expiration['Date']:%Y-%m-%d}" if "Date" in expiration else ""


def _reaches(rule: Mapping[str, Any], prefixes: tuple[str, ...]) -> list[str]:
    """Return the prefixes below which a rule may apply. Its conditions on tags and sizes are not evaluated."""
    conditions = rule.get("Filter", {})
    own = conditions.get("And", conditions).get("Prefix", "") or rule.get("Prefix", "")
    return [prefix for prefix in prefixes if prefix.startswith(own) or own.startswith(prefix)]


def _versioning(bucket: Bucket, build: FindingBuilder) -> Finding:
    """Warn if the bucket keeps no versions. The pipeline never overwrites a file; other programs may."""
    try:
        with storage_errors("show its versioning"):
            state = bucket.client.get_bucket_versioning(Bucket=bucket.name).get("Status")
    except StorageError as error:
        return build.ok("versioning", f"not known ({error.code})")
    if state == "Enabled":
        return build.ok("versioning", "on: what another program overwrites or deletes can be taken back")
    found = f"{'suspended' if state else 'off'}: what another program overwrites or deletes is gone"
    return Finding("images", "versioning", "warning", found, remedy="Turn on versioning for the bucket.")


def check_containers(client: DataApiClient, profile: Profile, build: FindingBuilder) -> list[Finding]:
    """Check the mark and the containers on the image layout, if the profile maps them.

    A layout with neither is no violation: the clinic's images come from the bulk dump.
    """
    wanted = profile.entities["image"].containers
    if wanted is None:
        return []
    try:
        name = resolve(profile, "image", client.layouts(), client.layout_fields).layout
        there = {field.name.casefold() for field in client.layout_fields(name)}
        if there.isdisjoint(field.casefold() for field in (wanted.mark, *wanted.best_first)):
            return [build.ok("containers", f"none on the layout {name}, so none is taken out of FileMaker")]
        layout = find_layout(client, profile)
        require_visible_mark(client, layout)
    except (MappingError, PrivilegeMissing) as error:
        return [build.from_error("image_layout_unfit", "containers", error)]
    except FileMakerError:  # said already
        return []
    if off_layout := [field for field in layout.containers if field.has_hidden_repetitions]:
        shown = f"the layout {layout.name} shows {shown_repetitions(off_layout)}"
        return [build.violation("image_layout_unfit", "containers", shown, "Show all repetitions on the layout.")]
    found = f"layout {layout.name}: {len(layout.containers)} of {len(wanted.best_first)} containers"
    if layout.missing:
        found += f" (without {', '.join(layout.missing)})"
    return [build.ok("containers", f"{found}, and the mark {layout.mark.name} ({layout.mark.result})")]
