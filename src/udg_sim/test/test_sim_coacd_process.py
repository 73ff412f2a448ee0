"""The convex decomposition that must not crash its caller."""

import trimesh

from udg_sim.coacd_process import coarse_parts


def test_an_l_is_cut_into_convex_parts_that_hold_its_volume() -> None:
    l_shape = trimesh.util.concatenate(
        [trimesh.creation.box((0.1, 0.02, 0.02)), trimesh.creation.box((0.02, 0.1, 0.02))]
    )
    parts = coarse_parts(l_shape.vertices, l_shape.faces)
    assert parts is not None and 2 <= len(parts) <= 32
