"""Which stream of chunks is followed: never one from before the enabling, never two."""

from __future__ import annotations

import numpy as np

from udg_control.streams import SOLE, Source, Streams

STEP_NS, NS_PER_S = 100_000_000, 1_000_000_000
A, B = Source("run a"), Source("run b")


class Clock:
    """Streams with a pause of a second, and their clock."""

    def __init__(self) -> None:
        self.streams, self.now_ns = Streams(1.0), 0

    def chunk(self, source: Source = SOLE, empty: bool = False) -> bool:
        self.now_ns += STEP_NS
        return self.streams.take(source, self.now_ns, empty=empty)


def test_an_unnamed_stream_from_before_counts_only_after_a_pause() -> None:
    clock = Clock()
    assert not clock.chunk()
    clock.streams.open()
    assert not any(clock.chunk() for _ in range(50))
    clock.now_ns += NS_PER_S // 2  # a hiccup
    assert not clock.chunk()
    clock.now_ns += NS_PER_S
    assert clock.chunk() and clock.chunk()
    assert clock.streams.ignored == 52


def test_an_unnamed_stream_begins_when_nothing_to_do_has_ended() -> None:
    clock = Clock()
    assert not clock.chunk(empty=True)
    clock.streams.open()
    assert not clock.chunk(empty=True)
    assert clock.chunk()


def test_a_named_run_from_before_never_counts_not_even_after_a_pause_or_an_empty_chunk() -> None:
    clock = Clock()
    clock.chunk(A)
    clock.streams.open()
    clock.chunk(A, empty=True)
    clock.now_ns += 5 * NS_PER_S
    assert not clock.chunk(A)
    assert clock.chunk(B)


def test_a_run_announced_before_the_enabling_does_not_count() -> None:
    clock = Clock()
    clock.chunk(A, empty=True)
    clock.streams.open()
    assert not clock.chunk(A)


def test_of_two_streams_the_first_is_followed_and_the_second_never_takes_over() -> None:
    clock = Clock()
    clock.streams.open()
    assert clock.chunk(A)
    for _ in range(5):
        assert not clock.chunk(B) and clock.chunk(A)
    clock.chunk(A, empty=True)  # stopped
    assert not any(clock.chunk(B) for _ in range(30))
    assert clock.chunk(Source("run c"))  # started anew


def test_a_run_that_pauses_goes_on() -> None:
    clock = Clock()
    clock.streams.open()
    assert clock.chunk(A)
    assert clock.chunk(A, empty=True)
    clock.now_ns += 3 * NS_PER_S
    assert clock.chunk(A)


def test_nothing_is_followed_after_close_and_nothing_begins() -> None:
    clock = Clock()
    clock.streams.open()
    clock.chunk(A)
    clock.streams.close()
    assert not clock.chunk(A) and not clock.chunk(B)
    clock.streams.open()
    assert not clock.chunk(A) and not clock.chunk(B)


def test_whatever_flows_the_followed_stream_began_after_the_last_enabling_and_alone() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        clock, seen, before = Clock(), set[Source](), set[Source]()
        for step in range(100):
            source = Source(f"run {rng.integers(4) + step // 10}")
            if rng.random() < 0.05:
                clock.streams.open()
                before = set(seen)
                continue
            taken = clock.chunk(source, empty=rng.random() < 0.1)
            seen.add(source)
            assert not taken or (source == clock.streams.followed and source not in before)
