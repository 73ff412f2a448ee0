"""Meshes of the user: repaired to solids, or refused with the reason."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from udg_sim.geometry.mesh_io import MeshError, make_solid, read_solid
from udg_sim.objects.library import ObjectLibrary, UnknownObjectError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path / "cache"))


def _without_faces(mesh: trimesh.Trimesh, count: int) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces[count:], process=False)


def test_unmerged_triangles_become_a_closed_solid() -> None:
    box = trimesh.creation.box((1.0, 2.0, 3.0))
    soup = trimesh.Trimesh(box.triangles.reshape(-1, 3), np.arange(36).reshape(-1, 3), process=False)
    assert not soup.is_watertight
    solid = make_solid(soup, "soup")
    assert solid.mesh.volume == pytest.approx(6.0)
    assert solid.note == ""


def test_inside_out_mesh_is_turned() -> None:
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    box.invert()
    assert make_solid(box, "box").mesh.volume == pytest.approx(1.0)


def test_a_hole_is_filled_and_noted() -> None:
    solid = make_solid(_without_faces(trimesh.creation.box((1.0, 1.0, 1.0)), 1), "holed")
    assert solid.mesh.is_watertight
    assert solid.mesh.volume == pytest.approx(1.0)
    assert "repaired" in solid.note


def test_a_torn_mesh_is_solid_again() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=1.0)
    away = ball.triangles_center[:, 0] > 0.94
    torn = trimesh.Trimesh(ball.vertices, ball.faces[~away], process=False)
    solid = make_solid(torn, "torn")
    assert away.sum() > 20 and solid.mesh.is_watertight
    assert solid.mesh.volume == pytest.approx(ball.volume, rel=0.03)
    assert "repaired" in solid.note


def test_an_open_shell_is_wrapped_and_stays_hollow() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=1.0)
    upper = ball.vertices[ball.faces].mean(axis=1)[:, 2] > -0.2
    dome = trimesh.Trimesh(ball.vertices, ball.faces[upper], process=False)
    solid = make_solid(dome, "dome")
    assert solid.mesh.is_watertight
    assert solid.mesh.volume < 0.3 * solid.mesh.convex_hull.volume
    np.testing.assert_allclose(solid.mesh.extents, dome.extents, atol=0.05)
    np.testing.assert_allclose(solid.mesh.bounds, dome.bounds, atol=0.05)
    assert "wrapped" in solid.note


def test_flat_and_not_finite_meshes_are_refused() -> None:
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    with pytest.raises(MeshError, match="flat"):
        make_solid(square, "square")
    broken = trimesh.creation.box()
    broken.vertices[3, 1] = np.nan
    with pytest.raises(MeshError, match="not finite"):
        make_solid(broken, "broken")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("a.obj", "v 0 0\nf 1 2 nonsense\n", "a.obj"), ("b.stl", "solid\n", "b.stl"), ("c.step", "", "unknown kind")],
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, content: str, reason: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(MeshError, match=reason):
        read_solid(path)


def test_library_takes_a_mesh_with_a_size(tmp_path: Path) -> None:
    path = tmp_path / "brick.obj"
    trimesh.creation.box((4.0, 2.0, 1.0)).export(path)
    brick = ObjectLibrary().get(f"{path}@0.12")
    np.testing.assert_allclose(np.sort(brick.mesh.extents), [0.03, 0.06, 0.12])
    np.testing.assert_allclose(brick.mesh.center_mass, 0, atol=1e-9)
    assert brick.size_class == "medium"
    assert brick.mass_kg == pytest.approx(400 * 0.12 * 0.06 * 0.03)
    assert list((tmp_path / "cache" / "objects").glob(".*")) == []


def test_mesh_specs_are_checked(tmp_path: Path) -> None:
    library = ObjectLibrary()
    for spec in ("box.obj", "box.obj@", "box.obj@tiny", "box.obj@-1", "box.obj@nan", "box.obj@30"):
        with pytest.raises(MeshError, match="longest edge"):
            library.get(spec)
    with pytest.raises(MeshError, match="no such file"):
        library.get(f"{tmp_path}/absent.obj@0.1")


def test_unknown_id_suggests_the_nearest() -> None:
    with pytest.raises(UnknownObjectError, match="soda_can"):
        ObjectLibrary().get("sodacan")
