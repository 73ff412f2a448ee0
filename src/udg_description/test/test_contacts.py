import numpy as np
import pytest

from udg_description.contacts import FINGERS, hand_contacts
from udg_description.errors import RobotModelError
from udg_description.frames import GRASP_CENTER_HAND, PALM_NORMAL_HAND
from udg_description.layout import SIDES, Side
from udg_description.model import RobotModel
from udg_description.shapes import merge_capsules, union_distance


def pad_directions(axis: np.ndarray, n: int = 3000) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions[directions @ axis > np.cos(np.deg2rad(35))]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("finger", FINGERS)
def test_pads_are_the_surface_of_the_primitives(side: Side, finger: str) -> None:
    """What the optimiser calls a contact is one in physics: the pad's sphere lies on the collision shapes."""
    pad = hand_contacts(side).pads[finger]
    points = pad.center + pad.radius * pad_directions(pad.axis)
    distance = union_distance(merge_capsules(RobotModel().geometry(pad.link)), points)
    assert np.percentile(np.abs(distance), 90) < 0.0006 and np.abs(distance).max() < 0.0012


@pytest.mark.parametrize("side", SIDES)
def test_palm_points_lie_on_the_palm_and_face_the_grasp_centre(side: Side) -> None:
    palm = hand_contacts(side).palm
    distance = union_distance(merge_capsules(RobotModel().geometry(palm.link)), palm.points)
    assert np.abs(distance).max() < 0.001
    np.testing.assert_array_equal(palm.normal, PALM_NORMAL_HAND[side])
    assert np.all((GRASP_CENTER_HAND[side] - palm.points) @ palm.normal > 0.05)


def test_strategies_name_pads_and_unknown_ones_are_errors() -> None:
    contacts = hand_contacts("left")
    assert contacts.strategy("pinch") == ("thumb", "index")
    assert contacts.strategy("tripod") == ("thumb", "index", "mid")
    assert contacts.strategy("whole_hand") == FINGERS
    with pytest.raises(RobotModelError, match="pinch, tripod, whole_hand"):
        contacts.strategy("chopsticks")


def test_left_contacts_are_the_right_ones_mirrored() -> None:
    left, right = hand_contacts("left"), hand_contacts("right")
    for finger in FINGERS:
        np.testing.assert_allclose(left.pads[finger].center, right.pads[finger].center * [1, -1, 1])
        np.testing.assert_allclose(left.pads[finger].axis, right.pads[finger].axis * [1, -1, 1])
        assert left.pads[finger].radius == right.pads[finger].radius
