"""Meshes as people bring them, broken in one way or several, each with the volume of the clean mesh it was made of.

`python src/udg_sim/test/geometry/hostile_meshes.py 500` makes that many and counts what the gate makes of them.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import trimesh
from hypothesis import strategies as st


class Hostile(NamedTuple):
    """A broken mesh, the volume of the clean one in the same units, and how it was broken."""

    mesh: trimesh.Trimesh
    volume: float
    how: tuple[str, ...]


def plain(vertices: np.ndarray, faces: np.ndarray) -> trimesh.Trimesh:
    """A mesh of the arrays as they are."""
    return trimesh.Trimesh(np.array(vertices, dtype=float), np.array(faces), process=False)


def joined(*meshes: trimesh.Trimesh) -> trimesh.Trimesh:
    """Several meshes as one file holds them."""
    return trimesh.util.concatenate([plain(m.vertices, m.faces) for m in meshes])


def moved(mesh: trimesh.Trimesh, *at: float) -> trimesh.Trimesh:
    """A copy elsewhere."""
    return plain(mesh.vertices + np.array(at), mesh.faces)


def mirrored(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """A copy whose faces look inward."""
    return plain(mesh.vertices, mesh.faces[:, ::-1])


def soup(mesh: trimesh.Trimesh, jitter: float = 0.0, seed: int = 0) -> trimesh.Trimesh:
    """A copy in which no triangle shares a vertex, as in STL files."""
    vertices = mesh.triangles.reshape(-1, 3)
    noise = jitter * np.random.default_rng(seed).uniform(-1.0, 1.0, vertices.shape)
    return plain(vertices + noise, np.arange(len(vertices)).reshape(-1, 3))


def _bodies() -> list[Callable[[np.random.Generator], trimesh.Trimesh]]:
    create = trimesh.creation
    return [
        lambda rng: create.box(rng.uniform(0.3, 1.0, 3)),
        lambda rng: plain(
            create.icosphere(subdivisions=2).vertices * rng.uniform(0.3, 0.6, 3), create.icosphere(subdivisions=2).faces
        ),
        lambda rng: create.cylinder(radius=rng.uniform(0.15, 0.5), height=rng.uniform(0.2, 1.2), sections=24),
        lambda rng: create.capsule(radius=rng.uniform(0.15, 0.3), height=rng.uniform(0.2, 1.0), count=(12, 12)),
        lambda rng: create.annulus(r_min=0.3, r_max=rng.uniform(0.4, 0.6), height=rng.uniform(0.15, 0.5), sections=24),
        lambda rng: create.torus(
            major_radius=0.5, minor_radius=rng.uniform(0.1, 0.2), major_sections=24, minor_sections=12
        ),
        lambda rng: create.cone(radius=rng.uniform(0.2, 0.5), height=rng.uniform(0.4, 1.0), sections=24),
    ]


def clean(rng: np.random.Generator) -> trimesh.Trimesh:
    """A closed body with a longest edge of about 1, turned at random."""
    bodies = _bodies()
    mesh = bodies[rng.integers(len(bodies))](rng)
    mesh.apply_transform(trimesh.transformations.random_rotation_matrix(rng.random(3)))
    return plain(mesh.vertices, mesh.faces)


def _with_a_part(mesh: trimesh.Trimesh, rng: np.random.Generator, turned: bool) -> tuple[trimesh.Trimesh, float]:
    """The mesh and another body that overlaps it, in one file; the volume of both together."""
    part = clean(rng)
    part = moved(part, *(0.4 * rng.uniform(-1.0, 1.0, 3)))
    both = trimesh.boolean.union([mesh, part], engine="manifold")
    inside = not len(trimesh.boolean.difference([part, mesh], engine="manifold").faces)
    if turned and inside:  # it would be a hollow
        turned = False
    return joined(mesh, mirrored(part) if turned else part), float(both.volume)


def broken(seed: int, ways: tuple[str, ...]) -> Hostile:
    """A clean mesh broken in `ways` (names of WAYS), one after the other."""
    rng = np.random.default_rng(seed)
    mesh = clean(rng)
    volume = float(mesh.volume)
    for way in ways:
        if way == "overlapping part":
            mesh, volume = _with_a_part(mesh, rng, turned=False)
        elif way == "mirrored part":
            mesh, volume = _with_a_part(mesh, rng, turned=True)
        elif way in _SCALES:
            mesh, volume = plain(mesh.vertices * _SCALES[way], mesh.faces), volume * _SCALES[way] ** 3
        else:
            mesh = WAYS[way](mesh, rng)
    return Hostile(mesh, volume, ways)


_SCALES = {"tiny": 1e-7, "huge": 1e7, "in mm": 1000.0}


def _holed(mesh: trimesh.Trimesh, rng: np.random.Generator) -> trimesh.Trimesh:
    """Without one triangle, the smallest of a few."""
    few = rng.choice(len(mesh.faces), size=min(8, len(mesh.faces)), replace=False)
    return plain(mesh.vertices, np.delete(mesh.faces, few[mesh.area_faces[few].argmin()], axis=0))


def _degenerate(mesh: trimesh.Trimesh, rng: np.random.Generator) -> trimesh.Trimesh:
    a, b = mesh.faces[rng.integers(len(mesh.faces), size=3), :2].T
    return plain(mesh.vertices, np.concatenate([mesh.faces, np.stack([a, b, a], axis=1)]))


def _flipped(mesh: trimesh.Trimesh, rng: np.random.Generator) -> trimesh.Trimesh:
    faces = mesh.faces.copy()
    some = rng.random(len(faces)) < rng.uniform(0.05, 0.4)
    faces[some] = faces[some][:, ::-1]
    return plain(mesh.vertices, faces)


def _t_junctions(mesh: trimesh.Trimesh, rng: np.random.Generator) -> trimesh.Trimesh:
    """One face split along an edge whose other face is not."""
    k = int(mesh.area_faces.argmax())
    a, b, c = mesh.faces[k]
    middle = len(mesh.vertices)
    vertices = np.vstack([mesh.vertices, mesh.vertices[[a, b]].mean(axis=0)])
    return plain(vertices, np.vstack([np.delete(mesh.faces, k, axis=0), [[a, middle, c], [middle, b, c]]]))


def _part_doubled(mesh: trimesh.Trimesh, rng: np.random.Generator) -> trimesh.Trimesh:
    return plain(mesh.vertices, np.vstack([mesh.faces, mesh.faces[: 1 + len(mesh.faces) // 3]]))


def _stray(mesh: trimesh.Trimesh, rng: np.random.Generator) -> trimesh.Trimesh:
    """With a small triangle in its middle."""
    corners = mesh.vertices.mean(axis=0) + 0.02 * float(mesh.extents.max()) * np.eye(3)
    return joined(mesh, plain(corners, np.array([[0, 1, 2]])))


def _loose(mesh: trimesh.Trimesh, rng: np.random.Generator) -> trimesh.Trimesh:
    """With vertices that no face has, one not finite."""
    return plain(np.vstack([mesh.vertices, [[np.nan, 0, 0], [1e9, 1e9, 1e9]]]), mesh.faces)


WAYS: dict[str, Callable[[trimesh.Trimesh, np.random.Generator], trimesh.Trimesh]] = {
    "inside out": lambda mesh, rng: mirrored(mesh),
    "soup": lambda mesh, rng: soup(mesh),
    "jittered soup": lambda mesh, rng: soup(mesh, 1e-7 * float(mesh.extents.max()), int(rng.integers(1000))),
    "doubled": lambda mesh, rng: joined(mesh, mesh),
    "doubled, turned": lambda mesh, rng: joined(mesh, mirrored(mesh)),
    "doubled faces": _part_doubled,
    "faces turned": _flipped,
    "small hole": _holed,
    "degenerate": _degenerate,
    "T-junction": _t_junctions,
    "far": lambda mesh, rng: moved(mesh, *(float(mesh.extents.max()) * rng.uniform(-1e6, 1e6, 3))),
    "loose vertices": _loose,
    "stray triangle": _stray,
}
"""Ways to break a mesh; with two more that add a part to it, and three that scale it."""
NAMES = (*WAYS, "overlapping part", "mirrored part", *_SCALES)


@st.composite
def hostile_meshes(draw: st.DrawFn) -> Hostile:
    """A mesh broken in one to three ways."""
    ways = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    return broken(draw(st.integers(0, 10_000)), in_order(ways))


def in_order(ways: Sequence[str]) -> tuple[str, ...]:
    """Ways as they go together: one part at most, added to a mesh that is whole; loose vertices, not finite, last."""
    first = [way for way in ways if "part" in way][:1]
    last = [way for way in ways if way == "loose vertices"]
    return (*first, *(way for way in ways if "part" not in way and way not in last), *last)


def count(number: int, seed: int = 0) -> Counter[str]:
    """What the gate makes of so many broken meshes; prints each that is not right, and the longest time."""
    from udg_sim.geometry.mesh_io import make_solid
    from udg_sim.geometry.solid import MeshError

    rng, outcomes, longest_s = np.random.default_rng(seed), Counter[str](), 0.0
    for _ in range(number):
        ways = in_order(list(rng.choice(NAMES, size=rng.integers(1, 4), replace=False)))
        hostile, start = broken(int(rng.integers(100_000)), ways), time.process_time()
        try:
            found = make_solid(hostile.mesh, "hostile")
        except MeshError as error:
            outcome, what = "refused", str(error)
        else:
            share = found.mesh.volume / hostile.volume
            outcome = "right" if abs(share - 1.0) < 0.01 else "off, noted" if found.notes else "off, not a word"
            what = f"{share:.3f} of the volume: {found.note}"
        took_s = time.process_time() - start
        longest_s = max(longest_s, took_s)
        outcomes[outcome] += 1
        outcomes["longer than 30 s"] += took_s > 30.0
        if outcome != "right" or took_s > 30.0:
            print(f"{', '.join(ways)}: {outcome}: {what} ({took_s:.1f} s)", flush=True)
    print(f"longest {longest_s:.1f} s of processor time")
    return outcomes


if __name__ == "__main__":
    print(dict(count(int(sys.argv[1]) if len(sys.argv) > 1 else 500)))
