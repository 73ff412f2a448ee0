"""What the benchmark runs: objects, strategies by size, numbers of trials, tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from udg_datagen.validation.validation import ValidationConfig
from udg_description.errors import UdgError
from udg_description.layout import Side
from udg_sim.objects.library import ObjectLibrary

STRATEGIES_BY_SIZE = {
    "small": ("pinch", "tripod", "whole_hand"),
    "medium": ("tripod", "whole_hand"),
    "large": ("bimanual",),
}
"""What a demonstration of that size uses (paper section IV-A)."""
SIZES = tuple(STRATEGIES_BY_SIZE)
TESTS = {
    "six 0.1 kg mu 0.6": ValidationConfig(rule="six_axis", mass_kg=0.1, friction=0.6),
    "six 0.1 kg mu 1.0": ValidationConfig(rule="six_axis", mass_kg=0.1, friction=1.0),
    "six 0.5 kg mu 0.6": ValidationConfig(rule="six_axis", mass_kg=0.5, friction=0.6),
    "lift 0.5 kg mu 0.6": ValidationConfig(rule="lift", mass_kg=0.5, friction=0.6),
    "lift 1 kg mu 1.0": ValidationConfig(rule="lift", mass_kg=1.0, friction=1.0),
}
MAIN_TEST = "six 0.1 kg mu 0.6"
ROUND = ("ball", "sphere", "bowl")
"""Categories to which the demand on lifts of 1 kg does not apply."""
_HELD_OUT = ("_017", "_018")
"""Endings of generated objects that nobody tunes on; they fill up sizes of which the test split has few."""


class BenchError(UdgError):
    """A setting of the benchmark that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Sizes of the benchmark; `quick()` and the defaults are the two modes."""

    objects_per_size: int = 12
    candidates: int = 160  # per object and strategy
    trials: int = 12  # grasps tried, of all candidates (raw) and of the best quarter (ranked)
    quality_samples: int = 60  # grasps of the kept ones whose exact penetration and Q1 are computed
    kept_share: float = 500 / 800  # best by energy that are kept
    ranked_share: float = 0.25
    timed_objects: int = 4  # per number of hands, for the time of the best 500 of 800
    baseline_objects: int = 8
    baseline_candidates: int = 128
    scenes: int = 45
    seed: int = 0
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("objects_per_size", "candidates", "trials", "workers", "timed_objects"):
            if getattr(self, name) < 1:
                raise BenchError(f"{name} is {getattr(self, name)}; valid: >= 1")
        if not 0.0 < self.ranked_share <= self.kept_share <= 1.0:
            raise BenchError("0 < ranked_share <= kept_share <= 1 is needed")


def quick(seed: int = 0, workers: int = 2) -> BenchConfig:
    """A few minutes: three objects a size."""
    return BenchConfig(
        objects_per_size=3,
        candidates=80,
        trials=6,
        quality_samples=30,
        timed_objects=1,
        baseline_objects=1,
        baseline_candidates=64,
        scenes=6,
        seed=seed,
        workers=workers,
    )


class Cell(NamedTuple):
    """One unit of work: an object, a strategy, the hands."""

    object_id: str
    size: str
    category: str
    strategy: str
    sides: tuple[Side, ...]


def pick_objects(library: ObjectLibrary, per_size: int) -> dict[str, list[str]]:
    """Ids by size that were not used for tuning: the test split, filled up with held-out generated objects."""
    chosen = {}
    for size in SIZES:
        test = library.ids(split="test", size=size)
        generated = library.ids(split="train", size=size, source="generated")
        held_out = [name for name in generated if name.endswith(_HELD_OUT)]
        many = _spread([*test], per_size) if len(test) >= per_size else [*test]
        chosen[size] = many + _spread(held_out, per_size - len(many))
    return chosen


def cells(objects: dict[str, list[str]], categories: dict[str, str], strategies: tuple[str, ...]) -> list[Cell]:
    """All cells of the benchmark; single hands alternate between right and left."""
    out = []
    for size, names in objects.items():
        for k, name in enumerate(names):
            single: tuple[Side, ...] = ("right",) if k % 2 == 0 else ("left",)
            for strategy in STRATEGIES_BY_SIZE[size]:
                if strategy in strategies:
                    sides: tuple[Side, ...] = ("left", "right") if strategy == "bimanual" else single
                    out.append(Cell(name, size, categories[name], strategy, sides))
    return out


def _spread(names: list[str], count: int) -> list[str]:
    """`count` of `names`, evenly over their order."""
    if count <= 0 or not names:
        return []
    count = min(count, len(names))
    return [names[(k * len(names)) // count] for k in range(count)]
