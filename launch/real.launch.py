"""The real robot: `ros2 launch udg_bringup real.launch.py [use_emulators:=true] [dry_run:=true]`.

Which nodes run with which parameters is said in udg_bringup.real_graph and config/*.yaml; this file has the arguments.
It comes up disabled: nothing moves before the service /control/enable.
"""

import sys
from pathlib import Path
from typing import get_args

from ament_index_python.packages import get_package_share_directory, get_packages_with_prefixes
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from udg_bringup.ending import TIME_TO_STOP_S
from udg_bringup.graph import DEFAULT_PORT, NodeDescription, ViewChoice, process_environment, rviz_graph
from udg_bringup.launch_arguments import BOOLEANS, PACKAGES, check_arguments, is_included, view_port
from udg_bringup.real_graph import CAMERA_TOPICS, Cameras, RealGraphConfig, real_graph
from udg_control.hardware import Arms
from udg_description.files import optional_path, user_path

ARGUMENTS = [
    DeclareLaunchArgument(
        "use_emulators", default_value="false", choices=BOOLEANS, description="emulated devices instead of the hardware"
    ),
    DeclareLaunchArgument("dry_run", default_value="false", choices=BOOLEANS, description="do everything but send"),
    DeclareLaunchArgument("policy", default_value="true", choices=BOOLEANS, description="false: no policy node"),
    DeclareLaunchArgument(
        "arms",
        default_value="",
        choices=["", *get_args(Arms)],
        description="ur: ur_rtde; ros2_control: controllers that another launch file runs; '': as robot.yaml says",
    ),
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        choices=["", *get_args(Cameras)],
        description="'': kinect, or with emulators the simulated scene; topics: any driver of depth cameras",
    ),
    *(
        DeclareLaunchArgument(argument, default_value="", description=f"with cameras:=topics; '': {ours}")
        for argument, ours in CAMERA_TOPICS.items()
    ),
    DeclareLaunchArgument("recordings", default_value="", description="for playback: folder of left.mkv and right.mkv"),
    DeclareLaunchArgument("checkpoint", default_value="", description="folder of the policy; '' = the shipped"),
    DeclareLaunchArgument("config", default_value="", description="folder of the YAML files; '' = the shipped"),
    DeclareLaunchArgument("settings", default_value="", description="a further ROS parameter file, on top of those"),
    DeclareLaunchArgument("left_host", default_value="", description="address of the left arm; '' = of robot.yaml"),
    DeclareLaunchArgument("right_host", default_value="", description="address of the right arm; '' = of robot.yaml"),
    DeclareLaunchArgument("emulator_log", default_value="", description="file for the log of the emulated arms"),
    DeclareLaunchArgument("view", default_value="false", choices=BOOLEANS, description="show it in the browser"),
    DeclareLaunchArgument("view_port", default_value=str(DEFAULT_PORT), description="of the page at 127.0.0.1"),
    DeclareLaunchArgument(
        "view_commands",
        default_value="",
        choices=["", *BOOLEANS],
        description="start and stop buttons besides the emergency stop; '': with emulators",
    ),
    DeclareLaunchArgument("rviz", default_value="false", choices=BOOLEANS, description="with RViz"),
]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments; the nodes follow from their values."""
    environment = (SetEnvironmentVariable(name, value) for name, value in process_environment().items())
    return LaunchDescription([*ARGUMENTS, *environment, OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    known = [argument.name for argument in ARGUMENTS]
    by_a_launch_file = "current_launch_file_path" in context.get_locals_as_dict()
    included = by_a_launch_file and is_included(Path(__file__), PACKAGES, sys.argv)
    warnings = check_arguments(context.launch_configurations, known, included=included)
    value = {name: LaunchConfiguration(name).perform(context) for name in known}
    share = Path(get_package_share_directory("udg_bringup")) / "config"
    config = RealGraphConfig(
        config=user_path(value["config"]) if value["config"] else share,
        use_emulators=value["use_emulators"] == "true",
        dry_run=value["dry_run"] == "true",
        policy=value["policy"] == "true",
        arms=value["arms"],
        cameras=value["cameras"],
        camera_topics={ours: value[argument] for argument, ours in CAMERA_TOPICS.items()},
        recordings=user_path(value["recordings"]) if value["recordings"] else None,
        checkpoint=optional_path(value["checkpoint"]),
        hosts={"left": value["left_host"], "right": value["right_host"]},
        emulator_log=optional_path(value["emulator_log"]),
        settings=user_path(value["settings"]) if value["settings"] else None,
        view=ViewChoice(
            show=value["view"] == "true",
            port=view_port(value["view_port"]),
            allow_commands=(value["view_commands"] or value["use_emulators"]) == "true",
        ),
        with_publisher="robot_state_publisher" in get_packages_with_prefixes(),
    )
    nodes = real_graph(config)
    if value["rviz"] == "true":
        nodes += rviz_graph(str(share / "udg.rviz"))
    return [*(LogInfo(msg=warning) for warning in warnings), *(_action(node) for node in nodes)]


def _action(node: NodeDescription) -> LaunchDescriptionEntity:
    on_exit = None if node.apart else Shutdown(reason=f"{node.name} ended")
    if not node.is_node:
        command = [sys.executable, "-m", node.module, *node.arguments]
        return ExecuteProcess(
            cmd=command, name=node.name, output="screen", on_exit=on_exit, sigterm_timeout=str(TIME_TO_STOP_S)
        )
    return Node(
        name=node.name,
        package=node.package,
        executable=node.executable,
        parameters=[dict(node.parameters)] if node.parameters else [],
        remappings=list(node.remaps.items()),
        arguments=list(node.arguments),
        output="screen",
        on_exit=on_exit,
        sigterm_timeout=str(TIME_TO_STOP_S),
    )
