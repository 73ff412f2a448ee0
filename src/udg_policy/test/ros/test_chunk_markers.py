"""Ghosts and paths of a chunk: where they are, and that nothing stale remains."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

from geometry_msgs.msg import Pose
from visualization_msgs.msg import Marker, MarkerArray

from udg_description.layout import HOME_Q, part_indices
from udg_description.ros.convert import stamp_to_ns
from udg_description.transforms import make_transform, quat_wxyz_to_matrix, transform_points
from udg_policy.episodes.grasp import PredictedGrasp, key_points
from udg_policy.hands.fingertips import fingertip_paths
from udg_policy.hands.ghosts import hand_hulls, hand_poses
from udg_policy.ros.chunk_markers import ChunkMarkers

pytestmark = pytest.mark.ros


def chunk(moving: str = "all") -> np.ndarray:
    targets = np.tile(HOME_Q, (8, 1))
    part = part_indices(moving)  # type: ignore[arg-type]
    targets[:, part] += 0.02 * np.arange(8)[:, None]
    return targets


def of(array: MarkerArray, name: str, action: int = Marker.ADD) -> list[Marker]:
    return [marker for marker in array.markers if marker.ns == name and marker.action == action]


def transform(pose: Pose) -> np.ndarray:
    turn, place = pose.orientation, pose.position
    return make_transform(
        quat_wxyz_to_matrix(np.array([turn.w, turn.x, turn.y, turn.z])), np.array([place.x, place.y, place.z])
    )


def test_paths_run_through_the_fingertips_of_every_step() -> None:
    paths = fingertip_paths(chunk())
    lines = of(ChunkMarkers(1.0).show(chunk(), 0), "right_paths")
    assert [line.id for line in lines] == [0, 1, 2, 3, 4]
    drawn = np.array([[[p.x, p.y, p.z] for p in line.points] for line in lines])
    np.testing.assert_allclose(drawn, paths[1])
    assert all(len(line.colors) == 8 for line in lines)


def test_ghosts_stand_at_the_first_middle_and_last_step() -> None:
    links = len(hand_hulls("left").links)
    ghosts = of(ChunkMarkers(1.0).show(chunk(), 0), "left_ghosts")
    assert len(ghosts) == 3 * links
    for number, step in enumerate((0, 4, 7)):
        expected = hand_poses(chunk()[[step]])["left"][0]
        for link in range(links):
            marker = ghosts[number * links + link]
            hull = hand_hulls("left").hulls[link]
            drawn = transform_points(transform(marker.pose), np.array([[p.x, p.y, p.z] for p in marker.points]))
            np.testing.assert_allclose(
                drawn, transform_points(expected[link], hull.vertices[hull.faces.ravel()]), atol=1e-9
            )
    alphas = [ghosts[number * links].color.a for number in range(3)]
    assert 1.0 > alphas[0] > alphas[1] > alphas[2] > 0.0


def grasp(acting: tuple[float, float]) -> PredictedGrasp:
    return PredictedGrasp(key_points(HOME_Q), np.array(acting), np.array([0.1, 0.2, 0.65, 0.05]))


def test_the_grasp_of_the_acting_hand_stands_at_its_key_points() -> None:
    drawing = ChunkMarkers(1.0)
    array = drawing.show(chunk(), 0, grasp((0.2, 0.9)))
    assert not of(array, "left_grasp")
    lines, dots, text = of(array, "right_grasp")
    np.testing.assert_allclose([[p.x, p.y, p.z] for p in dots.points], key_points(HOME_Q)[1])
    ends = np.array([[p.x, p.y, p.z] for p in lines.points]).reshape(-1, 2, 3)
    np.testing.assert_allclose(ends[0], key_points(HOME_Q)[1, :2])  # wrist to palm
    np.testing.assert_allclose(ends[1:, 0], np.tile(key_points(HOME_Q)[1, 1], (5, 1)))  # palm to each fingertip
    np.testing.assert_allclose(ends[1:, 1], key_points(HOME_Q)[1, 2:])
    assert text.text == "whole_hand 90 %"
    assert len(of(drawing.show(chunk(), 1), "right_grasp", Marker.DELETE)) == 3


def test_both_hands_of_a_grasp_by_both_are_shown() -> None:
    array = ChunkMarkers(1.0).show(chunk(), 0, grasp((0.8, 0.7)))
    assert len(of(array, "left_grasp")) == len(of(array, "right_grasp")) == 3


def test_every_marker_has_its_stamp_frame_lifetime_and_own_number() -> None:
    markers = ChunkMarkers(0.5).show(chunk(), 1_200_000_000).markers
    assert {stamp_to_ns(m.header.stamp) for m in markers} == {1_200_000_000}
    assert {m.header.frame_id for m in markers} == {"world"}
    assert {stamp_to_ns(m.lifetime) for m in markers} == {500_000_000}
    assert len({(m.ns, m.id) for m in markers}) == len(markers)


def test_a_hand_that_stays_has_no_ghosts_and_its_old_ones_are_deleted_once() -> None:
    drawing = ChunkMarkers(1.0)
    assert of(drawing.show(chunk("all"), 0), "left_ghosts")
    second = drawing.show(chunk("right"), 1)
    assert not of(second, "left_ghosts") and of(second, "right_ghosts")
    assert len(of(second, "left_ghosts", Marker.DELETE)) == 3 * len(hand_hulls("left").links)
    assert not of(drawing.show(chunk("right"), 2), "left_ghosts", Marker.DELETE)


def test_clear_deletes_what_is_shown_and_then_has_nothing_to_do() -> None:
    drawing = ChunkMarkers(1.0)
    assert drawing.clear(0) is None
    shown = {(m.ns, m.id) for m in drawing.show(chunk(), 1).markers}
    cleared = drawing.clear(2)
    assert cleared is not None
    assert {(m.ns, m.id) for m in cleared.markers} == shown
    assert {m.action for m in cleared.markers} == {Marker.DELETE}
    assert drawing.clear(3) is None


def test_a_chunk_of_one_step_has_one_ghost_if_any() -> None:
    array = ChunkMarkers(1.0).show(chunk()[:1], 0)
    assert not of(array, "left_ghosts")  # it leads nowhere
    assert len(of(array, "left_paths")) == 5
