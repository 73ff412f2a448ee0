"""Which stream of action chunks is followed: one, that began after the robot was enabled."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from udg_description.clock import NS_PER_S

CHUNKS_WAITING = 5
"""Depth of a queue of chunks in which each of several publishers, and each beginning of a run, is noticed."""
MOST_KEPT = 1000  # streams that are remembered


class Source(NamedTuple):
    """Where a chunk comes from."""

    run: str = ""  # name that its publisher gives the run, new with each start; "": it gives none
    publisher: int = 0  # which publisher, where runs have no name


SOLE = Source()
"""Of a publisher that is alone and does not name its runs."""


@dataclass(kw_only=True)
class _Stream:
    last_ns: int
    empty: bool  # the last chunk said "nothing to do"
    may_start: bool  # it began after the enabling, while no other was followed


class Streams:
    """Remembers all streams, from before the enabling on, and follows one.

    A named stream begins with the first chunk of its name, an unnamed one with the first chunk of its publisher, after
    a pause or after an empty chunk. It may start the robot if it begins while the robot is enabled and no other stream
    is being followed; so what was flowing before never does, nor does a second publisher when the first one ends.
    """

    def __init__(self, pause_s: float) -> None:
        """`pause_s` [s]: after a silence this long an unnamed stream restarts, and the followed one has ended."""
        self.ignored = 0  # chunks with points that were not followed: not started, or of another publisher
        self._pause_ns = round(pause_s * NS_PER_S)
        self._streams: OrderedDict[Source, _Stream] = OrderedDict()
        self._followed: Source | None = None
        self._open = False

    @property
    def followed(self) -> Source | None:
        """The stream that is being followed, None before the start."""
        return self._followed

    def open(self) -> None:
        """Follow none of the streams seen so far, but the first that begins from now on."""
        self._open, self._followed = True, None
        for stream in self._streams.values():
            stream.may_start = False

    def close(self) -> None:
        """Follow none."""
        self._open, self._followed = False, None

    def take(self, source: Source, sent_ns: int, *, empty: bool) -> bool:
        """Note a chunk of `sent_ns` [ns] by its publisher's clock; whether it is one to be followed."""
        stream = self._note(source, sent_ns, empty)
        if empty:
            return source == self._followed
        if source != self._followed and self._open and stream.may_start and self._is_free(sent_ns):
            self._followed = source
        if source == self._followed:
            return True
        self.ignored += 1
        return False

    def _note(self, source: Source, sent_ns: int, empty: bool) -> _Stream:
        stream = self._streams.get(source)
        begins = stream is None or (
            not source.run and (stream.empty or abs(sent_ns - stream.last_ns) >= self._pause_ns)
        )
        if begins and source != self._followed:
            stream = _Stream(last_ns=sent_ns, empty=empty, may_start=self._open and self._is_free(sent_ns))
            self._streams[source] = stream
        assert stream is not None
        stream.last_ns, stream.empty = sent_ns, empty
        self._streams.move_to_end(source)
        while len(self._streams) > MOST_KEPT:
            self._streams.popitem(last=False)
        return stream

    def _is_free(self, sent_ns: int) -> bool:
        """Whether no stream is followed, or the one that is has ended."""
        followed = None if self._followed is None else self._streams.get(self._followed)
        return followed is None or followed.empty or abs(sent_ns - followed.last_ns) >= self._pause_ns
