"""Depth cameras: geometry exact without noise, nothing lost by casting few rays, deterministic with noise."""

import numpy as np
import pytest

from udg_description.camera import CameraModel, default_cameras
from udg_description.frames import TABLE
from udg_description.layout import HOME_Q
from udg_description.transforms import make_transform, transform_points
from udg_sim.cameras.depth import DepthError, DepthRig, KinectNoise
from udg_sim.cameras.scene_mesh import RobotMesh
from udg_sim.cameras.view import View, cast
from udg_sim.geometry.ray_scene import ray_scene
from udg_sim.objects.library import ObjectLibrary, ObjectModel

BOX = ((0.4, -0.3, 0.003), (0.8, 0.3, 0.4))


@pytest.fixture(scope="module")
def beam() -> ObjectModel:
    return ObjectLibrary().get("beam")


@pytest.fixture(scope="module")
def clean() -> DepthRig:
    return DepthRig(default_cameras())


def _points_world(camera: CameraModel, image_mm: np.ndarray) -> np.ndarray:
    seen = image_mm > 0
    return transform_points(camera.T_world_camera, camera.rays()[seen] * image_mm[seen][:, None] / 1000)


def test_the_empty_table_lies_at_height_zero_within_a_millimetre(clean: DepthRig) -> None:
    for camera, image in zip(clean.cameras, clean.render(None), strict=True):
        assert image.dtype == np.uint16 and image.shape == (576, 640)
        points = _points_world(camera, image)
        assert len(points) > 50_000
        assert np.abs(points[:, 2]).max() < 1e-3
        assert TABLE.contains(points[:, :2] / 1.001).all()


def test_an_object_is_seen_where_it_stands(clean: DepthRig, beam: ObjectModel) -> None:
    T_world_object = make_transform(translation=np.array([0.6, 0.1, 0.07]))
    half = beam.mesh.extents / 2
    for camera, image in zip(clean.cameras, clean.render(None, [(beam, T_world_object)], table=False), strict=True):
        points = _points_world(camera, image) - T_world_object[:3, 3]
        assert len(points) > 1000
        surface_distance = np.abs(np.abs(points) - half).min(axis=1)
        assert np.all(np.abs(points) < half + 1.5e-3)
        assert surface_distance.max() < 1.5e-3


def test_an_object_hides_the_table_behind_it_and_is_hidden_by_the_robot(clean: DepthRig, beam: ObjectModel) -> None:
    T_world_object = make_transform(translation=np.array([0.6, 0.0, 0.07]))
    for empty, full in zip(clean.render(None), clean.render(None, [(beam, T_world_object)]), strict=True):
        changed = full != empty
        assert changed.any() and np.all((full[changed] < empty[changed]) | (empty[changed] == 0))
    tip = RobotMesh().pose(HOME_Q)[RobotMesh().link_names.index("right_hand_link")][:3, 3]
    behind = make_transform(translation=tip)
    for alone, both in zip(clean.render(HOME_Q), clean.render(HOME_Q, [(beam, behind)]), strict=True):
        assert np.all((both <= alone) | (alone == 0))


def test_casting_only_likely_pixels_loses_nothing(clean: DepthRig) -> None:
    rng = np.random.default_rng(0)
    mesh = RobotMesh()
    view = View(clean.cameras[0])
    everywhere = np.arange(len(view.ray_norm))
    for _ in range(3):
        q = HOME_Q + 0.3 * rng.uniform(-1, 1, len(HOME_Q))
        T_world_link = mesh.pose(q)
        scene = ray_scene(mesh.vertices(T_world_link), mesh.faces)
        nothing = np.full(len(everywhere), np.inf, dtype=np.float32)
        all_hits = cast(view, scene, None, everywhere, nothing)
        likely = view.may_hit(mesh.cover_centers(T_world_link), mesh.cover.radii).pixels
        assert set(all_hits.pixels) <= set(likely)
        assert len(likely) < 0.4 * len(everywhere)


def test_the_box_only_masks(clean: DepthRig, beam: ObjectModel) -> None:
    objects = [(beam, make_transform(translation=np.array([0.6, 0.1, 0.07])))]
    whole = clean.render(HOME_Q, objects)
    masked = clean.render(HOME_Q, objects, box=BOX)
    for camera, full, part in zip(clean.cameras, whole, masked, strict=True):
        kept = part > 0
        np.testing.assert_array_equal(part[kept], full[kept])
        points = _points_world(camera, np.where(kept, 0, full).astype(np.uint16))
        inside = np.all((points > np.array(BOX[0]) + 1e-3) & (points < np.array(BOX[1]) - 1e-3), axis=1)
        assert not inside.any()
        assert 0.01 < kept.mean() < 0.3


def test_a_box_behind_the_cameras_gives_empty_images(clean: DepthRig) -> None:
    assert all(not image.any() for image in clean.render(HOME_Q, box=((5.0, -0.1, 0.0), (5.2, 0.1, 0.1))))


def test_covering_spheres_contain_the_robot() -> None:
    mesh = RobotMesh()
    T_world_link = mesh.pose(HOME_Q)
    vertices = mesh.vertices(T_world_link)[::5]
    centers, radii = mesh.cover_centers(T_world_link), mesh.cover.radii
    gap = np.linalg.norm(vertices[:, None] - centers[None], axis=2) - radii
    assert gap.min(axis=1).max() < 1e-6
    assert vertices[:, 2].min() > -0.02


def test_frames_repeat_with_the_seed_and_differ_in_time() -> None:
    rig = DepthRig(default_cameras(), KinectNoise(), seed=5)
    first = rig.render(None, box=BOX)
    second = rig.render(None, box=BOX)
    rig.reset(5)
    again = rig.render(None, box=BOX)
    rig.reset(6)
    other = rig.render(None, box=BOX)
    np.testing.assert_array_equal(first, again)
    assert np.any(first[0] != second[0]) and np.any(first[0] != other[0]) and np.any(first[0] != first[1])


def test_nothing_nearer_or_farther_than_the_range_is_seen() -> None:
    near = make_transform(default_cameras()[0].T_world_camera[:3, :3], np.array([1.2, 1.2, 0.6]))
    camera = default_cameras()[0]
    ball = ObjectLibrary().get("ball_70")
    forward = near[:3, 2]
    for distance, seen in ((0.45, False), (0.6, True), (3.7, True), (4.0, False)):
        pose = make_transform(translation=near[:3, 3] + distance * forward)
        (image,) = DepthRig([camera]).render(None, [(ball, pose)], table=False)
        assert bool(image.any()) == seen


def test_unknown_mesh_is_named(clean: DepthRig) -> None:
    with pytest.raises(DepthError, match="nothing_such"):
        clean.render(None, [("nothing_such", np.eye(4))])
