"""One or two floating hands, an object and, if wanted, the table: the smallest world in which a grasp can be tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from udg_description.frames import HAND_LINK
from udg_description.layout import JOINT_NAMES, Side, part_indices
from udg_description.physics import GRAVITY_M_S2
from udg_description.robot import current_robot
from udg_description.urdf import load_urdf
from udg_sim.objects.library import ObjectModel
from udg_sim.physics.build import FLOATING_JOINTS, Articulation, Drive, build_articulation, build_object, build_table
from udg_sim.physics.engine import from_pose, make_material, make_scene, to_pose
from udg_sim.physics.world import WorldConfig

# The carrier stands for an arm that follows its targets well.
_CARRIER_TRANSLATION = Drive(2.0e4, 8.0e2, 1.0e4, 0.0)
_CARRIER_ROTATION = Drive(5.0e2, 2.0e1, 1.0e3, 0.0)


@dataclass(frozen=True, kw_only=True)
class HandBody:
    """A hand as the physics needs it: the part of a URDF below `root`, with a drive for each joint."""

    root: str
    joint_names: tuple[str, ...]
    drives: tuple[Drive, ...]
    urdf: Path  # of the robot, or of the hand alone


def robot_body(side: Side, config: WorldConfig) -> HandBody:
    """The robot's hand of `side` with the drives that it has in the simulated cell at `config`."""
    return HandBody(
        root=HAND_LINK[side],
        joint_names=JOINT_NAMES[part_indices(f"{side}_hand")],
        drives=tuple(config.drives()[part_indices(f"{side}_hand")]),
        urdf=current_robot().urdf,
    )


def urdf_body(urdf: Path, root: str, joint_names: Sequence[str], config: WorldConfig) -> HandBody:
    """The hand below the link `root` of any URDF: torque limits [Nm] from the URDF, gains from `config`.

    Raises RobotModelError for a file that is no URDF.
    """
    joints = load_urdf(urdf).joints
    stiffness = config.hand_stiffness * config.stiffness_scale
    damping = config.hand_damping * config.damping_scale
    drives = tuple(Drive(stiffness, damping, joints[name].effort, config.hand_armature) for name in joint_names)
    return HandBody(root=root, joint_names=tuple(joint_names), drives=drives, urdf=Path(urdf))


class Snapshot(NamedTuple):
    """State of everything that moves: joints and rates of each hand, pose and velocity of the object."""

    q: tuple[np.ndarray, ...]  # of each hand (6 + J,) [m, rad] with a carrier, or (J,) [rad]
    qd: tuple[np.ndarray, ...]  # [m/s, rad/s]
    T_world_object: np.ndarray  # (4, 4)
    velocity: np.ndarray  # (6,) linear [m/s] and angular [rad/s], in the world frame


class HandWorld:
    """Hands, left before right, and an object.

    Bodies are built once and moved to an empty scene by each `reset`, so that a trial does not depend on those before.
    The fingers of one hand pass through each other; two hands touch.

    Args:
        mass_kg, friction: of the object; friction is that of all contacts.
        table: whether there is one, at z = 0.
        floating: the hands hang on stiff carriers that move in translation; otherwise their roots stand still.
        config: physics rate, gains, solver.
    """

    def __init__(
        self,
        bodies: Sequence[HandBody],
        model: ObjectModel,
        *,
        mass_kg: float,
        friction: float,
        gravity: bool,
        table: bool,
        floating: bool,
        config: WorldConfig,
    ) -> None:
        self._config = config
        self._gravity = np.array([0.0, 0.0, -GRAVITY_M_S2 if gravity else 0.0])
        self._floating = floating
        self._carrier = 6 if floating else 0
        self._scene = make_scene(config.physics_hz, self._gravity)
        material = make_material(friction)
        self._hands: list[Articulation] = []
        self._entities = []
        if table:
            self._entities.append(build_table(self._scene, material, (1, 1, 0, 0)).entity)
        for index, body in enumerate(bodies):
            hand = self._build(body, index, material)
            self._hands.append(hand)
            self._entities += [link.entity for link in hand.body.links]
        iterations = config.position_iterations
        self._object = build_object(
            self._scene, model, material, np.eye(4), mass_kg=mass_kg, position_iterations=iterations
        )
        self._entities.append(self._object.entity)

    def _build(self, body: HandBody, index: int, material: object) -> Articulation:
        ignored = 1 << index  # shapes that share a bit of the third group never touch: a hand ignores itself
        hand = build_articulation(
            self._scene,
            body.root,
            (FLOATING_JOINTS if self._floating else ()) + body.joint_names,
            material,
            urdf=load_urdf(body.urdf),
            floating=self._floating,
            collision_groups=lambda link: (1, 1, ignored, 0),
            position_iterations=self._config.position_iterations,
        )
        carrier = [_CARRIER_TRANSLATION] * 3 + [_CARRIER_ROTATION] * 3 if self._floating else []
        hand.set_drives([*carrier, *body.drives])
        return hand

    def reset(self, Ts_world_hand: np.ndarray, q: np.ndarray, T_world_object: np.ndarray) -> None:
        """Reset: hands at rest at poses (H, 4, 4) with joints (H, J) [rad] and holding them, object at rest."""
        self._R_hand_world = np.swapaxes(np.asarray(Ts_world_hand)[:, :3, :3], 1, 2)
        for hand, T_world_hand in zip(self._hands, Ts_world_hand, strict=True):
            hand.body.set_root_pose(to_pose(T_world_hand))
        self._targets = [np.concatenate([np.zeros(self._carrier), joints]) for joints in q]
        rest = tuple(np.zeros_like(target) for target in self._targets)
        self.restore(Snapshot(tuple(self._targets), rest, T_world_object, np.zeros(6)))

    def restore(self, state: Snapshot) -> None:
        """Go on from a state of these hands at these roots, in an empty scene; the targets stay."""
        scene = make_scene(self._config.physics_hz, self._gravity)
        for entity in self._entities:
            self._scene.remove_entity(entity)
        for entity in self._entities:
            scene.add_entity(entity)
        self._scene, self._step = scene, scene.physx_system.step
        for hand, target, q, qd in zip(self._hands, self._targets, state.q, state.qd, strict=True):
            hand.set_state(q, qd)
            hand.set_target(target)
        self._object.entity.set_pose(to_pose(state.T_world_object))
        self._object.set_linear_velocity(state.velocity[:3])
        self._object.set_angular_velocity(state.velocity[3:])

    def snapshot(self) -> Snapshot:
        """The present state, for `restore`."""
        velocity = np.concatenate([self._object.linear_velocity, self._object.angular_velocity])
        return Snapshot(
            tuple(hand.q for hand in self._hands),
            tuple(hand.qd for hand in self._hands),
            self.T_world_object,
            velocity.astype(float),
        )

    def set_target(self, q: np.ndarray, displacement_world: np.ndarray | None = None) -> None:
        """Command joints (H, J) [rad] and, for floating hands, shifts (H, 3) [m] from the reset, world frame."""
        for h, (hand, target) in enumerate(zip(self._hands, self._targets, strict=True)):
            if displacement_world is not None:
                target[:3] = self._R_hand_world[h] @ displacement_world[h]
            target[self._carrier :] = q[h]
            hand.set_target(target)

    def step(self, n: int, force_world: np.ndarray | None = None) -> None:
        """Advance n physics steps, with a force (3,) [N] on the object's centre of mass."""
        force = None if force_world is None else np.asarray(force_world, dtype=np.float32)
        for _ in range(n):
            if force is not None:
                self._object.add_force_at_point(force, self._object.entity_pose.p)
            self._step()

    @property
    def T_world_object(self) -> np.ndarray:
        """Pose (4, 4) of the object."""
        return from_pose(self._object.entity_pose)
