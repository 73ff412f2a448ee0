"""Bags of our topics (rosbag2: MCAP or SQLite) to episodes: a frame at each scene cloud.

q is the joint state of the cloud's moment, the target what was commanded for 0.1 s later. A simulated trial is an
episode, on the robot a run of the policy (the name that its chunks carry); where neither is in the bag, whatever stands
between two pauses of the clouds. Frames are a step apart, as the policy takes them to be: clouds that come faster are
left out, and where one is missing another episode begins. rosbags reads the files; no ROS is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from udg_description import topic_names
from udg_description.clock import NS_PER_S, STEP_S
from udg_description.layout import JOINT_NAMES, N_JOINTS
from udg_policy.episodes.episode import CLOUD_POINTS, NO_STAGE, Episode
from udg_policy.errors import DatasetError

STEP_NS = round(STEP_S * NS_PER_S)
STATE_GAP_NS = 20_000_000  # a joint state farther from the cloud's moment is none of it
COMMAND_GAP_NS = 50_000_000
LEAST_STEP_NS, MOST_STEP_NS = 4 * STEP_NS // 5, 6 * STEP_NS // 5  # between two frames of an episode: about a step
LEAST_FRAMES = 2
READ = (
    topic_names.JOINT_STATES,
    topic_names.SCENE_CLOUD,
    topic_names.ACTION_CHUNK,
    topic_names.JOINT_COMMAND,
    topic_names.SIM_JOINT_COMMAND,
    topic_names.TRIAL_STATUS,
)


@dataclass
class Timed:
    """Values by the stamps of their messages [ns]."""

    stamps: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, stamp_ns: int, value: Any) -> None:  # noqa: ANN401
        self.stamps.append(stamp_ns)
        self.values.append(value)

    def nearest(self, stamps_ns: np.ndarray, within_ns: int) -> np.ndarray:
        """Place (F,) of the value nearest to each moment, -1 where none is within so much."""
        if not self.stamps:
            return np.full(len(stamps_ns), -1)
        known = np.array(self.stamps)
        order = np.argsort(known, kind="stable")
        known = known[order]
        after = np.clip(np.searchsorted(known, stamps_ns), 1, max(1, len(known) - 1))
        before = after - 1
        after = np.minimum(after, len(known) - 1)
        nearer = np.where(stamps_ns - known[before] <= known[after] - stamps_ns, before, after)
        return np.where(np.abs(known[nearer] - stamps_ns) <= within_ns, order[nearer], -1)


@dataclass
class Bag:
    """What a bag holds of the topics that make episodes."""

    states: Timed = field(default_factory=Timed)  # (36,) [rad]
    clouds: Timed = field(default_factory=Timed)  # (2048, 4)
    commands: Timed = field(default_factory=Timed)  # (36,) [rad]
    chunks: Timed = field(default_factory=Timed)  # name of the policy's run, targets (K, 36) [rad]; those with points
    trials: Timed = field(default_factory=Timed)  # dictionary of a trial's status


def read_bag(path: Path, *, for_episodes: bool = True) -> Bag:
    """Read a bag: a folder with metadata.yaml, or one .mcap file. Raises DatasetError naming what is wrong.

    Episodes need scene clouds, joint states and joint commands; to look at a bag, joint states are enough.
    """
    from rosbags.highlevel import AnyReader, AnyReaderError
    from rosbags.typesys import Stores, get_typestore

    bag = Bag()
    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            connections = [connection for connection in reader.connections if connection.topic in READ]
            for connection, _, raw in reader.messages(connections=connections):
                _note(bag, connection.topic, reader.deserialize(raw, connection.msgtype), path)
    except (AnyReaderError, OSError) as error:
        raise DatasetError(f"{path}: not a readable bag: {error}") from None
    needed = {topic_names.JOINT_STATES: bag.states}
    if for_episodes:
        needed = {topic_names.SCENE_CLOUD: bag.clouds, **needed}
    for name, timed in needed.items():
        if not timed.stamps:
            raise DatasetError(f"{path}: has no {name}; episodes need {', '.join(READ[:2])} and a joint command")
    if for_episodes and not bag.commands.stamps:
        raise DatasetError(f"{path}: has neither {topic_names.JOINT_COMMAND} nor {topic_names.SIM_JOINT_COMMAND}")
    return bag


def _note(bag: Bag, topic: str, message: Any, path: Path) -> None:  # noqa: ANN401 - rosbags makes the classes
    if topic == topic_names.TRIAL_STATUS:
        status = json.loads(message.data)
        bag.trials.add(round((status["start_s"] + status["time_s"]) * NS_PER_S), status)
        return
    stamp_ns = message.header.stamp.sec * NS_PER_S + message.header.stamp.nanosec
    if topic == topic_names.ACTION_CHUNK:
        if message.points:
            bag.chunks.add(stamp_ns, (message.header.frame_id, _targets(message, path)))
    elif topic == topic_names.SCENE_CLOUD:
        bag.clouds.add(stamp_ns, _points(message, path))
    else:
        timed = bag.states if topic == topic_names.JOINT_STATES else bag.commands
        timed.add(stamp_ns, _angles(message, topic, path))


def _angles(message: Any, topic: str, path: Path) -> np.ndarray:  # noqa: ANN401
    return _in_order(list(message.name), np.asarray(message.position, dtype=np.float64), topic, path)


def _targets(message: Any, path: Path) -> np.ndarray:  # noqa: ANN401
    rows = np.array([point.positions for point in message.points], dtype=np.float64)
    return _in_order(list(message.joint_names), rows, topic_names.ACTION_CHUNK, path)


def _in_order(names: list[str], values: np.ndarray, topic: str, path: Path) -> np.ndarray:
    """Values (..., 36) in the layout's order."""
    if set(names) != set(JOINT_NAMES) or len(names) != N_JOINTS or values.shape[-1] != N_JOINTS:
        raise DatasetError(f"{path}: {topic} has {len(names)} joints; valid: the {N_JOINTS} of the layout, by name")
    if names == list(JOINT_NAMES):
        return values
    place = {name: i for i, name in enumerate(names)}
    return values[..., [place[name] for name in JOINT_NAMES]]


def _points(message: Any, path: Path) -> np.ndarray:  # noqa: ANN401
    names = [field.name for field in message.fields]
    count = message.width * message.height
    if names[:4] != ["x", "y", "z", "label"] or message.point_step < 16 or count != CLOUD_POINTS:
        raise DatasetError(
            f"{path}: {topic_names.SCENE_CLOUD} has {count} points of {', '.join(names)}; "
            f"valid: {CLOUD_POINTS} of x, y, z, label"
        )
    rows = np.asarray(message.data, dtype=np.uint8).reshape(count, message.point_step)[:, :16]
    return np.ascontiguousarray(rows).view("<f4")


def episodes_of(bag: Bag, name: str) -> Iterator[tuple[str, Episode]]:
    """The episodes of a bag and their names, in the order of time; without a state and a command there is no frame.

    Raises DatasetError when clouds come at a rate that no steps can be taken from.
    """
    stamps = np.array(bag.clouds.stamps)
    order = np.argsort(stamps, kind="stable")
    stamps = stamps[order]
    states = bag.states.nearest(stamps, STATE_GAP_NS)
    commands = bag.commands.nearest(stamps + STEP_NS, COMMAND_GAP_NS)
    whole = np.flatnonzero((states >= 0) & (commands >= 0))
    kept = whole[_steps(stamps[whole])]
    order, stamps, states, commands = order[kept], stamps[kept], states[kept], commands[kept]
    trials = bag.trials.nearest(stamps, STATE_GAP_NS)
    labels = _labels(bag, stamps, trials)
    breaks = [0, *(_breaks(stamps, labels) + 1), len(stamps)]
    number = 0
    for first, end in zip(breaks[:-1], breaks[1:], strict=True):
        rows = np.arange(first, end)
        if len(rows) < LEAST_FRAMES or labels[first] is None:
            continue
        yield f"{name}_{number:04d}", _episode(bag, order, rows, states, commands, trials)
        number += 1
    if number == 0 and len(stamps) > LEAST_FRAMES and np.median(np.diff(stamps)) > MOST_STEP_NS:
        apart_s = float(np.median(np.diff(stamps))) / NS_PER_S
        raise DatasetError(
            f"{name}: usable clouds are {apart_s:.3f} s apart; valid: {STEP_S:g} s (10 Hz), or faster by a whole number"
        )


def _steps(stamps: np.ndarray) -> np.ndarray:
    """Places of the moments (F,) [ns], rising, that are at least about a step apart."""
    kept: list[int] = []
    for place, stamp_ns in enumerate(stamps):
        if not kept or stamp_ns - stamps[kept[-1]] >= LEAST_STEP_NS:
            kept.append(place)
    return np.array(kept, dtype=int)


def _labels(bag: Bag, stamps: np.ndarray, trials: np.ndarray) -> list[object]:
    """What each frame belongs to: its trial, else its run; None where there are runs, but none of this moment."""
    if bag.trials.stamps:
        found = [None if place < 0 else bag.trials.values[place] for place in trials]
        return [None if status is None else _trial(status) for status in found]
    if bag.chunks.stamps:
        places = bag.chunks.nearest(stamps, STATE_GAP_NS)
        return [None if place < 0 else ("run", bag.chunks.values[place][0]) for place in places]
    return ["all"] * len(stamps)


def _trial(status: dict[str, Any]) -> tuple[object, ...]:
    """What tells one trial from another; the last state of a trial, which has its success, may have no frame."""
    return (status["object"], status["seed"], status["trial"], status["start_s"])


def _breaks(stamps: np.ndarray, labels: list[object]) -> np.ndarray:
    """Frames after which another episode begins."""
    other = np.array([a != b for a, b in zip(labels[:-1], labels[1:], strict=True)], dtype=bool)
    return np.flatnonzero(other | (np.diff(stamps) > MOST_STEP_NS))


def _episode(
    bag: Bag, order: np.ndarray, rows: np.ndarray, states: np.ndarray, commands: np.ndarray, trials: np.ndarray
) -> Episode:
    clouds = np.stack([bag.clouds.values[order[row]] for row in rows])
    meta: dict[str, Any] = {"source": "bag", "noisy": True}
    poses = None
    if (trials[rows] >= 0).all() and bag.trials.stamps:
        statuses = [bag.trials.values[place] for place in trials[rows]]
        poses = np.array([status["T_world_object"] for status in statuses])
        last = statuses[-1]
        success = any(status["success"] for status in bag.trials.values if _trial(status) == _trial(last))
        meta.update(object=last["object"], seed=last["seed"], trial=last["trial"], success=success)
    return Episode(
        cloud_xyz=clouds[..., :3],
        cloud_label=clouds[..., 3].astype(np.uint8),
        q=np.stack([bag.states.values[place] for place in states[rows]]),
        target=np.stack([bag.commands.values[place] for place in commands[rows]]),
        stage=np.full(len(rows), NO_STAGE),
        T_world_object=poses,
        meta=meta,
    )
