"""Laws of the action spaces: decoding undoes encoding, mirroring commutes with encoding, nothing leaves the limits."""

import numpy as np
import pytest
import torch

from udg_description.layout import HOME_Q, mirror_q, part_indices
from udg_description.limits import joint_limits
from udg_policy.config import ACTION_SPACES
from udg_policy.hands import grasp_frames, grasp_frames_np
from udg_policy.representation import (
    MAX_JOINT_STEP_RAD,
    ActionBounds,
    bounds_of,
    decode,
    encode,
    follow_pose,
    mirror_actions,
)
from udg_policy.synthetic import make_episode

SPACES = ACTION_SPACES
CHUNK = 4


def one_chunk(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    episode = make_episode(seed)
    return torch.from_numpy(episode.q[3].astype(np.float64)), torch.from_numpy(episode.target[3:3 + CHUNK]).double()


def encoded(space: str, q: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return encode(space, grasp_frames(q)[None], grasp_frames(targets)[None], targets[None])[0]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("seed", range(4))
def test_decoding_undoes_encoding(space: str, seed: int) -> None:
    q, targets = one_chunk(seed)
    got = decode(space, encoded(space, q, targets).numpy(), q.numpy())
    np.testing.assert_allclose(got, targets.numpy(), atol=1e-3)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("seed", range(4))
def test_mirroring_commutes_with_encoding(space: str, seed: int) -> None:
    q, targets = one_chunk(seed)
    mirrored = encoded(space, torch.from_numpy(mirror_q(q.numpy())), torch.from_numpy(mirror_q(targets.numpy())))
    torch.testing.assert_close(mirrored, mirror_actions(space, encoded(space, q, targets)), atol=1e-6, rtol=0)


def test_moving_by_one_centimetre_along_the_hands_own_x() -> None:
    q = torch.from_numpy(HOME_Q.copy())
    actions = np.tile(HOME_Q, (1, 1))
    for part in ("left_arm", "right_arm"):
        actions[0, part_indices(part)] = [0.01, 0, 0, 0, 0, 0]
    moved = grasp_frames_np(decode("wrist_relative", actions, q.numpy())[0])
    now = grasp_frames_np(q.numpy())
    for side in range(2):
        np.testing.assert_allclose(moved[side, :3, 3] - now[side, :3, 3], 0.01 * now[side, :3, 0], atol=1e-6)


def test_an_absolute_target_does_not_depend_on_where_the_hand_is() -> None:
    q, targets = one_chunk(0)
    elsewhere = encode("wrist_absolute", grasp_frames(targets)[-1][None], grasp_frames(targets)[None], targets[None])[0]
    torch.testing.assert_close(elsewhere, encoded("wrist_absolute", q, targets))


def test_a_pose_out_of_reach_is_approached_within_the_limits() -> None:
    T = grasp_frames_np(HOME_Q)[0].copy()
    T[0, 3] += 3.0
    seed = HOME_Q[part_indices("left_arm")]
    q = follow_pose("left", T, seed)
    limits = joint_limits()
    arm = part_indices("left_arm")
    assert np.isfinite(q).all()
    assert np.abs(q - seed).max() <= MAX_JOINT_STEP_RAD + 1e-9
    assert (q >= limits.lower[arm]).all() and (q <= limits.upper[arm]).all()
    reached = grasp_frames_np(np.concatenate([q, HOME_Q[6:]]))[0]
    assert reached[0, 3] > grasp_frames_np(HOME_Q)[0][0, 3] + 0.05


def test_decoded_targets_stay_within_the_limits() -> None:
    rng = np.random.default_rng(0)
    actions = rng.normal(scale=3.0, size=(CHUNK, 36))
    for space in SPACES:
        assert joint_limits().contains(decode(space, actions, HOME_Q))


def test_bounds_hold_the_data_and_its_mirror_image() -> None:
    actions = torch.stack([encoded("wrist_relative", *one_chunk(seed)) for seed in range(4)]).float()
    bounds = bounds_of("wrist_relative", actions, 0.1, True)
    for values in (actions, mirror_actions("wrist_relative", actions)):
        assert bounds.normalise(values).abs().max() <= 1.0
    back = bounds.denormalise(bounds.normalise(actions).numpy())
    np.testing.assert_allclose(back, actions.numpy(), atol=1e-5)
    assert isinstance(bounds, ActionBounds)
