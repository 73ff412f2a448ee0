"""A simulated scene recorded as two Azure Kinects would, played by pyk4a: the scene cloud is that of the simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

pytest.importorskip("pyk4a", reason="needs pyk4a-bundle")

from udg_bringup.record_scene import main, record_scene  # noqa: E402
from udg_description.camera import default_cameras  # noqa: E402
from udg_description.cloud_labels import LABEL_SEEN  # noqa: E402
from udg_description.errors import UdgError
from udg_description.files import PathError
from udg_description.layout import HOME_Q, SIDES  # noqa: E402
from udg_description.model import RobotModel  # noqa: E402
from udg_perception.kinect.playback import KinectPlayback  # noqa: E402
from udg_perception.scene_cloud import SceneCloudBuilder, SceneCloudConfig  # noqa: E402
from udg_sim.cameras.depth import DepthRig  # noqa: E402
from udg_sim.cameras.noise import KinectNoise  # noqa: E402
from udg_sim.objects.library import ObjectLibrary  # noqa: E402
from udg_sim.trials.trial import sample_placement  # noqa: E402

CAMERAS = default_cameras()
MODEL = ObjectLibrary().get("soda_can")
SCENE = [(MODEL, sample_placement(MODEL, np.random.default_rng(3)))]


def played_cloud(folder: Path, noise: KinectNoise | None, seed: int) -> np.ndarray:
    """Scene cloud (2048, 4) of a recording, with the intrinsics that the recording tells."""
    paths = record_scene(folder, CAMERAS, SCENE, HOME_Q[None], noise=noise, seed=seed)
    cameras, depths = [], []
    for camera in CAMERAS:
        playback = KinectPlayback(paths[camera.name], camera.name)
        frame = playback.read(5.0)
        assert frame is not None
        depths.append(frame.depth_mm)
        cameras.append(playback.camera.with_pose(camera.T_world_camera))
        playback.close()
    return SceneCloudBuilder(SceneCloudConfig(), cameras, RobotModel()).build(depths, HOME_Q).points


def simulated_cloud(noise: KinectNoise | None, seed: int) -> np.ndarray:
    rig = DepthRig(CAMERAS, noise=noise, seed=seed)
    return SceneCloudBuilder(SceneCloudConfig(), CAMERAS, RobotModel()).build(rig.render(HOME_Q, SCENE), HOME_Q).points


def test_without_noise_the_clouds_are_equal(tmp_path: Path) -> None:
    played, simulated = played_cloud(tmp_path, None, 0), simulated_cloud(None, 0)
    assert (played[:, 3] == LABEL_SEEN).sum() > 300
    assert np.array_equal(played[:, 3], simulated[:, 3])
    assert np.allclose(played, simulated, atol=1e-5)


def test_with_other_noise_they_agree_within_it(tmp_path: Path) -> None:
    noise = KinectNoise()
    played, simulated = played_cloud(tmp_path, noise, 1), simulated_cloud(noise, 2)
    seen = [cloud[cloud[:, 3] == LABEL_SEEN, :3] for cloud in (played, simulated)]
    assert abs(len(seen[0]) - len(seen[1])) < 0.1 * len(seen[0])
    sigma_m = float(noise.sigma(np.array(1.5)))
    for a, b in (seen, seen[::-1]):
        distance, _ = cKDTree(b).query(a)
        assert np.percentile(distance, 95) < 3.0 * sigma_m + 0.003  # the sampling's own spacing
    assert np.abs(seen[0].mean(axis=0) - seen[1].mean(axis=0)).max() < 0.5 * sigma_m


def test_the_command_writes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--object", "", "--frames", "1"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / f"{side}.mkv") for side in SIDES]
    with pytest.raises(PathError, match="left.mkv: is there already"):
        main([str(tmp_path), "--object", "", "--frames", "1"])
    with pytest.raises(UdgError, match="no_such_object"):
        main([str(tmp_path), "--object", "no_such_object", "--frames", "1", "--force"])
