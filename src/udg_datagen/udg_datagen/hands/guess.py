"""First guesses for a hand's description: pads at the ends of its fingers, an open hand, what it closes around.

Good enough to start from; a user who knows the hand improves them in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from udg_description.errors import HandModelError
from udg_description.robot.hand_tree import HandTree
from udg_description.shapes import sample_union
from udg_description.urdf import Primitive

_DRAWS = 4000
_PAD_TILT_DEG = 35.0  # of the pad's axis towards the fingertip
_BALL = 0.06  # [m] distance of thumb and opposite fingers in the open hand: a medium object
_FIT_RANGE = 1.6  # part of the end that a pad's sphere is fitted to, in radii


class Guess(NamedTuple):
    """In the frames of the moving links (pads) and the root link (centre)."""

    pad_center: dict[str, np.ndarray]
    pad_radius: dict[str, float]
    pad_axis: dict[str, np.ndarray]
    preshape: np.ndarray  # (n,) [rad]
    grasp_center: np.ndarray  # (3,) [m]


def guess(tree: HandTree, tips: Mapping[str, str], palm_normal: np.ndarray) -> Guess:
    """Pads, open hand and grasp centre for fingertips `tips` (contact name -> link), the first one the thumb.

    Raises:
        HandModelError: fewer than two tips, or a tip without collision geometry.
    """
    if len(tips) < 2:
        raise HandModelError(f"{len(tips)} fingertips named; at least two are needed")
    links = {name: tree.link_of(link)[0] for name, link in tips.items()}
    balls = {name: _end(tree, link, name) for name, link in links.items()}
    centers = {name: ball[0] for name, ball in balls.items()}
    q = _open_hand(tree, links, centers, palm_normal)
    T = tree.poses(q)
    at = {name: (T[links[name]] @ np.append(centers[name], 1.0))[:3] for name in tips}
    first, *rest = tips
    center = 0.5 * (at[first] + np.mean([at[name] for name in rest], axis=0))
    tilt = np.deg2rad(_PAD_TILT_DEG)
    axes = {}
    for name, link in links.items():
        along = centers[name] / max(float(np.linalg.norm(centers[name])), 1e-9)  # out of the link's joint to its end
        flexion = np.cross(tree.joints[link - 1].axis, along)  # the way the end moves when its joint turns
        inward = flexion if float((T[link][:3, :3] @ flexion) @ (center - at[name])) > 0.0 else -flexion
        inward /= max(float(np.linalg.norm(inward)), 1e-9)
        axes[name] = np.cos(tilt) * inward + np.sin(tilt) * along
    return Guess(centers, {name: ball[1] for name, ball in balls.items()}, axes, q, center)


def _end(tree: HandTree, link: int, name: str) -> tuple[np.ndarray, float]:
    """Centre and radius of a sphere at the end of a link: that of its outermost shape."""
    shapes = tree.primitives[link]
    if not shapes:
        raise HandModelError(f"fingertip '{name}': link '{tree.links[link]}' has no collision geometry")
    points = sample_union(shapes, 4000, np.random.default_rng(0))
    middle = points.mean(axis=0)
    along = middle / max(float(np.linalg.norm(middle)), 1e-9)
    outer = max(shapes, key=lambda shape: _reach(shape, along))
    radius = _radius(outer)
    tip = points[(points @ along).argmax()]
    if outer.kind == "sphere":
        return outer.T_link_shape[:3, 3], radius
    near = points[np.linalg.norm(points - tip, axis=1) < _FIT_RANGE * radius]
    center = near.mean(axis=0)
    return center + ((tip - center) @ along - radius) * along, radius


def _reach(shape: Primitive, along: np.ndarray) -> float:
    local = shape.T_link_shape[:3, :3].T @ along
    if shape.kind == "sphere":
        half = shape.size[0]
    elif shape.kind == "box":
        half = float(np.abs(local) @ np.array(shape.size) / 2)
    else:
        half = float(abs(local[2]) * shape.size[1] / 2 + np.hypot(local[0], local[1]) * shape.size[0])
    return float(along @ shape.T_link_shape[:3, 3]) + half


def _radius(shape: Primitive) -> float:
    return float(min(shape.size)) / 2 if shape.kind == "box" else float(shape.size[0])


def _open_hand(
    tree: HandTree, links: Mapping[str, int], centers: Mapping[str, np.ndarray], palm_normal: np.ndarray
) -> np.ndarray:
    """Of many random configurations the one whose thumb stands best opposite the other fingers, before the palm."""
    rng = np.random.default_rng(0)
    lower = np.array([joint.lower for joint in tree.joints])
    upper = np.array([joint.upper for joint in tree.joints])
    middle = np.clip(0.0, lower, upper)  # as the maker's drawing shows it
    span = upper - lower
    best, best_score = middle, float("inf")
    for k in range(_DRAWS):
        share = rng.random(len(span))
        q = middle + (0.15 + 0.85 * k / _DRAWS) * (lower + share * span - middle)
        T = tree.poses(q)
        tips = [(T[link] @ np.append(centers[name], 1.0))[:3] for name, link in links.items()]
        others = np.mean(tips[1:], axis=0)
        gap = float(np.linalg.norm(tips[0] - others))
        lateral = tips[0] - others - palm_normal * (palm_normal @ (tips[0] - others))
        heights = np.array(tips) @ palm_normal
        spread = float(np.linalg.norm(np.std(np.array(tips[1:]), axis=0))) if len(tips) > 2 else 0.0
        score = float(
            20.0 * abs(gap - _BALL)
            + 20.0 * (gap - float(np.linalg.norm(lateral)))
            + 10.0 * float(np.std(heights))
            - 10.0 * float(heights.min())
            + 4.0 * abs(spread - 0.03)
            + 0.3 * float(np.mean(((q - middle) / span) ** 2))
        )
        if score < best_score:
            best, best_score = q, score
    return best
