"""What a trial is: where the object lies at the start, and when it counts as grasped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from udg_description.errors import UdgError
from udg_description.frames import OBJECT_AREA, Area
from udg_description.physics import GRAVITY_M_S2, LIFT_HELD_S, LIFT_RISE_M, PHYSICS_HZ
from udg_description.transforms import make_transform, rotation_angle, rotvec_to_matrix
from udg_sim.objects.library import ObjectModel
from udg_sim.physics.build import build_object, build_table
from udg_sim.physics.engine import from_pose, make_material, make_scene

if TYPE_CHECKING:
    from udg_sim.physics.world import World

_DROP_M = 0.001
_LIES_WITHIN_M = 0.003  # of where it is put, if the robot touches it: 15 of 6,000 placements of held-out objects


class TrialError(UdgError):
    """A trial that cannot be set up."""


@dataclass(frozen=True, kw_only=True)
class LiftRule:
    """Success (paper): the object rose by `rise_m` above its initial height and stayed so for `hold_s`."""

    rise_m: float = LIFT_RISE_M
    hold_s: float = LIFT_HELD_S

    def __post_init__(self) -> None:
        if not (self.rise_m > 0 and self.hold_s >= 0):
            raise TrialError(f"LiftRule: rise_m {self.rise_m} must be > 0 and hold_s {self.hold_s} >= 0")


class LiftTracker:
    """Applies a LiftRule while the trial runs."""

    def __init__(self, rule: LiftRule | None = None) -> None:
        self.rule = LiftRule() if rule is None else rule
        self._initial_m: float | None = None
        self._up_since_s: float | None = None
        self.success = False
        """Whether the object has been up long enough at some time."""

    def update(self, time_s: float, height_m: float) -> bool:
        """Take the height of the centre of mass at a time, the first at the start; say whether the trial succeeded."""
        if self._initial_m is None:
            self._initial_m = height_m
        if not height_m - self._initial_m >= self.rule.rise_m - 1e-9:  # nan is no lift
            self._up_since_s = None
            return self.success
        if self._up_since_s is None:
            self._up_since_s = time_s
        if time_s - self._up_since_s >= self.rule.hold_s - 1e-9:
            self.success = True
        return self.success

    def soonest_s(self, next_s: float) -> float:
        """The soonest time of a success that is still possible if the next update is at `next_s`."""
        return max(next_s, (next_s if self._up_since_s is None else self._up_since_s) + self.rule.hold_s)


def object_area(model: ObjectModel) -> Area:
    """The area of the table in which the centre of an object of this size is placed."""
    return OBJECT_AREA["large" if model.size_class == "large" else "small_medium"]


def sample_placement(
    model: ObjectModel,
    rng: np.random.Generator,
    *,
    area: Area | None = None,
    pose_index: int | None = None,
    attempts: int = 50,
) -> np.ndarray:
    """T_world_object (4, 4) of the object at rest on the table: settled in physics, centre in its area.

    Resting pose by its probability (or `pose_index` of model.stable_poses), uniform yaw and position in `area`
    (default: object_area). A draw that rolls out of the area or does not come to rest is drawn again; raises
    TrialError after `attempts`.
    """
    area = object_area(model) if area is None else area
    for _ in range(attempts):
        index = rng.choice(len(model.stable), p=model.stable_probabilities) if pose_index is None else pose_index
        yaw, x, y = rng.uniform(-np.pi, np.pi), rng.uniform(area.x_min, area.x_max), rng.uniform(area.y_min, area.y_max)
        T_world_table = make_transform(rotvec_to_matrix(np.array([0.0, 0.0, yaw])), np.array([x, y, 0.0]))
        T_world_object = settle_on_table(model, T_world_table @ model.stable_poses[index])
        if T_world_object is not None and area.contains(T_world_object[:2, 3]):
            return T_world_object
    raise TrialError(
        f"object {model.id!r} found no resting place in x [{area.x_min}, {area.x_max}], y [{area.y_min}, {area.y_max}] "
        f"in {attempts} draws"
    )


def place_in(
    world: World,
    model: ObjectModel,
    draw: Callable[[], np.ndarray],
    *,
    q: np.ndarray,
    mass_kg: float | None = None,
    friction: float | None = None,
    damping: float = 0.0,
    attempts: int = 50,
) -> None:
    """Reset the world (as `World.reset`) with the object at rest where `draw` puts it.

    What the robot is in the way of would be thrown off by the physics: such a draw is drawn again. What rolls a little
    by itself stays. Raises TrialError after `attempts`.
    """
    for _ in range(attempts):
        put = partial(world.reset, q, model, T_world_object := draw(), mass_kg, friction, damping)
        put()
        world.settle()
        if np.linalg.norm((world.T_world_object - T_world_object)[:3, 3]) < _LIES_WITHIN_M:
            return
        put()
        world.step()
        if not world.contacts(wanted=lambda a, b: "object" in (a, b) and "table" not in (a, b)):
            put()
            world.settle()
            return
    raise TrialError(f"object {model.id!r} found no place that the robot leaves free, in {attempts} draws")


def settle_on_table(model: ObjectModel, T_world_object: np.ndarray, max_s: float = 3.0) -> np.ndarray | None:
    """Pose (4, 4) in which an object let go 1 mm above the given pose comes to rest on the empty table; else None."""
    scene = make_scene(PHYSICS_HZ, np.array([0.0, 0.0, -GRAVITY_M_S2]))
    material = make_material(model.friction)
    build_table(scene, material)
    lifted = np.array(T_world_object, dtype=float)
    lifted[2, 3] += _DROP_M
    body = build_object(scene, model, material, lifted)
    before = lifted
    for _ in range(int(max_s / 0.2)):
        for _ in range(int(0.2 * PHYSICS_HZ)):
            scene.physx_system.step()
        after = from_pose(body.entity_pose)
        shift = float(np.linalg.norm(after[:3, 3] - before[:3, 3]))
        if shift < 2e-4 and float(rotation_angle(before[:3, :3], after[:3, :3])) < 5e-3:
            return after
        before = after
    return None
