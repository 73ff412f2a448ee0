"""The two depth cameras by ray casting, with a noise model of a time-of-flight camera."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from udg_description.camera import CameraModel
from udg_description.errors import UdgError
from udg_description.frames import TABLE
from udg_description.model import RobotModel

from udg_sim.noise import KinectNoise
from udg_sim.objects import ObjectModel
from udg_sim.scene_mesh import RobotMesh

__all__ = ["DepthError", "DepthRig", "KinectNoise"]

RANGE_M = (0.5, 3.86)
"""Range of the narrow unbinned mode (data sheet) [m]."""
_TILE_PX = 8
Box = tuple[Sequence[float], Sequence[float]]


class DepthError(UdgError):
    """Something that the depth cameras cannot render."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Mesh:
    """One rigid mesh with its ray casting structure, in its own frame."""

    scene: Any
    center: np.ndarray
    radius: float


class _View:
    """What never changes about one camera: rays in the world, the table's depth, directions of tiles of pixels."""

    def __init__(self, camera: CameraModel) -> None:
        self.camera = camera
        self.origin = np.asarray(camera.T_world_camera[:3, 3], dtype=float)
        rays = camera.rays().reshape(-1, 3)
        self.ray_norm = np.linalg.norm(rays, axis=1).astype(np.float32)
        self.directions = (rays @ camera.T_world_camera[:3, :3].T).astype(np.float32)  # length: depth 1
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = -self.origin[2] / self.directions[:, 2].astype(float)
            hit = self.origin[:2] + depth[:, None] * self.directions[:, :2]
            on_table = (depth > 0) & TABLE.contains(hit)
        self.table_depth = np.where(on_table, depth, np.inf).astype(np.float32)
        self.table_cosine = np.abs(self.directions[:, 2]) / self.ray_norm
        self._make_tiles()
        self._box: tuple[Any, np.ndarray] | None = None

    def _make_tiles(self) -> None:
        h, w = self.camera.height, self.camera.width
        self.tile_shape = (-(-h // _TILE_PX), -(-w // _TILE_PX))
        rows, columns = np.divmod(np.arange(h * w), w)
        self.tile_of_pixel = (rows // _TILE_PX) * self.tile_shape[1] + columns // _TILE_PX
        unit = self.directions / self.ray_norm[:, None]
        count = self.tile_shape[0] * self.tile_shape[1]
        sums = np.stack([np.bincount(self.tile_of_pixel, unit[:, k], minlength=count) for k in range(3)], axis=1)
        self.tile_direction = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
        cosine = np.einsum("ij,ij->i", unit, self.tile_direction[self.tile_of_pixel])
        widest = np.full(count, 1.0)
        np.minimum.at(widest, self.tile_of_pixel, cosine)
        self.tile_angle = float(np.arccos(np.clip(widest.min(), -1, 1)))

    def may_hit(self, centers_world: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """(H*W,) bool: pixels whose tile may see one of the spheres (S, 3), (S,)."""
        offset = centers_world - self.origin
        distance = np.linalg.norm(offset, axis=1)
        if np.any(distance <= radii):
            return np.ones(len(self.tile_of_pixel), dtype=bool)
        limit = np.cos(np.minimum(np.arcsin(radii / distance) + self.tile_angle, np.pi)).astype(np.float32)
        seen = self.tile_direction @ (offset / distance[:, None]).T.astype(np.float32) >= limit
        return seen.any(axis=1)[self.tile_of_pixel]

    def may_hit_box(self, box: Box) -> np.ndarray:
        """(H*W,) bool: pixels whose ray passes through the axis-aligned box (min, max) in the world; the last is kept."""
        key = (tuple(box[0]), tuple(box[1]))
        if self._box is None or self._box[0] != key:
            with np.errstate(divide="ignore", invalid="ignore"):
                t = (np.array(key)[:, None, :] - self.origin) / self.directions
            near, far = t.min(axis=0).max(axis=1), t.max(axis=0).min(axis=1)
            self._box = (key, (near <= far) & (far > 0))
        return self._box[1]


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
        self._views = [_View(camera) for camera in self.cameras]
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
        self._meshes[key] = _Mesh(scene=_ray_scene(vertices, mesh.faces), center=center, radius=radius)

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
        robot_scene = None
        if q is not None:
            T_world_link = self._robot.pose(q)
            robot_scene = _ray_scene(self._robot.vertices(T_world_link), self._robot.faces)
            robot_centers = self._robot.cover_centers(T_world_link)
        images = []
        for index, view in enumerate(self._views):
            inside = np.ones(len(view.ray_norm), dtype=bool) if box is None else view.may_hit_box(box)
            depth = np.where(inside, view.table_depth, np.inf) if table else np.full(len(inside), np.inf, np.float32)
            cosine = view.table_cosine.copy()
            if robot_scene is not None:
                pixels = np.flatnonzero(inside & view.may_hit(robot_centers, self._robot.cover.radii))
                _cast(view, robot_scene, np.eye(4), pixels, depth, cosine)
            for mesh, T in meshes:
                center = T[:3, :3] @ mesh.center + T[:3, 3]
                pixels = np.flatnonzero(inside & view.may_hit(center[None], np.array([mesh.radius])))
                _cast(view, mesh.scene, T, pixels, depth, cosine)
            shape = (view.camera.height, view.camera.width)
            images.append(self._to_mm(depth.reshape(shape), cosine.reshape(shape), index))
        self._frame += 1
        return images

    def _to_mm(self, depth: np.ndarray, cosine: np.ndarray, camera: int) -> np.ndarray:
        if self.noise is not None:
            rng = np.random.Generator(np.random.SFC64([self._seed, self._frame, camera]))
            depth = self.noise.apply(depth, cosine, rng)
        valid = (depth >= RANGE_M[0]) & (depth <= RANGE_M[1])
        return np.where(valid, np.rint(1000 * np.where(valid, depth, 0)), 0).astype(np.uint16)

    def _mesh(self, which: ObjectModel | str) -> _Mesh:
        key = which if isinstance(which, str) else which.key
        if key not in self._meshes:
            if isinstance(which, str):
                raise DepthError(f"depth cameras know no mesh {key!r}; call add_mesh first or give the ObjectModel")
            self.add_mesh(key, which.mesh)
        return self._meshes[key]


def _ray_scene(vertices: np.ndarray, faces: np.ndarray) -> Any:
    import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        open3d.core.Tensor(np.ascontiguousarray(vertices, dtype=np.float32)),
        open3d.core.Tensor(np.ascontiguousarray(faces, dtype=np.uint32)),
    )
    return scene


def _cast(
    view: _View, scene: Any, T_world_mesh: np.ndarray, pixels: np.ndarray, depth: np.ndarray, cosine: np.ndarray
) -> None:
    """Casts the rays of some pixels; where they hit nearer than `depth`, writes depth and cosine of incidence."""
    if len(pixels) == 0:
        return
    import open3d

    R, p = T_world_mesh[:3, :3], T_world_mesh[:3, 3]
    rays = np.empty((len(pixels), 6), dtype=np.float32)
    rays[:, :3] = R.T @ (view.origin - p)
    rays[:, 3:] = view.directions[pixels] @ R.astype(np.float32)
    result = scene.cast_rays(open3d.core.Tensor(rays), nthreads=1)
    hit = result["t_hit"].numpy()
    nearer = np.flatnonzero(hit < depth[pixels])
    chosen = pixels[nearer]
    normals = result["primitive_normals"].numpy()[nearer]
    depth[chosen] = hit[nearer]
    cosine[chosen] = np.abs(np.einsum("ij,ij->i", normals, rays[nearer, 3:])) / view.ray_norm[chosen]
