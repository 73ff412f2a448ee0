"""Parameters of one arm behind a controller of ros2_control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from udg_control.errors import SafetyConfigError
from udg_description.layout import ARM_JOINTS, N_ARM_JOINTS, Side
from udg_description.settings import check_ranges, setting
from udg_description.topic_names import JOINT_STATES

Interface = Literal["forward_position", "joint_trajectory"]


@dataclass(frozen=True, kw_only=True)
class ControllerArmConfig:
    """One arm: which controller moves it, who measures it, when it is given up."""

    controller: str = setting(
        "/forward_position_controller", "the controller with its namespace, as `ros2 node list` shows it"
    )
    interface: Interface = setting(
        "forward_position",
        "forward_position: a forward_command_controller of positions (its ~/commands); "
        "joint_trajectory: a joint_trajectory_controller (its ~/joint_trajectory)",
    )
    joints: tuple[str, ...] = setting(
        ARM_JOINTS, "ros2_control's names of the six joints, from shoulder pan to wrist 3"
    )
    joint_states_topic: str = setting(
        "/joint_state_broadcaster/joint_states", "where its joint_state_broadcaster publishes (use_local_topics: true)"
    )
    activity_timeout_s: float = setting(
        5.0, "/diagnostics must say this often that the controller is active [s]; 0: not asked", 0.0, 60.0
    )
    program_running_topic: str = setting(
        "", "UR: .../io_and_status_controller/robot_program_running; empty: not watched"
    )
    speed_scaling_topic: str = setting(
        "", "UR: .../speed_scaling_state_broadcaster/speed_scaling [%]; empty: not watched"
    )
    rate_hz: float = setting(500.0, "targets sent a second; the controller manager's update rate", 50, 1000)
    command_period_s: float = setting(0.01, "time between the commands of control [s]", 0.002, 0.1)
    jitter_s: float = setting(0.006, "commands may come this much late without any effect [s]", 0.0, 0.1)
    lookahead_s: float = setting(0.05, "joint_trajectory: when a target is to be reached [s]", 0.005, 0.5)
    velocity_scale: float = setting(
        1.0, "share of the joints' velocity limits that the driver passes; no more than the filter's", 0.01, 1.0
    )
    acceleration_scale: float = setting(
        1.0, "share of the acceleration limits for targets and stops; no more than the filter's", 0.01, 1.0
    )
    start_step_rad: float = setting(0.1, "largest distance of the first command from the joints [rad]", 0.001, 0.5)
    tracking_error_rad: float = setting(0.2, "targets and joints further apart than this: fault [rad]", 0.02, 1.5)
    command_timeout_s: float = setting(0.15, "no command for this long stops the arm [s]", 0.03, 1.0)
    state_timeout_s: float = setting(0.1, "no fresh joint states for this long: fault [s]", 0.02, 1.0)
    worker_timeout_s: float = setting(0.15, "the arm's process silent for this long is given up [s]", 0.03, 2.0)
    connect_timeout_s: float = setting(10.0, "longest wait for connecting or arming [s]", 1.0, 300.0)
    real_time_priority: int = setting(0, "SCHED_FIFO priority of the arm's process where permitted; 0: none", 0, 90)

    def __post_init__(self) -> None:
        """Check numbers and names. Raises SafetyConfigError."""
        check_ranges(self, SafetyConfigError)
        if len(set(self.joints)) != N_ARM_JOINTS or len(self.joints) != N_ARM_JOINTS or not all(self.joints):
            raise _refusal(f"joints are {', '.join(self.joints)}; valid: {N_ARM_JOINTS} different names")
        for name in ("controller", "joint_states_topic", "program_running_topic", "speed_scaling_topic"):
            value = getattr(self, name)
            optional = name in ("program_running_topic", "speed_scaling_topic")
            if not value.startswith("/") and not (optional and not value):
                raise _refusal(f"{name} is '{value}'; valid: a full name, which begins with '/'")
        if self.joint_states_topic == JOINT_STATES:
            raise _refusal(
                f"joint_states_topic is {JOINT_STATES}, where control itself publishes and would measure its own word; "
                "valid: another one, such as /joint_state_broadcaster/joint_states (use_local_topics: true)"
            )
        ticks = self.command_period_s * self.rate_hz
        if abs(ticks - round(ticks)) > 1e-6 or ticks < 1.0:
            raise _refusal(f"{ticks:g} targets a command; valid: command_period_s a multiple of 1/rate_hz")

    @property
    def ticks_per_command(self) -> int:
        """How many targets a command makes."""
        return round(self.command_period_s * self.rate_hz)

    @property
    def name(self) -> str:
        """The controller's name without its namespace."""
        return self.controller.rpartition("/")[2]


def default_config(side: Side) -> ControllerArmConfig:
    """Controller and joints as the UR driver names them with the prefix `left_` or `right_`."""
    return ControllerArmConfig(
        controller=f"/{side}_forward_position_controller", joints=tuple(f"{side}_{joint}" for joint in ARM_JOINTS)
    )


def _refusal(why: str) -> SafetyConfigError:
    return SafetyConfigError(f"ControllerArmConfig: {why}")
