"""The dataset format: one compressed .npz per episode, no pickles, and a manifest that describes the folder."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from udg_description.layout import JOINT_NAMES, N_JOINTS
from udg_policy.errors import DatasetError

SCHEMA_VERSION = 1
STEP_S = 0.1  # one step of an episode
CLOUD_POINTS = 2048
LABEL_SEEN, LABEL_LEFT, LABEL_RIGHT = 0, 1, 2
MANIFEST_NAME = "manifest.json"
_PATTERN = "episode_*.npz"

# name: (dtype, shape after the frames)
_ARRAYS: dict[str, tuple[type, tuple[int, ...]]] = {
    "cloud_xyz": (np.float16, (CLOUD_POINTS, 3)),
    "cloud_label": (np.uint8, (CLOUD_POINTS,)),
    "q": (np.float32, (N_JOINTS,)),
    "target": (np.float32, (N_JOINTS,)),
    "stage": (np.uint8, ()),
}


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One demonstration of T frames, 0.1 s apart.

    cloud_xyz (T, 2048, 3) [m, world]; cloud_label (T, 2048): 0 seen, 1 left robot, 2 right robot; q (T, 36) measured
    [rad]; target (T, 36) absolute joint command for the step t -> t + 0.1 s [rad]; stage (T,) stage number;
    meta: plain JSON values, such as object, side, seed, success.
    """

    cloud_xyz: np.ndarray
    cloud_label: np.ndarray
    q: np.ndarray
    target: np.ndarray
    stage: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frames = len(self.q)
        if frames == 0:
            raise DatasetError("episode: has no frames")
        for name, (dtype, shape) in _ARRAYS.items():
            array: np.ndarray = np.asarray(getattr(self, name), dtype=dtype)
            if array.shape != (frames, *shape):
                raise DatasetError(f"episode: {name} has shape {array.shape}, expected {(frames, *shape)}")
            if not np.isfinite(array).all():
                raise DatasetError(f"episode: {name} has values that are not finite")
            object.__setattr__(self, name, array)
        if self.cloud_label.max() > LABEL_RIGHT:
            raise DatasetError(f"episode: cloud_label has {self.cloud_label.max()}, valid are 0, 1, 2")

    def __len__(self) -> int:
        return len(self.q)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name in its folder, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class EpisodeWriter:
    """Writes episodes into a folder; several processes may write to the same folder under different names."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """File of the episode called `name` (letters, digits, - and _)."""
        if not name or not all(c.isalnum() or c in "-_" for c in name):
            raise DatasetError(f"episode name {name!r}: valid are letters, digits, - and _")
        return self.folder / f"episode_{name}.npz"

    def write(self, name: str, episode: Episode) -> Path:
        """Write one episode atomically; an episode of the same name is replaced."""
        path = self.path(name)
        arrays = {key: getattr(episode, key) for key in _ARRAYS}
        meta = {**episode.meta, "schema": SCHEMA_VERSION, "joint_names": list(JOINT_NAMES), "step_s": STEP_S}
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp.npz")
        try:
            np.savez_compressed(temporary, meta=np.array(json.dumps(meta, sort_keys=True)), **arrays)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def finish(self, **values: object) -> Path:
        """Write the manifest of everything in the folder, with further JSON `values` (config, git hash, ...)."""
        dataset = EpisodeDataset(self.folder)
        episodes = []
        for path in dataset.paths:
            episode = read_episode(path)
            meta = {k: v for k, v in episode.meta.items() if k not in ("schema", "joint_names", "step_s")}
            episodes.append({"file": path.name, "frames": len(episode), **meta})
        manifest = {**values, "schema": SCHEMA_VERSION, "joint_names": list(JOINT_NAMES), "step_s": STEP_S,
                    "hash": dataset.hash(), "frames": sum(e["frames"] for e in episodes), "episodes": episodes}
        path = self.folder / MANIFEST_NAME
        write_atomically(path, (json.dumps(manifest, indent=1) + "\n").encode())
        return path


def read_episode(path: str | Path) -> Episode:
    """Read one episode; DatasetError says what does not fit."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = sorted((set(_ARRAYS) | {"meta"}) - set(file.files))
            if missing:
                raise DatasetError(f"{path}: array {missing[0]!r} is missing")
            arrays = {key: file[key] for key in _ARRAYS}
            meta = json.loads(str(file["meta"]))
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such episode") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zipfile.error) as error:
        raise DatasetError(f"{path}: not a readable episode: {error}") from error
    if meta.get("schema") != SCHEMA_VERSION:
        raise DatasetError(f"{path}: schema {meta.get('schema')!r}, this program reads {SCHEMA_VERSION}")
    if tuple(meta.get("joint_names", ())) != JOINT_NAMES:
        raise DatasetError(f"{path}: joint names differ from the layout of udg_description")
    try:
        return Episode(**arrays, meta=meta)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error


class EpisodeDataset:
    """The episodes of a folder, in the order of their names."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DatasetError(f"{self.folder}: no such dataset folder")
        self.paths: tuple[Path, ...] = tuple(sorted(self.folder.glob(_PATTERN)))
        if not self.paths:
            raise DatasetError(f"{self.folder}: holds no {_PATTERN}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Episode:
        return read_episode(self.paths[index])

    def __iter__(self) -> Iterator[Episode]:
        return (read_episode(path) for path in self.paths)

    def hash(self) -> str:
        """SHA-256 over the names and contents of all episodes."""
        total = hashlib.sha256()
        for path in self.paths:
            total.update(path.name.encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()
