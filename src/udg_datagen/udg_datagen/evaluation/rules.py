"""The physics and the success of trials: the paper's, or those of the public reference code, which are easier."""

from __future__ import annotations

from dataclasses import dataclass, field

from udg_description.errors import UdgError
from udg_sim.objects.library import ObjectModel
from udg_sim.trials.trial import LiftRule


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is done to the object, and when it counts as lifted."""

    lift: LiftRule = field(default_factory=LiftRule)
    most_mass_kg: float | None = None  # heavier objects are made as light; None: each has its own mass
    friction: float | None = None  # of every pair; None: the object's own
    damping: float = 0.0  # [1/s] of the object's translation and rotation

    def __post_init__(self) -> None:
        if self.damping < 0.0 or min(self.most_mass_kg or 1.0, self.friction or 1.0) <= 0.0:
            raise UdgError(f"rules: {self}: most_mass_kg and friction must be > 0, damping >= 0")

    def mass_kg(self, target: ObjectModel) -> float:
        """Mass of an object in a trial."""
        return target.mass_kg if self.most_mass_kg is None else min(target.mass_kg, self.most_mass_kg)


RULES = {
    "paper": Rules(),
    "reference": Rules(lift=LiftRule(rise_m=0.1), most_mass_kg=0.1, friction=2.0, damping=20.0),
}
"""`paper`: risen by 0.17 m and held for 1 s, own masses and friction, no damping. `reference`: what the paper's public
code does instead; with it figures may be compared with others that were made so."""


def rules_of(name: str) -> Rules:
    """The rules of a name. Raises UdgError."""
    if name not in RULES:
        raise UdgError(f"rules {name!r} do not exist; valid: {', '.join(RULES)}")
    return RULES[name]
