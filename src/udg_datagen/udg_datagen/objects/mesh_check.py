"""Meshes as they come: made into what a grasp can be computed for, with notes of what was done, or refused by name."""

from __future__ import annotations

import numpy as np
import trimesh

from udg_datagen.errors import GraspObjectError
from udg_sim.geometry.solid import MeshError, Solid, solid_of

_MAX_EDGE = 1.5  # [m] beyond which no arm reaches, or the unit is wrong
_MIN_EDGE = 0.002  # [m]


def checked_mesh(mesh: trimesh.Trimesh, name: str) -> Solid:
    """A closed copy of `mesh` in metres, by the gate that all geometry passes; a sound mesh stays as it is.

    Raises:
        GraspObjectError: no solid can be made of it (`udg_sim.geometry.solid`), or it is of another unit.
    """
    if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces) and np.isfinite(mesh.vertices).all():
        longest = float(np.ptp(mesh.vertices, axis=0).max())
        if longest > _MAX_EDGE:
            raise GraspObjectError(
                f"object '{name}': the mesh is {longest:.4g} m long, valid: up to {_MAX_EDGE} m; "
                "if it is in millimetres, scale it by 0.001"
            )
        if longest < _MIN_EDGE:
            raise GraspObjectError(f"object '{name}': the mesh is {longest:.2g} m long, valid: from {_MIN_EDGE} m")
    try:
        return solid_of(mesh, name)
    except MeshError as error:
        raise GraspObjectError(f"object '{name}': {error}") from error
