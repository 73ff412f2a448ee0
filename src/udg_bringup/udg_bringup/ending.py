"""How commands that run until they are asked to end are asked, and how long what they have started may take."""

from __future__ import annotations

import signal
import threading

TIME_TO_STOP_S = 15.0
"""For a node to brake, end the programs on the controllers and disconnect."""
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a terminal that is closed


def asked_to_end() -> threading.Event:
    """Set once a signal asks this process to end. For the main thread."""
    asked = threading.Event()
    for number in _ENDS:
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup
        signal.signal(number, lambda *_: asked.set())
    return asked
