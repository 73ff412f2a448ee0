import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import udg_policy
from udg_datagen.evaluation.cell import Cell
from udg_datagen.evaluation.engine_policy import EnginePolicy
from udg_datagen.evaluation.policy import Observation, PolicyFault, Start
from udg_datagen.evaluation.rules import Rules
from udg_datagen.evaluation.trials import (
    INTERRUPTED,
    LostTrial,
    Rollout,
    RolloutConfig,
    Trial,
    run_trials,
    summarise_trials,
)
from udg_datagen.workers import Outcome
from udg_description.arm_kinematics import hand_ik, hand_pose
from udg_description.cloud_labels import LABEL_SEEN
from udg_description.layout import HOME_Q, part_indices
from udg_policy.episodes.grasp import key_points
from udg_policy.inference.engine import PolicyEngine, Prediction
from udg_policy.inference.retry import RetryConfig
from udg_sim.physics.engine import to_pose
from udg_sim.trials.trial import LiftRule


def trial(name: str, size: str, success: bool) -> Trial:
    return Trial(
        object=name,
        size_class=size,
        seed=0,
        success=success,
        raised_m=0.2,
        final_m=0.2,
        steps=50,
        position_xy=(0.6, 0.0),
        cause="" if success else "dropped",
    )


def test_trials_are_counted_by_size_and_by_whether_the_object_was_trained_on() -> None:
    trials = [trial("a", "small", True), trial("a", "small", False), trial("b", "large", True)]
    summary = summarise_trials(trials, trained_on=["b", "c"])
    assert (summary["trials"], summary["successes"]) == (3, 2)
    assert summary["by_size"]["small"]["success_rate"] == 0.5
    assert summary["by_size"]["medium"] == {
        "trials": 0,
        "successes": 0,
        "success_rate": None,
        "interval_95": [0.0, 1.0],
    }
    assert summary["trained_on"]["trials"] == 1 and summary["never_seen"]["successes"] == 1
    assert summary["causes"] == {"dropped": 1} and summary["causes_by_size"]["small"] == {"dropped": 1}
    assert summary["by_object"] == {"a": "1/2", "b": "1/1"}
    json.dumps(summary)
    both = [trial(name, "small", name == "a") for name in "ab" for _ in range(10)]
    assert summarise_trials(both, trained_on=[])["interval_95"] == [0.002, 0.998]  # two objects tell next to nothing
    one = summarise_trials(both[:10], trained_on=[])["interval_95"]  # of its placements: Wilson's of 10 of 10
    assert one == [0.722, 1.0]


def test_trials_are_counted_by_height() -> None:
    trials = [replace(trial("a", "small", won), top_m=top) for won, top in ((True, 0.0299), (False, 0.03), (True, 0.4))]
    by_height = summarise_trials(trials)["by_height"]
    assert {name: (row["successes"], row["trials"]) for name, row in by_height.items()} == {
        "under 3 cm": (1, 1),
        "3 to 7 cm": (0, 1),
        "7 to 15 cm": (0, 0),
        "15 cm and more": (1, 1),
    }


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


def test_an_interrupt_keeps_what_has_been_run() -> None:
    class Interrupted:
        idle, busy, waits = 1, 1, 0

        def submit(self, key: object, job: tuple[str, int]) -> None:
            self.job, self.idle = (key, job), 0

        def wait(self, timeout_s: float) -> list[tuple[object, Outcome]]:
            self.waits += 1
            if self.waits == 3:
                raise KeyboardInterrupt
            self.idle = 1
            key, (name, _) = self.job
            return [(key, Outcome(value=trial(name, "small", True)))]

    trials, lines = run_trials([(name, 1) for name in "abcd"], Interrupted(), progress=False)  # type: ignore[arg-type]
    assert [each.object for each in trials] == ["a", "b"] and lines == [INTERRUPTED]


class Held:
    """An engine whose chunks hold the robot at `target` (36,) [rad]."""

    chunk = 8

    def __init__(self, target: np.ndarray) -> None:
        self._chunk = np.tile(target, (8, 1))
        self.commanded: list[np.ndarray | None] = []
        self.retries: list[int] = []

    def for_attempt(self, retries: int) -> "Held":
        self.retries.append(retries)
        return self

    def predict(
        self, cloud: np.ndarray, q: np.ndarray, steps: int | None = None, commanded: np.ndarray | None = None
    ) -> Prediction:
        self.commanded.append(commanded)
        return Prediction(self._chunk[:steps], None)


def test_a_policy_is_told_what_it_commanded_last() -> None:
    engine = Held(HOME_Q + 0.01)
    policy = EnginePolicy(engine)  # type: ignore[arg-type]
    rollout = Rollout(policy, RolloutConfig(limit_s=0.3, whole_images=False))
    for _ in range(2):
        rollout.run("cube_60", 1)
    first, *others = engine.commanded[:3]
    assert first is None and len(engine.commanded) == 6
    np.testing.assert_allclose(np.array(others), np.tile(HOME_Q + 0.01, (2, 1)))
    assert engine.commanded[3] is None  # forgotten at the reset


def test_a_hand_that_reached_an_object_and_did_not_lift_it_is_led_back() -> None:
    """It waits at home with a cube at its palm; a policy of its own has brought it there."""
    palm = key_points(HOME_Q)[1, 1]
    near = np.append(palm, LABEL_SEEN)[None].repeat(8, axis=0)
    away = near - [0.0, 0.0, 0.3, 0.0]
    begun = HOME_Q.copy()
    begun[part_indices("right_arm")] += 0.3
    engine = Held(HOME_Q)
    policy = EnginePolicy(engine, retry=RetryConfig(after_s=0.5))  # type: ignore[arg-type]
    policy.reset(Start(target=None, T_world_object=np.eye(4), q=begun, seed=0))  # type: ignore[arg-type]
    first = policy.act(Observation(lambda: away, begun, 0.0))
    waiting = [policy.act(Observation(lambda: near, HOME_Q, 0.1 * step))[0] for step in range(1, 6)]
    np.testing.assert_array_equal(np.array([first[0], *waiting]), np.tile(HOME_Q, (6, 1)))
    leading = policy.act(Observation(lambda: near, HOME_Q, 0.6))
    assert policy.retries == 1 and np.abs(leading[-1] - begun).max() < 1e-9
    policy.act(Observation(lambda: away, begun, 0.7))
    assert set(engine.retries[:-1]) == {0} and engine.retries[-1] == 1  # who plans each attempt
    planned = len(engine.commanded)
    hidden = policy.act(Observation(lambda: away[:3], begun + 0.1, 0.8))
    assert len(engine.commanded) == planned  # nothing is planned for what is not seen
    np.testing.assert_array_equal(hidden, HOME_Q)  # what was commanded stays, not where the robot is
    policy.act(Observation(lambda: away, begun, 0.9))
    np.testing.assert_array_equal(engine.commanded[-1], HOME_Q)
    policy.reset(Start(target=None, T_world_object=np.eye(4), q=begun, seed=0))  # type: ignore[arg-type]
    assert policy.retries == 0


def test_trials_go_through_the_safety_filter() -> None:
    low = HOME_Q.copy()
    low[part_indices("right_arm")] = lowered_arm(0.3)
    config = RolloutConfig(limit_s=1.5, whole_images=False)
    home = Rollout(EnginePolicy(Held(HOME_Q)), config).run("cube_60", 1)  # type: ignore[arg-type]
    into_the_table = Rollout(EnginePolicy(Held(low)), config).run("cube_60", 1)  # type: ignore[arg-type]
    assert home.refused == 0 and home.failed_in == "reach" and home.phases == {}
    assert home.top_m == pytest.approx(0.06, abs=1e-3)  # the cube's edge
    assert into_the_table.refused > 0 and not into_the_table.success


def lowered_arm(drop_m: float) -> np.ndarray:
    """The right arm's joints (6,) with the hand so much lower than at home: below the table."""
    arm = HOME_Q[part_indices("right_arm")]
    T = hand_pose("right", arm).copy()
    T[2, 3] -= drop_m + T[2, 3]
    solutions = hand_ik("right", T)
    return solutions[int(np.abs(solutions - arm).max(axis=1).argmin())]


class Playing:
    """Plays joint targets one a step, the last one for ever; ends a trial by `fault` at a step."""

    def __init__(self, targets: np.ndarray, fault: PolicyFault | None = None, at: int = 0) -> None:
        self._targets, self._fault, self._at = targets, fault, at
        self.start: Start | None = None

    def reset(self, start: Start) -> None:
        self.start, self._step = start, 0

    def act(self, observation: Observation) -> np.ndarray:
        if self._fault is not None and self._step == self._at:
            raise self._fault
        self._step += 1
        return self._targets[min(self._step, len(self._targets)) - 1]


def test_a_policy_that_only_looks_at_joints_costs_no_cloud_and_learns_the_start() -> None:
    policy, cell = Playing(HOME_Q[None]), Cell()
    cell.cloud = None  # type: ignore[assignment, method-assign]  # would raise
    trial = Rollout(policy, RolloutConfig(limit_s=0.5), cell).run("cube_60", 1)
    assert trial.steps == 5 and policy.start is not None
    assert policy.start.seed == 1 and policy.start.target.id == "cube_60"
    np.testing.assert_allclose(policy.start.T_world_object[:2, 3], trial.position_xy, atol=6e-4)


def test_a_trial_that_its_policy_ends_is_told_with_the_cause() -> None:
    policy = Playing(HOME_Q[None], PolicyFault("no_plan", "no free path"), at=3)
    with pytest.raises(LostTrial, match="no_plan: no free path") as lost:
        Rollout(policy, RolloutConfig(limit_s=1.0)).run("cube_60", 1)
    assert (lost.value.trial.steps, lost.value.trial.cause, lost.value.trial.success) == (3, "no_plan", False)


def test_a_trial_that_can_no_longer_succeed_is_ended() -> None:
    """One second up is needed: what is still down when a second and a step are left fails whatever comes."""
    config = RolloutConfig(limit_s=2.0, end_decided=True)
    short = Rollout(Playing(HOME_Q[None]), config).run("cube_60", 1)
    whole = Rollout(Playing(HOME_Q[None]), replace(config, end_decided=False)).run("cube_60", 1)
    assert (short.steps, whole.steps) == (10, 20)
    assert short.success == whole.success is False


def test_an_object_that_falls_off_the_table_ends_its_trial() -> None:
    cell, config = Cell(), RolloutConfig(limit_s=3.0, end_decided=True)

    class Pushing(Playing):
        def act(self, observation: Observation) -> np.ndarray:
            if self._step == 0:
                T = cell.world.T_world_object
                T[0, 3] = 1.5
                cell.world._the_object().entity.set_pose(to_pose(T))
            return super().act(observation)

    trial = Rollout(Pushing(HOME_Q[None]), config, cell).run("cube_60", 1)
    assert trial.steps == 3 and trial.cause == "knocked_away"  # 0.33 m of free fall take 0.26 s


def test_the_easier_rules_are_applied() -> None:
    cell = Cell()
    rules = Rules(lift=LiftRule(rise_m=0.1), most_mass_kg=0.05, friction=2.0, damping=20.0)
    Rollout(Playing(HOME_Q[None]), RolloutConfig(limit_s=0.1, rules=rules), cell).run("cube_60", 1)
    body = cell.world._the_object()
    assert cell.library.get("cube_60").mass_kg > 0.05 == pytest.approx(body.mass)
    assert body.linear_damping == body.angular_damping == 20.0
    assert body.collision_shapes[0].physical_material.static_friction == 2.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cube_60", "cylinder_60"])
def test_steps_of_a_chunk_that_are_not_decoded_do_not_matter(name: str) -> None:
    engine = PolicyEngine.load(Path(udg_policy.__file__).parent / "data" / "edge")

    class Whole(EnginePolicy):
        commanded: np.ndarray | None = None

        def act(self, observation: Observation) -> np.ndarray:
            chunk = engine.predict(observation.points, observation.q, commanded=self.commanded).chunk
            self.commanded = chunk[0]
            return chunk

    config, cell = RolloutConfig(whole_images=False, limit_s=6.0), Cell()
    few = Rollout(EnginePolicy(engine), config, cell).run(name, 100_000)
    assert few == replace(Rollout(Whole(engine), config, cell).run(name, 100_000), grasp=few.grasp, phases=few.phases)
