import numpy as np
import pytest

from udg_datagen.choice import ChoiceConfig, Reach
from udg_datagen.collision import CollisionScene
from udg_datagen.demonstration import DemoConfig, DemoPlanner, Plan, Rejected, Stage, starts
from udg_datagen.execution import execute
from udg_datagen.grasps import GraspSet
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize, xhand
from udg_description.layout import HOME_Q, part_indices
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.spheres import CollisionSpheres
from udg_sim.objects import ObjectLibrary, ObjectModel
from udg_sim.world import World


@pytest.fixture(scope="module")
def cube() -> ObjectModel:
    return ObjectLibrary().get("cube_60")


@pytest.fixture(scope="module")
def grasps(cube: ObjectModel) -> list[GraspSet]:
    config = SynthesisConfig(n_candidates=60)
    obj = GraspObject.from_model(cube)
    return [
        synthesize(obj, xhand(side), config, T_table_object=cube.stable_poses[0], seed=1).take(slice(0, 30))
        for side in ("left", "right")
    ]


@pytest.fixture(scope="module")
def planner() -> DemoPlanner:
    return DemoPlanner(DemoConfig(), CollisionScene(CollisionSpheres(RobotModel())))


def placed(cube: ObjectModel, x: float, y: float) -> np.ndarray:
    T = cube.stable_poses[0].copy()
    T[:2, 3] = x, y
    return T


@pytest.fixture(scope="module")
def plan(cube: ObjectModel, grasps: list[GraspSet], planner: DemoPlanner) -> Plan:
    return planner.plan(grasps, cube, placed(cube, 0.6, 0.2), HOME_Q, seed=0)


def test_the_nearer_hand_is_chosen(
    cube: ObjectModel, grasps: list[GraspSet], planner: DemoPlanner, plan: Plan
) -> None:
    assert plan.sides == ("left",)
    assert planner.plan(grasps, cube, placed(cube, 0.6, -0.2), HOME_Q, seed=0).sides == ("right",)


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


def test_an_object_out_of_reach_is_rejected_with_its_reason(
    cube: ObjectModel, grasps: list[GraspSet], planner: DemoPlanner
) -> None:
    with pytest.raises(Rejected, match="no_reach"):
        planner.plan(grasps, cube, placed(cube, 3.0, 0.0), HOME_Q, seed=0)
    with pytest.raises(Rejected, match="no_grasp"):
        planner.plan([], cube, placed(cube, 0.6, 0.0), HOME_Q, seed=0)


def test_starts_are_near_home_and_inside_the_limits() -> None:
    config, limits = DemoConfig(), joint_limits()
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = starts(HOME_Q, config, rng)
        assert (q >= limits.lower).all() and (q <= limits.upper).all()
        assert np.abs(q - HOME_Q).max() <= config.start_noise_hand_rad + 1e-9


def test_grasps_well_off_the_table_come_first_then_raised_ones_and_each_once(
    cube: ObjectModel, planner: DemoPlanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ChoiceConfig] = []
    answers = iter([(5,), (5, 2), (2, 7)])

    def reachable(grasps: object, T: object, start: object, scene: object, choice: ChoiceConfig) -> list[Reach]:
        asked.append(choice)
        return [Reach(set_index=0, grasp_index=i, sides=("left",), distance=0.0, q_pregrasp_arm={}, approach={},
                      lift={}, Ts_world_hand={}) for i in next(answers)]

    monkeypatch.setattr("udg_datagen.demonstration.reachable", reachable)
    order = planner._preferred([], cube, placed(cube, 0.6, 0.2), HOME_Q)
    assert next(order).grasp_index == 5
    assert len(asked) == 1  # the others are looked for only if this one does not do
    assert [reach.grasp_index for reach in order] == [2, 7]
    wish, least = DemoConfig().hand_table_wish_m, ChoiceConfig().hand_table_margin_m
    assert [choice.hand_table_margin_m for choice in asked] == [wish, wish, least]
    assert [choice.raise_m for choice in asked] == pytest.approx([0.0, 0.005, 0.005])  # of 60 mm: less than a tenth


def test_low_objects_are_raised_less(
    cube: ObjectModel, planner: DemoPlanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr("udg_datagen.demonstration.reachable", lambda *a: asked.append(a[-1].raise_m) or [])
    sunk = placed(cube, 0.6, 0.2)
    sunk[2, 3] -= 0.04  # its top is 20 mm above the table
    assert list(planner._preferred([], cube, sunk, HOME_Q)) == []
    assert asked == pytest.approx([0.0, 0.002, 0.002])
