"""One simulated trial after the other: world, cameras and success rule behind the sim node. Knows no ROS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from udg_description.camera import CameraModel
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q
from udg_description.physics import PHYSICS_HZ
from udg_sim.cameras.depth import DepthRig, KinectNoise
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.physics.world import Contact, World, WorldConfig
from udg_sim.trials.status import TrialStatus
from udg_sim.trials.trial import LiftTracker, place_in, sample_placement

COMMAND_HZ = 100
TICK_COMMANDS = 10  # commands per 0.1 s tick
COMMAND_PERIOD_NS = 10_000_000
FALLEN_BELOW_M = -0.2  # an object lower than this has left the table
TRIAL_SPAN_NS = 100_000_000_000  # a trial begins at the next multiple of this simulated time


class TrialSpecError(UdgError):
    """A trial was asked for that can't be."""


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """Which trial: the object, and the seed and index from which placement and noise follow."""

    object: str  # library id or path.obj@0.1
    seed: int = 0
    trial: int = 0

    def __post_init__(self) -> None:
        """Check the numbers; the object is checked where it is loaded."""
        for name in ("seed", "trial"):
            if getattr(self, name) < 0:
                raise TrialSpecError(f"trial specification: {name} is {getattr(self, name)}; valid: 0 or more")


class View(NamedTuple):
    """What there is to see: joint positions (36,) [rad], the object and its pose (4, 4)."""

    q: np.ndarray
    model: ObjectModel
    T_world_object: np.ndarray


def physics_steps(command: int) -> int:
    """Physics steps between the start and command number `command`: floor(240 t), exactly."""
    return command * round(PHYSICS_HZ) // COMMAND_HZ


class SimSession:
    """The world of the running trial, advanced command by command.

    Simulated time never goes back: each trial begins at the next multiple of 100 s, so that the stamps of a trial
    do not depend on how long the earlier ones took.
    """

    def __init__(
        self,
        *,
        library: ObjectLibrary,
        world: World,
        rig: DepthRig,
        trial_time_s: float,
        place: Callable[[ObjectModel, np.random.Generator], np.ndarray] = sample_placement,
    ) -> None:
        self.cameras: tuple[CameraModel, ...] = rig.cameras
        self._library = library
        self._world = world
        self._rig = rig
        self._trial_time_s = trial_time_s
        self._place = place
        self._start_ns = -TRIAL_SPAN_NS
        self._command = 0
        self.loaded = False  # whether a trial has begun

    @classmethod
    def create(cls, *, cameras: Sequence[CameraModel], noise: bool, trial_time_s: float) -> SimSession:
        """Build the real world and library."""
        rig = DepthRig(cameras, noise=KinectNoise() if noise else None)
        rig.render(HOME_Q)  # the first images take long: libraries are loaded
        return cls(library=ObjectLibrary(), world=World(WorldConfig()), rig=rig, trial_time_s=trial_time_s)

    def load(self, spec: TrialSpec) -> None:
        """Put the robot at home and the trial's object on the table.

        Raises UdgError; then the old trial stays, unless it was no place that was found: then there is none.
        """
        model: ObjectModel = self._library.get(spec.object)
        rng = np.random.default_rng([spec.seed, spec.trial])
        self.loaded = False
        place_in(self._world, model, lambda: self._place(model, rng), q=HOME_Q)
        self._rig.reset(int(rng.integers(2**31)))
        self._world.reset(HOME_Q, model, self._world.T_world_object)  # at time 0
        self._spec = spec
        self._model = model
        self._start_z_m = float(self._world.T_world_object[2, 3])
        self._lift = LiftTracker()
        self._lift.update(0.0, self._start_z_m)
        self._start_ns = (self._start_ns // TRIAL_SPAN_NS + 1 + self._elapsed_spans()) * TRIAL_SPAN_NS
        self._command = 0
        self.loaded = True

    def _elapsed_spans(self) -> int:
        """Whole spans that the running trial has used up already."""
        return self._command * COMMAND_PERIOD_NS // TRIAL_SPAN_NS

    @property
    def stamp_ns(self) -> int:
        """Simulated time of the state, to be stamped on messages."""
        return self._start_ns + self._command * COMMAND_PERIOD_NS

    @property
    def time_s(self) -> float:
        """Simulated time since the trial began."""
        return self._command / COMMAND_HZ

    @property
    def is_tick(self) -> bool:
        """Whether the policy's tick begins now."""
        return self._command % TICK_COMMANDS == 0

    @property
    def success(self) -> bool:
        """Whether the object has been up for long enough."""
        return self._lift.success

    @property
    def done(self) -> bool:
        """Whether the trial is over: success, the object has fallen from the table, or no time is left."""
        out_of_time = self._trial_time_s > 0.0 and self.time_s >= self._trial_time_s
        fallen = float(self._world.T_world_object[2, 3]) < FALLEN_BELOW_M
        return self.success or out_of_time or fallen

    @property
    def running(self) -> bool:
        """Whether a trial has begun and is not over."""
        return self.loaded and not self.done

    @property
    def q(self) -> np.ndarray:
        """Measured joint positions (36,) [rad]."""
        return self._world.q

    @property
    def qd(self) -> np.ndarray:
        """Measured joint velocities (36,) [rad/s]."""
        return self._world.qd

    def view(self) -> View:
        """What the cameras have before them now."""
        return View(q=self._world.q, model=self._model, T_world_object=self._world.T_world_object)

    def depths(self, view: View) -> list[np.ndarray]:
        """Depth images [mm], one (H, W) uint16 per camera. Touches the cameras alone, not the world."""
        return self._rig.render(view.q, [(view.model, view.T_world_object)])

    def advance(self, q_target: np.ndarray | None) -> None:
        """Hold the target (36,) [rad] for one command period; None keeps the last one."""
        if q_target is not None:
            self._world.set_target(q_target)
        steps = physics_steps(self._command + 1) - physics_steps(self._command)
        self._world.step(steps)
        self._command += 1
        self._lift.update(self.time_s, self._world.T_world_object[2, 3])

    def status(self, *, image_sent_s: float, tick_ms: float) -> TrialStatus:
        """State of the trial, to judge it by."""
        T_world_object = self._world.T_world_object
        return TrialStatus(
            object=self._spec.object,
            seed=self._spec.seed,
            trial=self._spec.trial,
            start_s=self._start_ns * 1e-9,
            time_s=self.time_s,
            object_z_m=float(T_world_object[2, 3]),
            raised_m=float(T_world_object[2, 3]) - self._start_z_m,
            success=self.success,
            done=self.done,
            q=self._world.q.tolist(),
            T_world_object=T_world_object.tolist(),
            image_sent_s=image_sent_s,
            tick_ms=tick_ms,
            contacts=[[*map(float, contact.position_world), contact.force_n] for contact in self._hand_contacts()],
        )

    def _hand_contacts(self) -> list[Contact]:
        """Where the robot presses on the object."""
        return self._world.contacts(wanted=lambda a, b: "object" in (a, b) and "table" not in (a, b))
