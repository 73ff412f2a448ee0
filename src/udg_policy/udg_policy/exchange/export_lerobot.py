"""LeRobot's dataset layout v3.0: Parquet tables and JSON, no videos.

Columns: observation.state (36,), action (36,), observation.point_cloud (P, 3) float32, observation.point_label (P,)
uint8, and the five that every such dataset has. The task of an episode is the sentence of `task_of`. Statistics of a
cloud are those of all its points, shape (1, 3). Those of each episode are in meta/episodes, as stats/<column>/<what>.
What the layout has no place for (stage, object pose, meta data) is in meta/udg.parquet: `import_lerobot` reads it.
Source: github.com/huggingface/lerobot, src/lerobot/datasets/{dataset_metadata,feature_utils,io_utils,utils}.py.
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from udg_description.clock import STEP_S
from udg_description.layout import JOINT_NAMES, N_JOINTS
from udg_description.robot import current_robot
from udg_policy.episodes.dataset import EpisodeDataset
from udg_policy.episodes.episode import Episode, canonical_json
from udg_policy.exchange.thinning import thinned

VERSION = "v3.0"
_FILES_A_CHUNK = 1000
_FILE_MB = 100
EXTRA = "meta/udg.parquet"
_DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


def task_of(meta: dict[str, Any]) -> str:
    """What an episode does, in words: with the object's category, or the name of the user's own mesh."""
    name = str(meta.get("category") or "")
    if name in ("", "mesh"):
        id = str(meta.get("object") or "object")
        name = PurePath(id.rpartition("@")[0] or id).stem
        if name.startswith("user_"):
            name = re.sub(r"^user_|_[0-9a-f]{6}$", "", name)
    return f"grasp the {' '.join(name.replace('_', ' ').split())} and lift it"


def features(points: int) -> dict[str, dict[str, Any]]:
    """LeRobot's description of the columns."""
    joints = {"dtype": "float32", "shape": [N_JOINTS], "names": list(JOINT_NAMES)}
    number = {"shape": [1], "names": None}
    return {
        "observation.state": joints,
        "action": joints,
        "observation.point_cloud": {"dtype": "float32", "shape": [points, 3], "names": ["point", "xyz"]},
        "observation.point_label": {"dtype": "uint8", "shape": [points], "names": None},
        "timestamp": {"dtype": "float32", **number},
        **{name: {"dtype": "int64", **number} for name in ("frame_index", "episode_index", "index", "task_index")},
    }


class _Statistics:
    """Least, most, mean and standard deviation over the first axis of everything added."""

    def __init__(self) -> None:
        self.count, self.sum, self.squares = 0, np.zeros(()), np.zeros(())
        self.least, self.most = np.array(np.inf), np.array(-np.inf)

    def add(self, values: np.ndarray) -> None:
        values = values.astype(np.float64)
        self.count += len(values)
        self.sum, self.squares = self.sum + values.sum(axis=0), self.squares + (values**2).sum(axis=0)
        self.least, self.most = np.minimum(self.least, values.min(axis=0)), np.maximum(self.most, values.max(axis=0))

    def result(self, frames: int, shape: tuple[int, ...]) -> dict[str, Any]:
        mean = self.sum / self.count
        deviation = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0.0))
        values = {"min": self.least, "max": self.most, "mean": mean, "std": deviation}
        return {**{name: value.reshape(shape).tolist() for name, value in values.items()}, "count": [frames]}


def _table(episode: Episode, points: int, number: int, first: int, task: int) -> pa.Table:
    steps = np.arange(len(episode))
    xyz, labels = thinned(episode, points)
    rows = pa.array(np.arange(len(episode) + 1, dtype=np.int32) * points)
    inner = pa.array(np.arange(len(episode) * points + 1, dtype=np.int32) * 3)
    cloud = pa.ListArray.from_arrays(rows, pa.ListArray.from_arrays(inner, pa.array(xyz.reshape(-1))))
    return pa.table(
        {
            "observation.state": _vectors(episode.q),
            "action": _vectors(episode.target),
            "observation.point_cloud": cloud,
            "observation.point_label": _vectors(labels),
            "timestamp": (steps * STEP_S).astype(np.float32),
            "frame_index": steps,
            "episode_index": np.full(len(episode), number),
            "index": first + steps,
            "task_index": np.full(len(episode), task),
        }
    )


def _vectors(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


class _DataFiles:
    """Tables one after the other into files of a limited size, one row group an episode."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = -1
        self._writer: pq.ParquetWriter | None = None
        self._path = folder

    def add(self, table: pa.Table) -> tuple[int, int]:
        """Append a table; the chunk and the file that it is in."""
        if self._writer is None or self._path.stat().st_size > _FILE_MB * 1_000_000:
            self.close()
            self._number += 1
            self._path = self._folder / _DATA_PATH.format(**self._place())
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd", use_dictionary=False)
        assert self._writer is not None
        self._writer.write_table(table)
        return self._place()["chunk_index"], self._place()["file_index"]

    def _place(self) -> dict[str, int]:
        return {"chunk_index": self._number // _FILES_A_CHUNK, "file_index": self._number % _FILES_A_CHUNK}

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def write_lerobot(dataset: EpisodeDataset, folder: Path, points: int) -> None:
    """Write all episodes, with `points` points a cloud, into the empty folder."""
    tasks: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    extra: list[dict[str, Any]] = []
    statistics = {name: _Statistics() for name in features(points)}
    first = 0
    with closing(_DataFiles(folder)) as files:
        for number, episode in enumerate(tqdm(dataset, total=len(dataset), unit="episode")):
            task = task_of(episode.meta)
            table = _table(episode, points, number, first, tasks.setdefault(task, len(tasks)))
            chunk_index, file_index = files.add(table)
            own = {name: _Statistics() for name in statistics}
            _add_statistics(own, table, episode)
            rows.append(
                {
                    "episode_index": number,
                    "tasks": [task],
                    "length": len(episode),
                    "data/chunk_index": chunk_index,
                    "data/file_index": file_index,
                    "dataset_from_index": first,
                    "dataset_to_index": first + len(episode),
                    "meta/episodes/chunk_index": 0,
                    "meta/episodes/file_index": 0,
                    **{
                        f"stats/{name}/{key}": value
                        for name, one in own.items()
                        for key, value in one.result(len(episode), _shape(name)).items()
                    },
                }
            )
            extra.append(_extra(episode, number))
            first += len(episode)
            _add_statistics(statistics, table, episode)
    _write_meta(folder, points, rows, tasks, statistics)
    pq.write_table(pa.Table.from_pylist(extra, _EXTRA_SCHEMA), folder / EXTRA, compression="zstd")


_EXTRA_SCHEMA = pa.schema(
    [
        ("episode_index", pa.int64()),
        ("stage", pa.list_(pa.uint8())),
        ("T_world_object", pa.list_(pa.float32())),
        ("meta", pa.string()),
    ]
)


def _extra(episode: Episode, number: int) -> dict[str, Any]:
    poses = episode.T_world_object
    return {
        "episode_index": number,
        "stage": episode.stage.tolist(),
        "meta": canonical_json(episode.meta),
        "T_world_object": None if poses is None else poses.reshape(-1).tolist(),
    }


def _add_statistics(statistics: dict[str, _Statistics], table: pa.Table, episode: Episode) -> None:
    arrays = {
        "observation.state": episode.q,
        "action": episode.target,
        "observation.point_cloud": episode.cloud_xyz.reshape(-1, 3),
        "observation.point_label": episode.cloud_label.reshape(-1),
    }
    for name, statistic in statistics.items():
        statistic.add(arrays[name] if name in arrays else table[name].to_numpy())


def _shape(name: str) -> tuple[int, ...]:
    """Of the statistics of a column."""
    shapes = {"observation.state": (N_JOINTS,), "action": (N_JOINTS,), "observation.point_cloud": (1, 3)}
    return shapes.get(name, (1,))


def _write_meta(
    folder: Path, points: int, rows: list[dict[str, Any]], tasks: dict[str, int], statistics: dict[str, _Statistics]
) -> None:
    frames = rows[-1]["dataset_to_index"]
    info = {
        "codebase_version": VERSION,
        "robot_type": current_robot().name,
        "total_episodes": len(rows),
        "total_frames": frames,
        "total_tasks": len(tasks),
        "chunks_size": _FILES_A_CHUNK,
        "data_files_size_in_mb": _FILE_MB,
        "video_files_size_in_mb": 200,
        "fps": round(1.0 / STEP_S),
        "splits": {"train": f"0:{len(rows)}"},
        "data_path": _DATA_PATH,
        "video_path": None,
        "features": features(points),
    }
    stats = {name: one.result(frames, _shape(name)) for name, one in statistics.items()}
    meta = folder / "meta"
    (meta / "episodes" / "chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), meta / "episodes" / "chunk-000" / "file-000.parquet")
    pq.write_table(_tasks_table(tasks), meta / "tasks.parquet")
    for name, values in (("info", info), ("stats", stats)):
        (meta / f"{name}.json").write_text(json.dumps(values, indent=4), encoding="utf-8")


def _tasks_table(tasks: dict[str, int]) -> pa.Table:
    """The table that pandas writes for a frame with the index `task` and the column `task_index`."""
    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in columns
    ]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    table = pa.table({"task_index": list(tasks.values()), "task": list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
