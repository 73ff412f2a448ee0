"""How steadily both arms are streamed to while all other nodes run: `udg bench-control`.

The graph of the real robot runs on emulated arms, one process a node. The policy's chunks go nowhere; the arms follow
a sine instead, through control, safety filter and driver. What counts is the emulated controllers' own log.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from udg_bringup.config_folder import default_config
from udg_bringup.graph import NodeDescription
from udg_bringup.parameter_files import Value
from udg_bringup.real_graph import RealGraphConfig, real_graph
from udg_bringup.ros.running import RunningGraph, isolate, running
from udg_bringup.ros.sine_client import POLICY_CHUNK, sine_client
from udg_bringup.sine import Sine
from udg_control.emulators.ur_log import SERVO_S, Greatest, greatest
from udg_control.emulators.ur_process import EmulatorLog, UrEmulatorClient, loopback_pair
from udg_control.emulators.xhand_bus import XHandBus
from udg_control.safety import SafetyConfig
from udg_description.errors import UdgError, cli
from udg_description.files import user_path
from udg_description.layout import HOME_Q, SIDES, Side, part_indices
from udg_description.limits import joint_limits
from udg_description.ros import topics

ARM_PRIORITY, HAND_PRIORITY, CONTROL_PRIORITY = 40, 35, 30  # where permitted: each stream above its source
SOURCE_PRIORITY = 20
CONTROL_NICE = -15
POLL_S = 0.2
LONGEST_PAUSE_NS = 100_000_000
MOST_LEAD_S, MOST_DELAY_S = 0.2, 0.5


class BenchControlError(UdgError):
    """An argument of the benchmark that can't be used, or arms that did not move through."""


@dataclass(frozen=True, kw_only=True)
class BenchControlConfig:
    """One benchmark of control."""

    config: Path = dataclasses.field(default_factory=default_config)
    seconds: float = 60.0  # measured; the sine runs in before
    sine: Sine = dataclasses.field(default_factory=Sine)
    load: bool = True  # cameras, perception and policy run, too
    real_time: bool = True  # ask for real-time priority
    cores: int = 2

    def __post_init__(self) -> None:
        """Check the numbers. Raises BenchControlError."""
        if not 1.0 <= self.seconds <= 900.0:
            raise BenchControlError(f"--seconds is {self.seconds}; valid: 1 to 900")
        if not 1 <= self.cores <= (os.cpu_count() or 1):
            raise BenchControlError(f"--cores is {self.cores}; valid: 1 to {os.cpu_count()}")


@dataclass(frozen=True, kw_only=True)
class ArmFigures:
    """What the log of one emulated arm says about the measured time."""

    cycles: int  # control cycles of the controller
    missed: int  # servo targets that are lacking
    pauses: int  # of more than a cycle in the emulated controllers themselves: the machine stood still
    jitter_ms: np.ndarray  # (n,) deviation of the pauses between targets from 2 ms
    error_mrad: float  # largest distance of a joint from the sine at the same instant
    delay_ms: float  # by which the joints lag behind the sine; negative: they are ahead of it
    shape_error_mrad: float  # what is left when that delay is taken out
    fastest: Greatest  # of all servo targets, from the first to the last


@dataclass(frozen=True, kw_only=True)
class ArmLimits:
    """What an arm's servo targets may do."""

    velocity: np.ndarray  # (6,) [rad/s]
    acceleration: np.ndarray  # (6,) [rad/s^2]


def figures(log: EmulatorLog, sine: Sine, start_ns: int, from_ns: int, to_ns: int, home: np.ndarray) -> ArmFigures:
    """Evaluate a log between two times; all times [ns] by the monotonic clock, home (6,) [rad].

    Raises BenchControlError when the stream ended before the measured time.
    """
    sent = log.commands["t_ns"][(log.commands["t_ns"] >= from_ns) & (log.commands["t_ns"] < to_ns)]
    if len(sent) < 2 or to_ns - sent[-1] > LONGEST_PAUSE_NS:
        raise BenchControlError("the stream ended early; see the control node's message above")
    cycles = round((to_ns - from_ns) * 1e-9 / SERVO_S)
    moved = log.motion[(log.motion["t_ns"] >= from_ns) & (log.motion["t_ns"] < to_ns)]
    offset = moved["q"] - home  # (n, 6)
    time_s = (moved["t_ns"] - start_ns) * 1e-9
    delays_s = 1e-3 * np.arange(round(-1e3 * MOST_LEAD_S), round(1e3 * MOST_DELAY_S))
    centre = offset.mean(axis=1)
    misfit = [np.square(centre - sine.offset(time_s - delay_s)).sum() for delay_s in delays_s]
    delay_s = float(delays_s[int(np.argmin(misfit))])
    return ArmFigures(
        cycles=cycles,
        missed=max(0, cycles - len(sent)),
        pauses=int((np.diff(moved["t_ns"]) > 2e9 * SERVO_S).sum()),
        jitter_ms=np.abs(np.diff(sent) * 1e-6 - SERVO_S * 1e3),
        error_mrad=float(np.abs(offset - sine.offset(time_s)[:, None]).max() * 1e3),
        delay_ms=delay_s * 1e3,
        shape_error_mrad=float(np.abs(offset - sine.offset(time_s - delay_s)[:, None]).max() * 1e3),
        fastest=greatest(log.commands),
    )


def summary(arms: Sequence[ArmFigures], limits: ArmLimits) -> dict[str, object]:
    """What the last line of the output says: both arms together, and how fast each was driven."""
    delay_ms: float = max((arm.delay_ms for arm in arms), key=abs)
    jitter_ms = np.concatenate([arm.jitter_ms for arm in arms])
    p50, p99, most = (round(float(np.percentile(jitter_ms, percent)), 3) for percent in (50, 99, 100))
    return {
        "cycles": sum(arm.cycles for arm in arms),
        "missed": sum(arm.missed for arm in arms),
        "jitter_ms": {"p50": p50, "p99": p99, "max": most},
        "tracking_error_mrad": round(max(arm.error_mrad for arm in arms), 2),
        "machine_pauses": max(arm.pauses for arm in arms),
        "delay_ms": round(delay_ms, 1),
        "tracking_error_without_delay_mrad": round(max(arm.shape_error_mrad for arm in arms), 2),
    } | {f"{side}_arm": _driven(arm.fastest, limits) for side, arm in zip(SIDES, arms, strict=True)}


def _driven(fastest: Greatest, limits: ArmLimits) -> dict[str, float]:
    """The greatest velocity and acceleration that left a driver, each of the joint that came nearest to its limit."""
    by_velocity = int(np.argmax(fastest.velocity / limits.velocity))
    by_acceleration = int(np.argmax(fastest.acceleration / limits.acceleration))
    return {
        "velocity_rad_s": round(float(fastest.velocity[by_velocity]), 6),
        "velocity_limit_rad_s": round(float(limits.velocity[by_velocity]), 6),
        "acceleration_rad_s2": round(float(fastest.acceleration[by_acceleration]), 6),
        "acceleration_limit_rad_s2": round(float(limits.acceleration[by_acceleration]), 6),
    }


def limits_in_force(config: BenchControlConfig, side: Side = SIDES[0]) -> ArmLimits:
    """What the safety filter of the configuration allows an arm. Raises UdgError."""
    graph = RealGraphConfig(config=config.config, use_emulators=True, policy=False, cameras="none")
    control = next(node.parameters for node in real_graph(graph) if node.name == "control")
    where, limits, default = part_indices(f"{side}_arm"), joint_limits(), SafetyConfig()

    def scale(name: str) -> float:
        return float(control.get(f"controller.safety.{name}", getattr(default, name)))  # type: ignore[arg-type]

    return ArmLimits(
        velocity=limits.velocity[where] * scale("velocity_scale"),
        acceleration=limits.acceleration[where] * scale("acceleration_scale"),
    )


def bench(config: BenchControlConfig) -> list[ArmFigures]:
    """Run the graph and evaluate its arms, left first. Raises UdgError."""
    isolate()
    with tempfile.TemporaryDirectory(prefix="udg_hands_") as hands:
        with _scheduling_restored(), XHandBus(Path(hands)).in_environment():
            return _bench(config)


@contextmanager
def _scheduling_restored() -> Iterator[None]:
    """Give this process its cores and its priority back in the end."""
    cores, policy, parameters = os.sched_getaffinity(0), os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        os.sched_setscheduler(0, policy, parameters)


def _bench(config: BenchControlConfig) -> list[ArmFigures]:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: config.cores])
    hosts: dict[str, str] = dict(zip(SIDES, loopback_pair(), strict=True))
    nodes = _graph(config, hosts)
    with running(nodes, processes=True) as graph:
        if _is_real_time(config):
            control = graph.pids()[[node.name for node in nodes].index("control")]
            _favour(control)  # its other threads take the chunks
            # The source of the sine: this process's threads that start from here.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(SOURCE_PRIORITY))
        with sine_client(graph, config.sine) as client:
            start_host_ns = client.begin(policy=config.load)
            start_ns = start_host_ns - (time.time_ns() - time.monotonic_ns())
            from_ns = start_ns + round(2.0 * config.sine.ramp_s * 1e9)
            to_ns = from_ns + round(config.seconds * 1e9)
            before = client.policy_chunks
            _wait_until(to_ns, graph)
            if config.load and client.policy_chunks == before:
                raise BenchControlError("the policy fell silent, so the figures would be without load")
            logs = [_log(hosts[side]) for side in SIDES]
            client.call(topics.CONTROL_DISABLE.name)
    return [
        figures(log, config.sine, start_ns, from_ns, to_ns, HOME_Q[part_indices(f"{side}_arm")])
        for side, log in zip(SIDES, logs, strict=True)
    ]


def _graph(config: BenchControlConfig, hosts: Mapping[str, str]) -> tuple[NodeDescription, ...]:
    graph_config = RealGraphConfig(
        config=config.config,
        use_emulators=True,
        policy=config.load,
        cameras="" if config.load else "none",
        hosts=hosts,
    )
    priority = ARM_PRIORITY if _is_real_time(config) else 0
    nodes = []
    for node in real_graph(graph_config):
        if node.name == "control":
            mine: dict[str, Value] = {f"hardware.{side}_arm.real_time_priority": priority for side in SIDES}
            mine["real_time_priority"] = CONTROL_PRIORITY if priority else 0
            mine["controller.speed_scale"] = 1.0  # the sine at its own speed
            mine |= {f"hardware.{side}_hand.real_time_priority": HAND_PRIORITY if priority else 0 for side in SIDES}
            mine["controller.heartbeat_timeout_s"] = 0.0  # a late image must not end the measurement
            node = dataclasses.replace(node, parameters={**node.parameters, **mine})
        elif node.name == "policy":
            node = dataclasses.replace(node, remaps={**node.remaps, topics.ACTION_CHUNK.name: POLICY_CHUNK.name})
        elif node.name == "ur_emulators" and not priority:
            words = tuple(word for word in node.arguments if word != "--real-time")
            node = dataclasses.replace(node, arguments=words)
        nodes.append(node)
    return tuple(nodes)


def _is_real_time(config: BenchControlConfig) -> bool:
    """Whether real-time priority is wanted and this user may ask for it."""
    if not config.real_time:
        return False
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(ARM_PRIORITY))
    except PermissionError:
        return False
    os.sched_setscheduler(0, policy, parameters)
    return True


def _favour(control: int) -> None:
    """Give control's process its nice value; say on stderr if that is refused."""
    try:
        os.setpriority(os.PRIO_PROCESS, control, CONTROL_NICE)
    except PermissionError:
        print(
            f"warning: nice {CONTROL_NICE} for control is refused, so it goes on without; CAP_SYS_NICE grants it, or "
            f"nice {CONTROL_NICE} in /etc/security/limits.d (docker/limits-udg.conf)",
            file=sys.stderr,
        )


def _wait_until(time_ns: int, graph: RunningGraph) -> None:
    while time.monotonic_ns() < time_ns:
        graph.check()
        time.sleep(POLL_S)


def _log(host: str) -> EmulatorLog:
    client = UrEmulatorClient(host)
    try:
        return client.full_log()
    finally:
        client.close()


def main() -> None:
    """Measure the streaming to both arms. The last line printed is one JSON object."""
    cli(_main)


def _main() -> None:
    default = BenchControlConfig()
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=default.seconds, help="measured time (default: 60)")
    parser.add_argument("--config", type=user_path, default=default.config, help="folder of robot, safety, cameras")
    parser.add_argument("--amplitude", type=float, default=Sine().amplitude_rad, help="of the sine [rad]")
    parser.add_argument("--frequency", type=float, default=Sine().frequency_hz, help="of the sine [Hz]")
    parser.add_argument("--cores", type=int, default=default.cores, help="cores shared by all processes (default: 2)")
    parser.add_argument("--load", action=argparse.BooleanOptionalAction, default=True, help="cameras and policy run")
    parser.add_argument(
        "--real-time", action=argparse.BooleanOptionalAction, default=True, help="real-time priority where permitted"
    )
    options = parser.parse_args()
    config = BenchControlConfig(
        config=options.config,
        seconds=options.seconds,
        sine=Sine(amplitude_rad=options.amplitude, frequency_hz=options.frequency),
        load=options.load,
        real_time=options.real_time,
        cores=options.cores,
    )
    arms = bench(config)
    print(f"real-time priority of control: {'yes' if _is_real_time(config) else 'no: not permitted or not wanted'}")
    for side, arm in zip(SIDES, arms, strict=True):
        print(
            f"{side} arm: {arm.missed} of {arm.cycles} targets missed, {arm.pauses} pauses of the emulator itself; "
            f"error {arm.error_mrad:.1f} mrad with {arm.delay_ms:.0f} ms delay, {arm.shape_error_mrad:.2f} mrad without"
        )
    print(json.dumps(summary(arms, limits_in_force(config))), flush=True)


if __name__ == "__main__":
    main()
