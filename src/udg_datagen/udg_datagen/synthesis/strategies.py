"""Grasp strategies: which contacts of a hand carry the object (paper section IV-A, figure 3)."""

from __future__ import annotations

from udg_datagen.synthesis.errors import StrategyError

STRATEGIES: dict[str, tuple[str, ...]] = {
    "pinch": ("thumb", "index"),
    "tripod": ("thumb", "index", "mid"),
    "whole_hand": ("thumb", "index", "mid", "ring", "pinky"),
}


def active_contacts(strategy: str, available: tuple[str, ...]) -> tuple[int, ...]:
    """Positions in `available` (contact names of a hand) of the contacts that `strategy` uses.

    Raises:
        StrategyError: unknown strategy, or a contact that the hand lacks.
    """
    if strategy not in STRATEGIES:
        raise StrategyError(f"unknown strategy '{strategy}'; valid: {', '.join(STRATEGIES)}")
    missing = [name for name in STRATEGIES[strategy] if name not in available]
    if missing:
        raise StrategyError(
            f"strategy '{strategy}' needs contacts {missing} that the hand lacks; it has: {', '.join(available)}"
        )
    return tuple(available.index(name) for name in STRATEGIES[strategy])
