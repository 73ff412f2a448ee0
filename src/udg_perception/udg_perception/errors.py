"""Errors of the perception package."""

from udg_description.errors import UdgError


class PerceptionError(UdgError):
    """Base of all errors that this package raises."""


class PerceptionConfigError(PerceptionError):
    """A setting is outside its valid range."""


class CameraCountError(PerceptionError):
    """The number of depth images differs from the number of cameras."""


class DepthImageError(PerceptionError):
    """A depth image has the wrong shape or type for its camera."""


class JointStateError(PerceptionError):
    """The joint positions have the wrong shape or are not finite."""


class KinectError(PerceptionError):
    """A camera, a recording or the camera's library that can't be used."""


class CalibrationError(PerceptionError):
    """A calibration that can't be made, or is too bad to be used."""
