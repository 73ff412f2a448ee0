"""Two policies on the same trials: which one lifts more, and by how much (95 % interval, p).

Trials of one object are a cluster, as in the benchmark: see docs/benchmark.md.

udg trials --checkpoint A --objects held_out/quick --trials 192 --out a.jsonl
udg trials --checkpoint B --objects held_out/quick --trials 192 --out b.jsonl
udg paired a.jsonl b.jsonl
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from udg_datagen.clusters import Outcomes, difference
from udg_description.errors import UdgError, cli
from udg_description.files import user_path
from udg_sim.objects.library import SIZES


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Shares of trials lifted by A and B, their difference B - A with its 95 % interval, and p, by objects."""

    trials: int
    objects: int
    a: float
    b: float
    only_a: int
    only_b: int
    difference: float
    interval_95: tuple[float, float]
    p: float


def paired(a: Outcomes, b: Outcomes) -> Paired:
    """Of the trials that both have done. Raises UdgError for none."""
    common = sorted(set(a) & set(b))
    if not common:
        raise UdgError("no trial (object, seed) in common; valid: outcomes of the same trials")
    found = difference(a, b)
    return Paired(
        trials=found.trials,
        objects=found.objects,
        a=round(found.a, 4),
        b=round(found.b, 4),
        only_a=sum(a[key] and not b[key] for key in common),
        only_b=sum(b[key] and not a[key] for key in common),
        difference=round(found.difference, 4),
        interval_95=(round(found.lower, 4), round(found.upper, 4)),
        p=round(found.p, 5),
    )


def read_trials(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Trials of a file by object and seed. Raises UdgError for what is no such file."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {(str(row["object"]), int(row["seed"])): row for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = f"{path}: no trials ({error!r}); valid: a file that `udg_datagen.evaluation.trials --out` wrote"
        raise UdgError(text) from error


def run(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=user_path, help="trials of the one policy")
    parser.add_argument("b", type=user_path, help="trials of the other one")
    options = parser.parse_args(arguments)
    a, b = read_trials(options.a), read_trials(options.b)
    common = set(a) & set(b)
    if not common:
        raise UdgError(f"{options.a} and {options.b} have no trial (object, seed) in common")
    result: dict[str, Any] = asdict(paired(_outcomes(a), _outcomes(b)))
    groups = {
        size: [{key: one[key] for key in common if a[key]["size_class"] == size} for one in (a, b)] for size in SIZES
    }
    result["by_size"] = {size: asdict(paired(*map(_outcomes, both))) for size, both in groups.items() if both[0]}
    result["not_paired"] = len(a) + len(b) - 2 * len(common)
    print(json.dumps(result))


def _outcomes(rows: Mapping[tuple[str, int], Mapping[str, Any]]) -> Outcomes:
    return {key: bool(row["success"]) for key, row in rows.items()}


def main() -> None:
    cli(run)


if __name__ == "__main__":
    main()
