"""Which controller answers at an address, and whether it is one of the configured robot's: refused by name if not."""

from __future__ import annotations

import re
from typing import NamedTuple

MODEL = "UR5e"  # what kinematics, limits and collision spheres of this project describe
E_SERIES = 5  # PolyScope's first number
POLYSCOPE_X = 10
LEAST_MINOR = 6  # the dashboard of 5.6 tells model, serial number and remote control
NEEDED = f"a {MODEL} (e-Series, PolyScope 5.{LEAST_MINOR} or newer of 5) is needed"
QUESTIONS = ("PolyscopeVersion", "get robot model", "get serial number", "is in remote control")
_NOT_UNDERSTOOD = "could not understand"


class Identity(NamedTuple):
    """What a controller says about itself; "" what it does not know."""

    polyscope: str  # "5.12.4"
    model: str  # "UR5e"
    serial_number: str


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version in a text like "URSoftware 5.12.4.1101661 (Dec 2021)", () if there is none."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(number) for number in found.group().split(".")[:3]) if found else ()


def wrong_version(version: tuple[int, ...]) -> str:
    """Say why a controller of this PolyScope can't be used; "" if it can, or if the version is not known."""
    if not version:
        return ""
    name = ".".join(str(number) for number in version[:3])
    if version[0] >= POLYSCOPE_X:
        return f"runs PolyScope X ({name}), which has no dashboard server and takes no program from ur_rtde; {NEEDED}"
    if version[0] < E_SERIES:
        return f"is a CB3 or older (PolyScope {name}); {NEEDED}"
    if version[0] == E_SERIES and len(version) > 1 and version[1] < LEAST_MINOR:
        return f"runs PolyScope {name}; {NEEDED}"
    return ""


def identify(version: tuple[int, ...], answers: dict[str, str]) -> tuple[Identity, str]:
    """Who a controller is and why it can't be used ("": it can), by its answers to QUESTIONS.

    `version` is what its RTDE says, () if it says nothing.
    """
    dashboard = version_of(answers["PolyscopeVersion"])
    version = dashboard or version
    series = "e" if version and version[0] == E_SERIES else ""
    model = answers["get robot model"].strip()
    unknown = [question for question in QUESTIONS if _NOT_UNDERSTOOD in answers[question].lower()]
    if "get robot model" in unknown:
        model = ""
    elif model and not model.endswith("e"):
        model += series
    serial = "" if "get serial number" in unknown else answers["get serial number"].strip()
    identity = Identity(".".join(str(number) for number in version), model, serial)
    if wrong_version(version):
        return identity, wrong_version(version)
    if unknown:
        return identity, f"does not know '{unknown[-1]}': PolyScope 5.{LEAST_MINOR} or newer is needed"
    if model != MODEL:
        return identity, f"drives a {model or 'robot that it does not name'}; {NEEDED}"
    return identity, ""


def wrong_serial(identity: Identity, expected: str, partners: str) -> str:
    """Say why this is not the arm of that serial number; "" if it is, or if none is configured.

    `partners` is the configured serial number of the other arm.
    """
    found = identity.serial_number
    if partners and found == partners and expected != partners:
        return f"has serial number {found}, which is the other arm's: the addresses of both are swapped"
    if expected and found != expected:
        return f"has serial number {found or 'unknown'}, not {expected}"
    return ""
