"""The Femto Bolt on a fake of its SDK (no device was there); what the real SDK has, and says without a device."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from udg_description.camera import default_cameras
from udg_perception.errors import KinectError
from udg_perception.kinect.femto_bolt import FemtoBolt, intrinsics_of
from udg_perception.kinect.open_source import open_source
from udg_perception.kinect.source import KinectConfig

LEFT = default_cameras()[0]
CONFIG = KinectConfig(model="femto_bolt")


class FakeError(Exception):
    pass


class FakeFrame:
    def __init__(self, image: np.ndarray, stamp_us: int, scale: float) -> None:
        self._image, self._stamp_us, self._scale = image, stamp_us, scale

    def get_height(self) -> int:
        return self._image.shape[0]

    def get_width(self) -> int:
        return self._image.shape[1]

    def get_data(self) -> np.ndarray:
        return self._image.view(np.uint8).ravel()

    def get_depth_scale(self) -> float:
        return self._scale

    def get_timestamp_us(self) -> int:
        return self._stamp_us


def fake_sdk(serials: tuple[str, ...] = ("CL8A",), lens: str = "BROWN_CONRADY_K6", scale: float = 1.0) -> Any:  # noqa: ANN401
    """What of the SDK's API is used; `sdk.told` is what it was asked for."""
    told: dict[str, Any] = {"streams": []}
    k1, k2, p1, p2, k3, k4, k5, k6 = LEFT.distortion
    distortion = SimpleNamespace(model=lens, k1=k1, k2=k2, k3=k3, k4=k4, k5=k5, k6=k6, p1=p1, p2=p2)
    profile = SimpleNamespace(get_intrinsic=lambda: LEFT, get_distortion=lambda: distortion)
    sync = SimpleNamespace(mode=None)
    device = SimpleNamespace(
        get_multi_device_sync_config=lambda: sync,
        set_multi_device_sync_config=lambda config: told.update(sync=config),
    )

    def wait_for_frames(_timeout_ms: int) -> object:
        taken = told.pop("frame", None)
        if isinstance(taken, Exception):
            raise taken
        return None if taken is None else SimpleNamespace(get_depth_frame=lambda: taken, get_ir_frame=lambda: taken)

    def get_profile(*wanted: object) -> object:
        told["profile"] = wanted
        return profile

    pipeline = SimpleNamespace(
        get_stream_profile_list=lambda _sensor: SimpleNamespace(get_video_stream_profile=get_profile),
        start=lambda streams: told.update(started=True),
        stop=lambda: told.update(started=False),
        wait_for_frames=wait_for_frames,
    )
    devices = SimpleNamespace(
        get_count=lambda: len(serials),
        get_device_serial_number_by_index=lambda index: serials[index],
        get_device_by_index=lambda index: told.update(index=index) or device,
    )
    return SimpleNamespace(
        told=told,
        give=lambda image, us: told.update(frame=FakeFrame(image, us, scale)),
        OBError=FakeError,
        Context=lambda: SimpleNamespace(query_devices=lambda: devices),
        Pipeline=lambda _device: pipeline,
        Config=lambda: SimpleNamespace(enable_stream=told["streams"].append),
        OBSensorType=SimpleNamespace(DEPTH_SENSOR="depth", IR_SENSOR="ir"),
        OBFormat=SimpleNamespace(Y16="Y16"),
        OBMultiDeviceSyncMode=SimpleNamespace(STANDALONE="alone", PRIMARY="first", SECONDARY="second"),
    )


def test_it_gives_depth_in_millimetres_stamped_on_this_host_s_clock() -> None:
    sdk = fake_sdk()
    camera = FemtoBolt(CONFIG, "left_camera", sdk=sdk)
    assert sdk.told["profile"] == (640, 576, "Y16", 15) and sdk.told["started"]
    image = np.random.default_rng(3).integers(0, 4000, (576, 640)).astype(np.uint16)
    sdk.give(image, 1_000_000)
    first = camera.read(0.1)
    np.testing.assert_array_equal(first.depth_mm, image)
    sdk.give(image, 1_066_667)
    second = camera.read(0.1)
    assert second.stamp_ns - first.stamp_ns <= 66_667_000 + 100_000  # the quicker of both says when it was
    assert camera.read(0.1) is None
    camera.close()
    assert sdk.told["started"] is False


def test_its_own_intrinsics_are_taken_with_opencv_s_order_of_the_coefficients() -> None:
    camera = FemtoBolt(CONFIG, "left_camera", sdk=fake_sdk()).camera
    assert (camera.fx, camera.cx, camera.width) == (LEFT.fx, LEFT.cx, LEFT.width)
    assert camera.distortion == LEFT.distortion


def test_units_other_than_a_millimetre_are_scaled() -> None:
    sdk = fake_sdk(scale=0.1)
    camera = FemtoBolt(CONFIG, "left_camera", sdk=sdk)
    sdk.give(np.full((576, 640), 12345, np.uint16), 1)
    assert (camera.read(0.1).depth_mm == 1234).all()


def test_the_sync_cable_is_told_each_time() -> None:
    sdk = fake_sdk()
    FemtoBolt(KinectConfig(model="femto_bolt", wired_sync="subordinate"), "right_camera", sdk=sdk)
    sync = sdk.told["sync"]
    assert (sync.mode, sync.trigger_to_image_delay_us, sync.trigger_out_enable) == ("second", 160, False)
    sdk, waited = fake_sdk(), []
    FemtoBolt(KinectConfig(model="femto_bolt", wired_sync="master"), "left_camera", sdk=sdk, sleep=waited.append)
    assert (sdk.told["sync"].mode, sdk.told["sync"].trigger_out_enable, waited) == ("first", True, [3.0])


def test_what_is_not_there_or_goes_is_one_line() -> None:
    with pytest.raises(KinectError, match="left_camera: no Orbbec camera CL9Z; connected: CL8A, CL8B"):
        FemtoBolt(KinectConfig(model="femto_bolt", serial_number="CL9Z"), "left_camera", sdk=fake_sdk(("CL8A", "CL8B")))
    sdk = fake_sdk(("CL8A", "CL8B"))
    FemtoBolt(KinectConfig(model="femto_bolt", serial_number="CL8B"), "left_camera", sdk=sdk)
    assert sdk.told["index"] == 1
    camera = FemtoBolt(CONFIG, "left_camera", sdk=sdk)
    sdk.told["frame"] = FakeError("unplugged")
    with pytest.raises(KinectError, match=r"left_camera: camera CL8A has gone \(unplugged\)"):
        camera.read(0.1)
    with pytest.raises(KinectError, match="lens model KANNALA_BRANDT4; valid: NONE, BROWN_CONRADY"):
        FemtoBolt(CONFIG, "left_camera", sdk=fake_sdk(lens="OBCameraDistortionModel.KANNALA_BRANDT4"))
    with pytest.raises(KinectError, match="record is 'a.mkv'"):
        FemtoBolt(KinectConfig(model="femto_bolt", record="a.mkv"), "left_camera", sdk=sdk)


@pytest.mark.skipif(importlib.util.find_spec("pyorbbecsdk") is not None, reason="pyorbbecsdk2 is installed")
def test_without_the_sdk_it_is_said_how_to_get_it() -> None:
    with pytest.raises(KinectError, match="pip install --no-deps pyorbbecsdk2=="):
        open_source(CONFIG, "left_camera")


@pytest.mark.skipif(importlib.util.find_spec("pyorbbecsdk") is None, reason="pyorbbecsdk2 is not installed")
def test_the_real_sdk_has_what_the_fake_has_and_says_no_device_in_one_line(tmp_path: Path) -> None:
    program = """
import pyorbbecsdk as sdk
from udg_perception.errors import KinectError
from udg_perception.kinect.femto_bolt import LENSES, SYNC_MODES, intrinsics_of
from udg_perception.kinect.open_source import open_source
from udg_perception.kinect.source import KinectConfig
for kind, names in {
    sdk.Context: "query_devices",
    sdk.DeviceList: "get_count get_device_serial_number_by_index get_device_by_index",
    sdk.Device: "get_multi_device_sync_config set_multi_device_sync_config",
    sdk.OBMultiDeviceSyncConfig: "mode trigger_to_image_delay_us depth_delay_us trigger_out_enable",
    sdk.Pipeline: "get_stream_profile_list start stop wait_for_frames",
    sdk.StreamProfileList: "get_video_stream_profile",
    sdk.VideoStreamProfile: "get_intrinsic get_distortion",
    sdk.FrameSet: "get_depth_frame get_ir_frame",
    sdk.DepthFrame: "get_height get_width get_data get_depth_scale get_timestamp_us",
    sdk.Config: "enable_stream",
    sdk.OBSensorType: "DEPTH_SENSOR IR_SENSOR",
    sdk.OBFormat: "Y16",
    sdk.OBCameraIntrinsic: "fx fy cx cy width height",
    sdk.OBCameraDistortion: "model k1 k2 k3 k4 k5 k6 p1 p2",
    sdk.OBMultiDeviceSyncMode: " ".join(SYNC_MODES.values()),
    sdk.OBCameraDistortionModel: " ".join(LENSES),
}.items():
    for name in names.split():
        assert hasattr(kind, name), (kind, name)
assert str(sdk.OBCameraDistortion().model).rpartition(".")[2] == "NONE"
try:
    open_source(KinectConfig(model="femto_bolt", serial_number="NONE-SUCH"), "left_camera")
except KinectError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "left_camera: no Orbbec camera NONE-SUCH; connected: " in done.stdout
    assert not list(tmp_path.iterdir())  # no folder of logs


def test_a_lens_without_distortion_has_none() -> None:
    assert intrinsics_of(LEFT, SimpleNamespace(model="NONE"), "a").distortion == (0.0,) * 8
