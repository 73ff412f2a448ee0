"""Physical validation of grasps in SAPIEN: a floating hand lifts the object, or holds it against forces.

`lift` does what a demonstration does: approach from 0.1 m back with the open hand, close, squeeze, lift 0.2 m, hold.
A grasp counts when the object then rose at least 0.17 m for a second (the paper's rule).
`six_axis` is the rule of DexGraspBench: no gravity or table, from the grasp pose, squeezed, then pulled with 10 m N for
an object of m kg along each of six axes; moved less than 5 cm and turned less than 15 degrees.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Literal, NamedTuple

import numpy as np

from udg_datagen.grasps import GraspSet, HandGrasp
from udg_datagen.hand_world import HandWorld
from udg_description.errors import UdgError
from udg_description.transforms import rotation_angle
from udg_sim.objects import ObjectModel
from udg_sim.world import WorldConfig

_CONTROL_STEPS = 4  # physics steps between two targets
RULES = ("lift", "six_axis")


class ValidationError(UdgError):
    """Grasps and object that do not belong together, or an unknown rule."""


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """What is tried, and with which object. Times in seconds."""

    rule: Literal["lift", "six_axis"] = "lift"
    mass_kg: float | None = None  # None: the object's own
    friction: float | None = None  # None: the object's own
    approach_s: float = 0.6
    close_s: float = 0.5
    squeeze_s: float = 0.5
    lift_s: float = 1.0
    hold_s: float = 1.0
    lift_height: float = 0.2  # [m]
    rise: float = 0.17  # [m] of the object, throughout the hold
    axis_s: float = 2.0  # pull along each of the six axes
    pull_per_kg: float = 10.0  # [N/kg]
    max_moved: float = 0.05  # [m]
    max_turned_deg: float = 15.0
    world: WorldConfig = field(default_factory=WorldConfig)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValidationError(f"unknown rule '{self.rule}'; valid: {', '.join(RULES)}")


class Outcome(NamedTuple):
    """What one grasp did. `moved` is the object's shift [m] before the lift (lift) or the largest shift (six_axis)."""

    held: bool
    rise: float
    moved: float
    turned_deg: float


class ValidationReport(NamedTuple):
    """Per grasp, in the order of the set."""

    held: np.ndarray  # (N,) bool
    rise: np.ndarray  # (N,) [m] least height gained during the hold (lift)
    moved: np.ndarray  # (N,) [m]
    turned_deg: np.ndarray  # (N,)

    @property
    def share(self) -> float:
        """Share of grasps that held; nan for none."""
        return float(self.held.mean()) if len(self.held) else float("nan")


def validate(
    grasps: GraspSet, model: ObjectModel, config: ValidationConfig | None = None, *, workers: int = 1
) -> ValidationReport:
    """Try every grasp. The result does not depend on `workers` (processes).

    Raises:
        ValidationError: the set was made for another object.
    """
    config = ValidationConfig() if config is None else config
    if grasps.object_id != model.id:
        raise ValidationError(f"the grasps are of object '{grasps.object_id}', not of '{model.id}'")
    if len(grasps.sides) != 1:
        raise ValidationError(f"grasps with the hands {grasps.sides}: one hand is needed")
    arguments = [(grasps[k].hands[0], grasps.T_table_object, model, config) for k in range(len(grasps))]
    if workers > 1 and len(grasps) > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            outcomes = list(pool.map(_try, arguments, chunksize=max(1, len(arguments) // (4 * workers))))
    else:
        outcomes = [_try(argument) for argument in arguments]
    table = np.array(outcomes, dtype=np.float64).reshape(-1, 4)
    return ValidationReport(table[:, 0] > 0.5, table[:, 1], table[:, 2], table[:, 3])


def _try(argument: tuple[HandGrasp, np.ndarray, ObjectModel, ValidationConfig]) -> Outcome:
    grasp, T_table_object, model, config = argument
    return try_lift(grasp, T_table_object, model, config) if config.rule == "lift" else try_pull(grasp, model, config)


def try_lift(grasp: HandGrasp, T_table_object: np.ndarray, model: ObjectModel, config: ValidationConfig) -> Outcome:
    """Approach, close, squeeze, lift and hold with one floating hand over the table."""
    T_table_pregrasp = T_table_object @ grasp.T_object_pregrasp
    world = HandWorld(
        grasp.side,
        model,
        T_world_hand=T_table_pregrasp,
        q=grasp.q_pregrasp,
        T_world_object=T_table_object,
        mass_kg=model.mass_kg if config.mass_kg is None else config.mass_kg,
        friction=model.friction if config.friction is None else config.friction,
        gravity=True,
        table=True,
        config=config.world,
    )
    start = world.T_world_object
    advance = (T_table_object @ grasp.T_object_hand)[:3, 3] - T_table_pregrasp[:3, 3]
    up = np.array([0.0, 0.0, config.lift_height])
    hz = config.world.physics_hz
    for s in _ramp(config.approach_s, hz):
        world.set_target(_smooth(s) * advance, grasp.q_pregrasp)
        world.step(_CONTROL_STEPS)
    for s in _ramp(config.close_s, hz):
        world.set_target(advance, grasp.q_pregrasp + s * (grasp.q_grasp - grasp.q_pregrasp))
        world.step(_CONTROL_STEPS)
    for s in _ramp(config.squeeze_s, hz):
        world.set_target(advance, grasp.q_grasp + min(2.0 * s, 1.0) * (grasp.q_squeeze - grasp.q_grasp))
        world.step(_CONTROL_STEPS)
    before = world.T_world_object
    moved = float(np.linalg.norm(before[:3, 3] - start[:3, 3]))
    turned = float(np.rad2deg(rotation_angle(before[:3, :3], start[:3, :3])))
    for s in _ramp(config.lift_s, hz):
        world.set_target(advance + _smooth(s) * up, grasp.q_squeeze)
        world.step(_CONTROL_STEPS)
    rise = np.inf
    for _ in _ramp(config.hold_s, hz):
        world.step(_CONTROL_STEPS)
        rise = min(rise, float(world.T_world_object[2, 3] - start[2, 3]))
        if rise < config.rise:
            break
    return Outcome(rise >= config.rise, rise, moved, turned)


def try_pull(grasp: HandGrasp, model: ObjectModel, config: ValidationConfig) -> Outcome:
    """Squeeze in weightlessness, then hold against a pull along each axis of the object."""
    mass_kg = model.mass_kg if config.mass_kg is None else config.mass_kg
    worst_moved, worst_turned = 0.0, 0.0
    for direction in np.concatenate([np.eye(3), -np.eye(3)]):
        world = HandWorld(
            grasp.side,
            model,
            T_world_hand=grasp.T_object_hand,
            q=grasp.q_grasp,
            T_world_object=np.eye(4),
            mass_kg=mass_kg,
            friction=model.friction if config.friction is None else config.friction,
            gravity=False,
            table=False,
            config=config.world,
        )
        world.set_target(np.zeros(3), grasp.q_squeeze)
        world.step(int(config.squeeze_s * config.world.physics_hz))
        for _ in _ramp(config.axis_s, config.world.physics_hz):
            world.step(_CONTROL_STEPS, config.pull_per_kg * mass_kg * direction)
            T = world.T_world_object
            worst_moved = max(worst_moved, float(np.linalg.norm(T[:3, 3])))
            worst_turned = max(worst_turned, float(np.rad2deg(rotation_angle(T[:3, :3], np.eye(3)))))
            if worst_moved > config.max_moved or worst_turned > config.max_turned_deg:
                return Outcome(False, 0.0, worst_moved, worst_turned)
    return Outcome(True, 0.0, worst_moved, worst_turned)


def _ramp(duration_s: float, physics_hz: float) -> Iterator[float]:
    """Progress in (0, 1] at each control step."""
    count = max(1, round(duration_s * physics_hz / _CONTROL_STEPS))
    return ((k + 1) / count for k in range(count))


def _smooth(s: float) -> float:
    return s * s * (3.0 - 2.0 * s)
