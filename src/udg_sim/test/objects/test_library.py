"""The object library: what every built-in object must be."""

from collections import Counter
from gc import collect
from pathlib import Path
from weakref import ref

import numpy as np
import pytest

from udg_description.camera import default_cameras
from udg_description.errors import UdgError
from udg_sim.cameras.depth import DepthRig
from udg_sim.objects import library as module
from udg_sim.objects.catalogue import builtin_specs
from udg_sim.objects.library import SIZES, ObjectLibrary
from udg_sim.preparation import objects_table

QUICK = [name for name, spec in builtin_specs().items() if spec.build().parts is not None]


@pytest.fixture(scope="module")
def library() -> ObjectLibrary:
    return ObjectLibrary()


def test_library_has_enough_of_each_size_and_split() -> None:
    specs = builtin_specs().values()
    assert len(specs) >= 36
    assert sum(s.size_class == "medium" for s in specs) >= 20
    assert sum(s.size_class == "medium" and s.split == "train" for s in specs) >= 12
    counts = Counter((s.size_class, s.split) for s in specs)
    assert all(counts[size, split] >= 3 for size in SIZES for split in ("train", "test"))


def test_every_mesh_is_closed_and_of_its_size_class() -> None:
    lower = {"small": 0.03, "medium": 0.06, "large": 0.25}
    upper = {"small": 0.08, "medium": 0.2, "large": 0.55}
    for spec in builtin_specs().values():
        mesh = spec.build().mesh
        longest = mesh.extents.max()
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0, spec.id
        assert lower[spec.size_class] <= longest + 1e-9 and longest <= upper[spec.size_class], spec.id


def test_medium_training_objects_fit_one_hand_and_are_plausibly_heavy() -> None:
    fitting = 0
    for spec in builtin_specs().values():
        mesh = spec.build().mesh
        mass_kg = spec.density * mesh.volume
        assert 0.005 <= mass_kg <= 1.0, spec.id
        if spec.size_class == "medium":
            assert 0.05 <= mass_kg <= 0.5, spec.id
            fitting += spec.split == "train" and np.sort(mesh.extents)[1] <= 0.09
    assert fitting >= 12


@pytest.mark.parametrize("name", QUICK)
def test_object_is_centred_with_its_inertia_and_rests_on_the_table(library: ObjectLibrary, name: str) -> None:
    model = library.get(name)
    np.testing.assert_allclose(model.mesh.center_mass, 0, atol=1e-8)
    assert np.linalg.eigvalsh(model.inertia).min() > 0
    assert model.stable_probabilities.sum() == pytest.approx(1)
    for T in model.stable_poses:
        heights = model.mesh.vertices @ T[2, :3] + T[2, 3]
        assert abs(heights.min()) < 1e-6
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-9)
    covered = sum(part.volume for part in model.convex_parts)
    assert 0.995 < covered / model.mesh.volume < 1.3  # parts of a union may overlap
    assert all(part.is_volume for part in model.convex_parts)


def test_box_has_the_inertia_of_the_formula_and_its_three_resting_poses(library: ObjectLibrary) -> None:
    carton = library.get("carton")
    x, y, z = carton.mesh.extents
    expected = carton.mass_kg / 12 * np.array([y**2 + z**2, x**2 + z**2, x**2 + y**2])
    np.testing.assert_allclose(np.diag(carton.inertia), expected, rtol=1e-6)
    np.testing.assert_allclose(sorted(T[2, 3] for T in carton.stable_poses), np.sort([x, y, z]) / 2, atol=1e-9)


def test_preparation_is_cached_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path))
    first = ObjectLibrary().get("jar")
    stored = list((tmp_path / "objects").iterdir())
    assert [path.name for path in stored] == [f"{first.key}-{module.PREPARATION}.npz"]
    monkeypatch.setattr(module, "stable_poses", lambda mesh: pytest.fail("prepared twice"))
    again = ObjectLibrary().get("jar")
    np.testing.assert_array_equal(first.stable_poses, again.stable_poses)


def test_damaged_cache_file_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path))
    first = ObjectLibrary().get("cube_60")
    (path,) = (tmp_path / "objects").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(ObjectLibrary().get("cube_60").stable_poses, first.stable_poses)


def test_ids_are_filtered_and_choices_checked(library: ObjectLibrary) -> None:
    assert set(library.ids("train")) | set(library.ids("test")) == set(library.ids())
    assert library.ids("test", "large") and set(library.ids("test", "large")) <= set(library.ids(size="large"))
    with pytest.raises(UdgError, match="small, medium, large"):
        library.ids(size="huge")


def test_the_list_names_every_object(library: ObjectLibrary, capsys: pytest.CaptureFixture[str]) -> None:
    objects_table.main(["cube_30", "jar"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "30x30x30" in lines[1] and "jar" in lines[2]


@pytest.mark.slow
def test_every_concave_object_keeps_its_cavity(library: ObjectLibrary) -> None:
    for name in sorted(set(library.ids(source="builtin")) - set(QUICK)):
        model = library.get(name)
        covered = sum(part.volume for part in model.convex_parts)
        assert len(model.convex_parts) > 5, name
        assert 0.98 < covered / model.mesh.volume < 1.25, name


def test_objects_used_long_ago_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's memory does not grow with the number of objects."""
    monkeypatch.setattr("udg_sim.objects.library._KEPT", 2)
    library, rig = ObjectLibrary(), DepthRig(default_cameras())
    cube, ball = library.get("cube_60"), library.get("ball_70")
    rig.render(None, [(cube, np.eye(4))])
    assert library.get("cube_60") is cube
    library.get("soda_can")
    assert library.get("cube_60") is cube and library.get("ball_70") is not ball
    library.get("soda_can")
    gone = ref(cube)
    del cube
    collect()
    assert gone() is None  # the cameras do not keep it either
