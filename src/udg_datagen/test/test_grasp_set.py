import dataclasses
from pathlib import Path

import numpy as np
import pytest

from udg_datagen.grasp_set import GraspFileError, GraspSet


def make_grasps(n: int = 3) -> GraspSet:
    rng = np.random.default_rng(0)
    T = np.tile(np.eye(4), (n, 1, 1))
    T[:, :3, 3] = rng.normal(size=(n, 3))
    return GraspSet(
        sides=("left",),
        strategy="pinch",
        object_id="cube",
        object_key="abc",
        T_table_object=np.eye(4),
        palm_normal_hand=np.array([[0.0, -1.0, 0.0]]),
        pregrasp_distance=0.1,
        contact_names=("left_thumb", "left_index"),
        contact_hand=np.zeros(2, dtype=np.int64),
        joint_names=(tuple(f"j{k}" for k in range(12)),),
        withstood=np.zeros((n, 0), dtype=bool),
        T_object_hand=T[:, None],
        **{name: rng.normal(size=(n, 1, 12)) for name in ("q_pregrasp", "q_grasp", "q_squeeze", "tau_squeeze")},
        **{
            name: rng.normal(size=n)
            for name in (
                "energy",
                "wrench_residual",
                "force_imbalance",
                "penetration",
                "table_clearance",
                "approach_clearance",
                "self_penetration",
                "hand_hand_penetration",
                "q1",
            )
        },
        tip_distance=rng.normal(size=(n, 2)),
        contact_points_object=rng.normal(size=(n, 2, 3)),
        contact_forces_object=rng.normal(size=(n, 2, 3)),
        meta_json='{"seed": 0}',
    )


@pytest.mark.parametrize("n", [0, 3])
def test_a_set_comes_back_from_its_file_as_it_was(tmp_path: Path, n: int) -> None:
    grasps = make_grasps(n)
    grasps.save(tmp_path / "set.npz")
    loaded = GraspSet.load(tmp_path / "set.npz")
    for field in dataclasses.fields(GraspSet):
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(grasps, field.name))
        assert type(getattr(loaded, field.name)) is type(getattr(grasps, field.name))
    assert [p.name for p in tmp_path.iterdir()] == ["set.npz"]


def test_a_truncated_file_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    make_grasps().save(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(GraspFileError, match="set.npz"):
        GraspSet.load(path)


def test_a_missing_file_and_a_foreign_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GraspFileError, match="does not exist"):
        GraspSet.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(GraspFileError, match="schema"):
        GraspSet.load(tmp_path / "other.npz")


def test_the_pregrasp_stands_back_from_the_palm() -> None:
    grasps = make_grasps()
    shift = grasps.Ts_object_pregrasp[:, 0, :3, 3] - grasps.T_object_hand[:, 0, :3, 3]
    np.testing.assert_allclose(shift, np.tile([0.0, 0.1, 0.0], (3, 1)))
    np.testing.assert_array_equal(grasps[1].hands[0].T_object_pregrasp, grasps.Ts_object_pregrasp[1, 0])


def test_taking_keeps_the_order_asked_for() -> None:
    grasps = make_grasps()
    np.testing.assert_array_equal(grasps.take([2, 0]).q_grasp, grasps.q_grasp[[2, 0]])
    assert len(grasps.take(np.array([False, True, False]))) == 1
    assert len(grasps.take(slice(0, 2))) == 2
    assert len(grasps.take([])) == 0


def test_spreading_skips_near_copies_and_keeps_the_best() -> None:
    grasps = make_grasps(6)
    T = np.tile(np.eye(4), (6, 1, 1))
    T[:, 0, 3] = [0.0, 0.001, 0.2, 0.201, 0.4, 0.401]
    grasps = dataclasses.replace(grasps, T_object_hand=T[:, None])
    assert grasps.spread(3).T_object_hand[:, 0, 0, 3].tolist() == [0.0, 0.2, 0.4]
    assert len(grasps.spread(5)) == 5
    assert len(grasps.spread(50)) == 6
    assert len(make_grasps(0).spread(4)) == 0


def test_arrays_of_unequal_length_are_refused() -> None:
    with pytest.raises(GraspFileError, match="q_grasp"):
        dataclasses.replace(make_grasps(), q_grasp=np.zeros((2, 12)))
