"""From the description of a hand to what the synthesiser asks of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from udg_datagen.hands.model import HandModel, HandSpec
from udg_description.errors import HandModelError
from udg_description.robot.hand import UNIT_TOLERANCE, HandDescription, read_hand
from udg_description.robot.hand_spheres import link_spheres, surface_points
from udg_description.robot.hand_tree import HandTree, hand_tree


def load_hand(path: Path | str, device: str = "cpu") -> HandModel:
    """The hand of a description file, ready for `synthesize`.

    Raises:
        HandModelError: the file or its URDF is missing, malformed, or they contradict each other.
    """
    return HandModel(hand_spec(read_hand(path), Path(path).parent), device)


def hand_spec(description: HandDescription, folder: Path) -> HandSpec:
    """The synthesiser's view of a described hand whose URDF lies relative to `folder`."""
    tree = hand_tree(folder / description.urdf, description.root_link, description.joints)
    names = [joint.name for joint in tree.joints]
    if set(description.preshape) != set(names):
        raise HandModelError(
            f"hand '{description.name}': preshape has {', '.join(description.preshape)}; "
            f"the joints are {', '.join(names)}"
        )
    spheres = link_spheres(tree, description)
    sphere_link = np.repeat(np.arange(len(spheres)), [len(rows) for rows in spheres])
    sphere = np.concatenate(spheres)
    surface = surface_points(tree)
    pads = [(name, pad, *tree.link_of(pad.link)) for name, pad in description.contacts.items()]
    axes = np.stack([T[:3, :3] @ np.asarray(pad.axis) for _, pad, _, T in pads])
    guard = np.asarray(description.guard, dtype=float).reshape(-1, 4)
    lower, upper = (np.array([getattr(joint, end) for joint in tree.joints]) for end in ("lower", "upper"))
    return HandSpec(
        side=description.side,
        joint_names=tuple(names),
        parent_link=tree.parent_link,
        T_parent_joint=tree.T_parent_joint,
        axis=np.stack([joint.axis for joint in tree.joints]),
        lower=lower,
        upper=upper,
        effort=np.array([joint.effort for joint in tree.joints]),
        sphere_link=sphere_link,
        sphere_center=sphere[:, :3],
        sphere_radius=sphere[:, 3],
        guard_center=guard[:, :3],
        guard_radius=guard[:, 3],
        surface_link=np.repeat(np.arange(len(surface)), [len(points) for points in surface]),
        surface_point=np.concatenate(surface),
        contact_names=tuple(description.contacts),
        contact_link=np.array([link for _, _, link, _ in pads]),
        contact_center=np.stack([T[:3, :3] @ np.asarray(pad.center) + T[:3, 3] for _, pad, _, T in pads]),
        contact_radius=np.array([pad.radius for _, pad, _, _ in pads]),
        contact_axis=_unit(axes),
        self_pairs=_self_pairs(tree, sphere_link, [link for _, _, link, _ in pads], description.may_touch),
        grasp_center=np.asarray(description.grasp_center, dtype=float),
        palm_normal=np.asarray(description.palm_normal, dtype=float),
        preshape=np.clip([description.preshape[name] for name in names], lower, upper),
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows (n, 3) at unit length; those that a file may have are taken as they are."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(np.abs(length - 1.0) < UNIT_TOLERANCE, rows, rows / length)


def _self_pairs(
    tree: HandTree, sphere_link: np.ndarray, contact_links: Sequence[int], may_touch: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Spheres of the first contact's finger (the thumb) and of the other fingers; what they share is in neither."""
    first = set(tree.chain(contact_links[0])) - {tree.link_of(name)[0] for name in may_touch}
    others = {link for contact in contact_links[1:] for link in tree.chain(contact)}
    return (
        np.flatnonzero(np.isin(sphere_link, sorted(first - others))),
        np.flatnonzero(np.isin(sphere_link, sorted(others - first))),
    )
