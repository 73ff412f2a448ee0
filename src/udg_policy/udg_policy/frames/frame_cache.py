"""Training frames on disk: sub-sampled points with neighbours, hand poses and targets, made once from a dataset.

A folder with `frames.bin` (one record a frame), `steps.bin` (one record a step of an episode), `index.npz` (which step
and episode a frame is of, the grasp of each episode) and `cache.json`. Records have a fixed size and are not
compressed, so that any frame is one short read through a memory map: the memory in use does not grow with the dataset.
The folder appears whole or not at all, and its name follows from the content of the dataset and the settings of the
preset.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from udg_description.cloud_labels import LABEL_SEEN
from udg_description.errors import explain
from udg_description.files import PathError, whole_folder
from udg_description.layout import N_JOINTS, mirror_q
from udg_policy.config import PolicyConfig
from udg_policy.episodes.dataset import EpisodeDataset
from udg_policy.episodes.episode import Episode, canonical_json
from udg_policy.episodes.episode_file import METRE
from udg_policy.episodes.grasp import UNKNOWN, GraspLabel, grasp_label
from udg_policy.errors import DatasetError
from udg_policy.hands.poses import grasp_frames
from udg_policy.network.point_set import PointSampler

_VERSION = 3  # of the records and of how points and neighbours are chosen
FRAMES_NAME, STEPS_NAME, INDEX_NAME, HEADER_NAME = "frames.bin", "steps.bin", "index.npz", "cache.json"
# Of a step: joints [rad] and grasp frames, each as recorded and mirrored (y -> -y), and the stage.
STEP_RECORD = np.dtype(
    [
        ("q", "<f4", (2, N_JOINTS)),
        ("target", "<f4", (2, N_JOINTS)),
        ("T_grasp", "<f4", (2, 2, 4, 4)),
        ("T_target", "<f4", (2, 2, 4, 4)),
        ("stage", "u1"),
    ]
)


def frame_record(config: PolicyConfig) -> np.dtype:
    """Record of a frame: points [1/8192 m, world], neighbour indices of both layers, labels."""
    encoder, points = config.encoder, config.observation.n_points
    sides = 0 if config.observation.n_whole else 2
    centres_1, centres_2 = (seen + sides * robot for seen, robot in (encoder.centres_1, encoder.centres_2))
    fields = [
        ("points", "<i2", (points, 3)),
        ("neighbours_1", "<i2", (centres_1, encoder.neighbours_1)),
        ("neighbours_2", "<i2", (centres_2, encoder.neighbours_2)),
        ("labels", "u1", (points,)),
    ]
    return np.dtype(fields, align=True)


class Prepared(NamedTuple):
    """One episode, ready to be appended."""

    frames: np.ndarray  # records of the frames that have what the network needs
    frame_steps: np.ndarray  # (F,) the step of each
    steps: np.ndarray  # records of all steps
    object_name: str
    grasp: GraspLabel


@dataclass(frozen=True)
class Preparer:
    """Picklable work of one process."""

    config: PolicyConfig

    def __call__(self, episode: Episode) -> Prepared:
        sampler = PointSampler(self.config.observation, self.config.encoder)
        labels_needed = (LABEL_SEEN,) if self.config.observation.n_whole else (0, 1, 2)
        chosen = [t for t in range(len(episode)) if all((episode.cloud_label[t] == i).any() for i in labels_needed)]
        steps = _steps(episode)
        centres = steps["T_grasp"][:, 0, :, :3, 3]
        frames = np.zeros(len(chosen), dtype=frame_record(self.config))
        for record, t in zip(frames, chosen, strict=True):
            label = episode.cloud_label[t][:, None].astype(np.float32)
            points = sampler(np.concatenate([episode.cloud_xyz[t], label], axis=1), centres[t])
            record["points"] = np.rint(points.points_world * METRE)
            record["labels"] = points.labels
            record["neighbours_1"], record["neighbours_2"] = points.neighbours_1, points.neighbours_2
        return Prepared(
            frames, np.array(chosen, dtype=np.int64), steps, str(episode.meta.get("object", "")), grasp_label(episode)
        )


def _steps(episode: Episode) -> np.ndarray:
    steps = np.zeros(len(episode), dtype=STEP_RECORD)
    steps["stage"] = episode.stage
    for name, pose in (("q", "T_grasp"), ("target", "T_target")):
        joints = getattr(episode, name).astype(np.float64)
        both = np.stack([joints, mirror_q(joints)], axis=1)
        steps[name] = both
        steps[pose] = grasp_frames(torch.from_numpy(both)).numpy()
    return steps


class _PathPreparer:
    """Reads and prepares the episode of one index."""

    def __init__(self, dataset: EpisodeDataset, config: PolicyConfig) -> None:
        self.dataset = dataset
        self.preparer = Preparer(config)

    def __call__(self, index: int) -> Prepared:
        torch.set_num_threads(1)
        return self.preparer(self.dataset[index])


def cache_of(dataset: EpisodeDataset, config: PolicyConfig, folder: Path, processes: int = 1) -> Path:
    """The frames of a dataset inside `folder`, made if they are not there yet. Raises DatasetError."""
    place = _place(dataset, config, folder)
    if (place / HEADER_NAME).is_file():
        return place
    work = _PathPreparer(dataset, config)
    if processes <= 1:
        return write_cache(place, config, (work(i) for i in range(len(dataset))))
    with get_context("spawn").Pool(processes) as pool:
        return write_cache(place, config, pool.imap(work, range(len(dataset)), chunksize=4))


def is_cached(dataset: EpisodeDataset, config: PolicyConfig, folder: Path) -> bool:
    """Whether the frames of a dataset are in `folder`."""
    return (_place(dataset, config, folder) / HEADER_NAME).is_file()


def _place(dataset: EpisodeDataset, config: PolicyConfig, folder: Path) -> Path:
    settings = {
        "version": _VERSION,
        "metre": METRE,
        "data": dataset.hash(),
        **{key: getattr(config.observation, key) for key in ("n_seen", "n_robot", "n_whole")},
        **{key: getattr(config.encoder, key) for key in ("centres_1", "neighbours_1", "centres_2", "neighbours_2")},
    }
    return folder / hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:24]


def write_cache(place: Path, config: PolicyConfig, prepared: Iterable[Prepared]) -> Path:
    """Write the folder `place` from episodes in their order. Raises DatasetError, then without leaving anything."""
    try:
        with whole_folder(place) as folder:
            _write(folder, config, prepared)
    except (OSError, PathError) as error:
        if (place / HEADER_NAME).is_file():  # another process was faster
            return place
        why = explain(error, place) if isinstance(error, OSError) else str(error)
        raise DatasetError(f"training frames not written: {why} (--cache)") from error
    return place


def _write(folder: Path, config: PolicyConfig, prepared: Iterable[Prepared]) -> None:
    objects, rows, episodes, last_rows, grasps, n_steps = [], [], [], [], [], 0
    with open(folder / FRAMES_NAME, "wb") as frames_file, open(folder / STEPS_NAME, "wb") as steps_file:
        for number, one in enumerate(prepared):
            objects.append(one.object_name)
            rows.append(n_steps + one.frame_steps)
            episodes.append(np.full(len(one.frames), number, dtype=np.int32))
            closed = one.grasp.closed
            grasps.append(one.grasp._replace(closed=closed if closed == UNKNOWN else n_steps + closed))
            n_steps += len(one.steps)
            last_rows.append(n_steps - 1)
            frames_file.write(one.frames.tobytes())
            steps_file.write(one.steps.tobytes())
    if not any(len(part) for part in rows):
        raise DatasetError("dataset: no frame has points of every class that the preset needs")
    np.savez(
        folder / INDEX_NAME,
        row=np.concatenate(rows),
        episode=np.concatenate(episodes),
        last_row=np.array(last_rows, dtype=np.int64),
        **{f"grasp_{name}": np.stack([getattr(grasp, name) for grasp in grasps]) for name in GraspLabel._fields},
    )
    (folder / HEADER_NAME).write_text(json.dumps({"version": _VERSION, "preset": config.name, "objects": objects}))
