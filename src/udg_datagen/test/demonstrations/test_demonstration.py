import dataclasses

import numpy as np
import pytest

from udg_control.collision import CollisionConfig
from udg_control.offline import OfflineFilter
from udg_control.safety import SafetyConfig
from udg_datagen.demonstrations.demonstration import DemoConfig, DemoPlanner, Plan, Rejected, starts
from udg_datagen.demonstrations.execution import _deviating, execute
from udg_datagen.expert.spread import spread_choices
from udg_datagen.grasp_set import GraspSet
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.planning.collision import CollisionScene
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize
from udg_description.layout import HOME_Q, JOINT_NAMES, part_indices
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_policy.episodes.episode import Stage
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.physics.world import World


@pytest.fixture(scope="module")
def cube() -> ObjectModel:
    return ObjectLibrary().get("cube_60")


@pytest.fixture(scope="module")
def grasps(cube: ObjectModel) -> list[GraspSet]:
    config = SynthesisConfig(n_candidates=60)
    obj = GraspObject.from_model(cube)
    return [
        synthesize(obj, robot_hand(side), config, T_table_object=cube.stable_poses[0], seed=1).take(slice(0, 30))
        for side in ("left", "right")
    ]


SCENE = CollisionScene()


@pytest.fixture(scope="module")
def planner() -> DemoPlanner:
    return DemoPlanner(DemoConfig(), SCENE)


def placed(cube: ObjectModel, x: float, y: float) -> np.ndarray:
    T = cube.stable_poses[0].copy()
    T[:2, 3] = x, y
    return T


@pytest.fixture(scope="module")
def plan(cube: ObjectModel, grasps: list[GraspSet], planner: DemoPlanner) -> Plan:
    found = planned(planner, grasps, cube, placed(cube, 0.6, 0.2))
    assert found is not None
    return found


def planned(planner: DemoPlanner, grasps: list[GraspSet], cube: ObjectModel, T_world_object: np.ndarray) -> Plan | None:
    choices = spread_choices(grasps, cube, T_world_object, HOME_Q, SCENE)
    return planner.plan(choices, cube, T_world_object, HOME_Q, seed=0)


def test_the_nearer_hand_is_chosen(cube: ObjectModel, grasps: list[GraspSet], planner: DemoPlanner, plan: Plan) -> None:
    assert plan.sides == ("left",)
    mirrored = planned(planner, grasps, cube, placed(cube, 0.6, -0.2))
    assert mirrored is not None and mirrored.sides == ("right",)


def test_a_plan_runs_through_the_stages_in_order_with_the_other_arm_at_rest(plan: Plan) -> None:
    assert (np.diff(plan.stages.astype(int)) >= 0).all()
    assert set(plan.stages) == set(Stage)
    at_rest = np.tile(HOME_Q[part_indices("right")], (len(plan.targets), 1))
    np.testing.assert_allclose(plan.targets[:, part_indices("right")], at_rest, atol=1e-12)


def test_a_plan_keeps_the_limits_of_position_speed_and_acceleration(plan: Plan) -> None:
    limits, config = joint_limits(), DemoConfig()
    assert limits.contains(plan.targets)
    held = np.vstack([plan.start, plan.start, plan.targets, plan.targets[-1]])
    arm = part_indices("left_arm")
    # Merged steps take one step instead of several, each below the threshold.
    speed = np.abs(np.diff(held[:, arm], axis=0)).max() / config.step_s
    assert speed < config.arm_speed_rad_s + config.merge_arm_rad / config.step_s
    acceleration = np.abs(np.diff(held[:, arm], 2, axis=0)).max() / config.step_s**2
    assert acceleration < limits.acceleration[arm].min()


def test_no_step_of_a_plan_is_negligible_but_those_of_the_hold(plan: Plan) -> None:
    config = DemoConfig()
    threshold = np.full(36, config.merge_hand_rad)
    threshold[part_indices("left_arm")] = config.merge_arm_rad
    moves = np.abs(np.diff(np.vstack([plan.start, plan.targets]), axis=0))[plan.stages < Stage.HOLD]
    assert (moves[:-1] >= threshold - 1e-9).any(axis=1).all()


def test_an_executed_plan_lifts_the_object(cube: ObjectModel, plan: Plan) -> None:
    world = World()
    world.reset(q=plan.start, object=cube, T_world_object=placed(cube, 0.6, 0.2))
    execution = execute(plan, world, DemoConfig(), np.random.default_rng(0))
    assert len(execution.q) == len(execution.targets) == len(plan.targets)
    assert execution.T_world_object[-1, 2, 3] - execution.T_world_object[0, 2, 3] > 0.15


def rejection(cube: ObjectModel, plan: Plan, T_world_object: np.ndarray, config: DemoConfig) -> str:
    world = World()
    world.reset(q=plan.start, object=cube, T_world_object=T_world_object)
    with pytest.raises(Rejected) as rejected:
        execute(plan, world, config, np.random.default_rng(0))
    return rejected.value.reason


def test_a_missing_object_is_rejected_with_its_reason(cube: ObjectModel, plan: Plan) -> None:
    assert rejection(cube, plan, placed(cube, 0.6, -0.3), DemoConfig()) == "not_lifted"


def test_an_object_in_the_way_is_rejected_as_touched_or_moved_early(cube: ObjectModel, plan: Plan) -> None:
    way = plan.targets[plan.stages == Stage.PREGRASP]
    hand = RobotModel().link_poses_np(way[len(way) // 2])["left_hand_link"]
    T_world_object = placed(cube, *hand[:2, 3])
    T_world_object[2, 3] = 0.03
    reason = rejection(cube, plan, T_world_object, DemoConfig())
    assert reason in ("touched_early", "moved_early", "not_lifted")


def test_an_object_that_is_pushed_is_rejected_with_its_reason(cube: ObjectModel, plan: Plan) -> None:
    strict = DemoConfig(most_shift_m=0.0)
    assert rejection(cube, plan, placed(cube, 0.6, 0.2), strict) in ("pushed_away", "moved_early")


def test_an_object_out_of_reach_gives_no_plan(cube: ObjectModel, grasps: list[GraspSet], planner: DemoPlanner) -> None:
    assert planned(planner, grasps, cube, placed(cube, 3.0, 0.0)) is None
    assert planned(planner, [], cube, placed(cube, 0.6, 0.0)) is None


def test_a_command_that_the_safety_filter_refuses_ends_the_attempt(cube: ObjectModel, plan: Plan) -> None:
    world = World()
    world.reset(q=plan.start, object=cube, T_world_object=placed(cube, 0.6, 0.2))
    low = dataclasses.replace(SafetyConfig(), collision=CollisionConfig(workspace_max_m=(1.1, 1.0, 0.3)))
    with pytest.raises(Rejected) as rejected:
        execute(plan, world, DemoConfig(), np.random.default_rng(0), OfflineFilter(low))
    assert rejected.value.reason == "refused"
    assert "workspace" in str(rejected.value.facts["filter"])


def test_a_plan_keeps_the_margins_of_the_filter(cube: ObjectModel, grasps: list[GraspSet], plan: Plan) -> None:
    gate = OfflineFilter()
    assert gate.keep_margins(plan.targets).all()
    ceiling = CollisionConfig(workspace_max_m=(1.1, 1.0, 0.3))  # that the arms at home are above
    strict = DemoPlanner(DemoConfig(), CollisionScene(ceiling))
    assert planned(strict, grasps, cube, placed(cube, 0.6, 0.2)) is None


def test_noise_gives_way_to_the_margins(cube: ObjectModel, plan: Plan) -> None:
    gate = OfflineFilter()
    noise = np.zeros(36)
    noise[JOINT_NAMES.index("left_shoulder_lift_joint")] = 1.6  # into the table
    for share in (1.0, 0.2):
        near = _deviating(HOME_Q, share * noise, gate)
        kept = np.abs(near - HOME_Q).max() / (1.6 * share)
        assert gate.keep_margins(near[None])[0] and kept in (0.0, 0.25, 0.5, 1.0)
        assert (kept < 1.0) == (share == 1.0)
    assert np.array_equal(_deviating(HOME_Q, noise, None), HOME_Q + noise)


def test_starts_are_near_home_and_inside_the_limits() -> None:
    config, limits = DemoConfig(), joint_limits()
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = starts(HOME_Q, config, rng)
        assert (q >= limits.lower).all() and (q <= limits.upper).all()
        assert np.abs(q - HOME_Q).max() <= config.start_noise_hand_rad + 1e-9
