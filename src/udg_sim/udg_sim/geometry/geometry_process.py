"""Work on a user's geometry in its own process, with limits of time and memory.

Readers, CoACD and the like hang, crash or take all memory on some meshes; that must neither end nor stop who asked.
The process is `geometry_jobs`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from udg_description.errors import UdgError

LIMIT_S = 30.0
"""Processor time that one job may take; on a busy machine the result is the same, it only comes later."""
_PATIENCE = 5.0  # times that on the clock, after which something hangs without working
MEMORY_BYTES = 8 << 30
"""Address space that one job may take."""
_FIRST_WORD_S, _NEXT_WORD_S = 3.0, 15.0  # until the first progress message, and between those after it
REFUSED = 3
"""Exit code of a job that ends in a UdgError, printed as the last line."""
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class LimitError(UdgError):
    """A job that took too long or too much memory, or crashed."""


def run_job(
    job: str, inputs: Mapping[str, np.ndarray], what: str, *, limit_s: float | None = None, aloud: bool = True
) -> dict[str, np.ndarray]:
    """Arrays that JOBS[job] makes of `inputs` in another process; `what` names the work in messages.

    Says on stderr what is done when it takes more than some seconds, if `aloud`.

    Raises:
        LimitError: took longer than limit_s (LIMIT_S) of processor time, too much memory, or crashed.
        UdgError: what the job refused, as it said it.
    """
    limit_s = LIMIT_S if limit_s is None else limit_s
    inputs = {**inputs, "limit_s": np.array(limit_s)}
    with tempfile.TemporaryDirectory(prefix="udg-") as folder:
        source, target, said = (Path(folder, name) for name in ("in.npz", "out.npz", "said"))
        np.savez(source, **inputs)  # type: ignore[arg-type]
        command = [sys.executable, "-m", "udg_sim.geometry.geometry_jobs", job, str(source), str(target)]
        with open(said, "wb") as stream:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                env={**os.environ, **_ONE_THREAD},
            )
            try:
                code = _wait(process, what, _PATIENCE * limit_s, aloud)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if code == 0 and target.is_file():
            with np.load(target, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        lines = said.read_text(errors="replace").strip().splitlines() or [""]
    if code is None or code == -signal.SIGXCPU:
        raise LimitError(f"{what} took longer than {limit_s:.0f} s; a simpler mesh is needed")
    if code == REFUSED:
        raise UdgError(lines[-1])
    if "MemoryError" in lines[-1] or "bad_alloc" in "".join(lines[-3:]):
        raise LimitError(f"{what} needs more than {MEMORY_BYTES >> 30} GiB; a simpler mesh is needed")
    raise LimitError(f"{what} failed ({lines[-1][:200] or f'exit {code}'}); a cleaner mesh is needed")


def _wait(process: subprocess.Popen[bytes], what: str, limit_s: float, aloud: bool) -> int | None:
    """Exit code, or None if the process has not ended in time."""
    start = time.monotonic()
    word_s, told = _FIRST_WORD_S, False
    while True:
        left_s = limit_s - (time.monotonic() - start)
        try:
            code = process.wait(timeout=max(0.0, min(word_s - (time.monotonic() - start), left_s)))
        except subprocess.TimeoutExpired:
            if left_s <= 0.0:
                return None
            if aloud:
                print(f"{what} ... {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
            word_s, told = word_s + _NEXT_WORD_S, aloud
            continue
        if told:
            print(f"{what}: {time.monotonic() - start:.0f} s in all", file=sys.stderr, flush=True)
        return code
