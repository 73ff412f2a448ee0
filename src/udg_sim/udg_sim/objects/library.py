"""The objects on the table: the built-in library and the user's own meshes."""

import difflib
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh

from udg_description.cache import cache_dir, cached_arrays
from udg_description.errors import UdgError
from udg_description.files import user_path
from udg_sim import families
from udg_sim.families import compositions, flats
from udg_sim.families.compositions import Composed, Composition, composition
from udg_sim.families.flats import flat
from udg_sim.families.sizes import MIN_EDGE_M, SIZES, SizeRange, nominal_mass, size_class_of
from udg_sim.geometry.convex import decompose, decompose_coarsely, decompose_own, fit_hull
from udg_sim.geometry.forms import scaled
from udg_sim.geometry.geometry_process import run_job
from udg_sim.geometry.mesh_io import SUFFIXES, MeshError, read_solid
from udg_sim.geometry.shapes import Shape
from udg_sim.geometry.stable import StablePose, stable_poses
from udg_sim.objects.catalogue import ObjectSpec, builtin_specs
from udg_sim.objects.manifest import Record, manifest
from udg_sim.objects.sources import load_repaired
from udg_sim.objects.user_objects import PREFIX, kept_ids, read_kept

__all__ = [
    "MeshError",
    "HELD_OUT",
    "OWN",
    "SIZES",
    "SOURCES",
    "ObjectLibrary",
    "ObjectModel",
    "SizeRange",
    "USUAL",
    "UnknownObjectError",
]

PREPARATION = "2"
"""Version of the preparation (decomposition, stable poses): part of the cache key."""
_KEPT = 64  # objects; each is about 1 MB with its parts, in each worker, and is read from the cache in 40 ms
_QUICK_HULL = 300  # faces of a hull whose resting poses are found at once
FRICTION = 0.8
"""Nominal friction coefficient of every object."""


class UnknownObjectError(UdgError):
    """An object id that the library does not have."""


USUAL = ("builtin", "generated")
"""Sources of the objects that are meant where none is named."""
OWN = (*USUAL, compositions.NAME)
"""Sources that need nothing but this package."""
HELD_OUT = ("sweethome3d", "myosuite")
"""Sources of the 600 test objects: no training object is from them."""
SOURCES = (*OWN, "pybullet", *HELD_OUT, "user")
"""Where the library's objects come from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectModel:
    """One object: geometry in metres with the centre of mass at the origin, mass, friction, resting poses."""

    id: str
    category: str
    split: str  # "train" | "test"
    size_class: str  # "small" | "medium" | "large"
    mesh: trimesh.Trimesh  # watertight
    convex_parts: tuple[trimesh.Trimesh, ...]  # same frame as the mesh
    mass_kg: float
    friction: float
    stable: tuple[StablePose, ...]  # likeliest first
    note: str = ""  # what had to be repaired
    source: str = "file"  # one of SOURCES, or "file" for "path.obj@0.1"

    def __post_init__(self) -> None:
        if not self.mass_kg > 0 or not self.friction >= 0:
            raise UdgError(f"object {self.id}: mass {self.mass_kg} kg must be > 0, friction {self.friction} >= 0")

    @cached_property
    def key(self) -> str:
        """Hash of the mesh (hexadecimal): the name under which renderers and caches keep the geometry."""
        return geometry_key(self.mesh)

    @property
    def stable_poses(self) -> list[np.ndarray]:
        """T_table_object (4, 4) of each resting pose: on z = 0, centre of mass above the origin; likeliest first."""
        return [pose.T_table_object for pose in self.stable]

    @property
    def stable_probabilities(self) -> np.ndarray:
        """(P,) share of drops that end in each resting pose, summing to 1."""
        return np.array([pose.probability for pose in self.stable])

    @cached_property
    def unit_inertia(self) -> np.ndarray:
        """(3, 3) inertia about the centre of mass for a mass of 1 kg [m^2], object axes, uniform density."""
        return np.asarray(self.mesh.moment_inertia) / self.mesh.volume

    @property
    def inertia(self) -> np.ndarray:
        """(3, 3) inertia about the centre of mass [kg m^2], object axes, uniform density."""
        return self.mass_kg * self.unit_inertia


class Entry(NamedTuple):
    """What the library knows of an object before it is built."""

    id: str
    source: str  # one of SOURCES
    category: str
    split: str  # "train" | "test"
    size_class: str  # "small" | "medium" | "large"
    quick: bool = False  # in the balanced subset for daily measurement


class ObjectLibrary:
    """Objects by id or by "path.obj@0.1" (a mesh file scaled to a longest edge of 0.1 m)."""

    def __init__(self) -> None:
        self._specs = builtin_specs()
        self._recent: dict[str, ObjectModel] = {}  # the longest unused one first
        self._entries = {e.id: e for e in entries()}

    def ids(
        self,
        split: str | None = None,
        size: str | None = None,
        source: str | Sequence[str] | None = None,
        quick: bool = False,
    ) -> list[str]:
        """Ids of the library's objects, sizes and categories mixed.

        Optionally of one split ("train", "test"), size class, source (or several) or of the quick balanced subset.
        Without `source`: those of USUAL, in the quick subset those of HELD_OUT as well. Third-party objects are
        listed whether their files are on this machine or not. Raises UdgError.
        """
        default = (*USUAL, *HELD_OUT) if quick else USUAL
        sources = default if source is None else (source,) if isinstance(source, str) else tuple(source)
        checks = [(split, ("train", "test")), (size, tuple(SIZES)), *((name, SOURCES) for name in sources)]
        for value, valid in checks:
            if value is not None and value not in valid:
                raise UdgError(f"object library: unknown choice {value!r}; valid: {', '.join(valid)}")
        return [
            e.id
            for e in self._entries.values()
            if split in (None, e.split) and size in (None, e.size_class) and e.source in sources and e.quick >= quick
        ]

    def check(self, id: str) -> None:
        """Raise UnknownObjectError, with what is near (MeshError: never added), if no object has the id."""
        if id in self._entries or families.member(id) or composition(id) or flat(id):
            return
        if not id.startswith(PREFIX):
            raise UnknownObjectError(self._unknown(id))
        read_kept(id)

    def get(self, spec: str) -> ObjectModel:
        """The object of a library id or mesh spec. Raises UnknownObjectError, MeshError."""
        model = self._recent.pop(spec, None) or self._made(spec)
        self._recent[spec] = model  # the last one
        if len(self._recent) > _KEPT:
            del self._recent[next(iter(self._recent))]
        return model

    def _made(self, spec: str) -> ObjectModel:
        one, composed, pressed = families.member(spec), composition(spec), flat(spec)
        record = manifest().get(spec)
        if spec in self._specs:
            return _builtin(self._specs[spec])
        if one is not None:
            return _generated(one)
        if composed is not None:
            return _composed(composed, compositions.build(composed))
        if pressed is not None:
            return _composed(pressed, flats.build(pressed))
        if record is not None:
            return _foreign(record)
        if spec.startswith(PREFIX):
            return _users(spec)
        if "@" in spec or Path(spec).suffix.lower() in SUFFIXES:
            return _from_file(spec)
        raise UnknownObjectError(self._unknown(spec))

    def _unknown(self, spec: str) -> str:
        padded = re.sub(r"\d+$", lambda digits: digits[0].lstrip("0").zfill(5), spec)
        if composition(padded) is not None:
            return f"object {spec!r} is not in the library; did you mean {padded}?"
        close = difflib.get_close_matches(spec, list(self._entries), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "`make objects ARGS=--list` prints the valid ids."
        return f"object {spec!r} is not in the library; {hint} A mesh file is given as path.obj@<longest edge in m>"


def entries() -> list[Entry]:
    """All objects of the library: the built-in ones first, then the first of each family, the second of each, ..."""
    known = [Entry(s.id, "builtin", s.category, s.split, s.size_class) for s in builtin_specs().values()]
    quick = len(families.FAMILIES)
    known += [
        Entry(m.id, "generated", m.family.name, "train", m.size_class, number < quick)
        for number, m in enumerate(families.members())
    ]
    name = compositions.NAME
    known += [Entry(c.id, name, name, "train", c.size_class) for c in compositions.compositions()]
    known += [
        Entry(r.id, r.source, r.category, r.split, r.size_class, r.quick)
        for r in manifest().values()
        if r.source not in OWN
    ]
    for id in kept_ids():
        try:
            known.append(Entry(id, "user", "mesh", "train", read_kept(id).size_class))
        except MeshError as error:  # it is missing then; the others are there
            print(f"note: {error}", file=sys.stderr)
    return known


def centred(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh with its centre of mass at the origin."""
    return trimesh.Trimesh(mesh.vertices - mesh.center_mass, mesh.faces, process=False)


def geometry_key(mesh: trimesh.Trimesh) -> str:
    """Hash of vertices (to 1 um) and faces."""
    digest = hashlib.sha256(np.round(np.asarray(mesh.vertices) * 1e6).astype(np.int64).tobytes())
    digest.update(np.asarray(mesh.faces, dtype=np.int64).tobytes())
    return digest.hexdigest()[:20]


def _builtin(spec: ObjectSpec) -> ObjectModel:
    shape = spec.build()
    mass_kg = spec.density * float(shape.mesh.volume)
    return _prepare(shape, spec.id, spec.category, spec.split, spec.size_class, mass_kg, "", source="builtin")


def _generated(one: families.Member) -> ObjectModel:
    built = families.build(one)
    return _prepare(
        built.shape, one.id, one.family.name, "train", one.size_class, built.mass_kg, "", source="generated"
    )


def _composed(one: Composition, built: Composed) -> ObjectModel:
    name = compositions.NAME
    return _prepare(built.shape, one.id, name, "train", one.size_class, built.mass_kg, "", source=name)


def _foreign(record: Record) -> ObjectModel:
    """A third-party object. Raises SourceError if its source is not on this machine."""
    done = load_repaired(record.source, record.path)
    factor = record.longest_edge_m / done.mesh.extents.max()
    shape = scaled(Shape(done.mesh, done.parts), factor)
    return _prepare(
        shape,
        record.id,
        record.category,
        record.split,
        record.size_class,
        record.mass_kg,
        done.note,
        source=record.source,
    )


def _users(id: str) -> ObjectModel:
    kept = read_kept(id)
    return _prepare(
        Shape(kept.mesh, None), id, "mesh", "train", kept.size_class, kept.mass_kg, kept.note, source="user"
    )


def _from_file(spec: str) -> ObjectModel:
    path, at, size = spec.rpartition("@")
    try:
        longest = float(size) if at else float("nan")
    except ValueError:
        longest = float("nan")
    if not MIN_EDGE_M <= longest <= SIZES["large"].upper:
        raise MeshError(
            f"object {spec!r}: needs a size, as path.obj@0.1 (longest edge in metres, "
            f"{MIN_EDGE_M} to {SIZES['large'].upper})"
        )
    solid = read_solid(user_path(path))
    mesh = solid.mesh
    mesh.apply_scale(longest / mesh.extents.max())
    mass_kg = nominal_mass(float(mesh.volume))
    return _prepare(Shape(mesh, None), spec, "mesh", "test", size_class_of(longest), mass_kg, solid.note)


def _prepare(
    shape: Shape, id: str, category: str, split: str, size_class: str, mass_kg: float, note: str, source: str = "file"
) -> ObjectModel:
    """Centres the shape and adds what is expensive (convex parts, resting poses) from the cache."""
    centre = np.array(shape.mesh.center_mass)
    if not np.isfinite(centre).all():
        raise MeshError(f"object {id}: the centre of mass is not finite; the mesh is no solid")
    mesh = centred(shape.mesh)

    if source in ("file", "user"):
        arrays = _own_arrays(mesh, id)
    else:
        arrays = cached_arrays(
            cache_dir("objects") / f"{geometry_key(mesh)}-{PREPARATION}.npz",
            lambda: _arrays(_parts(shape, mesh, centre, source), stable_poses(mesh)),
        )
    groups = np.split(arrays["vertices"], np.cumsum(arrays["counts"])[:-1])
    for array in (mesh.vertices, mesh.faces):
        array.flags.writeable = False
    return ObjectModel(
        id=id,
        category=category,
        split=split,
        size_class=size_class,
        mesh=mesh,
        convex_parts=tuple(trimesh.Trimesh(vertices=v, process=False).convex_hull for v in groups),
        mass_kg=float(mass_kg),
        friction=FRICTION,
        stable=tuple(
            StablePose(T, float(p)) for T, p in zip(arrays["T_table_object"], arrays["probability"], strict=True)
        ),
        note=note,
        source=source,
    )


def _parts(shape: Shape, mesh: trimesh.Trimesh, centre: np.ndarray, source: str) -> Sequence[trimesh.Trimesh]:
    if shape.parts is not None:
        return tuple(fit_hull(part.vertices - centre) for part in shape.parts)
    return decompose(mesh) if source == "builtin" else decompose_coarsely(mesh)


def _arrays(parts: Sequence[trimesh.Trimesh], poses: Sequence[StablePose]) -> dict[str, np.ndarray]:
    return {
        "vertices": np.concatenate([part.vertices for part in parts]),
        "counts": np.array([len(part.vertices) for part in parts]),
        "T_table_object": np.array([pose.T_table_object for pose in poses]),
        "probability": np.array([pose.probability for pose in poses]),
    }


def _own_arrays(mesh: trimesh.Trimesh, id: str) -> dict[str, np.ndarray]:
    """Convex parts and resting poses of a user's mesh: made once for its shape, whatever its size. Raises MeshError."""
    longest = float(mesh.extents.max())
    unit = trimesh.Trimesh(mesh.vertices / longest, mesh.faces, process=False)

    def make() -> dict[str, np.ndarray]:
        parts = decompose_own(unit, f"object {id}: its convex parts")
        if len(unit.convex_hull.faces) <= _QUICK_HULL:
            return _arrays(parts, stable_poses(unit))
        inputs = {"vertices": np.asarray(unit.vertices), "faces": np.asarray(unit.faces)}
        try:
            return _arrays(parts, ()) | run_job("poses", inputs, f"object {id}: its resting poses")
        except UdgError as error:
            raise MeshError(f"object {id}: {error}") from error

    arrays = cached_arrays(cache_dir("objects") / f"{geometry_key(unit)}-unit-{PREPARATION}.npz", make)
    T = arrays["T_table_object"].copy()
    T[:, :3, 3] *= longest
    return arrays | {"vertices": arrays["vertices"] * longest, "T_table_object": T}
