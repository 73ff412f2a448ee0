"""LeRobot's dataset layout v3.0 to episodes: what `export_lerobot` writes, and what others write with the same columns.

Needed: observation.state (36,), action (36,), observation.point_cloud (2048, 3) and 10 frames a second; point_label is
0 where there is none. Stage, object pose and meta data come from meta/udg.parquet, which LeRobot itself does not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from udg_description.clock import STEP_S
from udg_description.layout import JOINT_NAMES, N_JOINTS
from udg_policy.episodes.episode import CLOUD_POINTS, NO_STAGE, Episode
from udg_policy.errors import DatasetError
from udg_policy.exchange.export_lerobot import EXTRA, VERSION

STATE, ACTION = "observation.state", "action"
_PANDAS_INDEX = "__index_level_0__"
CLOUD, LABEL = "observation.point_cloud", "observation.point_label"


def read_lerobot(folder: Path) -> Iterator[tuple[str, Episode]]:
    """The episodes of a folder and their names, in order. Raises DatasetError naming what does not fit."""
    info = _info(folder)
    extra = _extra(folder)
    try:
        rows = [
            row
            for path in sorted((folder / "meta" / "episodes").rglob("*.parquet"))
            for row in pq.read_table(path).to_pylist()
        ]
        names = {row["task_index"]: row["task"] for row in _tasks(folder)}
        tables: dict[str, tuple[int, pa.Table]] = {}
        for row in sorted(rows, key=lambda one: int(one["episode_index"])):
            number, length = int(row["episode_index"]), int(row["length"])
            place = {key: int(row[f"data/{key}"]) for key in ("chunk_index", "file_index")}
            path = str(info["data_path"]).format(**place)
            if path not in tables:
                table = pq.read_table(folder / path)
                tables = {path: (int(table["index"][0].as_py()), table)}
            first, table = tables[path]
            part = table.slice(int(row["dataset_from_index"]) - first, length)
            if len(part) != length or set(part["episode_index"].to_pylist()) != {number}:
                raise DatasetError(f"{folder / path}: not the frames of episode {number}")
            yield f"{number:06d}", _episode(part, extra.get(number), names, f"{folder}: episode {number}")
    except (OSError, pa.ArrowException, KeyError, ValueError, IndexError, TypeError) as error:
        raise DatasetError(f"{folder}: not a readable LeRobot dataset: {error}") from None


def _info(folder: Path) -> dict[str, Any]:
    try:
        info = json.loads((folder / "meta" / "info.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{folder}: no LeRobot dataset: meta/info.json: {error}") from None
    if info.get("codebase_version") != VERSION:
        raise DatasetError(f"{folder}: is of version {info.get('codebase_version')}; valid: {VERSION}")
    if info.get("fps") != round(1.0 / STEP_S):
        raise DatasetError(f"{folder}: {info.get('fps')} frames a second; valid: {1.0 / STEP_S:.0f}")
    columns = info.get("features", {})
    for name, shape in ((STATE, [N_JOINTS]), (ACTION, [N_JOINTS]), (CLOUD, [CLOUD_POINTS, 3])):
        if name not in columns:
            raise DatasetError(f"{folder}: has no column {name}; episodes need {STATE}, {ACTION} and {CLOUD}")
        if list(columns[name]["shape"]) != shape:
            raise DatasetError(f"{folder}: column {name} has shape {columns[name]['shape']}; valid: {shape}")
    for name in (STATE, ACTION):
        joints = columns[name].get("names")
        if joints is not None and list(joints) != list(JOINT_NAMES):
            raise DatasetError(f"{folder}: column {name} names other joints; valid: those of the layout, in order")
    return dict(info)


def _tasks(folder: Path) -> list[dict[str, Any]]:
    path = folder / "meta" / "tasks.parquet"
    if not path.is_file():
        return []
    rows = pq.read_table(path).to_pylist()
    return [{"task_index": row["task_index"], "task": row.get("task", row.get(_PANDAS_INDEX, ""))} for row in rows]


def _extra(folder: Path) -> dict[int, dict[str, Any]]:
    path = folder / EXTRA
    if not path.is_file():
        return {}
    try:
        return {int(row["episode_index"]): row for row in pq.read_table(path).to_pylist()}
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DatasetError(f"{path}: {error}") from None


def _episode(table: pa.Table, extra: dict[str, Any] | None, tasks: dict[int, str], where: str) -> Episode:
    frames = len(table)
    xyz = _numbers(table, CLOUD, np.float32).reshape(frames, CLOUD_POINTS, 3)
    has_label = LABEL in table.column_names
    label = _numbers(table, LABEL, np.uint8) if has_label else np.zeros((frames, CLOUD_POINTS), dtype=np.uint8)
    stage, poses, meta = np.full(frames, NO_STAGE), None, {"source": "lerobot"}
    if extra is not None:
        stage = np.array(extra["stage"])
        poses = None if extra["T_world_object"] is None else np.array(extra["T_world_object"]).reshape(-1, 4, 4)
        meta = json.loads(extra["meta"])
    elif "task_index" in table.column_names:
        meta["task"] = tasks.get(int(table["task_index"][0].as_py()), "")
    try:
        return Episode(
            cloud_xyz=xyz,
            cloud_label=label.reshape(frames, CLOUD_POINTS),
            q=_numbers(table, STATE, np.float32).reshape(frames, -1),
            target=_numbers(table, ACTION, np.float32).reshape(frames, -1),
            stage=stage,
            T_world_object=poses,
            meta=meta,
        )
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from None


def _numbers(table: pa.Table, name: str, dtype: type) -> np.ndarray:
    """All numbers of a column, lists of lists taken apart."""
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    while pa.types.is_nested(column.type):
        column = column.flatten()
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=dtype)
