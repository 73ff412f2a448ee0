"""Random but fixed numbers from names: the same on every platform, in any order of asking."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Numbers that depend on the key and on the name asked for, and on nothing else.

    A parameter that is added to a shape later does not change the others.
    """

    def __init__(self, key: str) -> None:
        self.key = key

    def unit(self, name: str) -> float:
        """Uniform in [0, 1)."""
        digest = hashlib.sha256(f"{self.key}/{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2.0**64

    def uniform(self, name: str, lower: float, upper: float) -> float:
        """Uniform in [lower, upper)."""
        return lower + (upper - lower) * self.unit(name)

    def log_uniform(self, name: str, lower: float, upper: float) -> float:
        """Log-uniform in [lower, upper): equal chances for equal ratios."""
        return float(lower * (upper / lower) ** self.unit(name))

    def integer(self, name: str, lower: int, upper: int) -> int:
        """Whole number in lower..upper, both included."""
        return lower + int((upper - lower + 1) * self.unit(name))

    def choice(self, name: str, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(len(options) * self.unit(name))]

    def chance(self, name: str, probability: float) -> bool:
        """True with the probability."""
        return self.unit(name) < probability
