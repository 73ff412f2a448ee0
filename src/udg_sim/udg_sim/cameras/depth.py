"""The two depth cameras by ray casting, with a noise model of a time-of-flight camera."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from weakref import WeakKeyDictionary

import numpy as np
import trimesh

from udg_description.camera import CameraModel
from udg_description.errors import UdgError
from udg_description.model import RobotModel
from udg_description.transforms import transform_points
from udg_sim.cameras.link_scene import LinkScene
from udg_sim.cameras.mesh_cover import cover
from udg_sim.cameras.near import Patch, PosedRobot, RigidMesh, depth_near
from udg_sim.cameras.noise import KinectNoise
from udg_sim.cameras.scene_mesh import RobotMesh
from udg_sim.cameras.view import Box, Hits, LikelyHits, View, cast
from udg_sim.geometry.ray_scene import ray_scene
from udg_sim.objects.library import ObjectModel

__all__ = ["DepthError", "DepthRig", "KinectNoise"]

RANGE_M = (0.5, 3.86)
"""Range of the narrow unbinned mode (data sheet) [m]."""
_VIEWS_KEPT = 4


class DepthError(UdgError):
    """Something that the depth cameras cannot render."""


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
        self._links = LinkScene(self._robot)
        self._meshes: dict[str, RigidMesh] = {}
        self._mesh_of_model: WeakKeyDictionary[ObjectModel, RigidMesh] = WeakKeyDictionary()
        self.reset(seed)

    def with_cameras(self, cameras: Sequence[CameraModel]) -> DepthRig:
        """A rig with the same robot, meshes and noise for other cameras (or other poses of them)."""
        other = copy(self)
        other.cameras, other._views = tuple(cameras), {}
        return other

    def reset(self, seed: int) -> None:
        """Restart the noise: the frames that follow depend on the seed and their count since then alone."""
        self._seed = seed
        self._frame = 0

    def add_mesh(self, key: str, mesh: trimesh.Trimesh) -> None:
        """Make a mesh (its own frame, metres) known under `key`; ObjectModels need no call."""
        self._meshes[key] = _rigid(mesh)

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
        pixels a few px from where an object would be seen without the robot (`near.HALO_PX`). Raises DepthError.
        """
        meshes = [(self._mesh(which), np.asarray(T, dtype=float)) for which, T in objects]
        views = self._views_of(box)
        if near_objects:
            robot = None if q is None else self._posed(q)
            patches = [depth_near(view, meshes, robot, table) for view in views]
        else:
            patches = self._whole(q, meshes, table, views)
        images = [self._to_mm(views[index], patch, index) for index, patch in enumerate(patches)]
        self._frame += 1
        return images

    def _whole(
        self, q: np.ndarray | None, meshes: Sequence[tuple[RigidMesh, np.ndarray]], table: bool, views: Sequence[View]
    ) -> list[Patch | None]:
        """All that the views see."""
        likely: list[LikelyHits] = []
        scene = None
        if q is not None:
            robot = self._posed(q)
            likely = [view.may_hit(robot.centers_world, robot.cover.radii) for view in views]
            faces = self._robot.faces_under(np.any([hits.spheres for hits in likely], axis=0))
            if len(faces):
                scene = ray_scene(self._robot.vertices(robot.T_world_link), faces)
        patches: list[Patch | None] = []
        for index, view in enumerate(views):
            depth = view.table_depth.copy() if table else np.full(len(view.ray_norm), np.inf, dtype=np.float32)
            cosine = view.table_cosine.copy()
            for mesh, T in meshes:
                pixels = view.may_hit(transform_points(T, mesh.centers), mesh.radii).pixels
                _keep_nearer(cast(view, mesh.scene, T, pixels, depth[pixels]), depth, cosine)
            if scene is not None:
                pixels = likely[index].pixels
                _keep_nearer(cast(view, scene, None, pixels, depth[pixels]), depth, cosine)
            everything = (slice(0, view.shape[0]), slice(0, view.shape[1]))
            patches.append(Patch(everything, depth.reshape(view.shape), cosine.reshape(view.shape)))
        return patches

    def _posed(self, q: np.ndarray) -> PosedRobot:
        T_world_link = self._robot.pose(q)
        return PosedRobot(self._links, T_world_link, self._robot.cover, self._robot.cover_centers(T_world_link))

    def _views_of(self, box: Box | None) -> list[View]:
        """The cameras' views through a box; those of the last few boxes are kept."""
        key = None if box is None else (tuple(map(float, box[0])), tuple(map(float, box[1])))
        if key not in self._views:
            if len(self._views) >= _VIEWS_KEPT:
                del self._views[next(k for k in self._views if k is not None)]
            self._views[key] = [View(camera, key) for camera in self.cameras]
        return self._views[key]

    def _to_mm(self, view: View, patch: Patch | None, camera: int) -> np.ndarray:
        """The image, of which only the patch is not 0."""
        image = np.zeros((view.camera.height, view.camera.width), dtype=np.uint16)
        if patch is None:
            return image
        depth = patch.depth
        if self.noise is not None:
            rng = np.random.Generator(np.random.SFC64([self._seed, self._frame, camera]))
            depth = self.noise.apply(depth, patch.cosine, rng)
        depth = np.where((depth >= RANGE_M[0]) & (depth <= RANGE_M[1]), depth, np.float32(0))
        image[view.window][patch.window] = (1000 * depth + np.float32(0.5)).astype(np.uint16)
        return image

    def _mesh(self, which: ObjectModel | str) -> RigidMesh:
        if isinstance(which, ObjectModel):
            if which not in self._mesh_of_model:
                self._mesh_of_model[which] = _rigid(which.mesh)
            return self._mesh_of_model[which]
        if which not in self._meshes:
            raise DepthError(f"depth cameras know no mesh {which!r}; call add_mesh first or give the ObjectModel")
        return self._meshes[which]


def _rigid(mesh: trimesh.Trimesh) -> RigidMesh:
    vertices = np.asarray(mesh.vertices)
    centers, radii = cover(vertices, mesh.faces)
    return RigidMesh(scene=ray_scene(vertices, mesh.faces), centers=centers, radii=radii)


def _keep_nearer(hits: Hits, depth: np.ndarray, cosine: np.ndarray) -> None:
    depth[hits.pixels] = hits.depth
    cosine[hits.pixels] = hits.cosine
