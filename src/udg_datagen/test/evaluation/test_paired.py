from __future__ import annotations

import json
from pathlib import Path

import pytest

from udg_datagen.evaluation.paired import paired, run
from udg_description.errors import UdgError


def outcomes(*of_objects: str) -> dict[tuple[str, int], bool]:
    """ "10": an object's two trials, of which the first was lifted."""
    return {(f"o{i}", seed): won == "1" for i, one in enumerate(of_objects) for seed, won in enumerate(one)}


def test_shares_difference_interval_and_p_are_those_worked_out_by_hand() -> None:
    a = outcomes("00", "00", "11", "10")
    b = outcomes("11", "10", "11", "11")
    found = paired(a, b)
    assert (found.trials, found.objects, found.a, found.b, found.only_a, found.only_b) == (8, 4, 0.375, 0.875, 0, 4)
    # objects win 2, 1, 0, 1 trials more, one on average: variance (1 + 1) 4/3 / 8^2, three degrees of freedom
    half = 3.182446 * (2 * 4 / 3) ** 0.5 / 8
    assert found.difference == 0.5
    assert found.interval_95 == pytest.approx((max(-1.0, 0.5 - half), min(1.0, 0.5 + half)), abs=1e-4)
    assert found.p == 2 / 2**3  # of the flips of three objects that differ, all one way


def test_trials_of_an_object_that_go_alike_tell_less_than_as_many_objects() -> None:
    alike = paired(outcomes("0000", "0000", "1111"), outcomes("1111", "1111", "1111"))
    apart = paired(outcomes(*"000000001111"), outcomes(*"111111111111"))
    assert alike.difference == apart.difference and alike.p > 10.0 * apart.p
    assert alike.interval_95[0] < apart.interval_95[0]


def test_equal_outcomes_differ_by_nothing() -> None:
    found = paired(outcomes("10", "01"), outcomes("10", "01"))
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.interval_95[0] < 0.0 < found.interval_95[1]


def test_outcomes_without_a_common_trial_are_refused() -> None:
    with pytest.raises(UdgError, match="no trial"):
        paired({("egg", 0): True}, {("egg", 1): True})


def test_the_command_pairs_trials_by_object_and_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def write(name: str, outcomes: dict[tuple[str, int], bool]) -> Path:
        lines = [
            json.dumps({"object": o, "seed": s, "size_class": "small", "success": v}) for (o, s), v in outcomes.items()
        ]
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    a = write("a.jsonl", {("egg", 1): True, ("egg", 2): False, ("can", 1): False})
    b = write("b.jsonl", {("can", 1): True, ("egg", 1): True, ("egg", 3): True})
    run([str(a), str(b)])
    result = json.loads(capsys.readouterr().out)
    assert (result["trials"], result["only_b"], result["only_a"], result["not_paired"]) == (2, 1, 0, 2)
    with pytest.raises(UdgError, match="no trials"):
        run([str(a), str(tmp_path / "absent.jsonl")])
