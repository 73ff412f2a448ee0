"""RTDE version 2: names and types of the controller's fields, and packing of what a client has asked for.

Source: Universal Robots' RTDE guide; the subset that ur_rtde 1.6 uses.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

REQUEST_VERSION, GET_CONTROLLER_VERSION = ord("V"), ord("v")
SETUP_OUTPUTS, SETUP_INPUTS, START, PAUSE, DATA = ord("O"), ord("I"), ord("S"), ord("P"), ord("U")
HEADER = struct.Struct(">HB")  # size with header, type
N_REGISTERS = 48
NOT_FOUND = "NOT_FOUND"

_FORMATS: dict[str, tuple[str, int]] = {  # RTDE type: numpy type (big endian), count
    "BOOL": ("u1", 1),
    "UINT8": ("u1", 1),
    "UINT32": (">u4", 1),
    "UINT64": (">u8", 1),
    "INT32": (">i4", 1),
    "DOUBLE": (">f8", 1),
    "VECTOR3D": (">f8", 3),
    "VECTOR6D": (">f8", 6),
    "VECTOR6INT32": (">i4", 6),
}

_VECTOR6 = (
    "target_q target_qd target_qdd target_current target_moment actual_q actual_qd actual_current joint_control_output "
    "actual_TCP_pose actual_TCP_speed actual_TCP_force target_TCP_pose target_TCP_speed joint_temperatures "
    "actual_joint_voltage actual_current_as_torque ft_raw_wrench payload_inertia"
)
_DOUBLE = (
    "timestamp actual_execution_time speed_scaling target_speed_fraction actual_momentum actual_main_voltage "
    "actual_robot_voltage actual_robot_current standard_analog_input0 standard_analog_input1 standard_analog_output0 "
    "standard_analog_output1 payload"
)
OUTPUT_TYPES: dict[str, str] = {
    **dict.fromkeys(_VECTOR6.split(), "VECTOR6D"),
    **dict.fromkeys(_DOUBLE.split(), "DOUBLE"),
    **dict.fromkeys(("actual_tool_accelerometer", "payload_cog"), "VECTOR3D"),
    **dict.fromkeys(("actual_digital_input_bits", "actual_digital_output_bits"), "UINT64"),
    **dict.fromkeys(("robot_mode", "safety_mode"), "INT32"),
    "joint_mode": "VECTOR6INT32",
    **dict.fromkeys(("runtime_state", "robot_status_bits", "safety_status_bits"), "UINT32"),
    **{f"output_int_register_{i}": "INT32" for i in range(N_REGISTERS)},
    **{f"output_double_register_{i}": "DOUBLE" for i in range(N_REGISTERS)},
}
INPUT_TYPES: dict[str, str] = {
    **{f"input_int_register_{i}": "INT32" for i in range(N_REGISTERS)},
    **{f"input_double_register_{i}": "DOUBLE" for i in range(N_REGISTERS)},
    "external_force_torque": "VECTOR6D",
    "speed_slider_mask": "UINT32",
    "speed_slider_fraction": "DOUBLE",
    "standard_digital_output_mask": "UINT8",
    "standard_digital_output": "UINT8",
    "configurable_digital_output_mask": "UINT8",
    "configurable_digital_output": "UINT8",
    "tool_digital_output_mask": "UINT8",
    "tool_digital_output": "UINT8",
    "standard_analog_output_mask": "UINT8",
    "standard_analog_output_type": "UINT8",
    "standard_analog_output_0": "DOUBLE",
    "standard_analog_output_1": "DOUBLE",
}


def _dtype(name: str, rtde_type: str) -> tuple[str, str] | tuple[str, str, int]:
    code, count = _FORMATS[rtde_type]
    return (name, code) if count == 1 else (name, code, count)


class Outputs:
    """All output fields of a controller in one packed big-endian record, so that a packet is one gather of bytes."""

    def __init__(self) -> None:
        """All zero."""
        dtype = np.dtype([_dtype(name, rtde_type) for name, rtde_type in OUTPUT_TYPES.items()])  # type: ignore[misc]
        record = np.zeros(1, dtype)
        self.bytes = record.view(np.uint8)
        self._views = {name: record[name] for name in OUTPUT_TYPES}

    def field(self, name: str) -> np.ndarray:
        """The view of a field, (1,) or (1, n): assign with `[0]`."""
        return self._views[name]

    def where(self, name: str) -> np.ndarray:
        """Where the bytes of a field lie in `bytes`."""
        dtype, offset = self._views[name].base.dtype.fields[name][:2]  # type: ignore[union-attr]
        return np.arange(offset, offset + dtype.itemsize)


class OutputRecipe:
    """The fields that a client wants, in its order."""

    def __init__(self, recipe_id: int, names: Sequence[str], outputs: Outputs) -> None:
        """Names that do not exist get the type NOT_FOUND."""
        self.types = [OUTPUT_TYPES.get(name, NOT_FOUND) for name in names]
        self.names = frozenset(names)
        found = [outputs.where(name) for name in names if name in OUTPUT_TYPES]
        self._where = np.concatenate(found) if found else np.zeros(0, np.int64)
        self._head = HEADER.pack(HEADER.size + 1 + len(self._where), DATA) + bytes([recipe_id])

    def packet(self, outputs: Outputs) -> bytes:
        """The data package of now."""
        return self._head + outputs.bytes[self._where].tobytes()


class InputRecipe:
    """The fields that a client will send, in its order."""

    _CODES = {"INT32": "i", "DOUBLE": "d", "UINT32": "I", "UINT8": "B", "VECTOR6D": "6d"}

    def __init__(self, names: Sequence[str]) -> None:
        """Names that do not exist get the type NOT_FOUND."""
        self.names = tuple(names)
        self.types = [INPUT_TYPES.get(name, NOT_FOUND) for name in names]
        self._struct = struct.Struct(">" + "".join(self._CODES[kind] for kind in self.types if kind != NOT_FOUND))
        self.has_command = bool(names) and names[0] in ("input_int_register_0", "input_int_register_24")
        self.n_doubles = 0  # double registers 0, 1, ... that come right after the command
        for name in names[1:]:
            if name not in (f"input_double_register_{self.n_doubles}", f"input_double_register_{self.n_doubles + 24}"):
                break
            self.n_doubles += 1

    def unpack(self, payload: bytes) -> tuple[float, ...]:
        """The values; a package that is too short is filled with zeros, of one too long the rest is ignored."""
        size = self._struct.size
        if len(payload) != size:
            payload = payload[:size].ljust(size, b"\0")
        return self._struct.unpack(payload)


class Package(NamedTuple):
    """A message of RTDE without its header."""

    kind: int
    payload: bytes


def split_packages(buffer: bytearray) -> list[Package]:
    """Take all complete messages out of the buffer."""
    packages = []
    start = 0
    while len(buffer) - start >= HEADER.size:
        size, kind = HEADER.unpack_from(buffer, start)
        if size < HEADER.size:
            raise ValueError(f"a message of {size} bytes; valid: at least {HEADER.size}")
        if len(buffer) - start < size:
            break
        packages.append(Package(kind, bytes(buffer[start + HEADER.size : start + size])))
        start += size
    del buffer[:start]
    return packages


def message(kind: int, payload: bytes = b"") -> bytes:
    """A message with its header."""
    return HEADER.pack(HEADER.size + len(payload), kind) + payload
