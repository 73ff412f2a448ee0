"""What a policy is: `reset` at the start of a trial, then `act` on each observation. Anything with both can enter."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from udg_description.errors import UdgError
from udg_description.layout import N_JOINTS

if TYPE_CHECKING:
    from udg_policy.episodes.grasp import PredictedGrasp
    from udg_sim.objects.library import ObjectModel

RAISED, INVALID, HUNG, DIED = "policy_raised", "policy_invalid", "policy_hung", "policy_died"
"""Why a trial is lost that the policy itself ended: it raised; it returned what is no joint targets; it took longer
than the limit; it took its process with it."""
NOT_RUN = "not_run"
"""Cause of a trial that could not be set up: no policy's fault, in no table, tried again by the next run."""
MAX_STEPS = 1000  # of a chunk
_CAUSE = re.compile("[a-z][a-z0-9_]{0,39}")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """A trial before its first step. Policies that only look at observations need none of it."""

    target: ObjectModel  # the object: mesh, mass; for policies that know it
    T_world_object: np.ndarray  # (4, 4), at rest
    q: np.ndarray  # (36,) [rad], where the robot stands
    seed: int  # of the trial: for policies that draw


class Observation:
    """What is known at a moment. The cloud is made when it is first looked at."""

    def __init__(self, look: Callable[[], np.ndarray], q: np.ndarray, time_s: float) -> None:
        self._look = look
        self.q = q
        """(36,) measured joint angles [rad]."""
        self.time_s = time_s
        """Since the start of the trial."""

    @cached_property
    def points(self) -> np.ndarray:
        """Scene cloud (M, 4) float32: x, y, z [m, world] and label: 0 seen by the cameras, 1 left robot, 2 right."""
        return self._look()


class TellsMore:
    """What our own policies tell beside their actions: subclasses have it, others nothing that is looked at."""

    predicted_grasp: PredictedGrasp | None = None
    """Of the chunk that the last `act` planned; None if it planned none."""

    @property
    def retries(self) -> int:
        """How often this trial has begun anew."""
        return 0


class Policy(Protocol):
    """A policy. The same start and observations must give the same actions, whatever came before `reset`."""

    def reset(self, start: Start) -> None:
        """Forget the last trial."""
        ...

    def act(self, observation: Observation) -> np.ndarray:
        """Joint targets (36,) or (K, 36) [rad]: the first due in 0.1 s, the next one 0.1 s later.

        It is asked every 0.1 s, and each answer replaces the one before: of a chunk the first target is reached.
        """
        ...


class PolicyFault(UdgError):
    """A trial that the policy itself ends: it is lost, and counted by `cause`. A policy may raise it.

    cause: a word of small letters, digits and underlines.
    """

    def __init__(self, cause: str, message: str = "") -> None:
        super().__init__(message or cause)
        self.cause = cause


def reset(policy: Policy, start: Start) -> None:
    """Reset a policy. Raises PolicyFault."""
    _guarded(lambda: policy.reset(start))


def act(policy: Policy, observation: Observation) -> np.ndarray:
    """Targets (K, 36) float64 of a policy. Raises PolicyFault for what it raises, and for what is no joint targets."""
    return checked(_guarded(lambda: policy.act(observation)))


def checked(action: object) -> np.ndarray:
    """Joint targets as (K, 36) float64. Raises PolicyFault."""
    try:
        given = np.asarray(action)
        if given.dtype.kind not in "fiu":
            raise TypeError(f"of {given.dtype}")
        targets = given.astype(np.float64)
    except Exception as error:  # whatever the object does when it is to become an array
        raise PolicyFault(INVALID, f"act returned {type(action).__name__}, no numbers: {error}") from error
    if targets.shape == (N_JOINTS,):
        targets = targets[None]
    if targets.ndim != 2 or targets.shape[1] != N_JOINTS or not 1 <= len(targets) <= MAX_STEPS:
        raise PolicyFault(
            INVALID, f"act returned shape {targets.shape}; valid: ({N_JOINTS},) or (K, {N_JOINTS}), K up to {MAX_STEPS}"
        )
    if not np.isfinite(targets).all():
        raise PolicyFault(INVALID, f"act returned {np.count_nonzero(~np.isfinite(targets))} values that are not finite")
    return targets


def _guarded(call: Callable[[], _T]) -> _T:
    """What the policy's own code returns. Raises PolicyFault in place of what it raises."""
    try:
        return call()
    except PolicyFault as fault:
        if fault.cause == NOT_RUN or not _CAUSE.fullmatch(str(fault.cause)):
            raise PolicyFault(RAISED, f"PolicyFault of cause {fault.cause!r}; valid: a word, not {NOT_RUN}") from fault
        raise
    except (Exception, SystemExit) as error:
        raise PolicyFault(RAISED, " ".join(f"{type(error).__name__}: {error}".split())) from error
