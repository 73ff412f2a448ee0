import dataclasses
import json
import math

import numpy as np
import pytest

from udg_datagen.bench import report
from udg_datagen.bench.bench_synthesis import baseline_cells, timed_cells
from udg_datagen.bench.cell import CellResult, cell_seed, open_gates
from udg_datagen.bench.scenes import SceneOutcome, scene_tasks
from udg_datagen.bench.settings import MAIN_TEST, TESTS, BenchConfig, BenchError, Cell, cells, pick_objects, quick
from udg_datagen.bench.timing import Timing
from udg_datagen.metrics import Diversity
from udg_datagen.synthesis import STRATEGIES, SynthesisConfig
from udg_sim.objects.library import ObjectLibrary

OBJECTS = {"small": ["a", "b"], "medium": ["c"], "large": ["d"]}
SPREAD = Diversity(
    count=10,
    pca_share_1=0.4,
    pca_share_2=0.6,
    pca_share_5=0.9,
    approach_angle_deg=50.0,
    approach_entropy=0.8,
    point_spread_mm=10.0,
)


def _cells() -> list[Cell]:
    return cells(OBJECTS, {name: "box" for names in OBJECTS.values() for name in names}, tuple(STRATEGIES))


def _result(cell: Cell, raw: list[bool], ranked: list[bool], method: str = "ours") -> CellResult:
    return CellResult(
        cell=cell,
        method=method,
        candidates=16,
        returned=16,
        good=16,
        cpu_s=4.0,
        raw_rank=[0.1, 0.9],
        raw={test: raw for test in TESTS},
        ranked={test: ranked for test in TESTS},
        penetration_mm=[0.1, 0.3],
        tip_mm=[0.05],
        q1=[0.1],
        diversity_all=SPREAD,
        diversity_kept=SPREAD,
        diversity_ranked=SPREAD,
    )


def test_objects_are_three_sizes_that_nobody_tunes_on() -> None:
    library = ObjectLibrary()
    chosen = pick_objects(library, BenchConfig().objects_per_size)
    assert {size: len(names) for size, names in chosen.items()} == {"small": 12, "medium": 12, "large": 12}
    test = set(library.ids(split="test"))
    names = [name for names in chosen.values() for name in names]
    assert len(set(names)) == 36
    assert all(name in test or name.endswith(("_017", "_018")) for name in names)


def test_every_object_has_the_strategies_of_its_size_and_hands_alternate() -> None:
    made = _cells()
    assert [c.strategy for c in made if c.object_id == "a"] == ["pinch", "tripod", "whole_hand"]
    assert {c.sides for c in made if c.object_id == "a"} == {("right",)}
    assert {c.sides for c in made if c.object_id == "b"} == {("left",)}
    assert [c.sides for c in made if c.object_id == "d"] == [("left", "right")]
    assert len({cell_seed(c, 0) for c in made}) == len(made)


def test_times_are_taken_over_the_strategies_and_baselines_grasp_with_the_whole_hand() -> None:
    timed = timed_cells(_cells(), 2)
    assert [c.strategy for c in timed] == ["whole_hand", "tripod", "bimanual"]
    assert {c.strategy for c in baseline_cells(_cells(), 2)} == {"whole_hand"}


def test_scenes_visit_the_objects_in_turn() -> None:
    tasks = scene_tasks(OBJECTS, BenchConfig(scenes=6))
    assert [t.object_id for t in tasks] == ["a", "c", "d", "b", "c", "d"]
    assert len({(t.object_id, t.seed) for t in tasks}) == 6


def test_open_gates_lets_everything_pass_that_is_finite() -> None:
    opened = dataclasses.asdict(open_gates(SynthesisConfig()))
    assert all(math.isinf(value) for name, value in opened.items() if name.startswith("max_"))


def test_the_summary_has_the_agreed_keys_and_pooled_shares() -> None:
    made = _cells()
    ours = [_result(c, [True, c.strategy != "pinch"], [True, True]) for c in made]
    results = report.Results(
        config=quick(),
        ours=ours,
        baselines=[_result(made[2], [True, False], [True, False], "dexgraspnet")],
        timings=[Timing(made[0], 4.0, 500), Timing(made[-1], 9.0, 500)],
        scenes=[
            SceneOutcome("a", "small", 0, "pinch", True, True),
            SceneOutcome("a", "small", 1, "pinch", True, False, "dropped"),
            SceneOutcome("a", "small", 2, "", False, False, "no_reach"),
        ],
        machine="here",
        seconds=60.0,
    )
    line = json.loads(json.dumps(report.summary(results)))
    assert list(line) == [
        "single_s_per_500",
        "bimanual_s_per_500",
        "valid_share",
        "penetration_mm_p50",
        "contact_mm_p50",
        "valid_per_s",
        "chosen_lift_share",
    ]
    assert list(line["valid_share"]) == [
        "single_mu06",
        "single_mu06_ranked",
        "single_mu10",
        "bimanual_mu06",
        "bimanual_mu06_ranked",
        "by_strategy",
    ]
    assert (line["single_s_per_500"], line["bimanual_s_per_500"]) == (4.0, 9.0)
    assert line["valid_share"]["by_strategy"]["pinch"] == 0.5
    assert line["valid_share"]["single_mu06"] == pytest.approx(14 / 16, abs=1e-4)  # 8 cells, 2 of them half
    assert line["chosen_lift_share"] == 0.5  # of those that were executed
    # Best 500 of 800: rank 0.1 counts, rank 0.9 does not; all of those held: 500 valid in 4 s.
    assert line["valid_per_s"] == {"ours": 125.0, "dexgraspnet": 4.0}  # 8 of 16 in 4 s of CPU, on two
    docs = report.insert("before <!-- bench:begin --> old <!-- bench:end --> after", results)
    assert docs.startswith("before") and docs.endswith("after") and "old" not in docs and "### Diversity" in docs
    with pytest.raises(BenchError, match="marks"):
        report.insert("no marks", results)
    page = report.markdown(results)
    for name in ("pinch", "bimanual", "dexgraspnet", "BODex", "no_reach", "0.50"):
        assert name in page


def test_candidates_outside_the_gates_are_not_among_the_kept() -> None:
    cell = _cells()[0]
    result = dataclasses.replace(_result(cell, [True, True], []), raw_rank=[0.1, float("nan")])
    assert report.kept_share([result], 0.625)[:2] == (1, 1)
    assert report.pooled([result], MAIN_TEST, "raw")[:2] == (2, 2)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BenchError, match="trials"):
        BenchConfig(trials=0)
    with pytest.raises(BenchError, match="ranked_share"):
        BenchConfig(ranked_share=0.9)


def test_nothing_measured_gives_nulls_not_errors() -> None:
    results = report.Results(config=quick(), ours=[], baselines=[], timings=[], scenes=[], machine="here", seconds=1.0)
    line = report.summary(results)
    assert line["valid_share"]["single_mu06"] is None and line["chosen_lift_share"] is None
    assert np.isscalar(len(report.markdown(results)))
