"""`HandSpec` of the XHand of either side, read from udg_description."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from udg_description.frames import GRASP_CENTER_HAND, PALM_NORMAL_HAND
from udg_description.layout import HAND_JOINTS, Side
from udg_description.urdf import Primitive, load_urdf

from udg_datagen.synthesis.hand import HandModel, HandSpec

# Thumb across the palm, fingers half closed: an open hand around a medium object [rad].
_PRESHAPE = (1.25, 0.3, 0.4, 0.0, 0.6, 0.5, 0.6, 0.5, 0.6, 0.5, 0.6, 0.5)
# Flange and last wrist link behind the hand, in the hand frame.
_GUARD_CENTER = ((0.0, 0.0, 0.015), (0.0, 0.0, 0.055), (0.0, 0.0, 0.1))
_GUARD_RADIUS = (0.042, 0.045, 0.055)
_THUMB = "thumb"
_PALM_EDGE_RADIUS = 0.012  # [m] of the spheres that fill a box


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
    spheres = [(index[name], *sphere) for name in links for shape in urdf.links[name].primitives
               for sphere in _spheres(shape)]
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
    mirror = np.array([1.0, -1.0 if side == "left" else 1.0, 1.0])
    tilt = np.deg2rad(25.0)
    finger = (np.array([0.0, 0.0007, -0.0323]), 0.0089, np.array([0.0, np.cos(tilt), -np.sin(tilt)]))
    thumb = (np.array([0.0362, 0.0, 0.0070]), 0.0159, np.array([np.sin(tilt), 0.0, -np.cos(tilt)]))
    rows = [("thumb", "hand_thumb_rota_link2", thumb), ("index", "hand_index_rota_link2", finger)]
    rows += [(name, f"hand_{name}_link2", finger) for name in ("mid", "ring", "pinky")]
    return [(name, f"{side}_{link}", mirror * c, r, mirror * axis) for name, link, (c, r, axis) in rows]


def _spheres(shape: Primitive) -> list[tuple[np.ndarray, float]]:
    if shape.kind == "sphere":
        return [(shape.T_link_shape[:3, 3], shape.size[0])]
    if shape.kind == "cylinder":
        radius, length = shape.size
        count = max(int(np.ceil(length / radius)) - 1, 1)
        heights = (np.arange(count) + 1) / (count + 1) * length - length / 2
        local = np.stack([np.zeros(count), np.zeros(count), heights], axis=-1)
    else:
        radius = min(shape.size) / 2
        axes = [np.linspace(-e / 2 + radius, e / 2 - radius, int(np.ceil((e - 2 * radius) / (0.7 * radius))) + 1)
                for e in shape.size]
        local = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        surface = (np.abs(local) > np.array(shape.size) / 2 - 1.01 * radius).any(axis=1)
        local = local[surface]
    points = local @ shape.T_link_shape[:3, :3].T + shape.T_link_shape[:3, 3]
    return [(p, radius) for p in points]
