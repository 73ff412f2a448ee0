"""CoACD in a process of its own: it crashes on some meshes, which must not end who asked.

As a program: `python -m udg_sim.coacd_process IN.npz OUT.npz MODE`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

LIMIT_S = 120.0
_MODES = ("off", "on")  # with its own preprocessing where it fails without


def coarse_parts(vertices: np.ndarray, faces: np.ndarray) -> list[np.ndarray] | None:
    """Vertices (N, 3) of at most 32 convex parts of a mesh; None if CoACD fails."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, vertices=vertices, faces=faces)
        for mode in _MODES:
            command = [sys.executable, "-m", "udg_sim.coacd_process", str(source), str(target), mode]
            try:
                done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
            except subprocess.TimeoutExpired:
                continue
            if done.returncode == 0:
                with np.load(target, allow_pickle=False) as parts:
                    return [parts[f"part_{index}"] for index in range(len(parts.files))]
    return None


def main(arguments: list[str]) -> None:
    """Decompose a file."""
    import coacd

    source, target, mode = arguments
    coacd.set_log_level("error")
    with np.load(source, allow_pickle=False) as mesh:
        parts = coacd.run_coacd(
            coacd.Mesh(mesh["vertices"], mesh["faces"]), threshold=0.08, max_convex_hull=32, preprocess_mode=mode,
            mcts_iterations=20, mcts_nodes=10, seed=0,
        )  # fmt: skip
    np.savez(target, **{f"part_{index}": vertices for index, (vertices, _) in enumerate(parts)})


if __name__ == "__main__":
    main(sys.argv[1:])
