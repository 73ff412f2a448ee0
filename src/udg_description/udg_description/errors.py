"""The base of every error that a user of udg can cause, and the wrapper that commands print them with."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType


class UdgError(Exception):
    """Base of the project's errors. The message says what is wrong, where, and what would be valid."""


class LayoutError(UdgError):
    """Joint names, or an array over joints, that do not follow the layout of 36 joints."""


class RobotModelError(UdgError):
    """A URDF that cannot be read, or a link or joint that it does not have."""


class CameraError(UdgError):
    """A camera file or a camera parameter that is not valid."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM, SIGHUP): handled as Ctrl-C, so that nothing half-written is left."""


def _terminate(number: int, frame: FrameType | None) -> None:
    del frame
    raise Terminated(signal.Signals(number).name)


def cli(main: Callable[[], int | None]) -> None:
    """Run a command's main and exit with its code.

    A UdgError, or an OSError (of a path, a full disk), is printed as one line and exits 2. SIGTERM and SIGHUP end the
    command as Ctrl-C does. A reader that has gone (`... | head`) ends it quietly.
    """
    from udg_description.files import explain  # which knows this module's errors

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # not with nohup
                signal.signal(number, _terminate)
    try:
        code = main()
        sys.stdout.flush()
    except UdgError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        sys.exit(2)
    except Terminated:
        print("terminated", file=sys.stderr)
        sys.exit(143)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)
