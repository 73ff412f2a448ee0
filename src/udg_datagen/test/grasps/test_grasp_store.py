import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import udg_datagen.grasps.grasp_store as grasp_store
from udg_datagen.grasp_set import GraspSet
from udg_datagen.grasps.grasp_store import GraspStore, GraspStoreConfig, GraspStoreError, fitting
from udg_datagen.grasps.mirror import mirrored, symmetry_plane
from udg_datagen.objects.offers import BY_SIZE
from udg_datagen.synthesis import GraspObject, StrategyError, SynthesisConfig, robot_hand_spec
from udg_datagen.validation.validation import validate
from udg_sim.objects.library import ObjectLibrary, ObjectModel

SYNTHESIS = SynthesisConfig(n_candidates=24, qp_steps=120, refine_steps=40)
CONFIG = GraspStoreConfig(synthesis=SYNTHESIS, validated=3, enough=2)


@pytest.fixture(scope="module")
def domino() -> ObjectModel:
    return ObjectLibrary().get("domino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def sets(domino: ObjectModel, folder: Path) -> list[GraspSet]:
    torch.set_num_threads(1)
    return GraspStore(CONFIG, folder).get(domino, 0, ["tripod"])


def test_both_sides_come_with_what_they_withstood(sets: list[GraspSet]) -> None:
    assert [grasps.sides for grasps in sets] == [("left",), ("right",)]
    for grasps in sets:
        assert 0 < len(grasps) <= CONFIG.validated
        assert grasps.tests and grasps.withstood.any(axis=1).all()


def test_grasps_are_made_once(
    domino: ObjectModel, folder: Path, sets: list[GraspSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("synthesised again")

    monkeypatch.setattr(grasp_store, "synthesize", refuse)
    again = GraspStore(CONFIG, folder).get(domino, 0, ["tripod"])
    np.testing.assert_array_equal(again[1].T_object_hand, sets[1].T_object_hand)
    monkeypatch.setattr(grasp_store, "VERSION", "of another day")
    with pytest.raises(AssertionError, match="again"):
        GraspStore(CONFIG, folder).get(domino, 0, ["tripod"])


def test_a_truncated_file_is_made_anew(domino: ObjectModel, folder: Path, tmp_path: Path, sets: list[GraspSet]) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "grasps").iterdir():
        path.write_bytes(path.read_bytes()[:500])
    again = GraspStore(CONFIG, tmp_path).get(domino, 0, ["tripod"])
    np.testing.assert_array_equal(again[0].T_object_hand, sets[0].T_object_hand)


def test_the_reflected_grasp_is_one_of_the_other_hand(sets: list[GraspSet], domino: ObjectModel) -> None:
    left, right = sets
    assert left.joint_names == (robot_hand_spec("left").joint_names,)
    assert all(name.startswith("left_") for name in left.contact_names)
    np.testing.assert_allclose(np.linalg.det(left.T_object_hand[:, 0, :3, :3]), 1.0)
    np.testing.assert_allclose(left.T_object_hand[:, 0, 2, 3], right.T_object_hand[:, 0, 2, 3], atol=1e-9)
    obj = GraspObject.from_model(domino)
    for grasps in sets:
        assert np.abs(obj.distance(grasps.contact_points_object)).max() < 2e-3
    assert validate(left, domino).share >= 0.6


def test_reflecting_twice_gives_the_grasp_back(sets: list[GraspSet], domino: ObjectModel) -> None:
    obj = GraspObject.from_model(domino)
    plane = symmetry_plane(obj, domino.stable_poses[0])
    assert plane is not None
    twice = mirrored(mirrored(sets[1], plane, obj.com), plane, obj.com)
    np.testing.assert_allclose(twice.T_object_hand, sets[1].T_object_hand, atol=1e-12)
    np.testing.assert_allclose(twice.contact_forces_object, sets[1].contact_forces_object, atol=1e-9)
    assert twice.contact_names == sets[1].contact_names


def test_a_standing_can_has_an_upright_plane_and_a_tilted_hammer_has_none() -> None:
    library = ObjectLibrary()
    can = library.get("soda_can")
    assert symmetry_plane(GraspObject.from_model(can), np.eye(4)) is not None
    hammer = library.get("toy_hammer")
    askew = np.eye(4)
    askew[:3, :3] = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert symmetry_plane(GraspObject.from_model(hammer), askew) is None


def test_strategies_follow_from_the_size() -> None:
    library = ObjectLibrary()
    assert fitting(library.get("cube_30")) == BY_SIZE["small"]
    assert fitting(library.get("soda_can")) == ("whole_hand", "tripod")
    assert fitting(library.get("box_300")) == ("bimanual",)
    assert set(BY_SIZE) == {"small", "medium", "large"}


def test_what_makes_no_sense_is_refused(domino: ObjectModel, tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match="pinch"):
        GraspStore(CONFIG, tmp_path).get(domino, 0, ["hug"])
    with pytest.raises(GraspStoreError, match="better_share"):
        GraspStoreConfig(better_share=0.0)
