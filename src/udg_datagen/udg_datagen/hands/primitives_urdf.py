"""A copy of a URDF whose collision meshes are spheres: the same shapes for the synthesiser and for the physics."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from udg_datagen.hands.mesh_spheres import load_collision_mesh, mesh_spheres
from udg_description.errors import HandModelError
from udg_description.files import write_atomically
from udg_description.transforms import make_transform, rpy_to_matrix
from udg_description.urdf import load_urdf, read_urdf_xml


def write_primitive_urdf(source: Path, target: Path) -> list[str]:
    """Write `source` to `target` with spheres for meshes and without <visual>; notes of what was done to meshes.

    Raises:
        HandModelError: a collision mesh is missing, no solid, or in another unit; with the file, the link, the mesh.
        RobotModelError: `source` is no URDF.
    """
    load_urdf(source)  # its links and joints are sound
    robot = read_urdf_xml(source)
    notes = []
    for link in robot.findall("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        for collision in link.findall("collision"):
            mesh = collision.find("geometry/mesh")
            if mesh is None:
                continue
            link.remove(collision)
            try:
                rows, said = _spheres(source, mesh)
            except HandModelError as error:
                raise HandModelError(f"{source}: link '{link.attrib['name']}': {error}") from None
            notes += [f"link '{link.attrib['name']}': {note}" for note in said]
            T = _origin(collision.find("origin"))
            rows[:, :3] = rows[:, :3] @ T[:3, :3].T + T[:3, 3]
            for x, y, z, radius in rows:
                shape = ET.SubElement(link, "collision")
                ET.SubElement(shape, "origin", xyz=f"{x:.5f} {y:.5f} {z:.5f}", rpy="0 0 0")
                ET.SubElement(ET.SubElement(shape, "geometry"), "sphere", radius=f"{radius:.5f}")
    ET.indent(robot)
    write_atomically(target, ET.tostring(robot, encoding="utf-8", xml_declaration=True))
    return notes


def _spheres(urdf: Path, mesh: ET.Element) -> tuple[np.ndarray, tuple[str, ...]]:
    """Rows (k, 4) of spheres in a <mesh>, and notes. Raises HandModelError."""
    filename = mesh.get("filename", "")
    if not filename:
        raise HandModelError("its collision <mesh> has no filename")
    found = load_collision_mesh(urdf, filename, _scale(mesh.get("scale", "1 1 1"), filename))
    return np.concatenate([mesh_spheres(body) for body in found.bodies]), found.notes


def _scale(text: str, filename: str) -> np.ndarray:
    try:
        scale = np.array([float(word) for word in text.split()])
    except ValueError:
        scale = np.zeros(0)
    if scale.shape != (3,) or not np.isfinite(scale).all() or (scale == 0.0).any():
        one = f', as scale="{text} {text} {text}"' if scale.shape == (1,) and scale[0] else ""
        raise HandModelError(f"collision mesh '{filename}': scale is '{text}', valid: three numbers, none 0{one}")
    return scale


def _origin(element: ET.Element | None) -> np.ndarray:
    if element is None:
        return np.eye(4)
    rpy, xyz = ([float(v) for v in element.get(key, "0 0 0").split()] for key in ("rpy", "xyz"))
    return make_transform(rpy_to_matrix(np.array(rpy)), np.array(xyz))
