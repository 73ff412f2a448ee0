"""Where the optimisation starts: palms to the object along the normals of its convex hull, grasp centres inside it.

One hand: anywhere on the hull but from below. Two hands: at opposite points of it, palms facing each other, both with
their fingers forward or down as a robot behind the object would reach for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_datagen.errors import NoApproachError
from udg_datagen.hands.model import HandModel, HandState
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.synthesis.config import SynthesisConfig

_MAX_DRAWS = 50
_TILT_STD_RAD = 0.2  # spread of the palm normal about the hull's normal
_TURN_STD_RAD = 0.35  # spread of two hands' finger directions about the common one
JOINT_STD_RAD = 0.08  # spread of the joints about the open hand or the reference
_PARTNERS = 256  # hull points among which the opposite of each is looked for
_PARTNER_NOISE = 0.1
_STEEP = 0.7  # sine of the slope beyond which a face is no side of the object for two hands that face each other


class TablePlane(NamedTuple):
    """The table in the object frame: height of a point p is up . p + offset [m]."""

    up: np.ndarray  # (3,)
    offset: float

    @classmethod
    def from_pose(cls, T_table_object: np.ndarray, table_height: float = 0.0) -> TablePlane:
        """The plane z = `table_height` of the frame that the object is placed in."""
        return cls(np.asarray(T_table_object)[2, :3].copy(), float(T_table_object[2, 3]) - table_height)


class HandPose(NamedTuple):
    """A batch of configurations of H hands in the object frame."""

    center: Tensor  # (B, H, 3) [m] positions of the grasp centres
    R: Tensor  # (B, H, 3, 3) hand to object
    q: Tensor  # (B, H, n) [rad]

    def origin(self, hands: Sequence[HandModel]) -> Tensor:
        """Origins (B, H, 3) [m] of the hand frames, in the object frame."""
        offset = torch.stack([hand.grasp_center for hand in hands])
        return self.center - (self.R @ offset[..., None])[..., 0]

    def forward(self, hands: Sequence[HandModel]) -> list[HandState]:
        """Link poses of each of the H hands, in the object frame."""
        origin = self.origin(hands)
        return [hand.forward(origin[:, h], self.R[:, h], self.q[:, h]) for h, hand in enumerate(hands)]

    def take(self, index: Tensor) -> HandPose:
        """The candidates at `index` (K,)."""
        return HandPose(self.center[index], self.R[index], self.q[index])


def sample_starts(
    obj: GraspObject,
    hands: Sequence[HandModel],
    active: Sequence[tuple[int, ...]],
    table: TablePlane,
    config: SynthesisConfig,
    count: int,
    rng: np.random.Generator,
) -> HandPose:
    """`count` starts, no palm facing up; of `start_oversampling` times as many draws those least in the table.

    Points are drawn all over the hull; where hardly any of them serves (both hands on a pan or a plate, whose hull is
    mostly top and bottom), from its sides alone.

    Args:
        active: for each hand the positions of the contacts that carry the object: for the turn of a single hand.
        rng: the same state gives the same starts.

    Raises:
        NoApproachError: no approach direction is free of the table.
    """
    wanted = count * config.start_oversampling
    found = _drawn(obj, len(hands), table, config, wanted, rng, None)
    if len(found[0]) < wanted:
        sides = _drawn(obj, len(hands), table, config, wanted, rng, _sides(obj, len(hands), table, config))
        found = sides if len(sides[0]) else found
    if len(found[0]) == 0:
        raise NoApproachError(f"object '{obj.name}': no approach direction is free of the table")
    point, approach, reach = (np.resize(values, (wanted, *values.shape[1:])) for values in found)
    depth_range = config.centre_depth if len(hands) == 1 else config.centre_depth_bimanual
    center, outside = _centres(obj, point, approach, depth_range, config.centre_tries, rng)
    if len(hands) == 1 and config.straddle > 0.0:
        turned = rng.random(wanted) < config.straddle
        reach[turned] = _straddling(obj, hands[0], active[0], center[turned, 0], approach[turned, 0], rng)[:, None]
    R = np.stack([_frames(approach[:, h], reach[:, h], hand) for h, hand in enumerate(hands)], axis=1)
    spread = JOINT_STD_RAD if len(hands) == 1 else config.joint_spread_bimanual
    q = np.stack(
        [
            np.clip(
                np.asarray(hand.spec.preshape) + spread * rng.standard_normal((wanted, hand.n_joints)),
                hand.spec.lower,
                hand.spec.upper,
            )
            for hand in hands
        ],
        axis=1,
    )
    device = hands[0].device
    pose = HandPose(*(torch.as_tensor(x, dtype=torch.float32, device=device) for x in (center, R, q)))
    up = torch.as_tensor(table.up, dtype=torch.float32, device=device)
    sunk = torch.as_tensor(config.weight_outside * outside.sum(axis=1), dtype=torch.float32, device=device)
    for hand, state in zip(hands, pose.forward(hands), strict=True):
        height = up @ (state.X @ hand.W_spheres) + table.offset - hand.sphere_radius
        sunk = sunk + (-height).clamp(min=0.0).sum(-1)
    best = torch.argsort(sunk, stable=True)[:count].sort()[0]
    return pose.take(best)


def _drawn(
    obj: GraspObject,
    n_hands: int,
    table: TablePlane,
    config: SynthesisConfig,
    wanted: int,
    rng: np.random.Generator,
    allowed: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Up to `wanted` points, approach and finger directions (n, H, 3) whose palms do not face up; maybe none."""
    draw = _one_hand if n_hands == 1 else _two_hands
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(_MAX_DRAWS):
        point, approach, reach = draw(obj, table, wanted, rng, allowed)
        keep = (approach @ table.up <= config.approach_max_up).all(axis=1)
        parts.append((point[keep], approach[keep], reach[keep]))
        if sum(len(part[0]) for part in parts) >= wanted:
            break
    point, approach, reach = (np.concatenate(arrays)[:wanted] for arrays in zip(*parts, strict=True))
    return point, approach, reach


def _sides(obj: GraspObject, n_hands: int, table: TablePlane, config: SynthesisConfig) -> np.ndarray:
    """Which faces (F,) of the hull hands can come to: for two hands its sides, for one all but those from below."""
    upward = obj.hull_normals @ table.up
    return np.abs(upward) < _STEEP if n_hands == 2 else upward > -config.approach_max_up


def _centres(
    obj: GraspObject,
    point: np.ndarray,
    approach: np.ndarray,
    depth_range: tuple[float, float],
    tries: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Grasp centres (n, H, 3) below hull points (n, H, 3), the deepest in the object of several depths each.

    Also how far outside the object they are (n, H) [m]: in the hollow of a bowl, say, where fingers meet nothing.
    """
    # No deeper than the object's middle: thin objects are met half-way.
    to_middle = np.clip(np.einsum("bhj,bhj->bh", obj.com - point, approach), max(depth_range[0], 0.0), None)
    depth = np.minimum(rng.uniform(*depth_range, (tries, *approach.shape[:2])), to_middle)
    centers = point + depth[..., None] * approach
    distance = obj.grid_distance(centers)
    # The first that is inside stays: the depths remain as they were drawn wherever the object is solid.
    best = np.where((distance < 0.0).any(axis=0), (distance < 0.0).argmax(axis=0), distance.argmin(axis=0))[None]
    chosen = np.take_along_axis(centers, best[..., None], axis=0)[0]
    return chosen, np.take_along_axis(distance, best, axis=0)[0].clip(min=0.0)


def _straddling(
    obj: GraspObject,
    hand: HandModel,
    active: tuple[int, ...],
    center: np.ndarray,
    approach: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Finger directions (n, 3) for which thumb and fingers oppose each other across the object's nearest surface."""
    opposition = hand.opposition(active)
    gradient = obj.grid_gradient(center) * rng.choice((-1.0, 1.0), (len(center), 1))
    across = gradient - np.einsum("ij,ij->i", gradient, approach)[:, None] * approach
    across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    across = across + _TURN_STD_RAD * rng.standard_normal(across.shape)
    world = _axes(approach, across)  # second column: where the opposition shall point
    local = _axes(hand.spec.palm_normal[None], opposition[None])[0]
    return world @ local.T @ hand.spec.finger_direction


def _one_hand(
    obj: GraspObject, table: TablePlane, count: int, rng: np.random.Generator, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, 1, 3) on the hull, approach directions there and finger directions, each (n, 1, 3)."""
    del table
    point, normal = obj.hull_samples(count, rng, allowed)
    approach = _tilted(-normal, rng)
    return point[:, None], approach[:, None], rng.standard_normal((count, 1, 3))


def _two_hands(
    obj: GraspObject, table: TablePlane, count: int, rng: np.random.Generator, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_one_hand` for left and right hand (n, 2, 3), at points of the hull that oppose each other."""
    point, normal = obj.hull_samples(count, rng, allowed)
    others, other_normal = obj.hull_samples(_PARTNERS, rng, allowed)
    line = point[:, None] - others
    line /= np.maximum(np.linalg.norm(line, axis=-1, keepdims=True), 1e-9)
    # Normals along the line between the points, and the centre of mass near it.
    score = np.einsum("ij,ikj->ik", normal, line) - np.einsum("kj,ikj->ik", other_normal, line)
    arm = obj.com - others
    off = np.linalg.norm(arm - np.einsum("kj,ikj->ik", arm, line)[..., None] * line, axis=-1)
    score -= 2.0 * off / obj.diagonal + _PARTNER_NOISE * rng.standard_normal(score.shape)
    partner = score.argmax(axis=1)
    rows = np.arange(count)
    left = line[rows, partner]  # from the right hand to the left one
    forward = np.cross(left, table.up)
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-6)
    angle = rng.uniform(0.0, 0.5 * np.pi, (count, 1))
    common = np.cos(angle) * forward - np.sin(angle) * table.up
    points = np.stack([point, others[partner]], axis=1)
    approach = np.stack([_tilted(-normal, rng), _tilted(-other_normal[partner], rng)], axis=1)
    return points, approach, common[:, None] + _TURN_STD_RAD * rng.standard_normal((count, 2, 3))


def _tilted(direction: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tilted = direction + _TILT_STD_RAD * rng.standard_normal(direction.shape)
    return tilted / np.linalg.norm(tilted, axis=1, keepdims=True)


def _frames(approach: np.ndarray, reach: np.ndarray, hand: HandModel) -> np.ndarray:
    """Rotations (n, 3, 3): palm normal to `approach`, the fingers as near to `reach` as that allows."""
    return _axes(approach, reach) @ _axes(hand.spec.palm_normal[None], hand.spec.finger_direction[None])[0].T


def _axes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Right-handed axes (n, 3, 3) as columns: `first`, the part of `second` across it, and their product."""
    across = second - np.einsum("ij,ij->i", first, second)[:, None] * first
    norm = np.linalg.norm(across, axis=1, keepdims=True)
    fallback = np.cross(first, np.eye(3)[np.abs(first).argmin(axis=1)])
    across = np.where(norm > 1e-6, across, fallback)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.stack([first, across, np.cross(first, across)], axis=-1)
