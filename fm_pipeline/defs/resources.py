"""What a run needs. Settings are read when a run starts, never while definitions load, so that no secret is in them.

An asset names what it needs as a typed parameter. How to add one: a `ConfigurableResource` with `settings` as its only
field, a dependency; Dagster shows what other fields hold.
https://docs.dagster.io/guides/build/external-resources
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

import dagster as dg
from psycopg2.extensions import connection as Connection
from pydantic import PrivateAttr

from fm_pipeline.db.connection import connect
from fm_pipeline.db.migrate import migrate
from fm_pipeline.dicom.orthanc.client import Orthanc
from fm_pipeline.entities.exports import export_options
from fm_pipeline.entities.profile import Profile, load_profile
from fm_pipeline.errors import PipelineError
from fm_pipeline.filemaker.connect import open_door
from fm_pipeline.filemaker.door import Door
from fm_pipeline.settings import Settings
from fm_pipeline.storage.bucket import Bucket, open_bucket

# Metadata of an import -> field of Orthanc's statistics.
_HELD = {
    "orthanc_instances": "CountInstances",
    "orthanc_series": "CountSeries",
    "orthanc_studies": "CountStudies",
    "orthanc_patients": "CountPatients",
}


class FileMakerSource(dg.ConfigurableResource):  # type: ignore[type-arg]  # it yields itself
    """The FileMaker file of one run: its profile, and one session that opens at the first call."""

    settings: dg.ResourceDependency[Settings]
    _door: Door | None = PrivateAttr(default=None)
    _profile: Profile = PrivateAttr()

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:
        """Read the profile; log out when the run has ended."""
        self._profile = load_profile(self.settings.filemaker_profile)
        try:
            yield self
        finally:
            if self._door is not None:
                self._door.close()

    @property
    def profile(self) -> Profile:
        """Which layout and field feeds what."""
        return self._profile

    @property
    def door(self) -> Door:
        """The door that FILEMAKER_DOOR names; every step of a run shares it."""
        if self._door is None:
            self._door = open_door(self.settings, export_options(self._profile))
        return self._door


class NexusTarget(dg.ConfigurableResource):  # type: ignore[type-arg]  # it yields itself
    """The Nexus database of one run; our own schema is brought up to date before the first connection."""

    settings: dg.ResourceDependency[Settings]
    _migrated: bool = PrivateAttr(default=False)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """One connection; see `fm_pipeline.db.connection.connect`."""
        self.prepare()
        with connect(self.settings.nexus_database_url.get_secret_value()) as connection:
            yield connection

    def prepare(self) -> Self:
        """Run the migrations that are missing, once a run."""
        if not self._migrated:
            migrate(self.settings.nexus_database_url.get_secret_value())
            self._migrated = True
        return self


class PatientFiles(dg.ConfigurableResource):  # type: ignore[type-arg]  # it yields itself
    """The bucket of one run."""

    settings: dg.ResourceDependency[Settings]

    def bucket(self) -> Bucket:
        """The bucket that the settings name."""
        return open_bucket(self.settings)


class OrthancTarget(dg.ConfigurableResource):  # type: ignore[type-arg]  # it yields itself
    """The PACS of one run."""

    settings: dg.ResourceDependency[Settings]

    def holds(self) -> dict[str, Any]:
        """Its version, and all that it holds today, by whichever job or program; nothing if it does not say."""
        held: dict[str, Any] = {"orthanc_version": "unknown"}
        with suppress(PipelineError), Orthanc.from_settings(self.settings) as orthanc:  # what is imported is imported
            held["orthanc_version"] = str(orthanc.system().get("Version", "unknown"))
            counts = orthanc.statistics()
            held |= {name: counts[field] for name, field in _HELD.items() if isinstance(counts.get(field), int)}
        return held


def pipeline_resources(read_settings: Callable[[], Settings]) -> dict[str, Any]:
    """The resources of a code location.

    Args:
        read_settings: called when a run starts, once for each resource that the run needs.
    """

    @dg.resource
    def settings(_: dg.InitResourceContext) -> Settings:
        return read_settings()

    return {
        "filemaker": FileMakerSource(settings=settings),
        "nexus": NexusTarget(settings=settings),
        "s3": PatientFiles(settings=settings),
        "orthanc": OrthancTarget(settings=settings),
    }
