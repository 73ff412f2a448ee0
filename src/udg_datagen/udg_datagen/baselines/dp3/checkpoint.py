"""A trained DP3 on disk: weights (safetensors) and a description (JSON)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from udg_datagen.baselines.dp3.config import DP3Config
from udg_datagen.baselines.dp3.network import DP3Network
from udg_description.errors import UdgError
from udg_description.files import write_atomically

WEIGHTS_NAME, DESCRIPTION_NAME = "weights.safetensors", "dp3.json"
_LEAST_RANGE = 1e-4


@dataclass(frozen=True)
class Scale:
    """A range for each number: `normalise` maps it to [-1, 1]; a number that never changes goes to 0."""

    low: Tensor
    high: Tensor

    def _half(self) -> Tensor:
        half = 0.5 * (self.high - self.low)
        return torch.where(half < _LEAST_RANGE, torch.ones_like(half), half)

    def normalise(self, values: Tensor) -> Tensor:
        """From the numbers' own units."""
        return (values - 0.5 * (self.low + self.high)) / self._half()

    def denormalise(self, values: Tensor) -> Tensor:
        """To the numbers' own units."""
        return 0.5 * (self.low + self.high) + self._half() * values


@dataclass(frozen=True, kw_only=True)
class DP3Checkpoint:
    """Scales: of points (3,) [m], joints (36,) and targets (36,) [rad]."""

    config: DP3Config
    scales: dict[str, Scale]
    weights: dict[str, Tensor]
    data_hash: str = ""
    git_hash: str = ""
    train_objects: tuple[str, ...] = ()
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)

    def network(self) -> DP3Network:
        """The network with the weights, for inference."""
        network = DP3Network(self.config)
        network.load_state_dict(self.weights)
        return network.eval()


SCALES = ("points", "q", "target")


def save(folder: Path, checkpoint: DP3Checkpoint) -> None:
    """Write a folder; the description, written last, makes it valid."""
    folder.mkdir(parents=True, exist_ok=True)
    data = save_tensors({name: tensor.contiguous() for name, tensor in checkpoint.weights.items()})
    write_atomically(folder / WEIGHTS_NAME, data)
    told = {
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "config": dataclasses.asdict(checkpoint.config),
        "scales": {name: [one.low.tolist(), one.high.tolist()] for name, one in checkpoint.scales.items()},
        "data_hash": checkpoint.data_hash,
        "git_hash": checkpoint.git_hash,
        "train_objects": list(checkpoint.train_objects),
        "figures": checkpoint.figures,
    }
    write_atomically(folder / DESCRIPTION_NAME, json.dumps(told, indent=1) + "\n")


def load(folder: Path) -> DP3Checkpoint:
    """Read a folder. Raises UdgError."""
    try:
        told = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
        data = (folder / WEIGHTS_NAME).read_bytes()
        if hashlib.sha256(data).hexdigest() != told["weights_sha256"]:
            raise UdgError(f"{folder / WEIGHTS_NAME}: differs from what {DESCRIPTION_NAME} describes: truncated?")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in told["config"].items()
        }
        scales = {name: Scale(*map(torch.tensor, told["scales"][name])) for name in SCALES}
        checkpoint = DP3Checkpoint(
            config=DP3Config(**values),
            scales=scales,
            weights=load_tensors(data),
            data_hash=str(told["data_hash"]),
            git_hash=str(told["git_hash"]),
            train_objects=tuple(told["train_objects"]),
            figures=dict(told["figures"]),
        )
        checkpoint.network()
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        raise UdgError(f"{folder}: no checkpoint of DP3: {error!r}; valid: a folder of `udg dp3-train`") from error
    return checkpoint
