"""Noise on executed commands as large as a policy's own errors (DART, Laskey et al. 2017): `udg demos --noise-of`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from udg_datagen.demonstrations.attempt import AttemptConfig
from udg_description.arm_kinematics import arm_jacobian
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q, SIDES, Side, part_indices

_SD_PER_MEAN_ERROR = float(np.sqrt(np.pi / 2.0))  # of a normal distribution


def noise_of(config: AttemptConfig, validation: Mapping[str, float]) -> AttemptConfig:
    """The attempts, with noise as large as the errors of a policy that moves the hands.

    `validation`: mean absolute errors of a hand's coordinates [m] and of the joints [rad] at the first and the last
    step of a chunk, as a checkpoint's figures have them. Far from the grasp the robot deviates as the policy does by
    the end of a chunk; near it, where every step sees the object afresh, as the policy does in its first step. The
    arms' noise is that which moves a hand at home as far. Raises UdgError if a figure is missing or not positive.
    """
    names = ("position_first", "position_last", "joints_last")
    for name in names:
        if not validation.get(name, 0.0) > 0.0:
            raise UdgError(
                f"--noise-of: the checkpoint's figures have no {name} above 0; valid: a checkpoint that was validated, "
                "of an action space that moves the hands"
            )
    first_m, last_m, joints_rad = (float(validation[name]) for name in names)
    per_rad_m = np.mean([_hand_motion_m(side) for side in SIDES])
    demo = replace(config.demo, noise_near=min(1.0, first_m / last_m))
    return replace(
        config,
        demo=demo,
        noise_arm_rad=float(_SD_PER_MEAN_ERROR * last_m / per_rad_m),
        noise_hand_rad=_SD_PER_MEAN_ERROR * joints_rad,
    )


def _hand_motion_m(side: Side) -> float:
    """How far a coordinate of the hand moves (root mean square) where each arm joint deviates by 1 rad, at home."""
    J = arm_jacobian(side, HOME_Q[part_indices(f"{side}_arm")])[:3]
    return float(np.linalg.norm(J) / np.sqrt(3.0))
