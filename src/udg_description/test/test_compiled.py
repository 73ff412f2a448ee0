"""Compiled functions, kept or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from udg_description.compiled import compiled


def total(values: np.ndarray) -> float:
    s = 0.0
    for value in values:
        s += value
    return s


def test_it_computes_what_is_written_and_takes_one_type() -> None:
    function = compiled("float64(float64[::1])")(total)
    assert function(np.array([1.0, 2.0, 3.5])) == 6.5
    with pytest.raises(TypeError):
        function(np.array([1, 2]))


def test_it_works_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def nowhere(signature: str, *, cache: bool = False, **options: Any) -> Callable[..., Any]:  # noqa: ANN401
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            if cache:
                raise RuntimeError("cannot cache function: no locator available")
            return njit(signature, **options)(function)

        return decorate

    monkeypatch.setattr(numba, "njit", nowhere)
    assert compiled("float64(float64[::1])")(total)(np.array([1.0, 2.0])) == 3.0
