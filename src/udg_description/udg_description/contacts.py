"""Where the hands touch: fingertip pads, fingertips, palm points, strategies (data/contacts.yaml)."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import yaml

from udg_description.errors import RobotModelError
from udg_description.layout import Side

FINGERS = ("thumb", "index", "mid", "ring", "pinky")


class Pad(NamedTuple):
    """A fingertip's pad, in its link's frame: a sphere (center (3,), radius [m]) and the axis (3,) that it faces."""

    link: str
    center: np.ndarray
    radius: float
    axis: np.ndarray


class Palm(NamedTuple):
    """Points (P, 3) [m] on the palm's surface and the normal (3,) out of it, in the frame of `link`."""

    link: str
    points: np.ndarray
    normal: np.ndarray


class HandContacts(NamedTuple):
    """Contacts of one hand. `tips` (3,) [m] are the fingers' ends, in the frames of the pads' links."""

    pads: dict[str, Pad]
    tips: dict[str, np.ndarray]
    palm: Palm
    strategies: dict[str, tuple[str, ...]]

    def strategy(self, name: str) -> tuple[str, ...]:
        """Names of the pads that a strategy uses. Raises RobotModelError on an unknown one."""
        try:
            return self.strategies[name]
        except KeyError:
            valid = ", ".join(self.strategies)
            raise RobotModelError(f"unknown grasp strategy {name!r}: valid are {valid}") from None


@lru_cache(maxsize=2)
def hand_contacts(side: Side) -> HandContacts:
    """Contacts of the hand of one side; the left hand's are the right hand's mirrored (y -> -y)."""
    data = yaml.safe_load((files("udg_description") / "data" / "contacts.yaml").read_text())
    sign = np.array([1.0, -1.0 if side == "left" else 1.0, 1.0])
    pads = {}
    for finger in FINGERS:
        pad = data["pads"][finger]
        axis = sign * pad["axis"]
        pads[finger] = Pad(f"{side}_{pad['link']}", sign * pad["center"], pad["radius"], axis / np.linalg.norm(axis))
    palm = data["palm"]
    points = sign * np.array(list(palm["points"].values()), dtype=float)
    return HandContacts(
        pads=pads,
        tips={finger: np.array(data["tips"][side][finger], dtype=float) for finger in FINGERS},
        palm=Palm(f"{side}_{palm['link']}", points, sign * palm["normal"]),
        strategies={name: tuple(fingers) for name, fingers in data["strategies"].items()},
    )
