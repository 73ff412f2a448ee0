"""The SROS2 policy: each node, each command of the docs and RViz may open what it needs, and nobody more.

With `Enforce` a node that opens a topic or service without permission does not start.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
import yaml

from udg_bringup.graph import frames_graph, rviz_graph
from udg_bringup.real_graph import KNOWN_NODES
from udg_description.camera import DEFAULT_CAMERAS

REPOSITORY = Path(__file__).parents[3]
POLICY = REPOSITORY / "config" / "sros2_policy.xml"
NODES = set(KNOWN_NODES) - {"scene_cameras"}  # which stands in for cameras, without a robot
OF_ROS = {"/rosout", "/parameter_events", "/events/write_split"}
PARAMETERS = (
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
)
OWN_SERVICES = (*PARAMETERS, "get_type_description")


class Opened(NamedTuple):
    """What a node opens: kind "topic" or "service", verb of the policy, name."""

    kind: str
    verb: str
    name: str


def profiles() -> Iterator[tuple[str, ElementTree.Element]]:
    """Each profile with its enclave's path."""
    for enclave in ElementTree.parse(POLICY).getroot().iterfind("./enclaves/enclave"):
        for profile in enclave.iterfind("./profiles/profile"):
            yield str(enclave.get("path")), profile


def rules(profile: ElementTree.Element) -> Iterator[Opened]:
    """What a profile allows; names may be patterns."""
    for block in profile:
        for verb in ("publish", "subscribe", "reply", "request"):
            for entry in block if block.get(verb) == "ALLOW" else ():
                name = str(entry.text)
                full = name.replace("~", f"/{profile.get('node')}", 1) if name.startswith("~") else name
                yield Opened(str(entry.tag), verb, full if full.startswith("/") else f"/{full}")


def allowed(enclave: str) -> list[Opened]:
    """What the enclave may open: the keys are a process's, so the profiles of all its nodes count together."""
    return [rule for path, profile in profiles() if path == enclave for rule in rules(profile)]


def refused(enclave: str, opened: set[Opened]) -> set[Opened]:
    """What of it the enclave may not open."""
    permitted = allowed(enclave)
    return {
        wanted
        for wanted in opened
        if not any(wanted[:2] == rule[:2] and fnmatchcase(wanted.name, rule.name) for rule in permitted)
    }


def any_node(name: str, services: tuple[str, ...] = OWN_SERVICES) -> set[Opened]:
    """What each node opens by itself."""
    topics = {Opened("topic", "publish", "/rosout"), Opened("topic", "publish", "/parameter_events")}
    return topics | {Opened("service", "reply", f"/{name}/{service}") for service in services}


# --- the robot's nodes ------------------------------------------------------------------------------------------------


def test_each_node_of_the_real_robot_has_an_enclave_and_a_profile() -> None:
    assert {(f"/udg/{node}", node) for node in NODES} <= {(path, profile.get("node")) for path, profile in profiles()}


def test_the_policy_alone_sends_chunks_the_supervisor_alone_the_heartbeat_and_the_operator_alone_commands() -> None:
    who: dict[Opened, set[str]] = {}
    for path, profile in profiles():
        for rule in rules(profile):
            who.setdefault(rule, set()).add(path.rpartition("/")[2])
    assert who[Opened("topic", "publish", "/action_chunk")] == {"policy"}
    assert who[Opened("topic", "subscribe", "/action_chunk")] == {
        *("control", "supervisor"),
        *("operator", "web_view"),  # to record them, and to see them
    }
    assert who[Opened("topic", "publish", "/heartbeat")] == {"supervisor"}
    assert who[Opened("topic", "publish", "/emergency_stop")] == {"operator", "web_view"}
    requests = {rule.name: names for rule, names in who.items() if rule.verb == "request"}
    assert set.union(*requests.values()) == {"operator"}
    patterns = {rule for rule in who if rule.verb in ("publish", "request") and set(rule.name) & set("*?[")}
    assert not patterns  # a wildcard would be a hole


@pytest.mark.ros
def test_each_name_of_the_policy_is_in_the_table_of_topics_and_each_of_the_table_is_opened_at_both_ends() -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    from udg_description.ros import topics

    simulated = {topics.SIM_JOINT_COMMAND, topics.SIM_JOINT_STATES, topics.CLOCK}
    table = {topic.name for topic in topics.TOPICS if topic not in simulated}
    extra = {topics.infrared_image(camera).name for camera in DEFAULT_CAMERAS}
    named = {entry.name for entry in vars(topics).values() if isinstance(entry, topics.ServiceName)}
    services = named - {topics.SIM_RESET.name}
    published, heard, served, asked = (
        {rule.name for _, profile in profiles() for rule in rules(profile) if rule.verb == verb}
        for verb in ("publish", "subscribe", "reply", "request")
    )
    own = {name for name in published if name.endswith("/transition_event")}
    assert published - own - OF_ROS == table | extra
    assert heard - OF_ROS == table
    assert services <= served and services <= asked
    assert {name for name in asked if name.count("/") == 2} - services <= {
        f"/{node}/{service}"
        for node in ("control", "left_camera", "right_camera")
        for service in (*PARAMETERS, *LIFECYCLE)
    }


LIFECYCLE = ("change_state", "get_state", "get_available_states", "get_available_transitions", "get_transition_graph")


@pytest.mark.ros
def test_each_node_may_open_what_it_opens() -> None:
    rclpy = pytest.importorskip("rclpy", reason="needs ROS")
    from rclpy.parameter import Parameter

    from udg_bringup.checkpoints import checkpoint_folder
    from udg_bringup.ros.supervisor_node import SupervisorNode
    from udg_bringup.ros.view_node import ViewNode
    from udg_control.ros.robot_node import RobotNode
    from udg_description.ros.frames_node import FramesNode
    from udg_perception.ros.kinect_node import KinectNode
    from udg_perception.ros.perception_node import PerceptionNode
    from udg_policy.ros.policy_node import PolicyNode

    rclpy.init(args=["--ros-args", "-r", "kinect:__node:=left_camera"], domain_id=100)
    asleep = [Parameter("autostart", value=False)]
    checkpoint = [Parameter("checkpoint", value=str(checkpoint_folder("")))]
    made = [
        FramesNode(),
        RobotNode(parameter_overrides=asleep),
        KinectNode(parameter_overrides=asleep),
        PerceptionNode(),
        PolicyNode(parameter_overrides=checkpoint),
        SupervisorNode(),
        ViewNode(parameter_overrides=[Parameter("port", value=0)]),
    ]
    try:
        for node in made:
            name = node.get_name()
            opened = {Opened("topic", "publish", publisher.topic_name) for publisher in node.publishers}
            opened |= {Opened("topic", "subscribe", subscription.topic_name) for subscription in node.subscriptions}
            opened |= {
                Opened("service", "reply", "/" + service.srv_name.lstrip("/").replace("~", name))
                for service in node.services
            }
            assert len(opened) > 8  # it does open something
            assert refused(f"/udg/{name}", opened) == set(), name
    finally:
        for node in made:
            node.destroy_node()
        rclpy.try_shutdown()


# --- the operator's commands ------------------------------------------------------------------------------------------

COMMAND = re.compile(r"ros2 (?:service call|topic pub|topic echo|param set|lifecycle set|bag record) [^`#|\n]*")


def documented_commands() -> set[str]:
    """The commands of ros2 in the docs that reach for the robot's nodes."""
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    found = {match.strip() for page in pages for match in COMMAND.findall(page.read_text(encoding="utf-8"))}
    return {command for command in found if "/grasp_viewer" not in command}


def opened_by(command: str) -> set[Opened]:
    """What a command opens, by the sources of ros2cli and rosbag2 (Jazzy)."""
    _, what, verb, *words = shlex.split(command.replace("...", "std_srvs/srv/Trigger"))
    names = [word for word in words if word.startswith("/")]
    tool = any_node("_ros2cli_4711", ("get_type_description",)) | any_node("_ros2cli_daemon_42_af3", OWN_SERVICES[-1:])
    if (what, verb) == ("service", "call"):
        return tool | any_node("_ros2cli_requester_std_srvs_Trigger") | {Opened("service", "request", names[0])}
    if (what, verb) == ("topic", "pub"):
        return tool | {Opened("topic", "publish", names[0])}
    if (what, verb) == ("topic", "echo"):
        return tool | {Opened("topic", "subscribe", names[0])}
    if (what, verb) == ("param", "set"):  # its client opens all services of parameters
        return tool | {Opened("service", "request", f"{names[0]}/{service}") for service in PARAMETERS}
    if (what, verb) == ("lifecycle", "set"):  # it looks the transition's number up first
        asked = ("get_available_transitions", "change_state")
        return tool | {Opened("service", "request", f"{names[0]}/{service}") for service in asked}
    assert (what, verb) == ("bag", "record")
    recorder = any_node("rosbag2_recorder", (*OWN_SERVICES, "pause", "resume", "snapshot", "split_bagfile"))
    recorder |= {Opened("topic", "publish", "/events/write_split"), Opened("topic", "subscribe", "/parameter_events")}
    return recorder | {Opened("topic", "subscribe", name) for name in names}


def test_the_docs_show_the_commands_that_this_test_is_about() -> None:
    verbs = {" ".join(command.split()[1:3]) for command in documented_commands()}
    assert verbs == {"service call", "topic pub", "topic echo", "param set", "lifecycle set", "bag record"}


@pytest.mark.parametrize("command", sorted(documented_commands()))
def test_the_operator_may_run_each_command_of_the_docs(command: str) -> None:
    assert refused("/udg/operator", opened_by(command)) == set()


@pytest.mark.parametrize(
    "command", ["ros2 topic pub -1 /action_chunk trajectory_msgs/msg/JointTrajectory", "ros2 topic pub /heartbeat x"]
)
def test_what_is_not_the_operators_is_refused(command: str) -> None:
    assert {opened.verb for opened in refused("/udg/operator", opened_by(command))} == {"publish"}


# --- RViz -------------------------------------------------------------------------------------------------------------


def values_of(tree: object, key: str) -> Iterator[str]:
    """Each text of this key in nested YAML."""
    if isinstance(tree, dict):
        for name, inner in tree.items():
            if name == key and isinstance(inner, str):
                yield inner
            yield from values_of(inner, key)
    elif isinstance(tree, list):
        for inner in tree:
            yield from values_of(inner, key)


def test_rviz_may_open_what_it_opens() -> None:
    shown = {value for value in values_of(yaml.safe_load((REPOSITORY / "config/udg.rviz").read_text()), "Value")}
    heard = {name for name in shown if name.startswith("/")} | {"/tf", "/tf_static", "/parameter_events"}
    assert {"/robot_description", "/scene_cloud"} <= heard
    opened = {Opened("topic", "subscribe", name) for name in heard}
    for node in rviz_graph(""):
        opened |= any_node(node.name)
    opened |= any_node("transform_listener_impl_55d0", ("get_type_description",))
    assert refused("/udg/view", opened) == set()


def test_rviz_commands_nothing() -> None:
    sent = {rule.name for rule in allowed("/udg/view") if rule.verb in ("publish", "request")}
    assert sent == {"/rosout", "/parameter_events"}


def test_robot_state_publisher_may_open_what_it_opens_where_it_is_installed() -> None:
    opened = {Opened("topic", "publish", name) for name in ("/tf", "/tf_static", "/robot_description")}
    opened |= {Opened("topic", "subscribe", name) for name in ("/joint_states", "/parameter_events")}
    for node in frames_graph("", with_publisher=True):
        opened |= any_node(node.name)
    assert refused("/udg/frames", opened) == set()
