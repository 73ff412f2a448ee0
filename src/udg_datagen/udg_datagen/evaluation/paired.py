"""Two policies on the same trials: which one lifts more, and by how much (McNemar's exact test, 95 % interval).

udg trials --checkpoint A --objects held_out/quick --trials 192 --out a.jsonl
udg trials --checkpoint B --objects held_out/quick --trials 192 --out b.jsonl
udg paired a.jsonl b.jsonl
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from udg_description.errors import UdgError, cli
from udg_description.files import user_path
from udg_sim.objects.library import SIZES

_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Shares of trials lifted by A and B, their difference B - A with its 95 % interval, McNemar's exact p."""

    trials: int
    a: float
    b: float
    only_a: int
    only_b: int
    difference: float
    interval_95: tuple[float, float]
    p: float


def paired(a: Sequence[bool], b: Sequence[bool]) -> Paired:
    """Outcomes of the same trials in the same order. The interval is that of the mean of the paired differences.

    Raises UdgError for none, or of different lengths.
    """
    if len(a) != len(b) or not a:
        raise UdgError(f"{len(a)} and {len(b)} outcomes cannot be paired; valid: as many of each, at least one")
    n = len(a)
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    difference = (only_b - only_a) / n
    half = _Z * float(np.sqrt(max(only_a + only_b - (only_b - only_a) ** 2 / n, 0.0))) / n
    p = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return Paired(
        trials=n,
        a=round(sum(a) / n, 4),
        b=round(sum(b) / n, 4),
        only_a=only_a,
        only_b=only_b,
        difference=round(difference, 4),
        interval_95=(round(difference - half, 4), round(difference + half, 4)),
        p=round(float(p), 5),
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
    common = sorted(set(a) & set(b))
    if not common:
        raise UdgError(f"{options.a} and {options.b} have no trial (object, seed) in common")
    alone = len(a) + len(b) - 2 * len(common)
    groups = {size: [key for key in common if a[key]["size_class"] == size] for size in SIZES}
    result: dict[str, Any] = asdict(_of(a, b, common))
    result["by_size"] = {size: asdict(_of(a, b, keys)) for size, keys in groups.items() if keys}
    result["not_paired"] = alone
    print(json.dumps(result))


def _of(a: dict[tuple[str, int], Any], b: dict[tuple[str, int], Any], keys: Sequence[tuple[str, int]]) -> Paired:
    return paired([bool(a[key]["success"]) for key in keys], [bool(b[key]["success"]) for key in keys])


def main() -> None:
    cli(run)


if __name__ == "__main__":
    main()
