"""Emulated XHands that live in a folder, so that the driver's process and a test meet them there.

Each adapter is a folder with hand.json (what the hand is), faults.json (what is wrong with it now), joints.bin (where
its joints are; continues over the driver's end, as a real hand does) and log.jsonl (what it was told).
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from udg_control.errors import ControlError
from udg_description.files import write_atomically
from udg_description.layout import HOME_Q, N_HAND_JOINTS, SIDES, part_indices
from udg_description.limits import joint_limits

BUS_VARIABLE = "UDG_XHAND_BUS"  # the folder, in the environment of the driver
FAULTS = (
    "unplug",
    "abort",
    "hang",
    "crc",
    "crc_once",  # one reply
    "crc_late",  # one reply, after 0.1 s
    "late_reply",  # one reply after 0.1 s, without a code
    "stall",  # something holds all joints where they are: a squeeze
    "blocked",  # the thumb is jammed and draws what it can
    "over_current",
    "hot",
    "sensor",
    "mode_refused",
    "narrow",  # refuses targets near the upper limits of joints that bend
)
ONCE = ("crc_once", "crc_late", "late_reply")
EXCHANGE_S = 0.0096  # a command and its reply over RS485
LATE_S = 0.105
POSITION_MODE = 3
TIME_CONSTANT_S = 0.03
MILLIAMPERE_PER_RAD = 2400.0  # of the distance that a joint is held from its target: 0.65 A at 16 deg
MOST_MILLIAMPERE = 1540.0  # whatever tor_max says
OVER_MILLIAMPERE = 2600.0
BLOCKED_JOINT = 2
NARROW_RAD = 0.175  # of the upper limits that a narrow hand lacks
STALL_MILLIAMPERE = 100
STALL_S = 0.5
_N_VALUES = 3 * N_HAND_JOINTS + 3  # q, target, current limit [mA]; mode, time, since when nothing pressed [s]


class BusError(ControlError):
    """An emulated hand that is not there, or a fault that it does not know."""


@dataclass(frozen=True, kw_only=True)
class EmulatedHand:
    """What an emulated hand is."""

    port: str  # its adapter's
    hand_type: str  # "L" or "R", as the SDK says; "": an adapter that opens but has no hand
    serial_number: str
    hand_id: int = 0


def default_hands(folder: Path) -> tuple[EmulatedHand, ...]:
    """A pair of hands; the order of the ports is not that of the sides."""
    return (
        EmulatedHand(port=str(folder / "ttyUSB0"), hand_type="R", serial_number="2R323000000001"),
        EmulatedHand(port=str(folder / "ttyUSB1"), hand_type="L", serial_number="2L323000000001"),
    )


def default_folder() -> Path:
    """The folder where hands are emulated when the environment names none; only this user can write there."""
    folder = Path(tempfile.gettempdir()) / f"udg_xhand_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise BusError(f"{folder} belongs to somebody else; set {BUS_VARIABLE} to a folder of your own")
    return folder


class Adapter:
    """One emulated hand as its adapter shows it; used by the fake SDK."""

    def __init__(self, folder: Path) -> None:
        """Open the hand in `folder`."""
        self.folder = folder
        self.hand = EmulatedHand(**json.loads((folder / "hand.json").read_text(encoding="utf-8")))
        side = "left" if self.hand.hand_type == "L" else "right"
        where = part_indices(f"{side}_hand")
        limits = joint_limits()
        self._speed, self._lower, self._upper = limits.velocity[where], limits.lower[where], limits.upper[where]
        self._faults_path = folder / "faults.json"
        self._faults: set[str] = set()
        self._faults_stamp = -1
        with (folder / "joints.bin").open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8 * _N_VALUES)
        self._values = np.frombuffer(self._memory, dtype=np.float64)
        n = N_HAND_JOINTS
        self.q, self.target = self._values[:n], self._values[n : 2 * n]
        self.current_limit = self._values[2 * n : 3 * n]
        self._rest = self._values[3 * n :]
        self._log = (folder / "log.jsonl").open("a", encoding="utf-8", buffering=1)
        self._logged: object = None

    def faults(self) -> set[str]:
        """What is wrong now."""
        stamp = self._faults_path.stat().st_mtime_ns
        if stamp != self._faults_stamp:
            self._faults = set(json.loads(self._faults_path.read_text(encoding="utf-8")))
            self._faults_stamp = stamp
        return self._faults

    def take_once(self, *faults: str) -> set[str]:
        """Those of the faults that happen now and then no more."""
        happening = self.faults() & set(faults)
        if happening:
            _write_faults(self.folder, self.faults() - happening)
        return happening

    def refuses(self, target: np.ndarray) -> bool:
        """Whether the targets (12,) [rad] are out of the hand's range."""
        narrow = ("narrow" in self.faults()) & (self._upper - self._lower > 1.0)
        room = np.where(narrow, NARROW_RAD, -1e-5)
        return bool((target > self._upper - room).any() or (target < self._lower - 1e-5).any())

    def command(self, target: np.ndarray, current_limit: np.ndarray, mode: int) -> None:
        """Take a command: targets (12,) [rad], current limits (12,) [mA]."""
        self.advance()
        self.target[:] = np.clip(target, self._lower, self._upper)
        self.current_limit[:] = current_limit
        self._rest[0] = mode
        new = (mode, target.tolist(), current_limit.tolist())
        if new != self._logged:
            self._logged = new
            self.note("command", mode=mode, q=new[1], tor_max=new[2])

    def advance(self) -> None:
        """Move the joints on to the present."""
        now_s = time.monotonic()
        dt_s, self._rest[1] = min(now_s - self._rest[1], 1.0), now_s
        stalled = bool({"stall", "over_current"} & self.faults())
        if self._rest[0] == POSITION_MODE and not stalled and dt_s > 0.0:
            way = (self.target - self.q) * (1.0 - np.exp(-dt_s / TIME_CONSTANT_S))
            if "blocked" in self.faults():
                way[BLOCKED_JOINT] = 0.0
            self.q += np.clip(way, -self._speed * dt_s, self._speed * dt_s)
        if self.current().max() < STALL_MILLIAMPERE:
            self._rest[2] = now_s

    def current(self) -> np.ndarray:
        """Magnitudes (12,) [mA] of the motors' currents; a real hand does not keep the limit that it is told."""
        if "over_current" in self._faults:
            return np.full(N_HAND_JOINTS, OVER_MILLIAMPERE)
        if self._rest[0] != POSITION_MODE:
            return np.zeros(N_HAND_JOINTS)
        current = np.minimum(MILLIAMPERE_PER_RAD * np.abs(self.target - self.q), MOST_MILLIAMPERE)
        if "blocked" in self._faults:
            current[BLOCKED_JOINT] = MOST_MILLIAMPERE
        return current

    def stalls(self) -> bool:
        """Whether a motor has pressed for long."""
        return time.monotonic() - self._rest[2] > STALL_S

    def note(self, event: str, **details: object) -> None:
        """Write to the log."""
        entry = {"t": time.monotonic(), "event": event, "hand": self.hand.hand_type, **details}
        self._log.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        """Let go of the files."""
        self._log.close()


class XHandBus:
    """The emulated hands of a folder: makes them, harms them, reads their logs."""

    def __init__(self, folder: Path | None = None, hands: tuple[EmulatedHand, ...] | None = None) -> None:
        """Make the hands (None: a pair) that are not there yet, at home; folder None: the default one."""
        self.folder = folder or default_folder()
        for hand in default_hands(self.folder) if hands is None else hands:
            self._make(hand)

    def _make(self, hand: EmulatedHand) -> None:
        place = self.folder / f"{Path(hand.port).name}.hand"
        if (place / "hand.json").is_file():
            return
        place.mkdir(parents=True, exist_ok=True)
        values = np.zeros(_N_VALUES)
        side = "left" if hand.hand_type == "L" else "right"
        n = N_HAND_JOINTS
        values[:n] = values[n : 2 * n] = HOME_Q[part_indices(f"{side}_hand")]
        values[-2:] = time.monotonic()
        (place / "joints.bin").write_bytes(values.tobytes())
        (place / "faults.json").write_text("[]", encoding="utf-8")
        write_atomically(place / "hand.json", json.dumps(asdict(hand)), durable=False)

    def environment(self) -> dict[str, str]:
        """What the environment of the driver's process needs."""
        return {BUS_VARIABLE: str(self.folder)}

    @contextmanager
    def in_environment(self) -> Iterator[XHandBus]:
        """Let processes that start meanwhile find these hands."""
        before = os.environ.get(BUS_VARIABLE)
        os.environ.update(self.environment())
        try:
            yield self
        finally:
            if before is None:
                del os.environ[BUS_VARIABLE]
            else:
                os.environ[BUS_VARIABLE] = before

    def folders(self) -> list[Path]:
        """The folders of the hands, in the order of their ports."""
        return sorted(path.parent for path in self.folder.glob("*/hand.json"))

    def inject(self, side: str, *faults: str) -> float:
        """Let faults happen to the hand of a side, in place of earlier ones; returns when [s] by time.monotonic()."""
        unknown = set(faults) - set(FAULTS)
        if unknown:
            raise BusError(f"unknown fault {', '.join(sorted(unknown))}; valid: {', '.join(FAULTS)}")
        place = self._place(side)
        happened_s = time.monotonic()
        write_atomically(place / "faults.json", json.dumps(sorted(faults)), durable=False)
        return happened_s

    def restore(self, side: str) -> None:
        """Take all faults away."""
        self.inject(side)

    def q(self, side: str) -> np.ndarray:
        """Where the joints were at the last exchange (12,) [rad]."""
        return np.frombuffer((self._place(side) / "joints.bin").read_bytes(), dtype=np.float64)[:N_HAND_JOINTS].copy()

    def log(self, side: str) -> list[dict[str, object]]:
        """What the hand was told: "t" [s] by time.monotonic(), "event" ("open", "command", "close"), details."""
        path = self._place(side) / "log.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []

    def _place(self, side: str) -> Path:
        wanted = "LR"[SIDES.index(side)]  # type: ignore[arg-type]
        for place in self.folders():
            if json.loads((place / "hand.json").read_text(encoding="utf-8"))["hand_type"] == wanted:
                return place
        raise BusError(f"no {side} hand in {self.folder}")


def _write_faults(place: Path, faults: set[str]) -> float:
    """Let these be all faults from now on; return when [s] by time.monotonic()."""
    temporary = place / f"faults.json.{os.getpid()}"
    temporary.write_text(json.dumps(sorted(faults)), encoding="utf-8")
    happened_s = time.monotonic()
    temporary.replace(place / "faults.json")
    return happened_s
