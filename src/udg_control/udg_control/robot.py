"""The devices of all parts as one robot of 36 joints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from udg_control.device import Device, DeviceState, DeviceStatus, Phase
from udg_control.errors import ControlError, DeviceError
from udg_description.clock import NS_PER_S
from udg_description.layout import N_JOINTS, part_indices


@dataclass(frozen=True, kw_only=True)
class RobotState:
    """Measured joints of the whole robot; the stamp is that of the arm, or whole robot, measured first."""

    q: np.ndarray  # (36,) [rad]
    velocity: np.ndarray  # (36,) [rad/s], nan where a device does not know it
    stamp_ns: int
    parts: Mapping[str, DeviceState]

    @property
    def speed_scaling(self) -> float:
        """Share of its speed at which the slowest part says that it moves; 1 where none says."""
        return min((s.speed_scaling for s in self.parts.values() if s.speed_scaling is not None), default=1.0)


class Robot:
    """Reads, commands and stops all devices together."""

    def __init__(self, devices: Sequence[Device]) -> None:
        """Raise ControlError unless the devices cover each joint exactly once."""
        covered = np.zeros(N_JOINTS, dtype=int)
        for device in devices:
            covered[part_indices(device.part)] += 1
        if (covered != 1).any():
            parts = ", ".join(device.part for device in devices) or "none"
            raise ControlError(f"devices for the parts {parts}; valid: one for each of the {N_JOINTS} joints")
        self.devices = tuple(devices)

    def connect(self) -> None:
        """Open all devices at the same time. Raises DeviceError naming each that failed, with all closed again."""
        errors = self._all(lambda device: device.connect())
        if errors:
            self.close()
            raise DeviceError("; ".join(errors))

    def read(self) -> RobotState | None:
        """The newest measured state, None as long as a device has none."""
        states = {device.part: device.read() for device in self.devices}
        known = {part: state for part, state in states.items() if state is not None}
        if len(known) < len(states):
            return None
        q, velocity = np.empty(N_JOINTS), np.full(N_JOINTS, np.nan)
        for part, state in known.items():
            where = part_indices(part)
            if np.shape(state.q) != q[where].shape:
                q[where] = np.nan
                continue
            q[where] = state.q
            if state.velocity is not None:
                velocity[where] = state.velocity
        stamp_ns = min(  # hands may be older: `silent`
            (state.stamp_ns for part, state in known.items() if not part.endswith("_hand")),
            default=min(state.stamp_ns for state in known.values()),
        )
        return RobotState(q=q, velocity=velocity, stamp_ns=stamp_ns, parts=MappingProxyType(known))

    def silent(
        self, now_ns: int, max_age_s: float, but_faults: bool = False, max_hand_age_s: float | None = None
    ) -> list[str]:
        """Say of each device whose newest state is older than max_age_s [s], or that has none, how long.

        Hands may be as old as `max_hand_age_s`, by default the same.
        `but_faults` leaves out those in a fault, which may have lost their connection: arming makes a new one.
        """
        found = []
        for device in self.devices:
            if but_faults and device.status().phase is Phase.FAULT:
                continue
            state = device.read()
            if state is None:
                found.append(f"{device.name}: no state yet")
            elif now_ns - state.stamp_ns > _allowed_s(device.part, max_age_s, max_hand_age_s) * NS_PER_S:
                found.append(f"{device.name}: silent for {(now_ns - state.stamp_ns) / NS_PER_S:.2f} s")
        return found

    def statuses(self) -> dict[str, DeviceStatus]:
        """What each device says about itself, by its part."""
        return {device.part: device.status() for device in self.devices}

    def not_ready(self) -> list[str]:
        """Say of each device that does not follow commands why not."""
        found = []
        for device in self.devices:
            status = device.status()
            if status.phase is not Phase.READY:
                code = status.phase.value if status.fault is None else status.fault.value
                found.append(f"{device.name}: {code}" + (f": {status.detail}" if status.detail else ""))
        return found

    def faults(self) -> list[str]:
        """Say of each device in a fault which one it is."""
        found = []
        for device in self.devices:
            status = device.status()
            if status.phase in (Phase.FAULT, Phase.CLOSED):
                code = Phase.CLOSED.value if status.fault is None else status.fault.value
                found.append(f"{device.name}: {code}" + (f": {status.detail}" if status.detail else ""))
        return found

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command positions (36,) [rad] at `stamp_ns` (monotonic clock)."""
        for device in self.devices:
            device.write(q_command[part_indices(device.part)], stamp_ns)

    def stop(self) -> None:
        """Stop all devices; one that fails to does not keep the others from it."""
        for device in self.devices:
            try:
                device.stop()
            except Exception:  # the others must be stopped all the same; its own status tells
                continue

    def rearm(self) -> None:
        """Ask all devices to get ready."""
        for device in self.devices:
            device.rearm()

    def close(self) -> None:
        """Stop first, then release all devices, arms before hands, which let go. Raises DeviceError naming each that
        failed, after trying all."""
        self.stop()
        hands = [device for device in self.devices if device.part.endswith("_hand")]
        arms = [device for device in self.devices if device not in hands]
        errors = [error for devices in (arms, hands) for error in self._all(lambda device: device.close(), devices)]
        if errors:
            raise DeviceError("; ".join(errors))

    def _all(self, act: Callable[[Device], None], devices: Sequence[Device] | None = None) -> list[str]:
        """Do something with all devices, or these, at the same time; return the messages of those that failed."""
        devices = self.devices if devices is None else devices
        with ThreadPoolExecutor(max_workers=max(1, len(devices))) as pool:
            futures = [(device, pool.submit(act, device)) for device in devices]
        found = []
        for device, future in futures:
            error = future.exception()
            if isinstance(error, ControlError):
                found.append(str(error))
            elif error is not None:
                found.append(f"{device.name}: {error!r}")
        return found


def _allowed_s(part: str, max_age_s: float, max_hand_age_s: float | None) -> float:
    return max_age_s if max_hand_age_s is None or not part.endswith("_hand") else max(max_age_s, max_hand_age_s)
