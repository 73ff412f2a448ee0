"""The gate for geometry: what a mesh weighs in the end, and what is said of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings

from udg_sim.geometry import solid
from udg_sim.geometry.mesh_io import make_solid
from udg_sim.geometry.solid import MeshError, bodies_of, solid_of
from udg_sim.objects.library import ObjectLibrary

sys.path.insert(0, str(Path(__file__).parent))
from hostile_meshes import Hostile, hostile_meshes, joined, mirrored, moved, plain, soup  # noqa: E402

EXAMPLES = int(os.environ.get("UDG_EXAMPLES", "8"))
"""Generated meshes; hostile_meshes.py is the command that makes hundreds."""
CASES = Path(__file__).parents[5] / "shared" / "cases"


def _box(*extents: float, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> trimesh.Trimesh:
    return moved(trimesh.creation.box(extents), *at)


def _ball(radius: float = 0.5) -> trimesh.Trimesh:
    return plain(trimesh.creation.icosphere(subdivisions=3).vertices * radius, trimesh.creation.icosphere(3).faces)


def _bracelet() -> trimesh.Trimesh:
    """A tube wound 1.15 times round: it crosses itself; its volume is that of one turn."""
    n, m = 80, 24
    turn, ring = np.linspace(0, 2.3 * np.pi, n), np.linspace(0, 2 * np.pi, m, endpoint=False)
    out = np.stack([np.cos(turn), np.sin(turn), np.zeros(n)], axis=1)
    path = out + np.outer(0.002 * turn, [0, 0, 1])
    points = path[:, None] + 0.2 * (np.cos(ring)[:, None] * out[:, None] + np.outer(np.sin(ring), [0, 0, 1]))
    faces = []
    for i in range(n - 1):
        for j in range(m):
            a, b = i * m + j, i * m + (j + 1) % m
            faces += [[a, a + m, b], [b, a + m, b + m]]
    ends = n * m + np.arange(2)
    for j in range(m):
        k = (j + 1) % m
        faces += [[ends[0], j, k], [ends[1], (n - 1) * m + k, (n - 1) * m + j]]
    return plain(np.vstack([points.reshape(-1, 3), path[[0, -1]]]), np.array(faces))


RING = np.pi * 0.2**2 * 2 * np.pi * (12 / np.pi * np.sin(np.pi / 12))
PAIR = joined(_box(1, 1, 1), _box(1, 1, 1, at=(0.5, 0, 0)))


@pytest.mark.parametrize(
    ("mesh", "volume", "note"),
    [
        (_box(1, 0.5, 0.3), 0.15, ""),
        (mirrored(_box(1, 0.5, 0.3)), 0.15, "turned inside out"),
        (PAIR, 1.5, "2 bodies united"),
        (joined(_box(1, 1, 1), mirrored(_box(1, 1, 1, at=(0.5, 0, 0)))), 1.5, "1 of 2 bodies turned inside out"),
        (mirrored(PAIR), 1.5, "turned inside out"),
        (joined(_box(1, 1, 1), _box(1, 1, 1, at=(1, 0, 0))), 2.0, "2 bodies united"),
        (joined(_box(1, 1, 1), _box(1, 0.5, 0.5, at=(1, 0, 0))), 1.25, "2 bodies united"),
        (joined(_box(1, 1, 1), _box(0.5, 0.5, 0.5)), 1.0, "1 body within another"),
        (joined(_box(1, 1, 1), mirrored(_box(0.5, 0.5, 0.5))), 0.875, "1 hollow inside"),
        (mirrored(joined(_box(1, 1, 1), mirrored(_box(0.5, 0.5, 0.5)))), 0.875, "1 hollow inside"),
        (joined(_box(1, 1, 1), _box(0.02, 0.02, 0.02, at=(2, 0, 0))), 1.0, "largest kept, 100.0 %"),
        (joined(_box(1, 1, 1), _box(0.3, 0.6, 0.5, at=(2, 0, 0))), 1.0, "largest kept, 91.7 %"),
        (soup(_box(1, 1, 1)), 1.0, ""),
        (soup(_ball(), 1e-6), None, "vertices merged"),
        (joined(_ball(), _ball()), None, "doubled faces"),
        (joined(_ball(), mirrored(_ball())), None, "doubled faces"),
        (moved(_ball(), 350_000.0, 5_600_000.0, 0.0), None, "far from its origin"),
        (plain(_ball().vertices * 1e-9, _ball().faces), 1e-27 * _ball().volume, ""),
        (plain(_ball().vertices * 1e9, _ball().faces), 1e27 * _ball().volume, ""),
        (plain(_ball().vertices, _ball().faces[3:]), None, "repaired"),
    ],
)
def test_every_body_is_weighed_once(mesh: trimesh.Trimesh, volume: float | None, note: str) -> None:
    found = solid_of(mesh, "thing")
    assert found.mesh.volume == pytest.approx(_ball().volume if volume is None else volume, rel=2e-3)
    assert note in found.note and (note or not found.notes)
    assert found.mesh.is_watertight and found.mesh.is_winding_consistent


def test_a_surface_that_crosses_itself_is_resurfaced_around_its_volume() -> None:
    found = solid_of(_bracelet(), "bracelet")
    assert found.mesh.volume == pytest.approx(RING, rel=0.01)
    assert "self-intersecting" in found.note


def test_bodies_with_a_narrow_gap_are_one_and_those_apart_are_refused() -> None:
    near = solid_of(joined(_box(1, 1, 1), _box(1, 1, 1, at=(1.01, 0, 0))), "near")
    assert near.mesh.volume == pytest.approx(2.01, rel=0.01) and "gaps" in near.note
    with pytest.raises(MeshError, match="mesh far: has 2 separate bodies, the largest with 50 %"):
        solid_of(joined(_box(1, 1, 1), _box(1, 1, 1, at=(2, 0, 0))), "far")
    assert len(bodies_of(joined(_box(1, 1, 1), _box(1, 1, 1, at=(2, 0, 0))), "links").meshes) == 2


def test_a_fine_closed_mesh_is_thinned_out_like_an_open_one() -> None:
    ball = trimesh.creation.icosphere(subdivisions=6)
    found = solid_of(plain(ball.vertices, ball.faces), "ball")
    assert len(found.mesh.faces) < 6000 < len(ball.faces) and "thinned" in found.note
    assert found.mesh.volume == pytest.approx(ball.volume, rel=3e-3)


def test_a_sound_mesh_passes_vertex_by_vertex_however_often() -> None:
    mesh = _ball(0.04)
    once = solid_of(mesh, "ball").mesh
    np.testing.assert_array_equal(once.vertices, mesh.vertices)
    np.testing.assert_array_equal(solid_of(once, "ball").mesh.faces, mesh.faces)


@pytest.mark.parametrize(
    ("mesh", "reason"),
    [
        (plain(np.zeros((0, 3)), np.zeros((0, 3), dtype=int)), "no faces"),
        (plain(_box(1, 1, 1).vertices * [1, 1, 0], _box(1, 1, 1).faces), "flat"),
        (
            plain(
                _box(1, 1, 1e-9).vertices @ trimesh.transformations.euler_matrix(0.3, 0.5, 0.1)[:3, :3],
                _box(1, 1, 1).faces,
            ),
            "flat",
        ),
        (plain(np.where(_box(1, 1, 1).vertices > 0.4, np.nan, 0.0), _box(1, 1, 1).faces), "not finite"),
        (plain(_box(1, 1, 1).vertices * 1e308, _box(1, 1, 1).faces), "not a plausible length"),
        (plain(_box(1, 1, 1).vertices * 1e-200, _box(1, 1, 1).faces), "not a plausible length"),
        (plain(np.float32(_box(0.06, 0.05, 0.04).vertices + 5e4), _box(1, 1, 1).faces), "steps of"),
    ],
)
def test_what_is_no_body_is_refused_by_name(mesh: trimesh.Trimesh, reason: str) -> None:
    with pytest.raises(MeshError, match=f"mesh thing: .*{reason}"):
        solid_of(mesh, "thing")


def test_too_fine_a_mesh_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solid, "MAX_FACES", 100)
    with pytest.raises(MeshError, match="1280 faces, valid: up to 100"):
        solid_of(_ball(), "fine")


def test_coordinates_of_a_survey_weigh_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path / "cache"))
    for name, at in (("near", 0.0), ("survey", 5.6e6)):
        moved(_box(0.06, 0.05, 0.04), at / 16, at, 0.0).export(tmp_path / f"{name}.obj", digits=9)
    models = [ObjectLibrary().get(f"{tmp_path}/{name}.obj@0.06") for name in ("near", "survey")]
    for model in models:
        assert model.mass_kg == pytest.approx(400 * 0.06 * 0.05 * 0.04, rel=1e-5)
        np.testing.assert_allclose(np.abs(model.mesh.bounds), np.array([[0.03, 0.025, 0.02]] * 2), atol=1e-7)
        np.testing.assert_allclose(model.inertia, models[0].inertia, rtol=1e-4, atol=1e-12)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile_meshes())
def test_no_hostile_mesh_gets_a_wrong_mass_without_a_word(hostile: Hostile) -> None:
    try:
        found = make_solid(hostile.mesh, "hostile")
    except MeshError as error:
        assert str(error).startswith("mesh hostile: ")
        return
    right = abs(found.mesh.volume / hostile.volume - 1.0) < 0.01
    assert right or found.notes, f"{hostile.how}: {found.mesh.volume / hostile.volume:.3f} of the volume"
    assert found.mesh.is_watertight


@pytest.mark.skipif(not CASES.is_dir(), reason="the collection of cases is not here")
def test_cases_of_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path / "cache"))
    library = ObjectLibrary()
    good = library.get(f"{CASES}/01_mirrored_part/hammer_ok.obj@0.2")
    turned = library.get(f"{CASES}/01_mirrored_part/hammer_mirrored.obj@0.2")
    assert turned.mass_kg == pytest.approx(good.mass_kg) and "turned inside out" in turned.note
    np.testing.assert_allclose(turned.mesh.bounds, good.mesh.bounds, atol=1e-9)
    far = library.get(f"{CASES}/02_far_coordinates/far.obj@0.06")
    np.testing.assert_allclose(far.mesh.bounds[1], [0.03, 0.025, 0.02], atol=1e-6)
    with pytest.raises(MeshError, match="2 separate bodies"):
        library.get(f"{CASES}/04_two_bodies/two_solids.stl@0.2")
