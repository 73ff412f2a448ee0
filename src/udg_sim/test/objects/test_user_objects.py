"""A folder of the user's meshes: good ones get ids, bad ones are named, units are guessed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from udg_description.cache import cache_dir
from udg_description.errors import UdgError
from udg_sim.geometry.mesh_io import MeshError
from udg_sim.objects.library import ObjectLibrary
from udg_sim.objects.user_objects import add_folder, add_mesh
from udg_sim.preparation import objects as command


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    meshes = tmp_path / "my meshes"
    (meshes / "more").mkdir(parents=True)
    trimesh.creation.box((90.0, 40.0, 30.0)).export(meshes / "Brick one.stl")
    inverted = trimesh.creation.box((0.3, 0.2, 0.1))
    inverted.invert()
    inverted.export(meshes / "more" / "crate.obj")
    (meshes / "gear.STEP").write_text("ISO-10303-21;")
    (meshes / "bad.stl").write_text("no mesh")
    (meshes / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n")
    (meshes / "nan.obj").write_text("v 0 0 0\nv 1 0 0\nv nan 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 2 3 4\nf 1 3 4\n")
    return meshes


def test_good_meshes_get_ids_and_bad_ones_their_reason(folder: Path) -> None:
    added = {one.path.name: one for one in add_folder(folder)}
    assert {name for name, one in added.items() if one.error} == {"bad.stl", "flat.obj", "nan.obj", "gear.STEP"}
    assert added["gear.STEP"].skipped and not added["bad.stl"].skipped
    assert "flat" in added["flat.obj"].error and "not finite" in added["nan.obj"].error
    library = ObjectLibrary()
    assert set(library.ids(source="user")) == {added["Brick one.stl"].id, added["crate.obj"].id}
    assert not set(library.ids()) & set(library.ids(source="user"))
    brick = library.get(added["Brick one.stl"].id)
    assert brick.id.startswith("user_brick_one_") and brick.size_class == "medium" and "mm" in brick.note
    np.testing.assert_allclose(np.sort(brick.mesh.extents), [0.03, 0.04, 0.09], rtol=1e-6)
    crate = library.get(added["crate.obj"].id)
    assert crate.mesh.volume == pytest.approx(0.006) and crate.size_class == "large"
    assert crate.mass_kg == 1.0  # 2.4 kg at 400 kg/m^3


def test_adding_again_changes_nothing_and_a_size_is_obeyed(folder: Path) -> None:
    path = folder / "more" / "crate.obj"
    assert add_mesh(path) == add_mesh(path)
    small, _ = add_mesh(path, size_m=0.06)
    assert small != add_mesh(path)[0]
    assert ObjectLibrary().get(small).mesh.extents.max() == pytest.approx(0.06)
    inches, _ = add_mesh(path, unit_m=0.0254 * 12)
    assert ObjectLibrary().get(inches).mesh.extents.max() == pytest.approx(0.3 * 0.0254 * 12)


@pytest.mark.parametrize("damage", [lambda data: b"PK\x03\x04broken", lambda data: data[:200], lambda data: b""])
def test_a_damaged_one_is_missing_and_can_be_added_again(
    folder: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    path = folder / "more" / "crate.obj"
    id, _ = add_mesh(path)
    file = cache_dir("user_objects") / f"{id}.npz"
    file.write_bytes(damage(file.read_bytes()))
    assert id not in ObjectLibrary().ids(source="user") and ObjectLibrary().get("cube_60").id == "cube_60"
    assert f"object {id}" in capsys.readouterr().err
    assert add_mesh(path)[0] == id in ObjectLibrary().ids(source="user")


def test_impossible_sizes_are_refused(folder: Path) -> None:
    with pytest.raises(MeshError, match="SIZE"):
        add_mesh(folder / "more" / "crate.obj", unit_m=1000.0)
    with pytest.raises(UdgError, match="valid: metres > 0"):
        list(add_folder(folder, size_m=float("nan")))
    with pytest.raises(UdgError, match="no such folder"):
        list(add_folder(folder.parent / "absent"))


def test_an_object_that_was_not_added_names_the_command() -> None:
    with pytest.raises(MeshError, match="make objects ADD="):
        ObjectLibrary().get("user_teapot_123456")


def test_the_command_keeps_good_meshes_and_tells(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--add", str(folder), "--picture", str(folder.parent / "sheet.png")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("refused: ") for line in lines) == 3
    summary = json.loads(lines[-1])
    assert summary["prepared"] == 2 and len(summary["refused"]) == 3
    assert summary["skipped"] == [str(folder / "gear.STEP")]
    assert (folder.parent / "sheet.png").stat().st_size > 1000


def test_the_command_goes_on_after_a_broken_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--objects", "cube_30,absent.obj@0.1,ball_40"]) == 1
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["prepared"] == 2 and summary["refused"] == ["absent.obj@0.1"]
    with pytest.raises(UdgError, match="small, medium, large"):
        command.main(["--objects", "train/huge"])


@pytest.mark.slow
def test_several_processes_prepare_into_one_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--objects", "cube_30,cube_30,ball_40,cork,jar", "--workers", "2"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["prepared"] == 4
    assert not list((tmp_path / "cache" / "objects").glob(".*"))
