"""Triangles of a grasp: the object on its table, the hands, the contact forces as arrows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import trimesh

from udg_datagen.grasp_set import GraspSet
from udg_description.layout import Side
from udg_description.model import RobotModel
from udg_description.transforms import transform_points
from udg_sim.cameras.scene_mesh import RobotMesh

ARROW_M_PER_N = 0.004  # length of a contact force
HAND_RGB = {"left": np.array([0.45, 0.58, 0.76]), "right": np.array([0.56, 0.60, 0.66])}
TIP_RGB = np.array([0.36, 0.70, 0.46])
OBJECT_RGB = np.array([0.91, 0.55, 0.20])
FORCE_RGB = np.array([0.80, 0.10, 0.25])


class Triangles(NamedTuple):
    """A coloured surface in the frame of the table [m]."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3) into vertices
    colours: np.ndarray  # (F, 3) red, green, blue in [0, 1]


class GraspScene:
    """The grasps of a set as geometry, in the frame of the table on which the object rests."""

    def __init__(
        self, grasps: GraspSet, mesh: trimesh.Trimesh, models: Mapping[Side, RobotModel] | None = None, detail: int = 1
    ) -> None:
        """models: kinematics of each hand, rooted in its hand link; the XHands if None."""
        self.grasps = grasps
        self.mesh = mesh
        robot = RobotModel() if models is None else None
        self.hands = [
            RobotMesh(robot.hand(side) if robot is not None else models[side], detail)  # type: ignore[index]
            for side in grasps.sides
        ]
        self.link_colours = [self._link_colours(h, side, self.hands[h]) for h, side in enumerate(grasps.sides)]

    def _link_colours(self, index: int, side: Side, hand: RobotMesh) -> np.ndarray:
        """(L, 3): links at the end of a chain that ends in an active finger are marked."""
        active = [
            name.split("_", 1)[1]
            for name, of in zip(self.grasps.contact_names, self.grasps.contact_hand, strict=True)
            if of == index
        ]
        parents = {joint.parent for joint in hand.model.urdf.joints.values() if joint.kind != "fixed"}
        return np.stack(
            [
                TIP_RGB if link not in parents and any(name in link for name in active) else HAND_RGB[side]
                for link in hand.link_names
            ]
        )

    def object(self) -> Triangles:
        """The object."""
        faces = np.asarray(self.mesh.faces)
        vertices = transform_points(self.grasps.T_table_object, np.asarray(self.mesh.vertices))
        return Triangles(vertices, faces, np.tile(OBJECT_RGB, (len(faces), 1)))

    def link_poses(self, index: int, hand: int, stage: str = "grasp") -> np.ndarray:
        """T_table_link (L, 4, 4) of a hand: stage "pregrasp" (open, back), "open" (in place) or "grasp"."""
        grasps = self.grasps
        T = grasps.Ts_object_pregrasp if stage == "pregrasp" else grasps.T_object_hand
        q = grasps.q_grasp if stage == "grasp" else grasps.q_pregrasp
        return grasps.T_table_object @ T[index, hand] @ self.hands[hand].pose(q[index, hand])

    def hand(self, index: int, hand: int, stage: str = "grasp") -> Triangles:
        """One hand of grasp `index` in a stage of `link_poses`: pads on the surface unless another is asked for."""
        mesh = self.hands[hand]
        colours = self.link_colours[hand][mesh.face_link]
        return Triangles(mesh.vertices(self.link_poses(index, hand, stage)), mesh.faces.astype(np.int64), colours)

    def forces(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Contact points (C, 3) [m] and forces on the object (C, 3) [N] of grasp `index` in the table's frame."""
        T = self.grasps.T_table_object
        points = transform_points(T, self.grasps.contact_points_object[index])
        return points, self.grasps.contact_forces_object[index] @ T[:3, :3].T

    def arrows(self, index: int) -> Triangles | None:
        """The contact forces as arrows that end at the contacts; None without contacts."""
        parts = [
            arrow(p - ARROW_M_PER_N * f, p)
            for p, f in zip(*self.forces(index), strict=True)
            if np.linalg.norm(f) > 1e-6
        ]
        if not parts:
            return None
        joined = trimesh.util.concatenate(parts)
        colours = np.tile(FORCE_RGB, (len(joined.faces), 1))
        return Triangles(np.asarray(joined.vertices), np.asarray(joined.faces), colours)


def arrow(tail: np.ndarray, tip: np.ndarray, radius: float = 0.002) -> trimesh.Trimesh:
    """A solid arrow from `tail` to `tip` (3,) [m]."""
    length = float(np.linalg.norm(tip - tail))
    head = min(4.0 * radius, 0.6 * length)
    outline = [(0.0, 0.0), (radius, 0.0), (radius, length - head), (2.5 * radius, length - head), (0.0, length)]
    mesh = trimesh.creation.revolve(np.array(outline), sections=10)
    mesh.apply_transform(trimesh.geometry.align_vectors([0.0, 0.0, 1.0], (tip - tail) / length))
    mesh.apply_translation(tail)
    return mesh
