"""Closed-loop trials of a policy without ROS: for measuring during development and training.

The reference is the ROS graph (udg_bringup.sim_trials); this loop has the same world, cameras, cloud, engine, chunk
player, follower and safety filter, but no messages.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from udg_control.follower import FollowerConfig
from udg_control.margins import margin_keeper
from udg_control.safety import SafetyConfig
from udg_datagen.clusters import share
from udg_datagen.demonstrations.attempt import task_rng
from udg_datagen.demonstrations.execution import CommandDrive
from udg_datagen.evaluation.blind import BLIND, blind_modes
from udg_datagen.evaluation.cell import Cell
from udg_datagen.evaluation.engine_policy import EnginePolicy
from udg_datagen.evaluation.phases import PhaseWatch, summarise_phases
from udg_datagen.evaluation.planner_policy import PlannerPolicy
from udg_datagen.evaluation.policy import Observation, Policy, PolicyFault, Start, TellsMore, act, reset
from udg_datagen.evaluation.rules import Rules
from udg_datagen.evaluation.trial_cause import TrialWatch
from udg_datagen.intervals import wilson_interval
from udg_datagen.workers import LocalPool, Pool, outcomes
from udg_description.errors import UdgError, cli
from udg_description.files import user_path, write_atomically
from udg_description.layout import HOME_Q
from udg_description.limits import joint_limits
from udg_description.settings import add_config, configured, seed_number
from udg_policy.inference.engine import PolicyEngine
from udg_policy.inference.player import PlayerConfig
from udg_policy.inference.retry import RetryConfig
from udg_sim.objects.library import SIZES, ObjectLibrary, ObjectModel
from udg_sim.objects.selection import HELP, select
from udg_sim.trials.trial import LiftTracker, place_in, sample_placement

_FALLEN_M = -0.3  # [m, world] centre of an object that has fallen off the table: no hand gets below it
_ROUNDING_S = 1e-6
HEIGHTS_M = (0.03, 0.07, 0.15)
"""Between the heights at rest by which successes are counted."""

INTERRUPTED = "interrupted"
"""Last line of trials that an interrupt has ended."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One closed-loop trial: the object rose by ``raised_m`` at most and by ``final_m`` at the end.

    ``cause``: why it failed (trial_cause.Cause), empty after a success; ``touched``: whether a hand ever touched it.
    """

    object: str
    size_class: str
    seed: int
    success: bool
    raised_m: float
    final_m: float
    steps: int
    position_xy: tuple[float, float]
    top_m: float = 0.0  # of the object at rest, above the table
    cause: str = ""
    touched: bool = True
    refused: int = 0  # commands that the safety filter held back
    retries: int = 0  # how often the policy led its hands back and began anew
    phases: dict[str, dict[str, float]] = field(default_factory=dict)  # of phases.PHASES, those that it got to
    failed_in: str = ""  # one of phases.FAILED_IN; empty after a success
    grasp: dict[str, Any] | None = None  # predicted at the start, and how often it changed until the hands closed


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How trials are run. Without whole images the cameras render only what is near the object: faster, the same
    clouds but for about one stray point each (as in most demonstrations); the ROS graph renders all."""

    limit_s: float = 12.0
    whole_images: bool = True
    end_decided: bool = False  # do not continue with a trial that can no longer succeed
    rules: Rules = field(default_factory=Rules)
    follower: FollowerConfig = field(default_factory=FollowerConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    def __post_init__(self) -> None:
        if self.limit_s <= 0:
            raise UdgError(f"limit_s is {self.limit_s}, valid: > 0")


class LostTrial(UdgError):
    """A trial that the policy itself ended: `trial` is the account of it, its cause the fault's."""

    def __init__(self, trial: Trial, fault: PolicyFault) -> None:
        super().__init__(f"{fault.cause}: {fault}")
        self.trial, self.fault = trial, fault


class Rollout:
    """Runs trials of one policy."""

    def __init__(self, policy: Policy, config: RolloutConfig, cell: Cell | None = None) -> None:
        """`cell`: of another rollout, so that several policies share what is costly to build."""
        self._policy, self._config = policy, config
        self._cell = Cell(config.safety) if cell is None else cell

    def run(self, object_id: str, seed: int, blind: str = "") -> Trial:
        """One trial; `blind`: one of blind.BLIND, the policy does not see where the object is. Raises LostTrial."""
        config, world, target = self._config, self._cell.world, self._cell.library.get(object_id)
        rules, rng = config.rules, task_rng(object_id, seed)
        place_in(
            world,
            target,
            lambda: sample_placement(target, rng),
            q=HOME_Q,
            mass_kg=rules.mass_kg(target),
            friction=rules.friction,
            damping=rules.damping,
        )
        self._cell.rig.reset(seed)
        placed = world.T_world_object
        lift, watch = LiftTracker(rules.lift), TrialWatch(world)
        phases = PhaseWatch(world, target.mesh, rules.mass_kg(target))
        lift.update(world.time_s, float(placed[2, 3]))
        gate = self._cell.gate
        keeper = margin_keeper(gate.filter.check, joint_limits(), config.follower)
        drive = CommandDrive(world, HOME_Q, config.follower, gate, keeper)
        start_s, steps, refused, fault = world.time_s, 0, 0, None
        step_s = config.follower.step_ns * 1e-9
        try:
            reset(self._policy, Start(target=target, T_world_object=placed.copy(), q=HOME_Q.copy(), seed=seed))
            while steps * step_s < config.limit_s and not lift.success:
                look = partial(self._look, target, blind, seed)
                targets = act(self._policy, Observation(look, world.q, steps * step_s))
                if isinstance(self._policy, TellsMore):
                    phases.plan(self._policy.predicted_grasp)
                refused += drive.play(targets)
                steps += 1
                watch.look()
                phases.look()
                lift.update(world.time_s, float(world.T_world_object[2, 3]))
                if config.end_decided and self._is_decided(lift, start_s, step_s):
                    break
        except PolicyFault as error:
            fault = error
        failed_in = phases.conclude(lift.success)
        trial = Trial(
            object=object_id,
            size_class=target.size_class,
            seed=seed,
            success=lift.success,
            raised_m=round(watch.raised_m, 3),
            final_m=round(watch.height_m, 3),
            steps=steps,
            position_xy=(round(float(placed[0, 3]), 3), round(float(placed[1, 3]), 3)),
            top_m=round(float((target.mesh.vertices @ placed[2, :3]).max() + placed[2, 3]), 3),
            cause=fault.cause if fault else "" if lift.success else watch.cause(),
            touched=watch.touched,
            refused=refused,
            retries=self._policy.retries if isinstance(self._policy, TellsMore) else 0,
            phases=phases.phases,
            failed_in=failed_in,
            grasp=phases.grasp,
        )
        if fault is not None:
            raise LostTrial(trial, fault)
        return trial

    def _is_decided(self, lift: LiftTracker, start_s: float, step_s: float) -> bool:
        """Whether the trial fails whatever happens: the object has fallen off the table, or time is too short."""
        world = self._cell.world
        if float(world.T_world_object[2, 3]) < _FALLEN_M:
            return True
        return not lift.success and lift.soonest_s(world.time_s + step_s) > start_s + self._config.limit_s + _ROUNDING_S

    def _look(self, target: ObjectModel, blind: str, seed: int) -> np.ndarray:
        """What the policy sees now: the cloud that the cameras give, or what is left of it."""
        points = self._cell.cloud(target, whole_images=self._config.whole_images)
        return BLIND[blind](points, seed) if blind else points


class TrialWorker:
    """Runs trials in a worker."""

    def __init__(
        self,
        checkpoint: Path | None,
        config: RolloutConfig,
        blind: str = "",
        player: PlayerConfig | None = None,
        retry: RetryConfig | None = None,
    ) -> None:
        """`checkpoint`: None for the planner."""
        torch.set_num_threads(1)
        policy: Policy
        if checkpoint is None:
            policy = PlannerPolicy()
        else:
            policy = EnginePolicy(PolicyEngine.load(checkpoint), player, retry)
        self._rollout, self._blind = Rollout(policy, config), blind

    def __call__(self, task: tuple[str, int]) -> Trial:
        try:
            return self._rollout.run(*task, blind=self._blind)
        except LostTrial as lost:  # such as without a plan: a failure like any other
            return lost.trial


def run_trials(tasks: Sequence[tuple[str, int]], pool: Pool, progress: bool = True) -> tuple[list[Trial], list[str]]:
    """Trials of (object, seed) in the order of the tasks, and a line for each that could not be run.

    An interrupt ends them: what has been run is returned, and the last line is INTERRUPTED.
    """
    trials: dict[int, Trial] = {}
    lines: list[str] = []
    try:
        with tqdm(total=len(tasks), unit="trial", disable=not progress) as bar:
            for key, outcome in outcomes(pool, enumerate(tasks)):
                index = int(str(key))
                if outcome.failure:
                    lines.append(f"{tasks[index]}: {outcome.failure}: {outcome.message}")
                else:
                    trials[index] = outcome.value
                bar.update()
    except KeyboardInterrupt:
        lines.append(INTERRUPTED)
    return [trials[index] for index in sorted(trials)], lines


def summarise_trials(trials: Sequence[Trial], trained_on: Iterable[str] = ()) -> dict[str, Any]:
    """Successes in all, by size, by height at rest, by whether the policy was trained on the object, by object.

    Rates have 95 % intervals that take the trials of one object as a cluster. Failures are counted by their cause and
    by the phase that they did not get to, also for each size.
    """
    known = set(trained_on)

    def causes(chosen: Sequence[Trial]) -> dict[str, int]:
        return dict(Counter(trial.cause for trial in chosen if not trial.success).most_common())

    by_object: dict[str, list[bool]] = {}
    for trial in trials:
        by_object.setdefault(trial.object, []).append(trial.success)
    return {
        **_rate(trials),
        "by_size": {size: _rate([trial for trial in trials if trial.size_class == size]) for size in SIZES},
        "by_height": {
            name: _rate([trial for trial in trials if low <= trial.top_m < high])
            for name, low, high in _height_ranges()
        },
        "trained_on": _rate([trial for trial in trials if trial.object in known]),
        "never_seen": _rate([trial for trial in trials if trial.object not in known]),
        "causes": causes(trials),
        "retried": _rate([trial for trial in trials if trial.retries > 0]),
        "trials_with_refusals": sum(trial.refused > 0 for trial in trials),
        "causes_by_size": {size: causes([trial for trial in trials if trial.size_class == size]) for size in SIZES},
        **summarise_phases(trials, SIZES),
        "by_object": {name: f"{sum(taken)}/{len(taken)}" for name, taken in sorted(by_object.items())},
    }


def _rate(trials: Sequence[Trial]) -> dict[str, Any]:
    """Successes and their share; of one object the interval is that of its placements."""
    successes = sum(trial.success for trial in trials)
    low, high = wilson_interval(successes, len(trials))
    if len({trial.object for trial in trials}) > 1:
        of_objects = share([(trial.object, trial.success) for trial in trials])
        low, high = of_objects.lower, of_objects.upper
    return {
        "trials": len(trials),
        "successes": successes,
        "success_rate": round(successes / len(trials), 4) if trials else None,
        "interval_95": [round(low, 3), round(high, 3)],
    }


def _height_ranges() -> list[tuple[str, float, float]]:
    """Name, lower and upper end [m] of each range of heights."""
    edges = (0.0, *HEIGHTS_M, np.inf)
    names = [f"under {100 * HEIGHTS_M[0]:g} cm"]
    names += [f"{100 * low:g} to {100 * high:g} cm" for low, high in zip(HEIGHTS_M, HEIGHTS_M[1:], strict=False)]
    names.append(f"{100 * HEIGHTS_M[-1]:g} cm and more")
    return list(zip(names, edges, edges[1:], strict=False))


def summarise_blind(trials: Sequence[Trial]) -> dict[str, Any]:
    """Successes of trials in which the policy does not see where the object is."""
    return _rate(trials)


def run(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Closed-loop success of a checkpoint in simulation, without ROS.")
    parser.add_argument("--checkpoint", type=user_path, help="folder; needed unless the planner acts")
    parser.add_argument(
        "--policy",
        choices=("checkpoint", "planner"),
        default="checkpoint",
        help="planner: the demonstration generator, which knows the mesh",
    )
    parser.add_argument("--objects", default="", help=f"{HELP}; default: the objects it was trained on")
    parser.add_argument("--trials", type=int, default=20, help="total trials, spread over the objects (default: 20)")
    parser.add_argument(
        "--seed", type=seed_number, default=100_000, help="first seed (default: 100000, outside training)"
    )
    parser.add_argument(
        "--into-margins",
        action="store_true",
        help="do not slide chunks along the safety filter's margins",
    )
    parser.add_argument("--replan-every", type=int, default=1, help="ticks between two inferences (default: 1)")
    parser.add_argument("--blend", type=float, default=0.0, help="weight of a chunk relative to the next newer one")
    parser.add_argument(
        "--retry-after",
        type=float,
        default=RetryConfig().after_s,
        help="begin anew if the object hasn't risen so long after the hands reached it, or was lost [s]; 0: never "
        f"(default: {RetryConfig().after_s:g})",
    )
    parser.add_argument(
        "--near-images", action="store_true", help="render only what is near the object: about twice as fast"
    )
    parser.add_argument(
        "--out",
        type=user_path,
        default=None,
        help="file of one JSON line a trial; udg_datagen.evaluation.paired compares two of them",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    add_config(parser, RolloutConfig(), "{limit_s: 15.0, safety: {velocity_scale: 0.3}}")
    parser.add_argument(
        "--blind",
        default="",
        help="repeat the trials with an empty cloud, or the object's points moved by "
        f"10 cm ({', '.join(BLIND)}, or both with a comma): success must fall, or the policy does not look",
    )
    options = parser.parse_args(arguments)
    if options.trials < 1 or options.workers < 1:
        raise UdgError(f"--trials {options.trials} and --workers {options.workers} must be at least 1")
    modes = blind_modes(options.blind)
    checkpoint = options.checkpoint if options.policy == "checkpoint" else None
    if checkpoint is None and options.policy == "checkpoint":
        raise UdgError("--checkpoint is needed, or --policy planner")
    known = [] if checkpoint is None else list(PolicyEngine.load(checkpoint).train_objects)
    objects = select(options.objects, ObjectLibrary()) if options.objects else known
    if not objects:
        raise UdgError("there are no objects that it was trained on; name some with --objects")
    player = PlayerConfig(replan_every=options.replan_every, blend=options.blend)
    retry = RetryConfig(after_s=options.retry_after)
    config = configured(options.config, RolloutConfig(), "trials")
    if options.near_images:
        config = replace(config, whole_images=False)
    if options.into_margins:
        config = replace(config, follower=replace(config.follower, keep_margins=False))
    tasks = [(objects[k % len(objects)], options.seed + k // len(objects)) for k in range(options.trials)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as with Ctrl-C
    os.environ["OMP_NUM_THREADS"] = "1"  # one core a worker; inherited
    summary: dict[str, Any] = {}
    lines: list[str] = []
    for blind in ("", *modes):
        worker = partial(TrialWorker, checkpoint, config, blind, player, retry)
        with LocalPool(options.workers, worker, timeout_s=900.0) as pool:
            trials, lines = run_trials(tasks, pool)
        if options.out is not None:
            out = options.out.with_name(f"{options.out.stem}.{blind}{options.out.suffix}") if blind else options.out
            write_atomically(out, "".join(json.dumps(asdict(trial)) + "\n" for trial in trials).encode())
        for trial in trials:
            print(f"{blind} {trial}" if blind else trial)
        for line in lines:
            print(line, file=sys.stderr)
        not_run = len(tasks) - len(trials)
        if not blind:
            summary = {**summarise_trials(trials, known), "not_run": not_run}
        else:
            summary.setdefault("blind", {})[blind] = {**summarise_blind(trials), "not_run": not_run}
        if INTERRUPTED in lines:
            break
    print(json.dumps(summary))
    if INTERRUPTED in lines:
        raise KeyboardInterrupt


def main() -> None:
    cli(run)


if __name__ == "__main__":
    main()
