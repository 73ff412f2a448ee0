"""Covering spheres of a mesh hold all of it."""

import numpy as np
import pytest
import trimesh

from udg_sim.cameras.mesh_cover import cover


@pytest.mark.parametrize(
    "mesh",
    [
        trimesh.creation.box((0.4, 0.1, 0.02)),
        trimesh.creation.torus(0.1, 0.01),
        trimesh.creation.icosphere(subdivisions=4),
    ],
    ids=["box", "torus", "many triangles"],
)
def test_every_point_of_the_surface_is_in_a_sphere(mesh: trimesh.Trimesh) -> None:
    centers, radii = cover(mesh.vertices, mesh.faces)
    points = np.concatenate([trimesh.sample.sample_surface(mesh, 2000, seed=0)[0], mesh.vertices])
    beyond = np.linalg.norm(points[:, None] - centers, axis=2) - radii
    assert beyond.min(axis=1).max() <= 1e-9
    assert radii.max() < 0.3 * np.linalg.norm(mesh.extents)
