"""Making one closed solid of meshes as they are found: open, doubled, in pieces, very fine."""

from typing import NamedTuple

import numpy as np
import trimesh

from udg_description.errors import UdgError

REPAIR = "1"
"""Version of the repair: part of the name of its cached results."""
MAX_RAW_FACES = 300_000
"""Above it a mesh is thinned out before it is closed."""
RESOLUTION = 20_000
"""Leaves of the octree with which open meshes are closed."""
WHOLE = 0.98
"""A closed mesh whose largest solid has less of the volume is wrapped, which closes gaps between its pieces."""
FACES = 5_000
"""Faces of a repaired mesh."""


class RepairError(UdgError):
    """A mesh of which no solid can be made."""


class Repaired(NamedTuple):
    """A closed solid, the share of the volume of all pieces that it has, and what was done ("" if nothing)."""

    mesh: trimesh.Trimesh
    share: float
    note: str


def repair(mesh: trimesh.Trimesh, name: str) -> Repaired:
    """One closed, outward-facing solid of at most about FACES faces: the largest piece. Raises RepairError.

    A mesh that is closed already is only thinned out. Any other is wrapped in a closed surface (octree of RESOLUTION
    leaves; open sheets get a small thickness), thinned out, and reduced to its largest solid.
    """
    if len(mesh.faces) == 0 or not np.isfinite(mesh.vertices).all():
        raise RepairError(f"mesh {name}: has no faces, or vertices that are not finite")
    size = np.ptp(mesh.vertices, axis=0)
    if size.min() <= 1e-6 * size.max():
        raise RepairError(f"mesh {name}: is flat, it has no volume; a solid is needed")
    centre = mesh.bounds.mean(axis=0)
    vertices = (np.asarray(mesh.vertices, dtype=float) - centre) / size.max()
    mesh = trimesh.Trimesh(vertices, mesh.faces, process=False)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
    mesh.remove_unreferenced_vertices()
    notes = []
    solids = _solids(thinned(mesh, FACES)) if mesh.is_watertight and mesh.is_winding_consistent else []
    if _share(solids) < WHOLE:
        solids = _solids(wrapped(thinned(mesh, MAX_RAW_FACES)))
        notes.append("not one closed surface: wrapped in one")
    if not solids:
        raise RepairError(f"mesh {name}: cannot be made a closed solid; close it in a mesh editor")
    share = _share(solids)
    if len(solids) > 1:
        notes.append(f"{len(solids)} pieces: the largest kept, {100 * share:.0f} % of the volume")
    largest = solids[0]
    vertices = largest.vertices * size.max() + centre
    return Repaired(trimesh.Trimesh(vertices, largest.faces, process=False), share, "; ".join(notes))


def _share(solids: list[trimesh.Trimesh]) -> float:
    """Share of the volume that the largest (first) has."""
    return solids[0].volume / sum(solid.volume for solid in solids) if solids else 0.0


def thinned(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """The mesh with at most about `faces` faces."""
    if len(mesh.faces) <= faces:
        return mesh
    import fast_simplification

    vertices, triangles = fast_simplification.simplify(
        np.asarray(mesh.vertices, dtype=np.float32), np.asarray(mesh.faces, dtype=np.int32), target_count=faces
    )
    return trimesh.Trimesh(vertices.astype(float), triangles, process=False)


def wrapped(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """A closed surface of at most about FACES faces round a mesh (octree of RESOLUTION leaves)."""
    import point_cloud_utils

    vertices, triangles = point_cloud_utils.make_mesh_watertight(
        np.ascontiguousarray(mesh.vertices), np.ascontiguousarray(mesh.faces, dtype=np.int32), RESOLUTION
    )
    return thinned(trimesh.Trimesh(vertices, triangles, process=False), FACES)


def _solids(mesh: trimesh.Trimesh) -> list[trimesh.Trimesh]:
    """The separate closed solids of a mesh; empty if it is not closed all over."""
    import manifold3d

    if mesh.volume < 0:
        mesh = mesh.copy()
        mesh.invert()
    body = manifold3d.Manifold(
        manifold3d.Mesh(np.asarray(mesh.vertices, dtype=np.float32), np.asarray(mesh.faces, dtype=np.uint32))
    )
    if body.status() != manifold3d.Error.NoError or body.is_empty():
        return []
    pieces = body.decompose()
    if len(pieces) > 1:  # pieces that overlap become one
        pieces = manifold3d.Manifold.batch_boolean(pieces, manifold3d.OpType.Add).decompose()
    found = []
    for piece in pieces:
        raw = piece.to_mesh()
        solid = trimesh.Trimesh(
            np.asarray(raw.vert_properties, dtype=float)[:, :3], np.asarray(raw.tri_verts), process=False
        )
        if solid.is_watertight and solid.volume > 1e-6:
            found.append(solid)
    return sorted(found, key=lambda solid: -solid.volume)
