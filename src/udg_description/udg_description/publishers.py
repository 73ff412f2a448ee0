"""Tells the publishers of a topic apart, although a message does not say who sent it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WINDOW = 20  # messages that may be lost in a row and the next is still taken for the same publisher's
MOST_KEPT = 16


@dataclass
class _Publisher:
    index: int
    number: int  # of its last message
    heard_s: float


class Publishers:
    """Knows publishers by the numbers that each one counts its messages with."""

    def __init__(self) -> None:
        self._known: list[_Publisher] = []
        self._count = 0

    def identify(self, number: int, now_s: float, alone: Callable[[], bool]) -> int:
        """The index (0, 1, ...) of the publisher of message `number`.

        `alone` says whether the topic has one publisher now, so that any larger number is its; it is asked for such a
        number only, because it takes time that a control cycle may have to wait for. Of several whose number fits, the
        one that has been silent for longest is taken.
        """
        fits = [p for p in self._known if 0 < number - p.number <= WINDOW]
        if not fits and self._known and alone():
            last = max(self._known, key=lambda p: p.heard_s)
            fits = [last] if number > last.number else []
        if fits:
            found = min(fits, key=lambda p: p.heard_s)
        else:
            found = _Publisher(self._count, number, now_s)
            self._count += 1
            self._known = [*sorted(self._known, key=lambda p: p.heard_s)[-MOST_KEPT + 1 :], found]
        found.number, found.heard_s = number, now_s
        return found.index
