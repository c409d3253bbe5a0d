"""The waterfall from end to end."""

from __future__ import annotations

import hashlib

from fm_pipeline_tests.bench.pictures import picture
from fm_pipeline_tests.images.waterfall.clinic import ImageClinic


def test_images_go_into_s3_and_nexus_and_get_their_mark(clinic: ImageClinic) -> None:
    ids = [clinic.add(number) for number in range(1, 8)]
    report = clinic.run()
    assert (report.stopped, report.listed, report.count("imported"), report.left) == (None, 7, 7, 0)
    assert report.by_container()[0] == ("image_Full", 7, 100.0)
    assert clinic.marked() == set(range(1, 8))
    assert sorted(own_id for own_id, _, _ in clinic.images()) == sorted(ids)
    clinic.check()
    for number, own_id in enumerate(ids, 1):
        ((key, etag),) = [(key, etag) for key, (_, etag) in clinic.files().items() if own_id in key]
        assert etag.strip('"') == hashlib.md5(picture(number), usedforsecurity=False).hexdigest()
        patient = clinic.patients[number % len(clinic.patients)][0]
        assert key.startswith(f"patients/images/{patient}/")


def test_a_second_run_does_nothing(clinic: ImageClinic) -> None:
    clinic.add(1)
    clinic.run()
    before = clinic.bucket.objects(), clinic.images(), clinic.marks()
    clinic.stand_in.reset_counters()
    report = clinic.run()
    assert (report.listed, report.ends) == (0, {})
    assert (clinic.bucket.objects(), clinic.images(), clinic.marks()) == before
    assert "container" not in clinic.stand_in.counters()["requests"]
