"""The real robot's graph: what it is made of, where its parameters come from, and what it refuses."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import yaml

from udg_bringup.graph import NodeDescription, ViewChoice
from udg_bringup.real_graph import RealGraphConfig, RealGraphError, read_parameters, real_graph
from udg_control.hardware import HardwareConfig
from udg_control.ur import UrArmConfig
from udg_description.camera import cameras_yaml, default_cameras
from udg_policy.inference.retry import RetryConfig

CONFIG = Path(__file__).parents[3] / "config"
CHECKPOINT = "some/checkpoint"


def graph(**choices: object) -> dict[str, NodeDescription]:
    given = {"config": CONFIG, "checkpoint": CHECKPOINT, **choices}
    return {node.name: node for node in real_graph(RealGraphConfig(**given))}


def test_the_hardware_graph_has_frames_cameras_perception_policy_control_and_supervisor() -> None:
    nodes = graph()
    cameras = {"left_camera", "right_camera"}
    assert set(nodes) == {"frames", "control", *cameras, "perception", "policy", "supervisor"}
    assert all(node.is_node for node in nodes.values())
    assert nodes["control"].parameters["hardware.left_arm.host"] == "192.168.1.11"
    assert "loop.dry_run" not in nodes["control"].parameters  # the node's default: it sends


def test_it_starts_slow_latching_and_with_a_heartbeat() -> None:
    control = graph()["control"].parameters
    assert control["controller.speed_scale"] <= 0.3
    assert control["controller.safety.velocity_scale"] <= 0.5
    assert control["controller.latch"] is True
    assert control["controller.heartbeat_timeout_s"] > 0.0
    assert control["controller.safety.collision.enabled"] is True


@pytest.mark.parametrize("emulated", [False, True])
def test_a_second_attempt_waits_as_long_as_the_robot_is_slow(emulated: bool) -> None:
    nodes = graph(use_emulators=emulated)
    slower = nodes["control"].parameters["controller.speed_scale"]
    assert nodes["policy"].parameters["retry.after_s"] * slower == pytest.approx(RetryConfig().after_s)


def test_with_emulators_no_address_of_the_hardware_is_left() -> None:
    nodes = graph(use_emulators=True)
    assert not nodes["ur_emulators"].is_node
    assert "scene_cameras" in nodes and "left_camera" not in nodes
    for side in ("left", "right"):
        host = str(nodes["control"].parameters[f"hardware.{side}_arm.host"])
        assert host.startswith("127.") and host in nodes["ur_emulators"].arguments


def test_the_camera_file_says_which_cameras_the_graph_has(tmp_path: Path) -> None:
    for path in CONFIG.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    cameras = default_cameras()
    (tmp_path / "cameras.yaml").write_text(cameras_yaml([*cameras, dataclasses.replace(cameras[0], name="top")]))
    with (tmp_path / "robot.yaml").open("a") as file:
        file.write("top: {ros__parameters: {serial_number: T7}}\n")
    nodes = graph(config=tmp_path)
    assert nodes["top"].parameters == {"camera": "top", "serial_number": "T7"}
    assert nodes["left_camera"].parameters["camera"] == "left_camera"
    assert nodes["supervisor"].parameters["camera_names"] == ["left_camera", "right_camera", "top"]
    given = {"/top/depth/image_raw": "/ceiling/depth"}
    assert graph(config=tmp_path, cameras="topics", camera_topics=given)["perception"].remaps == given
    (tmp_path / "cameras.yaml").write_text(cameras_yaml(cameras))
    with pytest.raises(RealGraphError, match="robot.yaml: unknown node 'top'"):
        graph(config=tmp_path)


def test_relaxed_watchdogs_are_for_emulators_alone() -> None:
    emulated, real = graph(use_emulators=True)["control"].parameters, graph()["control"].parameters
    assert emulated["controller.max_chunk_age_s"] > real["controller.max_chunk_age_s"]
    assert "hardware.left_arm.state_timeout_s" not in real


def test_arguments_go_before_files() -> None:
    nodes = graph(hosts={"left": "10.0.0.5", "right": ""}, dry_run=True)
    assert nodes["control"].parameters["hardware.left_arm.host"] == "10.0.0.5"
    assert nodes["control"].parameters["hardware.right_arm.host"] == "192.168.1.12"
    assert nodes["control"].parameters["loop.dry_run"] is True


def test_recordings_take_the_cameras_places(tmp_path: Path) -> None:
    with pytest.raises(RealGraphError, match="left.mkv"):
        graph(cameras="playback", recordings=tmp_path)
    for side in ("left", "right"):
        (tmp_path / f"{side}.mkv").touch()
    nodes = graph(cameras="playback", recordings=tmp_path, use_emulators=True)
    assert nodes["right_camera"].parameters["playback"] == str(tmp_path / "right.mkv")
    assert nodes["right_camera"].parameters["wired_sync"] == "standalone"
    assert "scene_cameras" not in nodes


def test_the_femto_bolt_takes_the_cameras_places() -> None:
    nodes = graph(cameras="femto_bolt")
    assert [nodes[f"{side}_camera"].parameters["model"] for side in ("left", "right")] == ["femto_bolt"] * 2
    assert nodes["right_camera"].parameters["wired_sync"] == "subordinate"  # what robot.yaml says of the camera holds


def test_any_driver_s_topics_take_the_cameras_places() -> None:
    names = {"/left_camera/depth/image_raw": "/cam_a/depth/image", "/left_camera/depth/camera_info": "/cam_a/info"}
    nodes = graph(cameras="topics", camera_topics={**names, "/right_camera/depth/image_raw": ""})
    assert "left_camera" not in nodes and "scene_cameras" not in nodes
    assert nodes["perception"].remaps == names and nodes["supervisor"].remaps == names
    assert nodes["supervisor"].parameters["cameras"] is True
    with pytest.raises(RealGraphError, match="cameras is ''; valid: topics"):
        graph(camera_topics=names)
    with pytest.raises(RealGraphError, match="no camera topic '/cam/depth'"):
        graph(cameras="topics", camera_topics={"/cam/depth": "/x"})
    with pytest.raises(RealGraphError, match="two camera topics have the same name"):
        graph(cameras="topics", camera_topics=dict.fromkeys(names, "/x"))


def test_controllers_of_ros2_control_take_the_arms_places(tmp_path: Path) -> None:
    nodes = graph(arms="ros2_control")
    assert nodes["control"].parameters["hardware.arms"] == "ros2_control"
    assert nodes["control"].parameters["hardware.left_arm_controller.controller"] == "/left_forward_position_controller"
    rehearsed = graph(arms="ros2_control", use_emulators=True)
    assert "fake_controllers" in rehearsed and "ur_emulators" not in rehearsed
    assert "ur_emulators" not in graph(arms="simulated", use_emulators=True)
    with pytest.raises(RealGraphError, match="right_host is given, and arms is 'ros2_control'"):
        graph(arms="ros2_control", hosts={"right": "10.0.0.5"})
    with pytest.raises(RealGraphError, match="arms is 'ur10'; valid: ur, ros2_control, simulated"):
        graph(arms="ur10")
    for path in CONFIG.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    said = (CONFIG / "robot.yaml").read_text()
    assert "arms: ur  " in said
    (tmp_path / "robot.yaml").write_text(said.replace("arms: ur  ", "arms: ros2_control  "))
    assert "fake_controllers" in graph(config=tmp_path, use_emulators=True)


def test_the_frames_are_those_of_the_calibrated_cameras() -> None:
    nodes = graph()
    assert nodes["frames"].parameters["camera_config"] == nodes["perception"].parameters["camera_config"]
    assert nodes["frames"].parameters["camera_config"] == str(CONFIG / "cameras.yaml")


def test_for_first_motions_policy_and_cameras_can_be_left_out() -> None:
    nodes = graph(policy=False, cameras="none")
    assert set(nodes) == {"frames", "control", "supervisor"}
    assert nodes["supervisor"].parameters["cameras"] is False and nodes["supervisor"].parameters["policy"] is False


def test_without_configuration_no_address_reaches_a_robot() -> None:
    default = HardwareConfig()
    assert default.left_arm.host.startswith("127.") and default.right_arm.host.startswith("127.")
    assert UrArmConfig().host.startswith("127.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("contrl:\n  ros__parameters: {a: 1}\n", "unknown node 'contrl'; valid: control"),
        ("control:\n  parameters: {a: 1}\n", "ros__parameters"),
        ("- control\n", "mapping"),
        ("control: [\n", "parsing"),
    ],
)
def test_a_file_with_a_slip_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    for path in CONFIG.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    (tmp_path / "safety.yaml").write_text(content)
    with pytest.raises(RealGraphError, match=message):
        graph(config=tmp_path)


def test_wrong_choices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RealGraphError, match="kinect, femto_bolt, topics, playback, scene, none"):
        RealGraphConfig(config=CONFIG, cameras="webcam")  # type: ignore[arg-type]
    with pytest.raises(RealGraphError, match="robot.yaml"):
        RealGraphConfig(config=tmp_path)


def test_a_further_settings_file_lies_on_top(tmp_path: Path) -> None:
    settings = tmp_path / "mine.yaml"
    settings.write_text("control: {ros__parameters: {controller: {speed_scale: 0.1}}}")
    nodes = {node.name: node for node in real_graph(RealGraphConfig(config=CONFIG, policy=False, settings=settings))}
    assert nodes["control"].parameters["controller.speed_scale"] == 0.1
    assert nodes["control"].parameters["controller.home_speed"] == 0.05  # of safety.yaml


def test_nested_parameters_become_dotted_names() -> None:
    flat = read_parameters(CONFIG / "safety.yaml")["control"]
    nested = yaml.safe_load((CONFIG / "safety.yaml").read_text())["control"]["ros__parameters"]
    assert flat["controller.safety.arm_step_rad"] == nested["controller"]["safety"]["arm_step_rad"]


@pytest.mark.ros
@pytest.mark.parametrize("emulated", [False, True])
def test_each_parameter_of_the_files_is_one_that_its_node_declares(emulated: bool) -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    import rclpy
    from rclpy.context import Context
    from rclpy.parameter import Parameter

    from udg_bringup.ros.supervisor_node import SupervisorNode
    from udg_control.ros.robot_node import RobotNode
    from udg_perception.ros.kinect_node import KinectNode

    context = Context()
    rclpy.init(context=context, domain_id=29)
    try:
        nodes = graph(use_emulators=emulated)
        classes: dict[str, type] = {"control": RobotNode, "supervisor": SupervisorNode}
        if not emulated:
            classes |= {"left_camera": KinectNode, "right_camera": KinectNode}
        for name, node_class in classes.items():
            given = {**nodes[name].parameters, **({} if name == "supervisor" else {"autostart": False})}
            overrides = [Parameter(key, value=value) for key, value in given.items()]
            node_class(context=context, parameter_overrides=overrides).destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


def test_the_view_commands_a_real_robot_only_if_that_is_chosen() -> None:
    assert "web_view" not in graph()
    view = graph(view=ViewChoice(show=True))["web_view"]
    assert view.parameters["allow_commands"] is False and view.parameters["simulated"] is False
    assert graph(view=ViewChoice(show=True, allow_commands=True))["web_view"].parameters["allow_commands"] is True


@pytest.mark.parametrize("cameras", ["playback", "scene"])
def test_images_of_another_time_or_place_do_not_drive_the_arms(tmp_path: Path, cameras: str) -> None:
    for name in ("left", "right"):
        (tmp_path / f"{name}.mkv").touch()
    recordings = tmp_path if cameras == "playback" else None
    with pytest.raises(RealGraphError, match=f"cameras is '{cameras}', which does not see these arms move"):
        graph(cameras=cameras, recordings=recordings)
    assert graph(cameras=cameras, recordings=recordings, dry_run=True)


def test_recordings_named_in_a_file_do_not_drive_the_arms_either(tmp_path: Path) -> None:
    settings = settings_file(tmp_path, "left_camera: {ros__parameters: {playback: /x/left.mkv}}")
    with pytest.raises(RealGraphError, match="left_camera: playback is '/x/left.mkv', which does not see these arms"):
        graph(settings=settings)
    assert graph(settings=settings, dry_run=True)["left_camera"].parameters["playback"] == "/x/left.mkv"
    with pytest.raises(RealGraphError, match="recordings are given, and cameras is ''; valid: playback"):
        graph(recordings=tmp_path)


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_a_file_can_ask_for_a_dry_run_and_name_the_checkpoint(tmp_path: Path) -> None:
    text = "control: {ros__parameters: {loop: {dry_run: %s}}}\npolicy: {ros__parameters: {checkpoint: my/run}}"
    settings = settings_file(tmp_path, text % "true")
    nodes = graph(settings=settings, checkpoint="", cameras="scene")  # dry: nothing moves
    assert nodes["control"].parameters["loop.dry_run"] is True
    assert nodes["policy"].parameters["checkpoint"] == "my/run"
    assert graph(settings=settings, cameras="scene")["policy"].parameters["checkpoint"] == CHECKPOINT
    assert graph(settings=settings_file(tmp_path, text % "false"), dry_run=True)["control"].parameters["loop.dry_run"]
    with pytest.raises(RealGraphError, match="does not see these arms move"):
        graph(settings=settings_file(tmp_path, text % "'true'"), cameras="scene")  # text, which the node will refuse


def test_the_devices_of_a_further_settings_file_are_those_of_the_whole_graph(tmp_path: Path) -> None:
    settings = settings_file(tmp_path, "control: {ros__parameters: {hardware: {arms: ros2_control}}}")
    nodes = graph(settings=settings, use_emulators=True)
    assert "fake_controllers" in nodes and "ur_emulators" not in nodes
    with pytest.raises(RealGraphError, match="left_host is given, and arms is 'ros2_control'"):
        graph(settings=settings, hosts={"left": "10.0.0.5"})
    settings = settings_file(tmp_path, "control: {ros__parameters: {hardware: {arms: simulated}}}")
    assert graph(settings=settings, cameras="scene")
    with pytest.raises(RealGraphError, match="does not see these arms move"):
        graph(settings=settings, arms="ur", cameras="scene")


def test_what_follows_from_the_nodes_is_no_file_s_to_set(tmp_path: Path) -> None:
    settings = settings_file(tmp_path, "supervisor: {ros__parameters: {cameras: false}}")
    with pytest.raises(RealGraphError, match=r"mine.yaml: supervisor: cameras is set by the graph"):
        graph(settings=settings)
