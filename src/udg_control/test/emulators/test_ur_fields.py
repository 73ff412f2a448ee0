"""RTDE as the emulator speaks it."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from udg_control.emulators import ur_fields as rtde


def test_messages_survive_any_cutting() -> None:
    sent = [(ord("O"), b"abc"), (ord("S"), b""), (ord("U"), bytes(range(200)))]
    stream = b"".join(rtde.message(kind, payload) for kind, payload in sent)
    for cut in range(len(stream)):
        buffer = bytearray(stream[:cut])
        got = rtde.split_packages(buffer)
        buffer += stream[cut:]
        got += rtde.split_packages(buffer)
        assert [tuple(package) for package in got] == sent
        assert not buffer


def test_a_message_shorter_than_its_header_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 bytes"):
        rtde.split_packages(bytearray(b"\x00\x02V"))


def test_a_data_package_is_what_the_guide_says() -> None:
    outputs = rtde.Outputs()
    outputs.field("timestamp")[0] = 12.5
    outputs.field("actual_q")[0] = np.arange(6)
    outputs.field("robot_mode")[0] = -1
    outputs.field("safety_status_bits")[0] = 0x401
    recipe = rtde.OutputRecipe(7, ["robot_mode", "actual_q", "timestamp", "safety_status_bits"], outputs)
    assert recipe.types == ["INT32", "VECTOR6D", "DOUBLE", "UINT32"]
    payload = struct.pack(">Bi7dI", 7, -1, 0, 1, 2, 3, 4, 5, 12.5, 0x401)
    assert recipe.packet(outputs) == struct.pack(">HB", 3 + len(payload), ord("U")) + payload


def test_unknown_fields_are_not_found() -> None:
    outputs = rtde.Outputs()
    assert rtde.OutputRecipe(1, ["actual_q", "colour"], outputs).types == ["VECTOR6D", "NOT_FOUND"]
    assert rtde.InputRecipe(["input_int_register_0", "colour"]).types == ["INT32", "NOT_FOUND"]


def test_a_short_input_package_is_filled_with_zeros() -> None:
    """ur_rtde sends one when servoJ is given fewer than 6 joints."""
    recipe = rtde.InputRecipe(["input_int_register_0", *(f"input_double_register_{i}" for i in range(11))])
    assert recipe.n_doubles == 11
    assert recipe.unpack(struct.pack(">i3d", 11, 1.0, 2.0, 3.0)) == (11, 1.0, 2.0, 3.0, *[0.0] * 8)
