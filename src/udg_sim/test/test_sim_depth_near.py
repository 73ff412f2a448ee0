import numpy as np
import pytest

from udg_description.camera import default_cameras
from udg_description.layout import HOME_Q
from udg_sim.depth import DepthRig
from udg_sim.objects import ObjectLibrary, ObjectModel

BOX = ((0.3, -0.65, 0.006), (0.95, 0.65, 0.6))


@pytest.fixture(scope="module")
def rig() -> DepthRig:
    return DepthRig(default_cameras())


@pytest.fixture(scope="module")
def cube() -> ObjectModel:
    return ObjectLibrary().get("cube_60")


def test_what_is_rendered_near_an_object_is_what_the_whole_image_has_there(rig: DepthRig, cube: ObjectModel) -> None:
    T_world_object = cube.stable_poses[0].copy()
    T_world_object[:2, 3] = 0.6, 0.1
    whole = rig.render(HOME_Q, [(cube, T_world_object)], box=BOX)
    near = rig.render(HOME_Q, [(cube, T_world_object)], box=BOX, near_objects=True)
    empty = rig.render(HOME_Q, [], box=BOX)
    for image, part, without in zip(whole, near, empty, strict=True):
        shown = part > 0
        assert 0 < shown.sum() < 0.1 * (image > 0).sum()
        np.testing.assert_array_equal(part[shown], image[shown])
        assert shown[image != without].all()  # every pixel that sees the object


def test_nothing_is_rendered_near_no_object(rig: DepthRig) -> None:
    assert not any(image.any() for image in rig.render(HOME_Q, [], box=BOX, near_objects=True))


def test_a_rig_with_other_cameras_sees_what_a_new_one_does(rig: DepthRig, cube: ObjectModel) -> None:
    higher = np.zeros((4, 4))
    higher[2, 3] = 0.02
    moved = [camera.with_pose(camera.T_world_camera + higher) for camera in default_cameras()]
    T_world_object = cube.stable_poses[0].copy()
    T_world_object[:2, 3] = 0.6, 0.1
    shared = rig.with_cameras(moved).render(HOME_Q, [(cube, T_world_object)], box=BOX)
    fresh = DepthRig(moved).render(HOME_Q, [(cube, T_world_object)], box=BOX)
    for a, b in zip(shared, fresh, strict=True):
        np.testing.assert_array_equal(a, b)
