"""The imaged robot: points on its surface, computed from the joint positions (paper IV-B, after DexPoint)."""

import numpy as np
from numpy.typing import NDArray

from udg_description.cloud_labels import LABEL_LEFT, LABEL_RIGHT
from udg_description.model import RobotModel
from udg_description.surface import SurfacePoints

Float32 = NDArray[np.float32]


class ImagedRobot:
    """Gives any number of labelled surface points, half on each side.

    Args:
        model: the whole robot, root `world`.
        max_points: the largest number that will be asked for.
    """

    def __init__(self, model: RobotModel, max_points: int) -> None:
        self._surface = SurfacePoints(model, (max_points + 1) // 2)
        self._labels = np.where(self._surface.side == 0, LABEL_LEFT, LABEL_RIGHT).astype(np.float32)

    def labelled_points(self, q: NDArray[np.float64], n: int) -> Float32:
        """(n, 4) float32: x, y, z [m, world] and the label of the side, for q (36,) [rad].

        A smaller n gives the first points of a larger one; these are spread over both sides.
        """
        points = np.empty((n, 4), dtype=np.float32)
        points[:, :3] = self._surface.points_world(q, n)
        points[:, 3] = self._labels[:n]
        return points
