"""The primitives against the reference's meshes: surface error of the assembled right side, both ways.

Mesh to primitives: points of the meshes that are visible from outside. Primitives to mesh: points of the primitives'
outer surface. Skipped where the reference folder or Open3D is absent.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from udg_description.distance import RobotDistance
from udg_description.layout import HOME_Q, part_indices
from udg_description.model import RobotModel
from udg_description.shapes import merge_capsules, sample_union
from udg_description.transforms import make_transform, rpy_to_matrix, transform_points

trimesh = pytest.importorskip("trimesh")
o3d = pytest.importorskip("open3d")

REFERENCE = Path(os.environ.get("UDG_REFERENCE_DIR", Path(__file__).resolve().parents[4] / "shared" / "reference"))
MESHES = REFERENCE / "robot" / "meshes"

pytestmark = pytest.mark.skipif(not MESHES.is_dir(), reason=f"no meshes in {REFERENCE}: set UDG_REFERENCE_DIR")

PI = np.pi
# link -> [(file, xyz [m], rpy [rad], scale)]: where the reference mounts each mesh, covers included.
PARTS: dict[str, list[tuple[str, tuple, tuple, float]]] = {
    "base_link_inertia": [("collision/base.stl", (0, 0, 0), (0, 0, PI), 1)],
    "shoulder_link": [("collision/shoulder.stl", (0, 0, 0), (0, 0, PI), 1)],
    "upper_arm_link": [("collision/upperarm.stl", (0, 0, 0.138), (PI / 2, 0, -PI / 2), 1)],
    "forearm_link": [("collision/forearm.stl", (0, 0, 0.007), (PI / 2, 0, -PI / 2), 1)],
    "wrist_1_link": [("collision/wrist1.stl", (0, 0, -0.127), (PI / 2, 0, 0), 1)],
    "wrist_2_link": [("collision/wrist2.stl", (0, 0, -0.0997), (0, 0, 0), 1)],
    "wrist_3_link": [
        ("collision/wrist3.stl", (0, 0, -0.0989), (PI / 2, 0, 0), 1),
        ("connector.stl", (0, 0, 0.0305), (PI, PI / 2, 0), 0.001),
    ],
    "hand_link": [("hand_link", (0, 0, 0), (0, 0, 0), 1), ("hand_back_link", (0, 0, -0.065), (0, 0, 0), 1)],
    "hand_thumb_bend_link": [("hand_thumb_bend_link", (0, 0, 0), (0, 0, 0), 1)],
    "hand_index_bend_link": [("hand_index_bend_link", (0, 0, 0), (0, 0, 0), 1)],
}
for _number, _length in ((1, 0.0553), (2, 0.05022765)):
    PARTS[f"hand_thumb_rota_link{_number}"] = [
        (f"hand_thumb_rota_link{_number}", (0, 0, 0), (0, 0, 0), 1),
        (f"hand_thumb_rotaback_link{_number}", (_length, 0, 0), (0, 0, 0), 1),
    ]
for _finger in ("index_rota", "mid", "ring", "pinky"):
    for _number, _length in ((1, 0.0558), (2, 0.04224829)):
        PARTS[f"hand_{_finger}_link{_number}"] = [
            (f"hand_{_finger}_link{_number}", (0, 0, 0), (0, 0, 0), 1),
            (f"hand_{_finger}back_link{_number}", (0, 0, -_length), (0, 0, 0), 1),
        ]
# mean and 95th percentile [mm] allowed; reached: see the table that the test prints (pytest -s).
ALLOWED_MM = {
    "hand": (1.0, 3.0),
    "shoulder_link": (2.5, 8.0),
    "upper_arm_link": (4.5, 12.5),
    "forearm_link": (4.0, 13.0),
    "wrist_1_link": (2.5, 7.0),
    "wrist_2_link": (2.0, 6.0),
    "wrist_3_link": (1.5, 5.0),
    "base_link_inertia": (1.5, 4.0),
}
N_SAMPLES = 1200
N_VIEWS = 32


def load_part(file: str, xyz: tuple, rpy: tuple, scale: float) -> "trimesh.Trimesh":
    name = file if "." in file else f"right_{file}.STL"
    mesh = trimesh.load(MESHES / name)
    mesh.apply_scale(scale)
    return mesh.apply_transform(make_transform(rpy_to_matrix(np.array(rpy)), np.array(xyz)))


def is_visible(scene: "o3d.t.geometry.RaycastingScene", points: np.ndarray) -> np.ndarray:
    """Whether points (N, 3) see the open from at least a few of N_VIEWS directions."""
    index = np.arange(N_VIEWS) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / N_VIEWS), PI * (1 + 5**0.5) * index
    views = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], axis=1)
    rays = np.concatenate(np.broadcast_arrays(points[:, None], views[None]), axis=2).astype(np.float32)
    hits = scene.cast_rays(o3d.core.Tensor(rays))["t_hit"].numpy()
    return np.sum(~np.isfinite(hits), axis=1) >= 3


def test_surface_error_both_ways() -> None:
    model = RobotModel()
    q = HOME_Q.copy()
    q[part_indices("right_hand")] = np.deg2rad([40, 30, 30, 0, 35, 40, 35, 40, 35, 40, 35, 40])
    poses = model.link_poses_np(q)
    meshes = {
        link: trimesh.util.concatenate([load_part(*part) for part in parts]).apply_transform(poses[f"right_{link}"])
        for link, parts in PARTS.items()
    }
    scene = o3d.t.geometry.RaycastingScene()
    for mesh in meshes.values():
        scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
    to_robot, rng = RobotDistance(model), np.random.default_rng(0)
    whole_hand: dict[str, list[np.ndarray]] = {"mesh": [], "primitives": []}
    failures = []
    for link, mesh in meshes.items():
        points, faces = trimesh.sample.sample_surface(mesh, 3 * N_SAMPLES, seed=0)
        normals = mesh.face_normals[faces]
        seen = is_visible(scene, points + 2e-5 * normals) | is_visible(scene, points - 2e-5 * normals)
        mesh_error_mm = 1e3 * np.abs(to_robot(points[seen], q))
        primitives = merge_capsules(model.geometry(f"right_{link}"))
        surface = transform_points(poses[f"right_{link}"], sample_union(primitives, N_SAMPLES, rng))
        outer = surface[to_robot(surface, q) > -1e-4]
        primitive_error_mm = 1e3 * scene.compute_distance(o3d.core.Tensor(outer.astype(np.float32))).numpy()
        if link.startswith("hand_"):
            whole_hand["mesh"].append(mesh_error_mm)
            whole_hand["primitives"].append(primitive_error_mm)
        for way, error in (("mesh -> primitives", mesh_error_mm), ("primitives -> mesh", primitive_error_mm)):
            mean, p95, largest = error.mean(), np.percentile(error, 95), error.max()
            print(f"{link:24s} {way}: mean {mean:5.2f} p95 {p95:5.2f} max {largest:5.2f} mm")
            if link in ALLOWED_MM and (mean > ALLOWED_MM[link][0] or p95 > ALLOWED_MM[link][1]):
                failures.append(f"{link} {way}: mean {mean:.2f} p95 {p95:.2f} mm, allowed {ALLOWED_MM[link]}")
    for way, errors in whole_hand.items():
        error = np.concatenate(errors)
        mean, p95 = error.mean(), np.percentile(error, 95)
        print(f"whole hand from {way}: mean {mean:.2f} p95 {p95:.2f} max {error.max():.2f} mm")
        if mean > ALLOWED_MM["hand"][0] or p95 > ALLOWED_MM["hand"][1]:
            failures.append(f"hand from {way}: mean {mean:.2f} p95 {p95:.2f} mm, allowed {ALLOWED_MM['hand']}")
    assert not failures, "; ".join(failures)
