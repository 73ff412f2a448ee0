"""`HandSpec` of the XHand of either side, read from udg_description."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
import trimesh
import yaml
from udg_description.frames import GRASP_CENTER_HAND, PALM_NORMAL_HAND
from udg_description.layout import HAND_JOINTS, Side
from udg_description.urdf import Primitive, load_urdf

from udg_datagen.grasp_picture import primitive_mesh
from udg_datagen.synthesis.hand import HandModel, HandSpec

# Thumb across the palm, fingers half closed: an open hand around a medium object [rad].
_PRESHAPE = (1.25, 0.3, 0.4, 0.0, 0.6, 0.5, 0.6, 0.5, 0.6, 0.5, 0.6, 0.5)
# Flange and last wrist link behind the hand, in the hand frame.
_GUARD_CENTER = ((0.0, 0.0, 0.015), (0.0, 0.0, 0.055), (0.0, 0.0, 0.1))
_GUARD_RADIUS = (0.042, 0.045, 0.055)
_THUMB = "thumb"
# Collision spheres: spacing in radii along capsules and boxes; overlap below which a sphere adds nothing [m].
_SPACING = 1.2
_SPACING_BACK = 2.5
_SPACING_BOX = 0.8
_SLIVER = 0.0012
_SURFACE_DENSITY = 1.5e4  # [1/m^2] points for the final check


def xhand(side: Side, device: str = "cpu") -> HandModel:
    """The XHand of `side`, ready for `synthesize`."""
    return HandModel(xhand_spec(side), device)


@lru_cache(maxsize=2)
def xhand_spec(side: Side) -> HandSpec:
    """The XHand of `side`: 12 joints in SDK order, links and joints named with the side's prefix."""
    urdf = load_urdf()
    joints = [urdf.joints[f"{side}_{name}"] for name in HAND_JOINTS]
    links = [f"{side}_hand_link"] + [joint.child for joint in joints]
    index = {name: k for k, name in enumerate(links)}
    shapes = [(index[name], shape) for name in links for shape in urdf.links[name].primitives]
    palmar_y = PALM_NORMAL_HAND[side][1]
    spheres = _distinct([(link, *sphere) for link, shape in shapes
                         for sphere in _spheres(shape, _spacing(links[link], shape, palmar_y))])
    surface = [(link, _surface(shape, seed)) for seed, (link, shape) in enumerate(shapes)]
    sphere_link = np.array([s[0] for s in spheres])
    contacts = _contacts(side)
    is_thumb = np.array([_THUMB in links[k] for k in sphere_link])
    near_thumb = np.array([links[k].endswith(("thumb_bend_link", "thumb_rota_link1")) for k in sphere_link])
    return HandSpec(
        side=side,
        joint_names=tuple(joint.name for joint in joints),
        parent_link=np.array([index[joint.parent] for joint in joints]),
        T_parent_joint=np.stack([joint.T_parent_joint for joint in joints]),
        axis=np.stack([joint.axis for joint in joints]),
        lower=np.array([joint.lower for joint in joints]),
        upper=np.array([joint.upper for joint in joints]),
        effort=np.array([joint.effort for joint in joints]),
        sphere_link=sphere_link,
        sphere_center=np.stack([s[1] for s in spheres]),
        sphere_radius=np.array([s[2] for s in spheres]),
        guard_center=np.array(_GUARD_CENTER),
        guard_radius=np.array(_GUARD_RADIUS),
        surface_link=np.concatenate([np.full(len(points), link) for link, points in surface]),
        surface_point=np.concatenate([points for _, points in surface]),
        contact_names=tuple(c[0] for c in contacts),
        contact_link=np.array([index[c[1]] for c in contacts]),
        contact_center=np.stack([c[2] for c in contacts]),
        contact_radius=np.array([c[3] for c in contacts]),
        contact_axis=np.stack([c[4] for c in contacts]),
        self_pairs=(np.flatnonzero(is_thumb & ~near_thumb), np.flatnonzero(~is_thumb & (sphere_link > 0))),
        grasp_center=GRASP_CENTER_HAND[side],
        palm_normal=PALM_NORMAL_HAND[side],
        preshape=np.array(_PRESHAPE),
    )


def _contacts(side: Side) -> list[tuple[str, str, np.ndarray, float, np.ndarray]]:
    """Name, link, centre, radius and axis of each pad; the file describes the right hand."""
    pads = yaml.safe_load((files("udg_description") / "data" / "contacts.yaml").read_text())["pads"]
    mirror = np.array([1.0, -1.0 if side == "left" else 1.0, 1.0])
    return [
        (name, f"{side}_{pad['link']}", mirror * pad["center"], float(pad["radius"]), mirror * pad["axis"])
        for name, pad in pads.items()
    ]


def _spacing(link: str, shape: Primitive, palmar_y: float) -> float:
    """Spacing in radii along a capsule: wide on the backs of the fingers, which seldom meet the object."""
    back = _THUMB not in link and palmar_y * shape.T_link_shape[1, 3] < -0.003
    return _SPACING_BACK if back else _SPACING


def _spheres(shape: Primitive, spacing: float) -> list[tuple[np.ndarray, float]]:
    """Spheres that fill a primitive; the ends of a capsule come as spheres of their own."""
    if shape.kind == "sphere":
        return [(shape.T_link_shape[:3, 3], shape.size[0])]
    if shape.kind == "cylinder":
        radius, length = shape.size
        count = max(int(np.ceil(length / (spacing * radius))) - 1, 0)
        heights = (np.arange(count) + 1) / (count + 1) * length - length / 2
        local = np.stack([np.zeros(count), np.zeros(count), heights], axis=-1)
    else:
        radius = min(shape.size) / 2
        axes = [np.linspace(radius - e / 2, e / 2 - radius, int(np.ceil((e - 2 * radius) / (_SPACING_BOX * radius))) + 1)
                for e in shape.size]
        local = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    points = local @ shape.T_link_shape[:3, :3].T + shape.T_link_shape[:3, 3]
    return [(p, radius) for p in points]


def _distinct(spheres: list[tuple[int, np.ndarray, float]]) -> list[tuple[int, np.ndarray, float]]:
    """Without spheres that another one of the same link contains but for a sliver."""
    kept: list[tuple[int, np.ndarray, float]] = []
    for link, center, radius in sorted(spheres, key=lambda s: -s[2]):
        if not any(k == link and np.linalg.norm(c - center) + radius < r + _SLIVER for k, c, r in kept):
            kept.append((link, center, radius))
    return sorted(kept, key=lambda s: s[0])


def _surface(shape: Primitive, seed: int) -> np.ndarray:
    """Points on the surface of a primitive, in the link's frame."""
    mesh = primitive_mesh(shape)
    points, _ = trimesh.sample.sample_surface(mesh, max(8, round(mesh.area * _SURFACE_DENSITY)), seed=seed)
    return np.asarray(points)
