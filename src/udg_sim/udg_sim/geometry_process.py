"""Work on a user's geometry in a process of its own, with limits of time and memory.

Readers, CoACD and the like hang, crash or take all memory on some meshes; that must neither end nor stop who asked.
As a program: `python -m udg_sim.geometry_process JOB IN.npz OUT.npz`.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from udg_description.errors import UdgError

LIMIT_S = 30.0
"""Processor time that one job may take; on a busy machine the result is the same, it only comes later."""
_PATIENCE = 5.0  # times that on the clock, after which something hangs without working
MEMORY_BYTES = 8 << 30
"""Address space that one job may take."""
_FIRST_WORD_S, _NEXT_WORD_S = 3.0, 15.0  # when the waiting are told that it goes on
_REFUSED = 3  # exit code of a job that ends in a UdgError, printed as the last line
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
        command = [sys.executable, "-m", "udg_sim.geometry_process", job, str(source), str(target)]
        with open(said, "wb") as stream:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream,
                env={**os.environ, **_ONE_THREAD},
            )  # fmt: skip
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
    if code == _REFUSED:
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


def _solid(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    from udg_sim.mesh_io import merged, read_mesh
    from udg_sim.solid import bodies_of, solid_of

    path = Path(str(inputs["path"]))
    mesh = merged(read_mesh(path))
    if bool(inputs["all_bodies"]):
        meshes, notes = bodies_of(mesh, str(path))
    else:
        solid = solid_of(mesh, str(path))
        meshes, notes = (solid.mesh,), solid.notes
    found = {"notes": np.array(notes, dtype=np.str_), "count": np.array(len(meshes))}
    for k, body in enumerate(meshes):
        found |= {f"vertices_{k}": np.asarray(body.vertices), f"faces_{k}": np.asarray(body.faces)}
    return found


def _wrap(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import trimesh

    from udg_sim.repair import wrapped

    found = wrapped(trimesh.Trimesh(inputs["vertices"], inputs["faces"], process=False))
    return {"vertices": np.asarray(found.vertices), "faces": np.asarray(found.faces)}


def _parts(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    from udg_sim.convex import convex_points

    points = convex_points(inputs["vertices"], inputs["faces"], str(inputs["method"]))
    return {f"part_{index}": vertices for index, vertices in enumerate(points)}


def _poses(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import trimesh

    from udg_sim.stable import stable_poses

    found = stable_poses(trimesh.Trimesh(inputs["vertices"], inputs["faces"], process=False), max_faces=1500)
    return {
        "T_table_object": np.array([pose.T_table_object for pose in found]),
        "probability": np.array([pose.probability for pose in found]),
    }


JOBS: dict[str, Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]] = {
    "solid": _solid,
    "wrap": _wrap,
    "parts": _parts,
    "poses": _poses,
}


def main(arguments: list[str]) -> int:
    """Do one job of a file."""
    job, source, target = arguments
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with np.load(source, allow_pickle=False) as stored:
        inputs = {name: stored[name] for name in stored.files}
    limit_s = max(1, round(float(inputs["limit_s"])))
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        np.savez(target, **JOBS[job](inputs))  # type: ignore[arg-type]
    except UdgError as error:
        print(f"{error}".replace("\n", " "), file=sys.stderr)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
