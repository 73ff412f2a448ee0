"""Show a grasp file in RViz: object, hands and contact forces as markers on /grasp_markers.

ros2 run udg_datagen grasp_viewer_node --ros-args -p file:=out/grasps/mug_tripod_right.npz
ros2 param set /grasp_viewer grasp 3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from visualization_msgs.msg import Marker, MarkerArray

from udg_datagen.grasp_set import GraspFileError, GraspSet
from udg_datagen.grasps.grasp_scene import ARROW_M_PER_N, FORCE_RGB, GraspScene, Triangles
from udg_description.ros import convert, topics
from udg_description.ros.markers import colour, point, points
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_description.settings import setting
from udg_sim.objects.library import ObjectLibrary

_SHAFT_M, _HEAD_M = 0.004, 0.009  # diameters of a force's arrow


@dataclass(frozen=True, kw_only=True)
class GraspViewerConfig:
    """Parameters of the grasp viewer."""

    file: Path | None = setting(None, "grasp file (.npz; needed)")
    object: str = setting("", "library id or path.obj@size; empty: the file's own")
    grasp: int = setting(0, "which grasp, best first", 0, None, dynamic=True)
    every_s: float = setting(0.0, "show the next grasp after this time [s]; 0: stay", 0.0, 60.0)
    stage: Literal["pregrasp", "open", "grasp"] = setting("grasp", "what the hands do")
    position: tuple[float, float, float] = setting((0.6, 0.0, 0.0), "of the object's resting place in the world [m]")
    period_s: float = setting(1.0, "between two messages [s]", 0.05, 10.0)


class GraspViewerNode(Node):
    """Publishes one grasp of a file repeatedly, so that late subscribers see it too."""

    def __init__(self, *, context: Context | None = None, parameter_overrides: list[Parameter] | None = None) -> None:
        super().__init__("grasp_viewer", context=context, parameter_overrides=parameter_overrides)
        self._config = declare(self, GraspViewerConfig)
        refuse_unknown(self)
        if self._config.file is None:
            raise GraspFileError("grasp_viewer: no grasp file; give one with --ros-args -p file:=out/grasps/<name>.npz")
        grasps = GraspSet.load(self._config.file)
        if len(grasps) == 0:
            raise GraspFileError(f"grasp file {self._config.file} has no grasps")
        model = ObjectLibrary().get(self._config.object or grasps.object_id)
        self._scene = GraspScene(grasps, model.mesh)
        self._began_ns = self.get_clock().now().nanoseconds
        self._markers = topics.publish(self, topics.GRASP_MARKERS)
        self._timer = self.create_timer(self._config.period_s, self._publish)
        self.get_logger().info(f"{len(grasps)} grasps of {grasps.object_id}: {grasps.strategy}")

    def _publish(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        index = int(self.get_parameter("grasp").value)
        if self._config.every_s > 0.0:
            index += int((now_ns - self._began_ns) * 1e-9 / self._config.every_s)
        index %= len(self._scene.grasps)
        self._markers.publish(grasp_markers(self._scene, index, self._config.position, now_ns, self._config.stage))


def grasp_markers(
    scene: GraspScene, index: int, position_world: Sequence[float], stamp_ns: int, stage: str = "grasp"
) -> MarkerArray:
    """Grasp `index` as markers: the object and each hand as triangles, the contact forces as arrows, a line of text.

    position_world: where the object rests on the table (3,) [m].
    """
    markers = [_triangles("object", scene.object())]
    grasps = scene.grasps
    for h, side in enumerate(grasps.sides):
        markers.append(_triangles(f"{side}_hand", scene.hand(index, h, stage)))
    for number, (place, force) in enumerate(zip(*scene.forces(index), strict=True)):
        arrow = Marker(ns="contact_forces", id=number, type=Marker.ARROW)
        arrow.points = [point(place - ARROW_M_PER_N * force), point(place)]
        arrow.scale.x, arrow.scale.y = _SHAFT_M, _HEAD_M
        arrow.color = colour(FORCE_RGB)
        markers.append(arrow)
    text = Marker(ns="text", id=0, type=Marker.TEXT_VIEW_FACING, color=colour(np.zeros(3)))
    text.text = f"{grasps.object_id} {index + 1}/{len(grasps)} {grasps.strategy}, energy {grasps.energy[index]:.2f}"
    text.scale.z = 0.03
    text.pose.position = point(scene.object().vertices.max(axis=0) + [0.0, 0.0, 0.2])
    markers.append(text)
    for marker in markers:
        marker.header = convert.make_header(stamp_ns, "world")
        marker.action = Marker.ADD
        marker.pose.position.x += float(position_world[0])
        marker.pose.position.y += float(position_world[1])
        marker.pose.position.z += float(position_world[2])
        marker.pose.orientation.w = 1.0
    return MarkerArray(markers=markers)


def _triangles(name: str, part: Triangles) -> Marker:
    marker = Marker(ns=name, id=0, type=Marker.TRIANGLE_LIST)
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    marker.color = colour(part.colours[0])
    marker.points = points(part.vertices[part.faces.ravel()])
    palette = {tuple(rgb): colour(rgb) for rgb in np.unique(part.colours, axis=0)}
    marker.colors = [palette[tuple(rgb)] for rgb in part.colours for _ in range(3)]
    return marker


def main() -> int:
    """Run the node until it is stopped; the process's exit code."""
    return run_node(GraspViewerNode)


if __name__ == "__main__":
    raise SystemExit(main())
