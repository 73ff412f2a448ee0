"""Meshes as they come: made into what a grasp can be computed for, with notes of what was done, or refused by name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import trimesh

from udg_datagen.synthesis.errors import GraspObjectError

_MAX_EDGE = 1.5  # [m] beyond which no arm reaches, or the unit is wrong
_MIN_EDGE = 0.002  # [m]
_MIN_VOLUME_SHARE = 1e-7  # of the longest edge cubed
_WHOLE = 0.98  # share of the volume that the largest of several bodies must have to stand for all


class CheckedMesh(NamedTuple):
    """A closed mesh in metres with outward normals, and what had to be repaired."""

    mesh: trimesh.Trimesh
    notes: tuple[str, ...]


def checked_mesh(mesh: trimesh.Trimesh, name: str) -> CheckedMesh:
    """A checked and, where needed, repaired copy of `mesh`.

    Raises:
        GraspObjectError: no faces, not finite, of another unit, flat, open beyond repair, or in separate pieces.
    """
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise GraspObjectError(f"object '{name}': the mesh has no faces; a closed triangle mesh in metres is needed")
    if not np.isfinite(mesh.vertices).all():
        raise GraspObjectError(f"object '{name}': the mesh has vertices that are not finite")
    _check_size(mesh, name)
    checked = trimesh.Trimesh(vertices=mesh.vertices, faces=mesh.faces, process=False)
    notes: list[str] = []
    if not checked.is_watertight:
        checked.merge_vertices()
        checked.update_faces(checked.nondegenerate_faces() & checked.unique_faces())
        checked.remove_unreferenced_vertices()
        notes.append("vertices merged")
    if not checked.is_watertight:
        checked.fill_holes()
        notes.append("holes filled")
    if not checked.is_watertight:
        raise GraspObjectError(f"object '{name}': the mesh is not closed; repair it so that it encloses a volume")
    if not checked.is_winding_consistent:
        trimesh.repair.fix_winding(checked)
        notes.append("faces turned the same way round")
    if checked.volume < 0.0:
        checked.invert()
        notes.append("turned inside out")
    if checked.volume < _MIN_VOLUME_SHARE * float(checked.extents.max()) ** 3:
        raise GraspObjectError(f"object '{name}': the mesh has no volume ({checked.volume:.1e} m^3)")
    checked, note = _one_body(checked, name)
    return CheckedMesh(checked, (*notes, *note))


def _check_size(mesh: trimesh.Trimesh, name: str) -> None:
    longest, shortest = float(np.ptp(mesh.vertices, axis=0).max()), float(np.ptp(mesh.vertices, axis=0).min())
    if longest > _MAX_EDGE:
        raise GraspObjectError(
            f"object '{name}': the mesh is {longest:.4g} m long, valid: up to {_MAX_EDGE} m; "
            "if it is in millimetres, scale it by 0.001"
        )
    if longest < _MIN_EDGE:
        raise GraspObjectError(f"object '{name}': the mesh is {longest:.2g} m long, valid: from {_MIN_EDGE} m")
    if shortest <= 1e-6 * longest:
        raise GraspObjectError(f"object '{name}': the mesh is flat; a solid is needed")


def _one_body(mesh: trimesh.Trimesh, name: str) -> tuple[trimesh.Trimesh, tuple[str, ...]]:
    """Overlapping bodies united; specks beside a large body dropped. Hollows are no bodies."""
    pieces = mesh.split(only_watertight=False)
    if len(pieces) <= 1 or any(piece.volume < 0.0 for piece in pieces):
        return mesh, ()
    united = trimesh.boolean.union(pieces)
    bodies = sorted(united.split(only_watertight=True), key=lambda body: -abs(body.volume))
    if not bodies:
        raise GraspObjectError(f"object '{name}': its {len(pieces)} bodies cannot be united")
    if sum(body.volume > 0.0 for body in bodies) == 1:
        return united, (f"{len(pieces)} bodies united",)
    share = bodies[0].volume / united.volume
    if share < _WHOLE:
        raise GraspObjectError(
            f"object '{name}': the mesh has {len(bodies)} separate bodies, the largest with {100 * share:.0f} % of the "
            "volume; one rigid body is needed"
        )
    return bodies[0], (f"{len(pieces)} bodies: the largest kept, {100 * share:.1f} % of the volume",)
