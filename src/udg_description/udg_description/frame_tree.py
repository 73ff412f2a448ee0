"""The tree of frames: each joint's pose of its child link in its parent, and the cameras' in the world."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from udg_description.camera import CameraModel, short_name
from udg_description.frames import WORLD
from udg_description.layout import JOINT_NAMES
from udg_description.transforms import rotvec_to_matrix
from udg_description.urdf import Urdf


def camera_frame_of(name: str) -> str:
    """Name of a camera's optical frame: that of camera `left_camera` is `left_depth_camera_link`."""
    return f"{short_name(name)}_depth_camera_link"


def camera_frame(camera: CameraModel) -> str:
    """The same of a camera."""
    return camera_frame_of(camera.name)


def camera_frames(cameras: Sequence[CameraModel]) -> list[tuple[str, str, np.ndarray]]:
    """(parent, child, T_parent_child (4, 4)) of each camera's optical frame."""
    return [(WORLD, camera_frame(camera), camera.T_world_camera) for camera in cameras]


class FrameTree:
    """The robot's frames, link by link as the URDF has them."""

    def __init__(self, urdf: Urdf) -> None:
        joints = list(urdf.joints.values())
        self.fixed = [(j.parent, j.child, j.T_parent_joint) for j in joints if j.kind == "fixed"]
        moving = [joint for joint in joints if joint.name in JOINT_NAMES]
        self.moving = [(joint.parent, joint.child) for joint in moving]
        self._columns = [JOINT_NAMES.index(joint.name) for joint in moving]
        self._axes = np.array([joint.axis for joint in moving])
        self._T_parent_joint = np.array([joint.T_parent_joint for joint in moving])

    def poses(self, q: np.ndarray) -> np.ndarray:
        """T_parent_child (M, 4, 4) in the order of `moving`, for joint angles q (36,) [rad]."""
        poses = self._T_parent_joint.copy()
        poses[:, :3, :3] = poses[:, :3, :3] @ rotvec_to_matrix(self._axes * np.asarray(q)[self._columns, None])
        return poses
