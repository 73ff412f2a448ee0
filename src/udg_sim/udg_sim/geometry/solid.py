"""The gate for geometry: a triangle mesh as people bring it becomes one closed rigid body, or is refused by name.

Files of users, objects that grasps are synthesised for and the links of described hands all pass through here, so that
the same mesh is taken, noted or refused the same way everywhere. A sound mesh passes as it is, vertex by vertex.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from udg_description.errors import UdgError
from udg_sim.geometry import repair
from udg_sim.geometry.geometry_process import LimitError, run_job
from udg_sim.geometry.volume_surface import surface_of_volume

GATE = "1"
"""Version of the gate: part of the name of its cached results."""
MAX_FACES = 2_000_000
"""A mesh of more is refused: it would take minutes and gigabytes."""
FINE_FACES = 20_000
"""A mesh of more is thinned out to about repair.FACES, closed or open."""
MAX_BODIES = 200
"""Separate bodies that are looked at; the rest must not matter."""
HOLE = 2.0
"""Holes whose rim is longer than this times the longest edge are left open."""
MOST = 0.85
"""The same where nothing joins them; below it the mesh is refused."""
FAR = 100.0
"""Times the longest edge that coordinates may be away from the origin before the mesh is moved to it."""
_FLAT = 1e-6  # thickness over the longest edge
_LEAST_VOLUME = 1e-7  # of the longest edge cubed
_SNAPS = (8, 6, 5, 4)  # digits of the longest edge to which vertices are merged, one after the other
_SCRAPS = 0.02  # share of the surface that open scraps beside a closed body may have
_STEP = 2e-3  # of an edge: coarsest steps of coordinates that are no harm
_CROSSED = 5e-3  # share of the volume that a surface may enclose twice
_PROBES = 4000
_WRAP_S = 15.0  # processor time that wrapping an open surface may take
_MAX_PAIRS = 2_000_000  # of vertices near each other
_GAP = 0.012  # half the gap between bodies, over the longest edge, that is closed
_SCALES = (1e-2, 1e4)  # longest edges that trimesh's absolute tolerances suit


class MeshError(UdgError):
    """A mesh that cannot be read, or of which no single solid can be made."""


class Solid(NamedTuple):
    """A closed, outward-facing mesh and what had to be done to it (nothing, as a rule)."""

    mesh: trimesh.Trimesh
    notes: tuple[str, ...]

    @property
    def note(self) -> str:
        """The notes as one text, "" without any."""
        return "; ".join(self.notes)


class Bodies(NamedTuple):
    """Closed, outward-facing bodies that neither touch nor hold each other, largest first, and what was done."""

    meshes: tuple[trimesh.Trimesh, ...]
    notes: tuple[str, ...]


def solid_of(mesh: trimesh.Trimesh, name: str) -> Solid:
    """One closed rigid body of `mesh`, in its own units; `name` is for the error.

    Each body is turned outward by itself, bodies that meet are united, small holes filled, surfaces that do not close
    wrapped, very fine meshes thinned out. A body inside another that is turned inwards is a hollow. Of bodies apart
    the largest is kept if it has 85 % of the volume. A mesh far from its origin comes back about its own middle.

    Raises MeshError: no faces, not finite, flat, without volume, too fine, or separate bodies of similar size.
    """
    found = bodies_of(mesh, name)
    first, *others = found.meshes
    if not others:
        return Solid(first, found.notes)
    volumes = [body.volume for body in found.meshes]
    share, count = volumes[0] / sum(volumes), len(volumes)
    kept = f"{count} bodies: the largest kept, {100 * share:.1f} % of the volume"
    if share >= repair.WHOLE:
        return Solid(first, (*found.notes, kept))
    joined = _joined(found.meshes)
    if joined is not None:
        return Solid(joined, (*found.notes, f"{count} bodies with gaps between them: wrapped in one surface"))
    if share >= MOST:
        return Solid(first, (*found.notes, kept))
    raise MeshError(
        f"mesh {name}: has {count} separate bodies, the largest with {100 * share:.0f} % of the volume; one rigid body "
        "is needed: join them, or use a file for each"
    )


def bodies_of(mesh: trimesh.Trimesh, name: str) -> Bodies:
    """The closed bodies of `mesh` as `solid_of` finds them, however many there are. Raises MeshError."""
    with _named(name):
        return _bodies_of(mesh, name)


def sound_notes(mesh: trimesh.Trimesh, name: str) -> tuple[str, ...] | None:
    """Notes of a mesh that passes as it is; None if something has to be done to it. Raises MeshError."""
    with _named(name):
        _check(mesh, name)
        return _as_it_is(mesh)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Whatever qhull, trimesh and the like raise about a mesh, as a MeshError with its name."""
    try:
        with np.errstate(all="ignore"):  # trimesh divides by volumes and areas that may be zero
            yield
    except (UdgError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise MeshError(f"mesh {name}: cannot be made a closed solid ({reason})") from error


def _bodies_of(mesh: trimesh.Trimesh, name: str) -> Bodies:
    sound = sound_notes(mesh, name)
    if sound is not None:
        return Bodies((mesh.copy(),), sound)
    low, high = _bounds(mesh)
    middle, longest = 0.5 * (low + high), float((high - low).max())
    notes: list[str] = []
    if np.abs(middle).max() > FAR * longest:
        notes.append("far from its origin: moved to it")
        back = np.zeros(3)
    else:
        back = middle
    work = trimesh.Trimesh((np.asarray(mesh.vertices, dtype=float) - middle) / longest, mesh.faces, process=False)
    bodies, done = _bodies(work, name)
    found = []
    for body in bodies:
        body = _checked_body(body, name)
        found.append(trimesh.Trimesh(body.vertices * longest + back, body.faces, process=False))
    return Bodies(tuple(found), (*notes, *done))


def _check(mesh: trimesh.Trimesh, name: str) -> None:
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise MeshError(f"mesh {name}: has no faces; a closed triangle mesh is needed")
    if len(mesh.faces) > MAX_FACES:
        raise MeshError(f"mesh {name}: has {len(mesh.faces)} faces, valid: up to {MAX_FACES}; decimate it first")
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise MeshError(f"mesh {name}: its faces refer to missing vertices")
    corners = np.asarray(mesh.vertices, dtype=float)[np.unique(mesh.faces)]
    if not np.isfinite(corners).all():
        raise MeshError(f"mesh {name}: has vertices that are not finite")
    size = np.ptp(corners / 4, axis=0) * 4  # without overflow
    longest = float(size.max())
    if not 1e-30 < longest < 1e30:
        raise MeshError(f"mesh {name}: its longest edge is {longest:.3g}; not a plausible length in any unit")
    away = (corners - corners.mean(axis=0)) / longest
    if np.ptp(away, axis=0).min() <= _FLAT or np.ptp(away @ np.linalg.eigh(away.T @ away)[1], axis=0).min() <= _FLAT:
        raise MeshError(f"mesh {name}: is flat, it has no volume; a solid is needed")
    step = np.spacing(np.abs(corners).max(axis=0).astype(np.float32)).astype(float)
    single = (corners.astype(np.float32) == corners).all(axis=0)
    step = np.where(single, step, np.spacing(np.abs(corners).max(axis=0)))
    coarse = step > _STEP * size
    if coarse.any():
        raise MeshError(
            f"mesh {name}: is so far from its origin that its coordinates have steps of "
            f"{step[coarse].max():.2g}, with {longest:.3g} for the longest edge; export it about its own origin"
        )


def _bounds(mesh: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    corners = np.asarray(mesh.vertices, dtype=float)[np.unique(mesh.faces)]
    return corners.min(axis=0), corners.max(axis=0)


def _as_it_is(mesh: trimesh.Trimesh) -> tuple[str, ...] | None:
    """Notes of a mesh that is one closed body, outward, not too fine, of a usual scale; None if it is not."""
    low, high = _bounds(mesh)
    longest = float((high - low).max())
    if len(mesh.faces) > FINE_FACES or not _SCALES[0] <= longest <= _SCALES[1]:
        return None
    if np.abs(0.5 * (low + high)).max() > FAR * longest or not np.isfinite(mesh.vertices).all():
        return None
    if not (mesh.is_watertight and mesh.is_winding_consistent) or mesh.volume <= _LEAST_VOLUME * longest**3:
        return None
    notes: tuple[str, ...] = ()
    shells = list(_shells(mesh))
    if len(shells) > 1:
        order = _sorted_out(shells)
        if len(shells) == MAX_BODIES or len(order.bodies) > 1 or order.turned:
            return None
        notes = tuple(order.notes)
    return notes if _com_inside(mesh) and not _crosses_itself(mesh) else None


def _bodies(mesh: trimesh.Trimesh, name: str) -> tuple[list[trimesh.Trimesh], list[str]]:
    """Closed bodies of a mesh about its middle with longest edge 1, and what was done."""
    fine = len(mesh.faces) > repair.MAX_RAW_FACES
    if fine:
        mesh = repair.thinned(_tidied(mesh, _SNAPS[0], cancel=False)[0], repair.MAX_RAW_FACES)
    shells, notes = _closed_shells(mesh, name)
    if shells:
        order = _sorted_out(shells)
        notes += order.notes
        united = _united(order)
        apart = sum(not body.within for body in order.bodies)
        if united is not None and len(united) < apart:
            notes.append(f"{apart} bodies united")
        if united and not any(_crosses_itself(body) for body in united):
            thin = [_thinned(body) for body in united]
            if fine or any(len(a.faces) < len(b.faces) for a, b in zip(thin, united, strict=True)):
                notes.append("thinned out")
            return thin, notes
        mesh = trimesh.util.concatenate([body.mesh for body in order.bodies])
    try:
        bodies, how = _wrapped(repair.thinned(mesh, repair.MAX_RAW_FACES), name)
    except LimitError as error:
        raise MeshError(str(error)) from error
    if not bodies:
        raise MeshError(f"mesh {name}: cannot be made a closed solid; close it in a mesh editor")
    return bodies, [*notes, how]


def _wrapped(mesh: trimesh.Trimesh, name: str) -> tuple[list[trimesh.Trimesh], str]:
    """Bodies of a surface that does not close, and the note: its volume where it has one, else a thickened sheet."""
    for turned in (mesh, _oriented(mesh)):
        surface = surface_of_volume(turned)
        if surface is None:
            continue
        bodies = _outer_bodies(repair.thinned(surface, repair.FACES)) or _outer_bodies(surface)
        if bodies:
            return bodies, "open or self-intersecting: resurfaced around its volume"
    inputs = {"vertices": np.asarray(mesh.vertices), "faces": np.asarray(mesh.faces)}
    found = run_job("wrap", inputs, f"mesh {name}: wrapping it in a closed surface", limit_s=_WRAP_S)
    wrapped = trimesh.Trimesh(found["vertices"], found["faces"], process=False)
    return _outer_bodies(wrapped), "open: wrapped in a closed surface, which makes it a little thicker"


def _joined(bodies: Sequence[trimesh.Trimesh]) -> trimesh.Trimesh | None:
    """One body round several with small gaps between them; None if they are too far apart for that."""
    low, high = np.min([b.bounds[0] for b in bodies], axis=0), np.max([b.bounds[1] for b in bodies], axis=0)
    middle, longest = 0.5 * (low + high), float((high - low).max())
    units = [trimesh.Trimesh((b.vertices - middle) / longest, b.faces, process=False) for b in bodies]
    if not _near_each_other(units, 2.0 * _GAP):
        return None
    surface = surface_of_volume(trimesh.util.concatenate(units), closing=_GAP)
    found = _outer_bodies(repair.thinned(surface, repair.FACES)) if surface is not None else []
    total = sum(body.volume for body in found)
    if not found or found[0].volume < repair.WHOLE * total or total > 1.15 * sum(unit.volume for unit in units):
        return None
    return trimesh.Trimesh(found[0].vertices * longest + middle, found[0].faces, process=False)


def _near_each_other(bodies: Sequence[trimesh.Trimesh], gap: float) -> bool:
    """Whether all bodies hang together by gaps of at most `gap`."""
    parts = [_manifold(body) for body in bodies]
    if any(part is None for part in parts):
        return False
    reached, waiting = [parts[0]], parts[1:]
    while waiting:
        near = [part for part in waiting if any(part.min_gap(other, 2.0 * gap) <= gap for other in reached)]
        if not near:
            return False
        reached, waiting = near, [part for part in waiting if not any(part is one for one in near)]
    return True


def _closed_shells(mesh: trimesh.Trimesh, name: str) -> tuple[list[trimesh.Trimesh], list[str]]:
    """Closed shells that the whole mesh consists of, as they are turned in it; none if it does not close."""
    best: trimesh.Trimesh | None = None
    fewest = len(mesh.faces) * 3 + 1
    for digits in _SNAPS:
        for cancel in (False, True):
            tidy, notes = _tidied(mesh, digits, cancel)
            if cancel and len(notes) == 0:
                continue  # nothing is doubled
            loose = 3 * len(tidy.faces) - 2 * len(tidy.face_adjacency)  # edges that are not between two faces
            if loose < fewest and len(tidy.faces):
                best, fewest = tidy, loose
            shells = list(_shells(tidy)) if len(tidy.faces) else []
            if not shells or not all(shell.is_watertight for shell in shells):
                continue
            _check_count(shells, tidy, name)
            if digits < _SNAPS[0]:
                notes.append(f"vertices merged within {10.0**-digits:.0e} of its length")
            if not all(shell.is_winding_consistent for shell in shells):
                notes.append("faces turned the same way round")
            if all(_closes(shell) for shell in shells):
                return _with_volume(shells), notes
    if best is None:
        return [], []
    shells, scraps, notes = [], [], ["holes and faces repaired"]
    left_out = best.area
    for shell in _shells(best):
        left_out -= shell.area
        closed = shell if _closes(shell) else _filled(shell)
        if _closes(closed):
            shells.append(closed)
        else:
            scraps.append(shell)
            left_out += shell.area
    shells = _with_volume(shells)
    if left_out > _SCRAPS * best.area:
        return [], []
    if scraps:
        notes.append(f"{len(scraps)} open scraps dropped")
    return shells, notes


def _check_count(shells: Sequence[trimesh.Trimesh], mesh: trimesh.Trimesh, name: str) -> None:
    if len(shells) == MAX_BODIES and sum(shell.area for shell in shells) < (1.0 - _SCRAPS) * mesh.area:
        raise MeshError(f"mesh {name}: has more than {MAX_BODIES} separate bodies; one rigid body is needed")


def _tidied(mesh: trimesh.Trimesh, digits: int, cancel: bool) -> tuple[trimesh.Trimesh, list[str]]:
    """Vertices merged, collapsed faces dropped, of equal faces one kept (cancel: none of two that face each other)."""
    tidy = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    tidy.merge_vertices(digits_vertex=_SNAPS[0])
    faces = np.asarray(tidy.faces)
    if digits < _SNAPS[0]:
        pairs = cKDTree(tidy.vertices).query_pairs(10.0**-digits, output_type="ndarray")
        if len(pairs) > _MAX_PAIRS:
            pairs = pairs[:0]
        faces = trimesh.graph.connected_component_labels(pairs, node_count=len(tidy.vertices))[faces]
        places = np.zeros((faces.max() + 1, 3))
        places[faces.ravel()] = tidy.vertices[np.asarray(tidy.faces).ravel()]
        tidy = trimesh.Trimesh(places, faces, process=False)
    good = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[good]
    order = np.sort(faces, axis=1)
    _, index, inverse, counts = np.unique(order, axis=0, return_index=True, return_inverse=True, return_counts=True)
    notes = []
    if (counts > 1).any():
        if cancel:
            rolled = np.take_along_axis(faces, (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3, axis=1)
            sense = np.where(rolled[:, 1] < rolled[:, 2], 1, -1)
            total = np.bincount(inverse.ravel(), weights=sense, minlength=len(counts))
            index = index[(total != 0) | (counts == 1)]
        faces = faces[np.sort(index)]
        notes.append("doubled faces dropped")
    tidy = trimesh.Trimesh(tidy.vertices, faces, process=False)
    tidy.remove_unreferenced_vertices()
    return tidy, notes


def _shells(mesh: trimesh.Trimesh) -> Iterator[trimesh.Trimesh]:
    """The parts of a mesh that hang together across edges of two faces; those of fewest faces, beyond MAX_BODIES, not.

    An edge that four faces share, where two bodies touch, does not join them.
    """
    labels = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    counts = np.bincount(labels)
    if len(counts) == 1:
        yield mesh
        return
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.cumsum(counts)[:-1])
    for group in sorted(groups, key=lambda faces: (-len(faces), faces[0]))[:MAX_BODIES]:
        part = trimesh.Trimesh(mesh.vertices, mesh.faces[np.sort(group)], process=False)
        part.remove_unreferenced_vertices()
        yield part


def _closes(mesh: trimesh.Trimesh) -> bool:
    """Watertight, and each face turned as its neighbours (which turns them in place where it can)."""
    if not mesh.is_watertight:
        return False
    if not mesh.is_winding_consistent:
        trimesh.repair.fix_winding(mesh)
    return bool(mesh.is_winding_consistent)


def _with_volume(shells: Sequence[trimesh.Trimesh]) -> list[trimesh.Trimesh]:
    return [shell for shell in shells if abs(shell.volume) > 1e-12]


def _filled(shell: trimesh.Trimesh) -> trimesh.Trimesh:
    """The shell with its faces turned the same way round and its small holes closed."""
    shell = shell.copy()
    trimesh.repair.fix_normals(shell, multibody=False)
    shell.fill_holes()
    edges = shell.edges[trimesh.grouping.group_rows(shell.edges_sorted, require_count=1)]
    following = dict(edges.tolist())
    if len(edges) == 0 or len(following) < len(edges):  # no hole, or holes that touch
        return shell
    vertices, faces = list(shell.vertices), shell.faces.tolist()
    while following:
        start, loop = next(iter(following)), []
        at = start
        while at in following:
            loop.append(at)
            at = following.pop(at)
        ring = shell.vertices[loop]
        length = np.linalg.norm(ring - np.roll(ring, -1, axis=0), axis=1).sum()
        if at == start and length <= HOLE:
            faces += [[b, a, len(vertices)] for a, b in zip(loop, [*loop[1:], loop[0]], strict=True)]
            vertices.append(ring.mean(axis=0))
    return trimesh.Trimesh(np.array(vertices), np.array(faces), process=False)


class _Body(NamedTuple):
    """The outside of a body, outward, and the hollows in it, inward; whether it lies within the matter of another."""

    outside: trimesh.Trimesh
    hollows: list[trimesh.Trimesh]
    within: bool

    @property
    def mesh(self) -> trimesh.Trimesh:
        return trimesh.util.concatenate([self.outside, *self.hollows]) if self.hollows else self.outside


class _Order(NamedTuple):
    """Shells put together to bodies, largest first, and what was turned or found."""

    bodies: list[_Body]
    turned: bool
    notes: list[str]


def _sorted_out(shells: Sequence[trimesh.Trimesh]) -> _Order:
    """Turn each outside outward with all that is in it; what looks in then is a hollow of the body around it."""
    n = len(shells)
    signs, size = np.array([s.volume for s in shells]), np.array([abs(s.volume) for s in shells])
    around = _containers(shells)
    turned, hollow = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    bodies: dict[int, _Body] = {}
    for k in np.argsort(-size, kind="stable"):
        holders = np.flatnonzero(around[k])
        parent = int(holders[size[holders].argmin()]) if len(holders) else -1
        turned[k] = turned[parent] if len(holders) else signs[k] < 0
        inward = (signs[k] < 0) != turned[k]
        if len(holders) and hollow[parent] and inward:  # loose within a hollow: a body
            turned[k], inward = not turned[k], False
        hollow[k] = inward
        shell = shells[k]
        if turned[k]:
            shell = shell.copy()
            shell.invert()
        if hollow[k]:
            bodies[parent].hollows.append(shell)
        else:
            bodies[int(k)] = _Body(shell, [], within=bool(len(holders)) and not hollow[parent])
    notes = []
    if turned.all():
        notes.append("turned inside out")
    elif turned.any():
        notes.append(f"{turned.sum()} of {n} bodies turned inside out")
    if hollow.any():
        notes.append(f"{hollow.sum()} hollow{'s' if hollow.sum() > 1 else ''} inside")
    inner = sum(body.within for body in bodies.values())
    if inner:
        notes.append(f"{inner} bod{'ies' if inner > 1 else 'y'} within another united with it")
    return _Order(sorted(bodies.values(), key=lambda body: -body.mesh.volume), bool(turned.any()), notes)


def _containers(shells: Sequence[trimesh.Trimesh]) -> np.ndarray:
    """(k, i): whether shell k lies wholly inside shell i, judged at up to 40 of its vertices."""
    n = len(shells)
    inside = np.zeros((n, n), dtype=bool)
    if n == 1:
        return inside
    low, high = np.array([s.bounds[0] for s in shells]), np.array([s.bounds[1] for s in shells])
    within = (low[:, None] >= low[None]).all(axis=2) & (high[:, None] <= high[None]).all(axis=2)
    for i in range(n):
        candidates = [k for k in np.flatnonzero(within[:, i]) if k != i]
        if not candidates:
            continue
        samples = [shells[k].vertices[:: -(-len(shells[k].vertices) // 40)] for k in candidates]
        wound = np.abs(_winding(shells[i], np.concatenate(samples))) > 0.5
        at = np.cumsum([len(s) for s in samples])[:-1]
        for k, hits in zip(candidates, np.split(wound, at), strict=True):
            inside[k, i] = hits.all() and abs(shells[k].volume) < abs(shells[i].volume)
    return inside


def _winding(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    import point_cloud_utils

    return np.asarray(
        point_cloud_utils.triangle_soup_fast_winding_number(
            np.ascontiguousarray(mesh.vertices, dtype=float),
            np.ascontiguousarray(mesh.faces, dtype=np.int32),
            np.ascontiguousarray(points, dtype=float),
        )
    )


def _united(order: _Order) -> list[trimesh.Trimesh] | None:
    """Bodies apart from each other, largest first; None if manifold3d does not take them."""
    import manifold3d

    if len(order.bodies) == 1:
        return [order.bodies[0].mesh]
    parts = [_manifold(body.mesh) for body in order.bodies]
    if any(part is None for part in parts):
        return None
    return _of_manifold(manifold3d.Manifold.batch_boolean(parts, manifold3d.OpType.Add))


def _manifold(shell: trimesh.Trimesh) -> Any:  # noqa: ANN401 - manifold3d has no types
    import manifold3d

    body = manifold3d.Manifold(
        manifold3d.Mesh64(np.asarray(shell.vertices, dtype=np.float64), np.asarray(shell.faces, dtype=np.uint64))
    )
    return None if body.status() != manifold3d.Error.NoError or body.is_empty() else body


def _of_manifold(body: Any) -> list[trimesh.Trimesh]:  # noqa: ANN401 - manifold3d has no types
    raw = body.to_mesh64()
    mesh = trimesh.Trimesh(np.asarray(raw.vert_properties)[:, :3], np.asarray(raw.tri_verts), process=False)
    return _outer_bodies(mesh) if len(mesh.faces) else []


def _outer_bodies(mesh: trimesh.Trimesh) -> list[trimesh.Trimesh]:
    """The bodies of a mesh that closes, each with its hollows, largest first; none if it does not close."""
    shells = [shell for shell in _shells(mesh) if abs(shell.volume) > 1e-9]
    if not shells or not all(_closes(shell) for shell in shells):
        return []
    return [body.mesh for body in _sorted_out(shells).bodies if not body.within]


def _oriented(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Every part of a mesh turned outward, where an open surface has an outside."""
    tidy, _ = _tidied(mesh, _SNAPS[0], cancel=False)
    parts = []
    for shell in _shells(tidy):
        shell = shell.copy()
        trimesh.repair.fix_normals(shell, multibody=False)
        parts.append(shell)
    return trimesh.util.concatenate(parts) if len(parts) > 1 else parts[0]


def _crosses_itself(mesh: trimesh.Trimesh) -> bool:
    """Whether a closed surface encloses more than half a percent of its volume twice, or inside out."""
    low, high = mesh.bounds
    points = low + (high - low) * np.random.default_rng(0).random((_PROBES, 3))
    wound = _winding(mesh, points)
    wrong = (wound > 1.5) | (wound < -0.5)
    return bool(wrong.sum() > max(3.0, _CROSSED * (np.abs(wound) > 0.5).sum()))


def _com_inside(mesh: trimesh.Trimesh) -> bool:
    """Whether the centre of mass lies within the convex hull, as that of any body does."""
    hull = mesh.convex_hull
    planes = np.einsum("ij,ij->i", hull.face_normals, hull.triangles_center)
    if not np.isfinite(mesh.center_mass).all():
        return False
    return bool((hull.face_normals @ mesh.center_mass - planes).max() < -1e-9 * hull.scale)


def _thinned(body: trimesh.Trimesh) -> trimesh.Trimesh:
    """A body of more than FINE_FACES faces with fewer, as few as keep it closed and its volume within 0.3 %."""
    if len(body.faces) <= FINE_FACES:
        return body
    for faces in (repair.FACES, 2 * repair.FACES, FINE_FACES, 3 * FINE_FACES):
        thin = repair.thinned(body, faces)
        if thin.is_watertight and thin.is_winding_consistent and abs(thin.volume / body.volume - 1.0) < 3e-3:
            return thin
    return body


def _checked_body(body: trimesh.Trimesh, name: str) -> trimesh.Trimesh:
    if not body.volume > _LEAST_VOLUME:
        raise MeshError(f"mesh {name}: encloses no volume; a solid is needed")
    if not _com_inside(body) or body.volume > 1.001 * body.convex_hull.volume:
        raise MeshError(f"mesh {name}: its centre of mass lies outside it: faces are wound the wrong way; repair it")
    return body
