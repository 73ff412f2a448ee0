"""Families of parametric objects: closed, graspable, plausible, the same everywhere."""

from collections import Counter

import numpy as np
import pytest

from udg_sim import families
from udg_sim.families import FAMILIES, MASS_KG, build, member, members
from udg_sim.families.draw import Draw
from udg_sim.objects.library import ObjectLibrary


def test_draw_depends_on_key_and_name_alone() -> None:
    draw = Draw("bottle_017")
    first = draw.uniform("radius", 0.2, 0.4)
    draw.uniform("height", 0.0, 1.0)
    assert Draw("bottle_017").uniform("radius", 0.2, 0.4) == first
    assert Draw("bottle_018").uniform("radius", 0.2, 0.4) != first
    assert Draw("a").unit("b") == 0xC14CDDC033F64B9D / 2**64  # sha256("a/b")


def test_draw_covers_its_range() -> None:
    values = [Draw(str(i)).integer("n", 2, 4) for i in range(300)]
    assert Counter(values).keys() == {2, 3, 4} and min(Counter(values).values()) > 60
    logs = np.log([Draw(str(i)).log_uniform("x", 1.0, 100.0) for i in range(500)])
    assert logs.mean() == pytest.approx(np.log(10), abs=0.2)


def test_there_are_enough_families_and_objects_of_each_size() -> None:
    found = members()
    assert len(FAMILIES) >= 25 and len(found) >= 900 and len({m.id for m in found}) == len(found)
    counts = Counter(m.size_class for m in found)
    assert min(counts.values()) > 0.28 * len(found)


def test_families_leave_categories_unseen() -> None:
    """What the test set has as things never seen must not be generated."""
    assert not set(FAMILIES) & {"hammer", "spray_bottle", "camera", "headphones", "scissors", "shoe", "car", "dumbbell"}


@pytest.mark.parametrize(
    "index", [pytest.param(0), *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, families.COUNT))]
)
def test_members_are_closed_graspable_and_covered_by_their_parts(index: int) -> None:
    for name in FAMILIES:
        one = member(f"{name}_{index:03d}")
        assert one is not None
        shape, mass_kg = build(one)
        mesh = shape.mesh
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0, one.id
        assert mesh.body_count == 1, one.id
        smallest, middle, longest = np.sort(mesh.extents)
        lower, upper = families.EDGE_M[one.size_class]
        assert 0.85 * lower <= longest <= upper + 1e-9, one.id
        assert middle <= families.RIM_M[one.size_class] + 1e-9 and smallest >= 0.01, one.id
        assert MASS_KG[0] <= mass_kg <= MASS_KG[1]
        assert shape.parts is not None
        covered = sum(part.volume for part in shape.parts)
        assert 0.99 < covered / mesh.volume < 1.7, one.id  # parts of a union overlap
        corners = np.concatenate([part.vertices for part in shape.parts])
        np.testing.assert_allclose([corners.min(0), corners.max(0)], mesh.bounds, atol=0.03 * longest)


def test_members_beyond_the_training_set_exist_and_other_names_do_not() -> None:
    assert member("bottle_4711") is not None
    for id in ("bottle_17", "bottle_0017", "hammer_001", "bottle", "Bottle_001"):
        assert member(id) is None


def test_the_library_has_them_with_their_mass_and_source() -> None:
    model = ObjectLibrary().get("torch_004")
    assert (model.source, model.category, model.split) == ("generated", "torch", "train")
    one = member("torch_004")
    assert one is not None and model.mass_kg == build(one).mass_kg
    np.testing.assert_allclose(model.mesh.center_mass, 0, atol=1e-8)
