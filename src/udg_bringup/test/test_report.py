"""The report page."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from udg_bringup.report import TrialRecord, by_cause, by_object, html_page, percentiles_ms


def record(name: str, trial: int, success: bool) -> TrialRecord:
    """A trial of three ticks with one picture."""
    return TrialRecord(
        object=name,
        seed=0,
        trial=trial,
        success=success,
        raised_m=0.2 if success else 0.01,
        time_s=6.0,
        wall_s=8.0,
        tick_ms=np.array([40.0, 50.0, 60.0]),
        pictures=(np.zeros((24, 32, 3), dtype=np.uint8),),
    )


def test_trials_are_counted_by_object_in_order() -> None:
    records = [record("b", 0, True), record("a", 1, False), record("b", 2, False)]
    assert by_object(records) == {"b": {"trials": 2, "successes": 1}, "a": {"trials": 1, "successes": 0}}
    assert list(by_object(records)) == ["b", "a"]


def test_percentiles_of_nothing_are_null() -> None:
    assert percentiles_ms(np.empty(0)) == {"p50": None, "p99": None}
    assert percentiles_ms(np.array([10.0, 20.0, 30.0]))["p50"] == 20.0


def test_the_page_stands_alone_and_escapes_names() -> None:
    page = html_page(
        title="Trials",
        records=[record("<cube>.obj@0.1", 0, True), record("can", 1, False)],
        settings={"seed": 0},
        by_stage_ms={"image_to_cloud": np.array([20.0])},
        video="trials.mp4",
    )
    assert "<b>1 of 2</b>" in page
    assert "&lt;cube&gt;.obj@0.1" in page and "<cube>" not in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert not re.search(r"(src|href)=['\"]?https?:", page)
    assert "<svg" in page


def test_failures_are_counted_by_cause() -> None:
    failed = [replace(record("a", k, False), cause=cause) for k, cause in enumerate(["dropped", "", "dropped"])]
    records = [record("a", 0, True), *failed]
    assert by_cause(records) == {"dropped": 2, "not_lifted": 1}
    page = html_page(title="t", records=records, settings={}, by_stage_ms={}, video=None)
    assert "Not lifted: dropped 2, not lifted 1." in page and "<span class=no>dropped</span>" in page
