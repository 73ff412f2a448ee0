"""Films of failed trials, whatever the policy does."""

from pathlib import Path

import pytest

from udg_datagen.benchmark.films import films
from udg_datagen.benchmark.policies import entrants
from udg_datagen.benchmark.rows import Row
from udg_datagen.evaluation.trials import RolloutConfig

CONFIG = RolloutConfig(limit_s=0.5, whole_images=False)
POLICY = "bad_policies:Bad"


def row(seed: int, cause: str, time_s: float = 0.5) -> Row:
    told = {"policy": POLICY, "object": "cube_60", "category": "cube", "seen": "seen", "size": "medium", "phase": ""}
    zeros = dict.fromkeys(("mass_kg", "frames", "refused", "raised_m", "final_m", "x", "y"), 0)
    return Row(**told, **zeros, seed=seed, success=False, cause=cause, time_s=time_s)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.usefixtures("importable")
def test_failed_trials_are_filmed_causes_in_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the policy's two stalled trials the first, of others that raised, never began, died this time, hang."""
    rows = [row(0, "stalled"), row(7, "stalled"), row(1, "policy_raised"), row(8, "policy_hung", time_s=0.0)]
    rows += [row(6, "dropped"), row(5, "missed")]
    found = films(tmp_path, rows, entrants(POLICY), CONFIG, 4, 2, 20.0)
    assert list(found) == [f"{POLICY}: cube_60, seed 0: stalled", f"{POLICY}: cube_60, seed 1: policy raised"]
    assert all((tmp_path / path).stat().st_size > 500 for path in found.values())
    said = capsys.readouterr().err
    assert f"no film of {POLICY}: cube_60, seed 6: dropped" in said and "seed 5: missed" in said
    again = films(tmp_path, rows, [], CONFIG, 4, 2, 20.0)
    assert again == found
