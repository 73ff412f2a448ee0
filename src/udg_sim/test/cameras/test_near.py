from dataclasses import replace

import numpy as np
import pytest

from udg_description.camera import default_cameras
from udg_description.layout import HOME_Q
from udg_sim.cameras.depth import DepthRig
from udg_sim.cameras.link_scene import LinkScene
from udg_sim.cameras.view import View, cast
from udg_sim.geometry.ray_scene import ray_scene
from udg_sim.objects.library import ObjectLibrary, ObjectModel

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


def test_the_robot_before_an_object_is_where_the_whole_image_has_it(rig: DepthRig) -> None:
    rng = np.random.default_rng(3)
    beam = ObjectLibrary().get("beam")
    names, hidden = list(rig._robot.link_names), 0
    for _ in range(4):
        q = HOME_Q + 0.2 * rng.uniform(-1, 1, len(HOME_Q))
        T_world_object = np.eye(4)
        T_world_object[:3, 3] = rig._robot.pose(q)[names.index("right_hand_link"), :3, 3] - [0.0, 0.0, 0.08]
        objects = [(beam, T_world_object)]
        alone = rig.render(None, objects)
        whole = rig.render(q, objects)
        near = rig.render(q, objects, near_objects=True)
        for image, part, without in zip(whole, near, alone, strict=True):
            shown = part > 0
            np.testing.assert_allclose(part[shown].astype(int), image[shown].astype(int), atol=1)  # rounding
            assert (part[shown] == image[shown]).mean() > 0.999
            hidden += int((part < without)[shown].sum())
    assert hidden > 1000  # the hand hides a part of the object


def test_links_moved_one_by_one_stop_the_same_rays_as_all_in_their_posture(rig: DepthRig) -> None:
    rng = np.random.default_rng(1)
    view, mesh = View(rig.cameras[1]), rig._robot
    q = HOME_Q + 0.3 * rng.uniform(-1, 1, len(HOME_Q))
    T_world_link = mesh.pose(q)
    pixels = np.sort(rng.choice(len(view.ray_norm), 20_000, replace=False))
    nothing = np.full(len(pixels), np.inf, dtype=np.float32)
    expected = cast(view, ray_scene(mesh.vertices(T_world_link), mesh.faces), None, pixels, nothing)
    ray, link = view.pairs(pixels, mesh.cover_centers(T_world_link), mesh.cover.radii, mesh.cover.link)
    assert len(ray) < len(pixels)
    hits = LinkScene(mesh).cast(view, T_world_link, pixels[ray], link, nothing[ray])
    depth, cosine = np.full((2, len(pixels)), np.inf)
    depth[ray[hits.rays]], cosine[ray[hits.rays]] = hits.depth, hits.cosine
    stopped = np.flatnonzero(np.isfinite(depth))
    assert len(np.setxor1d(stopped, expected.rays)) <= 2 and len(stopped) > 1000  # rays that graze an edge
    both = np.isin(expected.rays, stopped)
    apart = np.abs(depth[expected.rays[both]] - expected.depth[both])
    assert np.quantile(apart, 0.999) < 1e-5  # [m]
    assert np.quantile(np.abs(cosine[expected.rays[both]] - expected.cosine[both]), 0.999) < 1e-3


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


def test_a_fisheye_whose_corners_see_nothing_sees_the_object(cube: ObjectModel) -> None:
    """64 x 64 pixels of 20 pixels a radian: corners are more than 90 degrees off the axis. Looks down from 0.8 m."""
    T_world_camera = np.diag([1.0, -1.0, -1.0, 1.0])
    T_world_camera[:3, 3] = 0.6, 0.0, 0.8
    wide = {"fx": 20.0, "fy": 20.0, "distortion": (0.0,) * 8, "lens": "equidistant", "T_world_camera": T_world_camera}
    camera = replace(default_cameras()[0], width=64, height=64, cx=31.5, cy=31.5, **wide)
    assert np.isnan(camera.rays()).any()
    T_world_object = cube.stable_poses[0].copy()
    T_world_object[:2, 3] = 0.6, 0.0
    rig = DepthRig((camera,))
    (image,), (without,) = rig.render(None, [(cube, T_world_object)]), rig.render(None, [])
    seen = image != without
    assert seen[30:34, 30:34].any() and image[seen].max() < 800 and not image[0, 0]
