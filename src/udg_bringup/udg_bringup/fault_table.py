"""The table of faults, played on emulated devices in real time: `udg fault-table --attempts 5`.

Each fault happens while both arms and both hands move, several times, on the settings of config/*.yaml. What counts is
the emulators' own log: how long after the detection the arms still moved and the hands were still commanded. No attempt
is repeated: all are reported, those of a machine that did not keep up are not judged. What the hypervisor took of the
cores meanwhile is no time of ours: each limit is that much longer.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from udg_bringup.config_folder import default_config
from udg_bringup.fault_cell import WRISTS, Cell, FaultCellConfig, FaultCellError, Measured, cell_settings, differences
from udg_bringup.fault_cell import emulated_cell as emulated_cell
from udg_bringup.robot_settings import RobotSettings, read_settings
from udg_control.pace import LATE_FREE, LATE_S, RECENT_S
from udg_control.safety import Reason
from udg_description.clock import NS_PER_S
from udg_description.errors import cli
from udg_description.files import user_path
from udg_description.layout import HOME_Q, JOINT_NAMES
from udg_description.limits import joint_limits

STANDS_WITHIN_S = 0.2  # of the detection
DETECTED_WITHIN_S = 0.05  # beyond what the settings allow for the fault: cycles, the way through the processes
CHUNK_S = 0.1  # between two chunks: how long one that is bad waits to be sent
HAND_REPLIES = 2  # of a broken link, so that a garbled one is not taken for it
ATTEMPTS = 5
FAR_RAD = 3.0  # on the way to where the filter must stop it


# --- the rows ---------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A fault: what happens, how it is reported (reasons, a word of it), how long the settings allow it unseen."""

    happen: Callable[[Cell], object]
    reasons: tuple[Reason, ...]
    word: str
    allowed_s: Callable[[RobotSettings], float | None]  # None: it is a way to go, of any length

    def detected_within_s(self, settings: RobotSettings) -> float | None:
        """The stated limit of the detection [s]; None: there is none."""
        allowed_s = self.allowed_s(settings)
        return None if allowed_s is None else allowed_s + DETECTED_WITHIN_S


def _arm(side: str, what: str) -> Callable[[Cell], object]:
    return lambda cell: cell.emulators[side].inject(what)


def _hand(side: str, what: str) -> Callable[[Cell], object]:
    return lambda cell: cell.bus.inject(side, what)


def _world(**changes: object) -> Callable[[Cell], object]:
    def change(cell: Cell) -> None:
        for name, value in changes.items():
            setattr(cell.world, name, value)

    return change


def _turn(joint: str, way_rad: float) -> Callable[[Cell], object]:
    """Turn a joint on and on, at the cell's speed."""

    def change(cell: Cell) -> None:
        goal = HOME_Q.copy()
        goal[JOINT_NAMES.index(joint)] += way_rad
        cell.world.policy = cell.motion(goal)

    return change


def _jump(now_ns: int, q: np.ndarray) -> np.ndarray:
    del now_ns
    chunk = np.tile(q, (8, 1))
    chunk[:, JOINT_NAMES.index("right_elbow_joint")] += 1.5 * np.arange(1, 9)
    return chunk


def _not_a_number(now_ns: int, q: np.ndarray) -> np.ndarray:
    del now_ns
    chunk = np.tile(q, (8, 1))
    chunk[2, 4] = np.nan
    return chunk


def _at_once(settings: RobotSettings) -> float:
    del settings
    return 0.0


def _next_chunk(settings: RobotSettings) -> float:
    del settings
    return CHUNK_S


def _no_limit(settings: RobotSettings) -> None:
    del settings


def _arm_silence(settings: RobotSettings) -> float:
    control = settings.control
    return min(control.hardware.right_arm.state_timeout_s, control.controller.safety.max_state_age_s)


def _remote_poll(settings: RobotSettings) -> float:
    return settings.control.hardware.right_arm.remote_poll_s


def _lag(settings: RobotSettings) -> float:
    """The command has to leave the joints by a share of the step, as it was RECENT_S ago, and stay away for LATE_S."""
    safety = settings.control.controller.safety
    speed_rad_s = FaultCellConfig.speed_share * safety.velocity_scale * float(joint_limits().velocity[WRISTS].min())
    return (
        LATE_FREE * safety.arm_step_rad / speed_rad_s
        + RECENT_S
        + LATE_S
        + settings.control.controller.follower.period_s
    )


def _dashboard(settings: RobotSettings) -> float:
    arm = settings.control.hardware.left_arm
    return arm.dashboard_timeout_s + arm.remote_poll_s


def _hand_silence(settings: RobotSettings) -> float:
    control = settings.control
    safety = control.controller.safety
    allowed_s = max(safety.max_state_age_s, safety.max_hand_state_age_s)
    return min(control.hardware.left_hand.state_timeout_s, allowed_s)


def _hand_exchanges(settings: RobotSettings) -> float:
    return HAND_REPLIES / settings.control.hardware.left_hand.rate_hz


def _over_current(settings: RobotSettings) -> float:
    return settings.control.hardware.right_hand.over_current_s


def _camera_silence(settings: RobotSettings) -> float:
    return settings.supervisor.camera_silence_s + settings.supervisor.period_s


def _supervisor_period(settings: RobotSettings) -> float:
    return settings.supervisor.period_s


def _heartbeat(settings: RobotSettings) -> float:
    return settings.control.controller.heartbeat_timeout_s


DEVICE, STALE, HEARTBEAT = (Reason.DEVICE,), (Reason.STALE_STATE, Reason.DEVICE), (Reason.HEARTBEAT,)
LEAP = (Reason.VELOCITY, Reason.POSITION)
TABLE: dict[str, Row] = {
    "link drop": Row(_arm("left", "drop_link"), DEVICE, "left arm", _at_once),
    "network cable out": Row(_arm("right", "unplug"), DEVICE, "right arm", _at_once),
    "silent controller": Row(_arm("right", "silent"), STALE, "right arm", _arm_silence),
    "silent dashboard": Row(_arm("left", "dashboard_silent"), DEVICE, "the dashboard has not answered", _dashboard),
    "protective stop": Row(_arm("left", "protective_stop"), DEVICE, "protective_stop", _at_once),
    "e-stop at the pendant": Row(_arm("right", "emergency_stop"), DEVICE, "device_emergency_stop", _at_once),
    "reboot": Row(_arm("left", "reboot"), DEVICE, "left arm", _at_once),
    "wrong mode (local)": Row(_arm("right", "local_mode"), DEVICE, "remote_control_off", _remote_poll),
    "program stopped": Row(_arm("left", "program_stop"), DEVICE, "program_stopped", _at_once),
    "stale state (a hand hangs)": Row(_hand("left", "hang"), STALE, "left hand", _hand_silence),
    "NaN": Row(_world(policy=_not_a_number), (Reason.NOT_FINITE,), "point 2", _next_chunk),
    "jump": Row(_world(policy=_jump), LEAP, "right_elbow", _next_chunk),
    "wrong joint names": Row(_world(names=JOINT_NAMES[::-1]), (Reason.JOINT_NAMES,), "names", _next_chunk),
    "out of workspace": Row(_turn("right_shoulder_pan_joint", -FAR_RAD), (Reason.WORKSPACE,), "edge", _no_limit),
    "predicted collision": Row(
        _turn("right_shoulder_lift_joint", FAR_RAD), (Reason.COLLISION_TABLE,), "table", _no_limit
    ),
    "hand over-current": Row(_hand("right", "over_current"), DEVICE, "over_current", _over_current),
    "hand unplugged": Row(_hand("left", "unplug"), DEVICE, "left hand", _hand_exchanges),
    "hand's library aborts": Row(_hand("right", "abort"), DEVICE, "worker_died", _hand_exchanges),
    "CRC errors of a hand": Row(_hand("left", "crc"), STALE, "left hand", _hand_silence),
    "camera unplugged": Row(_world(cameras={"right camera": 0.0}), HEARTBEAT, "left camera: silent", _camera_silence),
    "one camera late": Row(
        _world(cameras={"left camera": 0.0, "right camera": 0.4}),
        HEARTBEAT,
        "right camera: 0.40 s late",
        _supervisor_period,
    ),
    "heartbeat lost": Row(_world(beating=False), HEARTBEAT, "no heartbeat", _heartbeat),
    "emergency stop (/emergency_stop)": Row(Cell.emergency_stop, (Reason.EMERGENCY_STOP,), "held", _at_once),
    "arm does not follow (jammed)": Row(_arm("right", "jam"), (Reason.STEP, Reason.DEVICE), "right", _lag),
    "clock jump": Row(_world(host_ahead_ns=3 * NS_PER_S), (Reason.CLOCK_JUMP,), "leap", _at_once),
}


# --- attempts and what they say ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One time that a fault was played."""

    measured: Measured | None  # None: it could not be; `problem` says why
    problem: str = ""  # what was wrong with the detection or the report; empty: nothing
    held_up_s: float = 0.0  # how late a beat was meanwhile; more than 0: the machine did not keep up
    cycle_late_s: float = 0.0  # how late our own cycle was
    stolen_s: float = 0.0  # what the hypervisor took of all cores, from the detection to the standstill

    @property
    def late_s(self) -> float:
        """From the detection until everything stood; infinite where that is not known."""
        return float("inf") if self.measured is None else self.measured.late_s

    @property
    def wrong(self) -> str:
        """What is wrong with the attempt, be it the machine's doing or ours; empty: nothing."""
        if self.problem or self.measured is None:
            return self.problem
        limit_s = STANDS_WITHIN_S + self.stolen_s
        if self.late_s > limit_s:
            return f"stood {1e3 * self.late_s:.0f} ms after the detection; valid: {1e3 * limit_s:.0f} ms"
        return ""


class Verdict(Enum):
    """What the attempts of a row say."""

    KEPT = "kept"
    FAILED = "failed"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, kw_only=True)
class Played:
    """All attempts of a row."""

    name: str
    attempts: tuple[Attempt, ...]

    @property
    def judged(self) -> list[Attempt]:
        """Those during which the machine kept up."""
        return [attempt for attempt in self.attempts if attempt.held_up_s == 0.0]

    @property
    def verdict(self) -> Verdict:
        """Failed: an attempt was wrong while the machine kept up; not judged: that was so in less than half of them.

        So the median is kept wherever the row is: more than half of the attempts that are judged would be too late.
        """
        if any(attempt.wrong for attempt in self.judged):
            return Verdict.FAILED
        return Verdict.NOT_JUDGED if 2 * len(self.judged) < len(self.attempts) or not self.judged else Verdict.KEPT

    @property
    def reason(self) -> str:
        """Why it failed or was not judged."""
        wrong = [attempt.wrong for attempt in self.judged if attempt.wrong]
        if wrong:
            return wrong[0]
        held_up = [attempt for attempt in self.attempts if attempt.held_up_s > 0.0]
        most_ms = 1e3 * max((attempt.held_up_s for attempt in held_up), default=0.0)
        return f"the machine held {len(held_up)} of {len(self.attempts)} attempts up, by up to {most_ms:.0f} ms"

    def times_s(self, of: Callable[[Measured], float]) -> list[float]:
        """A time of each attempt that is judged, or of all where none is."""
        chosen = self.judged or self.attempts
        return [of(attempt.measured) for attempt in chosen if attempt.measured is not None]


def play(cell: Cell, name: str, attempts: int) -> Played:
    """Play a row this many times, whatever the outcome."""
    return Played(name=name, attempts=tuple(_play_once(cell, TABLE[name]) for _ in range(attempts)))


def _play_once(cell: Cell, row: Row) -> Attempt:
    began_ns = time.monotonic_ns()
    needless = len(cell.needless)
    try:
        measured = cell.measure(row.happen)
    except FaultCellError as error:
        return Attempt(measured=None, problem=str(error), held_up_s=cell.held_up_s(began_ns, time.monotonic_ns()))
    problem = _problem(cell, row, measured)
    for fault, held_up_s in cell.needless[needless:]:
        if held_up_s == 0.0:
            problem = f"stopped before the fault, without a cause: {fault.reason.value}: {fault.detail}"
    timed_way = problem or row.detected_within_s(cell.settings) is not None  # else only the stop has a limit
    from_ns = measured.moving_ns if timed_way else measured.detected_ns
    span = from_ns, max(measured.detected_ns, *measured.stood_ns.values())
    return Attempt(
        measured=measured,
        problem=problem,
        held_up_s=cell.held_up_s(*span),
        cycle_late_s=cell.cycle_late_s(*span),
        stolen_s=cell.stolen_s(measured.detected_ns, span[1]),
    )


def _problem(cell: Cell, row: Row, measured: Measured) -> str:
    """What is wrong with detection and report."""
    fault, limit_s = measured.fault, row.detected_within_s(cell.settings)
    if fault.reason not in row.reasons or row.word not in fault.detail:
        return f"told as {fault.reason.value}: {fault.detail}; valid: {row.reasons[0].value} with '{row.word}'"
    if limit_s is None:
        return ""
    limit_s += cell.stolen_s(measured.happened_ns, measured.detected_ns)
    if measured.detection_s > limit_s:
        return f"detected after {1e3 * measured.detection_s:.0f} ms; valid: {1e3 * limit_s:.0f} ms"
    return ""


# --- the command ------------------------------------------------------------------------------------------------------

ARMS = ("left_arm", "right_arm")
HEADER = (
    "| fault | report | detected: limit, median, worst | stands after that: limit, median, worst | "
    "from the fault to standstill: left arm, right arm | attempts judged |\n|---|---|---|---|---|---|"
)


def markdown(played: Played, settings: RobotSettings) -> str:
    """The line of a row in the table; times in milliseconds."""
    limit_s = TABLE[played.name].detected_within_s(settings)
    faults = [attempt.measured.fault for attempt in played.judged or played.attempts if attempt.measured is not None]
    told = f"`{faults[-1].reason.value}`: {_without_addresses(faults[-1].detail)}" if faults else "-"
    cells = [
        played.name,
        told,
        ", ".join([_ms(limit_s), *_median_and_worst(played.times_s(lambda m: m.detection_s))]),
        ", ".join([_ms(STANDS_WITHIN_S), *_median_and_worst(played.times_s(lambda m: m.late_s))]),
        ", ".join(_median_and_worst(played.times_s(lambda m, p=part: m.standstill_s(p)))[0] for part in ARMS),  # type: ignore[misc]
        f"{len(played.judged)} of {len(played.attempts)}",
    ]
    return f"| {' | '.join(cells)} |"


def _without_addresses(detail: str) -> str:
    """The report as of any arm: the emulators' addresses are others in each run."""
    return re.sub(r" \(UR5e at [\d.]+\)|(?: to| from)? ?127\.[\d.]+\d:?", "", detail)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.0f}"


def _median_and_worst(times_s: Sequence[float]) -> list[str]:
    return [_ms(statistics.median(times_s)), _ms(max(times_s))] if times_s else ["-", "-"]


def as_json(played: Played) -> dict[str, object]:
    """All attempts of a row, in milliseconds."""
    return {
        "row": played.name,
        "verdict": played.verdict.value,
        "reason": "" if played.verdict is Verdict.KEPT else played.reason,
        "attempts": [
            {
                "held_up_ms": round(1e3 * attempt.held_up_s, 1),
                "cycle_late_ms": round(1e3 * attempt.cycle_late_s, 1),
                "stolen_ms": round(1e3 * attempt.stolen_s, 1),
                "wrong": attempt.wrong,
                **({} if attempt.measured is None else _times_ms(attempt.measured)),
            }
            for attempt in played.attempts
        ],
    }


def _times_ms(measured: Measured) -> dict[str, float]:
    stood = {f"{part}_standstill_ms": round(1e3 * measured.standstill_s(part), 1) for part in measured.stood_ns}
    return {"detected_ms": round(1e3 * measured.detection_s, 1), "late_ms": round(1e3 * measured.late_s, 1), **stood}


def main() -> None:
    """Play the faults; print the table of docs/measured/safety.md; last line: all attempts as JSON."""
    cli(_main)


def _main() -> int:
    options = _options()
    config = FaultCellConfig(
        config=options.config,
        emulation=options.emulation,
        real_time=options.real_time,
        speed_share=options.speed_share,
    )
    files = read_settings(options.config, emulation=options.emulation)
    with tempfile.TemporaryDirectory(prefix="udg_hands_") as folder, emulated_cell(Path(folder), config) as cell:
        print(_introduction(config, files, cell), file=sys.stderr)
        print(HEADER, flush=True)
        rows = []
        for name in options.rows:
            rows.append(play(cell, name, options.attempts))
            print(markdown(rows[-1], cell.settings), flush=True)
    for verdict in (Verdict.FAILED, Verdict.NOT_JUDGED):
        for row in rows:
            if row.verdict is verdict:
                print(f"{row.name}: {verdict.value}: {row.reason}", file=sys.stderr)
    if not options.markdown:
        print(json.dumps([as_json(row) for row in rows]))
    if any(row.verdict is Verdict.FAILED for row in rows):
        return 1
    return 3 if any(row.verdict is Verdict.NOT_JUDGED for row in rows) else 0


def _introduction(config: FaultCellConfig, files: RobotSettings, cell: Cell) -> str:
    names = "robot.yaml and safety.yaml" + (", with emulation.yaml on top" if config.emulation else "")
    return (
        f"settings: {names} of {config.config}, but for the emulated devices: "
        f"{'; '.join(differences(cell_settings(config), files)) or 'nothing'}\n"
        f"the wrists move at {cell.speed_rad_s:.2f} rad/s when a fault happens; "
        f"real-time priority: {'yes' if cell.has_priority else 'no'}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__, epilog="Exit codes: 0 kept, 1 failed, 3 not judged.")
    parser.add_argument(
        "--config", type=user_path, default=default_config(), help="folder of robot.yaml, safety.yaml and cameras.yaml"
    )
    parser.add_argument("--emulation", action="store_true", help="apply emulation.yaml as well, as in the rehearsal")
    parser.add_argument("--attempts", type=int, default=ATTEMPTS, help="of each row")
    parser.add_argument("--rows", nargs="*", default=list(TABLE), choices=list(TABLE), metavar="ROW")
    parser.add_argument("--markdown", action="store_true", help="only the table, without the JSON line")
    parser.add_argument(
        "--real-time", action=argparse.BooleanOptionalAction, default=True, help="real-time priority where permitted"
    )
    parser.add_argument(
        "--speed-share",
        type=float,
        default=FaultCellConfig(config=Path()).speed_share,
        help="speed of the wrists, as a share of what the filter allows",
    )
    options = parser.parse_args()
    if not 0.0 < options.speed_share <= 1.0:
        parser.error(f"--speed-share is {options.speed_share}; valid: above 0, at most 1")
    if options.attempts < 1:
        parser.error(f"--attempts is {options.attempts}; valid: at least 1")
    return options


if __name__ == "__main__":
    main()
