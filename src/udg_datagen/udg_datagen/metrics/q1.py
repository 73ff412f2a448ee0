"""Q1, the epsilon quality of Ferrari and Canny (ICRA 1992): the largest disturbance that any unit of grip resists.

L1 convention: the normal forces of all contacts sum to one, so that the wrenches that the grasp can make fill the
convex hull of the union of all cone edges. Q1 is the distance from the origin to the nearest facet of that hull, or
zero where the origin lies outside (no force closure). Contacts are points with Coulomb friction, cones linearised to
pyramids; torque about the centre of mass enters divided by a length, `torque_scale`. Two point contacts have no hold
of the rotation about the line through them: their Q1 is zero, always.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull, QhullError

if TYPE_CHECKING:
    from udg_datagen.grasp_set import GraspSet
    from udg_datagen.synthesis import GraspObject

_NORMAL_STEP = 3e-4  # [m] for the surface's normal, by differences of the exact distance
_DEGENERATE = 1e-6  # smallest singular value of the wrenches over the largest below which the hull is flat


def q1(
    points: np.ndarray,
    normals: np.ndarray,
    com: np.ndarray,
    *,
    friction: float,
    torque_scale: float,
    edges: int = 8,
) -> np.ndarray:
    """Q1 (N,) of grasps with contacts at `points` (N, C, 3) [m], outward surface normals (N, C, 3) of any length.

    Args:
        com: centre of mass (3,) [m], about which torques are taken.
        friction: coefficient of the contacts.
        torque_scale: length [m] by which torques are divided, usually the object's largest radius about `com`.
        edges: of the friction pyramid; more come closer to the cone, from within.
    """
    wrenches = _edge_wrenches(np.asarray(points), np.asarray(normals), np.asarray(com), friction, torque_scale, edges)
    return np.array([wrench_hull_radius(w) for w in wrenches])


def q1_of(grasps: GraspSet, obj: GraspObject, *, friction: float = 0.6, edges: int = 8) -> np.ndarray:
    """Q1 (N,) of a set of grasps of `obj`; torques over the largest distance of its surface from the centre of mass."""
    points = grasps.contact_points_object
    if len(points) == 0:
        return np.zeros(0)
    steps = _NORMAL_STEP * np.eye(3)
    slopes = [obj.distance(points + step) - obj.distance(points - step) for step in steps]
    scale = float(np.linalg.norm(obj.mesh.vertices - obj.com, axis=1).max())
    return q1(points, np.stack(slopes, axis=-1), obj.com, friction=friction, torque_scale=scale, edges=edges)


def wrench_hull_radius(wrenches: np.ndarray) -> float:
    """Radius of the largest ball about the origin inside the convex hull of `wrenches` (k, d); zero if outside."""
    if not np.isfinite(wrenches).all() or len(wrenches) <= wrenches.shape[1]:
        return 0.0
    values = np.linalg.svd(wrenches - wrenches.mean(axis=0), compute_uv=False)
    if values[-1] < _DEGENERATE * values[0]:
        return 0.0
    try:
        hull = ConvexHull(wrenches)
    except QhullError:  # flat within Qhull's own precision
        return 0.0
    return max(0.0, float(-hull.equations[:, -1].max()))


def _edge_wrenches(
    points: np.ndarray, normals: np.ndarray, com: np.ndarray, friction: float, torque_scale: float, edges: int
) -> np.ndarray:
    """Wrenches (N, C * edges, 6) of the pyramids' edges, each with a normal force of one."""
    inward = -normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    reference = np.eye(3)[np.abs(inward).argmin(axis=-1)]
    first = np.cross(inward, reference)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(inward, first)
    angle = (2.0 * math.pi / edges) * np.arange(edges)
    sideways = np.cos(angle)[:, None] * first[..., None, :] + np.sin(angle)[:, None] * second[..., None, :]
    force = inward[..., None, :] + friction * sideways
    torque = np.cross((points - com)[..., None, :], force) / torque_scale
    wrenches = np.concatenate([force, torque], axis=-1)
    return wrenches.reshape(len(points), -1, 6)
