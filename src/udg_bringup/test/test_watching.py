"""The watch over all that motion relies on."""

from __future__ import annotations

import pytest

from udg_bringup.watching import Watch, Watched
from udg_description.clock import NS_PER_S


@pytest.fixture
def watch() -> Watch:
    made = Watch(
        [Watched(name="left camera", max_silence_s=0.3, max_delay_s=0.25), Watched(name="policy", max_silence_s=0.5)]
    )
    made.note("left camera", 0)
    made.note("policy", 0)
    return made


def test_all_fresh_is_no_complaint(watch: Watch) -> None:
    assert watch.complaints(int(0.3 * NS_PER_S)) == []


def test_what_never_came_is_named() -> None:
    assert Watch([Watched(name="policy", max_silence_s=1.0)]).complaints(0) == ["policy: nothing yet"]


def test_each_silent_input_is_named_with_its_own_limit(watch: Watch) -> None:
    assert watch.complaints(int(0.4 * NS_PER_S)) == ["left camera: silent for 0.40 s"]
    assert watch.complaints(int(0.6 * NS_PER_S)) == ["left camera: silent for 0.60 s", "policy: silent for 0.60 s"]


@pytest.mark.parametrize(("delay_s", "word"), [(0.4, "0.40 s late"), (-0.4, "in the future")])
def test_images_far_from_their_stamp_are_told(watch: Watch, delay_s: float, word: str) -> None:
    watch.note("left camera", NS_PER_S, delay_s)
    watch.note("policy", NS_PER_S, 100.0)  # its stamp is not watched
    assert len(watch.complaints(NS_PER_S)) == 1 and word in watch.complaints(NS_PER_S)[0]
