"""Devices that stop together, for programs without a control cycle, which does the same."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from udg_control.device import Device, Phase


class StopTogether:
    """Stops all devices when one of them has a fault, from a thread of its own."""

    def __init__(self, devices: Sequence[Device], period_s: float = 0.005) -> None:
        """Watch until `close`."""
        self._devices, self._period_s = list(devices), period_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop-together", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(self._period_s):
            if any(device.status().phase is Phase.FAULT for device in self._devices):
                for device in self._devices:
                    device.stop()

    def close(self) -> None:
        """Watch no longer."""
        self._end.set()
        self._thread.join()
