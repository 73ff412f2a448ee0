"""Compiled functions, kept or not."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest

from udg_description.compiled import compiled, is_kept, say_if_compiling


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


LOOPS = "from udg_description.compiled import compiled\n\n\n@compiled()\ndef twice(x):\n    return 2.0 * x\n"


def imported(path: Path) -> ModuleType:
    """The module as a new process would import it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_will_be_compiled_is_told_once_and_not_when_it_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some_loops.py"
    path.write_text(LOOPS)
    first = imported(path)
    assert not is_kept(first.twice)
    say_if_compiling(first.twice)
    say_if_compiling(first.twice)
    assert capsys.readouterr().err.splitlines() == [
        "compiling the loops of some_loops (once per checkout, up to half a minute)"
    ]
    assert first.twice(2.0) == 4.0
    second = imported(path)
    assert is_kept(second.twice)
    say_if_compiling(second.twice)
    assert capsys.readouterr().err == ""
    index = next((tmp_path / "__pycache__").glob("*.nbi"))
    os.utime(path, ns=(index.stat().st_mtime_ns + 1, index.stat().st_mtime_ns + 1))  # the source is changed
    assert not is_kept(imported(path).twice)


CALLERS = """from {callee} import twice
from udg_description.compiled import compiled


@compiled()
def four_times(x):
    return twice(twice(x))
"""


def test_what_calls_loops_of_another_module_is_made_anew_when_that_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callee, caller = tmp_path / "some_callee_loops.py", tmp_path / "some_caller_loops.py"
    callee.write_text(LOOPS)
    caller.write_text(CALLERS.format(callee=callee.stem))
    monkeypatch.setitem(sys.modules, callee.stem, imported(callee))
    assert imported(caller).four_times(1.0) == 4.0
    assert is_kept(imported(caller).four_times)
    callee.write_text(LOOPS.replace("2.0 * x", "3.0 * x"))
    later = time.time_ns() + 1_000_000_000
    os.utime(callee, ns=(later, later))
    monkeypatch.setitem(sys.modules, callee.stem, imported(callee))
    assert not is_kept(imported(caller).four_times)
    assert imported(caller).four_times(1.0) == 9.0
