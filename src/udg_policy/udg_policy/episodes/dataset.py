"""A dataset: a folder with one file per episode and a manifest that describes it (see docs/dataset.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from udg_description.clock import STEP_S
from udg_description.errors import DISK_FULL
from udg_description.files import TEMPORARY_PATTERN, write_atomically
from udg_description.layout import JOINT_NAMES
from udg_policy.episodes.episode import CLOUD_POINTS, Episode
from udg_policy.episodes.episode_file import (
    HEADER_BYTES,
    SCHEMA_VERSION,
    Header,
    decode_episode,
    decode_meta,
    encode_episode,
    read_header,
    verify,
)
from udg_policy.episodes.pack import PackedFolder, is_packed
from udg_policy.errors import DatasetError

__all__ = [
    "CLOUD_POINTS",
    "MANIFEST_NAME",
    "SCHEMA_VERSION",
    "Episode",
    "EpisodeDataset",
    "EpisodeWriter",
    "read_episode",
    "write_atomically",
]

MANIFEST_NAME = "manifest.json"
SUFFIX = ".h5"
_PATTERN = f"episode_*{SUFFIX}"
_OLD_PATTERN = "episode_*.npz"
_NOT_IN_MANIFEST = ("cameras",)  # long, and in the file of each episode


class EpisodeWriter:
    """Writes episodes into a folder; any number of processes may do so at the same time under different names."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """File of the episode called `name` (letters, digits, - and _)."""
        if not name or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
            raise DatasetError(f"episode name {name!r}: valid are letters, digits, - and _")
        return self.folder / f"episode_{name}{SUFFIX}"

    def write(self, name: str, episode: Episode) -> Path:
        """Write one episode atomically; an episode of the same name is replaced.

        The name decides the place in the dataset, so it must follow from the task and not from who does it.
        Raises DatasetError where the disk is full or the folder cannot be written; then nothing remains.
        """
        path = self.path(name)
        data = encode_episode(episode)
        try:
            write_atomically(path, data)
        except OSError as error:
            why = "no space is left" if error.errno in DISK_FULL else str(error.strerror)
            raise DatasetError(f"{path}: not written: {why}; the dataset is as it was before this episode") from error
        return path

    def finish(self, **values: object) -> Path:
        """Write the manifest of everything in the folder, with further JSON `values` (config, git hash, ...).

        Call it when nobody writes any more: what killed writers left is removed. All checksums are verified.
        """
        for path in self.folder.glob(TEMPORARY_PATTERN):
            path.unlink(missing_ok=True)
        dataset = EpisodeDataset(self.folder)
        episodes, frames = [], 0
        for path in dataset.paths:
            header, meta = decode_meta(path.read_bytes(), str(path))
            told = {key: value for key, value in meta.items() if key not in _NOT_IN_MANIFEST}
            episodes.append({"file": path.name, "frames": header.frames, "content": header.content, **told})
            frames += header.frames
        manifest = {
            **values,
            "schema": SCHEMA_VERSION,
            "joint_names": list(JOINT_NAMES),
            "step_s": STEP_S,
            "hash": dataset.hash(),
            "frames": frames,
            "episodes": episodes,
        }
        path = self.folder / MANIFEST_NAME
        write_atomically(path, _manifest_text(manifest).encode())
        return path


def _manifest_text(manifest: dict[str, Any]) -> str:
    """JSON with one line a key, and one line an episode."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in manifest.items() if key != "episodes"]
    episodes = ",\n  ".join(json.dumps(episode) for episode in manifest["episodes"])
    return "{\n" + ",\n".join(lines) + f',\n"episodes": [\n  {episodes}\n]\n}}\n'


def _read_bytes(path: Path, size: int = -1) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(size)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such episode") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error


def read_episode(path: str | Path) -> Episode:
    """Read one episode; DatasetError says what does not fit. A file that is not as it was written is never returned."""
    return decode_episode(_read_bytes(Path(path)), str(path))


class EpisodeDataset:
    """The episodes of a folder, in the order of their names. A packed folder (`udg pack`) is read as it is.

    Every read verifies the file. With `skip_corrupt` all files are verified at once and the corrupt ones skipped:
    `skipped` holds their paths and what is wrong with them.
    """

    def __init__(self, folder: str | Path, skip_corrupt: bool = False) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DatasetError(f"{self.folder}: no such dataset folder")
        self._packed = PackedFolder(self.folder) if is_packed(self.folder) else None
        names = [path.name for path in self.folder.glob(_PATTERN)] if self._packed is None else self._packed.names
        # In a packed folder these are no files.
        self.paths: tuple[Path, ...] = tuple(self.folder / name for name in sorted(names) if fnmatch(name, _PATTERN))
        self.skipped: dict[Path, str] = {}
        if not self.paths and any(self.folder.glob(_OLD_PATTERN)):
            raise DatasetError(
                f"{self.folder}: holds episodes of the old format (.npz); convert them with "
                f"`udg convert {self.folder} NEW_FOLDER`"
            )
        if skip_corrupt:
            self.skipped = self.verify()
            self.paths = tuple(path for path in self.paths if path not in self.skipped)
        if not self.paths:
            raise DatasetError(f"{self.folder}: holds no {'sound ' if self.skipped else ''}{_PATTERN}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Episode:
        return decode_episode(self._bytes(self.paths[index]), str(self.paths[index]))

    def __iter__(self) -> Iterator[Episode]:
        return (self[index] for index in range(len(self)))

    def _bytes(self, path: Path, size: int = -1) -> bytes:
        return _read_bytes(path, size) if self._packed is None else self._packed.read(path.name, size)

    @property
    def bytes(self) -> int:
        """Size of all episodes."""
        return sum(path.stat().st_size if self._packed is None else self._packed.size(path.name) for path in self.paths)

    def header(self, index: int) -> Header:
        """What the file says about itself, quickly: only its first bytes are read and nothing is verified."""
        path = self.paths[index]
        return read_header(self._bytes(path, HEADER_BYTES), str(path))

    def meta(self, index: int) -> dict[str, Any]:
        """The meta data of one episode, verified; the arrays are not unpacked."""
        return decode_meta(self._bytes(self.paths[index]), str(self.paths[index]))[1]

    def verify(self) -> dict[Path, str]:
        """Read all files and check all checksums; what is wrong, by path. Empty if all are sound."""
        wrong: dict[Path, str] = {}
        for path in self.paths:
            try:
                verify(self._bytes(path), str(path))
            except DatasetError as error:
                wrong[path] = str(error)
        return wrong

    def hash(self) -> str:
        """SHA-256 over the names and the contents of all episodes, in the order of their names."""
        total = hashlib.sha256()
        for index, path in enumerate(self.paths):
            total.update(f"{path.stem} {self.header(index).content}\n".encode())
        return total.hexdigest()
