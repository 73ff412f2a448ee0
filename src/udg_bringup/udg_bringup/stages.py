"""Where a tick's time goes: arrival times of one stamp on the topics from image to command."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

STAGES = ("image_to_cloud", "cloud_to_chunk", "chunk_to_command")


@dataclass(kw_only=True)
class _Tick:
    image_s: float = math.nan
    cloud_s: float = math.nan
    chunk_s: float = math.nan
    tick_ms: float = math.nan


@dataclass
class StageClock:
    """Collects, per stamp, when (monotonic clock) images left, cloud and chunk arrived, and the whole tick's time."""

    _ticks: dict[int, _Tick] = field(default_factory=dict)
    _newest_ns: int = -1
    _newest_chunk_ns: int = -1

    def image(self, stamp_ns: int, sent_s: float, previous_tick_ms: float) -> None:
        """Images of `stamp_ns` left at `sent_s`; the tick before took `previous_tick_ms` (NaN = not known)."""
        previous = self._ticks.get(self._newest_ns)
        if previous is not None and math.isnan(previous.tick_ms):
            previous.tick_ms = previous_tick_ms
        self._tick(stamp_ns).image_s = sent_s
        self._newest_ns = stamp_ns

    def cloud(self, stamp_ns: int, arrived_s: float) -> None:
        """The cloud of `stamp_ns` arrived (the first one counts)."""
        tick = self._tick(stamp_ns)
        tick.cloud_s = arrived_s if math.isnan(tick.cloud_s) else tick.cloud_s

    def chunk(self, stamp_ns: int, arrived_s: float) -> None:
        """The chunk of `stamp_ns` arrived (the first one counts)."""
        tick = self._tick(stamp_ns)
        tick.chunk_s = arrived_s if math.isnan(tick.chunk_s) else tick.chunk_s
        self._newest_chunk_ns = max(self._newest_chunk_ns, stamp_ns)

    def command(self, arrived_s: float) -> None:
        """A command arrived that does not say which chunk it follows (real time): the newest chunk's first one."""
        tick = self._ticks.get(self._newest_chunk_ns)
        if tick is not None and math.isnan(tick.tick_ms):
            tick.tick_ms = 1e3 * (arrived_s - tick.image_s)

    @property
    def count(self) -> int:
        """Number of complete ticks."""
        return len(self._complete())

    def _tick(self, stamp_ns: int) -> _Tick:
        return self._ticks.setdefault(stamp_ns, _Tick())

    def tick_ms(self) -> np.ndarray:
        """Whole ticks (N,) [ms], images out -> command in."""
        return np.array([tick.tick_ms for tick in self._complete()])

    def by_stage_ms(self) -> dict[str, np.ndarray]:
        """Each stage's times (N,) [ms]; stages of one tick are not negative and add up to the tick.

        A message can reach the observer after it has reached the next node: no stage ends after the one that follows.
        """
        ticks = self._complete()
        whole = np.array([tick.tick_ms for tick in ticks])
        chunk_at = np.minimum(np.array([1e3 * (tick.chunk_s - tick.image_s) for tick in ticks]), whole)
        cloud_at = np.minimum(np.array([1e3 * (tick.cloud_s - tick.image_s) for tick in ticks]), chunk_at)
        return dict(zip(STAGES, (cloud_at, chunk_at - cloud_at, whole - chunk_at), strict=True))

    def _complete(self) -> list[_Tick]:
        return [
            tick
            for tick in self._ticks.values()
            if not any(map(math.isnan, (tick.image_s, tick.cloud_s, tick.chunk_s, tick.tick_ms)))
        ]

    def waiting_for(self) -> str:
        """Say which topic is silent for the newest stamp."""
        tick = self._ticks.get(self._newest_ns)
        if tick is None:
            return "nothing came on /sim/trial_status"
        at = f"for the state of {self._newest_ns * 1e-9:.2f} s"
        if math.isnan(tick.cloud_s):
            return f"nothing came on /scene_cloud {at} (perception)"
        if math.isnan(tick.chunk_s):
            return f"nothing came on /action_chunk {at} (policy)"
        return f"the simulation waits for /sim/joint_command {at} (control)"
