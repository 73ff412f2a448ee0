"""A stand-in for the vendor's module `xhand_controller.xhand_control` (SDK 1.1): its names, types, timing and faults.

The hands are those of `xhand_bus`. Only what a driver needs is here; what the vendor's binding refuses is refused.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from udg_control.emulators.xhand_bus import BUS_VARIABLE, EXCHANGE_S, LATE_S, ONCE, POSITION_MODE, Adapter, XHandBus
from udg_description.layout import N_HAND_JOINTS

N_SENSORS = 5
N_TAXELS = 120
BAUD_RATE = 3_000_000
MODES = (0, POSITION_MODE)  # most boards have no mode 5
FIRST_BAD_READS = 2  # after opening, the first answers come with CRC errors
OK = 0
INVALID_MODE, OVERHEATED, SENSOR_FAILED, CURRENT_PROTECTED = 1501029, 1501028, 1501018, 1501035
OUT_OF_RANGE = 1501030
INVALID_DEVICE, NOT_INITIALISED, OPEN_FAILED, SERIAL_ERROR, CRC_ERROR = 1501037, 1501038, 1501039, 1501050, 1501070
_MESSAGES = {
    OK: "",
    INVALID_MODE: "Invalid mode",
    OVERHEATED: "Joint board overheating",
    SENSOR_FAILED: "Sensor fails to read the combined force",
    CURRENT_PROTECTED: "Joint current protection",
    INVALID_DEVICE: "Invalid device id",
    NOT_INITIALISED: "Device is not initialised",
    OPEN_FAILED: "Failed to open device",
    SERIAL_ERROR: "Serial communication error",
    CRC_ERROR: "Communication data CRC error",
    OUT_OF_RANGE: "Parameter out of range",
}


class ErrorStruct:
    """Result of a call; 0 is well."""

    def __init__(self, error_code: int = OK) -> None:
        self.error_code = error_code
        self.error_message = _MESSAGES[error_code]


class FingerCommand_t:  # noqa: N801 (the vendor's name)
    """Command of one joint. The binding takes int for all but the position."""

    position: float
    tor_max: int
    mode: int

    def __init__(self) -> None:
        self.__dict__.update(id=0, kp=0, ki=0, kd=0, position=0.0, tor_max=0, mode=0, res0=0, res1=0, res2=0, res3=0)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.__dict__:
            raise AttributeError(f"'FingerCommand_t' object has no attribute '{name}'")
        wanted: tuple[type, ...] = (int, float) if name == "position" else (int,)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(f"(): incompatible function arguments for {name}: {value!r}")
        if name != "position" and not -32768 <= value <= 65535:  # type: ignore[operator]
            raise TypeError(f"(): {name} out of range: {value!r}")
        self.__dict__[name] = value


class HandCommand_t:  # noqa: N801
    """Command of a hand."""

    def __init__(self) -> None:
        self.finger_command = [FingerCommand_t() for _ in range(N_HAND_JOINTS)]


class FingerState_t:  # noqa: N801
    """State of one joint; `torque` is the current in mA as an unsigned number of 16 bits."""

    def __init__(self) -> None:
        self.id = self.sensor_id = self.torque = self.raw_position = self.temperature = 0
        self.commboard_err = self.jonitboard_err = self.tipboard_err = 0
        self.position = 0.0


class PXSR_ForceData:  # noqa: N801
    """A force in the sensor's units."""

    def __init__(self) -> None:
        self.fx = self.fy = self.fz = 0


class SenserData_t:  # noqa: N801
    """A fingertip's sensor."""

    def __init__(self) -> None:
        self.calc_force = PXSR_ForceData()
        self.raw_force = [PXSR_ForceData() for _ in range(N_TAXELS)]
        self.temperature = [25] * 20
        self.calc_temperature = 25


class HandState_t:  # noqa: N801
    """State of a hand."""

    def __init__(self) -> None:
        self.finger_state = [FingerState_t() for _ in range(N_HAND_JOINTS)]
        self.sensor_data = [SenserData_t() for _ in range(N_SENSORS)]


class XHandControl:
    """One bus."""

    def __init__(self) -> None:
        folder = os.environ.get(BUS_VARIABLE)
        self._bus = XHandBus() if folder is None else XHandBus(Path(folder), hands=())
        self._adapter: Adapter | None = None
        self._bad_reads = 0
        self._last_command = HandCommand_t()
        self._state = HandState_t()
        self._closed = False

    def enumerate_devices(self, protocol: str) -> list[str]:
        """Ports with an adapter that is plugged in."""
        adapters = [Adapter(folder) for folder in self._bus.folders()] if protocol == "RS485" else []
        return [adapter.hand.port for adapter in adapters if "unplug" not in adapter.faults()]

    def open_serial(self, port: str, baudrate: int) -> ErrorStruct:
        """Open the bus at a port."""
        for folder in self._bus.folders():
            adapter = Adapter(folder)
            if adapter.hand.port == port and baudrate == BAUD_RATE and "unplug" not in adapter.faults():
                self._adapter, self._bad_reads, self._closed = adapter, FIRST_BAD_READS, False
                adapter.note("open")
                return ErrorStruct()
        return ErrorStruct(OPEN_FAILED)

    def open_ethercat(self, ifname: str) -> ErrorStruct:
        """There is no emulated EtherCAT."""
        del ifname
        return ErrorStruct(OPEN_FAILED)

    def close_device(self) -> None:
        """Close the bus; the hand continues with what it was told last."""
        if self._adapter is not None:
            self._adapter.note("close")
            self._adapter.close()
        self._adapter, self._closed = None, True

    def list_hands_id(self) -> list[int]:
        """Ids that answer."""
        adapter = self._adapter
        return (
            []
            if adapter is None or not adapter.hand.hand_type or "unplug" in adapter.faults()
            else [adapter.hand.hand_id]
        )

    def get_sdk_version(self) -> str:
        """Version."""
        return "1.1.7-emulated"

    def get_hand_type(self, hand_id: int) -> tuple[ErrorStruct, str]:
        """The side, "L" or "R"."""
        code = self._check(hand_id)
        return ErrorStruct(code), "" if code or self._adapter is None else self._adapter.hand.hand_type

    def get_serial_number(self, hand_id: int) -> tuple[ErrorStruct, str]:
        """The serial number."""
        code = self._check(hand_id)
        return ErrorStruct(code), "" if code or self._adapter is None else self._adapter.hand.serial_number

    def send_command(self, hand_id: int, command: HandCommand_t) -> ErrorStruct:
        """Send a command and wait for the reply, which carries the state."""
        return ErrorStruct(self._exchange(hand_id, command))

    def read_state(self, hand_id: int, force_update: bool) -> tuple[ErrorStruct, HandState_t]:
        """The state: of the last reply, or of a new one to the last command, sent again."""
        if force_update:
            return ErrorStruct(self._exchange(hand_id, self._last_command)), self._state
        return ErrorStruct(self._check(hand_id)), self._state

    def _check(self, hand_id: int) -> int:
        if self._adapter is None:
            return SERIAL_ERROR if self._closed else NOT_INITIALISED
        if "unplug" in self._adapter.faults():
            return SERIAL_ERROR
        return OK if hand_id == self._adapter.hand.hand_id else INVALID_DEVICE

    def _exchange(self, hand_id: int, command: HandCommand_t) -> int:
        if self._adapter is not None:
            once = self._adapter.take_once(*ONCE)
            time.sleep(LATE_S if once & {"late_reply", "crc_late"} else EXCHANGE_S)
            faults = self._adapter.faults() | once
            if "abort" in faults:
                os.kill(os.getpid(), signal.SIGABRT)
            while "hang" in self._adapter.faults():
                time.sleep(EXCHANGE_S)
        code = self._check(hand_id)
        if code or self._adapter is None:
            return code
        if self._bad_reads > 0 or {"crc", "crc_once", "crc_late"} & faults:
            self._bad_reads -= 1
            return CRC_ERROR
        fingers = command.finger_command
        if "mode_refused" in faults or any(finger.mode not in MODES for finger in fingers):
            return INVALID_MODE
        target = np.array([finger.position for finger in fingers], dtype=np.float32).astype(np.float64)
        if fingers[0].mode == POSITION_MODE and self._adapter.refuses(target):
            return OUT_OF_RANGE
        self._last_command = command
        self._adapter.command(
            target,
            np.array([float(finger.tor_max) for finger in fingers]),
            fingers[0].mode,
        )
        self._measure(self._adapter)
        if "hot" in faults:
            return OVERHEATED
        if {"over_current", "blocked"} & faults or self._adapter.stalls():
            return CURRENT_PROTECTED
        return SENSOR_FAILED if "sensor" in faults else OK

    def _measure(self, adapter: Adapter) -> None:
        """Fill the state."""
        adapter.advance()
        sign = np.where(adapter.target < adapter.q, -1.0, 1.0)
        for joint, (finger, amount) in enumerate(zip(self._state.finger_state, adapter.current(), strict=True)):
            finger.id = joint
            finger.position = float(np.float32(adapter.q[joint]))
            finger.torque = int(sign[joint] * amount) & 0xFFFF
            finger.temperature = 95 if "hot" in adapter.faults() else 35
        pressing = adapter.current()[[2, 5, 7, 9, 11]] > 0.5 * adapter.current_limit[[2, 5, 7, 9, 11]]
        for sensor, presses in zip(self._state.sensor_data, pressing, strict=True):
            sensor.calc_force.fz = 30 if presses else 0
