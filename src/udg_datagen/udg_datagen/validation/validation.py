"""Physical validation of grasps in SAPIEN: floating hands lift the object, or hold it against forces.

`lift` does what a demonstration does: approach from 0.1 m back with open hands, close, squeeze, lift 0.2 m, hold.
A grasp counts when the object then rose at least 0.17 m for a second (the paper's rule).
`six_axis` is the rule of DexGraspBench: no gravity or table, from the grasp pose, squeezed, then pulled with 10 m N for
an object of m kg along each of six axes; moved less than 5 cm and turned less than 15 degrees.
Two hands of a grasp do everything at the same time. Nothing helps: no damping of the object, real torque limits.
With `engine="mujoco"` six_axis is tried in MuJoCo, where contacts are points: a second opinion (see `mujoco_world`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from udg_datagen.grasp_set import Grasp, GraspSet
from udg_datagen.processes import worker_pool
from udg_datagen.validation.hand_world import HandBody, HandWorld, Snapshot, robot_body
from udg_datagen.validation.mujoco_world import MujocoWorld, check_installed
from udg_description.errors import UdgError
from udg_description.layout import Side
from udg_description.physics import LIFT_RISE_M
from udg_sim.objects.library import ObjectModel
from udg_sim.physics.world import WorldConfig

_LOOK_STEPS = 4  # physics steps between two looks at an object that is pulled
_CHUNK = 4  # grasps a process takes at a time
_WORLDS = 4  # worlds kept by a process
_FAILED_RISE = 0.3  # share of the way up at half of which an object left behind ends the trial
Rule = Literal["lift", "six_axis"]
RULES: tuple[Rule, ...] = ("lift", "six_axis")
Engine = Literal["sapien", "mujoco"]
ENGINES: tuple[Engine, ...] = ("sapien", "mujoco")


class ValidationError(UdgError):
    """Grasps, object and hands that do not belong together, or an unknown rule."""


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """What is tried, and with which object. Times in seconds."""

    rule: Rule = "lift"
    mass_kg: float | None = None  # None: the object's own
    friction: float | None = None  # None: the object's own
    approach_s: float = 0.6
    close_s: float = 0.5
    squeeze_s: float = 0.5
    lift_s: float = 1.0
    hold_s: float = 1.0
    lift_height: float = 0.2  # [m]
    rise: float = LIFT_RISE_M  # [m] of the object, throughout the hold
    axis_s: float = 2.0  # pull along each of the six axes
    pull_per_kg: float = 10.0  # [N/kg]
    max_moved: float = 0.05  # [m]
    max_turned_deg: float = 15.0
    # A pull ends early where the object has come to rest: its drift in this window, four times over for the remaining
    # time, stays below a quarter of what is allowed. None: every pull lasts axis_s.
    rest_window_s: float | None = 0.25
    engine: Engine = "sapien"
    torsion_m: float = 0.0  # [Nm/N] with mujoco: torque about its normal that a contact resists, over its force
    world: WorldConfig = field(default_factory=WorldConfig)

    def __post_init__(self) -> None:
        """Check the values. Raises ValidationError, MujocoError where MuJoCo is asked for and absent."""
        if self.rule not in RULES:
            raise ValidationError(f"unknown rule '{self.rule}'; valid: {', '.join(RULES)}")
        if self.engine not in ENGINES:
            raise ValidationError(f"unknown engine '{self.engine}'; valid: {', '.join(ENGINES)}")
        if self.engine == "mujoco":
            check_installed()
            if self.rule != "six_axis":
                raise ValidationError(f"MuJoCo tries six_axis alone, not {self.rule}")
        elif self.torsion_m:
            raise ValidationError(f"torsion_m is {self.torsion_m}, valid: 0, as only MuJoCo takes it")
        if not 0.0 <= self.torsion_m < 0.1:
            raise ValidationError(f"torsion_m is {self.torsion_m}, valid: from 0 to 0.1 m")
        for name in ("mass_kg", "friction"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0.0):
                raise ValidationError(f"validation: {name} is {value}, valid: > 0, or None for the object's own")
        for name in ("approach_s", "close_s", "squeeze_s", "lift_s", "hold_s", "axis_s", "max_moved", "max_turned_deg"):
            if not getattr(self, name) > 0.0:
                raise ValidationError(f"validation: {name} is {getattr(self, name)}, valid: > 0")

    def test_name(self, model: ObjectModel) -> str:
        """Name under which a grasp file keeps the outcome, as "six_axis 0.10 kg mu 0.6"."""
        mass_kg, friction = _conditions(self, model)
        name = f"{self.rule} {mass_kg:.3g} kg mu {friction:.2g}"
        if self.engine == "sapien":
            return name
        return f"{name} {self.engine}" + (f" torsion {1e3 * self.torsion_m:.3g} mm" if self.torsion_m else "")


class Outcome(NamedTuple):
    """What one grasp did: lift tells shift and turn before the lift, six_axis the largest ones."""

    held: bool
    rise: float  # [m] least height gained during the hold, or gained when it ended early; 0 with six_axis
    moved: float  # [m]
    turned_deg: float


class ValidationReport(NamedTuple):
    """Per grasp, in the order of the set."""

    held: np.ndarray  # (N,) bool
    rise: np.ndarray  # (N,) [m] least height gained during the hold (lift)
    moved: np.ndarray  # (N,) [m]
    turned_deg: np.ndarray  # (N,) [deg]

    @property
    def share(self) -> float:
        """Share of grasps that held; nan for none."""
        return float(self.held.mean()) if len(self.held) else float("nan")


class _Task(NamedTuple):
    grasps: list[Grasp]
    T_table_object: np.ndarray
    model: ObjectModel
    config: ValidationConfig
    bodies: tuple[HandBody, ...]


def validate(
    grasps: GraspSet,
    model: ObjectModel,
    config: ValidationConfig | None = None,
    *,
    workers: int = 1,
    pool: Executor | None = None,
    bodies: Mapping[Side, HandBody] | None = None,
    progress: Callable[[float], None] | None = None,
) -> ValidationReport:
    """Try every grasp of `model` as `config` says. The result does not depend on `workers` (processes) or `pool`.

    Args:
        pool: processes of `worker_pool`, used again, instead of `workers` new ones.
        bodies: the hands by side; the robot's if None.
        progress: called with the share of grasps that are done.

    Raises:
        ValidationError: the set was made for another object or with another hand.
    """
    config = ValidationConfig() if config is None else config
    if grasps.object_id != model.id:
        raise ValidationError(f"the grasps are of object '{grasps.object_id}', not of '{model.id}'")
    hands = _bodies(grasps, config, bodies)
    tasks = [
        _Task(
            [grasps[k] for k in range(first, min(first + _CHUNK, len(grasps)))],
            grasps.T_table_object,
            model,
            config,
            hands,
        )
        for first in range(0, len(grasps), _CHUNK)
    ]
    if pool is not None:
        outcomes = _collect(pool.map(_try_all, tasks), len(grasps), progress)
    elif workers > 1 and len(tasks) > 1:
        with worker_pool(min(workers, len(tasks))) as own:
            outcomes = _collect(own.map(_try_all, tasks), len(grasps), progress)
    else:
        outcomes = _collect(map(_try_all, tasks), len(grasps), progress)
    table = np.array(outcomes, dtype=np.float64).reshape(-1, 4)
    return ValidationReport(table[:, 0] > 0.5, table[:, 1], table[:, 2], table[:, 3])


def _collect(chunks: Iterator[list[Outcome]], count: int, progress: Callable[[float], None] | None) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for chunk in chunks:
        outcomes += chunk
        if progress is not None:
            progress(len(outcomes) / count)
    return outcomes


def _bodies(grasps: GraspSet, config: ValidationConfig, given: Mapping[Side, HandBody] | None) -> tuple[HandBody, ...]:
    bodies = []
    for side, names in zip(grasps.sides, grasps.joint_names, strict=True):
        body = robot_body(side, config.world) if given is None else given.get(side)
        if body is None or body.joint_names != tuple(names):
            raise ValidationError(
                f"the grasps are of a {side} hand with the joints {', '.join(names)}; "
                + ("no such hand was given" if body is None else f"the given one has {', '.join(body.joint_names)}")
            )
        bodies.append(body)
    return tuple(bodies)


def _conditions(config: ValidationConfig, model: ObjectModel) -> tuple[float, float]:
    mass_kg = model.mass_kg if config.mass_kg is None else config.mass_kg
    return mass_kg, model.friction if config.friction is None else config.friction


def _try_all(task: _Task) -> list[Outcome]:
    world = _world(task)
    if task.config.rule == "lift":
        assert isinstance(world, HandWorld)
        return [try_lift(world, grasp, task.T_table_object, task.config) for grasp in task.grasps]
    mass_kg, _ = _conditions(task.config, task.model)
    return [try_pull(world, grasp, mass_kg, task.config) for grasp in task.grasps]


_worlds: OrderedDict[str, HandWorld | MujocoWorld] = OrderedDict()


def _world(task: _Task) -> HandWorld | MujocoWorld:
    """The world of a task: one that this process has built before, or a new one."""
    mass_kg, friction = _conditions(task.config, task.model)
    lift = task.config.rule == "lift"
    parts = tuple(part.vertices.shape for part in task.model.convex_parts)
    engine = (task.config.engine, task.config.torsion_m)
    key = repr((task.model.id, task.model.key, parts, mass_kg, friction, lift, engine, task.config.world, task.bodies))
    if key not in _worlds:
        if len(_worlds) >= _WORLDS:
            _worlds.popitem(last=False)
        if task.config.engine == "mujoco":
            _worlds[key] = MujocoWorld(
                task.bodies,
                task.model,
                mass_kg=mass_kg,
                friction=friction,
                torsion_m=task.config.torsion_m,
                config=task.config.world,
            )
        else:
            _worlds[key] = HandWorld(
                task.bodies,
                task.model,
                mass_kg=mass_kg,
                friction=friction,
                gravity=lift,
                table=lift,
                floating=lift,
                config=task.config.world,
            )
    _worlds.move_to_end(key)
    return _worlds[key]


def try_lift(world: HandWorld, grasp: Grasp, T_table_object: np.ndarray, config: ValidationConfig) -> Outcome:
    """Approach, close, squeeze, lift and hold with floating hands over the table.

    `T_table_object` (4, 4) is where the object lies; the frame of the table is that of the world. The grasp holds if
    the object stays `config.rise` [m] above its start throughout the hold.
    """
    hands = grasp.hands
    pregrasp, closed, squeezed = (
        np.stack([getattr(hand, f"q_{stage}") for hand in hands]) for stage in ("pregrasp", "grasp", "squeeze")
    )
    Ts_pregrasp = T_table_object @ np.stack([hand.T_object_pregrasp for hand in hands])
    Ts_grasp = T_table_object @ np.stack([hand.T_object_hand for hand in hands])
    advance = Ts_grasp[:, :3, 3] - Ts_pregrasp[:, :3, 3]
    up = np.array([0.0, 0.0, config.lift_height])
    hz = config.world.physics_hz
    world.reset(Ts_pregrasp, pregrasp, T_table_object)
    start = world.T_world_object
    for s in _ramp(config.approach_s, hz):
        world.set_target(pregrasp, _smooth(s) * advance)
        world.step(1)
    for s in _ramp(config.close_s, hz):
        world.set_target(pregrasp + s * (closed - pregrasp))
        world.step(1)
    for s in _ramp(config.squeeze_s, hz):
        world.set_target(closed + min(2.0 * s, 1.0) * (squeezed - closed))
        world.step(1)
    before = world.T_world_object
    moved, turned = _shift(before, start)
    rise = 0.0
    for s in _ramp(config.lift_s, hz):
        world.set_target(squeezed, advance + _smooth(s) * up)
        world.step(1)
        rise = float(world.T_world_object[2, 3] - start[2, 3])
        if s >= 0.5 and not rise > _FAILED_RISE * _smooth(s) * config.lift_height:
            return Outcome(False, rise, moved, turned)
    rise = np.inf
    for _ in _ramp(config.hold_s, hz):
        world.step(1)
        rise = min(rise, float(world.T_world_object[2, 3] - start[2, 3]))
        if not rise >= config.rise:
            break
    return Outcome(rise >= config.rise, rise, moved, turned)


def try_pull(world: HandWorld | MujocoWorld, grasp: Grasp, mass_kg: float, config: ValidationConfig) -> Outcome:
    """Squeeze in weightlessness, then hold against a pull along each axis of the object, both ways.

    The pull is `config.pull_per_kg` times `mass_kg` [N], each from the squeezed state. The grasp holds if the object
    never moves or turns further than `config` allows.
    """
    hz = config.world.physics_hz
    world.reset(
        np.stack([hand.T_object_hand for hand in grasp.hands]),
        np.stack([hand.q_grasp for hand in grasp.hands]),
        np.eye(4),
    )
    world.set_target(np.stack([hand.q_squeeze for hand in grasp.hands]))
    world.step(round(config.squeeze_s * hz))
    squeezed = world.snapshot()
    worst_moved, worst_turned = _shift(squeezed.T_world_object, np.eye(4))
    if not _within(worst_moved, worst_turned, config):
        return Outcome(False, 0.0, worst_moved, worst_turned)
    for direction in np.concatenate([np.eye(3), -np.eye(3)]):
        moved, turned = _pull(world, squeezed, config.pull_per_kg * mass_kg * direction, config)
        worst_moved, worst_turned = max(worst_moved, moved), max(worst_turned, turned)
        if not _within(moved, turned, config):
            return Outcome(False, 0.0, worst_moved, worst_turned)
    return Outcome(True, 0.0, worst_moved, worst_turned)


def _pull(
    world: HandWorld | MujocoWorld, squeezed: Snapshot, force: np.ndarray, config: ValidationConfig
) -> tuple[float, float]:
    """Largest shift [m] and turn [deg] under one force; up to the first excess or to rest."""
    hz = config.world.physics_hz
    count = max(1, round(config.axis_s * hz / _LOOK_STEPS))
    window = None if config.rest_window_s is None else max(1, round(config.rest_window_s * hz / _LOOK_STEPS))
    world.restore(squeezed)
    poses = [squeezed.T_world_object]
    worst_moved, worst_turned = 0.0, 0.0
    for k in range(1, count + 1):
        world.step(_LOOK_STEPS, force)
        poses.append(world.T_world_object)
        moved, turned = _shift(poses[-1], np.eye(4))
        worst_moved, worst_turned = max(worst_moved, moved), max(worst_turned, turned)
        if not _within(moved, turned, config):
            break
        if window is not None and k >= 2 * window and k % window == 0:
            drift = _shift(poses[-1], poses[-1 - window])
            middle = _shift(poses[-1 - window // 2], poses[-1 - window])
            remaining = 4.0 * (count - k) / window
            if all(
                most + remaining * max(rates) < limit and remaining * max(rates) < 0.25 * limit
                for most, rates, limit in zip(
                    (moved, turned),
                    zip(drift, middle, strict=True),
                    (config.max_moved, config.max_turned_deg),
                    strict=True,
                )
            ):
                break
    return worst_moved, worst_turned


def _shift(T: np.ndarray, T_before: np.ndarray) -> tuple[float, float]:
    """Distance [m] and angle [deg] between two poses."""
    distance = math.dist(T[:3, 3], T_before[:3, 3])
    cosine = 0.5 * (float((T[:3, :3] * T_before[:3, :3]).sum()) - 1.0)
    return distance, math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def _within(moved: float, turned_deg: float, config: ValidationConfig) -> bool:
    return moved <= config.max_moved and turned_deg <= config.max_turned_deg  # false for nan


def _ramp(duration_s: float, physics_hz: float) -> Iterator[float]:
    """Progress in (0, 1] at each physics step: targets in larger steps would jerk the object out of the hand."""
    count = max(1, round(duration_s * physics_hz))
    return ((k + 1) / count for k in range(count))


def _smooth(s: float) -> float:
    return s * s * (3.0 - 2.0 * s)
