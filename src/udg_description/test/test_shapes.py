import numpy as np
import pytest

from udg_description import shapes
from udg_description.model import RobotModel
from udg_description.transforms import make_transform, rotvec_to_matrix
from udg_description.urdf import Primitive

POSE = make_transform(rotvec_to_matrix(np.array([0.3, -0.8, 0.5])), np.array([0.1, 0.2, -0.3]))
SHAPES = [
    Primitive(kind="sphere", size=(0.3,), T_link_shape=POSE),
    Primitive(kind="box", size=(0.2, 0.4, 0.6), T_link_shape=POSE),
    Primitive(kind="cylinder", size=(0.2, 0.5), T_link_shape=POSE),
    Primitive(kind="capsule", size=(0.2, 0.5), T_link_shape=POSE),
]


@pytest.mark.parametrize(
    ("kind", "size", "point", "expected"),
    [
        ("sphere", (0.5,), (0.0, 3.0, 4.0), 4.5),
        ("box", (2.0, 4.0, 6.0), (4.0, 6.0, 0.0), 5.0),
        ("box", (2.0, 4.0, 6.0), (0.25, 0.0, 0.0), -0.75),
        ("cylinder", (1.0, 2.0), (4.0, 0.0, 5.0), 5.0),
        ("cylinder", (1.0, 2.0), (0.0, 0.0, 0.5), -0.5),
        ("cylinder", (1.0, 4.0), (0.7, 0.0, 0.0), -0.3),
        ("capsule", (1.0, 2.0), (3.0, 0.0, 5.0), 4.0),
        ("capsule", (1.0, 2.0), (0.0, 0.5, 0.9), -0.5),
    ],
)
def test_distances_worked_out_by_hand(kind: str, size: tuple, point: tuple, expected: float) -> None:
    primitive = Primitive(kind=kind, size=size, T_link_shape=np.eye(4))
    assert shapes.signed_distance(primitive, np.array([point]))[0] == pytest.approx(expected)


@pytest.mark.parametrize("primitive", SHAPES, ids=lambda shape: shape.kind)
def test_samples_lie_on_the_surface_and_within_the_bounding_radius(primitive: Primitive) -> None:
    points = shapes.sample_surface(primitive, 2000, np.random.default_rng(0))
    assert points.shape == (2000, 3)
    assert np.abs(shapes.signed_distance(primitive, points)).max() < 1e-12
    assert np.linalg.norm(points - POSE[:3, 3], axis=1).max() <= shapes.bounding_radius(primitive) + 1e-12


@pytest.mark.parametrize("primitive", SHAPES, ids=lambda shape: shape.kind)
def test_samples_are_uniform_by_area(primitive: Primitive) -> None:
    """The mean of uniform samples on a centrally symmetric surface is its centre; a cylinder's ends get their share."""
    points = shapes.sample_surface(primitive, 20000, np.random.default_rng(1))
    local = (points - POSE[:3, 3]) @ POSE[:3, :3]
    assert np.abs(local.mean(axis=0)).max() < 0.01
    if primitive.kind == "cylinder":
        on_ends = np.isclose(np.abs(local[:, 2]), 0.25, atol=1e-9).mean()
        assert on_ends == pytest.approx(2 * np.pi * 0.2**2 / shapes.area(primitive), abs=0.02)


def test_a_cylinder_with_two_equal_spheres_becomes_a_capsule_and_the_union_stays() -> None:
    model = RobotModel()
    points = np.random.default_rng(2).uniform(-0.15, 0.15, size=(3000, 3))
    for link in ("right_hand_link", "left_hand_thumb_rota_link2", "left_forearm_link"):
        parts = model.geometry(link)
        merged = shapes.merge_capsules(parts)
        assert any(shape.kind == "capsule" for shape in merged) and len(merged) < len(parts)
        outside = shapes.union_distance(parts, points) > 0
        difference = shapes.union_distance(parts, points) - shapes.union_distance(merged, points)
        np.testing.assert_allclose(difference[outside], 0.0, atol=1e-9)


def test_union_samples_are_never_inside_another_part() -> None:
    parts = shapes.merge_capsules(RobotModel().geometry("right_hand_link"))
    points = shapes.sample_union(parts, 1000, np.random.default_rng(3))
    assert np.abs(shapes.union_distance(parts, points)).max() < 1e-9
    assert 300 < len(points) < 1100
