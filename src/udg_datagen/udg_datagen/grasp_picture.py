"""Shaded pictures of grasps by ray casting: the hand's primitives around the object on its table."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import open3d as o3d
import trimesh

from udg_datagen.grasps import GraspSet
from udg_description.model import RobotModel
from udg_description.transforms import transform_points
from udg_description.urdf import Primitive

_OBJECT_RGB = np.array([0.91, 0.55, 0.20])
_HAND_RGB = np.array([0.55, 0.60, 0.68])
_TIP_RGB = np.array([0.35, 0.70, 0.45])
_TABLE_RGB = np.array([0.80, 0.80, 0.78])
_SKY_RGB = np.array([0.97, 0.97, 0.98])
_TIP_LINKS = ("thumb_rota_link2", "index_rota_link2", "mid_link2", "ring_link2", "pinky_link2")


def draw_grasps(grasps: GraspSet, mesh: trimesh.Trimesh, path: Path | str, *, columns: int = 4, rows: int = 3) -> None:
    """Write a PNG with the first grasps of the set, each seen from two sides, in the frame of the table."""
    count = min(len(grasps), columns * rows)
    tiles = [_tile(grasps, mesh, index) for index in range(count)]
    blank = np.full_like(tiles[0], 255) if tiles else np.full((240, 480, 3), 255, np.uint8)
    tiles += [blank] * (-len(tiles) % columns if tiles else 1)
    image = np.concatenate([np.concatenate(tiles[k : k + columns], 1) for k in range(0, len(tiles), columns)], 0)
    temporary = Path(path).with_suffix(".tmp.png")
    iio.imwrite(temporary, image)
    temporary.replace(path)


def primitive_mesh(shape: Primitive) -> trimesh.Trimesh:
    """Triangles of a collision primitive in its link's frame."""
    if shape.kind == "box":
        return trimesh.creation.box(shape.size, transform=shape.T_link_shape)
    if shape.kind == "sphere":
        mesh = trimesh.creation.icosphere(subdivisions=2, radius=shape.size[0])
    else:
        mesh = trimesh.creation.cylinder(radius=shape.size[0], height=shape.size[1], sections=24)
    return mesh.apply_transform(shape.T_link_shape)


def _tile(grasps: GraspSet, mesh: trimesh.Trimesh, index: int) -> np.ndarray:
    parts = [(transform_points(grasps.T_table_object, mesh.vertices), np.asarray(mesh.faces), _OBJECT_RGB)]
    for hand in grasps[index].hands:
        model = RobotModel().hand(hand.side)
        T_table_hand = grasps.T_table_object @ hand.T_object_hand
        for link, T_hand_link in model.link_poses_np(hand.q_grasp).items():
            colour = _TIP_RGB if link.endswith(_TIP_LINKS) else _HAND_RGB
            for shape in model.geometry(link):
                part = primitive_mesh(shape)
                vertices = transform_points(T_table_hand @ T_hand_link, part.vertices)
                parts.append((vertices, np.asarray(part.faces), colour))
    table = trimesh.creation.box((1.0, 1.0, 0.02), transform=trimesh.transformations.translation_matrix((0, 0, -0.01)))
    parts.append((np.asarray(table.vertices), np.asarray(table.faces), _TABLE_RGB))
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    for vertices, faces, _ in parts:
        scene.add_triangles(
            o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(np.asarray(faces, dtype=np.uint32))
        )
    colours = np.stack([part[2] for part in parts])
    target = transform_points(grasps.T_table_object, mesh.bounds.mean(axis=0)[None])[0]
    views = [_view(scene, colours, target, np.deg2rad(azimuth)) for azimuth in (35.0, 155.0)]
    return np.concatenate(views, axis=1)


def _view(scene: o3d.t.geometry.RaycastingScene, colours: np.ndarray, target: np.ndarray, azimuth: float) -> np.ndarray:
    eye = target + 0.42 * np.array([np.cos(azimuth), np.sin(azimuth), 0.55])
    rays = o3d.t.geometry.RaycastingScene.create_rays_pinhole(
        fov_deg=42.0, center=target.tolist(), eye=eye.tolist(), up=[0, 0, -1], width_px=240, height_px=240
    )
    hits = scene.cast_rays(rays, nthreads=1)
    normal = hits["primitive_normals"].numpy()
    part = hits["geometry_ids"].numpy().astype(np.int64)
    hit = part < len(colours)
    light = np.array([0.3, -0.4, 0.87])
    direction = rays.numpy()[..., 3:]
    facing = np.where((normal * direction).sum(-1, keepdims=True) > 0.0, -normal, normal)
    shade = 0.55 + 0.45 * np.clip(facing @ light, 0.0, 1.0)
    colour = colours[np.where(hit, part, 0)] * shade[..., None]
    return (255 * np.where(hit[..., None], colour, _SKY_RGB)).clip(0, 255).astype(np.uint8)
