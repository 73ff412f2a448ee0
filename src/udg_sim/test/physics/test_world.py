"""Physics of the simulated cell: laws of mechanics, drives with torque limits, contacts, determinism."""

import inspect
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from udg_description.layout import HOME_Q, JOINT_NAMES, N_JOINTS
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.transforms import make_transform
from udg_sim.geometry import shapes
from udg_sim.geometry.convex import decompose
from udg_sim.geometry.stable import stable_poses
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.physics.build import build_object, build_table
from udg_sim.physics.engine import from_pose, make_material, make_scene
from udg_sim.physics.world import SimError, World, WorldConfig

G = 9.81  # [m/s^2]


@pytest.fixture(scope="module")
def library() -> ObjectLibrary:
    return ObjectLibrary()


def _at(x: float, y: float, z: float) -> np.ndarray:
    return make_transform(translation=np.array([x, y, z]))


def _resting(model: ObjectModel, x: float = 0.6, y: float = 0.0) -> np.ndarray:
    return _at(x, y, 0.0) @ model.stable_poses[0]


def test_a_dropped_object_falls_by_g_without_damping_and_comes_to_rest(library: ObjectLibrary) -> None:
    world = World()
    world.reset(object=library.get("cube_60"), T_world_object=_at(0.6, 0.0, 0.5))
    world.step(60)
    assert world.time_s == pytest.approx(0.25)
    steps = np.arange(1, 61)
    assert 0.5 - world.T_world_object[2, 3] == pytest.approx(G / 240**2 * steps.sum(), rel=1e-4)
    assert world.settle()
    assert world.T_world_object[2, 3] == pytest.approx(0.03, abs=2e-4)


def test_a_spinning_object_in_the_air_keeps_its_spin(library: ObjectLibrary) -> None:
    scene = make_scene(240.0, np.zeros(3))
    body = build_object(scene, library.get("ball_70"), make_material(0.8), np.eye(4))
    body.set_angular_velocity(np.array([0.0, 0.0, 5.0]))
    body.set_linear_velocity(np.array([0.1, 0.0, 0.0]))
    for _ in range(240):
        scene.physx_system.step()
    np.testing.assert_allclose(body.angular_velocity, [0, 0, 5], atol=1e-3)
    np.testing.assert_allclose(body.entity_pose.p, [0.1, 0, 0], atol=1e-4)


@pytest.mark.parametrize(("tangent", "slides"), [(0.55, False), (0.65, True)])
def test_a_box_slides_when_the_slope_exceeds_the_friction(library: ObjectLibrary, tangent: float, slides: bool) -> None:
    mu = 0.6
    angle = np.arctan(tangent)
    scene = make_scene(240.0, G * np.array([np.sin(angle), 0.0, -np.cos(angle)]))
    material = make_material(mu)
    build_table(scene, material)
    tile = library.get("domino")
    body = build_object(scene, tile, material, _resting(tile, 0.3, 0.3))
    for _ in range(240):
        scene.physx_system.step()
    slid = from_pose(body.entity_pose)[0, 3] - 0.3
    expected = 0.5 * G * (np.sin(angle) - mu * np.cos(angle)) if slides else 0.0
    assert slid == pytest.approx(expected, abs=0.01)


def _coarse_bowl() -> ObjectModel:
    mesh = shapes.bowl(0.06, 0.045, 0.006, 0.025, rings=3, segments=12).mesh
    mesh.apply_translation(-mesh.center_mass)
    return ObjectModel(
        id="coarse_bowl",
        category="bowl",
        split="test",
        size_class="medium",
        mesh=mesh,
        mass_kg=0.2,
        friction=0.8,
        convex_parts=decompose(mesh, threshold=0.1),
        stable=stable_poses(mesh),
    )


def test_a_bowl_is_a_bowl_and_holds_a_ball(library: ObjectLibrary) -> None:
    bowl, ball = _coarse_bowl(), library.get("ball_40")
    scene = make_scene(240.0, np.array([0.0, 0.0, -G]))
    material = make_material(0.8)
    build_table(scene, material)
    upright = make_transform(translation=np.array([0.6, 0.0, -bowl.mesh.bounds[0, 2]]))
    build_object(scene, bowl, material, upright)
    body = build_object(scene, ball, material, _at(0.61, 0.005, 0.09))
    for _ in range(480):
        scene.physx_system.step()
    position = from_pose(body.entity_pose)[:3, 3]
    assert np.hypot(position[0] - 0.6, position[1]) < 0.03
    assert 0.024 < position[2] < 0.040  # on the bottom (6 mm + radius), far below the rim's 45 mm + radius


def test_the_arms_hold_their_position_at_home_without_load() -> None:
    world = World()
    world.step(240)
    assert np.abs(world.q - HOME_Q).max() < 1e-5
    assert np.abs(world.qd).max() < 1e-5
    assert world.contacts() == []


def test_link_poses_in_physics_are_those_of_the_description() -> None:
    rng = np.random.default_rng(3)
    limits = joint_limits()
    q = HOME_Q + 0.2 * rng.uniform(-1, 1, N_JOINTS)
    world = World()
    world.reset(q=np.clip(q, limits.lower, limits.upper))
    expected = RobotModel().link_poses_np(world.q)
    for side in ("left", "right"):
        for link, T in world.link_poses(side).items():
            np.testing.assert_allclose(T, expected[link], atol=5e-6, err_msg=link)


@pytest.mark.parametrize(("part", "step_rad"), [("hand", 0.1), ("arm", 0.15)])
def test_a_step_of_the_target_is_reached_without_overshoot(part: str, step_rad: float) -> None:
    world = World()
    stepped = np.array([("_hand_" in name) == (part == "hand") for name in JOINT_NAMES])
    limits = joint_limits()
    target = np.clip(HOME_Q + step_rad * stepped, limits.lower, limits.upper)
    world.set_target(target)
    passed = np.full(N_JOINTS, -np.inf)
    for _ in range(240):
        world.step()
        passed = np.maximum(passed, world.q - target)
    assert np.abs(world.q - target).max() < 1e-3
    assert passed[stepped].max() < 0.03 * step_rad


@pytest.mark.parametrize(
    ("joint", "link"),
    [("right_shoulder_pan_joint", "right_shoulder_link"), ("right_hand_mid_joint2", "right_hand_mid_link2")],
)
def test_a_joint_gives_way_only_above_its_effort_limit(joint: str, link: str) -> None:
    index = JOINT_NAMES.index(joint)
    effort = joint_limits().effort[index]
    stiffness = WorldConfig().drives()[index].stiffness
    moved = {}
    for share in (0.9, 1.1):
        world = World()
        for _ in range(180):
            world.apply_joint_axis_torque(joint, share * effort)
            world.step()
        moved[share] = world.q[index] - HOME_Q[index]
    assert moved[0.9] == pytest.approx(0.9 * effort / stiffness, rel=0.1)
    assert moved[1.1] > 10 * effort / stiffness
    assert link in world.link_poses("right")


def test_stiffness_scale_divides_the_deflection() -> None:
    index = JOINT_NAMES.index("left_elbow_joint")
    deflection = []
    for scale in (1.0, 0.5):
        world = World(WorldConfig(stiffness_scale=scale))
        for _ in range(180):
            world.apply_joint_axis_torque("left_elbow_joint", 40.0)
            world.step()
        deflection.append(world.q[index] - HOME_Q[index])
    assert deflection[1] == pytest.approx(2 * deflection[0], rel=0.02)


def test_contacts_are_named_and_carry_the_weight(library: ObjectLibrary) -> None:
    box = library.get("beam")
    world = World()
    world.reset(object=box, T_world_object=_resting(box), mass_kg=0.7)
    world.step(240)
    (contact,) = world.contacts()
    assert (contact.a, contact.b) == ("object", "table")
    assert contact.force_n == pytest.approx(0.7 * G, rel=0.02)
    assert contact.position_world[2] == pytest.approx(0, abs=1e-3)


def test_a_hand_pressed_on_the_table_is_stopped_and_reported() -> None:
    world = World()
    target = HOME_Q.copy()
    target[JOINT_NAMES.index("right_shoulder_lift_joint")] += 1.0
    world.set_target(target)
    world.step(360)
    names = {contact.a for contact in world.contacts() if contact.b == "table"}
    names |= {contact.b for contact in world.contacts() if contact.a == "table"}
    assert names and all(name.startswith("right_") for name in names)


def test_a_fist_does_not_collide_with_itself() -> None:
    world = World()
    target = HOME_Q.copy()
    upper = joint_limits().upper
    for index, name in enumerate(JOINT_NAMES):
        if "_hand_" in name and "bend" not in name:
            target[index] = upper[index]
    world.set_target(target)
    world.step(240)
    assert world.contacts() == []
    assert np.abs(world.q - target).max() < 0.02


def test_time_advances_by_whole_steps_never_beyond_the_asked() -> None:
    world = World()
    for k in range(1, 21):
        world.step_until(0.01 * k)
        assert world.time_s <= 0.01 * k + 1e-9 < world.time_s + 1 / 240 + 1e-9
    assert round(world.time_s * 240) == 48


def _digest_of_a_trial() -> str:
    """Self-contained: its source also runs in another process."""
    import hashlib

    import numpy as np

    from udg_description.layout import HOME_Q
    from udg_description.transforms import make_transform
    from udg_sim.objects.library import ObjectLibrary
    from udg_sim.physics.world import World

    world = World()
    digests = set()
    for _ in range(2):
        T_world_object = make_transform(translation=np.array([0.6, 0.1, 0.25]))
        world.reset(object=ObjectLibrary().get("water_bottle"), T_world_object=T_world_object)
        for k in range(20):
            world.set_target(HOME_Q + 0.2 * np.sin(0.3 * k))
            world.step(24)
        digests.add(hashlib.sha256(world.q.tobytes() + world.T_world_object.tobytes()).hexdigest())
    assert len(digests) == 1
    return digests.pop()


def test_the_same_calls_give_the_same_numbers_in_another_process_and_after_other_trials() -> None:
    source = f"{inspect.getsource(_digest_of_a_trial)}\nprint(_digest_of_a_trial())"
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == _digest_of_a_trial()


def test_bad_commands_and_states_are_refused(library: ObjectLibrary) -> None:
    world = World()
    with pytest.raises(SimError, match="shape"):
        world.set_target(np.zeros(35))
    broken = HOME_Q.copy()
    broken[7] = np.nan
    with pytest.raises(SimError, match=JOINT_NAMES[7]):
        world.set_target(broken)
    with pytest.raises(SimError, match="T_world_object"):
        world.reset(object=library.get("cube_60"))
    with pytest.raises(SimError, match="mass_kg"):
        world.reset(object=library.get("cube_60"), T_world_object=np.eye(4), mass_kg=0.0)
    world.reset()
    with pytest.raises(SimError, match="no object"):
        _ = world.T_world_object
    with pytest.raises(SimError, match="hand_stiffness"):
        replace(WorldConfig(), hand_stiffness=0.0)


def test_an_arm_that_sleeps_while_it_stands_still_moves_bit_for_bit_as_one_that_never_sleeps(
    library: ObjectLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = HOME_Q.copy()
    left, right = JOINT_NAMES.index("left_elbow_joint"), JOINT_NAMES.index("right_elbow_joint")

    def history() -> np.ndarray:
        world = World()
        above = world.link_poses("right")["right_wrist_3_link"][:3, 3] + [0.0, 0.0, 0.3]
        world.reset(object=library.get("cube_60"), T_world_object=_at(*above))
        states = []
        for step in range(240):  # the cube falls onto the right hand; the left arm starts, later the right one too
            target = arm.copy()
            target[left] += 1e-3 * max(0, step - 30)
            target[right] += 1e-3 * max(0, step - 180)
            world.set_target(target)
            world.step(2)
            states.append(np.concatenate([world.q, world.qd, world.T_world_object.ravel()]))
        return np.array(states)

    asleep = history()
    monkeypatch.setattr("udg_sim.physics.world._STILL", 0.0)  # nothing is slower than this
    awake = history()
    assert np.abs(np.diff(asleep[:180, N_JOINTS // 2 : N_JOINTS], axis=0)).max() > 1e-6, "the cube moved the right arm"
    np.testing.assert_array_equal(asleep, awake)
