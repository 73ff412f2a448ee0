"""Recordings that pyk4a plays, and the live camera on a stand-in for pyk4a."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from udg_description.camera import CameraModel, default_cameras
from udg_description.errors import UdgError
from udg_perception.errors import KinectError

pyk4a = pytest.importorskip("pyk4a", reason="needs pyk4a-bundle")

from udg_perception.kinect.device import DeviceClock, KinectDevice  # noqa: E402
from udg_perception.kinect.intrinsics import calibration_of, intrinsics_of  # noqa: E402
from udg_perception.kinect.playback import KinectPlayback  # noqa: E402
from udg_perception.kinect.recording import DepthRecording  # noqa: E402
from udg_perception.kinect.source import KinectConfig  # noqa: E402

LEFT = default_cameras()[0]
NAMES = ("fx", "fy", "cx", "cy")


def images(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 4000, (LEFT.height, LEFT.width)).astype(np.uint16) for _ in range(count)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    path, taken = tmp_path_factory.mktemp("kinect") / "left.mkv", images(3)
    with DepthRecording(path, LEFT, 15) as file:
        for frame, depth_mm in enumerate(taken):
            file.write(depth_mm, round(frame * 1e6 / 15))
    return path, taken


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


def same_intrinsics(a: CameraModel, b: CameraModel) -> bool:
    numbers = [[getattr(camera, name) for name in NAMES] + list(camera.distortion) for camera in (a, b)]
    return np.allclose(*numbers, rtol=1e-6, atol=1e-9) and (a.width, a.height) == (b.width, b.height)


def test_intrinsics_survive_the_device_calibration() -> None:
    assert same_intrinsics(intrinsics_of(calibration_of(LEFT), "NFOV_UNBINNED", "left_camera"), LEFT)


def test_pyk4a_sees_the_same_points_as_our_lens_model(recording: tuple[Path, list[np.ndarray]]) -> None:
    calibration = pyk4a.Calibration.from_raw(
        calibration_of(LEFT), pyk4a.DepthMode.NFOV_UNBINNED, pyk4a.ColorResolution.OFF
    )
    depth_mm = np.full((LEFT.height, LEFT.width), 2000, np.uint16)
    points_mm = pyk4a.transformation.depth_image_to_point_cloud(depth_mm, calibration, True, True)
    seen = points_mm[..., 2] > 0
    assert seen.mean() > 0.99
    assert np.abs(points_mm - 2000.0 * LEFT.rays())[seen].max() <= 0.51  # rounded to millimetres


def test_a_recording_plays_exactly_and_in_its_own_time(recording: tuple[Path, list[np.ndarray]]) -> None:
    path, taken = recording
    clock = Clock()
    playback = KinectPlayback(path, "left_camera", loop=False, clock_ns=clock, sleep=clock.sleep)
    assert same_intrinsics(playback.camera, LEFT)
    stamps = []
    for depth_mm in taken:
        frame = playback.read(1.0)
        assert frame is not None and np.array_equal(frame.depth_mm, depth_mm)
        assert clock.ns >= frame.stamp_ns  # not before its time
        stamps.append(frame.stamp_ns)
    assert np.allclose(np.diff(stamps), 1e9 / 15, atol=2e3)
    assert playback.read(0.1) is None
    playback.close()


def test_a_loop_goes_on_at_the_same_pace_and_not_after_a_pause_in_a_hurry(
    recording: tuple[Path, list[np.ndarray]],
) -> None:
    path, taken = recording
    clock = Clock()
    playback = KinectPlayback(path, "left_camera", clock_ns=clock, sleep=clock.sleep)
    frames = [playback.read(1.0) for _ in range(7)]
    assert np.array_equal(frames[3].depth_mm, taken[0]) and np.array_equal(frames[6].depth_mm, taken[0])  # type: ignore[union-attr]
    stamps = [frame.stamp_ns for frame in frames if frame is not None]
    assert np.allclose(np.diff(stamps), 1e9 / 15, atol=3e3)
    clock.sleep(30.0)
    late = playback.read(1.0)
    assert late is not None and abs(late.stamp_ns - clock.ns) < 1e8
    playback.close()


def test_what_is_no_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(KinectError, match="absent.mkv"):
        KinectPlayback(tmp_path / "absent.mkv", "left_camera")
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"no matroska")
    with pytest.raises(KinectError, match="broken.mkv"):
        KinectPlayback(broken, "left_camera")


def test_a_recording_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KinectError, match="uint16"), DepthRecording(tmp_path / "x.mkv", LEFT) as file:
        file.write(np.zeros((2, 2), np.float32), 0)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


# --- the live camera --------------------------------------------------------------------------------------------------


class FakeK4A:
    """The part of pyk4a.PyK4A that the driver uses."""

    serials = ["000111", "000222"]
    gone = False

    def __init__(self, config: Any, device_id: int = 0) -> None:  # noqa: ANN401
        self.config, self.serial, self.opened, self.is_running = config, self.serials[device_id], False, False
        self.calibration_raw, self._time_us = calibration_of(LEFT), 0

    def open(self) -> None:
        self.opened = True

    def start(self) -> None:
        self.is_running = True

    def close(self) -> None:
        self.opened = False

    def stop(self) -> None:
        self.opened = self.is_running = False

    def get_capture(self, timeout: int) -> types.SimpleNamespace:
        if self.gone:
            raise pyk4a.K4AException()
        self._time_us += 66_667
        return types.SimpleNamespace(
            depth=np.full((576, 640), 1000, np.uint16),
            depth_timestamp_usec=self._time_us,
            depth_system_timestamp_nsec=5_000_000_000 + 1000 * self._time_us,
        )


def library(**more: object) -> types.SimpleNamespace:
    names = ("K4AException", "K4ATimeoutException", "Config", "ColorResolution", "DepthMode", "FPS", "WiredSyncMode")
    parts = {name: getattr(pyk4a, name) for name in names}
    return types.SimpleNamespace(**parts, PyK4A=FakeK4A, connected_device_count=lambda: 2, **more)


def test_cameras_are_told_apart_by_serial_number() -> None:
    camera = KinectDevice(KinectConfig(serial_number="000222"), "left_camera", pyk4a=library())
    assert camera.serial_number == "000222" and same_intrinsics(camera.camera, LEFT)
    frame = camera.read(0.1)
    assert frame is not None and frame.stamp_ns == 5_000_000_000 + 66_667_000
    camera.close()
    with pytest.raises(KinectError, match="000333.*000111, 000222"):
        KinectDevice(KinectConfig(serial_number="000333"), "left_camera", pyk4a=library())


def test_a_camera_that_goes_is_an_error_that_names_it() -> None:
    camera = KinectDevice(KinectConfig(), "left_camera", pyk4a=library())
    FakeK4A.gone = True
    try:
        with pytest.raises(KinectError, match="000111"):
            camera.read(0.1)
    finally:
        FakeK4A.gone = False
    camera.close()


def test_only_the_master_runs_its_colour_camera_and_starts_later() -> None:
    slept: list[float] = []
    configs = {}
    for role in ("standalone", "subordinate", "master"):
        device = KinectDevice(KinectConfig(wired_sync=role), "x", pyk4a=library(), sleep=slept.append)  # type: ignore[arg-type]
        configs[role] = device._device.config
        device.close()
    off = pyk4a.ColorResolution.OFF
    assert [configs[role].color_resolution == off for role in configs] == [True, True, False]
    assert [configs[role].subordinate_delay_off_master_usec for role in configs] == [0, 160, 0]
    assert slept == [3.0]


def test_the_quickest_image_sets_the_clock() -> None:
    clock = DeviceClock(latency_ns=0)
    delays_ns = [30_000_000, 12_000_000, 45_000_000, 20_000_000]
    times = [clock.to_host_ns(66_667 * i, 66_667_000 * i + 10**9 + delay) for i, delay in enumerate(delays_ns)]
    assert times[0] == 10**9 + 30_000_000
    for i in (1, 2, 3):  # the delay of the quickest, and no more than the drift of the clocks above it
        assert 0 <= times[i] - (66_667_000 * i + 10**9 + 12_000_000) <= 3 * 66_667 * 0.1 * 1.01 * 1000


def test_playback_and_record_exclude_each_other() -> None:
    with pytest.raises(UdgError, match="at most one"):
        KinectConfig(playback="a.mkv", record="b.mkv")
