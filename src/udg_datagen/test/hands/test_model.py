import numpy as np
import pytest
import torch

from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import HandModel, StrategyError
from udg_datagen.synthesis.strategies import STRATEGIES, active_contacts
from udg_description.layout import SIDES
from udg_description.model import RobotModel
from udg_description.robot import current_robot
from udg_description.shapes import merge_capsules, union_distance
from udg_description.urdf import load_urdf

MIRROR = np.array([1.0, -1.0, 1.0])


def _random_pose(hand: HandModel, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    R = torch.linalg.qr(torch.randn(n, 3, 3, generator=generator))[0]
    R = R * torch.det(R)[:, None, None]
    q = hand.lower + torch.rand(n, hand.n_joints, generator=generator) * (hand.upper - hand.lower)
    return 0.1 * torch.randn(n, 3, generator=generator), R, q


@pytest.mark.parametrize("side", SIDES)
def test_forward_kinematics_equal_those_of_the_robot_model(side: str) -> None:
    hand, model = robot_hand(side), RobotModel().hand(side)
    _, _, q = _random_pose(hand, 5)
    state = hand.forward(torch.zeros(5, 3), torch.eye(3).expand(5, 3, 3), q)
    links = [f"{side}_hand_link"] + [
        load_urdf(current_robot().urdf).joints[name].child for name in hand.spec.joint_names
    ]
    T = model.link_poses(q, links)
    torch.testing.assert_close(state.R, T[..., :3, :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(state.o, T[..., :3, 3], atol=1e-6, rtol=0)


def test_force_balance_gives_the_gradient_of_automatic_differentiation() -> None:
    hand = robot_hand("right")
    origin, R, q = _random_pose(hand, 3)
    origin.requires_grad_()
    q.requires_grad_()
    weights = torch.linspace(-1.0, 1.0, hand.W_spheres.shape[1])

    def value(o: torch.Tensor, R: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        return ((hand.forward(o, R, q).X @ hand.W_spheres).square() * weights).sum()

    value(origin, R, q).backward()
    with torch.no_grad():
        state = hand.forward(origin, R, q)
        points = state.X @ hand.W_spheres
        force, moment, joints = hand.pose_gradient(state, (2.0 * points * weights) @ hand.W_spheres.T)
    torch.testing.assert_close(force, origin.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(joints, q.grad, atol=1e-4, rtol=1e-3)
    # Moment about the frame's origin: turn the whole hand by a small angle about z.
    angle = 1e-3
    turn = torch.tensor([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]).float()
    with torch.no_grad():
        plus, minus = (value(origin @ t.T, t @ R, q).item() for t in (turn, turn.T))
    # |p|^2 does not change with rotation about the origin: neither does the value.
    assert plus == pytest.approx(minus, abs=1e-4)
    assert moment.sum(0)[2].item() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("side", SIDES)
def test_spheres_reach_the_front_of_every_link(side: str) -> None:
    spec = robot_hand(side).spec
    for link in range(len(spec.joint_names) + 1):
        points = spec.surface_point[spec.surface_link == link]
        mine = spec.sphere_link == link
        gaps = np.linalg.norm(points[:, None] - spec.sphere_center[mine], axis=-1) - spec.sphere_radius[mine]
        assert np.median(gaps.min(axis=1)) < 0.002, spec.joint_names[link - 1]


def test_spheres_hardly_stand_out_of_the_primitives() -> None:
    spec, urdf = robot_hand("right").spec, load_urdf(current_robot().urdf)
    links = ["right_hand_link"] + [urdf.joints[name].child for name in spec.joint_names]
    for link, center, radius in zip(spec.sphere_link, spec.sphere_center, spec.sphere_radius, strict=True):
        inside = -union_distance(merge_capsules(urdf.links[links[link]].primitives), center[None])[0]
        assert radius <= inside + 0.002


def test_left_contacts_mirror_the_right_ones() -> None:
    left, right = robot_hand("left").spec, robot_hand("right").spec
    np.testing.assert_allclose(left.contact_center, MIRROR * right.contact_center)
    np.testing.assert_allclose(left.contact_axis, MIRROR * right.contact_axis)
    np.testing.assert_allclose(left.palm_normal, MIRROR * right.palm_normal)


def test_each_strategy_finds_its_contacts_on_the_hand() -> None:
    names = robot_hand("right").spec.contact_names
    assert [len(active_contacts(s, names)) for s in STRATEGIES] == [2, 3, 5, 5]
    with pytest.raises(StrategyError, match="pinch, tripod, whole_hand"):
        active_contacts("scoop", names)
    with pytest.raises(StrategyError, match="needs 3 contacts, the hand has 2: thumb, index"):
        active_contacts("tripod", ("thumb", "index"))
