"""Observations are made at rest, in new poses, and from several images."""

from __future__ import annotations

import numpy as np

from udg_description.layout import HOME_Q
from udg_perception.calibration.collector import CollectorConfig, PoseCollector
from udg_perception.calibration.observations import Observation

CONFIG = CollectorConfig(images=4)
PERIOD_NS = 50_000_000


class Stream:
    """A robot and a camera, 20 times a second."""

    def __init__(self, collector: PoseCollector) -> None:
        self.collector, self.now_ns, self.found = collector, 0, []
        self.images_seen = 0

    def run(self, seconds: float, q: np.ndarray, drift_rad_s: float = 0.0) -> list[Observation]:
        found = []
        for step in range(round(seconds * 20)):
            self.now_ns += PERIOD_NS
            self.collector.add_joints(self.now_ns, q + drift_rad_s * 0.05 * step)
            self.images_seen += 1
            image = np.full((2, 2), 1000 + self.images_seen % 2, np.uint16)
            image[0, 0] = 0 if self.images_seen % 4 else 900  # mostly missing
            image[1, 1] = 700 if self.images_seen % 4 else 0  # mostly there
            observation = self.collector.add_image("left", "depth", self.now_ns, image)
            found += [] if observation is None else [observation]
        return found


def test_one_observation_for_each_new_pose_at_rest() -> None:
    stream = Stream(PoseCollector(["left"], CONFIG))
    first = stream.run(3.0, HOME_Q)
    assert len(first) == 1 and np.allclose(first[0].q, HOME_Q)
    assert stream.run(1.0, HOME_Q, drift_rad_s=0.3) == []  # moves
    assert stream.run(3.0, HOME_Q + 0.05) == []  # rests, but nearly where it was
    second = stream.run(3.0, HOME_Q + 0.3)
    assert len(second) == 1 and np.allclose(second[0].q, HOME_Q + 0.3)


def test_images_of_too_short_a_rest_do_not_count() -> None:
    stream = Stream(PoseCollector(["left"], CONFIG))
    assert stream.run(0.65, HOME_Q) == []
    assert stream.run(0.65, HOME_Q + 0.3) == []
    assert len(stream.run(1.2, HOME_Q + 0.3)) == 1


def test_the_median_leaves_out_what_was_not_measured() -> None:
    depth_mm = Stream(PoseCollector(["left"], CONFIG)).run(2.0, HOME_Q)[0].depth_mm["left"]
    assert depth_mm[0, 0] == 0 and depth_mm[1, 1] == 700 and depth_mm[0, 1] in (1000, 1001)


def test_all_wanted_images_have_to_come() -> None:
    assert Stream(PoseCollector(["left", "right"], CONFIG)).run(3.0, HOME_Q) == []
    assert Stream(PoseCollector(["left"], CONFIG, infrared=True)).run(3.0, HOME_Q) == []
