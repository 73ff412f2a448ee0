"""Contact sheet of grasps by ray casting: object, hands, contact forces as arrows, each grasp from two sides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import open3d as o3d
import trimesh

from udg_datagen.grasp_set import GraspSet
from udg_datagen.grasps.grasp_scene import GraspScene, Triangles
from udg_description.layout import Side
from udg_description.model import RobotModel
from udg_sim.cameras.video import captioned, contact_sheet, write_png
from udg_sim.geometry.ray_scene import ray_scene

_TABLE_RGB = np.array([0.82, 0.82, 0.80])
_SKY_RGB = np.array([0.97, 0.97, 0.98])
_LIGHT = np.array([0.3, -0.4, 0.87])
_AZIMUTHS_DEG = (35.0, 155.0)
_ELEVATION = 0.55  # tangent
_DISTANCE = 4.0  # of the camera, in radii of the scene
_HIDDEN = 0.45  # how much of a force shows through what is in front of it


def draw_grasps(
    grasps: GraspSet,
    mesh: trimesh.Trimesh,
    path: Path | str,
    *,
    count: int = 12,
    columns: int = 4,
    size_px: int = 260,
    models: Mapping[Side, RobotModel] | None = None,
) -> None:
    """Write a PNG with up to `count` grasps of the set: the best ones that differ (`GraspSet.spread`)."""
    shown = grasps.spread(count)
    scene = GraspScene(shown, mesh, models, detail=2)
    tiles = [grasp_tile(scene, index, size_px) for index in range(len(shown))]
    if not tiles:
        empty = np.full((size_px, 2 * size_px, 3), 255, np.uint8)
        tiles = [captioned(empty, f"{grasps.object_id}: no grasps")]
    write_png(Path(path), contact_sheet(tiles, columns))


def caption(grasps: GraspSet, index: int) -> str:
    """Hands, energy, penetration and what the grasp withstood."""
    hands = "+".join(grasps.sides)
    text = f"{index + 1}: {grasps.strategy}, {hands}, energy {grasps.energy[index]:.2f}"
    text += f", penetration {1e3 * grasps.penetration[index]:.1f} mm"
    for test, held in zip(grasps.tests, grasps.withstood[index], strict=True):
        text += f"\n{'held' if held else 'FAILED'}: {test}"
    return text


def grasp_tile(scene: GraspScene, index: int, size_px: int, text: str | None = None) -> np.ndarray:
    """Picture (H, W, 3) uint8 of one grasp from two sides, with `text` or what is known of it below."""
    parts = [scene.object(), *(scene.hand(index, h) for h in range(len(scene.hands)))]
    points = np.concatenate([part.vertices for part in parts])
    table = trimesh.creation.box((4.0, 4.0, 0.02), transform=trimesh.transformations.translation_matrix((0, 0, -0.01)))
    table_faces = np.asarray(table.faces)
    parts.append(Triangles(np.asarray(table.vertices), table_faces, np.tile(_TABLE_RGB, (len(table_faces), 1))))
    solid, colours = _ray_scene(parts)
    arrows = scene.arrows(index)
    views = []
    for azimuth in np.deg2rad(_AZIMUTHS_DEG):
        rays = _rays(points, azimuth, size_px)
        picture, depth = _shade(solid, colours, rays)
        if arrows is not None:
            over, over_depth = _shade(*_ray_scene([arrows]), rays)
            opacity = np.where(over_depth < depth + 1e-4, 1.0, _HIDDEN) * np.isfinite(over_depth)
            picture = picture + opacity[..., None] * (over - picture)
        views.append(picture)
    image = (255.0 * np.concatenate(views, axis=1)).clip(0, 255).astype(np.uint8)
    return captioned(image, caption(scene.grasps, index) if text is None else text)


def _rays(points: np.ndarray, azimuth: float, size_px: int) -> np.ndarray:
    """Rays (H, W, 6), origin and direction, of a pinhole camera that has all `points` (N, 3) in its picture."""
    centre = (points.min(axis=0) + points.max(axis=0)) / 2.0
    reach = float(np.linalg.norm(points - centre, axis=1).max())
    forward = -np.array([np.cos(azimuth), np.sin(azimuth), _ELEVATION])
    forward /= np.linalg.norm(forward)
    eye = centre - _DISTANCE * reach * forward
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    across = (points - eye) @ np.stack([right, up], axis=1) / ((points - eye) @ forward)[:, None]
    middle, half = (across.min(axis=0) + across.max(axis=0)) / 2.0, 0.54 * float(np.ptp(across, axis=0).max())
    steps = (np.arange(size_px) + 0.5) / size_px * 2.0 - 1.0
    x, y = middle[0] + half * steps, middle[1] - half * steps
    directions = forward + x[None, :, None] * right + y[:, None, None] * up
    origins = np.broadcast_to(eye, directions.shape)
    return np.concatenate([origins, directions], axis=-1).astype(np.float32)


def _ray_scene(parts: list[Triangles]) -> tuple[o3d.t.geometry.RaycastingScene, np.ndarray]:
    """A scene of all triangles, and the colour (F, 3) of each."""
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)])
    return ray_scene(vertices, faces), np.concatenate([part.colours for part in parts])


def _shade(
    scene: o3d.t.geometry.RaycastingScene, colours: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (H, W, 3) in [0, 1] and distances (H, W), infinite where nothing is hit."""
    hits = scene.cast_rays(o3d.core.Tensor(rays), nthreads=1)
    distance = hits["t_hit"].numpy()
    normal = hits["primitive_normals"].numpy()
    hit = np.isfinite(distance)
    face = np.where(hit, hits["primitive_ids"].numpy().astype(np.int64), 0)
    directions = rays[..., 3:]
    facing = np.where((normal * directions).sum(-1, keepdims=True) > 0.0, -normal, normal)
    shade = 0.55 + 0.45 * np.clip(facing @ _LIGHT, 0.0, 1.0)
    return np.where(hit[..., None], colours[face] * shade[..., None], _SKY_RGB), distance
