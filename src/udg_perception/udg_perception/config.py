"""Settings of the scene cloud."""

import math
from dataclasses import dataclass

import numpy as np

from udg_perception.errors import PerceptionConfigError

MIN_SURFACE_POINTS = 64


@dataclass(frozen=True, kw_only=True)
class SceneCloudConfig:
    """How depth images become the scene cloud.

    The crop box is the object area with a margin. Its floor is above the table by several standard deviations of the
    depth noise, so that the table's noise does not flood the cloud.
    """

    crop_min: tuple[float, float, float] = (0.30, -0.65, 0.006)  # lower corner of the crop box [m, world]
    crop_max: tuple[float, float, float] = (0.95, 0.65, 0.60)  # upper corner of the crop box [m, world]
    neighbor_step_m: float = 0.020  # neighbouring pixels of one surface differ in depth by less than this
    min_neighbors: int = 2  # of a pixel's 4 neighbours; with fewer on its surface it is a flying pixel and dropped
    self_filter_margin_m: float = 0.010  # a point closer than this to the robot's surface is the robot's
    outlier_max_points: int = 4096  # more seen points than this are thinned evenly first: bounds the time
    outlier_neighbors: int = 16  # neighbours in the outlier statistics, the point itself included
    outlier_std_ratio: float = 2.0  # [standard deviations]
    n_seen_max: int = 1024  # at most this many seen points; the rest of the cloud is the imaged robot
    n_points: int = 2048  # points of the cloud, always exactly

    def __post_init__(self) -> None:
        for name in ("crop_min", "crop_max"):
            corner = getattr(self, name)
            self._require(name, len(corner) == 3 and all(map(math.isfinite, corner)), "three finite numbers [m]")
        self._require("crop_max", all(np.less(self.crop_min, self.crop_max)), f"above crop_min = {self.crop_min}")
        self._require("neighbor_step_m", 0.001 <= self.neighbor_step_m <= 1.0, "0.001 to 1 m")
        self._require("min_neighbors", 0 <= self.min_neighbors <= 4, "0 to 4")
        self._require("self_filter_margin_m", 0.0 <= self.self_filter_margin_m <= 0.1, "0 to 0.1 m")
        self._require("outlier_max_points", self.outlier_max_points >= 1, "at least 1")
        self._require("outlier_neighbors", self.outlier_neighbors >= 2, "at least 2")
        self._require("outlier_std_ratio", 0.0 < self.outlier_std_ratio < math.inf, "a positive finite number")
        self._require("n_seen_max", self.n_seen_max >= 0, "at least 0")
        self._require(
            "n_points",
            self.n_points >= self.n_seen_max + MIN_SURFACE_POINTS,
            f"at least n_seen_max + {MIN_SURFACE_POINTS} = {self.n_seen_max + MIN_SURFACE_POINTS}",
        )

    def _require(self, name: str, is_valid: bool, valid: str) -> None:
        if not is_valid:
            raise PerceptionConfigError(f"scene cloud: {name} = {getattr(self, name)}; valid: {valid}")
