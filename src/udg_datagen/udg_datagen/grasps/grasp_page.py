"""A web page of grasps in 3-D: one file that needs no network, drawn by WebGL."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from udg_datagen.grasp_set import GraspSet
from udg_datagen.grasps.grasp_scene import ARROW_M_PER_N, FORCE_RGB, OBJECT_RGB, GraspScene, arrow
from udg_description.files import write_atomically
from udg_description.layout import Side
from udg_description.model import RobotModel

_MAX_FACES = 30_000  # of the object on the page
_CLOSING = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the fingers, after the approach
_ARROW_RADIUS = 0.0025  # [m] of an arrow of length 1, which the page stretches


def write_page(
    grasps: GraspSet,
    mesh: trimesh.Trimesh,
    path: Path | str,
    *,
    count: int = 24,
    models: Mapping[Side, RobotModel] | None = None,
) -> None:
    """Write a self-contained HTML page with up to `count` grasps: the best ones that differ (`GraspSet.spread`)."""
    shown = grasps.spread(count)
    scene = GraspScene(shown, mesh, models)
    table = scene.object()
    lower, upper = table.vertices.min(axis=0), table.vertices.max(axis=0)
    faces = _reduced(trimesh.Trimesh(table.vertices, table.faces, process=False))
    hands = "both hands" if len(grasps.sides) == 2 else f"{grasps.sides[0]} hand"
    data = {
        "title": grasps.object_id,
        "subtitle": f"{grasps.strategy}, {hands}; the best {len(shown)} of {len(grasps)} that differ",
        "centre": ((lower + upper) / 2.0).tolist(),
        "reach": max(0.12, float(np.linalg.norm(upper - lower)) / 2.0),
        "frames": 1 + len(_CLOSING),
        "object": {**_packed(faces), "colour": OBJECT_RGB.tolist()},
        "arrow": {**_packed(_unit_arrow()), "colour": FORCE_RGB.tolist(), "m_per_n": ARROW_M_PER_N},
        "hands": [{"side": side, "links": _links(scene, h)} for h, side in enumerate(shown.sides)],
        "grasps": [_grasp(scene, index) for index in range(len(shown))],
    }
    template = (files("udg_datagen") / "data" / "grasp_viewer.html").read_text(encoding="utf-8")
    view = (files("udg_description") / "data" / "page3d.js").read_text(encoding="utf-8")
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    page = template.replace("__TITLE__", html.escape(f"Grasps of {grasps.object_id}")).replace("/*PAGE3D*/", view)
    page = page.replace("/*DATA*/null", text)
    write_atomically(Path(path), page)


def _grasp(scene: GraspScene, index: int) -> dict[str, Any]:
    grasps = scene.grasps
    back, there = grasps.Ts_object_pregrasp[index], grasps.T_object_hand[index]
    frames = [(back, 0.0), *((there, s) for s in _CLOSING)]
    poses = []
    for T_object_hand, s in frames:
        for h, hand in enumerate(scene.hands):
            q = grasps.q_pregrasp[index, h] + s * (grasps.q_grasp[index, h] - grasps.q_pregrasp[index, h])
            poses.append(grasps.T_table_object @ T_object_hand[h] @ hand.pose(q))
    points, forces = scene.forces(index)
    return {
        "poses": _base64(np.stack(poses).astype(np.float32)),
        "points": np.round(points, 5).tolist(),
        "forces": np.round(forces, 3).tolist(),
        "facts": facts(grasps, index),
    }


def facts(grasps: GraspSet, index: int) -> list[tuple[str, str]]:
    """Names and values of what is known of a grasp, for people."""
    rows = [
        ("energy", f"{grasps.energy[index]:.3f}"),
        ("wrench residual", f"{grasps.wrench_residual[index]:.3f}"),
        ("worst pad to surface", f"{1e3 * np.abs(grasps.tip_distance[index]).max(initial=0.0):.2f} mm"),
        ("penetration", f"{1e3 * grasps.penetration[index]:.2f} mm"),
        ("table clearance", f"{1e3 * grasps.table_clearance[index]:.1f} mm"),
        ("largest force", f"{np.linalg.norm(grasps.contact_forces_object[index], axis=-1).max(initial=0.0):.1f} N"),
    ]
    if np.isfinite(grasps.q1[index]):
        rows.append(("Q1", f"{grasps.q1[index]:.3f}"))
    tests = zip(grasps.tests, grasps.withstood[index], strict=True)
    return rows + [(test, "held" if held else "failed") for test, held in tests]


def _links(scene: GraspScene, hand: int) -> list[dict[str, Any]]:
    mesh, colours = scene.hands[hand], scene.link_colours[hand]
    rest = np.tile(np.eye(4), (len(mesh.link_names), 1, 1))
    vertices = mesh.vertices(rest)  # in each link's own frame
    links: list[dict[str, Any]] = []
    for index in range(len(mesh.link_names)):
        faces = mesh.faces[mesh.face_link == index].astype(np.int64)
        part = _packed(trimesh.Trimesh(vertices, faces, process=False)) if len(faces) else {}
        links.append({**part, "colour": colours[index].tolist()})
    return links


def _packed(mesh: trimesh.Trimesh) -> dict[str, str]:
    """Vertices (float32) and faces (uint32) in base64, without vertices that no face uses."""
    used, faces = np.unique(np.asarray(mesh.faces), return_inverse=True)
    vertices = np.asarray(mesh.vertices)[used].astype(np.float32)
    return {"vertices": _base64(vertices), "faces": _base64(faces.ravel().astype(np.uint32))}


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _unit_arrow() -> trimesh.Trimesh:
    """An arrow along z of length 1; its head is short once it is shrunk to the length of a force."""
    mesh = arrow(np.zeros(3), np.array([0.0, 0.0, 0.05]), _ARROW_RADIUS)
    mesh.vertices[:, 2] /= 0.05
    return mesh


def _reduced(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    if len(mesh.faces) <= _MAX_FACES:
        return mesh
    import open3d as o3d

    legacy = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(np.asarray(mesh.vertices)), o3d.utility.Vector3iVector(np.asarray(mesh.faces))
    )
    small = legacy.simplify_quadric_decimation(_MAX_FACES)
    return trimesh.Trimesh(np.asarray(small.vertices), np.asarray(small.triangles), process=False)
