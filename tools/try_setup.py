"""Try what the set-up has made: all packages load from this checkout, ROS passes a message, scripts start."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 20.0


def try_packages() -> None:
    """All packages, from here and not from another checkout; what they stand on."""
    for folder in sorted((ROOT / "src").iterdir()):
        module = importlib.import_module(folder.name)
        if not Path(str(module.__file__)).resolve().is_relative_to(ROOT):
            raise RuntimeError(f"{folder.name} is taken from {module.__file__}, not from {ROOT}: look at PYTHONPATH")
    for name in ("torch", "open3d", "sapien"):
        importlib.import_module(name)


def try_ros() -> None:
    """A message from one node to another."""
    import rclpy
    import std_msgs.msg

    from udg_description.environment import prepare_environment

    prepare_environment()
    os.environ.setdefault("ROS_DOMAIN_ID", str(30 + os.getpid() % 70))
    rclpy.init(args=[])
    node = rclpy.create_node("udg_setup")
    heard: list[str] = []
    node.create_subscription(std_msgs.msg.String, "~/hello", lambda message: heard.append(message.data), 1)
    publisher = node.create_publisher(std_msgs.msg.String, "~/hello", 1)
    end_s = time.monotonic() + PATIENCE_S
    while not heard and time.monotonic() < end_s:
        publisher.publish(std_msgs.msg.String(data="hello"))
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    rclpy.shutdown()
    if not heard:
        rmw = os.environ.get("RMW_IMPLEMENTATION")
        raise RuntimeError(f"ROS ({rmw}) passes no messages on this machine: is a firewall in the way?")


def try_scripts() -> None:
    """A script of the workspace and one of the virtual environment, by their first lines."""
    scripts = [ROOT / "install/udg_policy/lib/udg_policy/udg_train", Path(sys.executable).parent / "colcon"]
    for script in scripts:
        done = subprocess.run([str(script), "--help"], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{script} does not start: {(done.stderr.strip() or '?').splitlines()[-1]}")


def main() -> int:
    """Run all; 1 and one line when something does not work."""
    for part in (try_packages, try_ros, try_scripts):
        try:
            part()
        except Exception as error:  # whatever does not work, in a line
            print(f"[setup] {part.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
