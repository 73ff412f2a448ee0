"""The vendor's SDK, narrowed down to what the driver needs: find one hand, command it, read its state."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

from udg_control.errors import DeviceError
from udg_control.xhand.codes import OK, STATE_VALID, TACTILE_FAILED
from udg_control.xhand.config import XHandConfig
from udg_control.xhand.shared import Joints
from udg_description.layout import SIDES, Side

POSITION_MODE, PASSIVE_MODE = 3, 0
HAND_TYPES = dict(zip(SIDES, "LR", strict=True))
_RETRY_S = 0.05
_OTHER_PROBE_S = 2.0  # longest wait for a port at which another process looks for its hand


class SdkError(DeviceError):
    """The SDK or the hand is not there; `wrong_device` where another hand is there."""

    def __init__(self, text: str, *, wrong_device: bool = False) -> None:
        super().__init__(text)
        self.wrong_device = wrong_device


def load_sdk(module: str) -> Any:  # noqa: ANN401 (a module of the vendor)
    """Import the vendor's module. Raises SdkError that says where it comes from."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SdkError(
            f"the XHand SDK ({module}) can't be imported: {error}; install the vendor's wheel xhand_controller "
            "(for Python 3.10 or 3.12; it is not on PyPI), see docs/xhand.md"
        ) from error


class Hand:
    """One hand at its port. The methods block for up to 0.1 s; the vendor's library may end the process."""

    def __init__(self, sdk: Any, side: Side, config: XHandConfig, alive: Callable[[], None]) -> None:  # noqa: ANN401
        """Find the hand by its type and serial number, whatever its port. Raises SdkError.

        `alive` is called in between, so that a supervisor does not take a long search for a hang.
        """
        self._config = config
        self._alive = alive
        self._control = sdk.XHandControl()
        self._lock: TextIO | None = None
        self._id = 0
        self.port, self.serial_number = "", ""
        self._find(side)
        self.version = str(getattr(self._control, "get_sdk_version", lambda: "unknown")())
        self._command = sdk.HandCommand_t()
        for joint, finger in enumerate(self._command.finger_command):
            finger.id, finger.kp, finger.ki, finger.kd = joint, config.kp, config.ki, config.kd
            finger.tor_max, finger.mode = config.current_limit_ma, POSITION_MODE

    def _find(self, side: Side) -> None:
        wanted = f"{side} hand" + (f" {self._config.serial_number}" if self._config.serial_number else "")
        found: dict[str, str] = {}
        pending = list(self._config.chosen_ports or self._control.enumerate_devices(self._config.bus))
        if not pending:
            raise SdkError(f"no {self._config.bus} port for the {wanted}; is the adapter plugged in?")
        deadline_s = time.monotonic() + _OTHER_PROBE_S
        while pending and time.monotonic() < deadline_s:
            for port in list(pending):
                self._alive()
                lock = _lock(port)
                if lock is None:
                    found[port] = "in use by another process"
                    continue
                pending.remove(port)
                if self._open(port, side, found):
                    self._lock, self.port = lock, port
                    return
                lock.close()
            if pending:
                time.sleep(_RETRY_S)
        there = "; ".join(f"{port}: {what}" for port, what in found.items())
        mine = "hand of" if self._config.chosen_ports else f"hand of type '{HAND_TYPES[side]}'"
        wrong_device = any(what.startswith(mine) for what in found.values())
        raise SdkError(f"the {wanted} is at none of the ports ({there})", wrong_device=wrong_device)

    def _open(self, port: str, side: Side, found: dict[str, str]) -> bool:
        """Whether the hand that is wanted is at this port; stays open if so."""
        control = self._control
        serial = self._config.bus == "RS485"
        result = control.open_serial(port, self._config.baud_rate) if serial else control.open_ethercat(port)
        if result.error_code != OK:
            found[port] = f"does not open ({result.error_code} {result.error_message})"
            return False
        found[port] = "no answer"
        for hand_id in control.list_hands_id():
            hand_type = self._ask(control.get_hand_type, hand_id)
            serial_number = self._ask(control.get_serial_number, hand_id).strip("\0 ")
            found[port] = f"hand of type '{hand_type}', serial number {serial_number or 'unknown'}"
            if hand_type == HAND_TYPES[side] and self._config.serial_number in ("", serial_number):
                self._id, self.serial_number = hand_id, serial_number
                return True
        control.close_device()
        return False

    def _ask(self, question: Callable[[int], Any], hand_id: int) -> str:
        """Ask a few times: the first answers after opening may be garbled."""
        for _ in range(5):
            self._alive()
            error, answer = question(hand_id)
            if error.error_code == OK and answer:
                return str(answer)
            time.sleep(_RETRY_S)
        return ""

    def command(self, q: np.ndarray) -> tuple[int, str]:
        """Send target positions (12,) [rad] and wait for the reply; returns the SDK's code and message."""
        for finger, position in zip(self._command.finger_command, q.tolist(), strict=True):
            finger.position = position
        result = self._control.send_command(self._id, self._command)
        return result.error_code, result.error_message

    def poll(self) -> tuple[int, str]:
        """Ask for the state without a command; only before the first one, because the SDK sends the last one again."""
        result, _ = self._control.read_state(self._id, True)
        return result.error_code, result.error_message

    def joints(self, code: int) -> Joints:
        """The state of the last reply, whose code was `code`."""
        _, state = self._control.read_state(self._id, False)
        fingers = state.finger_state
        force = np.full((len(state.sensor_data), 3), np.nan)
        if code in STATE_VALID and code not in TACTILE_FAILED:
            forces = [sensor.calc_force for sensor in state.sensor_data]
            scale = self._config.tactile_scale_n or 1.0
            force = scale * np.array([[f.fx, f.fy, f.fz] for f in forces], dtype=np.float64)
        return Joints(
            q=np.array([finger.position for finger in fingers], dtype=np.float64),
            current=1e-3 * np.array([finger.torque & 0xFFFF for finger in fingers], np.uint16).astype(np.int16),
            temperature=np.array([finger.temperature & 0xFF for finger in fingers], dtype=np.float64),
            force=force,
        )

    def release(self) -> None:
        """Ask for mode 0 and close the port. It lets go of the joints, but one hand was seen to keep a resistance."""
        for finger in self._command.finger_command:
            finger.mode = PASSIVE_MODE
        for _ in range(5):
            if self._control.send_command(self._id, self._command).error_code in STATE_VALID:
                break
        self.close()

    def close(self) -> None:
        """Close the port. The hand keeps its last target."""
        self._control.close_device()


def _lock(port: str) -> TextIO | None:
    """Keep other drivers of this host off a port; None where one has it. Freed when the file is closed."""
    name = hashlib.sha256(os.path.realpath(port).encode()).hexdigest()[:16]
    path = os.path.join(tempfile.gettempdir(), f"udg_xhand_{os.getuid()}_{name}.lock")
    file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
