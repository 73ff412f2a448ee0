"""Makes observations from a stream of joint angles and images: one whenever the robot rests in a new pose."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from udg_description.clock import NS_PER_S
from udg_description.layout import ARM_PLACES
from udg_perception.calibration.observations import Observation


@dataclass(frozen=True, kw_only=True)
class CollectorConfig:
    """When the robot rests, and what a new pose is."""

    rest_s: float = 0.7  # it has to rest this long before an image counts [s]
    rest_rad: float = 0.002  # joints that move by less than this rest
    new_rad: float = 0.1  # an arm's joint differs by this from all poses before
    images: int = 8  # of each camera, of which the median is taken


class PoseCollector:
    """Give it all joint angles and images as they come; stamps [ns] of one clock."""

    def __init__(self, sides: Sequence[str], config: CollectorConfig | None = None, *, infrared: bool = False) -> None:
        self.config = config or CollectorConfig()
        kinds = ("depth", "infrared") if infrared else ("depth",)
        self._wanted = [(side, kind) for side in sides for kind in kinds]
        self._joints: deque[tuple[int, np.ndarray]] = deque()
        self._images: dict[tuple[str, str], list[np.ndarray]] = {key: [] for key in self._wanted}
        self._done: list[np.ndarray] = []

    def add_joints(self, stamp_ns: int, q: np.ndarray) -> None:
        """Joint angles (36,) [rad]."""
        if self._joints and np.abs(q - self._joints[0][1]).max() > self.config.rest_rad:
            self._joints.clear()  # it moves: start over
            self._forget()
        self._joints.append((stamp_ns, q))
        while len(self._joints) > 2000:
            del self._joints[1]

    def add_image(self, side: str, kind: str, stamp_ns: int, image: np.ndarray) -> Observation | None:
        """An image ("depth" or "infrared"); returns the observation that is complete with it."""
        if (side, kind) not in self._images or not self._rests_at(stamp_ns) or not self.is_new:
            return None
        images = self._images[side, kind]
        if len(images) < self.config.images:
            images.append(image)
        if any(len(images) < self.config.images for images in self._images.values()):
            return None
        q = np.mean([q for _, q in self._joints], axis=0)
        medians = {key: _median(images) for key, images in self._images.items()}
        self._done.append(q)
        self._forget()
        by_kind = {
            kind: {side: medians[side, kind] for side, k in self._wanted if k == kind} for _, kind in self._wanted
        }
        return Observation(q=q, depth_mm=by_kind["depth"], infrared=by_kind.get("infrared", {}))

    @property
    def is_new(self) -> bool:
        """Whether the robot is in a pose that is not taken yet."""
        if not self._joints:
            return False
        q = self._joints[0][1]
        return all(np.abs(q - other)[ARM_PLACES].max() > self.config.new_rad for other in self._done)

    def _rests_at(self, stamp_ns: int) -> bool:
        """Whether the robot has rested before the image, and still did when it was taken."""
        if not self._joints:
            return False
        rested_ns = stamp_ns - self._joints[0][0]
        return rested_ns > self.config.rest_s * NS_PER_S and self._joints[-1][0] > stamp_ns - NS_PER_S // 4

    def _forget(self) -> None:
        for images in self._images.values():
            images.clear()


def _median(images: Sequence[np.ndarray]) -> np.ndarray:
    """Median (H, W) of the values that are not 0; 0 where fewer than half are."""
    stack = np.sort(np.stack(images), axis=0)
    valid = (stack > 0).sum(axis=0)
    place = len(images) - valid + (valid - 1) // 2
    median = np.take_along_axis(stack, np.clip(place, 0, len(images) - 1)[None], axis=0)[0]
    return np.where(2 * valid >= len(images), median, 0).astype(np.uint16)
