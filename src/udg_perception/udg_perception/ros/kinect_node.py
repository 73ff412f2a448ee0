"""One Azure Kinect as a lifecycle node: depth image and camera_info, live or from a recording."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.context import Context
from rclpy.parameter import Parameter

from udg_description.errors import UdgError
from udg_description.frame_tree import camera_frame_of
from udg_description.ros import convert, topics
from udg_description.ros.diagnostics import Diagnostics, InputMonitor, Level, Status
from udg_description.ros.lifecycle import RETRY_S, SteadyLifecycleNode
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_description.settings import setting
from udg_perception.kinect.open_source import open_source
from udg_perception.kinect.source import DepthFrame, DepthSource, KinectConfig

READ_S = 0.2  # longest wait for an image in one go


@dataclass(frozen=True, kw_only=True)
class KinectNodeConfig(KinectConfig):
    """Parameters of the node."""

    camera: str = setting("left_camera", "its name in the camera file, by which its topics are named")
    autostart: bool = setting(True, "configure and activate at the start, again and again until the camera is there")
    stale_after_s: float = setting(0.5, "a camera without an image for this long is silent [s]", 0.05, 60)


class KinectNode(SteadyLifecycleNode):
    """Publishes depth images, stamped with the time of their exposure, while active.

    Configure opens the camera, activate starts to publish. A camera that has gone is looked for until it is back.
    """

    def __init__(
        self,
        *,
        context: Context | None = None,
        parameter_overrides: list[Parameter] | None = None,
        opener: Callable[[KinectConfig, str], DepthSource] = open_source,
    ) -> None:
        super().__init__("kinect", context=context, parameter_overrides=parameter_overrides)
        self.config = config = declare(self, KinectNodeConfig)
        refuse_unknown(self)
        self._open = opener
        self._source: DepthSource | None = None
        self._why_not = "not configured"
        self._frame_id = camera_frame_of(config.camera)
        self._images = topics.publish(self, topics.depth_image(config.camera))
        self._infos = topics.publish(self, topics.camera_info(config.camera))
        self._infrared = topics.publish(self, topics.infrared_image(config.camera))
        self._monitor = InputMonitor("images", config.stale_after_s, 0.8 * config.rate_hz)
        Diagnostics(self, config.serial_number).add("camera", self._status)
        if config.autostart:
            self.start_by_itself()

    # --- lifecycle --------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Release the camera."""
        self._end_thread()
        source, self._source = self._source, None
        self._why_not = "not configured"
        if source is not None:
            self._close(source)

    # --- images -----------------------------------------------------------------------------------------------------

    def configure(self) -> bool:
        """Open the camera; on failure say why."""
        try:
            self._source = self._open(self.config, self.config.camera)
        except Exception as error:  # of the vendor's library, too: the camera is looked for all the same
            self._why_not = _why(error)
            self.get_logger().error(self._why_not, throttle_duration_sec=10.0)
            return False
        self._why_not = ""
        self.get_logger().info(f"{self.config.camera}: {self._source.serial_number}")
        return True

    def run(self) -> None:
        """Publish what comes; open the camera again when it has gone."""
        while not self._ending.is_set():
            if self._source is None and not self.configure():
                self._ending.wait(RETRY_S)
                continue
            if self._ending.is_set():
                break
            source = self._source
            assert source is not None
            try:
                frame = source.read(READ_S)
            except Exception as error:  # of the vendor's library, too
                self._why_not = _why(error)
                self.get_logger().error(self._why_not)
                if self._source is source:  # else it was released meanwhile
                    self._source = None
                self._close(source)
                continue
            if frame is None or self._ending.is_set():
                continue
            try:
                self._publish(source, frame)
            except RuntimeError:  # rclpy's RCLError is one
                if self.context.ok():
                    raise
                return  # ROS was shut down meanwhile
        if self._left_over is threading.current_thread():  # perhaps released without this camera, opened only now
            source, self._source = self._source, None
            if source is not None:
                self._close(source)

    def _close(self, source: DepthSource) -> None:
        """Release a camera, which may fail as well."""
        try:
            source.close()
        except Exception as error:
            self.get_logger().error(_why(error))

    def _publish(self, source: DepthSource, frame: DepthFrame) -> None:
        age_ns = time.monotonic_ns() - frame.stamp_ns
        stamp_ns = self.get_clock().now().nanoseconds - age_ns
        self._monitor.tick()
        self._infos.publish(convert.camera_to_info(source.camera, stamp_ns, self._frame_id))
        self._images.publish(convert.depth_to_image(frame.depth_mm, stamp_ns, self._frame_id))
        if frame.infrared is not None:
            message = convert.depth_to_image(frame.infrared, stamp_ns, self._frame_id)
            message.encoding = "mono16"
            self._infrared.publish(message)

    def _status(self) -> Status:
        if self._why_not:
            return Status(level=Level.ERROR, message=self._why_not)
        status = self._monitor.status()
        source = self._source
        values = {**(status.values or {}), "serial_number": "" if source is None else source.serial_number}
        return Status(level=status.level, message=status.message, values=values)


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, UdgError) else f"the camera's library: {error!r}"


def main() -> None:
    """Run one camera."""
    sys.exit(run_node(KinectNode))


if __name__ == "__main__":
    main()
