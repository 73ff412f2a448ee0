"""A recording as a camera: its images at the pace at which they were taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from udg_description.clock import NS_PER_S, NS_PER_US
from udg_perception.errors import KinectError
from udg_perception.kinect.intrinsics import intrinsics_of
from udg_perception.kinect.library import load_pyk4a
from udg_perception.kinect.source import DepthFrame

LATE_S = 0.5


class KinectPlayback:
    """Plays a recording (.mkv) with pyk4a; needs neither camera nor GPU. See `DepthSource`."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        loop: bool = True,
        infrared: bool = False,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open. Raises KinectError naming the file."""
        self._pyk4a = load_pyk4a()
        self._path, self._loop, self._infrared = path, loop, infrared
        self._clock_ns, self._sleep = clock_ns, sleep
        if not path.is_file():
            raise KinectError(f"{name}: there is no recording {path}")
        self._playback = self._pyk4a.PyK4APlayback(path)
        try:
            self._playback.open()
            configuration = self._playback.configuration
            if not configuration["depth_track_enabled"]:
                raise KinectError(f"{name}: the recording {path} has no depth")
            self.camera = intrinsics_of(self._playback.calibration_raw, configuration["depth_mode"].name, name)
        except self._pyk4a.K4AException as error:
            raise KinectError(f"{name}: {path} is no recording with a calibration: {error}") from error
        rate = {0: 5, 1: 15, 2: 30}[int(configuration["camera_fps"])]
        self._period_us = round(1e6 / rate)
        self.serial_number = f"recording {path.name}"
        self._start_ns = self._next_beat_ns()
        self._offset_us = 0  # device time at which this round began
        self._first_us: int | None = None
        self._last_us = 0
        self._waiting: DepthFrame | None = None

    def read(self, timeout_s: float) -> DepthFrame | None:
        """The next image when its time has come; None after the timeout and at the end."""
        if self._waiting is None:
            self._waiting = self._next()
        frame = self._waiting
        if frame is None:
            self._sleep(timeout_s)
            return None
        wait_s = (frame.stamp_ns - self._clock_ns()) / NS_PER_S
        if wait_s < -LATE_S:  # nobody has read for a while: continue from here
            shift_ns = self._next_beat_ns() - frame.stamp_ns
            self._start_ns += shift_ns
            frame = self._waiting = frame._replace(stamp_ns=frame.stamp_ns + shift_ns)
            wait_s = (frame.stamp_ns - self._clock_ns()) / NS_PER_S
        if wait_s > timeout_s:
            self._sleep(timeout_s)
            return None
        if wait_s > 0.0:
            self._sleep(wait_s)
        self._waiting = None
        return frame

    def _next_beat_ns(self) -> int:
        """A near time [ns] at which other recordings of this rate begin, too: two cameras see the same moments."""
        period_ns = self._period_us * NS_PER_US
        return -(-self._clock_ns() // period_ns) * period_ns

    def _next(self) -> DepthFrame | None:
        began_anew = False
        while True:
            try:
                capture = self._playback.get_next_capture()
                depth_mm = capture.depth
            except EOFError:
                if not self._loop or began_anew:
                    return None
                began_anew = True
                self._playback.seek(0)
                self._offset_us += self._last_us + self._period_us
                continue
            except self._pyk4a.K4AException as error:
                raise KinectError(f"{self.camera.name}: the recording {self._path} is damaged") from error
            if depth_mm is None:
                continue  # a capture of another sensor alone
            if self._first_us is None:
                self._first_us = capture.depth_timestamp_usec
            self._last_us = capture.depth_timestamp_usec - self._first_us
            stamp_ns = self._start_ns + NS_PER_US * (self._offset_us + self._last_us)
            infrared = np.array(capture.ir) if self._infrared and capture.ir is not None else None
            return DepthFrame(np.array(depth_mm), stamp_ns, infrared)

    def close(self) -> None:
        """Close the file."""
        self._playback.close()
