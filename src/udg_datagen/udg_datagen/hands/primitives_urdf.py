"""A copy of a URDF whose collision meshes are spheres: the same shapes for the synthesiser and for the physics."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from udg_datagen.hands.mesh_spheres import load_collision_mesh, mesh_spheres
from udg_description.files import write_atomically
from udg_description.transforms import make_transform, rpy_to_matrix


def write_primitive_urdf(source: Path, target: Path) -> dict[str, int]:
    """Write `source` to `target` with spheres for meshes and without <visual>; number of spheres by link."""
    tree = ET.parse(source)
    counts: dict[str, int] = {}
    for link in tree.getroot().findall("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        for collision in link.findall("collision"):
            mesh = collision.find("geometry/mesh")
            if mesh is None:
                continue
            link.remove(collision)
            scale = np.array([float(v) for v in mesh.get("scale", "1 1 1").split()])
            T = _origin(collision.find("origin"))
            rows = mesh_spheres(load_collision_mesh(source, mesh.attrib["filename"], scale))
            rows[:, :3] = rows[:, :3] @ T[:3, :3].T + T[:3, 3]
            for x, y, z, radius in rows:
                shape = ET.SubElement(link, "collision")
                ET.SubElement(shape, "origin", xyz=f"{x:.5f} {y:.5f} {z:.5f}", rpy="0 0 0")
                ET.SubElement(ET.SubElement(shape, "geometry"), "sphere", radius=f"{radius:.5f}")
            name = link.attrib["name"]
            counts[name] = counts.get(name, 0) + len(rows)
    ET.indent(tree)
    write_atomically(target, ET.tostring(tree.getroot(), encoding="utf-8", xml_declaration=True))
    return counts


def _origin(element: ET.Element | None) -> np.ndarray:
    if element is None:
        return np.eye(4)
    rpy, xyz = ([float(v) for v in element.get(key, "0 0 0").split()] for key in ("rpy", "xyz"))
    return make_transform(rpy_to_matrix(np.array(rpy)), np.array(xyz))
