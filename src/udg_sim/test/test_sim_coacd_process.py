"""The convex decomposition that must not crash its caller."""

import trimesh

from udg_sim.coacd_process import coarse_parts


def test_a_torus_is_cut_into_several_parts() -> None:
    torus = trimesh.creation.torus(0.1, 0.03, major_sections=16, minor_sections=8)
    parts = coarse_parts(torus.vertices, torus.faces)
    assert parts is not None and 4 <= len(parts) <= 32
