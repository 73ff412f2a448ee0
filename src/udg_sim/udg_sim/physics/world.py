"""The simulated cell: robot, table and one object in SAPIEN, driven by joint targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from udg_description.errors import UdgError
from udg_description.frames import BASE_LINK, T_world_base
from udg_description.layout import HOME_Q, JOINT_NAMES, N_JOINTS, SIDES, Side, part_indices
from udg_description.limits import joint_limits
from udg_description.physics import GRAVITY_M_S2, PHYSICS_HZ
from udg_description.robot import current_robot
from udg_description.transforms import rotation_angle
from udg_sim.objects.library import FRICTION, ObjectModel
from udg_sim.physics.build import Drive, build_articulation, build_object, build_table
from udg_sim.physics.engine import from_pose, make_material, make_scene

if TYPE_CHECKING:
    from sapien.physx import PhysxCollisionShape, PhysxRigidDynamicComponent

_TABLE_BIT = 8  # of the third collision group
_STILL = 1e-18  # [J/kg] of a robot arm that sleeps until a target or a touch wakes it: it moves less than 1e-9 m/s


class SimError(UdgError):
    """A command or state that the simulated cell cannot take."""


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """Physics of the cell. The scale factors are for randomising the joints' impedance."""

    physics_hz: float = PHYSICS_HZ
    arm_stiffness: float = 8000.0  # [Nm/rad] shoulder and elbow
    wrist_stiffness: float = 2000.0  # [Nm/rad] the three wrist joints
    arm_damping_time_s: float = 0.04  # damping / stiffness of the arm joints
    hand_stiffness: float = 10.0  # [Nm/rad]
    hand_damping: float = 0.3  # [Nms/rad]
    hand_armature: float = 1e-3  # [kg m^2] reflected rotor inertia of the finger joints
    arm_armature: float = 0.0  # [kg m^2]
    stiffness_scale: float = 1.0  # factor on all stiffnesses
    damping_scale: float = 1.0  # factor on all dampings
    friction: float = FRICTION  # of every pair when neither the object nor reset says otherwise
    position_iterations: int = 15

    def __post_init__(self) -> None:
        for name in ("physics_hz", "arm_stiffness", "wrist_stiffness", "hand_stiffness", "stiffness_scale"):
            if not getattr(self, name) > 0:
                raise SimError(f"WorldConfig.{name} is {getattr(self, name)}, must be > 0")
        dampings = ("arm_damping_time_s", "hand_damping", "damping_scale")
        for name in (*dampings, "hand_armature", "arm_armature", "friction"):
            if not getattr(self, name) >= 0:
                raise SimError(f"WorldConfig.{name} is {getattr(self, name)}, must be >= 0")
        if self.position_iterations < 1:
            raise SimError(f"WorldConfig.position_iterations is {self.position_iterations}, must be >= 1")

    def drives(self) -> list[Drive]:
        """Drives of all joints, torque limits from the robot's description."""
        effort, robot = joint_limits().effort, current_robot()
        hands = {joint for joints in robot.hand_joints.values() for joint in joints}
        drives = []
        for index, name in enumerate(JOINT_NAMES):
            if name in hands:
                kp, kd, armature = self.hand_stiffness, self.hand_damping, self.hand_armature
            else:
                kp = self.wrist_stiffness if name.partition("_")[2] in robot.arm.wrist_joints else self.arm_stiffness
                kd, armature = kp * self.arm_damping_time_s, self.arm_armature
            drives.append(Drive(kp * self.stiffness_scale, kd * self.damping_scale, float(effort[index]), armature))
        return drives


class Contact(NamedTuple):
    """Touch of two bodies in the last step: names (URDF link, "object" or "table"), sorted; force [N]; where."""

    a: str
    b: str
    force_n: float  # sum of the norms of the contact points' impulses / step
    position_world: np.ndarray  # (3,) mean of the contact points [m]


class World:
    """Robot, table and at most one object. The same calls give the same numbers in every process."""

    def __init__(self, config: WorldConfig | None = None) -> None:
        self.config = WorldConfig() if config is None else config
        self.reset()

    def reset(
        self,
        q: np.ndarray = HOME_Q,
        object: ObjectModel | None = None,
        T_world_object: np.ndarray | None = None,
        mass_kg: float | None = None,
        friction: float | None = None,
        damping: float = 0.0,
    ) -> None:
        """Reset to time 0: robot at rest at q (36,) [rad] and holding it, the object at rest at its pose.

        mass_kg and friction replace the object's own; friction is the coefficient of every pair. damping [1/s] slows
        the object's translation and rotation, as nothing real does. Raises SimError.
        """
        q = _checked_q(q)
        if object is not None and T_world_object is None:
            raise SimError(f"World.reset: object {object.id!r} without T_world_object (4, 4)")
        if mass_kg is not None and not mass_kg > 0:
            raise SimError(f"World.reset: mass_kg is {mass_kg}, must be > 0")
        if friction is None:
            friction = self.config.friction if object is None else object.friction
        if not friction >= 0:
            raise SimError(f"World.reset: friction is {friction}, must be >= 0")
        if not damping >= 0:
            raise SimError(f"World.reset: damping is {damping}, must be >= 0")
        config = self.config
        self.object_model = object
        self._steps = 0
        self._scene = make_scene(config.physics_hz, np.array([0.0, 0.0, -GRAVITY_M_S2]))
        self._system = self._scene.physx_system
        material = make_material(friction)
        self._table = build_table(self._scene, material, (1, 1, 1 << _TABLE_BIT, 0))
        drives = config.drives()
        self._sides = []
        self._shape_names: dict[PhysxCollisionShape, str] = {shape: "table" for shape in self._table.collision_shapes}
        for side in SIDES:
            part = part_indices(side)
            articulation = build_articulation(
                self._scene,
                BASE_LINK[side],
                JOINT_NAMES[part],
                material,
                T_world_root=T_world_base(side),
                collision_groups=collision_groups,
                position_iterations=config.position_iterations,
            )
            articulation.body.set_sleep_threshold(_STILL)
            articulation.set_drives(drives[part])
            articulation.set_state(q[part])
            self._sides.append((part, articulation))
            self._shape_names.update(articulation.shape_names)
        self._object: PhysxRigidDynamicComponent | None = None
        if object is not None:
            self._object = build_object(
                self._scene,
                object,
                material,
                np.asarray(T_world_object, dtype=float),
                mass_kg=mass_kg,
                position_iterations=config.position_iterations,
            )
            self._object.linear_damping = self._object.angular_damping = damping
            self._shape_names.update({shape: "object" for shape in self._object.collision_shapes})
        self._target = q.copy()

    def set_target(self, q: np.ndarray) -> None:
        """Position targets (36,) [rad] of all joints from now on. Raises SimError if not finite or of wrong shape."""
        self._target = _checked_q(q).copy()
        for part, articulation in self._sides:
            articulation.set_target(self._target[part])

    def step(self, n: int = 1) -> None:
        """Advance the physics by n steps of 1 / physics_hz."""
        step = self._system.step
        for _ in range(n):
            step()
        self._steps += n

    def step_until(self, t_s: float) -> None:
        """Advance to the last step that is not after t_s (counted from the reset): floor(physics_hz * t_s) steps."""
        self.step(max(0, int(np.floor(self.config.physics_hz * t_s + 1e-6)) - self._steps))

    @property
    def time_s(self) -> float:
        """Simulated time since the reset [s]."""
        return self._steps / self.config.physics_hz

    @property
    def target(self) -> np.ndarray:
        """(36,) position targets [rad]; a copy."""
        return self._target.copy()

    @property
    def q(self) -> np.ndarray:
        """(36,) joint positions [rad]."""
        return np.concatenate([articulation.q for _, articulation in self._sides])

    @property
    def qd(self) -> np.ndarray:
        """(36,) joint velocities [rad/s]."""
        return np.concatenate([articulation.qd for _, articulation in self._sides])

    def link_poses(self, side: Side) -> dict[str, np.ndarray]:
        """T_world_link (4, 4) of one side's movable links, as the physics has them."""
        articulation = self._sides[SIDES.index(side)][1]
        return {link: articulation.link_pose(link) for link in articulation.links}

    def apply_joint_axis_torque(self, joint: str, torque: float) -> None:
        """Push the link behind a joint about the joint's axis in the next step, from outside [Nm]."""
        for _, articulation in self._sides:
            if joint in articulation.joint_names:
                moved = articulation.joints[articulation.joint_names.index(joint)]
                axis = from_pose(moved.get_global_pose())[:3, 0]
                moved.child_link.add_force_torque(np.zeros(3), torque * axis)
                return
        raise SimError(f"no joint {joint!r}; valid: {', '.join(JOINT_NAMES)}")

    @property
    def T_world_object(self) -> np.ndarray:
        """(4, 4) pose of the object. Raises SimError if there is none."""
        return from_pose(self._the_object().entity_pose)

    def settle(self, max_s: float = 3.0, still_s: float = 0.1) -> bool:
        """Steps until the object has moved less than 0.2 mm and 0.005 rad in still_s; whether that was within max_s."""
        before = self.T_world_object
        window = max(1, round(still_s * self.config.physics_hz))
        for _ in range(int(max_s / still_s)):
            self.step(window)
            after = self.T_world_object
            shift = np.linalg.norm(after[:3, 3] - before[:3, 3])
            if shift < 2e-4 and rotation_angle(before[:3, :3], after[:3, :3]) < 5e-3:
                return True
            before = after
        return False

    def contacts(self, min_force_n: float = 1e-3, wanted: Callable[[str, str], bool] | None = None) -> list[Contact]:
        """Pairs of bodies that pressed on each other in the last step, strongest first; bodies by name.

        wanted: tells for two names, sorted, whether the pair is looked at; all are if None.
        """
        forces: dict[tuple[str, str], list[tuple[float, np.ndarray]]] = {}
        for contact in self._system.get_contacts():
            first, second = contact.shapes
            a, b = self._shape_names[first], self._shape_names[second]
            if b < a:
                a, b = b, a
            if wanted is not None and not wanted(a, b):
                continue
            for point in contact.points:
                force = math.hypot(*point.impulse.tolist()) * self.config.physics_hz
                forces.setdefault((a, b), []).append((force, np.asarray(point.position, dtype=float)))
        merged = []
        for (a, b), points in forces.items():
            total = sum(force for force, _ in points)
            if total >= min_force_n:
                merged.append(Contact(a, b, total, np.mean([position for _, position in points], axis=0)))
        return sorted(merged, key=lambda contact: -contact.force_n)

    def _the_object(self) -> PhysxRigidDynamicComponent:
        if self._object is None:
            raise SimError("the simulated cell has no object; give one to World.reset")
        return self._object


def collision_groups(link: str) -> tuple[int, int, int, int]:
    """SAPIEN's groups of a robot link: no contact within one hand with its wrist, within one arm, base with table."""
    arm_links = current_robot().arm
    side, _, name = link.partition("_")
    first_bit = 2 * SIDES.index(side)
    arm, hand = 1 << first_bit, 1 << (first_bit + 1)
    if name.startswith("hand"):
        ignored = hand
    elif name in arm_links.wrist_links:
        ignored = arm | hand
    else:
        ignored = arm
    if name in arm_links.standing_links:
        ignored |= 1 << _TABLE_BIT
    return (1, 1, ignored, 0)


def _checked_q(q: np.ndarray) -> np.ndarray:
    q = np.asarray(q, dtype=float)
    if q.shape != (N_JOINTS,):
        raise SimError(f"joint positions have the shape {q.shape}, expected ({N_JOINTS},)")
    if not np.isfinite(q).all():
        bad = [JOINT_NAMES[i] for i in np.flatnonzero(~np.isfinite(q))]
        raise SimError(f"joint positions are not finite: {', '.join(bad)}")
    return q
