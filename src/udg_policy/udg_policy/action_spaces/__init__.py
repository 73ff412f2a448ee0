"""The action spaces by the name that `action_space` of the configuration has. A new one: a file here, and a line."""

from udg_policy.action_spaces.joint import JointSpace
from udg_policy.action_spaces.space import ActionBounds, ActionSpace, Kind, Slot
from udg_policy.action_spaces.wrist import WristSpace

__all__ = ["ACTION_SPACES", "ActionBounds", "ActionSpace", "Kind", "Slot"]

ACTION_SPACES: dict[str, ActionSpace] = {
    "wrist_relative": WristSpace(relative_to_home=False),
    "wrist_absolute": WristSpace(relative_to_home=True),
    "joint_absolute": JointSpace(),
}
