import numpy as np
import pytest
import torch
import trimesh

from udg_datagen.synthesis import GraspObject, GraspObjectError

RADIUS = 0.04


@pytest.fixture(scope="module")
def ball() -> GraspObject:
    return GraspObject(trimesh.creation.icosphere(subdivisions=4, radius=RADIUS), name="ball")


def _points(rng: np.random.Generator, low: float, high: float, n: int = 400) -> np.ndarray:
    direction = rng.standard_normal((n, 3))
    return direction / np.linalg.norm(direction, axis=1, keepdims=True) * rng.uniform(low, high, n)[:, None]


def _columns(points: np.ndarray) -> torch.Tensor:
    return torch.tensor(points.T[None], dtype=torch.float32)


@pytest.mark.parametrize("lookup", ["nearest", "trilinear"])
def test_distance_and_gradient_of_a_ball_are_those_of_geometry(ball: GraspObject, lookup: str) -> None:
    points = _points(np.random.default_rng(0), 0.02, 0.06)
    distance, gradient = getattr(ball.sdf, lookup)(_columns(points))
    radii = np.linalg.norm(points, axis=1)
    assert np.abs(distance[0].numpy() - (radii - RADIUS)).max() < 3e-4
    cosine = (gradient[0].numpy().T * points).sum(1) / radii
    assert cosine.min() > 0.99


def test_distance_keeps_growing_outside_the_grid(ball: GraspObject) -> None:
    points = _points(np.random.default_rng(1), 0.12, 0.2)
    for lookup in (ball.sdf.nearest, ball.sdf.trilinear):
        assert lookup(_columns(points))[0].min() > 0.03


def test_trilinear_distance_is_differentiable_with_the_gradient_it_returns(ball: GraspObject) -> None:
    points = _columns(_points(np.random.default_rng(2), 0.035, 0.055, 50)).requires_grad_()
    distance, gradient = ball.sdf.trilinear(points)
    distance.sum().backward()
    cosine = torch.nn.functional.cosine_similarity(points.grad, gradient, dim=1)
    assert cosine.min() > 0.98


def test_gradient_at_the_centre_is_finite(ball: GraspObject) -> None:
    points = torch.zeros(1, 3, 1, requires_grad=True)
    distance, gradient = ball.sdf.trilinear(points)
    (distance.sum() + gradient.sum()).backward()
    assert torch.isfinite(points.grad).all()


def test_hull_samples_lie_on_the_hull_with_outward_normals() -> None:
    box = GraspObject(trimesh.creation.box((0.04, 0.06, 0.10)), grid_nodes=16)
    points, normals = box.hull_samples(200, np.random.default_rng(0))
    on_face = np.abs(np.abs(points) - np.array([0.02, 0.03, 0.05])).min(axis=1)
    assert on_face.max() < 1e-9
    assert ((points * normals).sum(axis=1) > 0).all()


def test_an_inverted_mesh_is_repaired() -> None:
    mesh = trimesh.creation.box((0.05, 0.05, 0.05))
    mesh.invert()
    assert GraspObject(mesh, grid_nodes=16).distance(np.zeros((1, 3)))[0] == pytest.approx(-0.025, abs=1e-6)


@pytest.mark.parametrize("case", ["empty", "not finite", "flat"])
def test_meshes_without_a_volume_are_refused_by_name(case: str) -> None:
    mesh = trimesh.creation.box((0.05, 0.05, 0.05))
    vertices, faces = mesh.vertices.copy(), mesh.faces.copy()
    if case == "empty":
        faces = faces[:0]
    elif case == "not finite":
        vertices[0, 0] = np.nan
    else:
        vertices[:, 2] = 0.0
    with pytest.raises(GraspObjectError, match="lid"):
        GraspObject(trimesh.Trimesh(vertices=vertices, faces=faces, process=False), name="lid", grid_nodes=8)
