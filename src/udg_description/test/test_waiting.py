"""Waiting with a deadline."""

from __future__ import annotations

from itertools import count

import pytest

from udg_description.waiting import wait_until


def test_it_returns_as_soon_as_the_condition_holds() -> None:
    looks = count()
    wait_until(lambda: next(looks) == 3, 60.0)
    assert next(looks) == 4


@pytest.mark.parametrize("what", ["a message", lambda: "a message"])
def test_after_the_deadline_it_says_what_was_waited_for(what: object) -> None:
    with pytest.raises(TimeoutError, match=r"not within 0.01 s: a message"):
        wait_until(lambda: False, 0.01, what)  # type: ignore[arg-type]
