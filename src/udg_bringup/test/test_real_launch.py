"""real.launch.py: what it starts and refuses, where launch is installed; a whole rehearsal, where `ros2 launch` is."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
launch = pytest.importorskip("launch", reason="needs launch, which only a full ROS installation has")
pytest.importorskip("launch_ros.actions", reason="needs launch_ros, of a full ROS installation")

from udg_bringup.real_graph import RealGraphConfig, RealGraphError, real_graph  # noqa: E402

pytestmark = pytest.mark.ros
REPOSITORY = Path(__file__).parents[3]
CONFIG = REPOSITORY / "config"
MOST_WAITING_A_CORE = 4.0
STARTED_WITHIN_S, STOPPED_WITHIN_S = 240.0, 60.0


def load() -> ModuleType:
    """Import the launch file."""
    spec = importlib.util.spec_from_file_location("real_launch", REPOSITORY / "launch" / "real.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def context(**values: str) -> object:
    """A launch context in which the arguments have their defaults, or these values."""
    made = launch.LaunchContext()
    for argument in load().ARGUMENTS:
        made.launch_configurations[argument.name] = "".join(part.text for part in argument.default_value)
    made.launch_configurations.update({"config": str(CONFIG), "checkpoint": "some/checkpoint", **values})
    return made


def test_it_starts_the_described_nodes_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load()
    monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(REPOSITORY))
    actions = module._actions(context(use_emulators="true"))
    described = real_graph(RealGraphConfig(config=CONFIG, checkpoint="some/checkpoint", use_emulators=True))
    started = [getattr(action, "node_executable", None) for action in actions]
    assert started == [node.executable if node.is_node else None for node in described]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use_emulator": "true"}, "unknown argument use_emulator:=...; valid: use_emulators"),
        ({"config": "/nowhere"}, "there is no /nowhere"),
        ({"cameras": "webcam"}, "valid: kinect"),
    ],
)
def test_what_it_does_not_know_is_refused(
    values: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load()
    monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(REPOSITORY))
    with pytest.raises(RealGraphError, match=message.replace("...", r"\.\.\.")):
        module._actions(context(**values))


def test_it_comes_up_disabled_on_the_hardware_by_default() -> None:
    default = {argument.name: "".join(part.text for part in argument.default_value) for argument in load().ARGUMENTS}
    assert default["use_emulators"] == default["dry_run"] == "false"


def ros2() -> list[str]:
    """The command `ros2`, from the installation or as a module. Skips where there is none, or ours is not installed."""
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        share = get_package_share_directory("udg_bringup")
    except PackageNotFoundError:
        pytest.skip("udg_bringup is not installed in a sourced workspace")
    if not (Path(share) / "launch" / "real.launch.py").is_file():
        pytest.skip("the sourced workspace was built before real.launch.py")
    if shutil.which("ros2"):
        return ["ros2"]
    pytest.importorskip("ros2cli", reason="needs the ros2 command")
    return [sys.executable, "-c", "import sys; from ros2cli.cli import main; sys.exit(main())"]


def skip_when_too_busy() -> None:
    """Skip where so many processes wait for a core that no stack with three streams of 500 Hz can run."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    if busy > MOST_WAITING_A_CORE:
        pytest.skip(f"{busy:.1f} processes wait for each core: too busy for a rehearsal in real time")


@pytest.mark.slow
def test_ros2_launch_comes_up_moves_and_shuts_down_clean(tmp_path: Path) -> None:
    import rclpy
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from std_srvs.srv import Trigger

    from udg_control.emulators.ur_process import loopback_pair
    from udg_description.layout import HOME_Q
    from udg_description.ros import convert, topics
    from udg_description.ros.spin import BackgroundSpin

    pytest.importorskip("rtde_control", reason="ur_rtde is not installed")
    skip_when_too_busy()
    left, right = loopback_pair()
    log = tmp_path / "arms.jsonl"
    environment = {**os.environ, "ROS_DOMAIN_ID": "97", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    words = ["use_emulators:=true", f"left_host:={left}", f"right_host:={right}", f"emulator_log:={log}"]
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [*ros2(), "launch", "-n", "udg_bringup", "real.launch.py", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    ros = Context()
    rclpy.init(context=ros, domain_id=97)
    node = rclpy.create_node("engineer", context=ros)
    spin = BackgroundSpin([node], SingleThreadedExecutor(context=ros))
    newest: list[np.ndarray] = []
    try:
        topics.subscribe(node, topics.JOINT_STATES, lambda m: newest.append(convert.joint_state_to_q(m)))

        def call(service: topics.ServiceName) -> bool:
            client = node.create_client(Trigger, service.name)
            done = threading.Event()
            if not client.wait_for_service(5.0):
                return False
            client.call_async(Trigger.Request()).add_done_callback(lambda future: (answers.append(future), done.set()))
            return done.wait(30.0) and bool(answers[-1].result().success)

        answers: list = []
        deadline_s = time.monotonic() + STARTED_WITHIN_S
        while not (call(topics.POLICY_START) and call(topics.CONTROL_ENABLE)):
            assert process.poll() is None and time.monotonic() < deadline_s, (tmp_path / "output.txt").read_text()
        while np.abs(newest[-1] - HOME_Q).max() < 0.05:
            assert time.monotonic() < deadline_s, (tmp_path / "output.txt").read_text()
            if not call(topics.CONTROL_ENABLE):  # a busy machine may have tripped a watchdog
                time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            spin.shutdown()
            node.destroy_node()
            rclpy.try_shutdown(context=ros)
    text = (tmp_path / "output.txt").read_text()
    assert code == 0, text
    assert "Traceback" not in text and "has died" not in text and "SIGKILL" not in text, text
    events = [json.loads(line) for line in log.read_text().splitlines()]
    for side in ("left", "right"):
        mine = [event["event"] for event in events if event.get("arm") == side]
        assert {"program_start", "servo_stop", "stop_script", "program_end"} <= set(mine), mine
