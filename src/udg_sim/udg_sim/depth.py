"""The two depth cameras by ray casting, with a noise model of a time-of-flight camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import trimesh

from udg_description.camera import CameraModel
from udg_description.errors import UdgError
from udg_description.model import RobotModel
from udg_sim.noise import KinectNoise
from udg_sim.objects import ObjectModel
from udg_sim.scene_mesh import RobotMesh
from udg_sim.view import Box, Hits, View, cast, ray_scene

if TYPE_CHECKING:
    from open3d.t.geometry import RaycastingScene

__all__ = ["DepthError", "DepthRig", "KinectNoise"]

RANGE_M = (0.5, 3.86)
"""Range of the narrow unbinned mode (data sheet) [m]."""
_VIEWS_KEPT = 4


class DepthError(UdgError):
    """Something that the depth cameras cannot render."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Mesh:
    """One rigid mesh with its ray casting structure, in its own frame."""

    scene: RaycastingScene
    center: np.ndarray
    radius: float


class DepthRig:
    """Depth images of robot, table and objects from several cameras.

    Rays are cast against triangles (robot: its primitives), only where something can be hit; the table is a plane.
    """

    def __init__(
        self,
        cameras: Sequence[CameraModel],
        noise: KinectNoise | None = None,
        seed: int = 0,
        robot: RobotModel | None = None,
    ) -> None:
        self.cameras = tuple(cameras)
        self.noise = noise
        self._views: dict[Box | None, list[View]] = {}
        self._robot = RobotMesh(robot)
        self._meshes: dict[str, _Mesh] = {}
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Starts the noise anew: the frames that follow depend on the seed and their count since then alone."""
        self._seed = seed
        self._frame = 0

    def add_mesh(self, key: str, mesh: trimesh.Trimesh) -> None:
        """Makes a mesh (its own frame, metres) known under `key`; ObjectModels need no call."""
        vertices = np.asarray(mesh.vertices)
        center = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        radius = float(np.linalg.norm(vertices - center, axis=1).max())
        self._meshes[key] = _Mesh(scene=ray_scene(vertices, mesh.faces), center=center, radius=radius)

    def render(
        self,
        q: np.ndarray | None,
        objects: Sequence[tuple[ObjectModel | str, np.ndarray]] = (),
        table: bool = True,
        box: Box | None = None,
    ) -> list[np.ndarray]:
        """Depth images (H, W) uint16 [mm], 0 = nothing seen, one for each camera.

        q (36,) [rad], None: no robot. objects: (model or key of add_mesh, T_world_object (4, 4)). box (min, max) in the
        world: only pixels whose rays pass through it are rendered, the others are 0. Raises DepthError.
        """
        meshes = [(self._mesh(which), np.asarray(T, dtype=float)) for which, T in objects]
        views = self._views_of(box)
        robot = None if q is None else self._robot_scene(q, views)
        images = []
        for index, view in enumerate(views):
            depth = view.table_depth.copy() if table else np.full(len(view.ray_norm), np.inf, dtype=np.float32)
            cosine = view.table_cosine.copy()
            if robot is not None:
                scene, pixels = robot
                _keep_nearer(cast(view, scene, None, pixels[index], depth), depth, cosine)
            for mesh, T in meshes:
                center = T[:3, :3] @ mesh.center + T[:3, 3]
                likely = view.may_hit(center[None], np.array([mesh.radius]))
                _keep_nearer(cast(view, mesh.scene, T, likely.pixels, depth), depth, cosine)
            images.append(self._to_mm(view, depth, cosine, index))
        self._frame += 1
        return images

    def _robot_scene(
        self, q: np.ndarray, views: Sequence[View]
    ) -> tuple[RaycastingScene, list[np.ndarray]] | None:
        """The links that some view may see, and the pixels of each view that may see one; None: no link is in view."""
        T_world_link = self._robot.pose(q)
        centers = self._robot.cover_centers(T_world_link)
        likely = [view.may_hit(centers, self._robot.cover.radii) for view in views]
        faces = self._robot.faces_under(np.any([hits.spheres for hits in likely], axis=0))
        if len(faces) == 0:
            return None
        return ray_scene(self._robot.vertices(T_world_link), faces), [hits.pixels for hits in likely]

    def _views_of(self, box: Box | None) -> list[View]:
        """The cameras' views through a box; those of the last few boxes are kept."""
        key = None if box is None else (tuple(map(float, box[0])), tuple(map(float, box[1])))
        if key not in self._views:
            if len(self._views) >= _VIEWS_KEPT:
                del self._views[next(k for k in self._views if k is not None)]
            self._views[key] = [View(camera, key) for camera in self.cameras]
        return self._views[key]

    def _to_mm(self, view: View, depth: np.ndarray, cosine: np.ndarray, camera: int) -> np.ndarray:
        depth = depth.reshape(view.shape)
        if self.noise is not None:
            rng = np.random.Generator(np.random.SFC64([self._seed, self._frame, camera]))
            depth = self.noise.apply(depth, cosine.reshape(view.shape), rng)
        depth = np.where((depth >= RANGE_M[0]) & (depth <= RANGE_M[1]), depth, np.float32(0))
        image = np.zeros((view.camera.height, view.camera.width), dtype=np.uint16)
        image[view.window] = (1000 * depth + np.float32(0.5)).astype(np.uint16)
        return image

    def _mesh(self, which: ObjectModel | str) -> _Mesh:
        key = which if isinstance(which, str) else which.key
        if key not in self._meshes:
            if isinstance(which, str):
                raise DepthError(f"depth cameras know no mesh {key!r}; call add_mesh first or give the ObjectModel")
            self.add_mesh(key, which.mesh)
        return self._meshes[key]


def _keep_nearer(hits: Hits, depth: np.ndarray, cosine: np.ndarray) -> None:
    depth[hits.pixels] = hits.depth
    cosine[hits.pixels] = hits.cosine
