"""Clouds that do not show where the object is, and trials with them."""

import json
from pathlib import Path

import numpy as np
import pytest

import udg_policy
from udg_datagen.evaluation import trials
from udg_datagen.evaluation.blind import blind_modes, empty, shifted
from udg_datagen.evaluation.engine_policy import EnginePolicy
from udg_datagen.evaluation.trials import Rollout, RolloutConfig, Trial, summarise_blind
from udg_description.errors import UdgError
from udg_description.frames import OBJECT_AREA
from udg_description.layout import HOME_Q
from udg_policy.inference.engine import PolicyEngine, Prediction

CLOUD = np.array(
    [[0.5, 0.1, 0.05, 0.0], [0.5, 0.2, 0.05, 0.0], [0.3, 0.3, 0.4, 1.0], [0.3, -0.3, 0.4, 2.0]], np.float32
)


def test_an_empty_cloud_has_the_robot_and_a_patch_where_no_object_can_be() -> None:
    cloud = empty(CLOUD, seed=5)
    assert cloud[:, 3].tolist() == [*[0.0] * 16, 1.0, 2.0] and cloud.dtype == np.float32
    np.testing.assert_allclose(cloud[:16, :3].mean(axis=0), [0.9, 0.0, 0.0], atol=1e-6)
    assert np.ptp(cloud[:16, :2], axis=0) == pytest.approx([0.012, 0.012], abs=1e-6)
    assert all(area.x_max < 0.8 for area in OBJECT_AREA.values())
    np.testing.assert_array_equal(cloud[16:], CLOUD[2:])
    assert PolicyEngine.sees_object(cloud)  # so our policy acts, and can fail the test


def test_a_shifted_cloud_is_ten_centimetres_beside_itself() -> None:
    moves = [shifted(CLOUD, seed)[:2, :3] - CLOUD[:2, :3] for seed in range(20)]
    for move in moves:
        np.testing.assert_allclose(np.linalg.norm(move, axis=1), 0.1, atol=1e-6)
        np.testing.assert_allclose(move[0], move[1], atol=1e-6)
        assert not move[:, 2].any()
    assert np.abs(np.mean(moves, axis=0)).max() < 0.05  # in all directions
    np.testing.assert_array_equal(shifted(CLOUD, 3)[2:], CLOUD[2:])
    np.testing.assert_array_equal(shifted(CLOUD, 3), shifted(CLOUD, 3))


def test_ways_to_blind_are_checked() -> None:
    assert blind_modes("") == () and blind_modes("shifted, empty") == ("shifted", "empty")
    with pytest.raises(UdgError, match="'half' is none; valid: empty, shifted"):
        blind_modes("half")


class Watching:
    """An engine that holds the robot and keeps the clouds that it is given."""

    chunk = 8

    def __init__(self) -> None:
        self.clouds: list[np.ndarray] = []

    def for_attempt(self, retries: int) -> "Watching":
        return self

    def predict(
        self, cloud: np.ndarray, q: np.ndarray, steps: int | None = None, commanded: np.ndarray | None = None
    ) -> Prediction:
        self.clouds.append(cloud)
        return Prediction(np.tile(HOME_Q, (8, 1)), None)


def test_the_policy_of_a_blind_trial_sees_what_is_left() -> None:
    engine = Watching()
    policy = EnginePolicy(engine)  # type: ignore[arg-type]
    runner = Rollout(policy, RolloutConfig(limit_s=0.1, whole_images=False))
    for blind in ("", "empty", "shifted"):
        runner.run("cube_60", 1, blind)
    whole, none, moved = engine.clouds
    assert (whole[:, 3] == 0).sum() > 100 and (none[:, 3] == 0).sum() == 16
    np.testing.assert_allclose(moved, shifted(whole, 1))


def test_the_command_tells_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With made-up trials: seeing lifts all, blind lifts none."""

    class Pool:
        def __init__(self, count: int, start: object, timeout_s: float) -> None:
            self.blind = start.args[2]  # type: ignore[attr-defined]

        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def run_trials(tasks: list[tuple[str, int]], pool: Pool) -> tuple[list[Trial], list[str]]:
        return [
            Trial(
                object=name,
                size_class="small",
                seed=seed,
                success=not pool.blind,
                raised_m=0.2,
                final_m=0.2,
                steps=50,
                position_xy=(0.6, 0.0),
                cause="dropped" if pool.blind else "",
            )
            for name, seed in tasks
        ], []

    monkeypatch.setattr(trials, "LocalPool", Pool)
    monkeypatch.setattr(trials, "run_trials", run_trials)
    checkpoint = Path(udg_policy.__file__).parent / "data" / "edge"
    trials.run(
        [
            "--checkpoint",
            str(checkpoint),
            "--objects",
            "cube_60",
            "--trials",
            "4",
            "--blind",
            "empty",
            "--out",
            str(tmp_path / "a.jsonl"),
        ]
    )
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["success_rate"] == 1.0
    assert summary["blind"] == {
        "empty": {**summarise_blind([]), "trials": 4, "success_rate": 0.0, "not_run": 0, "interval_95": [0.0, 0.49]}
    }
    assert len((tmp_path / "a.empty.jsonl").read_text().splitlines()) == 4
