"""The mean of the weights of checkpoints of one network: `udg average A B [C ...] --out DIR`.

Moments of one training, or a training and its continuation, lie in one basin; their mean often does better than each on
objects that neither has seen (Wortsman et al. 2022, "Model soups", https://arxiv.org/abs/2203.05482).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from udg_description.errors import cli
from udg_description.files import user_path
from udg_policy.errors import CheckpointError
from udg_policy.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def average(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The last one with the mean of all weights, and the objects of all.

    Raises CheckpointError unless there are two at least, of the same network and the same bounds of the actions.
    """
    if len(checkpoints) < 2:
        raise CheckpointError(f"average: {len(checkpoints)} checkpoint; valid: two or more")
    last = checkpoints[-1]
    for number, one in enumerate(checkpoints[:-1], 1):
        for part in ("action_space", "observation", "encoder", "decoder"):
            if getattr(one.config, part) != getattr(last.config, part):
                raise CheckpointError(f"average: checkpoint {number} has another {part} than the last one")
        if not (
            np.array_equal(one.bounds.lower, last.bounds.lower) and np.array_equal(one.bounds.upper, last.bounds.upper)
        ):
            raise CheckpointError(
                f"average: checkpoint {number} has other bounds of the actions than the last; valid: moments of one "
                "training, or one trained further with --from"
            )
    weights = {
        name: torch.stack([one.weights[name].double() for one in checkpoints]).mean(dim=0) for name in last.weights
    }
    return replace(
        last,
        weights={name: mean.to(last.weights[name].dtype) for name, mean in weights.items()},
        train_objects=tuple(sorted({name for one in checkpoints for name in one.train_objects})),
        figures={"averaged": [one.figures for one in checkpoints]},
    )


def run(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Average the weights of checkpoints of one training.")
    parser.add_argument("checkpoints", nargs="+", type=user_path, help="folders, two or more")
    parser.add_argument("--out", type=user_path, required=True, help="folder of the checkpoint to write")
    options = parser.parse_args(arguments)
    folders: list[Path] = options.checkpoints
    folder = save_checkpoint(options.out, average([load_checkpoint(folder) for folder in folders]))
    print(json.dumps({"averaged": [str(each) for each in folders], "checkpoint": str(folder)}))


def main() -> None:
    cli(run)


if __name__ == "__main__":
    main()
