"""Triangles of what the cameras see: the robot's primitives at given joint angles."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import trimesh

from udg_description.model import RobotModel
from udg_description.transforms import inverse, transform_points
from udg_description.urdf import Primitive
from udg_sim.geometry.capsules import capsule_ends

_HIDDEN_DEPTH = 5e-4  # [m]
_COVER_LENGTH = 0.06  # [m] of a cylinder in one covering sphere, at least


class SphereCover(NamedTuple):
    """Spheres that contain a link's triangles: link index (S,), centres in the link (S, 3) [m], radii (S,) [m]."""

    link: np.ndarray
    centers: np.ndarray
    radii: np.ndarray


class RobotMesh:
    """Triangle mesh of the robot's primitives, one for each link, posed all at once.

    faces (F, 3) uint32 index the vertices; face_link (F,), vertex_link (V,) are the places in `link_names` of each face
    and vertex; points_link (V, 3) are the vertices [m], each in the frame of its link.
    """

    def __init__(self, model: RobotModel | None = None, detail: int = 1) -> None:
        """detail multiplies the number of facets: 1 for depth cameras (within 0.3 mm on fingers), 2 for pictures."""
        self.model = RobotModel() if model is None else model
        self.link_names = self.model.link_names
        points, faces, vertex_link, face_link, covers = [], [], [], [], []
        count = 0
        for index, name in enumerate(self.link_names):
            primitives = self.model.geometry(name)
            for mesh in primitive_meshes(primitives, detail):
                points.append(mesh.vertices)
                faces.append(mesh.faces + count)
                count += len(mesh.vertices)
                vertex_link.append(np.full(len(mesh.vertices), index))
                face_link.append(np.full(len(mesh.faces), index))
            covers += [(index, center, radius) for center, radius in _cover(primitives)]
        self.faces = np.ascontiguousarray(np.concatenate(faces), dtype=np.uint32)
        self.face_link = np.concatenate(face_link)
        self.vertex_link = np.concatenate(vertex_link)
        self.points_link = np.concatenate(points)
        self.cover = SphereCover(
            np.array([c[0] for c in covers]), np.array([c[1] for c in covers]), np.array([c[2] for c in covers])
        )

    def pose(self, q: np.ndarray) -> np.ndarray:
        """T_world_link (L, 4, 4) of all links at q (36,) [rad]."""
        return self.model.link_pose_array(q)

    def vertices(self, T_world_link: np.ndarray) -> np.ndarray:
        """(V, 3) float32 vertices in the world [m] for link poses (L, 4, 4)."""
        T = T_world_link[self.vertex_link]
        return (np.einsum("nij,nj->ni", T[:, :3, :3], self.points_link) + T[:, :3, 3]).astype(np.float32)

    def faces_under(self, spheres: np.ndarray) -> np.ndarray:
        """(K, 3) uint32 faces of the links that have one of the covering spheres (S,) bool."""
        links = np.zeros(len(self.link_names), dtype=bool)
        links[self.cover.link[spheres]] = True
        return self.faces[links[self.face_link]]

    def cover_centers(self, T_world_link: np.ndarray) -> np.ndarray:
        """(S, 3) centres in the world [m] of the covering spheres."""
        T = T_world_link[self.cover.link]
        return np.einsum("nij,nj->ni", T[:, :3, :3], self.cover.centers) + T[:, :3, 3]


def primitive_meshes(primitives: Sequence[Primitive], detail: int = 1) -> list[trimesh.Trimesh]:
    """Meshes of a link's primitives without the faces that lie inside another primitive of the link.

    A cylinder with a sphere at each end becomes one capsule.
    """
    capsules = capsule_ends(primitives)
    used = {id(end) for ends in capsules.values() for end in ends}
    solids = [primitive for primitive in primitives if id(primitive) not in used]
    meshes = []
    for primitive in solids:
        mesh = _primitive_mesh(primitive, id(primitive) in capsules, detail)
        hidden = np.zeros(len(mesh.faces), dtype=bool)
        for other in solids:
            if other is not primitive:
                hidden |= _contains(other, id(other) in capsules, mesh.vertices)[mesh.faces].all(axis=1)
        mesh.update_faces(~hidden)
        mesh.remove_unreferenced_vertices()
        if len(mesh.faces):
            meshes.append(mesh)
    return meshes


def _primitive_mesh(primitive: Primitive, is_capsule: bool, detail: int) -> trimesh.Trimesh:
    if primitive.kind == "box":
        mesh = trimesh.creation.box(primitive.size)
    else:
        length = primitive.size[1] if primitive.kind == "cylinder" else 0.0
        mesh = _revolved(primitive.size[0], length, is_capsule or primitive.kind == "sphere", detail)
    mesh.apply_transform(primitive.T_link_shape)
    return mesh


def _contains(primitive: Primitive, is_capsule: bool, points_link: np.ndarray) -> np.ndarray:
    """Which points (N, 3) lie at least _HIDDEN_DEPTH inside the (convex) primitive."""
    points = transform_points(inverse(primitive.T_link_shape), points_link)
    if primitive.kind == "box":
        return np.all(np.abs(points) < np.array(primitive.size) / 2 - _HIDDEN_DEPTH, axis=1)
    radius = primitive.size[0] - _HIDDEN_DEPTH
    half = primitive.size[1] / 2 if primitive.kind == "cylinder" else 0.0
    beyond = np.maximum(np.abs(points[:, 2]) - half, 0)
    across = np.hypot(points[:, 0], points[:, 1])
    if primitive.kind == "sphere" or is_capsule:
        return np.hypot(across, beyond) < radius
    return (across < radius) & (np.abs(points[:, 2]) < half - _HIDDEN_DEPTH)


def _revolved(radius: float, length: float, rounded: bool, detail: int) -> trimesh.Trimesh:
    """Cylinder of `length` about z, with round ends (capsule, sphere) or flat ones."""
    segments, rings = ((12, 3) if radius < 0.02 else (20, 4)) if rounded else (20, 1)
    segments, rings = detail * segments, detail * rings
    outer = radius / np.sqrt(np.cos(np.pi / segments))  # halfway between inscribed and circumscribed
    if rounded:
        angle = np.linspace(0, np.pi / 2, rings + 1)
        outline = [(outer * np.cos(a), radius * np.sin(a) + length / 2) for a in angle]
        line = [(r, -z) for r, z in reversed(outline)] + (outline if length > 0 else outline[1:])
        line[0] = (0.0, line[0][1])
        line[-1] = (0.0, line[-1][1])
    else:
        line = [(0.0, -length / 2), (outer, -length / 2), (outer, length / 2), (0.0, length / 2)]
    mesh = trimesh.creation.revolve(np.array(line), sections=segments)
    mesh.merge_vertices()
    mesh.update_faces(mesh.nondegenerate_faces())
    return mesh


def _cover(primitives: Sequence[Primitive]) -> list[tuple[np.ndarray, float]]:
    """Spheres (centre in the link, radius) that together contain the primitives' meshes; none inside another."""
    spheres = []
    for primitive in primitives:
        T = primitive.T_link_shape
        if primitive.kind == "box":
            spheres.append((T[:3, 3], 0.5 * float(np.linalg.norm(primitive.size))))
        elif primitive.kind == "sphere":
            spheres.append((T[:3, 3], 1.02 * primitive.size[0]))
        else:
            radius, length = primitive.size
            count = max(1, int(np.ceil(length / max(1.5 * radius, _COVER_LENGTH))))
            half = length / count / 2
            for k in range(count):
                center = T[:3, 3] + T[:3, 2] * (-length / 2 + (2 * k + 1) * half)
                spheres.append((center, 1.02 * float(np.hypot(radius, half))))
    spheres.sort(key=lambda sphere: -sphere[1])
    kept: list[tuple[np.ndarray, float]] = []
    for center, radius in spheres:
        if not any(np.linalg.norm(center - c) + radius <= r + 1e-9 for c, r in kept):
            kept.append((center, radius))
    return kept
