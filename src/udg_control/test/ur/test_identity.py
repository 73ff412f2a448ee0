"""Which controllers are refused, and by what name."""

from __future__ import annotations

import re

import pytest

from udg_control.emulators.ur_arm import CONTROLLERS, EmulatedArm, EmulatedArmConfig
from udg_control.emulators.ur_log import ArmLog
from udg_control.ur.identity import QUESTIONS, Identity, identify, version_of, wrong_serial, wrong_version


def ask(kind: str) -> tuple[Identity, str]:
    """Identify an emulated controller by its own answers."""
    controller = CONTROLLERS[kind]
    arm = EmulatedArm(EmulatedArmConfig(controller=controller), ArmLog("left"))
    return identify(controller.version[:3], {question: arm.dashboard(question) for question in QUESTIONS})


def test_a_ur5e_is_taken() -> None:
    assert ask("ur5e") == (Identity("5.12.4", "UR5e", "20215501234"), "")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ur10e", "drives a UR10e; a UR5e"),
        ("ur3e", "drives a UR3e; a UR5e"),
        ("cb3", r"is a CB3 or older \(PolyScope 3.10.2\)"),
        ("polyscope_5.4", "runs PolyScope 5.4.3; .* 5.6 or newer"),
        ("polyscope_x", r"runs PolyScope X \(10.7.0\)"),
    ],
)
def test_any_other_is_refused_by_name(kind: str, words: str) -> None:
    _, wrong = ask(kind)
    assert re.search(words, wrong), wrong


def test_a_dashboard_that_does_not_know_a_question_says_which_polyscope_is_needed() -> None:
    answers = dict.fromkeys(QUESTIONS, "could not understand: 'x'")
    assert identify((), answers)[1] == "does not know 'is in remote control': PolyScope 5.6 or newer is needed"


def test_a_robot_without_a_name_is_refused() -> None:
    answers = {"PolyscopeVersion": "URSoftware 5.15.0", "get robot model": "", "get serial number": "1"}
    assert "does not name" in identify((), {**answers, "is in remote control": "true"})[1]


@pytest.mark.parametrize(
    ("text", "version"),
    [("URSoftware 5.12.4.1101661 (Dec 2021)", (5, 12, 4)), ("10.7.0", (10, 7, 0)), ("no version", ()), ("", ())],
)
def test_versions_are_found_in_texts(text: str, version: tuple[int, ...]) -> None:
    assert version_of(text) == version


def test_an_unknown_version_is_left_to_the_other_checks() -> None:
    assert wrong_version(()) == "" and wrong_version((5, 6, 0)) == "" and wrong_version((5, 22, 1)) == ""
    assert wrong_version((5, 5, 9)) and wrong_version((1, 8)) and wrong_version((11, 0, 0))


def test_serial_numbers_tell_another_arm_and_swapped_addresses() -> None:
    found = Identity("5.12.4", "UR5e", "B")
    assert wrong_serial(found, "", "") == "" and wrong_serial(found, "B", "A") == ""
    assert wrong_serial(found, "A", "") == "has serial number B, not A"
    assert "which is the other arm's: the addresses of both are swapped" in wrong_serial(found, "A", "B")
    assert "swapped" in wrong_serial(found, "", "B")
    assert wrong_serial(found._replace(serial_number=""), "A", "") == "has serial number unknown, not A"
