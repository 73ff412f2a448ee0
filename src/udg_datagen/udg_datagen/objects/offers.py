"""What an object offers to hands: strategies by its size, and by its handles, rims and other thin parts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import open3d as o3d
import trimesh

from udg_sim.families.sizes import size_class_of
from udg_sim.geometry.ray_scene import ray_scene

BY_SIZE: dict[str, tuple[str, ...]] = {
    "small": ("pinch", "tripod", "whole_hand"),
    "medium": ("whole_hand", "tripod"),
    "large": ("bimanual",),
}
"""Strategies that a size class suggests, the most promising first."""
ENCLOSED_M = 0.11
"""Second longest edge [m] up to which one whole hand closes round a large object."""
THICKNESS_M: dict[str, tuple[float, float]] = {
    "whole_hand": (0.012, 0.09),
    "tripod": (0.003, 0.06),
    "pinch": (0.003, 0.045),
}
"""Thickness [m] of a part that one hand takes so: what lies between thumb and fingers."""
BIMANUAL_M = (0.15, 0.6)
"""Longest edge [m] of an object on which there is room for two hands."""
_PROBES = 1200
_LEAST_SHARE, _LEAST_AREA = 0.015, 3e-4  # of the surface, and in m^2: room for fingertips
_OPPOSED = 0.8  # cosine of the angle between the surfaces on both sides of a part
_FINGER_M = 0.025  # free beside a part, for a finger
_REACH_M = 0.055  # from the middle of a part to where the palm comes from
_PALM_M = 0.12  # free there, for the palm
_SIDES = 12  # directions in which the palm is tried
_SKIN_M = 2e-5


class ThinParts(NamedTuple):
    """Probed points of the surface: thickness [m] of what is behind each, inf where no hand gets round it."""

    thickness: np.ndarray  # (N,)
    area: float  # [m^2] of the surface


def offers(mesh: trimesh.Trimesh) -> tuple[str, ...]:
    """Strategies worth trying on a closed mesh in metres, the most promising first; the same in every call.

    First those of its size class; then those for one hand that have a handle, a rim or another thin part to take, and
    both hands where there is room. It looks at the shape alone: whether table and arms allow it is found by trying.
    """
    longest = float(mesh.extents.max())
    strategies = list(BY_SIZE[size_class_of(min(longest, 0.6))])
    parts = thin_parts(mesh)
    strategies += [name for name in THICKNESS_M if name not in strategies and taken_by(parts, name)]
    if "bimanual" not in strategies and BIMANUAL_M[0] <= longest <= BIMANUAL_M[1]:
        strategies.append("bimanual")
    return tuple(strategies)


def taken_by(parts: ThinParts, strategy: str) -> bool:
    """Whether one hand has enough to take by `strategy`; never for both hands."""
    if strategy not in THICKNESS_M:
        return False
    lower, upper = THICKNESS_M[strategy]
    share = float(((parts.thickness >= lower) & (parts.thickness <= upper)).mean())
    return share >= _LEAST_SHARE and share * parts.area >= _LEAST_AREA


def thin_parts(mesh: trimesh.Trimesh) -> ThinParts:
    """Thickness at points spread over the surface by area, up to what a hand can close around there.

    It does where the surface on the other side faces away, both sides are free for a finger, and from the middle
    some direction along the part soon leads into the open, where the palm can be.
    """
    points, faces = trimesh.sample.sample_surface(mesh, _PROBES, seed=0)
    normals = np.asarray(mesh.face_normals)[faces]
    scene = ray_scene(mesh.vertices, mesh.faces)
    thickness, across = _cast(scene, points - _SKIN_M * normals, -normals)
    usable = np.isfinite(thickness) & (thickness < 0.5) & (np.einsum("ij,ij->i", across, normals) < -_OPPOSED)
    deep = np.where(usable, thickness, 0.0)[:, None]
    usable &= _cast(scene, points + _SKIN_M * normals, normals)[0] > _FINGER_M
    usable &= _cast(scene, points - (deep + 3.0 * _SKIN_M) * normals, -normals)[0] > _FINGER_M
    middle = points - 0.5 * deep * normals
    open_side = np.zeros(len(points), dtype=bool)
    first = np.cross(normals, np.eye(3)[np.abs(normals).argmin(axis=1)])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(normals, first)
    for angle in np.linspace(0.0, 2.0 * np.pi, _SIDES, endpoint=False):
        side = np.cos(angle) * first + np.sin(angle) * second
        out = _cast(scene, middle, side)[0]
        near = out < _REACH_M
        beyond = middle + (np.where(near, out, 0.0)[:, None] + _SKIN_M) * side
        open_side |= near & (_cast(scene, beyond, side)[0] > _PALM_M)
    return ThinParts(np.where(usable & open_side, thickness, np.inf), float(mesh.area))


def _cast(
    scene: o3d.t.geometry.RaycastingScene, origin: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distance (N,) [m] to the first hit, inf without one, and the surface's outward normal (N, 3) there."""
    rays = np.concatenate([origin, direction], axis=1).astype(np.float32)
    hit = scene.cast_rays(o3d.core.Tensor(np.ascontiguousarray(rays)), nthreads=1)
    return hit["t_hit"].numpy().astype(float), hit["primitive_normals"].numpy().astype(float)
