"""The base of every error that a user of udg can cause, and the wrapper that commands print them with."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES = {
    **dict.fromkeys(DISK_FULL, "no space is left on the disk; free some, or give a folder on another one"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "not permitted for this user; give another one, or change its mode"),
    errno.EROFS: "is on a read-only file system; give a folder on another one",
    errno.ENOTDIR: "a file is in the place of a folder; give another one",
    errno.EEXIST: "a file is in the place of a folder; give another one",
    errno.EISDIR: "is a folder; a file is needed",
    errno.ENOENT: "no such file or folder",
    errno.ENAMETOOLONG: "the name is too long; give a shorter one",
}


class UdgError(Exception):
    """Base of the project's errors. The message says what is wrong, where, and what would be valid."""


class LayoutError(UdgError):
    """Joint names, or an array over joints, that do not follow the robot's layout."""


class RobotModelError(UdgError):
    """A URDF that cannot be read, or a link or joint that it does not have."""


class HandModelError(RobotModelError):
    """A hand description that lacks something or contradicts itself."""


class CameraError(UdgError):
    """A camera file or a camera parameter that is not valid."""


def explain(error: OSError, path: Path | str | None = None) -> str:
    """One line about an OSError: the path (the error's own where None is given) and what can be done."""
    where = path if path is not None else error.filename
    reason = _REMEDIES.get(error.errno or 0) or error.strerror or str(error)
    return f"{os.fsdecode(where)}: {reason}" if isinstance(where, (str, bytes, os.PathLike)) else reason


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
