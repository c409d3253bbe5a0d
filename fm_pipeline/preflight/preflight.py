"""Run all checks: FileMaker, Nexus, their sizes, the services, and with `full` every record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from psycopg2.extensions import connection as Connection

from fm_pipeline.db.connection import connect
from fm_pipeline.entities.exports import export_options
from fm_pipeline.entities.profile import Profile, load_profile
from fm_pipeline.entities.registry import staged
from fm_pipeline.entities.rules import Rules, load_rules
from fm_pipeline.errors import DatabaseError, FileMakerError, MappingError, SettingsError, StagingStop
from fm_pipeline.filemaker.connect import open_client, open_door
from fm_pipeline.filemaker.data_api.door import DataApiDoor
from fm_pipeline.filemaker.door import Door
from fm_pipeline.filemaker.exports.door import ExportsDoor
from fm_pipeline.filemaker.exports.kinds import NUMERIC_PART_ONLY
from fm_pipeline.nexus.catalogue.schema import read_catalogue
from fm_pipeline.nexus.reimport.files_of_gone_patients import FilesOfGonePatients
from fm_pipeline.preflight.certificates import check_certificates, servers_of
from fm_pipeline.preflight.dicom import check_dicom
from fm_pipeline.preflight.filemaker import SourceInventory, check_filemaker
from fm_pipeline.preflight.finding import Finding, FindingBuilder, stops
from fm_pipeline.preflight.images import check_bucket, check_containers, check_image_tables
from fm_pipeline.preflight.lost_values import NUMBERS, NUMBERS_AND_DATES, check_lost_values
from fm_pipeline.preflight.nexus import can_read, check_nexus
from fm_pipeline.preflight.services import check_services, with_short_timeouts
from fm_pipeline.sequence.read_and_stage import read_and_stage
from fm_pipeline.settings import Settings
from fm_pipeline.staging.check import broken_rules
from fm_pipeline.staging.parallel import OnStep
from fm_pipeline.staging.source_size import read_before
from fm_pipeline.staging.summary import summaries
from fm_pipeline.storage.bucket import open_bucket

# A stop in one of these areas prevents reading the records; a missing mail server does not.
READING_AREAS = ("FileMaker", "Nexus", "source")
NOT_CHECKED = (
    "Not looked at: FileMaker's records, and whose documents and images would lose their patient. fm-pipeline check"
    " --full reads the records and holds each against the rules."
)
OnFinding = Callable[[Finding], None]


def preflight(
    settings: Settings,
    *,
    full: bool = False,
    files: bool = False,
    on_finding: OnFinding = lambda _: None,
    on_step: OnStep = lambda *_: None,
) -> list[Finding]:
    """Run all checks and return all findings.

    Args:
        full: read FileMaker's records too, into the schema `fm_pipeline`, and check each against the rules. Without it
            nothing is written to any database.
        files: check too what only images and DICOM files need, as far as it is configured. It never stops a reimport,
            and a reimport does not check it: a reimport does not depend on a hospital's disk or on Orthanc.
        on_finding: called with each finding.
        on_step: as in `read_and_stage`.

    Raises:
        MappingError, SettingsError: the profile or the rules file is wrong.
    """
    rules = load_rules(settings.rules_file, load_profile(settings.filemaker_profile).registry)
    findings: list[Finding] = []

    def say(some: Iterable[Finding]) -> None:
        for finding in some:
            findings.append(finding)
            on_finding(finding)

    say(_systems(settings, rules, files))
    silent = frozenset(finding.rule for finding in findings)
    say(check_certificates(settings, servers_of(settings, without=silent), FindingBuilder(rules, "services")))
    if full and any(finding.area in READING_AREAS for finding in stops(findings)):
        say([Finding("records", "all", "warning", "not read: what stops above has to be settled first")])
    elif full:
        say(_records(settings, FindingBuilder(rules, "records"), on_step))
    return findings


def _systems(settings: Settings, rules: Rules, files: bool) -> Iterator[Finding]:
    """Check everything but the records."""
    profile, source, images = (
        load_profile(settings.filemaker_profile),
        SourceInventory(),
        FindingBuilder(rules, "images"),
    )
    layout: list[Finding] = []
    try:
        door = open_door(settings, export_options(profile))
    except SettingsError as error:
        yield FindingBuilder(rules, "FileMaker").from_error("filemaker_unreachable", "settings", error)
    else:
        with door:
            yield from check_filemaker(door, profile, FindingBuilder(rules, "FileMaker"), source)
            if files and settings.s3_bucket and "image" in source.counts:  # in the same session; reported below
                layout = _containers(door, settings, profile, images)
    nexus, answers = FindingBuilder(rules, "Nexus"), True
    try:
        with connect(settings.nexus_database_url.get_secret_value()) as connection:
            yield from check_nexus(connection, settings, nexus, profile=profile, fed=source.fed, absent=source.left_out)
            yield from _sizes(connection, settings, FindingBuilder(rules, "source"), source, profile)
    except DatabaseError as error:
        yield nexus.from_error("nexus_unreachable", "database", error)
        answers = False
    services = list(check_services(settings, FindingBuilder(rules, "services")))
    yield from services
    if files and settings.s3_bucket:
        if answers:
            yield from check_image_tables(settings, images)
        if not any(finding.rule == "s3_unreachable" for finding in services):
            yield from check_bucket(open_bucket(with_short_timeouts(settings)), images)
        yield from layout
    if files:
        yield from check_dicom(settings, FindingBuilder(rules, "DICOM"), with_configuration=answers)


def _containers(door: Door, settings: Settings, profile: Profile, build: FindingBuilder) -> list[Finding]:
    """Check the containers. Only the Data API has their layout and can write the mark, whatever the door."""
    if isinstance(door, DataApiDoor):
        return check_containers(door.client, profile, build)
    if door.kind == "exports" or profile.entities["image"].containers is None:
        return []
    with open_client(settings) as client:
        try:
            client.layouts()
        except FileMakerError as error:
            return [build.from_error("image_layout_unfit", "containers", error)]
        return check_containers(client, profile, build)


def _sizes(
    connection: Connection, settings: Settings, build: FindingBuilder, source: SourceInventory, profile: Profile
) -> Iterator[Finding]:
    """Compare the number of FileMaker's records with the rows that they would replace."""
    with connection.cursor() as cursor:
        catalogue = read_catalogue(cursor, settings.nexus_schema)
        tables = [catalogue.table(entity.files or entity.table) for entity in staged(profile.registry)]
        tables = [table for table in tables if catalogue.has(table.name)]
        if not tables or not can_read(cursor, tables):
            return
        before = read_before(cursor, catalogue, "source", profile.registry)
    for entity, rows in source.counts.items():
        if broken := before.broken(build.rules, entity, rows):
            yield build.violation_of(broken[0], entity, broken[1])
        else:
            yield build.ok(entity, before.compared(entity, rows))


def _lost_values(settings: Settings, build: FindingBuilder) -> Iterator[Finding]:
    """Ask the Data API for the text that another door does not have."""
    profile = load_profile(settings.filemaker_profile)
    entities, types = list(profile.entities), NUMBERS_AND_DATES
    if settings.filemaker_door == "exports":
        entities, types = _of_numeric_files(settings, profile), NUMBERS
    if settings.filemaker_door == "data_api" or not entities:
        return
    with open_client(settings) as client:
        yield from check_lost_values(
            *(client, profile, build),
            entities=entities,
            types=types,
            page_size=settings.filemaker_page_size,
            is_same_account=settings.filemaker_door == "odata",
        )


def _of_numeric_files(settings: Settings, profile: Profile) -> list[str]:
    """Entities whose file has only the numeric part of number fields; none if no FileMaker Server can be asked."""
    door = open_door(settings, export_options(profile))
    if settings.filemaker_url is None or not isinstance(door, ExportsDoor):
        return []
    with door:
        tables = {table.casefold(): table for table in door.tables()}
        files = {
            entity: next(
                (tables[name.casefold()] for name in mapping.names("exports") if name.casefold() in tables), ""
            )
            for entity, mapping in profile.entities.items()
        }
        return [entity for entity, table in files.items() if table and door.format(table) in NUMERIC_PART_ONLY]


def _records(settings: Settings, build: FindingBuilder, on_step: OnStep) -> Iterator[Finding]:
    """Read and stage everything, and report which rules the records violate."""
    try:
        read_and_stage(settings, on_step=on_step)
    except FileMakerError as error:
        yield build.from_error("filemaker_unreachable", "reading", error)
        return
    except MappingError as error:
        yield build.from_error("filemaker_layout_unfit", "reading", error)
        return
    except StagingStop as error:
        yield build.from_error("source_changed", "staging", error)
        return
    yield from _lost_values(settings, build)
    with connect(settings.nexus_database_url.get_secret_value()) as connection, connection.cursor() as cursor:
        ends = summaries(cursor)
        entities = [each.entity for each in ends]
        files = FilesOfGonePatients.of(settings)
        broken = broken_rules(cursor, entities, rules=build.rules, nexus_schema=settings.nexus_schema, files=files)
    for each in broken:
        records = f"; records {each.records}" if each.record_ids else ""
        yield Finding(
            "records",
            each.entity,
            "stop" if each.action == "stop" else "warning",
            f"{each.means} {each.found}{records}",
            each.rule,
            each.remedy,
        )
    stopping = {(each.entity, each.rule) for each in broken}
    order = list(load_profile(settings.filemaker_profile).registry)
    for entity in sorted(ends, key=lambda each: order.index(each.entity)):
        for rule, rows in (*entity.by_rule.items(), *entity.flagged.items()):
            if (entity.entity, rule) not in stopping:
                yield build.violation(
                    rule, entity.entity, f"{build.rules[rule].means} {rows:,} of {entity.source_rows:,} rows"
                )
        yield build.ok(
            entity.entity,
            f"{entity.source_rows:,} rows = {entity.ready:,} ready + {entity.quarantined:,} quarantined"
            f" + {entity.skipped:,} skipped",
        )
