"""What docs/benchmark.md shows works, and the results of record give the tables beside them."""

import json
import re
import sys
from pathlib import Path

import pytest

from udg_datagen.benchmark import benchmark
from udg_datagen.benchmark.benchmark import SETTINGS_NAME
from udg_datagen.benchmark.report import SUMMARY_NAME, TABLES_NAME, markdown, summary, tables
from udg_datagen.benchmark.rows import ROWS_NAME, parse, read
from udg_datagen.clusters import share
from udg_sim.objects.library import HELD_OUT, ObjectLibrary

DOCS = Path(__file__).parents[4] / "docs"
RECORDS = sorted(path.parent for path in (DOCS / "results").glob(f"*/{SETTINGS_NAME}"))


def test_the_example_takes_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = re.search(r"```python\n(.*?)```", (DOCS / "benchmark.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    code = [line for line in example[1].splitlines() if line.strip()]
    assert len(code) <= 20
    (tmp_path / "my_policy.py").write_text(example[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *sys.path]))
    benchmark.run(
        [
            "--protocol",
            "smoke",
            "--objects",
            "cube_60",
            "--policies",
            "my_policy:MyPolicy",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    (row,) = read(tmp_path / "out" / ROWS_NAME)
    assert row.cause not in ("", "policy_raised", "policy_invalid") and row.frames > 50
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["trials"] == 1


@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_results_of_record_give_the_tables_beside_them(folder: Path) -> None:
    rows = parse((folder / ROWS_NAME).read_text(encoding="utf-8"))
    told = json.loads((folder / SETTINGS_NAME).read_text(encoding="utf-8"))
    assert json.loads((folder / SUMMARY_NAME).read_text(encoding="utf-8")) == summary(rows)
    assert (folder / TABLES_NAME).read_text(encoding="utf-8") == "# Benchmark\n\n" + markdown(tables(rows))
    assert {row.policy for row in rows} <= set(told["policies"])
    for name, what in told["policies"].items():
        assert what["digest"] and what["code"], name
        assert all(re.fullmatch(r"[0-9a-f]{40}\+?", code) for code in what["code"]), name


@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_policies_of_record_had_the_object_at_the_same_place(folder: Path) -> None:
    """Under the same rules; other friction and damping let it settle otherwise, by millimetres."""
    told = json.loads((folder / SETTINGS_NAME).read_text(encoding="utf-8"))["policies"]
    places: dict[tuple[str, str, int], tuple[float, float]] = {}
    for row in parse((folder / ROWS_NAME).read_text(encoding="utf-8")):
        place = places.setdefault((told[row.policy]["rules"], row.object, row.seed), (row.x, row.y))
        assert place == pytest.approx((row.x, row.y), abs=1e-3), row


def test_the_page_tells_how_the_objects_fared_that_something_was_chosen_on() -> None:
    rows = [
        row for row in parse((DOCS / "results/paper" / ROWS_NAME).read_text(encoding="utf-8")) if row.policy == "ours"
    ]
    chosen_on = set(ObjectLibrary().ids(source=HELD_OUT, quick=True))
    text = " ".join((DOCS / "benchmark.md").read_text(encoding="utf-8").split())
    for quick in (True, False):
        found = share([(row.object, row.success) for row in rows if (row.object in chosen_on) == quick])
        low, high = (f"{100 * value:.1f}" for value in (found.lower, found.upper))
        assert f"{found.successes:,} of {found.trials:,} ({100 * found.value:.1f} % [{low}, {high}])" in text


def test_there_are_results_of_record() -> None:
    assert RECORDS


@pytest.mark.slow
def test_smoke_is_run_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    benchmark.run(["--protocol", "smoke", "--policies", "ours,planner", "--out", out, "--workers", "2"])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["trials"] == 12 and last["not_run"] == 0
    assert last["policies"]["planner"]["successes"] >= 5 and last["policies"]["ours"]["successes"] >= 2
    assert (tmp_path / "out" / "index.html").stat().st_size > 2000
