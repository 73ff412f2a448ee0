"""The jobs on a user's geometry that run in their own process.

`python -m udg_sim.geometry.geometry_jobs JOB IN.npz OUT.npz`.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import trimesh

from udg_description.errors import UdgError
from udg_sim.geometry.convex import convex_points
from udg_sim.geometry.geometry_process import MEMORY_BYTES, REFUSED
from udg_sim.geometry.mesh_io import merged, read_mesh
from udg_sim.geometry.repair import wrapped
from udg_sim.geometry.solid import bodies_of, solid_of
from udg_sim.geometry.stable import stable_poses


def _solid(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
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
    found = wrapped(trimesh.Trimesh(inputs["vertices"], inputs["faces"], process=False))
    return {"vertices": np.asarray(found.vertices), "faces": np.asarray(found.faces)}


def _parts(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    points = convex_points(inputs["vertices"], inputs["faces"], str(inputs["method"]))
    return {f"part_{index}": vertices for index, vertices in enumerate(points)}


def _poses(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
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
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
