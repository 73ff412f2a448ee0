"""Which nodes make the real robot, and with which parameters: config/*.yaml, then the arguments of the launch file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from udg_bringup.graph import NodeDescription, ViewChoice, frames_graph, perception_node, policy_node, view_graph
from udg_bringup.parameter_files import Value, read_parameter_file
from udg_control.hardware import Arms, check_arms, check_hands
from udg_control.xhand.config import EMULATED_SDK
from udg_description.camera import DEFAULT_CAMERAS, cameras_of, short_name
from udg_description.errors import UdgError
from udg_description.layout import SIDES

PARAMETER_FILES = ("robot.yaml", "safety.yaml")
EMULATION_FILE = "emulation.yaml"  # on top of them when devices are emulated
CAMERA_FILE = "cameras.yaml"
EMULATED_HOST = {"left": "127.0.0.1", "right": "127.0.0.2"}
CAMERA_TOPICS = {
    f"{short_name(camera)}_{argument}": f"/{camera}/depth/{name}"
    for camera in DEFAULT_CAMERAS
    for argument, name in (("depth_topic", "image_raw"), ("info_topic", "camera_info"))
}
"""Our names of what the default cameras publish, by the argument of the launch file that gives another."""
OF_THE_GRAPH = frozenset({"camera_config", "camera", "cameras", "camera_names", "policy", "robot", "simulated"})
"""Parameters that follow from which nodes there are: no file can set them."""
Cameras = Literal["kinect", "femto_bolt", "topics", "playback", "scene", "none"]


class RealGraphError(UdgError):
    """An argument or a file of the real robot's graph that can't be used."""


@dataclass(frozen=True, kw_only=True)
class RealGraphConfig:
    """What can be chosen of the real robot's graph; everything else is in the files of `config`."""

    config: Path  # folder of robot.yaml, safety.yaml and cameras.yaml
    use_emulators: bool = False  # emulated controllers, hands and cameras instead of the hardware
    dry_run: bool = False  # everything but send
    policy: bool = True  # False: no policy node, for the first motions
    arms: Arms | Literal[""] = ""  # "": what robot.yaml says
    cameras: Cameras | Literal[""] = ""  # "": kinect, or with emulators the simulated scene
    camera_topics: Mapping[str, str] = field(default_factory=dict)  # cameras "topics": other names by our own
    recordings: Path | None = None  # cameras "playback": folder of left.mkv and right.mkv
    checkpoint: str = ""  # folder of the policy's checkpoint, "" = the shipped one
    hosts: Mapping[str, str] = field(default_factory=dict)  # addresses of the arms by side, "" = those of robot.yaml
    emulator_log: str = ""  # file of the emulated controllers' log, "" = none
    with_publisher: bool = False  # robot_state_publisher is installed: it publishes the robot's frames
    view: ViewChoice = field(default_factory=ViewChoice)  # in the browser
    settings: Path | None = None  # a further ROS parameter file, on top of those of `config`

    def __post_init__(self) -> None:
        """Check the choices. Raises RealGraphError."""
        if self.cameras and self.cameras not in get_args(Cameras):
            raise RealGraphError(f"cameras is '{self.cameras}'; valid: {', '.join(get_args(Cameras))}")
        if self.arms and self.arms not in get_args(Arms):
            raise RealGraphError(f"arms is '{self.arms}'; valid: {', '.join(get_args(Arms))}")
        given = {name: other for name, other in self.camera_topics.items() if other}
        if given and self.cameras != "topics":
            raise RealGraphError(f"topics of cameras are given, and cameras is '{self.cameras}'; valid: topics")
        if len(set(given.values())) < len(given):
            raise RealGraphError("two camera topics have the same name; valid: depth and info of each camera")
        for name in (*self.parameter_files, CAMERA_FILE):
            if not (self.config / name).is_file():
                raise RealGraphError(f"there is no {self.config / name}; it must be in the configuration folder")
        ours = [f"/{name}/depth/{topic}" for name in self.camera_names for topic in ("image_raw", "camera_info")]
        unknown = sorted(set(given) - set(ours))
        if unknown:
            raise RealGraphError(f"no camera topic '{unknown[0]}'; valid: {', '.join(ours)}")
        if self.recordings is not None and self.cameras != "playback":
            raise RealGraphError(f"recordings are given, and cameras is '{self.cameras}'; valid: playback")
        for name in self.camera_names if self.cameras == "playback" else ():
            if self.recordings is None or not (self.recordings / f"{short_name(name)}.mkv").is_file():
                raise RealGraphError(f"recordings is '{self.recordings}'; valid: a folder with {short_name(name)}.mkv")

    @cached_property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras, as cameras.yaml has them."""
        return tuple(camera.name for camera in cameras_of(self.config / CAMERA_FILE))

    @property
    def parameter_files(self) -> tuple[str, ...]:
        """Names of the parameter files; a later one goes before an earlier one."""
        return (*PARAMETER_FILES, EMULATION_FILE) if self.use_emulators else PARAMETER_FILES

    @cached_property
    def sections(self) -> Mapping[str, Mapping[str, Value]]:
        """Parameters of all files by node, those of `settings` on top. Raises RealGraphError."""
        sections: dict[str, dict[str, Value]] = {}
        paths = [self.config / name for name in self.parameter_files]
        for path in (*paths, *(() if self.settings is None else (self.settings,))):
            for name, parameters in read_parameters(path, self.camera_names).items():
                taken = sorted(set(parameters) & OF_THE_GRAPH)
                if taken:
                    raise RealGraphError(f"{path}: {name}: {taken[0]} is set by the graph; valid: its arguments")
                sections.setdefault(name, {}).update(parameters)
        return sections

    def told(self, node: str, name: str) -> Value | None:
        """A parameter of a node by the files."""
        return self.sections.get(node, {}).get(name)

    @property
    def moves(self) -> bool:
        """Whether real arms move."""
        dry = self.dry_run or self.told("control", "loop.dry_run") is True
        return not (self.use_emulators or dry or _arms(self) == "simulated")

    @property
    def camera_source(self) -> Cameras:
        """Where the depth images come from."""
        return self.cameras or ("scene" if self.use_emulators else "kinect")


def _hands(config: RealGraphConfig) -> str:
    """What drives the hands, by the files."""
    return str(config.told("control", "hardware.hands") or "xhand")


def _arms(config: RealGraphConfig) -> str:
    """What drives the arms: the argument, else the files. Raises RealGraphError where an address has no use."""
    arms = str(config.arms or config.told("control", "hardware.arms") or "ur")
    given = [side for side in SIDES if config.hosts.get(side, "")]
    if given and arms != "ur":
        raise RealGraphError(f"{given[0]}_host is given, and arms is '{arms}'; valid: no address, or arms 'ur'")
    return arms


def real_graph(config: RealGraphConfig) -> tuple[NodeDescription, ...]:
    """Nodes and processes of the real robot; emulators come first. Raises UdgError."""
    check_arms(_arms(config))
    check_hands(_hands(config))
    _check_images(config)
    frames = frames_graph(str(config.config / CAMERA_FILE), with_publisher=config.with_publisher)
    nodes = [*_emulators(config), *frames, _control(config), *_cameras(config)]
    if config.camera_source != "none":
        nodes.append(perception_node({"camera_config": str(config.config / CAMERA_FILE)}))
    if config.policy:
        nodes.append(policy_node(config.checkpoint or str(config.told("policy", "checkpoint") or "")))
    nodes.append(_supervisor(config))
    nodes = [dataclasses.replace(node, remaps={**node.remaps, **_camera_remaps(config)}) for node in nodes]
    nodes += view_graph(config.view, str(config.config / CAMERA_FILE), simulated=False)
    return _with_files(tuple(nodes), config.sections)


def _check_images(config: RealGraphConfig) -> None:
    """Raise RealGraphError for images that do not see the arms that move."""
    if not config.moves:
        return
    why = "does not see these arms move; valid: with use_emulators or dry_run"
    if config.camera_source in ("playback", "scene"):
        raise RealGraphError(f"cameras is '{config.camera_source}', which {why}")
    for name in config.camera_names if config.camera_source in ("kinect", "femto_bolt") else ():
        if recording := config.told(name, "playback"):
            raise RealGraphError(f"{name}: playback is '{recording}', which {why}")


def _camera_remaps(config: RealGraphConfig) -> dict[str, str]:
    return {name: other for name, other in config.camera_topics.items() if other}


def _emulators(config: RealGraphConfig) -> list[NodeDescription]:
    arms = _arms(config)
    if not config.use_emulators or arms == "simulated":
        return []
    if arms == "ros2_control":
        return [
            NodeDescription(
                name="fake_controllers",
                package="udg_control",
                executable="fake_controllers",
                module="udg_control.ros.fake_controllers",
                is_node=False,
            )
        ]
    log = ("--log", config.emulator_log) if config.emulator_log else ()
    hosts = [word for side in SIDES for word in (f"--{side}", _host(config, side))]
    return [
        NodeDescription(
            name="ur_emulators",
            package="udg_control",
            executable="ur_emulator",
            module="udg_control.emulators.ur",
            arguments=(*hosts, *log, "--real-time"),
            is_node=False,
        )
    ]


def _host(config: RealGraphConfig, side: str) -> str:
    return config.hosts.get(side, "") or (EMULATED_HOST[side] if config.use_emulators else "")


def _control(config: RealGraphConfig) -> NodeDescription:
    parameters: dict[str, Value] = {"loop.dry_run": True} if config.dry_run else {}
    if config.arms:
        parameters["hardware.arms"] = config.arms
    for side in SIDES:
        if _host(config, side):
            parameters[f"hardware.{side}_arm.host"] = _host(config, side)
    if config.use_emulators:
        parameters.update({f"hardware.{side}_hand.sdk_module": EMULATED_SDK for side in SIDES})
    return NodeDescription(
        name="control",
        package="udg_control",
        executable="robot_node",
        module="udg_control.ros.robot_node",
        class_name="RobotNode",
        parameters=parameters,
        threads=4,
    )


def _cameras(config: RealGraphConfig) -> list[NodeDescription]:
    camera_config = str(config.config / CAMERA_FILE)
    if config.camera_source == "scene":
        return [
            NodeDescription(
                name="scene_cameras",
                package="udg_bringup",
                executable="scene_camera_node",
                module="udg_bringup.ros.scene_camera_node",
                class_name="SceneCameraNode",
                parameters={"camera_config": camera_config},
            )
        ]
    if config.camera_source in ("kinect", "femto_bolt", "playback"):
        return [
            NodeDescription(
                name=name,
                package="udg_perception",
                executable="kinect_node",
                module="udg_perception.ros.kinect_node",
                class_name="KinectNode",
                parameters={"camera": name, **_source(config, name)},
            )
            for name in config.camera_names
        ]
    return []


def _source(config: RealGraphConfig, camera: str) -> dict[str, Value]:
    if config.camera_source == "femto_bolt":
        return {"model": "femto_bolt"}
    if config.camera_source != "playback":
        return {}
    path = (config.recordings or Path()) / f"{short_name(camera)}.mkv"
    return {"playback": str(path), "loop": True, "wired_sync": "standalone"}


def _supervisor(config: RealGraphConfig) -> NodeDescription:
    has_cameras = config.camera_source != "none"
    return NodeDescription(
        name="supervisor",
        package="udg_bringup",
        executable="supervisor_node",
        module="udg_bringup.ros.supervisor_node",
        class_name="SupervisorNode",
        parameters={
            "cameras": has_cameras,
            "camera_names": list(config.camera_names),
            "policy": config.policy and has_cameras,
        },
    )


# --- parameter files --------------------------------------------------------------------------------------------------


def _with_files(
    nodes: tuple[NodeDescription, ...], sections: Mapping[str, Mapping[str, Value]]
) -> tuple[NodeDescription, ...]:
    """Give the nodes the parameters of the files; those that a node has already, by an argument, go before.

    A section of a node that could be in this graph, but isn't, is skipped.
    """
    return tuple(
        dataclasses.replace(node, parameters={**sections.get(node.name, {}), **node.parameters})
        if node.is_node
        else node
        for node in nodes
    )


KNOWN_NODES = (
    "frames",
    "web_view",
    "control",
    "scene_cameras",
    "perception",
    "policy",
    "supervisor",
)


def read_parameters(path: Path, cameras: Sequence[str] = DEFAULT_CAMERAS) -> dict[str, dict[str, Value]]:
    """The parameters of a file, by node, with dotted names. Raises RealGraphError, also for unknown nodes."""
    return read_parameter_file(path, (*KNOWN_NODES, *cameras), RealGraphError)
