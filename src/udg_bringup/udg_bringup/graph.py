"""The one description of which nodes run with which parameters, of the simulated robot and of the real one.

The files in launch/ (one process per node) and `udg_bringup.compose` (all nodes in one process) are built from it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from udg_bringup.checkpoints import checkpoint_folder
from udg_bringup.parameter_files import Value, read_parameter_file
from udg_description.errors import UdgError
from udg_description.robot import current_robot

DEFAULT_PORT = 8080
"""Of the view in the browser, at 127.0.0.1."""

POLICIES = ("checkpoint", "planner")
"""Who acts: a trained policy; or the planner, which knows the object, needs no training and runs in lockstep alone."""
PLANNING_DEADLINE_S = 600.0
"""How long control waits for the planner's first chunk [s]."""
LOCKSTEP_DEADLINE_S = 60.0
"""How long control waits for a chunk in lockstep [s]: a slow machine must give the same result as a fast one."""


@dataclass(frozen=True, kw_only=True)
class NodeDescription:
    """One node: how to start it as an executable and how to load it as a class."""

    name: str
    package: str
    executable: str  # console script of the package
    module: str = ""  # importable module that holds the class; "" = not to be composed
    class_name: str = ""  # subclass of rclpy.node.Node without constructor arguments
    arguments: tuple[str, ...] = ()  # further words of the executable's command line
    parameters: Mapping[str, Value] = field(default_factory=dict)
    remaps: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1  # that its executor needs
    is_node: bool = True  # False: a plain process, `python -m module arguments`
    apart: bool = False  # always in its own process, whose end ends nothing else

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        object.__setattr__(self, "remaps", MappingProxyType(dict(self.remaps)))


@dataclass(frozen=True, kw_only=True)
class ViewChoice:
    """Whether and how a graph is shown in the browser."""

    show: bool = False
    port: int = DEFAULT_PORT  # at 127.0.0.1
    allow_commands: bool = False  # buttons that start and stop; the emergency stop is always there


@dataclass(frozen=True, kw_only=True)
class SimGraphConfig:
    """What can be chosen of the simulated graph; everything else is the node's own default."""

    policy: str = "checkpoint"  # one of POLICIES
    checkpoint: str = ""  # folder of the policy's checkpoint, "" = the shipped one
    object: str = "soda_can"  # library id or path.obj@0.1 of the first trial
    seed: int = 0
    trial: int = 0
    lockstep: bool = True  # the simulation waits for each command; False = real time
    noise: bool = True  # Kinect-like depth noise
    autostart: bool = True  # False: the simulation stands still until /sim/reset
    command_deadline_s: float = 5.0  # lockstep: a later command is reported and its state repeated
    trial_time_s: float = 0.0  # the lockstep simulation halts after so much simulated time, 0 = never
    camera_config: str = ""  # file of the cameras that are simulated, "" = the default cameras
    with_publisher: bool = False  # robot_state_publisher is installed: it publishes the robot's frames
    view: ViewChoice = field(default_factory=ViewChoice)
    settings: str = ""  # ROS parameter file for the nodes, "" = their defaults

    def __post_init__(self) -> None:
        """Check what goes together. Raises UdgError."""
        if self.policy not in POLICIES:
            raise UdgError(f"policy '{self.policy}' does not exist; valid: {', '.join(POLICIES)}")
        if self.policy == "planner" and not self.lockstep:
            raise UdgError("the planner as policy runs in lockstep only: it plans too long for real time")


def sim_graph(config: SimGraphConfig) -> tuple[NodeDescription, ...]:
    """Nodes of the simulated robot; the simulation comes last, when its neighbours listen already. Raises UdgError."""
    nodes = (
        *frames_graph(config.camera_config, with_publisher=config.with_publisher),
        *view_graph(config.view, config.camera_config, simulated=True, object_name=config.object, seed=config.seed),
        perception_node({"lockstep": config.lockstep, "camera_config": config.camera_config}),
        _policy(config),
        NodeDescription(
            name="control",
            package="udg_control",
            executable="control_node",
            module="udg_control.ros.control_node",
            class_name="ControlNode",
            parameters={
                "lockstep": config.lockstep,
                "chunk_deadline_s": PLANNING_DEADLINE_S if config.policy == "planner" else LOCKSTEP_DEADLINE_S,
            },
        ),
        NodeDescription(
            name="sim",
            package="udg_sim",
            executable="sim_node",
            module="udg_sim.ros.sim_node",
            class_name="SimNode",
            parameters={
                "object": config.object,
                "seed": config.seed,
                "trial": config.trial,
                "lockstep": config.lockstep,
                "noise": config.noise,
                "autostart": config.autostart,
                "trial_time_s": config.trial_time_s,
                "command_deadline_s": config.command_deadline_s,
                "camera_config": config.camera_config,
            },
        ),
    )
    return _with_settings(nodes, Path(config.settings)) if config.settings else nodes


def _with_settings(nodes: tuple[NodeDescription, ...], path: Path) -> tuple[NodeDescription, ...]:
    """Give the nodes the file's parameters. Raises UdgError for one that an argument of the graph sets."""
    sections = read_parameter_file(path, [node.name for node in nodes])
    for node in nodes:
        for name in sections.get(node.name, {}):
            if name in node.parameters:
                raise UdgError(f"{path}: {node.name}: {name} is set by the graph; valid: its argument of that name")
    return tuple(replace(node, parameters={**node.parameters, **sections.get(node.name, {})}) for node in nodes)


def _policy(config: SimGraphConfig) -> NodeDescription:
    if config.policy == "planner":
        return NodeDescription(
            name="policy",
            package="udg_bringup",
            executable="planner_node",
            module="udg_bringup.ros.planner_node",
            class_name="PlannerNode",
        )
    return policy_node(config.checkpoint, {"lockstep": config.lockstep})


def perception_node(parameters: Mapping[str, Value]) -> NodeDescription:
    """What turns depth images into the scene cloud."""
    return NodeDescription(
        name="perception",
        package="udg_perception",
        executable="perception_node",
        module="udg_perception.ros.perception_node",
        class_name="PerceptionNode",
        parameters=parameters,
    )


def policy_node(checkpoint: str, parameters: Mapping[str, Value] | None = None) -> NodeDescription:
    """A trained policy: the checkpoint's folder ("": the shipped one), further parameters. Raises UdgError."""
    return NodeDescription(
        name="policy",
        package="udg_policy",
        executable="policy_node",
        module="udg_policy.ros.policy_node",
        class_name="PolicyNode",
        parameters={"checkpoint": str(checkpoint_folder(checkpoint)), **(parameters or {})},
    )


def frames_graph(camera_config: str, *, with_publisher: bool = False) -> tuple[NodeDescription, ...]:
    """Who publishes /tf, /tf_static and /robot_description, with the cameras of the file ("": the default ones).

    `with_publisher`: robot_state_publisher is installed and has the robot's frames; else our own node has them, too.
    """
    frames = NodeDescription(
        name="frames",
        package="udg_description",
        executable="frames_node",
        module="udg_description.ros.frames_node",
        class_name="FramesNode",
        parameters={"camera_config": camera_config, "robot": not with_publisher},
    )
    if not with_publisher:
        return (frames,)
    publisher = NodeDescription(
        name="robot_state_publisher",
        package="robot_state_publisher",
        executable="robot_state_publisher",
        parameters={"robot_description": current_robot().urdf.read_text(encoding="utf-8")},
    )
    return (publisher, frames)


def view_graph(
    choice: ViewChoice, camera_config: str, *, simulated: bool, object_name: str = "", seed: int = 0
) -> tuple[NodeDescription, ...]:
    """The view in the browser, if it is wanted."""
    if not choice.show:
        return ()
    return (
        NodeDescription(
            name="web_view",
            package="udg_bringup",
            executable="view_node",
            module="udg_bringup.ros.view_node",
            class_name="ViewNode",
            parameters={
                "port": choice.port,
                "simulated": simulated,
                "allow_commands": choice.allow_commands,
                "camera_config": camera_config,
                "object": object_name,
                "seed": seed,
            },
            apart=True,
        ),
    )


def rviz_graph(rviz_file: str) -> tuple[NodeDescription, ...]:
    """RViz, of a full ROS installation; the graph goes on when it is closed."""
    rviz = NodeDescription(name="rviz", package="rviz2", executable="rviz2", arguments=("-d", rviz_file), apart=True)
    return (rviz,)


def process_environment() -> dict[str, str]:
    """Environment variables for nodes in their own processes; what the user has set already stays.

    Discovery and sockets stay on this host unless ROS_AUTOMATIC_DISCOVERY_RANGE (Humble: ROS_LOCALHOST_ONLY) says else.
    """
    local = "ROS_LOCALHOST_ONLY" if os.environ.get("ROS_DISTRO") == "humble" else "ROS_AUTOMATIC_DISCOVERY_RANGE"
    here_alone = {"ROS_LOCALHOST_ONLY": "1", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}[local]
    profile = "fastdds_local.xml" if os.environ.get(local, here_alone) == here_alone else "fastdds.xml"
    wanted = {local: here_alone, "FASTRTPS_DEFAULT_PROFILES_FILE": str(files("udg_bringup") / "data" / profile)}
    return {name: value for name, value in wanted.items() if name not in os.environ}


def parameter_file(nodes: tuple[NodeDescription, ...]) -> dict[str, Any]:
    """Content of a ROS parameter file (YAML) with one section per node that has parameters."""
    return {node.name: {"ros__parameters": dict(node.parameters)} for node in nodes if node.parameters}
