"""Clouds of episodes: what is rendered near the object alone gives the clouds of whole images."""

import numpy as np
import pytest

from udg_datagen.demonstrations.observer import Observer
from udg_datagen.demonstrations.stopwatch import Stopwatch
from udg_description.camera import default_cameras
from udg_description.layout import HOME_Q
from udg_description.model import RobotModel
from udg_perception.scene_cloud import LABEL_SEEN, SceneCloudBuilder, SceneCloudConfig
from udg_sim.cameras.depth import DepthRig
from udg_sim.objects.library import ObjectLibrary, ObjectModel

FRAMES = 6
SIZES = pytest.mark.parametrize(
    ("object_id", "size"), [("cube_30", "small"), ("soda_can", "medium"), ("box_300", "large")]
)
BOX = (SceneCloudConfig().crop_min, SceneCloudConfig().crop_max)


@pytest.fixture(scope="module")
def clean() -> tuple[DepthRig, SceneCloudBuilder]:
    return DepthRig(default_cameras()), SceneCloudBuilder(SceneCloudConfig(), default_cameras(), RobotModel())


@pytest.fixture(scope="module")
def observer() -> Observer:
    config = SceneCloudConfig(outlier_std_ratio=100.0)  # strays far off would move the limit of all others
    return Observer(default_cameras(), config, RobotModel())


@SIZES
def test_without_noise_near_images_give_the_same_cloud_as_whole_ones(
    clean: tuple[DepthRig, SceneCloudBuilder], object_id: str, size: str
) -> None:
    target = ObjectLibrary().get(object_id)
    rig, builder = clean
    objects = [(target, _placed(target))]
    whole, near = (
        builder.build(rig.render(HOME_Q, objects, box=BOX, near_objects=part), HOME_Q) for part in (False, True)
    )
    assert target.size_class == size
    np.testing.assert_array_equal(near.points, whole.points)
    assert near.stats.counts["seen"] > 100 and near.stats.counts["in_crop"] < whole.stats.counts["in_crop"]


@SIZES
def test_with_noise_near_images_see_as_many_points_of_the_object_at_the_same_places(
    observer: Observer, object_id: str, size: str
) -> None:
    target = ObjectLibrary().get(object_id)
    T_world_object = _placed(target)
    still = np.repeat(HOME_Q[None], FRAMES, axis=0), np.repeat(T_world_object[None], FRAMES, axis=0)
    counts, centers, spreads = [], [], []
    for seed, whole in ((1, True), (2, False)):
        clouds = observer.observe(*still, target, seed, Stopwatch(), whole_images=whole)
        seen = [cloud[cloud[:, 3] == LABEL_SEEN, :3] for cloud in clouds]
        seen = [points[_near_bounds(target, T_world_object, points)] for points in seen]
        counts.append(np.mean([len(points) for points in seen]))
        centers.append(np.mean([points.mean(axis=0) for points in seen], axis=0))
        spreads.append(np.mean([points.std(axis=0) for points in seen], axis=0))
    assert target.size_class == size
    assert counts[1] == pytest.approx(counts[0], rel=0.05)
    np.testing.assert_allclose(centers[1], centers[0], atol=0.003)  # [m]
    np.testing.assert_allclose(spreads[1], spreads[0], rtol=0.05, atol=3e-4)


def _placed(target: ObjectModel) -> np.ndarray:
    T_world_object = target.stable_poses[0].copy()
    T_world_object[:2, 3] = 0.6, 0.05
    return T_world_object


def _near_bounds(target: ObjectModel, T_world_object: np.ndarray, points_world: np.ndarray) -> np.ndarray:
    """Which points are at most 1 cm outside of the object's bounds: no stray ones of the robot."""
    points = (points_world - T_world_object[:3, 3]) @ T_world_object[:3, :3]
    low, high = target.mesh.bounds
    return np.all((points > low - 0.01) & (points < high + 0.01), axis=1)
