"""What the controller is doing, and why it holds, as text above the robot in RViz."""

from __future__ import annotations

from visualization_msgs.msg import Marker, MarkerArray

from udg_control.controller import CycleReport
from udg_control.states import Mode
from udg_description.ros.convert import make_header

HEIGHT_M = 1.0
TEXT_M = 0.06
_RED, _YELLOW, _GREEN = (1.0, 0.2, 0.2), (1.0, 0.8, 0.2), (0.3, 1.0, 0.3)


def control_markers(report: CycleReport, stamp_ns: int) -> MarkerArray:
    """One text: the mode in green, yellow while it holds, red with code and detail when stopped."""
    marker = Marker(header=make_header(stamp_ns, "world"), ns="control", id=0)
    marker.type, marker.action = Marker.TEXT_VIEW_FACING, Marker.ADD
    marker.pose.position.z, marker.pose.orientation.w = HEIGHT_M, 1.0
    marker.scale.z = TEXT_M
    lines = [report.mode.value]
    if report.reason is not None and report.reason.value != report.mode.value:
        lines.append(report.reason.value)
    if report.detail:
        lines.append(report.detail)
    marker.text = "\n".join(lines)
    stopped = report.mode in (Mode.FAULT, Mode.STOPPED, Mode.HELD)
    colour = _RED if stopped else _GREEN if report.reason is None else _YELLOW
    marker.color.r, marker.color.g, marker.color.b = colour
    marker.color.a = 1.0
    return MarkerArray(markers=[marker])
