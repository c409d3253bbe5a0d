"""Fixtures of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fm_pipeline.dicom.orthanc import batch_size
from fm_pipeline.sandbox.dicom.series import write_series
from fm_pipeline_tests.dicom.bench import ImportBench
from fm_pipeline_tests.dicom.importer.test_faults import FILES
from fm_pipeline_tests.support.proxies.orthanc_proxy import (
    OrthancProxy,
    orthanc_proxy,
)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is sent in a request of its own."""
    monkeypatch.setattr(batch_size, "MOST_BYTES", 0)


@pytest.fixture(params=["together", "alone"])
def both_ways(request: pytest.FixtureRequest) -> str:
    """Small files are sent together, and then each alone: `together` or `alone`."""
    way: str = request.param
    if way == "alone":
        request.getfixturevalue("alone")
    return way


@pytest.fixture
def proxied(importing: ImportBench) -> Iterator[tuple[ImportBench, OrthancProxy]]:
    """An import whose way to Orthanc leads through a proxy with faults, and a folder of files.

    It waits for an answer as long as is usual: a file that is answered late would be sent again and be there already.
    """
    write_series(importing.folder, FILES, 2_000)
    assert importing.settings.orthanc_url is not None
    with orthanc_proxy(importing.settings.orthanc_url) as proxy:
        settings = importing.settings.model_copy(update={"orthanc_url": proxy.url})
        yield replace(importing, settings=settings), proxy
