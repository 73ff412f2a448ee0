from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from udg_datagen.demonstrations import agreement
from udg_datagen.demonstrations.agreement import Difference, Row, Took, difference, figures
from udg_description.transforms import make_transform, rotvec_to_matrix


def took(x: float, turn_rad: float, sides: tuple[str, ...] = ("right",), bent: float = 0.0) -> Took:
    T = make_transform(rotvec_to_matrix(np.array([0.0, 0.0, turn_rad])), np.array([x, 0.0, 0.0]))
    return Took("pinch", sides, np.stack([T] * len(sides)), np.full((len(sides), 12), bent))


def test_a_difference_is_of_hands_in_the_world() -> None:
    found = difference(took(0.1, 0.0), took(0.13, 0.1, bent=0.2))
    assert (found.same_sides, found.same_strategy) == (True, True)
    np.testing.assert_allclose([found.position_mm, found.rotation_deg, found.finger_rad], [30.0, np.degrees(0.1), 0.2])


def test_of_two_hands_the_one_that_differs_most_counts() -> None:
    a, b = took(0.0, 0.0, ("left", "right")), took(0.0, 0.0, ("left", "right"))
    b.Ts_world_hand[1, 0, 3] = 0.02
    assert difference(a, b).position_mm == pytest.approx(20.0)


def test_other_hands_have_no_distance_but_count_as_other() -> None:
    found = difference(took(0.0, 0.0), took(0.0, 0.0, ("left",)))
    assert not found.same_sides and np.isnan(found.position_mm)
    pairs = (found, Difference(same_sides=True, same_strategy=True, position_mm=4.0, rotation_deg=2.0, finger_rad=0.1))
    row = Row(
        object="a", size_class="small", scene=0, method="expert", chosen=4, asked=5, repeat=pairs, continuity=pairs
    )
    result = figures([row])
    assert result["repeat"]["same_sides"] == 0.5
    assert result["repeat"]["position_mm_p50"] == 4.0
    assert result["chosen"]["share"] == 0.8


@pytest.mark.slow
def test_the_command_writes_table_and_picture_and_the_figures_as_its_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path / "cache"))
    arguments = ["--objects", "cube_60", "--scenes", "1", "--seeds", "2", "--moves", "1", "--no-before"]
    agreement.run([*arguments, "--out", str(tmp_path / "out")])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    names = {"position_mm_p50", "rotation_deg_p50", "finger_rad_p50", "same_sides", "same_strategy"}
    assert names <= set(result["repeat"])
    assert {"position_mm_p90", "rotation_deg_p90"} <= set(result["continuity"])
    (row,) = (json.loads(line) for line in (tmp_path / "out" / "agreement.jsonl").read_text().splitlines())
    assert len(row["repeat"]) == 1 and len(row["continuity"]) == 1
    assert (tmp_path / "out" / "worst.png").stat().st_size > 1000
