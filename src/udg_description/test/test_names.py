"""File names that no two texts share."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from udg_description.names import safe_name

_SAFE = re.compile(r"[a-z0-9]+([_-][a-z0-9-]*)*")
# Characters that paths, shells and file systems disagree about.
_NASTY = st.text(
    st.sampled_from("abAB019 _-.@/\\:*?\"'<>|~%$&;()[]{}!#\t\n杯瓶üéßæЖ\u0301\u200b\ufeff😀"), min_size=0, max_size=40
)
_TEXT = st.one_of(_NASTY, st.text(max_size=200))


@pytest.mark.parametrize("name", ["mug_005", "cylinder_60", "user_cup_1a2b3c", "soda_can", "x"])
def test_names_of_the_library_stay(name: str) -> None:
    assert safe_name(name) == name


@settings(max_examples=300, deadline=None)
@given(_TEXT, _TEXT)
@example("my cup.obj@0.09", "my-cup.obj@0.09")
@example("杯子.obj@0.09", "瓶子.obj@0.09")
@example("003_box/textured.obj@0.1", "004_can/textured.obj@0.1")
@example("Cup", "cup")
@example("a_b", "a-b")
@example("a__b", "a_b")
@example("mug_", "mug")
@example("e\u0301", "é")
@example("x" * 300, "x" * 301)
def test_different_texts_have_different_names(a: str, b: str) -> None:
    names = {safe_name(a), safe_name(b)}
    assert len({name.casefold() for name in names}) == (1 if a == b else 2)
    for name in names:
        assert _SAFE.fullmatch(name) and len(name) <= 80 and not name.startswith("-")


@settings(max_examples=100, deadline=None)
@given(st.lists(_NASTY, min_size=2, max_size=6, unique=True))
def test_no_name_is_the_beginning_of_a_numbered_other(texts: list[str]) -> None:
    for a, b in combinations(map(safe_name, texts), 2):
        assert f"{a}-2" != b and a != f"{b}-2"
