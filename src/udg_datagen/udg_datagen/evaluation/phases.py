"""How far a closed-loop trial got: reached, closed, squeezed, lifted; when, and how far the hands were from the grasp
that the policy predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import trimesh

from udg_datagen.demonstrations.demonstration import DemoConfig
from udg_description.frames import HAND_PREFIXES
from udg_description.layout import SIDES
from udg_description.physics import GRAVITY_M_S2
from udg_description.robot import current_robot
from udg_description.transforms import inverse, transform_points
from udg_policy.episodes.grasp import KEY_POINTS, PredictedGrasp, key_points
from udg_sim.geometry.ray_scene import ray_scene
from udg_sim.physics.world import World

PHASES = ("reached", "closed", "squeezed", "lifted")
"""Reached: palm or fingertip of a hand within 20 mm of the object. Closed: thumb or palm and another finger of one hand
touch it, or both hands do. Squeezed: closed, and the hands press on it with twice its weight. Lifted: closed, risen by
20 mm, and off the table. Who gets to a phase has been through those before."""
FAILED_IN = ("reach", "close", "squeeze", "lift", "hold")
"""What a failed trial did not achieve: the first phase that it never got to; `hold` if it lifted."""
_REACHED_M, _RISEN_M = 0.02, 0.02
_TOUCH_N = DemoConfig().touch_n
_SQUEEZE_WEIGHTS = 2.0
_OPPOSING = frozenset({current_robot().fingers[0], "palm"})
_TOUCHING_POINTS = [index for index, name in enumerate(KEY_POINTS) if name != "wrist"]


class PhaseWatch:
    """Watches a trial: `plan` whenever the policy predicts a grasp, `look` once a step."""

    def __init__(self, world: World, mesh: trimesh.Trimesh, mass_kg: float) -> None:
        """mesh: of the object, in its own frame [m]."""
        self._world, self._start_s, self._placed_z = world, world.time_s, float(world.T_world_object[2, 3])
        self._press_n = _SQUEEZE_WEIGHTS * mass_kg * GRAVITY_M_S2
        self._surface = ray_scene(mesh.vertices, mesh.faces)
        self._first: _Goal | None = None
        self._newest: _Goal | None = None
        self._said = ""
        self.phases: dict[str, dict[str, float]] = {}
        self.grasp: dict[str, Any] | None = None  # the first prediction, and how often it changed

    def plan(self, grasp: PredictedGrasp | None) -> None:
        """A prediction of this moment. Once the hands are closed it is the grasp that they have and does not count."""
        if grasp is None or "closed" in self.phases:
            return
        self._newest = _Goal(grasp, self._world.T_world_object)
        said = f"{grasp.strategy} {grasp.acts.tolist()}"
        if self._first is None or self.grasp is None:
            self._first = self._newest
            self.grasp = {
                "strategy": grasp.strategy,
                "strategy_p": round(float(grasp.strategies.max()), 3),
                **{side: round(float(p), 3) for side, p in zip(SIDES, grasp.acting, strict=True)},
                "changes": 0,
            }
        elif said != self._said:
            self.grasp["changes"] += 1
        self._said = said

    def look(self) -> None:
        """Look at the world after a step."""
        if PHASES[-1] in self.phases:
            return
        new = [phase for phase in PHASES[: self._phase() + 1] if phase not in self.phases]
        if new:
            moment = self._moment(key_points(self._world.q))
            self.phases.update((phase, dict(moment)) for phase in new)

    def conclude(self, success: bool) -> str:
        """One of FAILED_IN, of a trial that failed; empty after a success, which got through all phases."""
        if success:
            for phase in PHASES:
                self.phases.setdefault(phase, self._moment(key_points(self._world.q)))
            return ""
        return FAILED_IN[len(self.phases)]

    def _phase(self) -> int:
        """Index of the last of PHASES that the world is in; -1 for none. Who has reached the object once is there."""
        contacts = self._world.contacts(_TOUCH_N, wanted=lambda a, b: "object" in (a, b))
        bodies = [(contact.b if contact.a == "object" else contact.a, contact.force_n) for contact in contacts]
        on_table = any(body == "table" for body, _ in bodies)
        by_hands = [(body, force_n) for body, force_n in bodies if body.startswith(HAND_PREFIXES)]
        if not is_closed(body for body, _ in by_hands):
            reached = by_hands or PHASES[0] in self.phases or self._distance_m() <= _REACHED_M
            return 0 if reached else -1
        if not on_table and float(self._world.T_world_object[2, 3]) - self._placed_z >= _RISEN_M:
            return 3
        return 2 if sum(force_n for _, force_n in by_hands) >= self._press_n else 1

    def _distance_m(self) -> float:
        """Of the nearest palm or fingertip from the object's surface."""
        points = key_points(self._world.q)
        near = transform_points(inverse(self._world.T_world_object), points[:, _TOUCHING_POINTS].reshape(-1, 3))
        return float(self._surface.compute_distance(near.astype(np.float32), nthreads=1).numpy().min())

    def _moment(self, points: np.ndarray) -> dict[str, float]:
        moment = {"s": round(self._world.time_s - self._start_s, 2)}
        for name, goal in (("off_mm", self._newest), ("off_first_mm", self._first)):
            if goal is not None:
                moment[name] = round(1e3 * goal.distance_m(points, self._world.T_world_object), 1)
        return moment


class _Goal:
    """A predicted grasp that goes with the object."""

    def __init__(self, grasp: PredictedGrasp, T_world_object: np.ndarray) -> None:
        self._points_object = transform_points(inverse(T_world_object), grasp.points_world)
        self._acts = grasp.acts

    def distance_m(self, points: np.ndarray, T_world_object: np.ndarray) -> float:
        """Mean distance of the key points (2, 7, 3) [m, world] of the hands that shall act from where they shall be."""
        apart = np.linalg.norm(transform_points(inverse(T_world_object), points) - self._points_object, axis=-1)
        return float(apart[self._acts].mean())


def is_closed(bodies: Iterable[str]) -> bool:
    """Whether the links of hands that touch the object hold it from more than one side."""
    names = list(bodies)
    parts = [{_part(name) for name in names if name.startswith(f"{side}_hand")} for side in SIDES]
    return all(parts) or any(own & _OPPOSING and len(own) > 1 for own in parts)


def _part(link: str) -> str:
    """Finger of a link of a hand, or palm."""
    return current_robot().finger_of_link.get(link, "palm")


class WithPhases(Protocol):
    """What is counted of a trial."""

    @property
    def success(self) -> bool: ...
    @property
    def size_class(self) -> str: ...
    @property
    def phases(self) -> dict[str, dict[str, float]]: ...
    @property
    def failed_in(self) -> str: ...


def summarise_phases(trials: Sequence[WithPhases], sizes: Iterable[str]) -> dict[str, Any]:
    """How many trials got to each phase, when, and how far from the predicted grasp (medians), of those that lifted and
    of those that failed; what the failed ones did not achieve, in all and by size."""

    def failed_in(chosen: Iterable[WithPhases]) -> dict[str, int]:
        counts = Counter(trial.failed_in for trial in chosen if trial.failed_in)
        return {name: counts[name] for name in FAILED_IN if counts[name]}

    return {
        "phases": {
            phase: {
                name: _medians([trial.phases.get(phase) for trial in trials if trial.success == success])
                for name, success in (("successes", True), ("failures", False))
            }
            for phase in PHASES
        },
        "failed_in": failed_in(trials),
        "failed_in_by_size": {size: failed_in(trial for trial in trials if trial.size_class == size) for size in sizes},
    }


def _medians(moments: Sequence[dict[str, float] | None]) -> dict[str, Any]:
    reached = [moment for moment in moments if moment is not None]
    values = {key: [moment[key] for moment in reached if key in moment] for key in ("s", "off_mm", "off_first_mm")}
    return {
        "trials": len(reached),
        "of": len(moments),
        **{f"median_{key}": round(float(np.median(found)), 2) for key, found in values.items() if found},
    }
