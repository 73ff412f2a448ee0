"""Repair of meshes as they are found, the convex parts of the result."""

import numpy as np
import pytest
import trimesh

from udg_sim.geometry import repair as repair_module
from udg_sim.geometry.convex import decompose_coarsely
from udg_sim.geometry.repair import FACES, RepairError, repair


@pytest.fixture(autouse=True)
def _coarse_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_module, "RESOLUTION", 3000)


def test_a_closed_mesh_stays_as_it_is() -> None:
    box = trimesh.creation.box((0.3, 0.2, 0.1))
    done = repair(box, "box")
    assert done.note == "" and done.share == 1.0
    assert done.mesh.volume == pytest.approx(0.006, rel=1e-5)
    np.testing.assert_allclose(done.mesh.bounds, box.bounds, atol=1e-6)


def test_overlapping_pieces_become_one() -> None:
    left = trimesh.creation.box((1.0, 1.0, 1.0))
    right = trimesh.creation.box((1.0, 1.0, 1.0)).apply_translation((0.5, 0.0, 0.0))
    done = repair(trimesh.util.concatenate([left, right]), "pair")
    assert done.mesh.volume == pytest.approx(1.5, rel=1e-4) and done.mesh.body_count == 1


def test_the_largest_of_separate_pieces_is_kept_and_the_share_told() -> None:
    large = trimesh.creation.box((1.0, 1.0, 1.0))
    small = trimesh.creation.box((0.5, 0.5, 0.5)).apply_translation((3.0, 0.0, 0.0))
    done = repair(trimesh.util.concatenate([large, small]), "two")
    assert done.share == pytest.approx(1 / 1.125, abs=0.05)
    assert "2 pieces" in done.note
    np.testing.assert_allclose(done.mesh.extents, 1.0, atol=0.1)


def test_a_fine_mesh_is_thinned_out() -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.04)
    done = repair(ball, "ball")
    assert len(ball.faces) > 3 * FACES >= 3 * len(done.mesh.faces) * 0.99
    assert done.mesh.is_watertight and done.mesh.volume == pytest.approx(ball.volume, rel=0.01)


def test_an_open_box_is_wrapped_and_keeps_its_extents() -> None:
    box = trimesh.creation.box((1.0, 0.8, 0.6))
    open_box = trimesh.Trimesh(box.vertices, box.faces[box.face_normals[:, 2] < 0.5], process=False)
    done = repair(open_box, "tray")
    assert done.mesh.is_watertight and "wrapped" in done.note
    np.testing.assert_allclose(done.mesh.bounds, open_box.bounds, atol=0.05)
    assert done.mesh.volume < 0.5 * box.volume


@pytest.mark.parametrize("broken", ["empty", "not finite", "flat"])
def test_what_is_no_solid_is_refused_by_name(broken: str) -> None:
    mesh = trimesh.creation.box((1.0, 1.0, 1.0))
    if broken == "empty":
        mesh.update_faces(np.zeros(len(mesh.faces), dtype=bool))
    elif broken == "not finite":
        mesh.vertices[0] = np.inf
    else:
        mesh.vertices[:, 2] = 0.0
    with pytest.raises(RepairError, match="this one"):
        repair(mesh, "this one")


def test_coarse_parts_cover_an_l_shape_without_filling_its_corner() -> None:
    foot = trimesh.creation.box((1.0, 0.4, 0.2))
    wall = trimesh.creation.box((0.2, 0.4, 1.0)).apply_translation((-0.4, 0.0, 0.4))
    bracket = trimesh.boolean.union([foot, wall], engine="manifold")
    parts = decompose_coarsely(bracket)
    assert 2 <= len(parts) <= 8
    assert sum(part.volume for part in parts) == pytest.approx(bracket.volume, rel=0.05)
