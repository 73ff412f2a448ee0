"""The base of every error that a user of udg can cause, and the wrapper that commands print them with."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UdgError(Exception):
    """Base of the project's errors. The message says what is wrong, where, and what would be valid."""


class LayoutError(UdgError):
    """Joint names, or an array over joints, that do not follow the layout of 36 joints."""


class RobotModelError(UdgError):
    """A URDF that cannot be read, or a link or joint that it does not have."""


class CameraError(UdgError):
    """A camera file or a camera parameter that is not valid."""


def cli(main: Callable[[], int | None]) -> None:
    """Run a command's main and exit with its code; a UdgError is printed as one line and exits 2, no traceback."""
    try:
        code = main()
    except UdgError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)
