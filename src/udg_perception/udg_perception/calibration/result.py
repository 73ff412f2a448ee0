"""The result of a calibration: a pose, how well it explains what was seen, and whether that is good enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from udg_description.camera import CameraModel, cameras_yaml
from udg_description.files import write_atomically
from udg_description.transforms import rotation_angle
from udg_perception.errors import CalibrationError


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CameraCalibration:
    """A camera with its new pose, and the residuals by name, in the unit that the name ends with."""

    camera: CameraModel
    method: str
    residuals: Mapping[str, float]


def difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """How far two poses (4, 4) are apart: [mm], [deg]."""
    angle = float(np.rad2deg(rotation_angle(a[:3, :3], b[:3, :3])))
    return 1e3 * float(np.linalg.norm(a[:3, 3] - b[:3, 3])), angle


def refuse_if(name: str, reasons: Sequence[str]) -> None:
    """Raise CalibrationError with all the reasons, if there are any."""
    if reasons:
        raise CalibrationError(f"{name}: calibration refused: {'; '.join(reasons)}")


def write_calibration(path: Path, cameras: Sequence[CameraModel], calibrations: Sequence[CameraCalibration]) -> None:
    """Write cameras.yaml atomically: `cameras`, of which the calibrated ones are replaced, and the residuals."""
    new = {calibration.camera.name: calibration for calibration in calibrations}
    unknown = set(new) - {camera.name for camera in cameras}
    if unknown:
        raise CalibrationError(f"{path}: no camera {', '.join(sorted(unknown))} to be replaced")
    earlier = _earlier_section(path)
    section = {
        name: {"method": item.method, **{key: round(float(value), 4) for key, value in item.residuals.items()}}
        for name, item in new.items()
    }
    text = cameras_yaml([new[camera.name].camera if camera.name in new else camera for camera in cameras])
    text += "# How the poses were found, and the residuals.\n"
    text += yaml.safe_dump({"calibration": {**earlier, **section}}, sort_keys=False, width=120)
    write_atomically(path, text)


def _earlier_section(path: Path) -> dict[str, object]:
    """What an earlier calibration wrote of the cameras that are not replaced."""
    if not path.is_file():
        return {}
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise CalibrationError(f"{path}: {error}") from error
    section = document.get("calibration") if isinstance(document, dict) else None
    return section if isinstance(section, dict) else {}
