"""A described hand for the physics."""

from __future__ import annotations

from pathlib import Path

from udg_datagen.validation.hand_world import HandBody, urdf_body
from udg_description.robot.hand import read_hand
from udg_description.robot.hand_tree import hand_tree
from udg_sim.physics.world import WorldConfig


def load_body(path: Path | str, config: WorldConfig | None = None) -> HandBody:
    """The hand of a description file for `validate(..., bodies={side: body})`: gains from `config`, efforts its own.

    Raises:
        HandModelError: as `load_hand`.
    """
    description = read_hand(path)
    urdf = Path(path).parent / description.urdf
    tree = hand_tree(urdf, description.root_link, description.joints)
    names = [joint.name for joint in tree.joints]
    return urdf_body(urdf, description.root_link, names, WorldConfig() if config is None else config)
