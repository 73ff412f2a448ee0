"""Flat things: low, closed, graspable, the same everywhere."""

import numpy as np
import pytest

from udg_sim.families import flats
from udg_sim.families.flats import build, flat
from udg_sim.families.sizes import MASS_KG, SIZES, THICK_M, fitting
from udg_sim.objects.library import ObjectLibrary
from udg_sim.objects.selection import select


@pytest.mark.parametrize(
    "first", [pytest.param(0), *(pytest.param(k, marks=pytest.mark.slow) for k in (50, 10_000, 1_000_000))]
)
def test_members_are_closed_flat_and_covered_by_their_parts(first: int) -> None:
    for k in range(first, first + 12):
        one = flat(f"flat_{k:05d}")
        assert one is not None
        shape, mass_kg = build(one)
        mesh, edges = shape.mesh, np.sort(shape.mesh.extents)
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1 and mesh.volume > 0, one.id
        least_m = THICK_M[one.size_class]
        assert 0.999 * least_m <= edges[0] <= 1.001 * flats.THICKER * least_m, one.id
        low, high = fitting(edges)[one.size_class]  # as all training objects
        assert 0.999 * low <= edges[2] <= 1.001 * high, one.id
        lower, upper = SIZES[one.size_class]
        assert lower < edges[2] <= upper and MASS_KG[0] <= mass_kg <= MASS_KG[1], one.id
        assert shape.parts is not None
        assert all(part.volume > 0.999 * part.convex_hull.volume for part in shape.parts), one.id
        corners = np.concatenate([part.vertices for part in shape.parts])
        np.testing.assert_allclose([corners.min(0), corners.max(0)], mesh.bounds, atol=1e-6)


def test_most_of_them_lie_low() -> None:
    library = ObjectLibrary()
    low = []
    for id in select("flat:24", library):
        model = library.get(id)
        heights_m = np.array([np.ptp(model.mesh.vertices @ T[2, :3]) for T in model.stable_poses])
        low.append(float(model.stable_probabilities[heights_m < 0.035].sum()))
    assert np.mean(low) > 0.75


def test_ids_alone_decide_and_are_a_set_of_any_size() -> None:
    library = ObjectLibrary()
    one = flat("flat_00017")
    assert one is not None
    again, once = build(one), build(one)
    np.testing.assert_array_equal(again.shape.mesh.vertices, once.shape.mesh.vertices)
    assert again.mass_kg == once.mass_kg == library.get("flat_00017").mass_kg
    assert (library.get("flat_00017").source, library.get("flat_00017").split) == ("composition", "train")
    assert select("flat:3", library) == ["flat_00000", "flat_00001", "flat_00002"]
    assert select("flat/medium:500", library)[-1] == "flat_00999"
    for id in ("flat_017", "flat_000017", "flat_-0001", "flat", "flat_00017x"):
        assert flat(id) is None
