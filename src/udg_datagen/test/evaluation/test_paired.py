from __future__ import annotations

import json
from pathlib import Path

import pytest

from udg_datagen.evaluation.paired import paired, run
from udg_description.errors import UdgError


def test_shares_difference_and_p_are_those_worked_out_by_hand() -> None:
    a = [True] * 4 + [True] * 1 + [False] * 5 + [False] * 2
    b = [True] * 4 + [False] * 1 + [True] * 5 + [False] * 2
    found = paired(a, b)
    assert (found.only_a, found.only_b, found.trials) == (1, 5, 12)
    assert found.difference == pytest.approx(4 / 12, abs=1e-4)
    assert found.p == pytest.approx(2 * (1 + 6) / 2**6, abs=1e-5)  # two-sided, 1 of 6
    half = 1.959964 * (6 - 16 / 12) ** 0.5 / 12
    assert found.interval_95 == pytest.approx((4 / 12 - half, 4 / 12 + half), abs=1e-4)


def test_equal_outcomes_differ_by_nothing() -> None:
    found = paired([True, False], [True, False])
    assert (found.difference, found.p, found.interval_95) == (0.0, 1.0, (0.0, 0.0))


def test_outcomes_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(UdgError, match="cannot be paired"):
        paired([True], [True, False])


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
