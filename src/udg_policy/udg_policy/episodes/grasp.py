"""The grasp of an episode: where the hands close, which of them act, by which strategy. As a label and as predicted.

An episode does not store its planned grasp. Its targets do: in the last frame of stage GRASP the label is the pose of
the arms at the grasp with the fingers closed, before they squeeze. Until then the grasp stands still in the world; from
then on it moves with the hands that have made it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udg_description.frames import HAND_LINK
from udg_description.layout import SIDES, mirror_q
from udg_description.robot import current_robot
from udg_description.transforms import inverse, transform_points
from udg_policy.episodes.episode import Episode, Stage
from udg_policy.hands.poses import grasp_frames_np, robot_model

FINGERS = current_robot().fingers
KEY_POINTS = ("wrist", "palm", *FINGERS)
"""Of a hand: origin of hand_link, centre of the palm's surface, fingertips."""
N_KEY_POINTS = len(KEY_POINTS)
STRATEGIES = ("pinch", "tripod", "whole_hand", "bimanual")
UNKNOWN = -1


def key_points(q: np.ndarray) -> np.ndarray:
    """Positions (..., 2, 7, 3) [m, world] of the KEY_POINTS of both hands, left then right, for q (..., 36) [rad]."""
    model = robot_model()
    q = np.asarray(q, dtype=np.float64)
    poses = model.link_pose_array(q.reshape(-1, q.shape[-1]))
    sides = []
    for side in SIDES:
        hand = current_robot().hands[side]
        places = [(HAND_LINK[side], np.zeros(3)), (HAND_LINK[side], hand.palm_points[0])]
        places += [(pad.link, hand.tip(finger)) for finger, pad in hand.contacts.items()]
        links = [model.link_names.index(link) for link, _ in places]
        T = poses[:, links]
        local = np.stack([point for _, point in places])
        sides.append(np.einsum("nkij,kj->nki", T[..., :3, :3], local) + T[..., :3, 3])
    return np.stack(sides, axis=1).reshape(*q.shape[:-1], len(SIDES), N_KEY_POINTS, 3)


class GraspLabel(NamedTuple):
    """The grasp of an episode and of its mirror image (first axis: as recorded, mirrored; then left, right)."""

    closed: int  # step whose target is the closed grasp; UNKNOWN where the episode has none
    T_grasp: np.ndarray  # (2, 2, 4, 4) float32, grasp frames in the world at the grasp
    points: np.ndarray  # (2, 2, 7, 3) float32 [m], key points in those frames
    acting: np.ndarray  # (2, 2) int8: 1 acts, 0 does not, UNKNOWN
    strategy: int  # index into STRATEGIES, or UNKNOWN


def grasp_label(episode: Episode) -> GraspLabel:
    """The grasp of an episode; what it does not tell is UNKNOWN."""
    grasping = np.flatnonzero(episode.stage == Stage.GRASP)
    closed = int(grasping[-1]) if len(grasping) else UNKNOWN
    q = episode.target[max(closed, 0)].astype(np.float64)
    both = np.stack([q, mirror_q(q)])
    T_grasp = np.stack([grasp_frames_np(one) for one in both])
    points = transform_points(inverse(T_grasp), key_points(both))
    sides = episode.meta.get("sides")
    acts = np.array([UNKNOWN if sides is None else int(side in sides) for side in SIDES], dtype=np.int8)
    strategy = episode.meta.get("strategy")
    return GraspLabel(
        closed,
        T_grasp.astype(np.float32),
        points.astype(np.float32),
        np.stack([acts, acts[::-1]]),
        STRATEGIES.index(strategy) if strategy in STRATEGIES else UNKNOWN,
    )


class PredictedGrasp(NamedTuple):
    """The grasp that a policy is going for."""

    points_world: np.ndarray  # (2, 7, 3) [m], KEY_POINTS of the left and of the right hand
    acting: np.ndarray  # (2,) probability that each hand acts
    strategies: np.ndarray  # (4,) probability of each of STRATEGIES

    @property
    def strategy(self) -> str:
        """The likeliest strategy."""
        return STRATEGIES[int(self.strategies.argmax())]

    @property
    def acts(self) -> np.ndarray:
        """(2,) bool: the hands that are likelier to act than not; the likeliest one if there is none."""
        return (self.acting > 0.5) | (self.acting == self.acting.max())


def grasp_lines() -> tuple[tuple[int, int], ...]:
    """Pairs of KEY_POINTS that a picture of a grasp joins: wrist to palm, palm to each fingertip."""
    palm = KEY_POINTS.index("palm")
    return (KEY_POINTS.index("wrist"), palm), *((palm, KEY_POINTS.index(finger)) for finger in FINGERS)
