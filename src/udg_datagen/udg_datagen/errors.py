"""Errors of grasp synthesis that a user can cause."""

from __future__ import annotations

from udg_description.errors import UdgError


class GraspObjectError(UdgError):
    """A mesh that no grasp can be computed for: empty, flat, not finite, in pieces or too large."""


class NoApproachError(GraspObjectError):
    """No approach direction is free of the table, by the strategy and in the pose that were asked for."""


class StrategyError(UdgError):
    """An unknown strategy, or one whose contacts the hand does not have."""


class DeviceError(UdgError):
    """A device that torch does not have here, or object and hands on different ones."""
