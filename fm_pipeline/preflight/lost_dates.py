"""Find the text in date and time fields that OData leaves out: it sends null in its place, without a sign of it.

The Data API can find it: `?` finds invalid dates and times (FileMaker Pro Help, "Finding dates and times").
"""

from __future__ import annotations

from collections.abc import Iterator

from fm_pipeline.entities.profile import Profile
from fm_pipeline.entities.resolution import resolve
from fm_pipeline.errors import FileMakerError, MappingError
from fm_pipeline.filemaker.data_api.client import DataApiClient
from fm_pipeline.pluralize import counted
from fm_pipeline.preflight.finding import Finding, FindingBuilder

RULE = "date_lost_by_odata"
IDS_SHOWN = 5
_DATES = ("date", "time", "timeStamp")


def check_lost_dates(client: DataApiClient, profile: Profile, build: FindingBuilder) -> Iterator[Finding]:
    """Look for such text in every mapped field, by the layouts of the profile.

    Args:
        client: of the Data API; left open.
    """
    try:
        layouts = client.layouts()
    except FileMakerError as error:
        remedy = f"Only the Data API can find it. To have it looked for: {error.remedy}"
        yield build.violation(RULE, "dates", f"not looked at. {error.what}", remedy)
        return
    for entity in profile.entities:
        try:
            resolution = resolve(profile, entity, layouts, client.layout_fields)
            fields = [field.name for field in resolution.fields if field.result in _DATES]
            # The requests of one find are joined by OR.
            page = client.find(resolution.layout, [{name: "?"} for name in fields], limit=IDS_SHOWN) if fields else None
        except (MappingError, FileMakerError) as error:
            yield build.violation(RULE, entity, f"not looked at. {error.what}", error.remedy)
            continue
        if page and page.found_count:
            ids = ", ".join(str(record.record_id) for record in page.records)
            more = " and others" if page.found_count > len(page.records) else ""
            found = f"{counted(page.found_count, 'record')} of {resolution.layout}: {ids}{more}"
            yield build.violation(RULE, entity, found)
