"""What calibration is made from: joint angles and images of the same moment, at rest; one file for each pose."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from udg_description.camera import CameraModel
from udg_description.files import write_arrays
from udg_description.layout import N_JOINTS
from udg_perception.errors import CalibrationError


@dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """One pose: q (N,) [rad]; by camera (`short_name`) depth (H, W) uint16 [mm] and, for boards, infrared (H, W).

    `intrinsics` (15,) are those that the camera itself told, as of `CameraModel.intrinsics`.
    """

    q: np.ndarray
    depth_mm: Mapping[str, np.ndarray] = field(default_factory=dict)
    infrared: Mapping[str, np.ndarray] = field(default_factory=dict)
    intrinsics: Mapping[str, np.ndarray] = field(default_factory=dict)


def with_told_intrinsics(camera: CameraModel, observations: Sequence[Observation]) -> CameraModel:
    """The camera with the intrinsics that it told while the observations were made; as it is where it told none.

    Raises CalibrationError when they differ: another camera, or another mode of it.
    """
    side = camera.short_name
    told = np.unique([o.intrinsics[side] for o in observations if side in o.intrinsics], axis=0)
    if not len(told):
        return camera
    if len(told) > 1:
        raise CalibrationError(
            f"{camera.name}: the poses were seen by {len(told)} cameras, or modes of one: fx {told[:, 2].tolist()}; "
            "begin with an empty folder"
        )
    return camera.with_intrinsics(told[0])


def write_observation(folder: Path, observation: Observation) -> Path:
    """Add a pose to a folder, after those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(path.stem) for path in folder.glob("*.npz") if re.fullmatch(r"\d+", path.stem)]
    path = folder / f"{max(taken, default=-1) + 1:03d}.npz"
    arrays = {f"{side}_depth": image for side, image in observation.depth_mm.items()}
    arrays.update({f"{side}_infrared": image for side, image in observation.infrared.items()})
    arrays.update({f"{side}_intrinsics": values for side, values in observation.intrinsics.items()})
    write_arrays(path, {"q": observation.q, **arrays})
    return path


def read_observations(folder: Path) -> list[Observation]:
    """All poses of a folder. Raises CalibrationError naming a file that is none."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as arrays:
                depth, infrared, intrinsics = (
                    {name.removesuffix(kind): arrays[name] for name in arrays.files if name.endswith(kind)}
                    for kind in ("_depth", "_infrared", "_intrinsics")
                )
                found.append(Observation(q=arrays["q"], depth_mm=depth, infrared=infrared, intrinsics=intrinsics))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise CalibrationError(f"{path} is no observation: {error}") from error
        if found[-1].q.shape != (N_JOINTS,) or not np.isfinite(found[-1].q).all():
            raise CalibrationError(f"{path}: q has shape {found[-1].q.shape}; valid: {N_JOINTS} finite angles")
    if not found:
        raise CalibrationError(
            f"no observations (NNN.npz) in {folder}; make some with kinect_capture, see docs/calibration.md"
        )
    return found
