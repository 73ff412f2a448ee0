"""Whether everything that the robot's motion relies on is present and fresh. Knows no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from udg_description.clock import NS_PER_S
from udg_description.settings import setting


@dataclass(frozen=True, kw_only=True)
class SupervisorConfig:
    """What the supervisor watches, and how patiently."""

    cameras: bool = setting(True, "all cameras and the cloud have to be there")
    camera_names: tuple[str, ...] = setting(("left_camera", "right_camera"), "names of the cameras")
    policy: bool = setting(True, "the policy has to be there")
    period_s: float = setting(0.05, "time between heartbeats [s]", 0.01, 0.5)
    camera_silence_s: float = setting(0.3, "longest pause between images of a camera [s]", 0.05, 5.0)
    camera_delay_s: float = setting(0.25, "an image this long after its stamp is late [s]", 0.01, 5.0)
    state_silence_s: float = setting(0.2, "longest pause between joint states [s]", 0.02, 5.0)
    cloud_silence_s: float = setting(0.5, "longest pause between clouds, and between chunks [s]", 0.1, 5.0)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """An input and how fresh it has to be."""

    name: str
    max_silence_s: float  # between two messages
    max_delay_s: float = float("inf")  # of a message behind its stamp


class Watch:
    """Remembers when each input last came, and names what is silent or late."""

    def __init__(self, inputs: Sequence[Watched]) -> None:
        self._inputs = tuple(inputs)
        self._last: dict[str, tuple[int, float]] = {}

    def note(self, name: str, now_ns: int, delay_s: float = 0.0) -> None:
        """Note that a message came at `now_ns` (monotonic clock), so late behind its stamp."""
        self._last[name] = (now_ns, delay_s)

    def complaints(self, now_ns: int) -> list[str]:
        """Say of each input that is absent, silent or late what is wrong."""
        found = []
        for watched in self._inputs:
            last = self._last.get(watched.name)
            if last is None:
                found.append(f"{watched.name}: nothing yet")
                continue
            silence_s = (now_ns - last[0]) / NS_PER_S
            if silence_s > watched.max_silence_s:
                found.append(f"{watched.name}: silent for {silence_s:.2f} s")
            elif last[1] > watched.max_delay_s:
                found.append(f"{watched.name}: {last[1]:.2f} s late")
            elif last[1] < -watched.max_delay_s:
                found.append(f"{watched.name}: stamped {-last[1]:.2f} s in the future")
        return found
