"""Data sets without their clouds in one file: all that the clouds follow from.

HDF5: the episodes' arrays, one after the other, compressed column by column; `episodes` and `sets` are JSON, a line an
episode and a line a data set. Fletcher-32 in every chunk.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from udg_description.errors import UdgError
from udg_description.files import write_atomically
from udg_description.layout import JOINT_NAMES
from udg_description.robot import current_robot
from udg_policy.episodes.episode import EPISODE_ARRAYS, canonical_json

STATES_SCHEMA = 1
_ARRAYS = {name: EPISODE_ARRAYS[name] for name in ("q", "target", "stage", "T_world_object")}
_CHUNK_FRAMES = 1 << 14


class StatesError(UdgError):
    """A file of states that is none, or states that no clouds follow from."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set's name, and the settings that its attempts were made with (JSON)."""

    name: str
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class EpisodeStates:
    """An episode of T frames without its clouds, and how these were imaged."""

    set_index: int  # of its data set
    name: str  # of its file, without `episode_` and suffix
    q: np.ndarray  # (T, 36) float32 [rad]
    target: np.ndarray  # (T, 36) float32 [rad]
    stage: np.ndarray  # (T,) uint8
    T_world_object: np.ndarray  # (T, 4, 4) float32
    meta: dict[str, Any]
    noise_seed: int  # of the depth images
    whole_images: bool
    content: str  # hash of the episode with its clouds

    def __len__(self) -> int:
        return len(self.q)


@dataclass(frozen=True, kw_only=True)
class States:
    """Data sets and their episodes, without clouds."""

    sets: tuple[DataSet, ...]
    episodes: tuple[EpisodeStates, ...]


def write_states(path: Path, states: States) -> None:
    """Write the file. Raises OSError, then nothing remains."""
    image = io.BytesIO()
    with h5py.File(image, "w", libver=("v110", "v110")) as file:
        file.attrs["udg_states"] = STATES_SCHEMA
        file.attrs["joint_names"] = list(JOINT_NAMES)
        for name in _ARRAYS:
            _add(file, name, np.concatenate([getattr(episode, name) for episode in states.episodes]))
        lines = [
            canonical_json(
                {
                    "set": episode.set_index,
                    "name": episode.name,
                    "frames": len(episode),
                    "noise_seed": episode.noise_seed,
                    "whole_images": episode.whole_images,
                    "content": episode.content,
                    "meta": episode.meta,
                }
            )
            for episode in states.episodes
        ]
        _add(file, "episodes", _text(lines))
        _add(file, "sets", _text([canonical_json({"name": s.name, "settings": s.settings}) for s in states.sets]))
    write_atomically(path, image.getvalue())


def _text(lines: Sequence[str]) -> np.ndarray:
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def _add(file: h5py.File, name: str, array: np.ndarray) -> None:
    chunk = _CHUNK_FRAMES if len(array.shape) > 1 else 64 * _CHUNK_FRAMES
    file.create_dataset(
        name,
        data=array.astype(array.dtype.newbyteorder("<")),
        chunks=(min(len(array), chunk), *(1 for _ in array.shape[1:])),
        shuffle=True,
        fletcher32=True,
        compression="gzip",
        compression_opts=9,
    )


def read_states(path: Path) -> States:
    """What a file holds. Raises StatesError for one that is not of states, is damaged or is of another robot."""
    if not path.is_file():
        raise StatesError(f"{path}: no such file; valid: a file that `udg states` has written")
    try:
        with h5py.File(path, "r") as file:
            if "udg_states" not in file.attrs:
                raise StatesError(f"{path}: holds no states; valid: a file that `udg states` has written")
            if (schema := int(file.attrs["udg_states"])) != STATES_SCHEMA:
                raise StatesError(f"{path}: has schema {schema}, this program reads {STATES_SCHEMA}")
            names = tuple(file.attrs["joint_names"])
            arrays = {name: file[name][()] for name in _ARRAYS}
            sets, rows = _lines(file["sets"]), _lines(file["episodes"])
        if names != JOINT_NAMES:
            raise StatesError(
                f"{path}: joint names differ from those of robot {current_robot().name}; ROBOT or UDG_ROBOT names the "
                "one that it was made with"
            )
        return States(sets=tuple(DataSet(**values) for values in sets), episodes=tuple(_episodes(rows, arrays)))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise StatesError(f"{path}: not a readable file of states (truncated, damaged?): {error}") from error


def _lines(dataset: h5py.Dataset) -> list[dict[str, Any]]:
    return [json.loads(line) for line in dataset[()].tobytes().decode().split("\n")]


def _episodes(rows: Sequence[dict[str, Any]], arrays: dict[str, np.ndarray]) -> list[EpisodeStates]:
    ends = np.cumsum([row["frames"] for row in rows])
    for name, (dtype, shape) in _ARRAYS.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != (ends[-1], *shape):
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {(int(ends[-1]), *shape)}")
    return [
        EpisodeStates(
            set_index=int(row["set"]),
            name=str(row["name"]),
            **{name: array[end - row["frames"] : end] for name, array in arrays.items()},
            meta=row["meta"],
            noise_seed=int(row["noise_seed"]),
            whole_images=bool(row["whole_images"]),
            content=str(row["content"]),
        )
        for row, end in zip(rows, ends, strict=True)
    ]
