"""Pictures and videos of the cell by ray casting: they work on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trimesh

from udg_description.camera import CameraModel
from udg_description.errors import UdgError
from udg_description.files import atomic_path
from udg_description.model import RobotModel
from udg_description.transforms import make_transform
from udg_sim.cameras.scene_mesh import RobotMesh
from udg_sim.cameras.view import View, cast
from udg_sim.geometry.ray_scene import ray_scene
from udg_sim.objects.library import ObjectModel

if TYPE_CHECKING:
    from open3d.t.geometry import RaycastingScene

OBJECT_COLOUR = (232, 116, 44)
TABLE_COLOUR = (176, 184, 190)
BACKGROUND = (244, 246, 248)
_ARM_COLOUR, _JOINT_COLOUR, _HAND_COLOUR, _TIP_COLOUR = (198, 206, 214), (92, 130, 168), (70, 74, 82), (40, 42, 46)
_LIGHT = np.array([0.55, -0.25, 0.8])
_LIGHT = _LIGHT / np.linalg.norm(_LIGHT)


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """Where a picture is taken from: eye and target in the world [m], vertical field of view [deg], size [px]."""

    eye: tuple[float, float, float] = (1.55, -0.75, 0.95)
    target: tuple[float, float, float] = (0.45, 0.0, 0.25)
    fov_deg: float = 38.0
    width: int = 640
    height: int = 480

    def __post_init__(self) -> None:
        if self.width < 16 or self.height < 16 or not 1 < self.fov_deg < 150:
            raise UdgError(f"Viewpoint: {self.width}x{self.height} px, {self.fov_deg} deg; valid: >= 16 px, 1-150 deg")
        if np.linalg.norm(np.cross(np.subtract(self.target, self.eye), (0, 0, 1))) < 1e-6:
            raise UdgError(f"Viewpoint: eye {self.eye} must not be above or at the target {self.target}")

    def camera(self) -> CameraModel:
        """The same as an ideal pinhole camera."""
        forward = np.subtract(self.target, self.eye)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right = right / np.linalg.norm(right)
        rotation = np.column_stack([right, np.cross(forward, right), forward])
        focal = 0.5 * self.height / np.tan(np.deg2rad(self.fov_deg) / 2)
        return CameraModel(
            name="video",
            width=self.width,
            height=self.height,
            fx=focal,
            fy=focal,
            cx=(self.width - 1) / 2,
            cy=(self.height - 1) / 2,
            distortion=(0.0,) * 8,
            T_world_camera=make_transform(rotation, np.array(self.eye)),
        )


class SceneRenderer:
    """Shaded colour pictures of robot, table and objects from one viewpoint."""

    def __init__(self, viewpoint: Viewpoint | None = None, robot: RobotModel | None = None) -> None:
        self.viewpoint = Viewpoint() if viewpoint is None else viewpoint
        self._view = View(self.viewpoint.camera())
        self._robot = RobotMesh(robot, detail=2)
        self._robot_colours = np.array([link_colour(n) for n in self._robot.link_names])[self._robot.face_link]

    def render(
        self,
        q: np.ndarray | None,
        objects: Sequence[tuple[ObjectModel | trimesh.Trimesh, np.ndarray]] = (),
        table: bool = True,
        colours: Sequence[tuple[int, int, int]] | None = None,
    ) -> np.ndarray:
        """Picture (H, W, 3) uint8 RGB with shadows. q (36,) [rad] or None; objects with T_world_object (4, 4)."""
        view = self._view
        depth = view.table_depth.copy() if table else np.full(len(view.ray_norm), np.inf, dtype=np.float32)
        on_table = np.isfinite(depth)
        albedo = np.where(on_table[:, None], np.array(TABLE_COLOUR), np.array(BACKGROUND)).astype(np.float32)
        normals = np.tile(np.array([0, 0, 1], dtype=np.float32), (len(depth), 1))
        scene, faces, centers, radii = self._triangles(q, objects, colours)
        if scene is not None:
            likely = view.may_hit(centers, radii).pixels
            hits = cast(view, scene, None, likely, depth[likely])
            depth[hits.pixels] = hits.depth
            albedo[hits.pixels] = faces[hits.faces]
            flip = np.sign(np.einsum("ij,ij->i", hits.normals, view.directions[hits.pixels]))
            normals[hits.pixels] = -flip[:, None] * hits.normals
        seen = np.flatnonzero(np.isfinite(depth))
        light = np.clip(normals[seen] @ _LIGHT.astype(np.float32), 0, None)
        if scene is not None:
            points = view.origin.astype(np.float32) + depth[seen, None] * view.directions[seen]
            light = np.where(_in_shadow(scene, points + 1e-3 * normals[seen]), 0.15 * light, light)
        fill = 0.5 + 0.5 * np.abs(normals[seen][:, 2])
        albedo[seen] *= (0.55 * fill + 0.6 * light)[:, None]
        return albedo.clip(0, 255).astype(np.uint8).reshape(*view.shape, 3)

    def _triangles(
        self,
        q: np.ndarray | None,
        objects: Sequence[tuple[ObjectModel | trimesh.Trimesh, np.ndarray]],
        colours: Sequence[tuple[int, int, int]] | None,
    ) -> tuple[RaycastingScene | None, np.ndarray, np.ndarray, np.ndarray]:
        """Scene of all triangles in the world, colour of each face, spheres around everything."""
        vertices, faces, tints, centers, radii, count = [], [], [], [], [], 0
        if q is not None:
            T_world_link = self._robot.pose(q)
            vertices.append(self._robot.vertices(T_world_link))
            faces.append(self._robot.faces)
            tints.append(self._robot_colours)
            centers.append(self._robot.cover_centers(T_world_link))
            radii.append(self._robot.cover.radii)
            count = len(vertices[0])
        for index, (model, T) in enumerate(objects):
            mesh = model.mesh if isinstance(model, ObjectModel) else model
            colour = OBJECT_COLOUR if colours is None else colours[index]
            vertices.append((mesh.vertices @ T[:3, :3].T + T[:3, 3]).astype(np.float32))
            faces.append((mesh.faces + count).astype(np.uint32))
            tints.append(np.tile(np.array(colour), (len(mesh.faces), 1)))
            centers.append(T[None, :3, 3])
            radii.append(np.array([np.linalg.norm(mesh.vertices, axis=1).max()]))
            count += len(vertices[-1])
        if not vertices:
            return None, np.empty((0, 3)), np.empty((0, 3)), np.empty(0)
        scene = ray_scene(np.concatenate(vertices), np.concatenate(faces))
        return scene, np.concatenate(tints), np.concatenate(centers), np.concatenate(radii)


def _in_shadow(scene: RaycastingScene, points_world: np.ndarray) -> np.ndarray:
    import open3d

    rays = np.empty((len(points_world), 6), dtype=np.float32)
    rays[:, :3] = points_world
    rays[:, 3:] = _LIGHT
    return scene.test_occlusions(open3d.core.Tensor.from_numpy(rays), nthreads=1).numpy()


def link_colour(link: str) -> tuple[int, int, int]:
    """Colour of a robot link, RGB."""
    if "_hand_" in link:
        return _TIP_COLOUR if link.endswith(("link2", "tip")) else _HAND_COLOUR
    return _JOINT_COLOUR if "wrist" in link or "shoulder" in link or "base" in link else _ARM_COLOUR


def depth_picture(depth_mm: np.ndarray, near_m: float = 0.7, far_m: float = 2.2) -> np.ndarray:
    """Depth image (H, W) uint16 [mm] as a picture (H, W, 3) uint8: near is yellow, far is blue, 0 is black."""
    share = np.clip((depth_mm / 1000 - near_m) / (far_m - near_m), 0, 1)[..., None]
    stops = np.array([[250, 231, 60], [94, 201, 98], [33, 145, 140], [59, 82, 139], [68, 1, 84]], dtype=float)
    place = share[..., 0] * (len(stops) - 1)
    lower = np.minimum(place.astype(int), len(stops) - 2)
    colour = stops[lower] + (place - lower)[..., None] * (stops[lower + 1] - stops[lower])
    return np.where(depth_mm[..., None] > 0, colour, 0).astype(np.uint8)


def beside(picture: np.ndarray, depths_mm: Sequence[np.ndarray]) -> np.ndarray:
    """Picture (H, W, 3) with the depth images stacked to its right at the same total height."""
    height = picture.shape[0] // len(depths_mm)
    column = [_resized(depth_picture(d), height) for d in depths_mm]
    width = min(c.shape[1] for c in column)
    stack = np.concatenate([c[:, :width] for c in column])
    padded = np.zeros((picture.shape[0], width, 3), dtype=np.uint8)
    padded[: len(stack)] = stack
    return np.concatenate([picture, padded], axis=1)


def _resized(picture: np.ndarray, height: int) -> np.ndarray:
    """Nearest-neighbour copy of the given height."""
    width = round(picture.shape[1] * height / picture.shape[0])
    rows = (np.arange(height) * picture.shape[0] / height).astype(int)
    columns = (np.arange(width) * picture.shape[1] / width).astype(int)
    return picture[rows][:, columns]


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """Copy of the picture (H, W, 3) with a line of text in the upper left corner."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((6, 4), text, fill=(20, 20, 20), stroke_width=1, stroke_fill=(255, 255, 255))
    return np.asarray(image)


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 5, gap_px: int = 4) -> np.ndarray:
    """Pictures of one size (H, W, 3) in rows of `columns`, on white."""
    if not pictures:
        raise UdgError("contact sheet: no pictures")
    h, w = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (h + gap_px) - gap_px, columns * (w + gap_px) - gap_px, 3), 255, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * (h + gap_px), (index % columns) * (w + gap_px)
        sheet[top : top + h, left : left + w] = picture
    return sheet


def object_sheet(objects: Sequence[ObjectModel], size_px: int = 176, columns: int = 8) -> np.ndarray:
    """Contact sheet of objects as they are modelled, each filling its picture, with id, size, mass and split."""
    distance = 3.4
    eye = (0.62 * distance, -0.55 * distance, 0.55 * distance)
    view = Viewpoint(eye=eye, target=(0.0, 0.0, 0.0), fov_deg=20.0, width=size_px, height=size_px)
    renderer = SceneRenderer(view)
    tints = {"small": (90, 150, 210), "medium": OBJECT_COLOUR, "large": (110, 170, 90)}
    pictures = []
    for model in objects:
        reach = float(np.linalg.norm(model.mesh.extents))
        centred = model.mesh.vertices - model.mesh.bounds.mean(axis=0)
        mesh = trimesh.Trimesh(1.1 * centred / reach, model.mesh.faces, process=False)
        picture = renderer.render(None, [(mesh, np.eye(4))], table=False, colours=[tints[model.size_class]])
        millimetres = "x".join(f"{1000 * e:.0f}" for e in model.mesh.extents)
        pictures.append(captioned(picture, f"{model.id}\n{millimetres} {1000 * model.mass_kg:.0f} g {model.split}"))
    return contact_sheet(pictures, columns)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 as PNG, atomically."""
    from PIL import Image

    with atomic_path(Path(path).with_suffix(".png")) as temporary:
        Image.fromarray(picture).save(temporary)


class VideoWriter:
    """Frames of one size to be added to an mp4 (H.264)."""

    def __init__(self, append: Callable[[np.ndarray], None]) -> None:
        self._append = append

    def add(self, picture: np.ndarray) -> None:
        """Append a frame (H, W, 3) uint8; odd sizes lose a row or column."""
        h, w = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
        self._append(np.ascontiguousarray(picture[:h, :w]))


@contextmanager
def video_writer(path: Path, fps: float = 10.0) -> Iterator[VideoWriter]:
    """Write an mp4 at `path`; it appears when the block ends without error, and nothing is left when it fails."""
    import imageio.v2 as imageio

    path = Path(path)
    if path.suffix != ".mp4":
        raise UdgError(f"video {path}: the name must end in .mp4")
    with atomic_path(path) as temporary:
        options = {"codec": "libx264", "pixelformat": "yuv420p", "macro_block_size": 2, "quality": 7}
        writer = imageio.get_writer(temporary, format="FFMPEG", mode="I", fps=fps, **options)
        try:
            yield VideoWriter(writer.append_data)
        finally:
            writer.close()
