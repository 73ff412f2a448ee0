"""Noise of the size of a policy's errors."""

import numpy as np
import pytest

from udg_datagen.demonstrations.attempt import AttemptConfig
from udg_datagen.demonstrations.learner_noise import noise_of
from udg_description.arm_kinematics import hand_pose
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q, part_indices

FIGURES = {"position_first": 0.003, "position_last": 0.012, "joints_last": 0.04}


def test_the_hand_deviates_as_the_policy_does() -> None:
    config = noise_of(AttemptConfig(), FIGURES)
    assert config.demo.noise_near == pytest.approx(0.25)
    assert config.noise_hand_rad == pytest.approx(0.04 * np.sqrt(np.pi / 2))
    rng = np.random.default_rng(0)
    home = HOME_Q[part_indices("left_arm")]
    at_home = hand_pose("left", home)[:3, 3]
    moved = [hand_pose("left", home + config.noise_arm_rad * rng.normal(size=6))[:3, 3] for _ in range(2000)]
    assert np.sqrt(np.mean((np.array(moved) - at_home) ** 2)) == pytest.approx(0.012 * np.sqrt(np.pi / 2), rel=0.05)


@pytest.mark.parametrize("name", FIGURES)
def test_a_missing_figure_is_named(name: str) -> None:
    with pytest.raises(UdgError, match=name):
        noise_of(AttemptConfig(), {key: value for key, value in FIGURES.items() if key != name})


def test_noise_never_grows_towards_the_grasp() -> None:
    assert noise_of(AttemptConfig(), {**FIGURES, "position_first": 0.02}).demo.noise_near == 1.0
