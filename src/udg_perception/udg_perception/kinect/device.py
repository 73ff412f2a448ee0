"""A live Azure Kinect over pyk4a. The vendor's depth engine wants a GPU and a display, even for depth alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from udg_description.clock import NS_PER_S, NS_PER_US
from udg_perception.errors import KinectError
from udg_perception.kinect.intrinsics import intrinsics_of
from udg_perception.kinect.library import load_pyk4a
from udg_perception.kinect.source import DepthFrame, KinectConfig

_OPEN_S = 5.0  # longest search: another process may hold the camera while it looks for its own
_RETRY_S = 0.2
_DRIFT_NS_PER_S = 100_000  # of a camera's clock against the host's: 100 parts in a million


class DeviceClock:
    """Translates the camera's clock to the host's, by the images that came fastest."""

    def __init__(self, latency_ns: int = 0) -> None:
        """`latency_ns`: how long the fastest image takes to arrive."""
        self._latency_ns = latency_ns
        self._offset_ns: int | None = None
        self._seen_ns = 0

    def to_host_ns(self, device_us: int, arrived_ns: int) -> int:
        """When an image of the camera's time device_us [us] that arrived at arrived_ns [ns, monotonic] was taken."""
        offset_ns = arrived_ns - NS_PER_US * device_us
        if self._offset_ns is not None:
            drift_ns = (arrived_ns - self._seen_ns) * _DRIFT_NS_PER_S // NS_PER_S
            offset_ns = min(offset_ns, self._offset_ns + max(drift_ns, 0))
        self._offset_ns, self._seen_ns = offset_ns, arrived_ns
        return NS_PER_US * device_us + offset_ns - self._latency_ns


class KinectDevice:
    """A camera that is found by its serial number and runs. See `DepthSource`."""

    def __init__(
        self,
        config: KinectConfig,
        name: str,
        *,
        pyk4a: Any = None,  # noqa: ANN401 (a module without types; for tests)
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Find the camera, start it, read its intrinsics. Raises KinectError."""
        self._pyk4a = load_pyk4a() if pyk4a is None else pyk4a
        self._config, self._name, self._sleep = config, name, sleep
        self._clock = DeviceClock(round(config.latency_s * NS_PER_S))
        self._record: Any = None
        self._device = self._find()
        self.serial_number = self._device.serial
        try:
            self.camera = intrinsics_of(self._device.calibration_raw, config.depth_mode, name)
            if config.wired_sync == "master":
                sleep(config.master_delay_s)
            self._device.start()
            if config.wired_sync == "master" and config.exposure_us:
                self._device.exposure = config.exposure_us
            if config.record:
                self._start_recording(Path(config.record))
        except self._pyk4a.K4AException as error:
            self.close()
            raise KinectError(
                f"{name}: camera {self.serial_number} does not start; the depth engine needs a GPU and a display "
                "(DISPLAY), the camera its own USB 3 controller and usbfs_memory_mb 256 (docs/kinect.md)"
            ) from error
        except Exception:  # else it would be in use for ever
            self.close()
            raise

    def _find(self) -> Any:  # noqa: ANN401
        """Open the camera with the serial number that is wanted."""
        wanted = self._config.serial_number
        deadline_s = time.monotonic() + _OPEN_S
        while True:
            found = []
            for index in range(self._pyk4a.connected_device_count()):
                device = self._pyk4a.PyK4A(self._pyk4a_config(), device_id=index)
                try:
                    device.open()
                except self._pyk4a.K4AException:
                    found.append("one in use by another process")
                    continue
                if wanted in ("", device.serial):
                    return device
                found.append(device.serial)
                device.close()
            if "one in use by another process" not in found or time.monotonic() > deadline_s:
                break
            self._sleep(_RETRY_S)
        there = ", ".join(found) or "none; are cable and power supply plugged in, are the udev rules installed?"
        raise KinectError(f"{self._name}: no Azure Kinect {wanted or 'that is free'}; connected: {there}")

    def _pyk4a_config(self) -> Any:  # noqa: ANN401
        pyk4a, config = self._pyk4a, self._config
        master = config.wired_sync == "master"  # its colour camera gives the pulses
        return pyk4a.Config(
            color_resolution=pyk4a.ColorResolution.RES_720P if master else pyk4a.ColorResolution.OFF,
            depth_mode=pyk4a.DepthMode[config.depth_mode],
            camera_fps={5: pyk4a.FPS.FPS_5, 15: pyk4a.FPS.FPS_15, 30: pyk4a.FPS.FPS_30}[config.rate_hz],
            synchronized_images_only=False,
            wired_sync_mode=pyk4a.WiredSyncMode[config.wired_sync.upper()],
            subordinate_delay_off_master_usec=config.subordinate_delay_us if config.wired_sync == "subordinate" else 0,
        )

    def _start_recording(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".part")
        self._record = self._pyk4a.PyK4ARecord(temporary, self._pyk4a_config(), self._device)
        self._record.create()

    def read(self, timeout_s: float) -> DepthFrame | None:
        """Wait for the next image. Raises KinectError when the camera has gone."""
        try:
            capture = self._device.get_capture(timeout=round(1e3 * timeout_s))
            depth_mm = capture.depth
        except self._pyk4a.K4ATimeoutException:
            return None
        except self._pyk4a.K4AException as error:
            raise KinectError(f"{self._name}: camera {self.serial_number} has gone; is it plugged in?") from error
        if depth_mm is None:
            return None  # a capture of the colour camera alone
        if self._record is not None:
            self._record.write_capture(capture)
        arrived_ns = capture.depth_system_timestamp_nsec or time.monotonic_ns()
        stamp_ns = self._clock.to_host_ns(capture.depth_timestamp_usec, arrived_ns)
        infrared = np.array(capture.ir) if self._config.infrared and capture.ir is not None else None
        return DepthFrame(np.array(depth_mm), stamp_ns, infrared)

    def close(self) -> None:
        """Stop the camera, finish the recording."""
        if self._record is not None:
            self._record.flush()
            self._record.close()
            self._record = None
            path = Path(self._config.record)
            path.with_name(path.name + ".part").replace(path)
        if self._device.opened:
            if getattr(self._device, "is_running", False):
                self._device.stop()
            else:
                self._device.close()
