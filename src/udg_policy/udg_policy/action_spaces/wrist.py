"""Action spaces of hand targets: pose of the grasp frame and joints of each hand.

A pose is a position [m] and a rotation vector [rad], relative to another pose of the same hand's grasp frame and
expressed in it: the measured one, or that of the home pose, which does not move.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from udg_description.layout import HOME_Q, N_JOINTS, SIDES, other_side, part_indices
from udg_description.limits import joint_limits
from udg_description.transforms import make_transform, rotvec_to_matrix
from udg_policy.action_spaces.follow_pose import follow_pose
from udg_policy.action_spaces.space import ActionSpace, Kind, joint_slot, lay_out, pose_slots
from udg_policy.hands import rotations
from udg_policy.hands.poses import T_grasp_hand, grasp_frames_np

_MIRROR_SIGNS = {Kind.POSITION: (1.0, -1.0, 1.0), Kind.ROTATION: (-1.0, 1.0, -1.0)}  # of x, y, z


@lru_cache(maxsize=1)
def home_grasp_frames() -> np.ndarray:
    """T_world_grasp (2, 4, 4) of both hands in the home pose."""
    return grasp_frames_np(HOME_Q)


class WristSpace(ActionSpace):
    """An action is the pose of each hand and its joints."""

    def __init__(self, *, relative_to_home: bool) -> None:
        self._to_home = relative_to_home
        self.moves_with_scene = not relative_to_home
        self.slots = lay_out(slot for side in SIDES for slot in (*pose_slots(side), joint_slot(side, Kind.HAND_JOINTS)))

    def encode(self, T_now: Tensor, T_targets: Tensor, q_targets: Tensor) -> Tensor:
        """Poses of T_targets relative to T_now or to home, and the joints of the hands."""
        if self._to_home:
            T_now = torch.from_numpy(home_grasp_frames()).to(T_now).expand(len(T_targets), -1, -1, -1)
        relative = rotations.inverse(T_now)[:, None] @ T_targets
        actions = q_targets.new_empty(*q_targets.shape[:-1], self.size)
        for index, side in enumerate(SIDES):
            actions[..., self.slot(f"{side}_hand_position").columns] = relative[:, :, index, :3, 3]
            actions[..., self.slot(f"{side}_hand_rotation").columns] = rotations.matrix_to_rotvec(
                relative[:, :, index, :3, :3]
            )
            joints = self.slot(f"{side}_hand_joints")
            actions[..., joints.columns] = q_targets[..., joints.joints]
        return actions

    def decode(self, actions: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Joint targets whose hands are at the poses, or as near to them as the arms can be."""
        limits = joint_limits()
        actions = np.asarray(actions, dtype=np.float64)
        targets = np.empty((len(actions), N_JOINTS))
        T_reference = home_grasp_frames() if self._to_home else grasp_frames_np(q)
        for index, side in enumerate(SIDES):
            position = actions[:, self.slot(f"{side}_hand_position").columns]
            rotvec = actions[:, self.slot(f"{side}_hand_rotation").columns]
            T_grasp_target = make_transform(rotvec_to_matrix(rotvec), position)
            T_world_hand = T_reference[index] @ T_grasp_target @ T_grasp_hand()[index]
            arm = part_indices(f"{side}_arm")
            seed = limits.clip(q)[arm]
            for step in range(len(targets)):
                seed = follow_pose(side, T_world_hand[step], seed)
                targets[step, arm] = seed
            joints = self.slot(f"{side}_hand_joints")
            targets[:, joints.joints] = actions[:, joints.columns]
        return limits.clip(targets)

    def mirror(self, actions: Tensor) -> Tensor:
        """What each hand does, the other one does in the mirror."""
        out = torch.empty_like(actions)
        for slot in self.slots:
            other = self.slot(slot.name.replace(slot.side, other_side(slot.side), 1))
            out[..., slot.columns] = actions[..., other.columns]
            if slot.kind in _MIRROR_SIGNS:
                out[..., slot.columns] *= torch.tensor(_MIRROR_SIGNS[slot.kind], dtype=actions.dtype)
        return out
