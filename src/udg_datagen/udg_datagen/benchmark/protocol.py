"""Which trials a benchmark is made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from udg_description.errors import UdgError
from udg_sim.objects.library import ObjectLibrary
from udg_sim.objects.manifest import manifest
from udg_sim.preparation.held_out import training_categories

SEEN = ("trained", "seen", "unseen")
"""An object that the policy was trained on; another one of a category that training objects have; one of another
category. The paper's table tells the last two apart."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Objects, as `udg_sim.objects.selection` reads them, and trials of each."""

    name: str
    objects: str
    trials: int
    first_seed: int = 500_000  # of the placements: outside of the demonstrations' and of the trials during training

    def __post_init__(self) -> None:
        if self.trials < 1 or self.first_seed < 0:
            raise UdgError(f"protocol: trials {self.trials} must be at least 1 and first_seed {self.first_seed} >= 0")

    @property
    def seeds(self) -> range:
        """Seeds of the trials of each object."""
        return range(self.first_seed, self.first_seed + self.trials)


PROTOCOLS = {
    one.name: one
    for one in (
        Protocol(name="paper", objects="held_out", trials=10),
        Protocol(name="quick", objects="held_out/quick", trials=4),
        Protocol(
            name="smoke",
            objects="train/small:1,train/medium:1,train/large:1,test/small:1,test/medium:1,test/large:1",
            trials=1,
        ),
    )
}
"""`paper`: 600 objects that no policy is trained on, 10 trials each; `quick`: 48 of them, 4 each; `smoke`: six of our
own, which need no source, one each."""


def protocol_of(name: str) -> Protocol:
    """The protocol of a name. Raises UdgError."""
    if name not in PROTOCOLS:
        raise UdgError(f"protocol {name!r} does not exist; valid: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


@dataclass(frozen=True, kw_only=True)
class ObjectFacts:
    """What the tables need to know of an object."""

    category: str
    size: str
    seen: bool  # whether training objects have its category
    trains: bool = False  # whether it is a training object itself


def facts_of(ids: Sequence[str], library: ObjectLibrary) -> dict[str, ObjectFacts]:
    """Facts of objects by id; those that the manifest does not list are built for it. Raises what the library does."""
    found, categories = {}, training_categories()
    for id in ids:
        record = manifest().get(id)
        if record is not None:
            trains = record.split == "train"
            found[id] = ObjectFacts(category=record.category, size=record.size_class, seen=record.seen, trains=trains)
        else:
            model = library.get(id)
            found[id] = ObjectFacts(category=model.category, size=model.size_class, seen=model.category in categories)
    return found


def seen_of(object_id: str, facts: ObjectFacts, trained_on: Collection[str]) -> str:
    """One of SEEN."""
    if object_id in trained_on:
        return "trained"
    return "seen" if facts.seen else "unseen"
