"""What control is doing, and what may change it: the one table of states and transitions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class Mode(Enum):
    """What control is doing."""

    DISABLED = "disabled"
    STOPPED = "emergency_stop"
    HELD = "emergency_stop_held"  # somebody's last word on the topic is "stop": enabling is refused
    FAULT = "fault"  # stopped by a fault that only `enable` clears
    WAITING = "waiting"  # enabled, holds until a start
    HOLDING = "holding"  # started, holds because there is nothing to follow now
    FOLLOWING = "following"
    HOMING = "homing"


class Event(Enum):
    """What changes the mode."""

    ENABLE = "enable"  # /control/enable, once all devices are ready
    DISABLE = "disable"  # /control/disable
    STOP = "stop"  # /control/emergency_stop, or an error of our own
    HOLD_STOP = "stop held"  # /emergency_stop: true
    RELEASE = "stop released"  # /emergency_stop: false
    FAULT = "fault"
    CHUNK = "chunk"  # one to follow, of a stream that began after the enabling
    NOTHING = "nothing to follow"  # an empty chunk, a rejected one, silence
    HOME = "home"  # /control/home
    HOME_ENDED = "home ended"  # there, or given up


ENABLED = (Mode.WAITING, Mode.HOLDING, Mode.FOLLOWING, Mode.HOMING)
"""Modes in which commands may leave."""

TABLE: Mapping[Mode, Mapping[Event, Mode]] = MappingProxyType(
    {
        Mode.DISABLED: {
            Event.ENABLE: Mode.WAITING,
            Event.DISABLE: Mode.DISABLED,
            Event.STOP: Mode.STOPPED,
            Event.HOLD_STOP: Mode.HELD,
        },
        Mode.STOPPED: {
            Event.ENABLE: Mode.WAITING,
            Event.DISABLE: Mode.STOPPED,
            Event.STOP: Mode.STOPPED,
            Event.HOLD_STOP: Mode.HELD,
        },
        Mode.HELD: {
            Event.DISABLE: Mode.HELD,
            Event.STOP: Mode.HELD,
            Event.HOLD_STOP: Mode.HELD,
            Event.RELEASE: Mode.STOPPED,
        },
        Mode.FAULT: {
            Event.ENABLE: Mode.WAITING,
            Event.DISABLE: Mode.FAULT,
            Event.STOP: Mode.STOPPED,
            Event.HOLD_STOP: Mode.HELD,
        },
        Mode.WAITING: {
            Event.ENABLE: Mode.WAITING,
            Event.DISABLE: Mode.DISABLED,
            Event.STOP: Mode.STOPPED,
            Event.HOLD_STOP: Mode.HELD,
            Event.FAULT: Mode.FAULT,
            Event.CHUNK: Mode.FOLLOWING,
            Event.HOME: Mode.HOMING,
        },
        Mode.HOLDING: {
            Event.ENABLE: Mode.WAITING,
            Event.DISABLE: Mode.DISABLED,
            Event.STOP: Mode.STOPPED,
            Event.HOLD_STOP: Mode.HELD,
            Event.FAULT: Mode.FAULT,
            Event.CHUNK: Mode.FOLLOWING,
            Event.HOME: Mode.HOMING,
        },
        Mode.FOLLOWING: {
            Event.ENABLE: Mode.WAITING,
            Event.DISABLE: Mode.DISABLED,
            Event.STOP: Mode.STOPPED,
            Event.HOLD_STOP: Mode.HELD,
            Event.FAULT: Mode.FAULT,
            Event.CHUNK: Mode.FOLLOWING,
            Event.NOTHING: Mode.HOLDING,
            Event.HOME: Mode.HOMING,
        },
        Mode.HOMING: {
            Event.ENABLE: Mode.WAITING,
            Event.DISABLE: Mode.DISABLED,
            Event.STOP: Mode.STOPPED,
            Event.HOLD_STOP: Mode.HELD,
            Event.FAULT: Mode.FAULT,
            Event.HOME: Mode.HOMING,
            Event.HOME_ENDED: Mode.WAITING,
        },
    }
)
"""What is not in it changes nothing: chunks while disabled or on the way home, enabling while a stop is held."""


class StateMachine:
    """The mode, changed by events alone."""

    def __init__(self) -> None:
        self._mode = Mode.DISABLED

    @property
    def mode(self) -> Mode:
        """What control is doing."""
        return self._mode

    @property
    def enabled(self) -> bool:
        """Whether commands may leave."""
        return self._mode in ENABLED

    def allows(self, event: Event) -> bool:
        """Whether the table has the event for the present mode."""
        return event in TABLE[self._mode]

    def fire(self, event: Event) -> bool:
        """Change the mode as the table says; whether the event meant anything in the mode before."""
        if not self.allows(event):
            return False
        self._mode = TABLE[self._mode][event]
        return True
