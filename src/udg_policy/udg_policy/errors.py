"""Errors of the policy package that a user can meet."""

from __future__ import annotations

from udg_description.errors import UdgError


class ConfigError(UdgError):
    """A configuration value or name is not valid."""


class DatasetError(UdgError):
    """A dataset or an episode is missing, unreadable or does not follow the schema."""


class CheckpointError(UdgError):
    """A checkpoint is missing, truncated or does not fit this program."""


class ObservationError(UdgError):
    """An observation given to the policy is not usable."""


class ProcessError(UdgError):
    """What one of the training processes was stopped by."""
