"""A camera's pose by a ChArUco board that an arm holds: the flange is known, the board's place in the hand is not.

Unknown are the camera in the world and the board on the flange; both are found by the least reprojection error of all
corners of all poses, starting from OpenCV's hand-eye solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

from udg_description.arm_kinematics import flange_pose
from udg_description.camera import CameraModel
from udg_description.layout import Side, part_indices
from udg_description.transforms import inverse, make_transform, matrix_to_rotvec, rotvec_to_matrix, transform_points
from udg_perception.calibration.observations import Observation
from udg_perception.calibration.result import CameraCalibration, difference, refuse_if
from udg_perception.errors import CalibrationError


@dataclass(frozen=True, kw_only=True)
class BoardConfig:
    """The board, and what is good enough."""

    squares: tuple[int, int] = (5, 4)  # along x and y
    square_m: float = 0.06
    marker_m: float = 0.045
    dictionary: str = "DICT_4X4_50"
    min_corners: int = 6  # of a pose
    min_poses: int = 8
    max_rms_px: float = 1.0
    max_halves_mm: float = 4.0  # between the results of every other pose
    max_halves_deg: float = 0.4
    min_turn_deg: float = 12.0  # the flange's poses must differ by this about two axes


class BoardView(NamedTuple):
    """The board in one image: T_world_flange (4, 4), corners on the board (K, 3) [m], their pixels (K, 2)."""

    T_world_flange: np.ndarray
    corners_board: np.ndarray
    pixels: np.ndarray


class BoardCalibration:
    """Calibrates one camera."""

    def __init__(self, config: BoardConfig | None = None) -> None:
        """Raise CalibrationError for an unknown dictionary."""
        import cv2

        self.config = config or BoardConfig()
        code = getattr(cv2.aruco, self.config.dictionary, None)
        if not isinstance(code, int):
            raise CalibrationError(
                f"board: dictionary '{self.config.dictionary}'; valid: DICT_4X4_50, DICT_5X5_100, ..."
            )
        dictionary = cv2.aruco.getPredefinedDictionary(code)
        self.board = cv2.aruco.CharucoBoard(self.config.squares, self.config.square_m, self.config.marker_m, dictionary)
        self._corners = np.asarray(self.board.getChessboardCorners(), dtype=np.float64)
        self._detector = cv2.aruco.CharucoDetector(self.board)

    def find(self, infrared: np.ndarray, T_world_flange: np.ndarray) -> BoardView | None:
        """The board in an infrared image (H, W); None where too little of it is seen."""
        top = max(float(np.percentile(infrared, 99.0)), 1.0)
        grey = np.clip(infrared * (255.0 / top), 0, 255).astype(np.uint8)
        corners, ids, _, _ = self._detector.detectBoard(grey)
        if ids is None or len(ids) < self.config.min_corners:
            return None
        return BoardView(T_world_flange, self._corners[ids.ravel()], corners.reshape(-1, 2).astype(np.float64))

    def calibrate(
        self, observations: Sequence[Observation], camera: CameraModel, side: str, arm: Side
    ) -> CameraCalibration:
        """The camera `side` with its pose in the world, by a board that `arm` holds. Raises CalibrationError."""
        config = self.config
        where = part_indices(f"{arm}_arm")
        views = []
        for observation in observations:
            if side in observation.infrared:
                view = self.find(observation.infrared[side], flange_pose(arm, observation.q[where]))
                views += [] if view is None else [view]
        if len(views) < config.min_poses:
            raise CalibrationError(
                f"{camera.name}: the board is seen in {len(views)} of {len(observations)} poses; valid: at least "
                f"{config.min_poses}"
            )
        turn_deg = _turn_deg(views)
        if turn_deg < config.min_turn_deg:
            raise CalibrationError(
                f"{camera.name}: calibration refused: the board was turned by {turn_deg:.0f} deg about the second axis "
                f"(at least {config.min_turn_deg:.0f}): tilt it about several axes"
            )
        T, rms_px = self._solve(views, camera)
        apart_mm, apart_deg = difference(self._solve(views[::2], camera)[0], self._solve(views[1::2], camera)[0])
        residuals = {
            "rms_px": rms_px,
            "poses": len(views),
            "corners": sum(len(view.pixels) for view in views),
            "halves_differ_mm": apart_mm,
            "halves_differ_deg": apart_deg,
        }
        reasons = []
        if rms_px > config.max_rms_px:
            reasons.append(
                f"the corners lie {rms_px:.2f} px (rms) off (at most {config.max_rms_px}); is the board flat?"
            )
        if apart_mm > config.max_halves_mm or apart_deg > config.max_halves_deg:
            reasons.append(
                f"every other pose gives another result ({apart_mm:.1f} mm, {apart_deg:.2f} deg apart): does the board "
                "slip in the hand? Else more poses, and more different ones"
            )
        refuse_if(camera.name, reasons)
        return CameraCalibration(camera=camera.with_pose(T), method="board", residuals=residuals)

    def _solve(self, views: Sequence[BoardView], camera: CameraModel) -> tuple[np.ndarray, float]:
        """T_world_camera (4, 4) and the reprojection error [px]."""
        T_camera_board = [_board_pose(view, camera) for view in views]
        T_world_camera = _hand_eye(views, T_camera_board)
        T_flange_board = np.linalg.inv(views[0].T_world_flange) @ T_world_camera @ T_camera_board[0]

        def errors(x: np.ndarray) -> np.ndarray:
            T_camera_world, T_board = inverse(_pose(x[:6])), _pose(x[6:])
            residuals = [
                camera.project(transform_points(T_camera_world @ view.T_world_flange @ T_board, view.corners_board))
                - view.pixels
                for view in views
            ]
            return np.nan_to_num(np.concatenate(residuals).ravel(), nan=1e3)

        start = np.concatenate([_vector(T_world_camera), _vector(T_flange_board)])
        solution = least_squares(errors, start, loss="soft_l1", f_scale=0.5, x_scale="jac")
        return _pose(solution.x[:6]), float(np.sqrt(2.0 * np.mean(np.square(errors(solution.x)))))


def _board_pose(view: BoardView, camera: CameraModel) -> np.ndarray:
    """T_camera_board (4, 4) of one view."""
    import cv2

    rays = np.ascontiguousarray(camera.unproject(view.pixels)[:, :2])
    _, rotation, translation = cv2.solvePnP(view.corners_board, rays, np.eye(3), np.zeros(5), flags=cv2.SOLVEPNP_IPPE)
    return make_transform(rotvec_to_matrix(rotation.ravel()), translation.ravel())


def _hand_eye(views: Sequence[BoardView], T_camera_board: Sequence[np.ndarray]) -> np.ndarray:
    """T_world_camera (4, 4): OpenCV's solution for a camera that stands, with the flange's poses inverted."""
    import cv2

    inverted = [inverse(view.T_world_flange) for view in views]
    rotation, translation = cv2.calibrateHandEye(
        [T[:3, :3] for T in inverted],
        [T[:3, 3] for T in inverted],
        [T[:3, :3] for T in T_camera_board],
        [T[:3, 3] for T in T_camera_board],
        method=cv2.CALIB_HAND_EYE_PARK,
    )
    return make_transform(rotation, translation.ravel())


def _turn_deg(views: Sequence[BoardView]) -> float:
    """How far the poses are turned against the first about the axis about which they turn second most [deg]."""
    first = views[0].T_world_flange[:3, :3]
    turns = np.array([matrix_to_rotvec(first.T @ view.T_world_flange[:3, :3]) for view in views])
    return float(np.rad2deg(2.0 * np.linalg.svd(turns - turns.mean(axis=0), compute_uv=False)[1] / np.sqrt(len(views))))


def _pose(x: np.ndarray) -> np.ndarray:
    return make_transform(rotvec_to_matrix(x[:3]), x[3:])


def _vector(T: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix_to_rotvec(T[:3, :3]), T[:3, 3]])
