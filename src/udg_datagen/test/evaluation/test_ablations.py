"""The study of variants: fair trials, intervals by hand, differences of the same trials, a report that can be read."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from udg_datagen.evaluation.ablation_report import (
    REPORT_JSON,
    REPORT_TABLE,
    Run,
    difference,
    report_of,
    student_interval,
    success,
    table_of,
    write_report,
)
from udg_datagen.evaluation.ablations import (
    VARIANTS,
    Plan,
    choose_trials,
    more_trials,
    read_trials,
    run,
    variant_config,
)
from udg_description.errors import UdgError
from udg_policy.config import preset
from udg_policy.episodes.dataset import EpisodeWriter
from udg_policy.episodes.synthetic import make_episode

STUDIES = sorted((Path(__file__).parents[4] / "docs" / "results").glob(f"*/{REPORT_JSON}"))
PLAN = {"steps": 10, "known": [("a", 1), ("a", 2)], "unseen": [("b", 1)]}


def measured(variant: str, seed: int, known: tuple[bool, bool], unseen: bool) -> Run:
    return Run(
        variant=variant,
        seed=seed,
        validation={"l1": 0.1 * (seed + 1), "nll": -1.0},
        known={("a", 1): known[0], ("a", 2): known[1]},
        unseen={("b", 1): unseen},
    )


RUNS = [
    measured("full", 0, (True, True), True),
    measured("full", 1, (True, False), True),
    measured("regression", 0, (True, False), False),
    measured("regression", 1, (False, True), True),
]


def runs_of(report: dict[str, Any]) -> list[Run]:
    """The runs that a report tells of, each trial as [object, seed, success]."""

    def outcomes(trials: list[tuple[str, int, bool]]) -> dict[tuple[str, int], bool]:
        return {(object, seed): won for object, seed, won in trials}

    return [Run(**told | {group: outcomes(told[group]) for group in ("known", "unseen")}) for told in report["runs"]]


def test_students_interval_by_hand() -> None:
    # mean 2, standard deviation 1, t(0.975, 2) = 4.3027: 4.3027 / sqrt(3) = 2.4841
    assert student_interval([1.0, 2.0, 3.0]) == {"mean": 2.0, "half_width_95": 2.4841, "n": 3}
    assert student_interval([0.5])["half_width_95"] is None
    assert student_interval([])["mean"] is None


def test_success_counts_trials_and_seeds() -> None:
    values = success(RUNS[:2], "all")
    assert (values["successes"], values["trials"]) == (5, 6)
    assert values["by_seed"] == [1.0, 0.6667]
    assert success(RUNS[:2], "unseen")["rate"] == 1.0


def test_differences_are_of_the_same_trials() -> None:
    values = difference(RUNS[2:], RUNS[:2], "all")
    assert (values["won"], values["lost"]) == (1, 3)  # seed 0 lost two; seed 1 won one and lost one
    assert values["seeds"]["mean"] == pytest.approx((-2 / 3 + 0.0) / 2, abs=1e-4)
    assert values["p"] == 0.5  # a: 0 - 1 - 1 + 1, b: -1 + 0; of the four ways to exchange them two are as far from 0
    missing = [Run(variant="regression", seed=0, validation={}, known={("a", 1): True}, unseen={})]
    assert difference(missing, RUNS[:2], "all")["seeds"]["mean"] == 0.0  # only what both have


def test_the_report_is_complete_also_while_runs_are_missing(tmp_path: Path) -> None:
    for runs in (RUNS, RUNS[:1]):
        write_report(tmp_path, report_of(runs, ["full", "regression"], PLAN, ["('regression', 1): error: why"]))
        report = json.loads((tmp_path / "report.json").read_text())
        assert set(report["summary"]["variants"]) == {"full", "regression"}
        assert "| regression |" in (tmp_path / "report.md").read_text()
        assert (tmp_path / "success.png").read_bytes()[:4] == b"\x89PNG"


def test_the_figures_are_computed_again_from_the_report() -> None:
    named = [replace(run, weights=f"{i}", code="abc") for i, run in enumerate(RUNS)]
    report = json.loads(json.dumps(report_of(named, ["full", "regression"], PLAN, [])))
    assert runs_of(report) == named
    assert json.loads(json.dumps(report_of(runs_of(report), list(report["variants"]), report["plan"], []))) == report


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)
def test_studies_of_record_give_the_table_beside_them(path: Path) -> None:
    report = json.loads(path.read_text(encoding="utf-8"))
    again = report_of(runs_of(report), list(report["variants"]), report["plan"], report["failures"])
    assert json.loads(json.dumps(again)) == report
    assert (path.parent / REPORT_TABLE).read_text(encoding="utf-8") == table_of(report)
    for one in runs_of(report):
        assert re.fullmatch(r"[0-9a-f]{64}", one.weights) and re.fullmatch(r"[0-9a-f]{40}", one.code), one.variant


def test_there_are_studies_of_record() -> None:
    assert STUDIES


def test_trials_are_half_on_unseen_objects_and_take_the_sizes_in_turn() -> None:
    size_of = {f"{size}_{i}": size for size in ("small", "medium", "large") for i in range(4)}
    names = [name for name in size_of if not name.endswith("_3")]
    known, unseen = choose_trials(size_of, names, 18)
    assert len(known) == len(unseen) == 9
    assert {name for name, _ in known} == set(names)
    assert {name for name, _ in unseen} == {"small_3", "medium_3", "large_3"}
    assert len(set(unseen)) == 9  # other seeds where there are fewer objects than trials
    assert (known, unseen) == choose_trials(size_of, names, 18)


def test_every_variant_is_a_valid_configuration_for_edge() -> None:
    for name in VARIANTS:
        assert name in ("full", "still_scene", "width_128") or variant_config(preset("edge"), name) != preset("edge")
    with pytest.raises(UdgError, match="valid are full, regression, full_attention"):
        variant_config(preset("edge"), "fool")


def test_a_trial_that_was_cut_short_does_not_count(tmp_path: Path) -> None:
    line = json.dumps(
        {
            "object": "a",
            "size_class": "small",
            "seed": 1,
            "success": True,
            "raised_m": 0.2,
            "final_m": 0.2,
            "steps": 9,
            "position_xy": [0.5, 0.1],
        }
    )
    (tmp_path / "trials.jsonl").write_text(line + "\n" + line[:30])
    assert list(read_trials(tmp_path)) == [("a", 1)]
    assert read_trials(tmp_path / "absent") == {}
    for number in (2, 3):
        with more_trials(tmp_path) as stream:
            stream.write(line.replace('"seed": 1', f'"seed": {number}') + "\n")
    assert list(read_trials(tmp_path)) == [("a", 1), ("a", 2), ("a", 3)]
    assert len((tmp_path / "trials.jsonl").read_bytes().splitlines()) == 4
    with more_trials(tmp_path) as stream:
        assert stream.tell() > 0
    (tmp_path / "new").mkdir()
    with more_trials(tmp_path / "new") as stream:
        stream.write(line + "\n")
    assert (tmp_path / "new" / "trials.jsonl").read_text() == line + "\n"


def test_a_plan_is_kept_and_a_wrong_one_named(tmp_path: Path) -> None:
    plan = Plan(data_hash="x", steps=3, base={}, known=(("a", 1),), unseen=())
    plan.save(tmp_path)
    assert Plan.load(tmp_path) == plan
    assert Plan.load(tmp_path / "absent") is None
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UdgError, match="not a plan of a study"):
        Plan.load(tmp_path)


def test_a_study_of_several_data_sets_is_run_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, names in (("a", ("cube_60", "soda_can")), ("b", ("cube_30", "tin_can"))):
        writer = EpisodeWriter(tmp_path / folder)
        for seed, name in enumerate(names):
            episode = make_episode(seed, steps=6)
            writer.write(name, replace(episode, meta={**episode.meta, "object": name}))
    config = tmp_path / "config.yaml"
    config.write_text("train: {batch: 4, validation_share: 0.25}\n")
    command = ["--data", f"{tmp_path / 'a'},{tmp_path / 'b'}", "--out", str(tmp_path / "out"), "--preset", "debug"]
    command += ["--config", str(config), "--steps", "2", "--trials", "2", "--cache", str(tmp_path / "cache")]
    command += ["--variants", "full", "--workers", "1"]

    def trials() -> dict[str, int]:
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        return {group: of["trials"] for group, of in report["variants"]["full"]["success"].items()}

    run([*command, "--seeds", "1"])
    assert trials() == {"known": 1, "unseen": 1, "all": 2}
    before = (tmp_path / "out" / "runs" / "full_0" / "trials.jsonl").read_bytes()
    run([*command, "--seeds", "2"])
    assert (tmp_path / "out" / "runs" / "full_0" / "trials.jsonl").read_bytes() == before
    assert trials() == {"known": 2, "unseen": 2, "all": 4}
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["variants"]["full"]["seeds"] == 2
    monkeypatch.setitem(VARIANTS, "full", {"train": {"dropout": 0.5}})
    with pytest.raises(UdgError, match=r"full_0: was trained as train.dropout=0.0, not 0.5"):
        run([*command, "--seeds", "2"])
    monkeypatch.undo()
    with pytest.raises(UdgError, match="holds a study of other data"):
        run([*command[:1], f"{tmp_path / 'a'},{tmp_path / 'b'}=0.9", *command[2:]])


@pytest.mark.parametrize("options", [("--seeds", "0"), ("--minutes", "-3"), ("--minutes", "nan"), ("--steps", "0")])
def test_bad_arguments_are_named(tmp_path: Path, options: tuple[str, str]) -> None:
    with pytest.raises(UdgError, match=f"{options[0]}.* must be"):
        run(["--data", str(tmp_path), "--out", str(tmp_path), *options])


def test_objects_that_are_not_here_are_named_before_the_training(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "data")
    for seed, name in enumerate(("cube_60", "gone_d", "soda_can", "tin_can")):
        episode = make_episode(seed, steps=6)
        writer.write(name, replace(episode, meta={**episode.meta, "object": name}))
    (tmp_path / "config.yaml").write_text("train: {batch: 4, validation_share: 0.25}\n")
    command = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--preset", "debug", "--steps", "2"]
    command += ["--config", str(tmp_path / "config.yaml"), "--trials", "8", "--cache", str(tmp_path / "cache")]
    with pytest.raises(UdgError, match="object 'gone_d' is not in the library"):
        run([*command, "--variants", "full", "--seeds", "1", "--workers", "1"])
    assert not (tmp_path / "out" / "runs").exists()


def test_the_smallest_p_is_not_zero() -> None:
    trials = {(f"o{i}", 1): False for i in range(60)}
    lost = Run(variant="b", seed=0, validation={}, known=trials, unseen={})
    won = Run(variant="a", seed=0, validation={}, known=dict.fromkeys(trials, True), unseen={})
    report = report_of([won, lost], ["a", "b"], {"steps": 1, "known": [], "unseen": []}, [])
    assert report["variants"]["b"]["difference"]["all"]["p"] == 5e-5
    assert "0 / 60 (p < 0.0001)" in table_of(report)
