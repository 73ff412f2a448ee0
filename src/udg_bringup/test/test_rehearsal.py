"""The real robot's graph on emulated devices, as `ros2 launch` (where it is installed) and the module start it.

It comes up, moves, and ends clean; arms stop on Ctrl-C in the middle of a motion, and when the control node is killed.
"""

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
pytest.importorskip("rtde_control", reason="ur_rtde is not installed")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from udg_bringup.ros.running import free_domain
from udg_control.emulators.ur_process import loopback_pair
from udg_control.emulators.xhand_bus import XHandBus
from udg_description.layout import HOME_Q, JOINT_NAMES, SIDES
from udg_description.ros import convert, topics
from udg_description.ros.spin import BackgroundSpin
from udg_description.waiting import wait_until

pytestmark = [pytest.mark.ros, pytest.mark.real_time, pytest.mark.slow]
CONFIG = Path(__file__).parents[3] / "config"
STARTED_WITHIN_S, STOPPED_WITHIN_S = 150.0, 60.0
ORDERLY_WITHIN_S = 1.5  # of the end of the launcher: to notice it, brake, and end the programs
STANDS_WITHIN_S = 0.3  # of the death of control: 0.2 s, and the time that a signal takes
MOVED_RAD = 0.05
TRY_S = 5.0  # between starts: one that was given is not given again at once
TURNED = [JOINT_NAMES.index(f"{side}_wrist_3_joint") for side in SIDES]


def module_command(words: dict[str, str]) -> list[str]:
    """The graph as `python -m udg_bringup.real`."""
    flags = {"use_emulators": "--use-emulators"}
    command = [sys.executable, "-m", "udg_bringup.real", "--config", str(CONFIG)]
    for name, value in words.items():
        if name == "policy":
            command += [] if value == "true" else ["--no-policy"]
        else:
            command += [flags[name]] if name in flags else ["--" + name.replace("_", "-"), value]
    return command


def launch_command(words: dict[str, str]) -> list[str]:
    """The graph as `ros2 launch`. Skips where that is absent, or knows no such package."""
    pytest.importorskip("launch_ros.actions", reason="needs launch_ros, of a full ROS installation")
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        share = get_package_share_directory("udg_bringup")
    except PackageNotFoundError:
        pytest.skip("udg_bringup is not installed in a sourced workspace")
    if not (Path(share) / "launch" / "real.launch.py").is_file():
        pytest.skip("the sourced workspace was built before real.launch.py")
    ros2 = ["ros2"]
    if not shutil.which("ros2"):
        if importlib.util.find_spec("ros2cli") is None:
            pytest.skip("needs the ros2 command")
        ros2 = [sys.executable, "-c", "import sys; from ros2cli.cli import main; sys.exit(main())"]
    return [*ros2, "launch", "-n", "udg_bringup", "real.launch.py", *(f"{name}:={v}" for name, v in words.items())]


def _own_group() -> None:
    """Of a terminal's own: tests that run under nohup, or behind an &, have inherited ignored signals."""
    os.setpgrp()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


class Engineer(Node):
    """Starts, enables, gives chunks in the policy's place, and looks where the arms are."""

    def __init__(self, context: Context) -> None:
        super().__init__("engineer", context=context)
        self.q: np.ndarray | None = None
        self.turning = False
        self.answer = ""  # of the last service
        self.run_name = ""  # of what it turns the wrists for
        self._chunks = topics.publish(self, topics.ACTION_CHUNK)
        topics.subscribe(self, topics.JOINT_STATES, self._on_state)
        self.create_timer(0.1, self._act)
        services = (topics.CONTROL_ENABLE, topics.CONTROL_DISABLE, topics.POLICY_START)
        self._clients_of = {service.name: self.create_client(Trigger, service.name) for service in services}

    def _on_state(self, message: object) -> None:
        self.q = convert.joint_state_to_q(message)

    def _act(self) -> None:
        if self.turning and self.q is not None:
            chunk = np.tile(self.q, (16, 1))
            chunk[:, TURNED] += 0.08 * np.arange(1, 17)[:, None]  # followed at half of this speed
            self._chunks.publish(convert.chunk_to_trajectory(chunk, time.time_ns(), run=self.run_name))

    def call(self, service: topics.ServiceName) -> bool:
        """Ask for a service; whether it was there, answered and agreed."""
        client = self._clients_of[service.name]
        if not client.wait_for_service(2.0):
            return False
        future = client.call_async(Trigger.Request())
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(30.0):
            return False
        self.answer = future.result().message
        return bool(future.result().success)


class Rehearsal:
    """The running graph, its engineer, and what the emulated arms wrote down."""

    def __init__(self, process: subprocess.Popen[bytes], engineer: Engineer, output: Path, log: Path) -> None:
        self.process, self.engineer = process, engineer
        self._output, self._log = output, log

    @property
    def text(self) -> str:
        """What the graph has printed."""
        return self._output.read_text()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the condition while the graph runs."""

        def holds() -> bool:
            assert self.process.poll() is None, self.text
            return condition()

        wait_until(holds, STARTED_WITHIN_S, lambda: self.text)

    def enable_and_move(self, start: Callable[[], bool]) -> None:
        """Enable and start, as often as a busy machine trips a watchdog, until an arm has moved."""
        began: np.ndarray | None = None
        started_s = -np.inf

        def moved() -> bool:
            nonlocal began, started_s
            if not self.engineer.call(topics.CONTROL_ENABLE) or self.engineer.q is None:
                return False
            began = self.engineer.q.copy() if began is None else began
            if self.engineer.answer == "waiting" and time.monotonic() - started_s > TRY_S:
                start()
                started_s = time.monotonic()
            return float(np.abs(self.engineer.q - began).max()) > MOVED_RAD

        self.until(moved)

    def turn(self) -> bool:
        """Begin to turn the wrists."""
        self.engineer.run_name, self.engineer.turning = f"run {time.time_ns()}", True
        return True

    def pids_of(self, word: str) -> list[int]:
        """Processes of the graph that have this word in their command line."""
        return [pid for pid, command in self._processes() if word in command]

    def _processes(self) -> Iterator[tuple[int, str]]:
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has ended meanwhile
                continue
            if int(fields[2]) == self.process.pid and fields[0] != "Z":  # its group
                yield int(entry.name), command

    def wait(self) -> int:
        """Wait for the end; return the exit code. Nothing may be left of it."""
        code = self.process.wait(STOPPED_WITHIN_S)
        assert not list(self._processes()), self.text
        return code

    def events(self, side: str) -> list[dict]:
        """What an emulated arm noted, servo targets as well."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in lines if line["arm"] == side]


@contextmanager
def rehearsal(make: Callable[[dict[str, str]], Sequence[str]], folder: Path, **words: str) -> Iterator[Rehearsal]:
    """Start the graph on emulators of its own, in a ROS domain of its own."""
    left, right = loopback_pair()
    log, output = folder / "arms.jsonl", folder / "output.txt"
    emulated = {} if "arms" in words else {"left_host": left, "right_host": right, "emulator_log": str(log)}
    command = make({"use_emulators": "true", **emulated, **words})
    domain_id = free_domain(os.getpid())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, **XHandBus(folder).environment(), "ROS_DOMAIN_ID": str(domain_id), "PYTHONPATH": paths}
    with output.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, preexec_fn=_own_group
        )
    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    engineer = Engineer(context)
    spin = BackgroundSpin([engineer], SingleThreadedExecutor(context=context))
    try:
        yield Rehearsal(process, engineer, output, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        spin.shutdown()
        engineer.destroy_node()
        rclpy.try_shutdown(context=context)


both_ways = pytest.mark.parametrize("make", [launch_command, module_command], ids=["ros2_launch", "module"])
LIGHT = {"policy": "false", "cameras": "none"}


def assert_clean(run: Rehearsal, code: int) -> None:
    """Nothing went wrong on the way out, and the programs on both controllers were ended in order."""
    assert code == 0, run.text
    for word in ("Traceback", "has died", "SIGKILL", "SIGTERM", "exit code"):
        assert word not in run.text, run.text
    for side in SIDES:
        names = [event["event"] for event in run.events(side)]
        assert {"program_start", "servo_stop", "stop_script", "program_end"} <= set(names), names
        last = len(names) - 1 - names[::-1].index("stop_script")
        assert "servoj" not in names[last:], names[last:]


@both_ways
def test_the_whole_graph_comes_up_moves_and_ends_clean(
    make: Callable[[dict[str, str]], Sequence[str]], tmp_path: Path
) -> None:
    with rehearsal(make, tmp_path) as run:
        run.until(lambda: run.engineer.q is not None)
        assert np.abs(run.engineer.q - HOME_Q).max() < 0.05  # nothing moves before it is enabled
        run.enable_and_move(lambda: run.engineer.call(topics.POLICY_START))
        assert run.engineer.call(topics.CONTROL_DISABLE)
        run.process.send_signal(signal.SIGINT)
        assert_clean(run, run.wait())


@both_ways
def test_ctrl_c_in_the_middle_of_a_motion_ends_the_programs_in_order(
    make: Callable[[dict[str, str]], Sequence[str]], tmp_path: Path
) -> None:
    with rehearsal(make, tmp_path, **LIGHT) as run:
        run.enable_and_move(run.turn)
        run.process.send_signal(signal.SIGINT)
        assert_clean(run, run.wait())


@both_ways
def test_arms_of_ros2_control_move_behind_the_same_filter_and_end_clean(
    make: Callable[[dict[str, str]], Sequence[str]], tmp_path: Path
) -> None:
    with rehearsal(make, tmp_path, arms="ros2_control", **LIGHT) as run:
        run.until(lambda: run.engineer.q is not None)
        assert np.abs(run.engineer.q - HOME_Q).max() < 0.05
        run.enable_and_move(run.turn)
        assert len(run.pids_of("controller_client")) == len(SIDES)
        assert run.engineer.call(topics.CONTROL_DISABLE)
        run.process.send_signal(signal.SIGINT)
        assert run.wait() == 0, run.text
        for word in ("Traceback", "has died", "SIGKILL", "SIGTERM", "exit code"):
            assert word not in run.text, run.text


@both_ways
def test_when_control_is_killed_the_arms_of_ros2_control_brake_by_themselves(
    make: Callable[[dict[str, str]], Sequence[str]], tmp_path: Path
) -> None:
    with rehearsal(make, tmp_path, arms="ros2_control", **LIGHT) as run:
        run.enable_and_move(run.turn)
        (control,) = run.pids_of("robot_node")
        os.kill(control, signal.SIGKILL)
        wait_until(lambda: not run.pids_of("controller_client"), STOPPED_WITHIN_S, lambda: run.text)
        assert run.wait() != 0 or "has died" in run.text


def assert_stopped(run: Rehearsal, since_s: float) -> None:
    """Both arms stood soon, their programs were ended in order, and nothing is left of the graph."""
    wait_until(lambda: not run.pids_of(""), STOPPED_WITHIN_S, lambda: f"left: {run.pids_of('')}; {run.text}")
    for side in SIDES:
        events = run.events(side)
        names = [event["event"] for event in events if event["t"] > since_s]
        assert {"servo_stop", "stop_script", "program_end"} <= set(names), names
        assert "watchdog" not in names, names
        stood_s = [event["t"] for event in events if event["event"] == "motion_stopped" and event["t"] > since_s]
        assert stood_s and stood_s[0] - since_s < ORDERLY_WITHIN_S, stood_s
        assert events[-1]["event"] != "servoj"


@both_ways
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=["kill -9", "hang-up"])
def test_when_the_launcher_goes_the_robot_stops_and_no_orphan_is_left(
    make: Callable[[dict[str, str]], Sequence[str]], number: signal.Signals, tmp_path: Path
) -> None:
    with rehearsal(make, tmp_path, **LIGHT) as run:
        run.enable_and_move(run.turn)
        gone_s = time.monotonic()
        run.process.send_signal(number)
        run.process.wait(STOPPED_WITHIN_S)
        assert_stopped(run, gone_s)


@both_ways
def test_a_terminal_that_is_closed_hangs_up_on_all_processes(
    make: Callable[[dict[str, str]], Sequence[str]], tmp_path: Path
) -> None:
    with rehearsal(make, tmp_path, **LIGHT) as run:
        run.enable_and_move(run.turn)
        gone_s = time.monotonic()
        os.killpg(run.process.pid, signal.SIGHUP)
        run.process.wait(STOPPED_WITHIN_S)
        assert_stopped(run, gone_s)


INCLUDING = """
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def generate_launch_description():
    share = get_package_share_directory("udg_bringup")
    included = PythonLaunchDescriptionSource(share + "/launch/real.launch.py")
    return LaunchDescription(
        [DeclareLaunchArgument("site", default_value="lab"), IncludeLaunchDescription(included)]
    )
"""


def test_the_launch_file_can_be_included_from_one_with_arguments_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "cell.launch.py"
    path.write_text(INCLUDING)

    def make(words: dict[str, str]) -> Sequence[str]:
        command = list(launch_command({**words, "site": "hall"}))
        where = command.index("udg_bringup")
        return [*command[:where], str(path), *command[where + 2 :]]

    with rehearsal(make, tmp_path, **LIGHT) as run:
        run.until(lambda: run.engineer.q is not None)
        run.until(lambda: run.engineer.call(topics.CONTROL_ENABLE))
        run.process.send_signal(signal.SIGINT)
        assert run.wait() == 0, run.text


def test_a_misspelt_argument_ends_the_launch_with_one_line(tmp_path: Path) -> None:
    command = launch_command({"use_emulator": "true"})
    done = subprocess.run(command, capture_output=True, text=True, timeout=STARTED_WITHIN_S)
    assert done.returncode == 1
    assert "unknown argument use_emulator:=...; valid: use_emulators" in done.stdout + done.stderr


@both_ways
def test_when_control_is_killed_the_arms_stand_at_once(
    make: Callable[[dict[str, str]], Sequence[str]], tmp_path: Path
) -> None:
    with rehearsal(make, tmp_path, **LIGHT) as run:
        run.enable_and_move(run.turn)
        (control,) = run.pids_of("robot_node")
        killed_s = time.monotonic()
        os.kill(control, signal.SIGKILL)
        assert run.wait() != 0 or "has died" in run.text  # the whole graph ends with it, and says so
        for side in SIDES:
            events = run.events(side)
            last_target_s = max(event["t"] for event in events if event["event"] == "servoj")
            stood_s = [event["t"] for event in events if event["event"] == "motion_stopped" and event["t"] > killed_s]
            assert last_target_s - killed_s < STANDS_WITHIN_S
            assert stood_s and stood_s[0] - killed_s < STANDS_WITHIN_S, events[-5:]
            assert [event["event"] for event in events if event["event"] != "servoj"][-1] != "program_start"
            assert {"servo_stop", "stop_script"} <= {event["event"] for event in events if event["t"] > killed_s}
