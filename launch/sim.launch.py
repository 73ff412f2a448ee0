"""The simulated robot with perception, policy and control: `ros2 launch udg_sim sim.launch.py`.

Which nodes run with which parameters is said in udg_bringup.graph; this file has the arguments.
"""

import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory, get_packages_with_prefixes
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from udg_bringup.ending import TIME_TO_STOP_S
from udg_bringup.graph import (
    DEFAULT_PORT,
    NodeDescription,
    SimGraphConfig,
    ViewChoice,
    process_environment,
    rviz_graph,
    sim_graph,
)
from udg_bringup.launch_arguments import (
    BOOLEANS,
    PACKAGES,
    LaunchArgumentError,
    check_arguments,
    is_included,
    view_port,
)
from udg_description.files import optional_path

DEFAULT = SimGraphConfig()
ARGUMENTS = [
    DeclareLaunchArgument("checkpoint", default_value="", description="folder of the policy; '' = the shipped"),
    DeclareLaunchArgument("object", default_value=DEFAULT.object, description="library id or path.obj@0.1"),
    DeclareLaunchArgument("seed", default_value=str(DEFAULT.seed), description="placement and noise, >= 0"),
    DeclareLaunchArgument(
        "lockstep", default_value="false", choices=BOOLEANS, description="step only when the command has come"
    ),
    DeclareLaunchArgument("noise", default_value="true", choices=BOOLEANS, description="noise on depth images"),
    DeclareLaunchArgument("camera_config", default_value="", description="file of the cameras; '' = the shipped"),
    DeclareLaunchArgument("settings", default_value="", description="ROS parameter file for the nodes"),
    DeclareLaunchArgument("view", default_value="false", choices=BOOLEANS, description="show it in the browser"),
    DeclareLaunchArgument("view_port", default_value=str(DEFAULT_PORT), description="of the page at 127.0.0.1"),
    DeclareLaunchArgument("rviz", default_value="false", choices=BOOLEANS, description="with RViz"),
]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; the nodes follow from their values."""
    environment = (SetEnvironmentVariable(name, value) for name, value in process_environment().items())
    return LaunchDescription([*ARGUMENTS, *environment, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    known = [argument.name for argument in ARGUMENTS]
    by_a_launch_file = "current_launch_file_path" in context.get_locals_as_dict()
    included = by_a_launch_file and is_included(Path(__file__), PACKAGES, sys.argv)
    warnings = check_arguments(context.launch_configurations, known, included=included)
    value = {name: LaunchConfiguration(name).perform(context) for name in known}
    if not value["seed"].isdecimal():
        raise LaunchArgumentError(f"argument seed:={value['seed']}; valid: a whole number, 0 or more")
    share = Path(get_package_share_directory("udg_sim")) / "config"
    config = SimGraphConfig(
        checkpoint=optional_path(value["checkpoint"]),
        object=value["object"],
        seed=int(value["seed"]),
        lockstep=value["lockstep"] == "true",
        noise=value["noise"] == "true",
        camera_config=optional_path(value["camera_config"]) or str(share / "cameras.yaml"),
        view=ViewChoice(show=value["view"] == "true", port=view_port(value["view_port"]), allow_commands=True),
        settings=optional_path(value["settings"]),
        with_publisher="robot_state_publisher" in get_packages_with_prefixes(),
    )
    nodes = sim_graph(config)
    if value["rviz"] == "true":
        nodes += rviz_graph(str(share / "udg.rviz"))
    return [*(LogInfo(msg=warning) for warning in warnings), *(_action(node) for node in nodes)]


def _action(node: NodeDescription) -> Node:
    return Node(
        name=node.name,
        package=node.package,
        executable=node.executable,
        parameters=[dict(node.parameters)] if node.parameters else [],
        remappings=list(node.remaps.items()),
        arguments=list(node.arguments),
        output="screen",
        on_exit=None if node.apart else Shutdown(reason=f"node {node.name} ended"),
        sigterm_timeout=str(TIME_TO_STOP_S),
    )
