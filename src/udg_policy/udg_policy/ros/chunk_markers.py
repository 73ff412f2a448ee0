"""A predicted chunk as markers: ghosts of the hands at a few of its steps, the paths of the fingertips, and the grasp
that the robot is going for."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point
from visualization_msgs.msg import Marker, MarkerArray

from udg_description.layout import SIDES, Side
from udg_description.ros import convert
from udg_description.ros.markers import colour, points, poses
from udg_policy.episodes.grasp import KEY_POINTS, PredictedGrasp, grasp_lines
from udg_policy.hands.fingertips import fingertip_paths
from udg_policy.hands.ghosts import SIDE_RGB, STILL_M, Hull, hand_hulls, hand_poses, shown_steps

_ALPHA_NEAR, _ALPHA_FAR = 0.45, 0.15  # opacity of the ghosts: the sooner, the clearer
_PATH_ALPHA_NEAR, _PATH_ALPHA_FAR = 1.0, 0.3
_LINE_WIDTH_M = 0.003
_GRASP_LINE_M, _GRASP_POINT_M, _TEXT_M = 0.006, 0.014, 0.03  # of the predicted grasp
_TEXT_ABOVE_M = 0.06  # the wrist
_IDS_PER_STEP = 100

_Key = tuple[str, int]  # namespace and number of a marker


class ChunkMarkers:
    """Makes the markers of successive chunks, and deletes what the next one no longer has."""

    def __init__(self, lifetime_s: float) -> None:
        """lifetime_s: markers vanish by themselves after this time [s] without a newer chunk."""
        self._lifetime = convert.ns_to_duration(convert.seconds_to_ns(lifetime_s))
        self._triangles = {side: [_corners(hull) for hull in hand_hulls(side).hulls] for side in SIDES}
        self._shown: set[_Key] = set()

    def show(self, chunk: np.ndarray, stamp_ns: int, grasp: PredictedGrasp | None = None) -> MarkerArray:
        """Markers of a chunk (K, 36) [rad] and of the grasp that it leads to, in the world."""
        paths = fingertip_paths(chunk)
        moving = np.linalg.norm(paths - paths[:, :, :1], axis=-1).max(axis=(1, 2)) > STILL_M
        markers = [marker for side, own in zip(SIDES, paths, strict=True) for marker in self._paths(side, own)]
        markers += self._ghosts(chunk, [side for side, moves in zip(SIDES, moving, strict=True) if moves])
        if grasp is not None:
            markers += [
                marker
                for side, acts, own, share in zip(SIDES, grasp.acts, grasp.points_world, grasp.acting, strict=True)
                if acts
                for marker in self._grasp(side, own, f"{grasp.strategy} {100.0 * share:.0f} %")
            ]
        header = convert.make_header(stamp_ns, "world")
        for marker in markers:
            marker.header, marker.lifetime = header, self._lifetime
        now = {(marker.ns, marker.id) for marker in markers}
        markers += self._deletions(self._shown - now, stamp_ns)
        self._shown = now
        return MarkerArray(markers=markers)

    def clear(self, stamp_ns: int) -> MarkerArray | None:
        """What deletes everything shown; None if nothing is."""
        gone, self._shown = self._shown, set()
        return MarkerArray(markers=self._deletions(gone, stamp_ns)) if gone else None

    def _paths(self, side: Side, paths: np.ndarray) -> list[Marker]:
        alphas = np.linspace(_PATH_ALPHA_NEAR, _PATH_ALPHA_FAR, paths.shape[1])
        colours = [colour(SIDE_RGB[side], alpha) for alpha in alphas]
        markers = []
        for number, path in enumerate(paths):
            marker = Marker(ns=f"{side}_paths", id=number, type=Marker.LINE_STRIP, points=points(path), colors=colours)
            marker.scale.x = _LINE_WIDTH_M
            marker.pose.orientation.w = 1.0
            markers.append(marker)
        return markers

    def _ghosts(self, chunk: np.ndarray, sides: list[Side]) -> list[Marker]:
        if not sides:
            return []
        steps = shown_steps(len(chunk))
        places = hand_poses(chunk[list(steps)])
        alphas = np.linspace(_ALPHA_NEAR, _ALPHA_FAR, len(steps))
        markers = []
        for side in sides:
            for number, (T_world_link, alpha) in enumerate(zip(places[side], alphas, strict=True)):
                tint = colour(SIDE_RGB[side], alpha)
                for link, pose in enumerate(poses(T_world_link)):
                    marker = Marker(
                        ns=f"{side}_ghosts",
                        id=number * _IDS_PER_STEP + link,
                        type=Marker.TRIANGLE_LIST,
                        points=self._triangles[side][link],
                        color=tint,
                        pose=pose,
                    )
                    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
                    markers.append(marker)
        return markers

    @staticmethod
    def _grasp(side: Side, points_world: np.ndarray, text: str) -> list[Marker]:
        """Key points (7, 3) of an acting hand, joined, with the strategy and how likely it is that the hand acts."""
        tint = colour(SIDE_RGB[side], 1.0)
        ends = [index for line in grasp_lines() for index in line]
        lines = Marker(ns=f"{side}_grasp", id=0, type=Marker.LINE_LIST, points=points(points_world[ends]), color=tint)
        lines.scale.x = _GRASP_LINE_M
        dots = Marker(ns=f"{side}_grasp", id=1, type=Marker.SPHERE_LIST, points=points(points_world), color=tint)
        dots.scale.x = dots.scale.y = dots.scale.z = _GRASP_POINT_M
        label = Marker(ns=f"{side}_grasp", id=2, type=Marker.TEXT_VIEW_FACING, text=text, color=tint)
        label.scale.z = _TEXT_M
        x, y, z = (float(value) for value in points_world[KEY_POINTS.index("wrist")])
        label.pose.position.x, label.pose.position.y, label.pose.position.z = x, y, z + _TEXT_ABOVE_M
        for marker in (lines, dots, label):
            marker.pose.orientation.w = 1.0
        return [lines, dots, label]

    @staticmethod
    def _deletions(keys: set[_Key], stamp_ns: int) -> list[Marker]:
        header = convert.make_header(stamp_ns, "world")
        return [Marker(header=header, ns=name, id=number, action=Marker.DELETE) for name, number in sorted(keys)]


def _corners(hull: Hull) -> list[Point]:
    return points(hull.vertices[hull.faces.ravel()])
