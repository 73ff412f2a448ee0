"""Strategies follow what an object offers: handles, rims, thin parts, room for two hands."""

import numpy as np
import pytest
import trimesh

from udg_datagen.objects.offers import BY_SIZE, offers, taken_by, thin_parts


def _union(*parts: trimesh.Trimesh) -> trimesh.Trimesh:
    return trimesh.boolean.union(parts, engine="manifold")


def _box(extents: tuple[float, float, float], at: tuple[float, float, float] = (0, 0, 0)) -> trimesh.Trimesh:
    return trimesh.creation.box(extents).apply_translation(at)


def _pan() -> trimesh.Trimesh:
    """A flat pan, 0.3 m wide, with a handle 25 mm thick and 0.2 m long."""
    plate = trimesh.creation.cylinder(radius=0.15, height=0.03, sections=48)
    hollow = trimesh.creation.cylinder(radius=0.142, height=0.03, sections=48).apply_translation((0, 0, 0.005))
    dish = trimesh.boolean.difference([plate, hollow], engine="manifold")
    return _union(dish, _box((0.21, 0.025, 0.02), (0.245, 0, 0)))


def _basket() -> trimesh.Trimesh:
    outer, inner = _box((0.3, 0.25, 0.2)), _box((0.28, 0.23, 0.2), (0, 0, 0.01))
    return trimesh.boolean.difference([outer, inner], engine="manifold")


def _rack() -> trimesh.Trimesh:
    rails = [_box((0.5, 0.016, 0.016), (0, y, 0)) for y in (-0.15, 0.0, 0.15)]
    posts = [_box((0.016, 0.316, 0.016), (x, 0, 0)) for x in (-0.24, 0.24)]
    return _union(*rails, *posts)


@pytest.mark.parametrize(
    ("mesh", "wanted"),
    [(_pan(), {"pinch", "tripod", "bimanual"}), (_basket(), {"pinch", "bimanual"}), (_rack(), {"whole_hand", "pinch"})],
    ids=["pan", "basket", "rack"],
)
def test_a_large_object_with_a_part_for_one_hand_offers_it(mesh: trimesh.Trimesh, wanted: set[str]) -> None:
    assert wanted <= set(offers(mesh))
    assert offers(mesh)[0] == "bimanual"


@pytest.mark.parametrize("size", [0.04, 0.15, 0.3])
def test_what_the_size_suggests_comes_first(size: float) -> None:
    box = trimesh.creation.box((size, size, size))
    name = {0.04: "small", 0.15: "medium", 0.3: "large"}[size]
    assert offers(box)[: len(BY_SIZE[name])] == BY_SIZE[name]


def test_a_large_solid_box_is_for_both_hands_alone() -> None:
    assert offers(trimesh.creation.box((0.3, 0.3, 0.25))) == ("bimanual",)


def test_flat_shears_can_be_pinched() -> None:
    blades = [
        _box((0.18, 0.015, 0.004)).apply_transform(trimesh.transformations.rotation_matrix(a, [0, 0, 1]))
        for a in (-0.2, 0.2)
    ]
    assert "pinch" in offers(_union(*blades))


def test_thickness_is_that_between_opposite_faces() -> None:
    parts = thin_parts(trimesh.creation.box((0.2, 0.08, 0.01)))
    found = parts.thickness[np.isfinite(parts.thickness)]
    assert np.isclose(found, 0.01, atol=2e-4).mean() > 0.8
    assert parts.area == pytest.approx(2 * (0.2 * 0.08 + 0.2 * 0.01 + 0.08 * 0.01))
    assert not taken_by(parts, "bimanual")


def test_a_wall_with_no_room_behind_it_is_no_part_for_a_hand() -> None:
    """Two plates 8 mm thick, 14 mm apart, joined at two sides: no finger gets between them."""
    tube = trimesh.boolean.difference([_box((0.3, 0.3, 0.03)), _box((0.31, 0.28, 0.014))], engine="manifold")
    assert not np.isclose(thin_parts(tube).thickness, 0.008, atol=1e-3).any()
