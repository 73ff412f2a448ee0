"""The two depth cameras by ray casting, with a noise model of a time-of-flight camera."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import trimesh

from udg_description.camera import CameraModel
from udg_description.errors import UdgError
from udg_description.model import RobotModel
from udg_description.transforms import transform_points
from udg_sim.mesh_cover import cover
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
    """One rigid mesh with its ray casting structure and covering spheres (S, 3), (S,) [m], in its own frame."""

    scene: RaycastingScene
    centers: np.ndarray
    radii: np.ndarray


class _Layer(NamedTuple):
    """Depth [m] and cosine of incidence of a view's pixels (K,), and which pixels see an object."""

    depth: np.ndarray
    cosine: np.ndarray
    pixels: np.ndarray


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

    def with_cameras(self, cameras: Sequence[CameraModel]) -> DepthRig:
        """A rig with the same robot, meshes and noise for other cameras (or other poses of them)."""
        other = copy(self)
        other.cameras, other._views = tuple(cameras), {}
        return other

    def reset(self, seed: int) -> None:
        """Starts the noise anew: the frames that follow depend on the seed and their count since then alone."""
        self._seed = seed
        self._frame = 0

    def add_mesh(self, key: str, mesh: trimesh.Trimesh) -> None:
        """Makes a mesh (its own frame, metres) known under `key`; ObjectModels need no call."""
        vertices = np.asarray(mesh.vertices)
        centers, radii = cover(vertices, mesh.faces)
        self._meshes[key] = _Mesh(scene=ray_scene(vertices, mesh.faces), centers=centers, radii=radii)

    def render(
        self,
        q: np.ndarray | None,
        objects: Sequence[tuple[ObjectModel | str, np.ndarray]] = (),
        table: bool = True,
        box: Box | None = None,
        near_objects: bool = False,
    ) -> list[np.ndarray]:
        """Depth images (H, W) uint16 [mm], 0 = nothing seen, one for each camera.

        q (36,) [rad], None: no robot. objects: (model or key of add_mesh, T_world_object (4, 4)). box (min, max) in the
        world: only pixels whose rays pass through it are rendered, the others are 0. near_objects: likewise only
        pixels at most a tile (8 to 16 px) from where an object would be seen without the robot. Raises DepthError.
        """
        meshes = [(self._mesh(which), np.asarray(T, dtype=float)) for which, T in objects]
        views = self._views_of(box)
        layers = [self._objects_in(view, meshes, table) for view in views]
        tiles = [view.tiles_about(layer.pixels) for view, layer in zip(views, layers, strict=True)]
        robot = None if q is None else self._robot_scene(q, views, tiles if near_objects else None)
        images = []
        for index, (view, layer) in enumerate(zip(views, layers, strict=True)):
            if robot is not None:
                scene, pixels = robot
                _keep_nearer(cast(view, scene, None, pixels[index], layer.depth), layer.depth, layer.cosine)
            window = None
            if near_objects:
                window = _blank_all_but(view, view.pixels_of(tiles[index]), layer.depth)
            images.append(self._to_mm(view, layer.depth, layer.cosine, index, window))
        self._frame += 1
        return images

    def _objects_in(
        self, view: View, meshes: Sequence[tuple[_Mesh, np.ndarray]], table: bool
    ) -> _Layer:
        """The table and the objects, and the pixels that see an object."""
        depth = view.table_depth.copy() if table else np.full(len(view.ray_norm), np.inf, dtype=np.float32)
        cosine = view.table_cosine.copy()
        seen = [np.zeros(0, dtype=np.intp)]
        for mesh, T in meshes:
            likely = view.may_hit(transform_points(T, mesh.centers), mesh.radii)
            hits = cast(view, mesh.scene, T, likely.pixels, depth)
            _keep_nearer(hits, depth, cosine)
            seen.append(hits.pixels)
        return _Layer(depth, cosine, np.concatenate(seen))

    def _robot_scene(
        self, q: np.ndarray, views: Sequence[View], tiles: Sequence[np.ndarray] | None
    ) -> tuple[RaycastingScene, list[np.ndarray]] | None:
        """The links that some view may see, and the pixels of each view that may see one; None: no link is in view.

        tiles: those of each view that are looked at; all if None.
        """
        T_world_link = self._robot.pose(q)
        centers = self._robot.cover_centers(T_world_link)
        looked_at: Sequence[np.ndarray | None] = [None] * len(views) if tiles is None else tiles
        radii = self._robot.cover.radii
        likely = [view.may_hit(centers, radii, which) for view, which in zip(views, looked_at, strict=True)]
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

    def _to_mm(
        self, view: View, depth: np.ndarray, cosine: np.ndarray, camera: int, window: tuple[slice, slice] | None
    ) -> np.ndarray:
        """The image, of which only a window (of the view's window) is not 0."""
        window = (slice(0, view.shape[0]), slice(0, view.shape[1])) if window is None else window
        depth, cosine = depth.reshape(view.shape)[window], cosine.reshape(view.shape)[window]
        if self.noise is not None:
            rng = np.random.Generator(np.random.SFC64([self._seed, self._frame, camera]))
            depth = self.noise.apply(depth, cosine, rng)
        depth = np.where((depth >= RANGE_M[0]) & (depth <= RANGE_M[1]), depth, np.float32(0))
        image = np.zeros((view.camera.height, view.camera.width), dtype=np.uint16)
        image[view.window][window] = (1000 * depth + np.float32(0.5)).astype(np.uint16)
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


def _blank_all_but(view: View, pixels: np.ndarray, depth: np.ndarray) -> tuple[slice, slice]:
    """Takes everything away from a view's depth (K,) but some pixels; the window of the view that holds these."""
    blank = np.ones(len(depth), dtype=bool)
    blank[pixels] = False
    depth[blank] = np.inf
    shown = ~blank.reshape(view.shape)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if len(rows) == 0:
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
