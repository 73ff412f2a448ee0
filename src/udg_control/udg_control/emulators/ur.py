"""Emulated UR5e controllers as a command: `python -m udg_control.emulators.ur --left 127.0.0.1 --right 127.0.0.2`."""

from __future__ import annotations

import argparse
import gc
import ipaddress
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

import numpy as np

from udg_control.emulators.ur_arm import CONTROLLERS, EmulatedArm, EmulatedArmConfig
from udg_control.emulators.ur_controller import CONTROL_PORT, RtdeConnection, UrController, serve
from udg_control.emulators.ur_log import ArmLog
from udg_description.errors import cli
from udg_description.files import check_file, user_path
from udg_description.layout import HOME_Q, SIDES, part_indices

FLUSH_S = 0.2
LINGER_S = 8.0  # longest wait for drivers to leave after SIGINT
PRIORITY = 60  # above whatever drives the arms: a controller does not wait for its clients


def _loopback(text: str) -> str:
    if not ipaddress.ip_address(text).is_loopback:
        raise argparse.ArgumentTypeError(f"{text}: emulators listen on loopback addresses only (127.x.y.z)")
    return text


def _six_numbers(text: str) -> tuple[float, ...]:
    values = tuple(float(word) for word in text.replace(",", " ").split())
    if len(values) != 6:
        raise argparse.ArgumentTypeError(f"{text!r}: {len(values)} numbers; valid: 6 angles [rad]")
    return values


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for side in SIDES:
        home = tuple(float(angle) for angle in HOME_Q[part_indices(f"{side}_arm")])
        parser.add_argument(f"--{side}", type=_loopback, help=f"loopback address of the {side} arm")
        parser.add_argument(f"--serial-{side}", default=EmulatedArmConfig().serial_number, help="its serial number")
        parser.add_argument(f"--q-{side}", type=_six_numbers, default=home, help="its angles at the start [rad]")
    parser.add_argument("--controller", choices=CONTROLLERS, default="ur5e", help="which controllers are played")
    parser.add_argument(
        "--log", type=user_path, help="write commands and events to this file, one JSON object per line"
    )
    parser.add_argument(
        "--unlock-delay",
        type=float,
        default=EmulatedArmConfig().unlock_delay_s,
        help="a protective stop can't be released earlier [s]; 5 s on a real controller",
    )
    parser.add_argument("--real-time", action="store_true", help="request real-time priority, as a controller has")
    arguments = parser.parse_args(argv)
    if arguments.left is None and arguments.right is None:
        parser.error("name the address of at least one arm: --left 127.0.0.1 --right 127.0.0.2")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT, SIGHUP, SIGTERM or the end of the process that started it."""
    arguments = _arguments(argv)
    asked_s: float | None = None  # when it was asked to stop

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        nonlocal asked_s
        if asked_s is None or number == signal.SIGTERM:
            asked_s = -LINGER_S if number == signal.SIGTERM else time.monotonic()

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGHUP, ask_to_stop)
    if arguments.real_time:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        except PermissionError:
            print("no permission for real-time priority; continuing without", file=sys.stderr)
    file = None if arguments.log is None else check_file(arguments.log, force=True).open("w", encoding="utf-8")
    controllers = []
    try:
        for side in SIDES:
            address = getattr(arguments, side)
            if address is not None:
                config = EmulatedArmConfig(
                    controller=CONTROLLERS[arguments.controller],
                    serial_number=getattr(arguments, f"serial_{side}"),
                    q_start=getattr(arguments, f"q_{side}"),
                    unlock_delay_s=arguments.unlock_delay,
                )
                controllers.append(UrController(EmulatedArm(config, ArmLog(side, file)), address))
    except OSError as error:
        print(f"cannot listen on {error.strerror}", file=sys.stderr)
        return 1
    ready = {controller.arm.log.side: controller.address for controller in controllers}
    print(json.dumps({"ready": ready, "control_port": CONTROL_PORT}), flush=True)

    flushed_s = time.monotonic()

    def flush() -> None:
        nonlocal flushed_s
        if file is not None and time.monotonic() - flushed_s > FLUSH_S:
            file.flush()
            flushed_s = time.monotonic()

    np.seterr(all="raise", under="ignore")
    gc.freeze()
    parent = os.getppid()

    def stopped() -> bool:
        """Asked to, and no driver is left: with launch all get SIGINT at once, and the arms want to stop properly."""
        nonlocal asked_s
        if os.getppid() != parent and asked_s is None:  # who started it was killed
            asked_s = time.monotonic()
        if asked_s is None:
            return False
        driven = any(isinstance(c, RtdeConnection) for controller in controllers for c in controller.connections)
        return not driven or time.monotonic() - asked_s > LINGER_S

    try:
        serve(controllers, stopped, flush)
    finally:
        for controller in controllers:
            controller.close()
        if file is not None:
            file.close()
    return 0


if __name__ == "__main__":
    cli(main)
