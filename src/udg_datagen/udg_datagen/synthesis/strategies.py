"""Grasp strategies: which contacts of which hands carry the object (paper section IV-A, figure 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from udg_datagen.errors import StrategyError

if TYPE_CHECKING:
    from udg_datagen.hands.model import HandModel
    from udg_datagen.objects.grasp_object import GraspObject

STRATEGIES: dict[str, int | None] = {"pinch": 2, "tripod": 3, "whole_hand": None, "bimanual": None}
"""Contacts of each hand that carry the object, the first of its description (thumb, index, ...); None: all."""
AUTO = "auto"

# Longest edge of an object over the span of the open hand (thumb to furthest finger) up to which a strategy is chosen:
# 0.045, 0.08 and 0.22 m for the XHand.
_PINCH_SPAN, _TRIPOD_SPAN, _WHOLE_HAND_SPAN = 0.185, 0.33, 0.9


def choose(obj: GraspObject, hand: HandModel) -> str:
    """Name of the strategy for a size (paper section I): small objects by the fingertips, large ones with both hands.

    An object whose longest edge is larger than the hand's span is still held by one hand if its second edge is less
    than half of it (a bottle, a roll): the hand reaches round it.
    """
    edges = sorted(obj.extents / hand.span)
    if edges[2] <= _PINCH_SPAN:
        return "pinch"
    if edges[2] <= _TRIPOD_SPAN:
        return "tripod"
    if edges[2] <= _WHOLE_HAND_SPAN or (edges[1] <= 0.5 * _WHOLE_HAND_SPAN and edges[2] <= 2.0 * _WHOLE_HAND_SPAN):
        return "whole_hand"
    return "bimanual"


def hands_needed(strategy: str) -> int:
    """Number of hands: 1, or 2 for both together.

    Raises:
        StrategyError: unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise StrategyError(f"unknown strategy '{strategy}'; valid: {', '.join((*STRATEGIES, AUTO))}")
    return 2 if strategy == "bimanual" else 1


def active_contacts(strategy: str, available: tuple[str, ...]) -> tuple[int, ...]:
    """Positions in `available` (contact names of a hand, thumb first) of the contacts that `strategy` uses.

    Raises:
        StrategyError: unknown strategy, or one that needs more contacts than the hand has.
    """
    hands_needed(strategy)
    count = STRATEGIES[strategy] or len(available)
    if count > len(available):
        raise StrategyError(
            f"strategy '{strategy}' needs {count} contacts, the hand has {len(available)}: {', '.join(available)}"
        )
    return tuple(range(count))
