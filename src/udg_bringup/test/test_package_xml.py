"""Each package.xml names what its package imports and starts, by keys that rosdep resolves on Ubuntu and Debian."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from udg_bringup.graph import SimGraphConfig, frames_graph, rviz_graph, sim_graph
from udg_bringup.real_graph import RealGraphConfig, real_graph

REPOSITORY = Path(__file__).parents[3]
PACKAGES = sorted(path.name for path in (REPOSITORY / "src").iterdir() if (path / "package.xml").is_file())
# import -> key, each looked up in rosdistro's rosdep/python.yaml. What rosdep has through pip alone, too old (torch) or
# not for Ubuntu 24.04 (open3d) is left to setup.cfg.
ROSDEP_KEYS = {
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "h5py": "python3-h5py",
    "imageio": "python3-imageio",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
# packages of the ROS distribution, each looked up in rosdistro's jazzy/distribution.yaml
ROS_PACKAGES = {
    "ament_index_python",
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "lifecycle_msgs",
    "rcl_interfaces",
    "rclpy",
    "robot_state_publisher",
    "ros2launch",
    "rosgraph_msgs",
    "rviz2",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "tf2_msgs",
    "trajectory_msgs",
    "visualization_msgs",
}


def declared(package: str) -> set[str]:
    root = ElementTree.parse(REPOSITORY / "src" / package / "package.xml").getroot()
    return {str(entry.text) for tag in ("exec_depend", "depend") for entry in root.iterfind(tag)}


def imported(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_imports_is_declared(package: str) -> None:
    modules = set(imported(REPOSITORY / "src" / package / package))
    if package == "udg_bringup":
        modules |= set(imported(REPOSITORY / "launch"))
    known = ROS_PACKAGES | set(PACKAGES) - {package}
    needed = {ROSDEP_KEYS[module] for module in modules if module in ROSDEP_KEYS} | modules & known
    assert needed - declared(package) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_declared_is_a_key_that_rosdep_or_this_workspace_knows(package: str) -> None:
    assert declared(package) - set(ROSDEP_KEYS.values()) - ROS_PACKAGES - set(PACKAGES) == set()


def test_what_the_launch_files_start_is_declared() -> None:
    config = REPOSITORY / "config"
    nodes = [
        *sim_graph(SimGraphConfig(checkpoint="any")),
        *real_graph(RealGraphConfig(config=config, checkpoint="any", use_emulators=True)),
        *real_graph(RealGraphConfig(config=config, checkpoint="any")),
        *frames_graph("", with_publisher=True),
        *rviz_graph(""),
    ]
    assert {node.package for node in nodes} - {"udg_bringup"} <= declared("udg_bringup")


def test_no_import_of_ros_goes_unseen() -> None:
    """What a node imports is Python's, ours, of PyPI (in setup.cfg), or in the tables above."""
    seen = {module for package in PACKAGES for module in imported(REPOSITORY / "src" / package / package / "ros")}
    unknown = seen - set(sys.stdlib_module_names) - ROS_PACKAGES - set(PACKAGES) - set(ROSDEP_KEYS) - {"torch"}
    assert unknown == set()
