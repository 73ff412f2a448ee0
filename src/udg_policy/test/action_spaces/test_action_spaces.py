"""Laws of the action spaces: decoding undoes encoding, mirroring commutes with encoding, nothing leaves the limits."""

import numpy as np
import pytest
import torch

from udg_description.layout import HOME_Q, JOINT_NAMES, N_JOINTS, SIDES, mirror_q, part_indices
from udg_description.limits import joint_limits
from udg_policy.action_spaces import ACTION_SPACES, ActionBounds, Kind
from udg_policy.action_spaces.follow_pose import MAX_JOINT_STEP_RAD, follow_pose
from udg_policy.config import preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.hands.poses import grasp_frames, grasp_frames_np

SPACES = tuple(ACTION_SPACES)
CHUNK = 4


def one_chunk(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    episode = make_episode(seed)
    return torch.from_numpy(episode.q[3].astype(np.float64)), torch.from_numpy(episode.target[3 : 3 + CHUNK]).double()


def encoded(space: str, q: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return ACTION_SPACES[space].encode(grasp_frames(q)[None], grasp_frames(targets)[None], targets[None])[0]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("seed", range(4))
def test_decoding_undoes_encoding(space: str, seed: int) -> None:
    q, targets = one_chunk(seed)
    got = ACTION_SPACES[space].decode(encoded(space, q, targets).numpy(), q.numpy())
    np.testing.assert_allclose(got, targets.numpy(), atol=1e-3)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("seed", range(4))
def test_mirroring_commutes_with_encoding(space: str, seed: int) -> None:
    q, targets = one_chunk(seed)
    mirrored = encoded(space, torch.from_numpy(mirror_q(q.numpy())), torch.from_numpy(mirror_q(targets.numpy())))
    torch.testing.assert_close(mirrored, ACTION_SPACES[space].mirror(encoded(space, q, targets)), atol=1e-6, rtol=0)


def test_moving_by_one_centimetre_along_the_hands_own_x() -> None:
    q = torch.from_numpy(HOME_Q.copy())
    space = ACTION_SPACES["wrist_relative"]
    actions = np.zeros((1, space.size))
    for side in SIDES:
        actions[0, space.slot(f"{side}_hand_position").columns] = [0.01, 0, 0]
        actions[0, space.slot(f"{side}_hand_joints").columns] = HOME_Q[part_indices(f"{side}_hand")]
    moved = grasp_frames_np(space.decode(actions, q.numpy())[0])
    now = grasp_frames_np(q.numpy())
    for side in range(2):
        np.testing.assert_allclose(moved[side, :3, 3] - now[side, :3, 3], 0.01 * now[side, :3, 0], atol=1e-6)


def test_an_absolute_target_does_not_depend_on_where_the_hand_is() -> None:
    q, targets = one_chunk(0)
    space = ACTION_SPACES["wrist_absolute"]
    elsewhere = space.encode(grasp_frames(targets)[-1][None], grasp_frames(targets)[None], targets[None])[0]
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
        assert joint_limits().contains(ACTION_SPACES[space].decode(actions, HOME_Q))


def test_bounds_hold_the_data_and_its_mirror_image() -> None:
    actions = torch.stack([encoded("wrist_relative", *one_chunk(seed)) for seed in range(4)]).float()
    space = ACTION_SPACES["wrist_relative"]
    bounds = space.bounds(actions, 0.1, True)
    for values in (actions, space.mirror(actions)):
        assert bounds.normalise(values).abs().max() <= 1.0
    back = bounds.denormalise(bounds.normalise(actions).numpy())
    np.testing.assert_allclose(back, actions.numpy(), atol=1e-5)
    assert isinstance(bounds, ActionBounds)


@pytest.mark.parametrize("space", SPACES)
def test_each_number_stands_in_one_slot(space: str) -> None:
    slots = ACTION_SPACES[space].slots
    columns = [column for slot in slots for column in range(slot.columns.start, slot.columns.stop)]
    assert columns == list(range(ACTION_SPACES[space].size))
    assert len({slot.name for slot in slots}) == len(slots)
    assert all(len(slot.numbers) == slot.columns.stop - slot.columns.start for slot in slots)
    assert all((slot.joints is not None) == (slot.kind in (Kind.ARM_JOINTS, Kind.HAND_JOINTS)) for slot in slots)


@pytest.mark.parametrize("space", SPACES)
def test_slots_of_joints_hold_the_joints_of_their_names(space: str) -> None:
    q, targets = one_chunk(0)
    actions = encoded(space, q, targets)
    for slot in ACTION_SPACES[space].slots:
        if slot.joints is not None:
            assert slot.numbers == JOINT_NAMES[slot.joints]
            torch.testing.assert_close(actions[:, slot.columns], targets[:, slot.joints])


def test_numbers_are_named_by_what_they_are() -> None:
    for space, first, last in (
        ("wrist_relative", "left_hand x [m]", "left_hand turn about z [rad]"),
        ("wrist_absolute", "left_hand x [m]", "left_hand turn about z [rad]"),
        ("joint_absolute", "left_shoulder_pan_joint [rad]", "left_wrist_3_joint [rad]"),
    ):
        names = ACTION_SPACES[space].names
        assert (names[0], names[5], names[-1]) == (first, last, "right_hand_pinky_joint2 [rad]")


def test_units_by_hand() -> None:
    train = preset("edge").train
    assert (train.unit_position_m, train.unit_rotation_rad, train.unit_joint_rad) == (0.02, 0.15, 0.2)
    wrist, joints = (ACTION_SPACES[name].units(train) for name in ("wrist_relative", "joint_absolute"))
    one_side = [0.02] * 3 + [0.15] * 3 + [0.2] * 12
    np.testing.assert_allclose(wrist, one_side * 2, rtol=1e-6)
    np.testing.assert_allclose(joints, ([0.15] * 6 + [0.2] * 12) * 2, rtol=1e-6)
    assert len(joints) == N_JOINTS
    assert len(ACTION_SPACES["joint_absolute"].columns(Kind.POSITION)) == 0
