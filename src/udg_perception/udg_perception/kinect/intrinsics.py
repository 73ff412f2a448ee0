"""Intrinsics of an Azure Kinect depth camera: out of its calibration, and into one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from udg_description.camera import CameraModel
from udg_perception.errors import KinectError
from udg_perception.kinect.library import load_pyk4a

NFOV_SIZE = (640, 576)
_SENSOR_PX = 1024  # the calibration is about the whole sensor, ...
_NFOV_CROP_PX = (192, 180)  # ... of which the narrow unbinned mode shows this part
_SENSOR_OF_MODE = {"NFOV_UNBINNED": NFOV_SIZE, "NFOV_2X2BINNED": (320, 288), "WFOV_2X2BINNED": (512, 512)}
DEPTH_MODES = tuple(_SENSOR_OF_MODE)


def intrinsics_of(calibration_raw: str, depth_mode: str, name: str) -> CameraModel:
    """The depth camera of a raw calibration (JSON of the device), at the origin of its own frame.

    Works without a GPU: nothing of the colour camera is asked for. Raises KinectError.
    """
    pyk4a = load_pyk4a()
    if depth_mode not in _SENSOR_OF_MODE:
        raise KinectError(f"depth mode '{depth_mode}'; valid: {', '.join(DEPTH_MODES)}")
    try:
        calibration = pyk4a.Calibration.from_raw(
            calibration_raw, pyk4a.DepthMode[depth_mode], pyk4a.ColorResolution.OFF
        )
        K = np.asarray(calibration.get_camera_matrix(pyk4a.CalibrationType.DEPTH), dtype=float)
        distortion = np.asarray(calibration.get_distortion_coefficients(pyk4a.CalibrationType.DEPTH), dtype=float)
    except pyk4a.K4AException as error:
        raise KinectError(f"{name}: the calibration of the device can't be read") from error
    width, height = _SENSOR_OF_MODE[depth_mode]
    return CameraModel(
        name=name,
        width=width,
        height=height,
        fx=K[0, 0],
        fy=K[1, 1],
        cx=K[0, 2],
        cy=K[1, 2],
        distortion=tuple(distortion.ravel()[:8]),
        T_world_camera=np.eye(4),
    )


def calibration_of(camera: CameraModel) -> str:
    """The raw calibration (JSON) of a device whose depth camera has these intrinsics in NFOV_UNBINNED.

    Colour camera and inertial sensors, which the library insists on, are those of a nominal device. Raises KinectError.
    """
    if (camera.width, camera.height) != NFOV_SIZE:
        raise KinectError(f"camera {camera.name}: {camera.width} x {camera.height}; valid: 640 x 576 (NFOV_UNBINNED)")
    k1, k2, p1, p2, k3, k4, k5, k6 = camera.distortion
    centre = [(c + 0.5 + crop) / _SENSOR_PX for c, crop in zip((camera.cx, camera.cy), _NFOV_CROP_PX, strict=True)]
    depth = [*centre, camera.fx / _SENSOR_PX, camera.fy / _SENSOR_PX, k1, k2, k3, k4, k5, k6, 0.0, 0.0, p2, p1]
    colour = [0.5, 0.5, 0.475, 0.633, 0.5, -2.7, 1.6, 0.4, -2.5, 1.5, 0.0, 0.0, 0.0, 0.0]
    tilt_rad, offset_m = np.deg2rad(6.0), [-0.032, -0.002, 0.004]
    c, s = float(np.cos(tilt_rad)), float(np.sin(tilt_rad))
    information = {
        "Cameras": [
            _camera("D0", [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0], depth, (1024, 1024)),
            _camera("PV0", [1.0, 0.0, 0.0, 0.0, c, s, 0.0, -s, c], offset_m, colour, (4096, 3072)),
        ],
        "InertialSensors": [_inertial("Gyro"), _inertial("Accelerometer")],
        "Metadata": {"SerialId": "000000000000", "Version": {"Major": 1, "Minor": 2}},
    }
    return json.dumps({"CalibrationInformation": information})


def _camera(
    location: str, rotation: list[float], translation_m: list[float], parameters: list[float], size: tuple[int, int]
) -> dict[str, Any]:
    return {
        "Intrinsics": {
            "ModelParameterCount": len(parameters),
            "ModelParameters": parameters,
            "ModelType": "CALIBRATION_LensDistortionModelBrownConrady",
        },
        "Location": f"CALIBRATION_CameraLocation{location}",
        "Purpose": f"CALIBRATION_CameraPurpose{'Depth' if location == 'D0' else 'PhotoVideo'}",
        "MetricRadius": 1.74,
        "Rt": {"Rotation": rotation, "Translation": translation_m},
        "SensorHeight": size[1],
        "SensorWidth": size[0],
        "Shutter": "CALIBRATION_ShutterTypeUndefined",
    }


def _inertial(kind: str) -> dict[str, Any]:
    noise = [0.001] * 6
    return {
        "BiasTemperatureModel": [0.0] * 12,
        "BiasUncertainty": [0.0001] * 3,
        "Id": f"CALIBRATION_InertialSensorId_LSM6DSM_{kind}",
        "MixingMatrixTemperatureModel": [1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        + [1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1.0, 0, 0, 0],
        "ModelTypeMask": 16,
        "Noise": noise,
        "Rt": {"Rotation": [0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "Translation": [0.0, 0.0, 0.0]},
        "SecondOrderScaling": [0.0] * 9,
        "SensorType": f"CALIBRATION_InertialSensorType_{kind}",
        "TemperatureBounds": [5.0, 60.0],
        "TemperatureC": 0.0,
    }
