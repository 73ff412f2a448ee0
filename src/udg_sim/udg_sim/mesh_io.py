"""Reading a user's mesh and making a solid of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh

from udg_description.errors import UdgError
from udg_sim.repair import RepairError, repair

SUFFIXES = (".obj", ".stl", ".ply", ".off", ".glb", ".gltf")


HOLE = 2.0
"""Holes whose rim is longer than this times the longest edge are left open."""


class MeshError(UdgError):
    """A mesh that cannot be read or is no solid."""


class Solid(NamedTuple):
    """A watertight mesh and what had to be done to it ("" if nothing)."""

    mesh: trimesh.Trimesh
    note: str


def read_solid(path: Path) -> Solid:
    """Reads a mesh file and repairs it to a watertight solid, in the file's own units.

    Raises MeshError if the file is absent, of an unknown kind, unreadable, empty, not finite or without volume.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise MeshError(f"mesh {path}: unknown kind {path.suffix!r}; valid: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise MeshError(f"mesh {path}: no such file")
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # the readers raise whatever a broken file leads them to
        raise MeshError(f"mesh {path}: cannot be read as {path.suffix[1:]}: {error}") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise MeshError(f"mesh {path}: has no faces; a closed triangle mesh is needed")
    return make_solid(mesh, str(path))


def make_solid(mesh: trimesh.Trimesh, name: str) -> Solid:
    """Watertight copy of `mesh`: vertices merged, holes filled, else wrapped as it is. Raises MeshError."""
    if not np.isfinite(mesh.vertices).all():
        raise MeshError(f"mesh {name}: has vertices that are not finite")
    if np.ptp(mesh.vertices, axis=0).min() <= 1e-6 * np.ptp(mesh.vertices, axis=0).max():
        raise MeshError(f"mesh {name}: is flat, it has no volume; a solid is needed")
    mesh = mesh.copy()
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    if _is_solid(mesh):
        return Solid(_outward(mesh), "")
    mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
    mesh.remove_unreferenced_vertices()
    trimesh.repair.fix_normals(mesh)
    mesh.fill_holes()
    mesh = _capped(mesh)
    if _is_solid(mesh):
        return Solid(_outward(mesh), "holes and faces repaired")
    try:
        wrapped = repair(mesh, name)
    except RepairError as error:
        raise MeshError(str(error)) from error
    return Solid(wrapped.mesh, wrapped.note)


def _capped(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh with fans over its holes; larger holes (see HOLE) are left, they may be openings."""
    edges = mesh.edges[trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)]
    following = dict(edges.tolist())
    if len(edges) == 0 or len(following) < len(edges):  # no hole, or holes that touch
        return mesh
    vertices, faces = list(mesh.vertices), mesh.faces.tolist()
    while following:
        start, loop = next(iter(following)), []
        at = start
        while at in following:
            loop.append(at)
            at = following.pop(at)
        ring = mesh.vertices[loop]
        length = np.linalg.norm(ring - np.roll(ring, -1, axis=0), axis=1).sum()
        if at == start and length <= HOLE * mesh.extents.max():
            faces += [[b, a, len(vertices)] for a, b in zip(loop, [*loop[1:], loop[0]], strict=True)]
            vertices.append(ring.mean(axis=0))
    return trimesh.Trimesh(np.array(vertices), np.array(faces), process=False)


def _is_solid(mesh: trimesh.Trimesh) -> bool:
    longest = float(np.ptp(mesh.vertices, axis=0).max())
    return bool(mesh.is_watertight and mesh.is_winding_consistent and abs(mesh.volume) > 1e-7 * longest**3)


def _outward(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    if mesh.volume < 0:
        mesh.invert()
    return mesh
