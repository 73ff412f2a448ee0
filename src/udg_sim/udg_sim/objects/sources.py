"""Third-party objects: archives fetched by the user's own package tools, read in place, never part of this project.

| source | archive | fetched with | licence |
|---|---|---|---|
| sweethome3d | Debian package sweethome3d-furniture | apt-get download (no root) | CC0, CC-BY 3.0 |
| myosuite | wheel myosuite 2.1.5, simhive/object_sim | pip download | Apache-2.0 |
| pybullet | wheel pybullet 3.2.7, pybullet_data/random_urdfs | pip download | zlib |
"""

import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh

from udg_description.cache import cache_dir, cached_arrays, needed_cache_dir
from udg_description.errors import UdgError
from udg_sim.geometry.repair import REPAIR, RepairError, repair

INSTALLED = Path("/usr/share/sweethome3d/furniture")
"""Where the Debian package puts its files if it is installed."""
FURNITURE = ("BlendSwap-CC-0", "BlendSwap-CC-BY", "KatorLegaz", "Reallusion", "Scopia")
FURNITURE_LICENCE = {"BlendSwap-CC-0": "CC0-1.0"}
"""Licences of the furniture files; CC-BY-3.0 where not named."""
WHEELS = {"myosuite": "2.1.5", "pybullet": "3.2.7"}
WHEEL_TAGS = ("--platform", "manylinux2014_x86_64", "--platform", "any", "--python-version", "3.11")
"""Only data are read from the wheels: any machine takes the same ones."""
LICENCE = {"myosuite": "Apache-2.0", "pybullet": "Zlib"}
NAMES = ("sweethome3d", "myosuite", "pybullet")


class SourceError(UdgError):
    """An object source that is not there, cannot be fetched, or lacks a file."""


def is_present(source: str) -> bool:
    """Whether the files of the source are on this machine."""
    try:
        return bool(_archives(source))
    except SourceError:
        return False


def fetch(source: str) -> None:
    """Bring the files of the source into the cache folder. Raises SourceError."""
    if is_present(source):
        return
    folder = needed_cache_dir("sources", source)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        where = Path(temporary)
        if source == "sweethome3d":
            _run(["apt-get", "-q", "download", "sweethome3d-furniture"], where, source)
            _run(["dpkg-deb", "-x", next(where.glob("*.deb")).name, "."], where, source)
            for name in FURNITURE:
                (where / INSTALLED.relative_to("/") / f"{name}.sh3f").replace(folder / f"{name}.sh3f")
        else:
            package = f"{source}=={WHEELS[source]}"
            pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q", "--no-deps"]
            _run([*pip, "--only-binary=:all:", *WHEEL_TAGS, package], where, source)
            wheel = next(where.glob("*.whl"))
            wheel.replace(folder / wheel.name)
    forget()


def _run(command: list[str], folder: Path, source: str) -> None:
    if shutil.which(command[0]) is None:
        raise SourceError(f"object source {source}: {command[0]} is not on this machine; see docs/objects.md")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 or not any(folder.iterdir()):
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no message"]
        raise SourceError(f"object source {source}: `{' '.join(command)}` failed: {reason[0][:200]}")


@cache
def _archives(source: str) -> dict[str, Path]:
    """The zip files of the source by name. Raises SourceError."""
    folder = cache_dir("sources", source)
    if source == "sweethome3d":
        for place in (folder, INSTALLED):
            if all((place / f"{name}.sh3f").is_file() for name in FURNITURE):
                return {name: place / f"{name}.sh3f" for name in FURNITURE}
    elif source in WHEELS:
        for wheel in folder.glob("*.whl"):
            if f"-{WHEELS[source]}-" in wheel.name:
                return {source: wheel}
    else:
        raise SourceError(f"unknown object source {source!r}; valid: {', '.join(NAMES)}")
    raise SourceError(f"object source {source} is not on this machine; `make objects FETCH={source}` fetches it")


def forget() -> None:
    """Look for the sources again at the next query."""
    _archives.cache_clear()


def read(source: str, path: str) -> bytes:
    """One file of a source; `path` is "archive:path in the archive". Raises SourceError."""
    archive, _, inner = path.partition(":")
    archives = _archives(source)
    try:
        with zipfile.ZipFile(archives[archive]) as opened:
            return opened.read(inner)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise SourceError(f"object source {source}: cannot read {path}: {error}") from error


def names(source: str, archive: str) -> list[str]:
    """Paths of the files in an archive of a source. Raises SourceError."""
    with zipfile.ZipFile(_archives(source)[archive]) as opened:
        return opened.namelist()


class Found(NamedTuple):
    """A mesh of a source as one closed solid in the file's own units, and its convex parts where they are known."""

    mesh: trimesh.Trimesh
    parts: tuple[trimesh.Trimesh, ...] | None
    share: float  # of the volume of all pieces
    note: str  # what was done


def load_repaired(source: str, path: str) -> Found:
    """The mesh of a source; repaired once, then from the cache. Raises SourceError, RepairError."""
    raw = read(source, path)
    key = hashlib.sha256(raw).hexdigest()[:20]
    arrays = cached_arrays(cache_dir("repaired") / f"{key}-{REPAIR}.npz", _repairer(raw, path, source == "pybullet"))
    parts = None
    if "part_counts" in arrays:
        groups = np.split(arrays["part_vertices"], np.cumsum(arrays["part_counts"])[:-1])
        parts = tuple(trimesh.Trimesh(v, process=False).convex_hull for v in groups)
    mesh = trimesh.Trimesh(arrays["vertices"], arrays["faces"], process=False)
    return Found(mesh, parts, float(arrays["share"]), str(arrays["note"]))


def _repairer(raw: bytes, path: str, of_blocks: bool) -> Callable[[], dict[str, np.ndarray]]:
    def make() -> dict[str, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            options = {"skip_materials": True} if path.endswith(".obj") else {}
            kind = path.rpartition(".")[2]
            mesh = trimesh.load(io.BytesIO(raw), file_type=kind, force="mesh", process=False, **options)
        if not isinstance(mesh, trimesh.Trimesh):
            raise RepairError(f"mesh {path}: has no faces")
        done = repair(mesh, path)
        arrays = {
            "vertices": np.asarray(done.mesh.vertices, dtype=np.float32).astype(float),
            "faces": np.asarray(done.mesh.faces),
            "share": np.array(done.share),
            "note": np.array(done.note),
        }
        return arrays | (_blocks(mesh, done.mesh.bounds) if of_blocks else {})

    return make


def _blocks(mesh: trimesh.Trimesh, bounds: np.ndarray) -> dict[str, np.ndarray]:
    """The convex blocks that a mesh is put together of; nothing if too many or not of the same extent."""
    mesh = mesh.copy()
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    blocks = [piece.convex_hull for piece in mesh.split(only_watertight=False)]
    corners = np.concatenate([block.vertices for block in blocks])
    if len(blocks) > 20 or np.abs(np.array([corners.min(axis=0), corners.max(axis=0)]) - bounds).max() > 0.1:
        return {}
    return {"part_vertices": corners, "part_counts": np.array([len(block.vertices) for block in blocks])}
