"""Checkpoints: a folder with weights (safetensors) and a description (JSON). Nothing is unpickled.

checkpoint.json holds what the weights need to be understood: schema, configuration, action bounds, joint names, and
where they come from: data hash, git hash, objects, measured figures. It names the SHA-256 of the weights.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from udg_description.files import write_atomically, write_together
from udg_description.layout import JOINT_NAMES, N_JOINTS
from udg_description.robot import current_robot
from udg_policy.action_spaces import ActionBounds
from udg_policy.config import PolicyConfig, from_dict, to_dict
from udg_policy.errors import CheckpointError, ConfigError
from udg_policy.network.network import PolicyNetwork

SCHEMA_VERSION = 1
WEIGHTS_NAME = "weights.safetensors"
AGAIN_NAME = "again"  # folder in that of a checkpoint
DESCRIPTION_NAME = "checkpoint.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A policy as it is kept on disk."""

    config: PolicyConfig
    bounds: ActionBounds
    weights: dict[str, Tensor]
    data_hash: str = ""
    git_hash: str = ""
    train_objects: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)  # what was measured: loss, success, ...

    def network(self) -> PolicyNetwork:
        """The network with the weights, ready for inference."""
        network = PolicyNetwork(self.config)
        own = network.state_dict()
        for name in sorted(set(own) | set(self.weights)):
            if name not in self.weights or name not in own:
                where = "missing from the checkpoint" if name not in self.weights else "unknown to the network"
                raise CheckpointError(f"checkpoint: weight {name!r} is {where}")
            if own[name].shape != self.weights[name].shape:
                raise CheckpointError(
                    f"checkpoint: weight {name!r} has shape {tuple(self.weights[name].shape)}, the "
                    f"network of its configuration {tuple(own[name].shape)}"
                )
            if not torch.isfinite(self.weights[name].float()).all():
                raise CheckpointError(f"checkpoint: weight {name!r} has values that are not finite")
        network.load_state_dict(self.weights)
        return network.eval()


def git_hash() -> str:
    """Commit of the code, with "+" if anything under src has changes; empty outside a repository."""
    folder = Path(__file__).parents[1]
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", ":(top)src"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + ("+" if changes.stdout.strip() else "")


def save_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint folder; one that is there stays whole if the new one cannot be written."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = save_tensors({name: tensor.contiguous() for name, tensor in checkpoint.weights.items()})
    text = _description(checkpoint, hashlib.sha256(data).hexdigest())
    write_together(folder, {WEIGHTS_NAME: data, DESCRIPTION_NAME: text.encode()})
    return folder


def add_figures(folder: str | Path, figures: dict[str, Any]) -> None:
    """Add measured figures (JSON values) to the description of a checkpoint."""
    folder = Path(folder)
    checkpoint = load_checkpoint(folder)
    weights_hash = hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest()
    new = replace(checkpoint, figures={**checkpoint.figures, **figures})
    write_atomically(folder / DESCRIPTION_NAME, _description(new, weights_hash))


def _description(checkpoint: Checkpoint, weights_hash: str) -> str:
    description = {
        "schema": SCHEMA_VERSION,
        "weights_sha256": weights_hash,
        "config": to_dict(checkpoint.config),
        "joint_names": list(JOINT_NAMES),
        "bounds": {"lower": checkpoint.bounds.lower.tolist(), "upper": checkpoint.bounds.upper.tolist()},
        "data_hash": checkpoint.data_hash,
        "git_hash": checkpoint.git_hash,
        "train_objects": list(checkpoint.train_objects),
        "figures": checkpoint.figures,
    }
    return json.dumps(description, indent=1) + "\n"


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Read a checkpoint folder; CheckpointError says what does not fit and where."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such checkpoint folder")
    description = _read_description(folder / DESCRIPTION_NAME)
    path = folder / WEIGHTS_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != description["weights_sha256"]:
        raise CheckpointError(f"{path}: differs from what {DESCRIPTION_NAME} describes: truncated or replaced")
    try:
        weights = load_tensors(data)
        config = from_dict(description["config"])
    except (SafetensorError, ConfigError) as error:
        raise CheckpointError(f"{folder}: {error}") from error
    bounds = _read_bounds(folder, description["bounds"], config)
    return Checkpoint(
        config=config,
        bounds=bounds,
        weights=weights,
        data_hash=str(description["data_hash"]),
        git_hash=str(description["git_hash"]),
        train_objects=tuple(description["train_objects"]),
        figures=dict(description["figures"]),
    )


def load_checkpoints(folder: str | Path) -> tuple[Checkpoint, ...]:
    """A checkpoint folder and, if it has one, its folder `again`: the network of every other attempt."""
    again = Path(folder) / AGAIN_NAME
    first = load_checkpoint(folder)
    return (first, load_checkpoint(again)) if again.is_dir() else (first,)


_KINDS = {str: "text", dict: "an object {...}", list: "a list"}
_KEYS = {
    "weights_sha256": str,
    "config": dict,
    "joint_names": list,
    "bounds": dict,
    "data_hash": str,
    "git_hash": str,
    "train_objects": list,
    "figures": dict,
}


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not valid JSON (truncated?): {error}") from error
    if not isinstance(description, dict) or description.get("schema") != SCHEMA_VERSION:
        found = description.get("schema") if isinstance(description, dict) else None
        raise CheckpointError(f"{path}: schema {found!r}, expected {SCHEMA_VERSION}")
    for key, kind in _KEYS.items():
        if key not in description:
            raise CheckpointError(f"{path}: key {key!r} is missing")
        if not isinstance(description[key], kind):
            raise CheckpointError(f"{path}: {key!r} is {description[key]!r:.60}; valid: {_KINDS[kind]}")
    names = description["joint_names"]
    if tuple(names) != JOINT_NAMES:
        differing = (i for i, (a, b) in enumerate(zip(names, JOINT_NAMES, strict=False)) if a != b)
        i = next(differing, None)
        first = f"{len(names)} joints, here {N_JOINTS}"
        if i is not None:
            first = f"joint {i} is {names[i]!r}, here {JOINT_NAMES[i]!r}"
        robot = current_robot().name
        raise CheckpointError(f"{path}: made for another robot than {robot}; another joint layout: {first}")
    return description


def _read_bounds(folder: Path, values: dict[str, Any], config: PolicyConfig) -> ActionBounds:
    shape = (config.decoder.chunk, config.space.size)
    try:
        lower, upper = (np.array(values[key], dtype=np.float32) for key in ("lower", "upper"))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / DESCRIPTION_NAME}: bounds are not readable: {error}") from error
    if lower.shape != shape or upper.shape != shape:
        raise CheckpointError(f"{folder / DESCRIPTION_NAME}: bounds have shape {lower.shape}, expected {shape}")
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower < upper).all()):
        raise CheckpointError(f"{folder / DESCRIPTION_NAME}: bounds are not finite or not in order")
    return ActionBounds(lower=lower, upper=upper)
