"""Convex decomposition: the collision geometry of an object."""

import contextlib
import io
import sys
from collections.abc import Mapping

import numpy as np
import trimesh

from udg_sim.geometry.geometry_process import LimitError, run_job
from udg_sim.geometry.repair import thinned
from udg_sim.geometry.shapes import sphere_directions
from udg_sim.geometry.solid import MeshError

MAX_FACES = 250
"""Faces (and vertices) of one convex part: the physics engine's limit is 255."""
CONVEX_SHARE = 0.98
"""A mesh that fills at least this share of its hull is convex."""


def is_convex(mesh: trimesh.Trimesh) -> bool:
    """Whether the mesh fills its convex hull but for 2 %."""
    return mesh.volume / mesh.convex_hull.volume > CONVEX_SHARE


def decompose(mesh: trimesh.Trimesh, threshold: float = 0.03, max_parts: int = 96) -> tuple[trimesh.Trimesh, ...]:
    """Convex parts that cover the watertight `mesh`: itself if it is convex, else those of CoACD, in this process.

    `threshold` is CoACD's concavity in units of half the longest edge: 0.03 keeps 1.5 mm on a 0.1 m object. For
    meshes of this package: it has no limit of time.
    """
    if is_convex(mesh):
        return (fit_hull(mesh.vertices),)
    with contextlib.redirect_stdout(io.StringIO()):
        parts = _coacd(mesh.vertices, mesh.faces, threshold, max_parts, mcts_iterations=30)
    sys.stdout.flush()
    return tuple(fit_hull(vertices) for vertices in parts)


def decompose_coarsely(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, ...]:
    """Convex parts of a finely meshed watertight object, at most 32, in about a second. Raises MeshError."""
    return _first_of({"coarse": 120.0, "coarse, cleaned": 120.0}, mesh, "object: its convex parts", False)


def decompose_own(mesh: trimesh.Trimesh, what: str) -> tuple[trimesh.Trimesh, ...]:
    """Convex parts of a user's mesh, fine where that is done in time; `what` names it in messages. Raises MeshError."""
    return _first_of(LIMITS_S, mesh, what, True)


LIMITS_S = {"fine": 30.0, "coarse": 30.0, "coarse, cleaned": 60.0}
"""Ways to decompose a user's mesh, one after the other, and the processor time that each may take.

The last lets CoACD clean the mesh first.
"""


def convex_points(vertices: np.ndarray, faces: np.ndarray, method: str) -> list[np.ndarray]:
    """Vertices of each convex part of a mesh by one of LIMITS_S, in this process, however long it takes."""
    if method == "fine":
        return _coacd(vertices, faces, 0.03, 96, mcts_iterations=10)
    mode = "on" if method == "coarse, cleaned" else "off"
    return _coacd(vertices, faces, 0.08, 32, mcts_iterations=20, preprocess_mode=mode)


def _coacd(vertices: np.ndarray, faces: np.ndarray, threshold: float, most: int, **options: object) -> list[np.ndarray]:
    import coacd

    coacd.set_log_level("error")
    parts: list[tuple[np.ndarray, np.ndarray]] = coacd.run_coacd(
        coacd.Mesh(np.asarray(vertices), np.asarray(faces)),
        threshold=threshold,
        max_convex_hull=most,
        mcts_nodes=10,
        seed=0,
        **options,
    )
    return [points for points, _ in parts if _is_solid(points)]


def _is_solid(points: np.ndarray) -> bool:
    """Whether points (N, 3) enclose a volume; of sheets and slivers CoACD also makes parts of three points."""
    return len(points) >= 4 and bool(np.linalg.matrix_rank(points - points[0]) == 3)


def _first_of(
    limits_s: Mapping[str, float], mesh: trimesh.Trimesh, what: str, aloud: bool
) -> tuple[trimesh.Trimesh, ...]:
    if is_convex(mesh):
        return (fit_hull(mesh.vertices),)
    thin = thinned(mesh, 1500)
    inputs = {"vertices": np.asarray(thin.vertices), "faces": np.asarray(thin.faces)}
    for method, limit_s in limits_s.items():
        try:
            parts = run_job(
                "parts", inputs | {"method": np.array(method)}, f"{what} ({method})", limit_s=limit_s, aloud=aloud
            )
        except LimitError:
            continue
        if parts:
            return tuple(fit_hull(parts[f"part_{index}"]) for index in range(len(parts)))
    raise MeshError(f"{what}: CoACD cannot decompose it into convex parts; a cleaner mesh is needed")


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
