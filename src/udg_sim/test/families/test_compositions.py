"""Random compositions: closed, graspable, rooted, the same everywhere; nothing of other people in them."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from udg_sim.families import attachments, compositions, cores
from udg_sim.families.attachments import Body
from udg_sim.families.compositions import Composed, build, composition
from udg_sim.families.draw import Draw
from udg_sim.families.sizes import MASS_KG, SIZES, fitting
from udg_sim.geometry.shapes import Shape
from udg_sim.objects.library import HELD_OUT, ObjectLibrary
from udg_sim.objects.manifest import manifest

ALL_CORES = (*cores.SOLIDS, *cores.SHELLS, *cores.OPEN, *cores.FLAT)
ALL_ATTACHMENTS = tuple(dict.fromkeys((*attachments.UNDER, *attachments.SIDE, *attachments.TOP)))


def _build(id: str) -> Composed:
    one = composition(id)
    assert one is not None
    return build(one)


@pytest.mark.parametrize(
    "first", [pytest.param(0), *(pytest.param(k, marks=pytest.mark.slow) for k in (30, 300, 10_000, 1_000_000))]
)
def test_members_are_closed_graspable_and_covered_by_their_parts(first: int) -> None:
    for k in range(first, first + 12):
        one = composition(f"composition_{k:05d}")
        assert one is not None
        shape, mass_kg = build(one)
        mesh = shape.mesh
        assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1, one.id
        least_m, most_m = fitting(np.sort(mesh.extents))[one.size_class]
        assert 0.999 * least_m <= mesh.extents.max() <= 1.001 * most_m, one.id
        lower, upper = SIZES[one.size_class]
        assert lower < mesh.extents.max() <= upper and MASS_KG[0] <= mass_kg <= MASS_KG[1], one.id
        assert shape.parts is not None and len(shape.parts) <= compositions.MAX_PARTS
        assert all(part.volume > 0.999 * part.convex_hull.volume for part in shape.parts), one.id
        assert 0.999 < sum(part.volume for part in shape.parts) / mesh.volume < 1.6, one.id  # parts overlap
        corners = np.concatenate([part.vertices for part in shape.parts])
        np.testing.assert_allclose([corners.min(0), corners.max(0)], mesh.bounds, atol=1e-6)


def test_ids_alone_decide() -> None:
    again, once = _build("composition_00017"), _build("composition_00017")
    np.testing.assert_array_equal(again.shape.mesh.vertices, once.shape.mesh.vertices)
    assert again.mass_kg == once.mass_kg
    assert Counter(one.size_class for one in compositions.compositions(30)) == {"small": 10, "medium": 10, "large": 10}
    for id in ("composition_017", "composition_000017", "composition_-0001", "composition", "composition_00017x"):
        assert composition(id) is None


def test_the_library_has_them_with_their_mass_properties() -> None:
    model = ObjectLibrary().get("composition_00004")
    assert (model.source, model.category, model.split) == ("composition", "composition", "train")
    np.testing.assert_allclose(model.mesh.center_mass, 0, atol=1e-8)
    built = _build("composition_00004")
    assert model.mass_kg == built.mass_kg
    np.testing.assert_allclose(model.unit_inertia * built.shape.mesh.volume, built.shape.mesh.moment_inertia, rtol=1e-6)


def test_nothing_of_the_held_out_set_is_among_them() -> None:
    records = [record for record in manifest().values() if record.source == compositions.NAME]
    held_out = [record for record in manifest().values() if record.source in HELD_OUT]
    assert len(records) == compositions.COUNT and len(held_out) == 600
    assert not {record.key for record in records} & {record.key for record in held_out}
    assert {record.path for record in records} == {""} and {record.author for record in records} == {"udg"}
    assert not {record.category for record in records} & {record.category for record in held_out}


def test_there_is_something_of_each_kind() -> None:
    """Flat, open, hollow and solid things are each a good part, as they are of the world."""
    meshes = [build(one).shape.mesh for one in compositions.compositions(30)]
    edges = np.array([np.sort(mesh.extents) for mesh in meshes])
    fill = np.array([mesh.volume / mesh.convex_hull.volume for mesh in meshes])
    assert np.mean(edges[:, 0] < 0.5 * edges[:, 1]) > 0.1  # flat
    assert np.mean(fill < 0.3) > 0.15 and np.mean(fill > 0.5) > 0.1  # open or hollow; solid


@pytest.mark.parametrize("core", ALL_CORES)
def test_cores_are_exactly_their_convex_parts(core: Callable[[Draw], Shape]) -> None:
    for k in range(4):
        shape = core(Draw(f"{core.__name__} {k}"))
        assert shape.mesh.is_watertight and shape.mesh.body_count == 1 and shape.parts is not None
        points = shape.mesh.triangles_center[:: max(1, len(shape.mesh.faces) // 200)]
        inside = np.zeros(len(points), dtype=bool)
        for part in shape.parts:
            gaps = (points[:, None] - part.triangles[:, 0]) * part.face_normals
            inside |= gaps.sum(axis=2).max(axis=1) < 1e-6
        assert inside.all()


def test_a_line_enters_a_body_where_its_parts_say() -> None:
    body = Body([cores.placed(1.0, 1.0, 0.2, (0, 0, 0)), cores.placed(0.2, 0.2, 0.4, (0, 0, 0.25))], 1.0)
    hit = body.hit(np.array([0.0, 0.0, 5.0]), np.array([0.0, 0.0, -2.0]))
    assert hit is not None
    np.testing.assert_allclose([*hit.point, hit.depth], [0.0, 0.0, 0.45, 0.55], atol=1e-12)
    aside = body.from_below(0.9, 0.9)
    assert aside is not None and aside.depth == pytest.approx(0.2)
    assert body.hit(np.array([2.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])) is None


@pytest.mark.parametrize("add", ALL_ATTACHMENTS)
def test_what_is_added_to_a_block_or_bowl_becomes_one_solid_with_it(add: attachments.Attachment) -> None:
    for core in (cores.block, cores.vessel):
        base = core(Draw(f"base {core.__name__}"))
        more = add(Body([base], 1.2), Draw("more"))
        assert more, core
        joined = cores.shapes.union([base, *more])
        assert joined.mesh.body_count == 1 and joined.mesh.volume > base.mesh.volume
