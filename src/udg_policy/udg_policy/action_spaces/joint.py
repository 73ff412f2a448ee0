"""The action space of the paper: an action is the joint targets [rad] of both arms and hands."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from udg_description.layout import SIDES, mirror_q
from udg_description.limits import joint_limits
from udg_policy.action_spaces.space import ActionSpace, Kind, joint_slot, lay_out


class JointSpace(ActionSpace):
    """An action is the joint targets, in the layout of the joints."""

    def __init__(self) -> None:
        self.slots = lay_out(joint_slot(side, kind) for side in SIDES for kind in (Kind.ARM_JOINTS, Kind.HAND_JOINTS))

    def encode(self, T_now: Tensor, T_targets: Tensor, q_targets: Tensor) -> Tensor:
        """The joint targets."""
        return q_targets

    def decode(self, actions: np.ndarray, q: np.ndarray) -> np.ndarray:
        """The joint targets, within the limits."""
        return joint_limits().clip(np.asarray(actions, dtype=np.float64))

    def mirror(self, actions: Tensor) -> Tensor:
        """The mirrored joint targets."""
        return torch.from_numpy(mirror_q(actions.numpy())).to(actions.dtype)
