"""Convex decomposition: the collision geometry of an object."""

import contextlib
import io
import sys

import numpy as np
import trimesh

from udg_sim.coacd_process import coarse_parts
from udg_sim.mesh_io import MeshError
from udg_sim.repair import thinned
from udg_sim.shapes import sphere_directions

MAX_FACES = 250
"""Faces (and vertices) of one convex part: the physics engine's limit is 255."""
CONVEX_SHARE = 0.98
"""A mesh that fills at least this share of its hull is convex."""


def is_convex(mesh: trimesh.Trimesh) -> bool:
    """Whether the mesh fills its convex hull but for 2 %."""
    return mesh.volume / mesh.convex_hull.volume > CONVEX_SHARE


def decompose(mesh: trimesh.Trimesh, threshold: float = 0.03, max_parts: int = 96) -> tuple[trimesh.Trimesh, ...]:
    """Convex parts that cover the watertight `mesh`: itself if it is convex, else those of CoACD.

    `threshold` is CoACD's concavity in units of half the longest edge: 0.03 keeps 1.5 mm on a 0.1 m object.
    """
    if is_convex(mesh):
        return (fit_hull(mesh.vertices),)
    import coacd

    coacd.set_log_level("error")
    source = coacd.Mesh(np.asarray(mesh.vertices), np.asarray(mesh.faces))
    with contextlib.redirect_stdout(io.StringIO()):
        parts = coacd.run_coacd(
            source, threshold=threshold, max_convex_hull=max_parts, mcts_iterations=30, mcts_nodes=10, seed=0
        )
    sys.stdout.flush()
    return tuple(fit_hull(vertices) for vertices, _ in parts)


def decompose_coarsely(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, ...]:
    """Convex parts of a finely meshed watertight object, at most 32, in about a second."""
    if is_convex(mesh):
        return (fit_hull(mesh.vertices),)
    thin = thinned(mesh, 1500)
    parts = coarse_parts(np.asarray(thin.vertices), np.asarray(thin.faces))
    if parts is None:
        raise MeshError("it cannot be decomposed into convex parts (CoACD fails on it); a cleaner mesh is needed")
    return tuple(fit_hull(vertices) for vertices in parts)


def facet_count(hull: trimesh.Trimesh) -> int:
    """Number of flat faces of a convex mesh, coplanar triangles counted once."""
    return len(hull.faces) - sum(len(facet) - 1 for facet in hull.facets)


def fit_hull(points: np.ndarray) -> trimesh.Trimesh:
    """Convex hull of `points` (N, 3); above MAX_FACES faces replaced by a coarser hull of the same volume."""
    hull = trimesh.Trimesh(vertices=points, process=False).convex_hull
    if facet_count(hull) <= MAX_FACES and len(hull.vertices) <= MAX_FACES:
        return hull
    directions = sphere_directions(MAX_FACES // 2)
    extents = hull.extents
    support = hull.vertices[np.unique(np.argmax(hull.vertices @ (directions / extents).T, axis=0))]
    coarse = trimesh.Trimesh(vertices=support, process=False).convex_hull
    centre = coarse.center_mass
    factor = (hull.volume / coarse.volume) ** (1 / 3)
    return trimesh.Trimesh(centre + factor * (coarse.vertices - centre), coarse.faces, process=False)
