"""A single floating hand, an object and, if wanted, the table: the smallest world in which a grasp can be tried."""

from __future__ import annotations

import numpy as np

from udg_description.frames import HAND_LINK
from udg_description.layout import HAND_JOINTS, Side, part_indices
from udg_sim.build import FLOATING_JOINTS, Drive, build_articulation, build_object, build_table
from udg_sim.engine import from_pose, make_material, make_scene
from udg_sim.objects import ObjectModel
from udg_sim.world import WorldConfig

GRAVITY = 9.81  # [m/s^2]
_TABLE_GROUPS = (1, 1, 0, 0)
_HAND_GROUPS = (1, 1, 1, 0)  # shapes that share a bit of the third group never touch: the hand ignores itself
# The carrier stands for an arm that follows its targets well.
_CARRIER_TRANSLATION = Drive(2.0e4, 8.0e2, 1.0e4, 0.0)
_CARRIER_ROTATION = Drive(5.0e2, 2.0e1, 1.0e3, 0.0)


class HandWorld:
    """Hand `side` at `T_world_hand` with joints `q`, object at `T_world_object`; the carrier moves in translation."""

    def __init__(
        self,
        side: Side,
        model: ObjectModel,
        *,
        T_world_hand: np.ndarray,
        q: np.ndarray,
        T_world_object: np.ndarray,
        mass_kg: float,
        friction: float,
        gravity: bool,
        table: bool,
        config: WorldConfig,
    ) -> None:
        self._scene = make_scene(config.physics_hz, np.array([0.0, 0.0, -GRAVITY if gravity else 0.0]))
        material = make_material(friction)
        if table:
            build_table(self._scene, material, _TABLE_GROUPS)
        names = FLOATING_JOINTS + tuple(f"{side}_{name}" for name in HAND_JOINTS)
        self._hand = build_articulation(
            self._scene,
            HAND_LINK[side],
            names,
            material,
            T_world_root=T_world_hand,
            floating=True,
            collision_groups=lambda link: _HAND_GROUPS,
            position_iterations=config.position_iterations,
        )
        drives = [_CARRIER_TRANSLATION] * 3 + [_CARRIER_ROTATION] * 3 + config.drives()[part_indices(f"{side}_hand")]
        self._hand.set_drives(drives)
        self._target = np.concatenate([np.zeros(6), q])
        self._hand.set_state(self._target)
        iterations = config.position_iterations
        self._object = build_object(
            self._scene, model, material, T_world_object, mass_kg=mass_kg, position_iterations=iterations
        )
        self._R_hand_world = np.asarray(T_world_hand)[:3, :3].T
        self._step = self._scene.physx_system.step

    def set_target(self, displacement_world: np.ndarray, q: np.ndarray) -> None:
        """Carrier target (3,) [m] from where it began, along world axes, and joint targets (12,) [rad]."""
        self._target[:3] = self._R_hand_world @ displacement_world
        self._target[6:] = q
        self._hand.set_target(self._target)

    def step(self, n: int, force_world: np.ndarray | None = None) -> None:
        """Advance n physics steps, with a force (3,) [N] on the object's centre of mass."""
        for _ in range(n):
            if force_world is not None:
                self._object.add_force_at_point(
                    force_world.astype(np.float32), self.T_world_object[:3, 3].astype(np.float32)
                )
            self._step()

    @property
    def T_world_object(self) -> np.ndarray:
        return from_pose(self._object.entity_pose)
