"""Tables and page, from rows made up."""

from pathlib import Path

import pytest

from udg_datagen.benchmark.pictures import object_pictures
from udg_datagen.benchmark.report import (
    SUMMARY_NAME,
    differences,
    extremes,
    markdown,
    page,
    summary,
    tables,
    write_report,
)
from udg_datagen.benchmark.rows import NOT_RUN, Row
from udg_sim.objects.library import ObjectLibrary


def row(
    policy: str, object: str, size: str, success: bool, seed: int = 1, seen: str = "unseen", cause: str = ""
) -> Row:
    return Row(
        policy=policy,
        object=object,
        seen=seen,
        category=f"kind of {object}",
        size=size,
        seed=seed,
        mass_kg=0.1,
        success=success,
        cause="" if success else cause or "dropped",
        phase="lifted" if success else "",
        time_s=4.0,
        frames=40,
        refused=0,
        raised_m=0.2,
        final_m=0.2,
        x=0.6,
        y=0.0,
    )


ROWS = [
    row("a", "x", "small", True),
    row("a", "y", "large", False),
    row("a", "z", "small", True, seen="seen"),
    row("b", "x", "small", True),
    row("b", "y", "large", True),
    row("b", "z", "small", False, seen="seen"),
    row("b", "lost", "small", False, cause=NOT_RUN),
]


def test_the_tables_tell_sizes_and_kinds_apart_and_the_mean_is_that_of_sizes() -> None:
    told = summary(ROWS)
    assert (told["trials"], told["not_run"]) == (6, 1)
    a = told["policies"]["a"]
    assert (a["unseen"]["small"]["success"], a["unseen"]["large"]["success"], a["unseen"]["medium"]) == (1.0, 0.0, None)
    assert a["unseen"]["mean"]["success"] == 0.5
    assert a["new_objects"]["success"] == 0.5 and a["new_objects"]["trials"] == 3  # (2/2 + 0/1) / 2
    assert a["causes"] == {"dropped": 1} and "trained" not in a
    paired = told["paired"]["b - a, new objects"]
    assert (paired["difference"], paired["p"]) == (0.25, 1.0)  # small ((0 - 1) + (1 - 1)) / 2, large 1
    assert paired["success"] == {"a": 0.5, "b": 0.75}  # (2/2 + 0/1) / 2, (1/2 + 1/1) / 2


def test_what_one_policy_was_trained_on_is_compared_as_such() -> None:
    rows = [row("a", "x", "small", True, seen="trained"), row("b", "x", "small", False), row("b", "y", "small", True)]
    told = summary(rows)["policies"]
    assert told["b"]["trained"]["small"]["success"] == 0.0 and told["b"]["unseen"]["small"]["trials"] == 1
    assert told["b"]["new_objects"]["success"] == 1.0 and told["a"]["new_objects"] is None


def test_a_mean_of_sizes_that_one_has_not_tried_is_not_shown_beside_the_others() -> None:
    rows = [*(row("a", size, size, True) for size in ("small", "medium", "large")), row("b", "small", "small", False)]
    text = markdown(tables([*rows, row("b", "medium", "medium", True)]))
    assert "| unseen | mean | 100.0 [" in text and text.split("| unseen | mean |")[1].split("\n")[0].endswith("| - |")
    (line,) = [line for line in text.split("\n") if line.startswith("| unseen | mean of small, medium |")]
    assert line.split("|")[4].strip().startswith("50.0 [")
    told = summary([*rows, row("b", "medium", "medium", True)])["policies"]
    assert told["a"]["unseen"]["mean"]["success"] == 1.0 and told["a"]["new_objects"]["trials"] == 3
    assert told["b"]["unseen"]["mean"] is None and told["b"]["new_objects"] is None


def test_all_policies_stand_beside_each_other() -> None:
    text = markdown(tables(ROWS))
    assert "| objects | size | a (3) | b (3) |" in text and " 1 trials could not be run and do not count." in text
    assert "could not be run" not in markdown(tables(ROWS[:-1]))
    assert "| unseen | large | 0.0 [0.0, 79.3] | 100.0 [20.7, 100.0] |" in text
    assert "| dropped | 1 | 1 |" in text and "| kind of y | 1 |" in text
    assert extremes(ROWS, 5) == (["y"], ["x"])


def test_under_other_rules_a_policy_is_compared_with_itself_alone() -> None:
    rows = [row(name, "x", "small", True) for name in ("a", "a [reference]", "b", "b [reference]")]
    pairs = {(a, b) for a, b, *_ in differences(rows)}
    assert pairs == {("a", "a [reference]"), ("a", "b"), ("a [reference]", "b [reference]"), ("b", "b [reference]")}


def test_the_page_needs_nothing_else_and_names_are_only_text(tmp_path: Path) -> None:
    found = page(tables([row("<b>", "x", "small", True)]), {"a": "</pre>"}, {"Worst": "AAAA"}, {"film": "films/a.mp4"})
    assert "<b>" not in found and "</pre>" not in found.replace("</code></pre>", "")
    assert "src='data:image/png;base64,AAAA'" in found and "http" not in found
    write_report(tmp_path, ROWS, {})
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "tables.md", SUMMARY_NAME}


@pytest.mark.slow
def test_objects_are_pictured_where_there_are_some() -> None:
    rows = [row("a", "cube_60", "medium", True), row("a", "cube_30", "small", False)]
    assert list(object_pictures(rows, ObjectLibrary())) == ["Lifted least often", "Lifted most often"]
    assert object_pictures(rows[:1], ObjectLibrary()) == {}
