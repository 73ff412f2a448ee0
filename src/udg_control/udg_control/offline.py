"""The robot's safety filter in front of simulated joints: would it have stopped a demonstration, or a trial?"""

from __future__ import annotations

from collections import Counter

import numpy as np

from udg_control.collision import CollisionCheck
from udg_control.safety import SafetyConfig, SafetyFilter, Verdict
from udg_description.limits import joint_limits


class OfflineFilter:
    """A SafetyFilter that is enabled and continues after each rejection, and counts them by reason.

    Nothing is changed about commands that pass; in place of a rejected one the filter's own braking leaves. A command
    costs little unless something has come near: only then are collisions recomputed.

        gate = OfflineFilter()
        gate.start(world.q)
        for command in commands:  # one each period_s
            world.set_target(gate.judge(command, world.q).command)
            ...
        gate.counts  # {"collision_table": 3}; empty: the robot would have done the same
    """

    def __init__(self, config: SafetyConfig | None = None, period_s: float = 0.01) -> None:
        """`config` is the simulation's by default; `period_s` [s] the time between commands."""
        config = SafetyConfig() if config is None else config
        self._filter = SafetyFilter(config, joint_limits(), period_s)
        self._check = CollisionCheck(config.collision) if config.collision.enabled else None
        self._period_s = period_s
        self.first = ""  # what was said about the first command that was rejected

    @property
    def counts(self) -> dict[str, int]:
        """How many commands were rejected since the start, by reason."""
        return {reason.value: count for reason, count in self._filter.counts.items()}

    @property
    def filter(self) -> SafetyFilter:
        """The filter itself: its velocity and acceleration limits, its last command."""
        return self._filter

    def start(self, q: np.ndarray) -> None:
        """Stand at q (36,) [rad]; nothing is counted yet."""
        self._filter.counts = Counter()
        self._filter.sync(q)
        self._filter.enable()
        self.first = ""

    def keep_margins(self, q: np.ndarray) -> np.ndarray:
        """Whether configurations q (N, 36) [rad] keep the filter's margins, (N,)."""
        if self._check is None:
            return np.ones(len(q), dtype=bool)
        spare = self._check.least_spare_m(self._check.centers_world(q))
        return np.min(list(spare.values()), axis=0) >= 0.0

    def judge(self, command: np.ndarray, q_measured: np.ndarray | None = None) -> Verdict:
        """Judge the command (36,) [rad] of the next period. Without `q_measured` (36,) [rad] the joints never lag."""
        if q_measured is None:
            assert self._filter.command is not None, "start before the first command"
            q_measured = self._filter.command
        verdict = self._filter.judge(command, q_measured, dt_s=self._period_s)
        if verdict.reason is not None and not self.first:
            self.first = f"{verdict.reason.value}: {verdict.detail}"
        return verdict
