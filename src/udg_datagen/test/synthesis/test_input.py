"""What is wrong with a mesh is repaired and noted, or refused by name."""

import json

import numpy as np
import pytest
import torch
import trimesh

from udg_datagen.synthesis import (
    DeviceError,
    GraspObject,
    GraspObjectError,
    StrategyError,
    SynthesisConfig,
    choose,
    robot_hand,
    synthesize,
)

QUICK = SynthesisConfig(strategy="pinch", n_candidates=2, qp_steps=4, refine_steps=2, screen_step=4, pregrasp_steps=2)


def _box(size: float = 0.05) -> trimesh.Trimesh:
    return trimesh.creation.box((size, size, size))


def _object(mesh: trimesh.Trimesh) -> GraspObject:
    return GraspObject(mesh, name="lid", grid_nodes=12)


def test_a_sound_mesh_needs_no_note() -> None:
    assert _object(_box()).notes == ()


def test_what_was_repaired_is_kept_with_the_grasps() -> None:
    mesh = _box()
    mesh.invert()
    obj = _object(mesh)
    assert obj.notes == ("turned inside out",)
    meta = json.loads(synthesize(obj, robot_hand("right"), QUICK).meta_json)
    assert meta["notes"] == ["turned inside out"]


def test_a_small_hole_is_filled() -> None:
    mesh = _box()
    obj = _object(trimesh.Trimesh(mesh.vertices, mesh.faces[1:], process=False))
    assert "holes and faces repaired" in obj.notes
    assert obj.mesh.volume == pytest.approx(0.05**3, rel=1e-6)


def test_overlapping_bodies_become_one() -> None:
    both = trimesh.util.concatenate([_box(), _box().apply_translation((0.03, 0.0, 0.0))])
    obj = _object(both)
    assert obj.notes == ("2 bodies united",)
    assert obj.mesh.volume == pytest.approx(0.05 * 0.05 * 0.08, rel=1e-6)


def test_a_speck_beside_the_object_is_dropped() -> None:
    obj = _object(trimesh.util.concatenate([_box(), _box(0.002).apply_translation((0.1, 0.0, 0.0))]))
    assert obj.extents.max() == pytest.approx(0.05)
    assert "largest kept" in obj.notes[0]


def test_a_hollow_is_no_second_body() -> None:
    inner = _box(0.04)
    inner.invert()
    obj = _object(trimesh.util.concatenate([_box(), inner]))
    assert obj.notes == ("1 hollow inside",)
    assert obj.mesh.volume == pytest.approx(0.05**3 - 0.04**3, rel=1e-6)


@pytest.mark.parametrize(
    ("mesh", "reason"),
    [
        (_box(50.0), "millimetres"),
        (_box(5e-5), "from 0.002 m"),
        (trimesh.util.concatenate([_box(), _box().apply_translation((0.2, 0.0, 0.0))]), "2 separate bodies"),
        (trimesh.Trimesh(), "no faces"),
    ],
)
def test_what_cannot_be_repaired_is_refused_with_the_reason(mesh: trimesh.Trimesh, reason: str) -> None:
    with pytest.raises(GraspObjectError, match=f"'lid'.*{reason}"):
        _object(mesh)


def test_an_object_wider_than_the_hand_reaches_is_refused_by_one_hand_and_by_two() -> None:
    with pytest.raises(GraspObjectError, match="'lid' is 0.40 m wide.*right hand.*both hands"):
        synthesize(_object(_box(0.4)), robot_hand("right"), QUICK)
    both = SynthesisConfig(strategy="bimanual")
    with pytest.raises(GraspObjectError, match="'lid' is 1.00 m wide.*two hands"):
        synthesize(_object(_box(1.0)), (robot_hand("left"), robot_hand("right")), both)


def test_the_strategy_follows_the_size() -> None:
    hand = robot_hand("left")
    sizes = {0.03: "pinch", 0.06: "tripod", 0.12: "whole_hand", 0.3: "bimanual"}
    assert {size: choose(_object(_box(size)), hand) for size in sizes} == sizes
    bottle = _object(trimesh.creation.cylinder(radius=0.035, height=0.28))
    assert choose(bottle, hand) == "whole_hand"


def test_auto_takes_the_hands_that_the_strategy_needs() -> None:
    hands = (robot_hand("left"), robot_hand("right"))
    config = SynthesisConfig(n_candidates=2, qp_steps=4, refine_steps=2, screen_step=4, pregrasp_steps=2)
    small, large = synthesize(_object(_box(0.03)), hands, config), synthesize(_object(_box(0.3)), hands, config)
    assert (small.strategy, small.sides) == ("pinch", ("right",))
    assert (large.strategy, large.sides) == ("bimanual", ("left", "right"))


def test_an_unknown_strategy_names_the_valid_ones() -> None:
    with pytest.raises(StrategyError, match="scoop.*bimanual"):
        SynthesisConfig(strategy="scoop")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_device_is_named() -> None:
    with pytest.raises(DeviceError, match="no CUDA device"):
        robot_hand("right", device="cuda")
    with pytest.raises(DeviceError, match="no CUDA device"):
        GraspObject(_box(), device="cuda")
    with pytest.raises(DeviceError, match="unknown device 'tpux'"):
        robot_hand("right", device="tpux")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_gives_the_same_grasps_within_tolerance() -> None:
    config = SynthesisConfig(strategy="whole_hand", n_candidates=64)
    mesh = trimesh.creation.cylinder(radius=0.033, height=0.12, sections=32)
    sets = [
        synthesize(GraspObject(mesh, name="can", device=device), robot_hand("right", device=device), config, seed=1)
        for device in ("cpu", "cuda")
    ]
    assert len(sets[1]) == pytest.approx(len(sets[0]), rel=0.1)
    assert np.median(sets[1].energy) == pytest.approx(np.median(sets[0].energy), rel=0.1)
    assert np.median(np.abs(sets[1].tip_distance)) < 0.0005
