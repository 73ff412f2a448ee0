"""Loops over small arrays, compiled by numba and kept between processes."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.dispatcher import Dispatcher

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(signature: str | None = None) -> Callable[[_Function], _Function]:
    """Compile a function for one signature, as "float64[:](float64[:, ::1])"; without, at the first call.

    With a signature that happens at import, so that no call of a control loop is held up by it. The result is kept
    beside the source or in the user's cache; where neither can be written, each process recompiles, which takes
    seconds. It is made anew when its own module changes, or one from which that imports compiled functions by name.
    Sums are added in the order that is written.
    """

    def decorate(function: _Function) -> _Function:
        # They keep the interpreter's lock: calls take microseconds, and getting it back from a busy thread takes 5 ms.
        options = {"error_model": "numpy"}
        try:
            kept = numba.njit(None, cache=True, **options)(function)
            _forget_if_older(kept)
            if signature is None:
                return kept
            say_if_compiling(kept)
            return numba.njit(signature, cache=True, **options)(function)
        except RuntimeError:  # no folder to keep it in
            return numba.njit(signature, **options)(function)

    return decorate


def say_if_compiling(loops: Callable[..., Any]) -> None:
    """Tell on stderr that the next call of `compiled` loops takes a while, unless they are kept or it has been told.

    Of the workers of a pool the first one tells.
    """
    is_worker = multiprocessing.parent_process() is not None
    if (is_worker and not multiprocessing.current_process().name.endswith("-1")) or is_kept(loops):
        return
    _say(loops.__module__, "\n" if is_worker and sys.stderr.isatty() else "")  # below the bar of the parent


@cache
def _say(module: str, before: str) -> None:
    print(
        f"{before}compiling the loops of {module} (once per checkout, up to half a minute)", file=sys.stderr, flush=True
    )


def is_kept(loops: Callable[..., Any]) -> bool:
    """Whether an earlier process has kept `compiled` loops, and their module is as it was then."""
    function, stats = getattr(loops, "py_func", None), getattr(loops, "stats", None)
    if function is None or stats is None:  # NUMBA_DISABLE_JIT: nothing is compiled
        return True
    if stats.cache_path is None:
        return False
    source = Path(function.__code__.co_filename)
    return any(index.stat().st_mtime_ns >= source.stat().st_mtime_ns for index in _indices(loops))


def _forget_if_older(loops: Any) -> None:  # noqa: ANN401
    """Remove what was kept of `loops` before a module changed from which theirs imports some: numba looks at the loops'
    own module alone."""
    if not hasattr(loops, "py_func"):  # NUMBA_DISABLE_JIT: nothing is kept
        return
    others = [value.py_func for value in loops.py_func.__globals__.values() if isinstance(value, Dispatcher)]
    sources = {Path(other.__code__.co_filename) for other in others} - {Path(loops.py_func.__code__.co_filename)}
    changed = max((source.stat().st_mtime_ns for source in sources), default=0)
    for index in _indices(loops) if sources else ():
        with suppress(OSError):
            if index.stat().st_mtime_ns < changed:
                index.unlink()


def _indices(loops: Any) -> list[Path]:  # noqa: ANN401
    """Files of numba's that list what is kept of a compiled function."""
    source = Path(loops.py_func.__code__.co_filename)
    return list(Path(loops.stats.cache_path).glob(f"{source.stem}.{loops.py_func.__qualname__}-*.nbi"))
