"""Hulls of the hands' links against shapes of known size, and their places against the robot model."""

from __future__ import annotations

import numpy as np
import pytest

from udg_description.layout import HOME_Q, SIDES, Side
from udg_description.shapes import merge_capsules, union_distance
from udg_description.transforms import make_transform, rotvec_to_matrix
from udg_description.urdf import Primitive
from udg_policy.hands.ghosts import convex_hull, hand_hulls, hand_poses, shown_steps
from udg_policy.hands.poses import robot_model

TURNED = make_transform(rotvec_to_matrix(np.array([0.3, -0.5, 0.8])), np.array([0.1, 0.2, -0.3]))


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Positive for triangles that are counter-clockwise from outside."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6.0)


@pytest.mark.parametrize(
    ("kind", "size", "expected", "least"),
    [
        ("box", (0.02, 0.04, 0.06), 0.02 * 0.04 * 0.06, 1.0),
        ("sphere", (0.05,), 4.0 / 3.0 * np.pi * 0.05**3, 0.8),
        ("cylinder", (0.02, 0.1), np.pi * 0.02**2 * 0.1, 0.7),
        ("capsule", (0.02, 0.1), np.pi * 0.02**2 * (0.1 + 4.0 / 3.0 * 0.02), 0.75),
    ],
)
def test_a_hull_lies_inside_its_shape_and_fills_most_of_it(
    kind: str, size: tuple[float, ...], expected: float, least: float
) -> None:
    shape = Primitive(kind=kind, size=size, T_link_shape=TURNED)  # type: ignore[arg-type]
    hull = convex_hull([shape])
    assert union_distance([shape], hull.vertices).max() < 1e-9
    assert least - 1e-9 <= volume(*hull) / expected <= 1.0 + 1e-9


@pytest.mark.parametrize("side", SIDES)
def test_every_link_of_a_hand_with_a_shape_has_a_closed_hull_near_it(side: Side) -> None:
    hand = hand_hulls(side)
    assert hand.links[0] == f"{side}_hand_link" and len(hand.links) == 13
    for name, (vertices, faces) in zip(hand.links, hand.hulls, strict=True):
        assert len(faces) == 2 * len(vertices) - 4  # Euler: closed and convex
        assert volume(vertices, faces) > 0.0
        assert np.abs(union_distance(merge_capsules(robot_model().geometry(name)), vertices)).max() < 1e-6


def test_hands_stand_where_the_robot_model_says() -> None:
    targets = np.stack([HOME_Q, np.asarray(HOME_Q) + 0.1])
    poses = hand_poses(targets)
    for side in SIDES:
        expected = robot_model().link_poses_np(targets[1])
        for link, name in enumerate(hand_hulls(side).links):
            np.testing.assert_allclose(poses[side][1, link], expected[name], atol=1e-9)


def test_steps_shown_are_first_middle_and_last() -> None:
    assert [shown_steps(length) for length in (8, 4, 2, 1)] == [(0, 4, 7), (0, 2, 3), (0, 1), (0,)]
