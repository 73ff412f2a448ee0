import numpy as np
import pytest

from udg_datagen.collision import CollisionScene
from udg_datagen.demonstration import DemoConfig, DemoPlanner, Plan, Rejected, Stage, execute, starts
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
def grasps(cube: ObjectModel) -> dict[str, GraspSet]:
    config = SynthesisConfig(n_candidates=60)
    obj = GraspObject.from_model(cube)
    return {
        side: synthesize(obj, xhand(side), config, T_table_object=cube.stable_poses[0], seed=1)
        for side in ("left", "right")
    }


@pytest.fixture(scope="module")
def planner() -> DemoPlanner:
    model = RobotModel()
    return DemoPlanner(DemoConfig(), model, CollisionScene(CollisionSpheres(model)))


def placed(cube: ObjectModel, x: float, y: float) -> np.ndarray:
    T = cube.stable_poses[0].copy()
    T[:2, 3] = x, y
    return T


@pytest.fixture(scope="module")
def plan(cube: ObjectModel, grasps: dict[str, GraspSet], planner: DemoPlanner) -> Plan:
    return planner.plan(grasps, cube, placed(cube, 0.6, 0.2), HOME_Q, seed=0)


def test_the_nearer_hand_is_chosen(
    cube: ObjectModel, grasps: dict[str, GraspSet], planner: DemoPlanner, plan: Plan
) -> None:
    assert plan.side == "left"
    assert planner.plan(grasps, cube, placed(cube, 0.6, -0.2), HOME_Q, seed=0).side == "right"


def test_a_plan_runs_through_the_stages_in_order_with_the_other_arm_at_rest(plan: Plan) -> None:
    assert (np.diff(plan.stages.astype(int)) >= 0).all()
    assert set(plan.stages) == set(Stage)
    np.testing.assert_array_equal(
        plan.targets[:, part_indices("right")], np.tile(HOME_Q[part_indices("right")], (len(plan.targets), 1))
    )


def test_a_plan_keeps_the_limits_of_position_and_speed(plan: Plan) -> None:
    limits, config = joint_limits(), DemoConfig()
    assert (plan.targets >= limits.lower - 1e-9).all() and (plan.targets <= limits.upper + 1e-9).all()
    moves = np.abs(np.diff(np.vstack([plan.start, plan.targets]), axis=0)) / config.step_s
    arm = part_indices("left_arm")
    # Merged steps take one step instead of several, each below the threshold.
    assert moves[:, arm].max() < config.arm_speed_rad_s + 2 * config.merge_arm_rad / config.step_s


def test_an_executed_plan_lifts_the_object(cube: ObjectModel, plan: Plan) -> None:
    world = World()
    world.reset(q=plan.start, object=cube, T_world_object=placed(cube, 0.6, 0.2))
    execution = execute(plan, world, DemoConfig(), np.random.default_rng(0))
    assert len(execution.q) == len(execution.targets) == len(plan.targets)
    assert execution.T_world_object[-1, 2, 3] - execution.T_world_object[0, 2, 3] > 0.15


def test_a_missing_object_is_rejected_with_its_reason(cube: ObjectModel, plan: Plan) -> None:
    world = World()
    world.reset(q=plan.start, object=cube, T_world_object=placed(cube, 0.6, -0.3))
    with pytest.raises(Rejected) as rejected:
        execute(plan, world, DemoConfig(), np.random.default_rng(0))
    assert rejected.value.reason == "not_lifted"


def test_an_object_out_of_reach_is_rejected_with_its_reason(
    cube: ObjectModel, grasps: dict[str, GraspSet], planner: DemoPlanner
) -> None:
    with pytest.raises(Rejected) as rejected:
        planner.plan(grasps, cube, placed(cube, 3.0, 0.0), HOME_Q, seed=0)
    assert rejected.value.reason == "no_ik"


def test_starts_are_near_home_and_inside_the_limits() -> None:
    config, limits = DemoConfig(), joint_limits()
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = starts(HOME_Q, config, rng)
        assert (q >= limits.lower).all() and (q <= limits.upper).all()
        assert np.abs(q - HOME_Q).max() <= config.start_noise_hand_rad + 1e-9
