"""Causes from the states of a trial: each by hand."""

from __future__ import annotations

import numpy as np
import pytest

from udg_datagen.evaluation.trial_cause import cause_of_states
from udg_description.transforms import make_transform, rotvec_to_matrix

STEPS = 60  # of 0.1 s


def moves(
    x: float = 0.0, rise: float = 0.0, fall: float = 0.0, turn: tuple[float, float, float] = (0, 0, 0)
) -> np.ndarray:
    """Poses (T, 4, 4): a shift along x, a rise by the middle, a fall after it, a turn at the end."""
    poses = np.tile(make_transform(np.eye(3), np.array([0.6, 0.0, 0.05])), (STEPS, 1, 1))
    poses[:, 0, 3] += np.linspace(0.0, x, STEPS)
    poses[STEPS // 2 :, 2, 3] += rise
    poses[-5:, 2, 3] -= fall
    poses[-5:, :3, :3] = rotvec_to_matrix(np.array(turn))
    return poses


@pytest.mark.parametrize(
    ("poses", "raised_m", "still", "cause"),
    [
        (moves(rise=0.2, fall=0.2), 0.2, False, "dropped"),
        (moves(rise=0.1), 0.1, False, "lifted_too_little"),
        (moves(x=0.15), 0.0, False, "knocked_away"),
        (moves(turn=(1.2, 0, 0)), 0.0, False, "knocked_away"),
        (moves(fall=0.1), 0.0, False, "knocked_away"),
        (moves(x=0.01), 0.0, True, "stalled"),
        (moves(x=0.01), 0.0, False, "touched_not_lifted"),
        (moves(turn=(0, 0, 0.1)), 0.0, False, "touched_not_lifted"),
        (moves(x=0.0005), 0.0, False, "never_touched"),
    ],
)
def test_the_cause_follows_from_the_states(poses: np.ndarray, raised_m: float, still: bool, cause: str) -> None:
    q = np.zeros((STEPS, 36))
    if not still:
        q[:, 3] = np.linspace(0.0, 1.0, STEPS)
    assert cause_of_states(poses, q, raised_m, 0.1) == cause


def test_a_short_trial_has_not_stalled() -> None:
    assert cause_of_states(moves()[:8], np.zeros((8, 36)), 0.0, 0.1) == "never_touched"
