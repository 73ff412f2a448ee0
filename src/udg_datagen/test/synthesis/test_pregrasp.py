"""The compiled opening of a hand is that of the batched one."""

from __future__ import annotations

import numpy as np
import torch
import trimesh

from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.synthesis import SynthesisConfig, pregrasp

CONFIG = SynthesisConfig(strategy="whole_hand")
COUNT = 10


def test_both_ways_open_the_hand_alike() -> None:
    hand, ball = robot_hand("right"), GraspObject(trimesh.creation.icosphere(radius=0.04), name="ball")
    rng = np.random.default_rng(0)
    q = torch.as_tensor(hand.spec.preshape + 0.1 * rng.standard_normal((COUNT, 12)), dtype=torch.float32)
    q = torch.minimum(torch.maximum(q, hand.lower), hand.upper)
    R = torch.eye(3).expand(COUNT, 3, 3).contiguous()
    shift = torch.as_tensor(0.01 * rng.standard_normal((COUNT, 3)), dtype=torch.float32)
    origin = shift + 0.02 * hand.palm_normal - hand.grasp_center  # the ball lies in the hand, some of it in the links
    up, active = torch.tensor([0.0, 0.0, 1.0]), tuple(range(5))
    wanted = (hand.sphere_radius + CONFIG.pregrasp_clearance).expand(len(pregrasp._RETREATS), -1).clone()
    tips = torch.isin(hand.sphere_link, hand.contact_link[torch.tensor(active)])
    wanted[0, tips] += CONFIG.pregrasp_tip_clearance - CONFIG.pregrasp_clearance
    one = pregrasp.open_hand(ball.sdf, hand, origin, R, q, active, up, 0.04, CONFIG)
    batch = pregrasp._opened_batch(ball.sdf, hand, origin, R, q, up, 0.04, CONFIG, wanted)
    assert float((batch.q - q).abs().amax()) > 0.1  # it does open
    alike = (one.q - batch.q).abs().amax(-1) < 0.02
    assert alike.sum() >= COUNT - 2  # rounding decides at kinks, and between two shares
    torch.testing.assert_close(one.clearance[alike], batch.clearance[alike], atol=5e-4, rtol=0.0)
