import json

import numpy as np

from udg_datagen.rollout import Rollout, RolloutConfig, Trial, run_trials, summarise_trials
from udg_datagen.workers import Outcome
from udg_description.arm_kinematics import hand_ik, hand_pose
from udg_description.layout import HOME_Q, part_indices
from udg_policy.inference.engine import Prediction


def trial(name: str, size: str, success: bool) -> Trial:
    return Trial(
        object=name, size_class=size, seed=0, success=success, raised_m=0.2, final_m=0.2, steps=50,
        position_xy=(0.6, 0.0), cause="" if success else "dropped",
    )  # fmt: skip


def test_trials_are_counted_by_size_and_by_whether_the_object_was_trained_on() -> None:
    trials = [trial("a", "small", True), trial("a", "small", False), trial("b", "large", True)]
    summary = summarise_trials(trials, trained_on=["b", "c"])
    assert (summary["trials"], summary["successes"]) == (3, 2)
    assert summary["by_size"]["small"]["success_rate"] == 0.5
    assert summary["by_size"]["medium"] == {
        "trials": 0, "successes": 0, "success_rate": None, "interval_95": [0.0, 1.0],
    }  # fmt: skip
    assert summary["trained_on"]["trials"] == 1 and summary["never_seen"]["successes"] == 1
    assert summary["causes"] == {"dropped": 1} and summary["causes_by_size"]["small"] == {"dropped": 1}
    assert summary["by_object"] == {"a": "1/2", "b": "1/1"}
    json.dumps(summary)


def test_trials_come_back_in_the_order_of_their_tasks_and_failures_are_told() -> None:
    class Backwards:
        """Two workers of which the last one finishes first; the object "bad" cannot be run."""

        def __init__(self) -> None:
            self.jobs: list[tuple[object, tuple[str, int]]] = []

        @property
        def idle(self) -> int:
            return 2 - len(self.jobs)

        @property
        def busy(self) -> int:
            return len(self.jobs)

        def submit(self, key: object, job: tuple[str, int]) -> None:
            self.jobs.append((key, job))

        def wait(self, timeout_s: float) -> list[tuple[object, Outcome]]:
            key, (name, _) = self.jobs.pop()
            if name == "bad":
                return [(key, Outcome(failure="error", message="no mesh"))]
            return [(key, Outcome(value=trial(name, "small", True)))]

        def close(self) -> None:
            pass

    trials, lines = run_trials([("a", 1), ("bad", 1), ("b", 1), ("c", 1)], Backwards(), progress=False)
    assert [each.object for each in trials] == ["a", "b", "c"]
    assert lines == ["('bad', 1): error: no mesh"]


class Held:
    """An engine whose chunks hold the robot at `target` (36,) [rad]."""

    def __init__(self, target: np.ndarray) -> None:
        self._chunk = np.tile(target, (8, 1))

    def predict(self, cloud: np.ndarray, q: np.ndarray) -> Prediction:
        return Prediction(self._chunk, None)


def test_trials_go_through_the_safety_filter() -> None:
    low = HOME_Q.copy()
    low[part_indices("right_arm")] = lowered_arm(0.3)
    config = RolloutConfig(limit_s=1.5, whole_images=False)
    home = Rollout(Held(HOME_Q), config).run("cube_60", 1)  # type: ignore[arg-type]
    into_the_table = Rollout(Held(low), config).run("cube_60", 1)  # type: ignore[arg-type]
    assert home.refused == 0 and home.failed_in == "reach" and home.phases == {}
    assert into_the_table.refused > 0 and not into_the_table.success


def lowered_arm(drop_m: float) -> np.ndarray:
    """The right arm's joints (6,) with the hand so much lower than at home: below the table."""
    arm = HOME_Q[part_indices("right_arm")]
    T = hand_pose("right", arm).copy()
    T[2, 3] -= drop_m + T[2, 3]
    solutions = hand_ik("right", T)
    return solutions[int(np.abs(solutions - arm).max(axis=1).argmin())]
