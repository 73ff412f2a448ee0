"""Record a running graph as a rosbag2 bag (MCAP), without rosbag2: `udg record OUT`."""

from __future__ import annotations

import argparse

import rclpy

from udg_bringup.bag_writer import BagWriter
from udg_bringup.ending import asked_to_end
from udg_bringup.ros.recorder import Recorder, chosen_topics
from udg_description.camera import cameras_of
from udg_description.environment import prepare_environment
from udg_description.errors import cli
from udg_description.files import check_folder, user_path
from udg_description.ros.spin import background_spin

LOOK_S = 0.2


def main() -> None:
    """Record the topics of a running graph until it is interrupted."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=user_path, help="folder of the bag; it must not exist yet")
    parser.add_argument("--images", action="store_true", help="record depth images too (15 MB/s)")
    parser.add_argument("--cameras", type=user_path, help="with --images: cameras.yaml (default: the default cameras)")
    options = parser.parse_args()
    names = [camera.name for camera in cameras_of(options.cameras)]
    prepare_environment()
    check_folder(options.out.parent)
    rclpy.init(args=[])
    stop = asked_to_end()
    writer = BagWriter(options.out)
    try:
        recorder = Recorder(writer, chosen_topics(images=options.images, cameras=names))
        with background_spin(recorder) as spin:
            print(f"recording into {options.out}; Ctrl-C ends it", flush=True)
            while not stop.wait(LOOK_S) and not spin.stopped.is_set():
                pass
    finally:
        writer.close()
        rclpy.try_shutdown()
    print(f"{writer.messages} messages in {options.out}")


if __name__ == "__main__":
    main()
