"""Why images were not linked or imported, as the pages say it."""

from __future__ import annotations

from fm_pipeline.images.containers import reasons
from fm_pipeline.images.linking.report import REASON_SENTENCES
from fm_pipeline.status.image_reasons import REMEDIES, reasons_shown, remedy, why


def test_every_reason_has_a_sentence_and_says_what_to_do() -> None:
    known = {**REASON_SENTENCES, **reasons.SKIPPED, **reasons.FAILED}
    for reason in known:
        assert why(reason)[0].isupper(), reason
        assert why(reason).endswith("."), reason
        assert remedy(reason).endswith("."), reason
    assert REMEDIES.keys() <= known.keys()
    assert (why("of_a_later_release"), remedy("of_a_later_release")) == ("Of_a_later_release.", "")


def test_what_somebody_has_to_look_into_comes_first_with_the_ids_that_the_report_has() -> None:
    link = {"errors": {"archived": 1, "read_failed": 300}, "skipped": {"no_date": 2}, "failed": {"read_failed": [5, 6]}}
    shown = reasons_shown(link)
    assert [(each.reason, list(each.ids), each.more) for each in shown["errors"]] == [
        ("read_failed", [5, 6], 298),
        ("archived", [], 1),
    ]
    taken = reasons_shown({"reasons": {"no_date": 2, "not_readable": 1}, "failed": {"not_readable": [7]}})
    assert [[each.reason for each in taken[name]] for name in ("errors", "skipped")] == [["not_readable"], ["no_date"]]
    assert reasons_shown({}) == {"errors": [], "skipped": []}
