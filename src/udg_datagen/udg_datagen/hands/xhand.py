"""`HandSpec` of the XHand of either side, read from udg_description."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np
import yaml

from udg_datagen.hands.model import HandModel, HandSpec
from udg_datagen.hands.sphere_cover import cover_with_spheres
from udg_description.frames import GRASP_CENTER_HAND, PALM_NORMAL_HAND
from udg_description.layout import HAND_JOINTS, Side
from udg_description.shapes import area, sample_union, union_distance
from udg_description.urdf import Primitive, load_urdf

# Thumb across the palm, fingers half closed: an open hand around a medium object [rad].
_PRESHAPE = (1.25, 0.3, 0.4, 0.0, 0.6, 0.5, 0.6, 0.5, 0.6, 0.5, 0.6, 0.5)
# Flange and last wrist link behind the hand, in the hand frame.
_GUARD_CENTER = ((0.0, 0.0, 0.015), (0.0, 0.0, 0.055), (0.0, 0.0, 0.1))
_GUARD_RADIUS = (0.042, 0.045, 0.055)
_THUMB = "thumb"
_TIP_LINKS = ("_rota_link2", "_link2")
# Collision spheres: growth, and what of the surface may stand out of them [m]; less at the tips, which touch.
_GROW = 0.0015
_GAP = 0.0015
_GAP_TIP = 0.0015
_BACK = -0.3  # palmar component of a normal below which the surface counts as the back of the hand
_SURFACE_DENSITY = 2.0e4  # [1/m^2] points for the final check
_LEAST_POINTS = 60
_NORMAL_STEP = 1e-4  # [m]


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
    rng = np.random.default_rng(0)
    surfaces = [_surface(urdf.links[name].primitives, rng) for name in links]
    palmar_y = PALM_NORMAL_HAND[side][1]
    spheres = [
        _spheres(name, urdf.links[name].primitives, *surface, palmar_y)
        for name, surface in zip(links, surfaces, strict=True)
    ]
    sphere_link = np.repeat(np.arange(len(links)), [len(radii) for _, radii in spheres])
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
        sphere_center=np.concatenate([centers for centers, _ in spheres]),
        sphere_radius=np.concatenate([radii for _, radii in spheres]),
        guard_center=np.array(_GUARD_CENTER),
        guard_radius=np.array(_GUARD_RADIUS),
        surface_link=np.repeat(np.arange(len(links)), [len(points) for points, _ in surfaces]),
        surface_point=np.concatenate([points for points, _ in surfaces]),
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


def _spheres(
    link: str, shapes: Sequence[Primitive], surface: np.ndarray, normal: np.ndarray, palmar_y: float
) -> tuple[np.ndarray, np.ndarray]:
    """Spheres of a link that reach its surface, but for the back of palm and fingers, which seldom meets an object."""
    front = np.full(len(surface), True) if _THUMB in link else palmar_y * normal[:, 1] > _BACK
    tip = link.endswith(_TIP_LINKS)
    return cover_with_spheres(shapes, surface[front], grow=0.0 if tip else _GROW, gap=_GAP_TIP if tip else _GAP)


def _surface(shapes: Sequence[Primitive], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (m, 3) on the surface of a link and its normals (m, 3) there, in the link's frame."""
    count = max(_LEAST_POINTS, round(_SURFACE_DENSITY * sum(area(shape) for shape in shapes)))
    points = sample_union(shapes, count, rng)
    steps = _NORMAL_STEP * np.eye(3)
    normal = np.stack([union_distance(shapes, points + d) - union_distance(shapes, points - d) for d in steps], axis=-1)
    return points, normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
