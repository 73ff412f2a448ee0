"""What a depth camera gives, live or from a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np

from udg_description.camera import CameraModel
from udg_description.settings import setting
from udg_perception.errors import PerceptionConfigError

WiredSync = Literal["standalone", "master", "subordinate"]


class DepthFrame(NamedTuple):
    """A depth image (H, W) uint16 [mm], 0 = nothing seen, and when it was taken [ns], time.monotonic_ns()."""

    depth_mm: np.ndarray
    stamp_ns: int
    infrared: np.ndarray | None = None  # (H, W) uint16, of the same moment


class DepthSource(Protocol):
    """A camera that is open. Used from one thread."""

    serial_number: str
    camera: CameraModel  # its intrinsics; the pose is not known here

    def read(self, timeout_s: float) -> DepthFrame | None:
        """Wait for the next image; None after the timeout, and at the end of a recording. Raises KinectError."""

    def close(self) -> None:
        """Release the camera."""


@dataclass(frozen=True, kw_only=True)
class KinectConfig:
    """One camera: which one it is, and how it works."""

    model: Literal["azure_kinect", "femto_bolt"] = setting(
        "azure_kinect", "femto_bolt: Orbbec's successor with the same sensor, over pyorbbecsdk2"
    )
    serial_number: str = setting("", "on the camera's base; empty: the first one that is free")
    depth_mode: Literal["NFOV_UNBINNED", "NFOV_2X2BINNED", "WFOV_2X2BINNED"] = setting(
        "NFOV_UNBINNED", "resolution and field of view"
    )
    rate_hz: int = setting(15, "images a second", choices=(5, 15, 30))
    wired_sync: WiredSync = setting("standalone", "standalone, master or subordinate on the sync cable")
    subordinate_delay_us: int = setting(160, "of a subordinate, so that the lasers alternate [us]", 0, 20000)
    master_delay_s: float = setting(3.0, "the master starts so much later: subordinates go first [s]", 0.0, 60.0)
    exposure_us: int = setting(0, "master: colour exposure [us]; steady ones keep the rate; 0: auto", 0, 130000)
    latency_s: float = setting(0.0, "from exposure to arrival of the fastest image [s]", 0.0, 0.5)
    infrared: bool = setting(False, "infrared images as well, which calibration by a board needs")
    playback: str = setting("", "a recording (.mkv) in place of the camera; empty: live")
    loop: bool = setting(True, "play the recording again and again")
    record: str = setting("", "write what the camera sees to this file (.mkv); empty: no")

    def __post_init__(self) -> None:
        """Check what can't be. Raises PerceptionConfigError."""
        if self.rate_hz not in (5, 15, 30):
            raise PerceptionConfigError(f"KinectConfig: rate_hz is {self.rate_hz}; valid: 5, 15, 30")
        if self.wired_sync not in ("standalone", "master", "subordinate"):
            raise PerceptionConfigError(
                f"KinectConfig: wired_sync is '{self.wired_sync}'; valid: standalone, master, subordinate"
            )
        if self.playback and self.record:
            raise PerceptionConfigError("KinectConfig: both playback and record; valid: at most one of them")
