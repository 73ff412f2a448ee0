"""Errors of control."""

from udg_description.errors import UdgError


class ControlError(UdgError):
    """Base of this package's errors."""


class SafetyConfigError(ControlError):
    """A parameter of the safety filter or the follower that is not valid."""


class RefusedError(ControlError):
    """A request that the controller can't follow in its present state; the message says what to do first."""


class DeviceError(ControlError):
    """A device that can't be opened; the message names it, its address and what to check."""
