"""The user's own meshes as objects with ids: a folder is added once, its good meshes are kept, its bad ones named."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh

from udg_description.cache import UNREADABLE, cache_dir, needed_cache_dir
from udg_description.errors import UdgError
from udg_description.files import write_arrays
from udg_sim.families.sizes import MIN_EDGE_M, SIZES, nominal_mass, size_class_of
from udg_sim.geometry.mesh_io import OTHER_SUFFIXES, SUFFIXES, MeshError, read_solid
from udg_sim.objects.categories import slug

PREFIX = "user_"
GUESSES = (("m", 1.0, 0.6), ("cm", 0.01, 30.0), ("mm", 0.001, 600.0))
"""Unit, metres a unit, and the largest longest edge in the file for which it is guessed."""


class Kept(NamedTuple):
    """A user's mesh in metres as it is kept."""

    mesh: trimesh.Trimesh
    size_class: str
    mass_kg: float
    note: str


class Added(NamedTuple):
    """What became of one file: its id, or the error that it was refused or skipped with."""

    path: Path
    id: str
    note: str
    error: str
    skipped: bool = False  # geometry of a kind that is not read


def add_folder(folder: Path, size_m: float | None = None, unit_m: float | None = None) -> Iterator[Added]:
    """Add every mesh file below `folder`; a refused one does not stop the others.

    Files of geometry that is not read (.step, .dae, ...) are reported as `skipped`.

    `size_m` is the longest edge [m] that every mesh gets; `unit_m` the metres that a unit of the files is. Without
    both the unit is guessed from each mesh: m, cm or mm. Raises UdgError if there is no mesh.
    """
    for value, name in ((size_m, "size"), (unit_m, "unit")):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UdgError(f"objects of {folder}: the {name} is {value}; valid: metres > 0")
    if not Path(folder).is_dir():
        raise UdgError(f"objects of {folder}: no such folder; for a single mesh: path.obj@<longest edge in m>")
    every = sorted(path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith("."))
    skipped = [path for path in every if path.suffix.lower() in OTHER_SUFFIXES]
    files = [path for path in every if path.suffix.lower() in SUFFIXES]
    if not files:
        others = f" ({len(skipped)} of other kinds: export them as one of these)" if skipped else ""
        raise UdgError(f"objects of {folder}: no mesh file there; valid: {', '.join(SUFFIXES)}{others}")
    for path in skipped:
        error = f"mesh {path}: {path.suffix} is not read; export it as {' or '.join(SUFFIXES[:2])}"
        yield Added(path, "", "", error, skipped=True)
    for path in files:
        try:
            id, note = add_mesh(path, size_m, unit_m)
        except UdgError as error:
            yield Added(path, "", "", str(error))
        else:
            yield Added(path, id, note, "")


def add_mesh(path: Path, size_m: float | None = None, unit_m: float | None = None) -> tuple[str, str]:
    """Id and note of a mesh that is added; adding it again changes nothing. Raises MeshError."""
    solid = read_solid(path)
    longest = float(solid.mesh.extents.max())
    factor, how = _factor(longest, size_m, unit_m)
    if not MIN_EDGE_M <= factor * longest <= SIZES["large"].upper:
        raise MeshError(
            f"mesh {path}: its longest edge would be {factor * longest:.4g} m; valid: {MIN_EDGE_M} to "
            f"{SIZES['large'].upper} m: give SIZE (longest edge in metres) or UNIT (metres a unit)"
        )
    mesh = solid.mesh
    mesh.apply_scale(factor)
    note = "; ".join(text for text in (how, solid.note) if text)
    vertices, faces = np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces)
    digest = hashlib.sha256(np.round(vertices * 1e6).astype(np.int64).tobytes() + faces.tobytes()).hexdigest()[:6]
    id = f"{PREFIX}{slug(path.stem)}_{digest}"
    if not _is_kept(id):
        needed_cache_dir("user_objects")
        write_arrays(_file(id), {"vertices": vertices, "faces": faces, "note": np.array(note)})
    return id, note


def _factor(longest: float, size_m: float | None, unit_m: float | None) -> tuple[float, str]:
    if size_m is not None:
        return size_m / longest, ""
    if unit_m is not None:
        return unit_m, ""
    for unit, metres, upper in GUESSES:
        if longest <= upper:
            return metres, f"unit taken to be {unit}"
    return 0.001, "unit taken to be mm"


def kept_ids() -> list[str]:
    """Ids of the user's objects."""
    return sorted(path.stem for path in cache_dir("user_objects").glob(f"{PREFIX}*.npz"))


def read_kept(id: str) -> Kept:
    """The user's object with this id. Raises MeshError."""
    try:
        with np.load(_file(id), allow_pickle=False) as stored:
            mesh = trimesh.Trimesh(stored["vertices"], stored["faces"], process=False)
            note = str(stored["note"])
    except UNREADABLE as error:
        raise MeshError(
            f"object {id}: not among your added objects ({error}); `make objects ADD=folder` adds meshes"
        ) from error
    return Kept(mesh, size_class_of(float(mesh.extents.max())), nominal_mass(float(mesh.volume)), note)


def _is_kept(id: str) -> bool:
    try:
        read_kept(id)
    except MeshError:  # absent, or damaged
        return False
    return True


def _file(id: str) -> Path:
    return cache_dir("user_objects") / f"{id}.npz"
