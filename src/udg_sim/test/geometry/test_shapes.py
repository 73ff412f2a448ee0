"""Shapes are closed, have the volume of their formula, and their convex parts cover them."""

import numpy as np
import pytest
import trimesh

from udg_sim.geometry import shapes
from udg_sim.geometry.convex import decompose, facet_count, fit_hull, is_convex


def _inside(part: trimesh.Trimesh, point: np.ndarray) -> bool:
    """Whether a convex mesh contains the point."""
    return bool(np.all(np.einsum("ij,ij->i", part.face_normals, point - part.triangles_center) <= 0))


def test_box_has_its_volume_and_cylinder_that_of_its_polygon() -> None:
    assert shapes.box(0.02, 0.03, 0.04).mesh.volume == pytest.approx(24e-6)
    polygon_area = 0.5 * 32 * np.sin(2 * np.pi / 32) * 0.03**2
    assert shapes.cylinder(0.03, 0.12).mesh.volume == pytest.approx(polygon_area * 0.12)


def test_sphere_has_the_true_volume_within_the_face_limit() -> None:
    ball = shapes.sphere(0.035).mesh
    assert ball.volume == pytest.approx(4 / 3 * np.pi * 0.035**3)
    assert facet_count(ball) <= 250
    assert np.ptp(np.linalg.norm(ball.vertices, axis=1)) < 1e-9


def test_solid_of_revolution_is_cut_exactly_where_its_profile_is_concave() -> None:
    waisted = shapes.solid_lathe([(0.03, 0.0), (0.01, 0.05), (0.03, 0.1)])
    assert waisted.parts is not None and len(waisted.parts) == 2
    assert sum(part.volume for part in waisted.parts) == pytest.approx(waisted.mesh.volume)
    barrel = shapes.solid_lathe([(0.02, 0.0), (0.03, 0.05), (0.02, 0.1)])
    assert barrel.parts is not None and len(barrel.parts) == 1


def test_vessel_is_closed_and_as_thin_as_its_wall() -> None:
    cup = shapes.vessel([(0.03, 0.0), (0.03, 0.1)], wall=0.003, base=0.005).mesh
    outer = shapes.cylinder(0.03, 0.1).mesh.volume
    inner = shapes.cylinder(0.027, 0.095).mesh.volume
    assert cup.is_watertight
    assert cup.volume == pytest.approx(outer - inner, rel=1e-6)


def test_union_keeps_the_parts_of_its_members() -> None:
    tray = shapes.open_box(0.3, 0.2, 0.1, 0.01, 0.01)
    assert tray.parts is not None and len(tray.parts) == 5
    assert tray.mesh.volume == pytest.approx(0.3 * 0.2 * 0.1 - 0.28 * 0.18 * 0.09)


def test_a_ring_is_decomposed_with_its_hole_kept() -> None:
    ring = shapes.torus(0.026, 0.009).mesh
    assert not is_convex(ring)
    parts = decompose(ring, threshold=0.08)
    assert len(parts) >= 4
    hole = np.array([[0.0, 0.0, 0.0], [0.012, 0.0, 0.0], [0.0, -0.012, 0.0]])
    assert not any(_inside(part, point) for part in parts for point in hole)
    assert any(_inside(part, np.array([0.026, 0.0, 0.0])) for part in parts)


def test_parts_without_a_volume_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """CoACD makes such parts of slivers: fewer than four points, or all in a plane."""
    box, triangle = shapes.box(0.02, 0.03, 0.04).mesh, np.eye(3)
    square = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    made = [(points, np.zeros((0, 3), dtype=int)) for points in (triangle, box.vertices, square)]
    monkeypatch.setattr("coacd.run_coacd", lambda *arguments, **options: made)
    parts = decompose(shapes.torus(0.026, 0.009).mesh)
    assert [part.volume for part in parts] == [pytest.approx(24e-6)]


def test_a_finely_meshed_ball_becomes_one_coarse_hull_of_its_volume() -> None:
    directions = shapes.sphere_directions(2000)
    hull = fit_hull(0.04 * directions)
    assert facet_count(hull) <= 250
    assert hull.volume == pytest.approx(4 / 3 * np.pi * 0.04**3, rel=0.01)
