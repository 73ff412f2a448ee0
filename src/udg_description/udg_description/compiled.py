"""Loops over small arrays, compiled by numba and kept between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(signature: str | None = None) -> Callable[[_Function], _Function]:
    """Compile a function for one signature, as "float64[:](float64[:, ::1])"; without, at the first call.

    With a signature that happens at import, so that no call of a control loop is held up by it. The result is kept
    beside the source or in the user's cache; where neither can be written, each process recompiles, which takes
    seconds. It is made anew when its own module changes; so compiled functions call those of their module alone. Sums
    are added in the order that is written.
    """

    def decorate(function: _Function) -> _Function:
        options = {"error_model": "numpy", "nogil": True}
        try:
            return numba.njit(signature, cache=True, **options)(function)
        except RuntimeError:  # no folder to keep it in
            return numba.njit(signature, **options)(function)

    return decorate
