"""A live Orbbec Femto Bolt over pyorbbecsdk2. It has the Azure Kinect's depth sensor, with the same modes.

The package wants an older Open3D than this project, so it is installed without its dependencies (docs/cameras.md).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from udg_description.camera import CameraModel
from udg_description.clock import NS_PER_S
from udg_perception.errors import KinectError
from udg_perception.kinect.device import DeviceClock
from udg_perception.kinect.source import DepthFrame, KinectConfig

SDK = "pyorbbecsdk2==2.1.2"
SIZES = {"NFOV_UNBINNED": (640, 576), "NFOV_2X2BINNED": (320, 288), "WFOV_2X2BINNED": (512, 512)}
SYNC_MODES = {"standalone": "STANDALONE", "master": "PRIMARY", "subordinate": "SECONDARY"}
LENSES = ("NONE", "BROWN_CONRADY", "BROWN_CONRADY_K6")
"""Distortion models that are OpenCV's; what the coefficients of the others mean is not the same."""


def load_sdk() -> Any:  # noqa: ANN401 (a module without types)
    """Import pyorbbecsdk; keep it from writing a folder of logs where it is started. Raises KinectError."""
    try:
        sdk = importlib.import_module("pyorbbecsdk")
    except ImportError as error:
        raise KinectError(f"the Femto Bolt needs `pip install --no-deps {SDK}`: {error}") from error
    sdk.Context.set_logger_level(sdk.OBLogLevel.NONE)
    return sdk


class FemtoBolt:
    """A camera that is found by its serial number and runs. See `DepthSource`."""

    def __init__(
        self,
        config: KinectConfig,
        name: str,
        *,
        sdk: Any = None,  # noqa: ANN401 (for tests)
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Find the camera, start it, read its intrinsics. Raises KinectError."""
        if config.record:
            raise KinectError(f"{name}: record is '{config.record}'; valid for a Femto Bolt: empty (record topics)")
        self._sdk = load_sdk() if sdk is None else sdk
        self._config, self._name = config, name
        self._clock = DeviceClock(round(config.latency_s * NS_PER_S))
        self._context = self._sdk.Context()
        device, self.serial_number = self._find()
        try:
            self._set_sync(device)
            if config.wired_sync == "master":
                sleep(config.master_delay_s)
            self._pipeline = self._sdk.Pipeline(device)
            self.camera = self._start()
        except (self._sdk.OBError, RuntimeError) as error:
            raise KinectError(
                f"{name}: camera {self.serial_number} does not start ({error}); is it in use, has it a USB 3 "
                "controller of its own? (docs/cameras.md)"
            ) from error

    def _find(self) -> tuple[Any, str]:
        """The device with the serial number that is wanted, and its number."""
        try:
            devices = self._context.query_devices()
            found = [devices.get_device_serial_number_by_index(index) for index in range(devices.get_count())]
            for index, serial in enumerate(found):
                if self._config.serial_number in ("", serial):
                    return devices.get_device_by_index(index), serial
        except (self._sdk.OBError, RuntimeError) as error:
            raise KinectError(f"{self._name}: the cameras can't be listed ({error}); udev rules?") from error
        there = ", ".join(found) or "none; are cable and power supply plugged in, are the udev rules installed?"
        wanted = self._config.serial_number or "at all"
        raise KinectError(f"{self._name}: no Orbbec camera {wanted}; connected: {there}")

    def _set_sync(self, device: Any) -> None:  # noqa: ANN401
        """Tell it its place on the sync cable; it keeps that, so it is sent each time."""
        sync = device.get_multi_device_sync_config()
        sync.mode = getattr(self._sdk.OBMultiDeviceSyncMode, SYNC_MODES[self._config.wired_sync])
        subordinate = self._config.wired_sync == "subordinate"
        sync.trigger_to_image_delay_us = self._config.subordinate_delay_us if subordinate else 0
        sync.depth_delay_us = 0
        sync.trigger_out_enable = self._config.wired_sync == "master"
        device.set_multi_device_sync_config(sync)

    def _start(self) -> CameraModel:
        """Start depth, and infrared if wanted; return the intrinsics of just this mode."""
        sdk, config = self._sdk, self._config
        width, height = SIZES[config.depth_mode]
        streams = sdk.Config()
        sensors = [sdk.OBSensorType.DEPTH_SENSOR, *([sdk.OBSensorType.IR_SENSOR] if config.infrared else [])]
        for sensor in reversed(sensors):
            profiles = self._pipeline.get_stream_profile_list(sensor)
            profile = profiles.get_video_stream_profile(width, height, sdk.OBFormat.Y16, config.rate_hz)
            streams.enable_stream(profile)
        camera = intrinsics_of(profile.get_intrinsic(), profile.get_distortion(), self._name)
        if (camera.width, camera.height) != (width, height):
            raise KinectError(
                f"{self._name}: intrinsics of {camera.width} x {camera.height} for images of {width} x {height}"
            )
        self._pipeline.start(streams)
        return camera

    def read(self, timeout_s: float) -> DepthFrame | None:
        """Wait for the next image. Raises KinectError when the camera has gone."""
        try:
            frames = self._pipeline.wait_for_frames(round(1e3 * timeout_s))
            if frames is None:
                return None
            arrived_ns = time.monotonic_ns()
            depth = frames.get_depth_frame()
            if depth is None:
                return None
            depth_mm = self._image(depth)
            scale = float(depth.get_depth_scale())  # [mm] a unit
            if scale != 1.0:
                depth_mm = np.minimum(np.rint(depth_mm * scale), 65535.0).astype(np.uint16)
            infrared = frames.get_ir_frame() if self._config.infrared else None
            stamp_ns = self._clock.to_host_ns(int(depth.get_timestamp_us()), arrived_ns)
            return DepthFrame(depth_mm, stamp_ns, None if infrared is None else self._image(infrared))
        except (self._sdk.OBError, RuntimeError) as error:
            raise KinectError(f"{self._name}: camera {self.serial_number} has gone ({error})") from error

    def _image(self, frame: Any) -> np.ndarray:  # noqa: ANN401
        """The pixels (H, W) uint16 of a frame. Raises KinectError for another size."""
        height, width = int(frame.get_height()), int(frame.get_width())
        pixels = np.frombuffer(frame.get_data(), dtype=np.uint16)
        if (width, height) != SIZES[self._config.depth_mode] or pixels.size != width * height:
            raise KinectError(f"{self._name}: an image of {width} x {height} with {pixels.size} pixels")
        return pixels.reshape(height, width).copy()

    def close(self) -> None:
        """Stop the camera."""
        try:
            self._pipeline.stop()
        except (self._sdk.OBError, RuntimeError):
            return  # it has gone


def intrinsics_of(intrinsic: Any, distortion: Any, name: str) -> CameraModel:  # noqa: ANN401
    """The SDK's intrinsics and distortion as a camera at the origin of its own frame. Raises KinectError."""
    model = str(distortion.model).rpartition(".")[2]
    if model not in LENSES:
        raise KinectError(f"{name}: lens model {model}; valid: {', '.join(LENSES)}")
    d = distortion
    return CameraModel(
        name=name,
        width=int(intrinsic.width),
        height=int(intrinsic.height),
        fx=float(intrinsic.fx),
        fy=float(intrinsic.fy),
        cx=float(intrinsic.cx),
        cy=float(intrinsic.cy),
        distortion=(0.0,) * 8 if model == "NONE" else (d.k1, d.k2, d.p1, d.p2, d.k3, d.k4, d.k5, d.k6),
        T_world_camera=np.eye(4),
    )
