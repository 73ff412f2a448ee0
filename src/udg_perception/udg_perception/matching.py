"""Finds the depth images and the joint state that belong to the same moment."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from udg_description.clock import NS_PER_S
from udg_perception.errors import PerceptionConfigError


@dataclass(frozen=True, kw_only=True)
class MatcherConfig:
    """How far apart inputs of one moment may be."""

    image_tolerance_s: float = 0.012  # largest difference between the stamps of two cameras' images [s]
    joint_tolerance_s: float = 0.008  # largest difference between the newest image and the joint state [s]
    period_s: float = 0.095  # shortest time between two matches [s, stamps]; just below the tick of 0.1 s

    def __post_init__(self) -> None:
        for name in ("image_tolerance_s", "joint_tolerance_s", "period_s"):
            value = getattr(self, name)
            if not 0.0 <= value <= 10.0:
                raise PerceptionConfigError(f"frame matcher: {name} = {value}; valid: 0 to 10 s")

    @classmethod
    def exact(cls) -> "MatcherConfig":
        """Equal stamps alone match, and every moment is given out: for a simulation in lockstep."""
        return cls(image_tolerance_s=0.0, joint_tolerance_s=0.0, period_s=0.0)


@dataclass(frozen=True, kw_only=True)
class MatchedFrame:
    """Inputs of one moment.

    Attributes:
        stamp_ns: stamp of the newest image [ns].
        depths: one depth image for each camera, in the order of the cameras.
        q: joint positions [rad].
    """

    stamp_ns: int
    depths: list[NDArray[np.uint16]]
    q: NDArray[np.float64]


class FrameMatcher:
    """Collects images and joint states as they come and gives out each moment once, the newest.

    Args:
        config: tolerances.
        cameras: names of the cameras.
    """

    _IMAGES_KEPT = 4
    _JOINT_STATES_KEPT = 100

    def __init__(self, config: MatcherConfig, cameras: Iterable[str]) -> None:
        self._config = config
        self._images: dict[str, deque[tuple[int, NDArray[np.uint16]]]] = {
            name: deque(maxlen=self._IMAGES_KEPT) for name in cameras
        }
        self._joint_states: deque[tuple[int, NDArray[np.float64]]] = deque(maxlen=self._JOINT_STATES_KEPT)
        self._last_ns: int | None = None

    def add_image(self, camera: str, stamp_ns: int, depth_mm: NDArray[np.uint16]) -> None:
        """Take in an image.

        A stamp before the camera's last one means that time was set back, an equal one that the moment is repeated (by
        a simulation whose neighbour came late): older images are dropped and the moment is given out again.
        """
        images = self._images[camera]
        if images and stamp_ns <= images[-1][0]:
            self._forget_images()
        images.append((stamp_ns, depth_mm))

    def add_joint_state(self, stamp_ns: int, q: NDArray[np.float64]) -> None:
        """Take in a joint state. A stamp before the last one means that time was set back: older states are dropped."""
        if self._joint_states and stamp_ns < self._joint_states[-1][0]:
            self._joint_states.clear()
        self._joint_states.append((stamp_ns, q))

    def take(self) -> MatchedFrame | None:
        """The newest moment that is complete and was not given out yet, or None.

        A moment is complete when each camera has an image within the tolerance of the newest one and a joint state at
        or after it has come, so that the nearest joint state is known.
        """
        for stamp_ns in self._stamps_newest_first():
            depths = [self._image_near(images, stamp_ns) for images in self._images.values()]
            q = self._joint_state_near(stamp_ns)
            if q is not None and all(depth is not None for depth in depths):
                self._last_ns = stamp_ns
                return MatchedFrame(stamp_ns=stamp_ns, depths=[d for d in depths if d is not None], q=q)
        return None

    def lack(self) -> str:
        """Say, for people, why nothing matches now: how far the newest stamps are apart."""
        newest = {name: images[-1][0] for name, images in self._images.items() if images}
        absent = [name for name in self._images if name not in newest]
        if absent or not self._joint_states:
            return f"nothing yet of {', '.join(absent) or 'the joint states'}"
        cameras_s = (max(newest.values()) - min(newest.values())) / NS_PER_S
        joints_s = (self._joint_states[-1][0] - max(newest.values())) / NS_PER_S
        return (
            f"stamps of the newest images are {cameras_s:.3f} s apart (valid: {self._config.image_tolerance_s} s), the "
            f"newest joint state is {abs(joints_s):.3f} s {'after' if joints_s >= 0.0 else 'before'} them"
        )

    def _forget_images(self) -> None:
        for images in self._images.values():
            images.clear()
        self._last_ns = None

    def _stamps_newest_first(self) -> list[int]:
        stamps = {stamp_ns for images in self._images.values() for stamp_ns, _ in images}
        if self._last_ns is not None:
            earliest_ns = self._last_ns + max(1, round(self._config.period_s * NS_PER_S))
            stamps = {stamp_ns for stamp_ns in stamps if stamp_ns >= earliest_ns}
        return sorted(stamps, reverse=True)

    def _image_near(self, images: deque[tuple[int, NDArray[np.uint16]]], stamp_ns: int) -> NDArray[np.uint16] | None:
        """Newest image that is not after the stamp, if within the tolerance."""
        oldest_ns = stamp_ns - round(self._config.image_tolerance_s * NS_PER_S)
        for image_ns, depth_mm in reversed(images):
            if oldest_ns <= image_ns <= stamp_ns:
                return depth_mm
        return None

    def _joint_state_near(self, stamp_ns: int) -> NDArray[np.float64] | None:
        if not self._joint_states or self._joint_states[-1][0] < stamp_ns:
            return None
        nearest_ns, q = min(self._joint_states, key=lambda state: abs(state[0] - stamp_ns))
        return q if abs(nearest_ns - stamp_ns) <= self._config.joint_tolerance_s * NS_PER_S else None
