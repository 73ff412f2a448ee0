"""The cloud that the policy sees, from depth images of your own cameras and the joints of that moment.

python examples/cloud_of_my_camera.py left.png right.png                 # 16 bit, mm; cameras of config/cameras.yaml
python examples/cloud_of_my_camera.py left.png right.png joints.npy out.ply
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import trimesh

from udg_description.camera import read_cameras
from udg_description.layout import HOME_Q
from udg_description.model import RobotModel
from udg_perception.config import SceneCloudConfig
from udg_perception.scene_cloud import LABEL_SEEN, SceneCloudBuilder

CAMERAS = Path(__file__).parents[1] / "config" / "cameras.yaml"  # intrinsics and calibrated poses: yours
COLOURS = np.array([[60, 170, 60], [60, 100, 200], [230, 140, 40]], dtype=np.uint8)  # seen, left, right robot


def main(images: list[str], joints: str = "", out: str = "cloud.ply") -> np.ndarray:
    cameras = read_cameras(CAMERAS)
    q = np.load(joints) if joints else HOME_Q  # (36,) [rad], in the layout's order
    builder = SceneCloudBuilder(SceneCloudConfig(), cameras, RobotModel())
    cloud = builder.build([cv2.imread(image, cv2.IMREAD_UNCHANGED) for image in images], q)
    points = cloud.points  # (2048, 4) x y z [m, world] and label
    print(f"{np.count_nonzero(points[:, 3] == LABEL_SEEN)} points seen, of {len(points)}; {cloud.stats.counts}")
    trimesh.PointCloud(points[:, :3], colors=COLOURS[points[:, 3].astype(int)]).export(out)
    return points


if __name__ == "__main__":
    main(sys.argv[1:3], *sys.argv[3:5])
