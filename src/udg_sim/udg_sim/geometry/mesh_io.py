"""Reading a user's mesh file and making a solid of it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import trimesh

from udg_description.cache import cache_dir, cached_arrays
from udg_description.errors import UdgError, explain
from udg_sim.geometry.geometry_process import run_job
from udg_sim.geometry.solid import GATE, Bodies, MeshError, Solid, solid_of, sound_notes

__all__ = [
    "MAX_BYTES",
    "OTHER_SUFFIXES",
    "SUFFIXES",
    "MeshError",
    "Solid",
    "make_solid",
    "merged",
    "read_bodies",
    "read_mesh",
    "read_solid",
]

SUFFIXES = (".obj", ".stl", ".ply", ".off", ".glb", ".gltf")
"""Kinds of files that are read."""
OTHER_SUFFIXES = (
    ".3ds",
    ".3mf",
    ".abc",
    ".blend",
    ".brep",
    ".dae",
    ".dxf",
    ".fbx",
    ".igs",
    ".iges",
    ".ifc",
    ".max",
    ".sldprt",
    ".step",
    ".stp",
    ".usd",
    ".usda",
    ".usdc",
    ".usdz",
    ".vrml",
    ".wrl",
    ".x3d",
    ".x_t",
)
"""Kinds of geometry that are not, by name: they have to be exported as one of SUFFIXES."""
MAX_BYTES = 500_000_000
"""A larger file is refused."""
_SMALL_BYTES = 1_000_000


def read_solid(path: Path) -> Solid:
    """Read a mesh file and make one closed solid of it (`solid.solid_of`), in the file's own units.

    A small file that holds a sound mesh is read as it is. All else is done once, in a process with limits of time and
    memory, and kept in the cache by the file's content. Raises MeshError if the file is absent, of an unknown kind,
    unreadable or no solid, or takes too long.
    """
    meshes, notes = _read(path, all_bodies=False)
    return Solid(meshes[0], notes)


def read_bodies(path: Path) -> Bodies:
    """As `read_solid`, of all the bodies of a file that has several."""
    return Bodies(*_read(path, all_bodies=True))


def _read(path: Path, all_bodies: bool) -> tuple[tuple[trimesh.Trimesh, ...], tuple[str, ...]]:
    key = _content_key(path)
    if path.stat().st_size <= _SMALL_BYTES:
        mesh = merged(read_mesh(path))
        notes = sound_notes(mesh, str(path))
        if notes is not None:
            return (mesh,), notes

    def make() -> dict[str, np.ndarray]:
        inputs = {"path": np.array(str(path)), "all_bodies": np.array(all_bodies)}
        try:
            return run_job("solid", inputs, f"mesh {path}: reading and closing it")
        except UdgError as error:
            raise MeshError(str(error)) from error

    name = f"{key}-{GATE}{'-bodies' if all_bodies else ''}.npz"
    arrays = cached_arrays(cache_dir("solids") / name, make)
    meshes = tuple(
        trimesh.Trimesh(arrays[f"vertices_{k}"], arrays[f"faces_{k}"], process=False)
        for k in range(int(arrays["count"]))
    )
    return meshes, tuple(str(note) for note in arrays["notes"])


def _content_key(path: Path) -> str:
    """Hash of a mesh file's content and of the files that a .gltf names. Raises MeshError."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MeshError(f"mesh {path}: unknown kind {path.suffix!r}; valid: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise MeshError(f"mesh {path}: no such file")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise MeshError(f"mesh {path}: {size / 1e6:.0f} MB, valid: up to {MAX_BYTES / 1e6:.0f} MB; decimate it")
        content = path.read_bytes()
        digest = hashlib.sha256(suffix.encode() + content)
        if suffix == ".gltf":
            for side in _side_files(path, content):
                digest.update(side.read_bytes())
    except OSError as error:
        raise MeshError(f"mesh {explain(error, path)}") from error
    return digest.hexdigest()[:24]


def _side_files(path: Path, content: bytes) -> list[Path]:
    try:
        buffers = json.loads(content).get("buffers", [])
        names = [str(buffer["uri"]) for buffer in buffers if not str(buffer.get("uri", "data:")).startswith("data:")]
    except (ValueError, AttributeError, KeyError, TypeError):
        return []  # the reader will tell
    return [side for name in names if (side := path.parent / name).is_file() and side.stat().st_size <= MAX_BYTES]


def read_mesh(path: Path) -> trimesh.Trimesh:
    """The triangles of a mesh file as they are, vertices merged. Raises MeshError."""
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except MemoryError:
        raise
    except Exception as error:  # the readers raise whatever a broken file leads them to
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise MeshError(f"mesh {path}: cannot be read as {path.suffix[1:]} ({reason})") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise MeshError(f"mesh {path}: has no faces; a closed triangle mesh is needed")
    return mesh


def make_solid(mesh: trimesh.Trimesh, name: str) -> Solid:
    """`solid_of` a mesh whose faces need not share their vertices. Raises MeshError."""
    return solid_of(merged(mesh), name)


def merged(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """A plain copy in which vertices at one place are one, where the mesh is of a scale that allows to say so."""
    plain = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    if len(plain.faces) == 0 or plain.faces.min() < 0 or plain.faces.max() >= len(plain.vertices):
        return plain  # the gate tells
    used = np.asarray(plain.vertices)[np.unique(plain.faces)]
    with np.errstate(all="ignore"):
        if np.isfinite(used).all() and 1e-2 <= np.ptp(used, axis=0).max() and np.abs(used).max() < 1e9:
            plain.merge_vertices()
    return plain
