"""Batches for training from frames on disk, in any order.

View i < F is frame i, view F + i its mirror image. A batch follows from view numbers and a generator alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_description.cache import cache_dir, say_once
from udg_description.cloud_labels import LABEL_LEFT, LABEL_RIGHT, LABEL_SEEN
from udg_description.files import PathError, check_folder
from udg_description.layout import N_JOINTS, SIDES, part_indices
from udg_policy.action_spaces import ActionBounds
from udg_policy.config import PolicyConfig, SamplingConfig, TrainConfig
from udg_policy.episodes.dataset import EpisodeDataset
from udg_policy.episodes.episode import Episode, Stage
from udg_policy.episodes.episode_file import METRE
from udg_policy.episodes.grasp import UNKNOWN
from udg_policy.frames.frame_cache import (
    FRAMES_NAME,
    HEADER_NAME,
    INDEX_NAME,
    STEP_RECORD,
    STEPS_NAME,
    Preparer,
    cache_of,
    frame_record,
    is_cached,
    write_cache,
)
from udg_policy.frames.mixing import Part, Source, shares
from udg_policy.frames.records import Records
from udg_policy.hands import rotations
from udg_policy.network.observation import WORLD_ORIGIN, network_inputs, state_width

_BOUNDS_VIEWS = 16_384  # at a time


class Batch(NamedTuple):
    """Inputs of the network and the normalised actions that it shall predict."""

    features: Tensor  # (B, N, f)
    proprioception: Tensor  # (B, p)
    neighbours_1: Tensor  # (B, C1, k1) int64
    neighbours_2: Tensor  # (B, C2, k2) int64
    actions: Tensor  # (B, K, 36) in [-1, 1]
    # The grasp that it shall predict; without a grasp query these are (B, 0). -1 where it is not known.
    grasp_points: Tensor  # (B, 2, 7, 3) [m], key points in the measured grasp frames
    grasp_known: Tensor  # (B, 2) 1 for the hands whose key points count: those that act
    acting: Tensor  # (B, 2) float: 1 for a hand that acts, 0 for one that does not
    strategy: Tensor  # (B,) int64
    stage: Tensor  # (B, K) int64, Stage of each step of the chunk, -1 where it is none; without a stage head (B, 0)


class Grasps(NamedTuple):
    """The GraspLabel of each episode."""

    closed: Tensor  # (E,) counted over the steps of all episodes
    T_grasp: Tensor  # (E, 2, 2, 4, 4)
    points: Tensor  # (E, 2, 2, 7, 3)
    acting: Tensor  # (E, 2, 2)
    strategy: Tensor  # (E,)


def load_frames(
    dataset: EpisodeDataset | Sequence[Source], config: PolicyConfig, processes: int = 1, cache: Path | None = None
) -> FrameStore:
    """The frames of all episodes of a dataset, or of several, prepared at the first time and kept in `cache`.

    Without `cache` in the cache folder; if that cannot be written, in a temporary folder that goes with the store.
    """
    found = [Source(dataset, Part(None, False))] if isinstance(dataset, EpisodeDataset) else list(dataset)

    def store(folder: Path) -> FrameStore:
        return FrameStore(
            config,
            *(cache_of(source.dataset, config, folder, processes) for source in found),
            parts=[source.part for source in found],
        )

    if cache is not None:
        return store(cache)
    folder = cache_dir("frames")
    if not all(is_cached(source.dataset, config, folder) for source in found):
        try:
            check_folder(folder)
        except PathError as error:
            say_once(error)
            return _temporary_store(store)
    return store(folder)


def frames_of(episodes: Iterable[Episode], config: PolicyConfig) -> FrameStore:
    """Prepare episodes that are already in memory; the files go when the store does."""
    return _temporary_store(
        lambda parent: FrameStore(config, write_cache(parent / "frames", config, map(Preparer(config), episodes)))
    )


def _temporary_store(make: Callable[[Path], FrameStore]) -> FrameStore:
    parent = Path(tempfile.mkdtemp(prefix="udg-frames-"))
    try:
        store = make(parent)
    except BaseException:
        shutil.rmtree(parent, ignore_errors=True)
        raise
    weakref.finalize(store, _remove, parent, os.getpid())
    return store


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a forked child
        shutil.rmtree(folder, ignore_errors=True)


def _joined(indices: Sequence[dict[str, np.ndarray]], steps: Sequence[int]) -> dict[str, Tensor]:
    """The indices of several datasets as one; steps: of each."""
    first_row, first_episode = np.cumsum([0, *steps]), np.cumsum([0] + [len(index["last_row"]) for index in indices])
    out: dict[str, list[np.ndarray]] = {}
    for number, index in enumerate(indices):
        moved = dict(index)
        moved["row"], moved["last_row"] = index["row"] + first_row[number], index["last_row"] + first_row[number]
        moved["episode"] = index["episode"] + first_episode[number]
        closed = index["grasp_closed"]
        moved["grasp_closed"] = np.where(closed == UNKNOWN, closed, closed + first_row[number])
        moved["dataset"] = np.full(len(index["last_row"]), number)
        for name, array in moved.items():
            out.setdefault(name, []).append(array)
    return {name: torch.from_numpy(np.concatenate(arrays)) for name, arrays in out.items()}


class FrameStore:
    """All frames of one or several datasets and their mirror images, read through memory maps."""

    def __init__(self, config: PolicyConfig, *folders: Path, parts: Sequence[Part] = ()) -> None:
        """folders: prepared datasets (`cache_of`); parts: the place of each in the training, if there are several."""
        self.config, self.folders = config, folders
        self.parts = tuple(parts) or (Part(None, False),) * len(folders)
        self.object_of_episode: list[str] = []
        indices: list[dict[str, np.ndarray]] = []
        for folder in folders:
            self.object_of_episode += json.loads((folder / HEADER_NAME).read_text())["objects"]
            with np.load(folder / INDEX_NAME, allow_pickle=False) as index:
                indices.append(dict(index))
        steps = [int(index["last_row"][-1]) + 1 for index in indices]
        self._frames = Records(
            [(folder / FRAMES_NAME, len(index["row"])) for folder, index in zip(folders, indices, strict=True)],
            frame_record(config),
        )
        self._steps = Records([(folder / STEPS_NAME, n) for folder, n in zip(folders, steps, strict=True)], STEP_RECORD)
        joined = _joined(indices, steps)
        self.episode = joined["episode"]  # (F,)
        self.row = joined["row"]  # (F,) step of the frame
        self.last_row = joined["last_row"]  # (E,) last step of the episode
        self.dataset = joined["dataset"]  # (E,) number of its dataset
        self.grasps = Grasps(*(joined[f"grasp_{name}"] for name in Grasps._fields))
        self.n_frames = len(self.row)

    @property
    def bytes(self) -> int:
        """Of all records."""
        return self._frames.bytes + self._steps.bytes

    def to(self, device: torch.device) -> FrameStore:
        """The same frames in the memory of a device, which makes their batches; numbers of views go there, too."""
        there = copy(self)
        there._frames, there._steps = self._frames.to(device), self._steps.to(device)
        there.episode, there.row, there.last_row = (x.to(device) for x in (self.episode, self.row, self.last_row))
        there.dataset, there.grasps = self.dataset.to(device), Grasps(*(x.to(device) for x in self.grasps))
        return there

    def views(self, episodes: Tensor, mirrored: bool) -> Tensor:
        """View numbers of the frames of the given episodes, with their mirror images if asked."""
        frames = torch.isin(self.episode, episodes).nonzero()[:, 0]
        return torch.cat([frames, frames + self.n_frames]) if mirrored else frames

    def prefetch(self, views: Tensor) -> None:
        """Ask the system to read these views soon; the next batch then need not wait for the disk."""
        self._frames.prefetch(self._frame_numbers(views).numpy())

    def _frame_numbers(self, views: Tensor) -> Tensor:
        return torch.where(views >= self.n_frames, views - self.n_frames, views)

    def chunk_rows(self, views: Tensor) -> Tensor:
        """Steps (B, K) of the chunks; the last one repeats at the end of an episode."""
        frames = self._frame_numbers(views)
        steps = self.row[frames][:, None] + torch.arange(self.config.decoder.chunk, device=frames.device)
        return torch.minimum(steps, self.last_row[self.episode[frames].long()][:, None])

    def points(self, views: Tensor) -> Tensor:
        """Points (B, N, 3) [m, world] of the clouds of views."""
        points = self._frames.fields(self._frame_numbers(views), "points")[0].float() / METRE
        points[..., 1] *= torch.where(views >= self.n_frames, -1.0, 1.0)[:, None]
        return points

    def earlier(self, views: Tensor, steps: int) -> Tensor:
        """Views (B,) of the frames this many steps earlier, or of the first one without a gap in between."""
        frames = self._frame_numbers(views)
        for _ in range(steps):
            before = (frames - 1).clamp_min(0)
            goes_on = (self.episode[before] == self.episode[frames]) & (self.row[before] == self.row[frames] - 1)
            frames = torch.where(goes_on, before, frames)
        return torch.where(views >= self.n_frames, frames + self.n_frames, frames)

    def joints(self, views: Tensor, steps: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Measured and target joints (B, S, 36) [rad], at `steps` from each view; the ends of an episode repeat."""
        frames = self._frame_numbers(views)
        episode = self.episode[frames].long()
        first = torch.cat([self.last_row.new_zeros(1), self.last_row[:-1] + 1])[episode]
        rows = self.row[frames][:, None] + torch.tensor(list(steps), device=frames.device)
        rows = torch.maximum(torch.minimum(rows, self.last_row[episode][:, None]), first[:, None])
        q, targets = self._steps.fields(rows, "q", "target")
        chosen = torch.arange(len(views), device=views.device), slice(None), (views >= self.n_frames).long()
        return q[chosen], targets[chosen]

    def following(self, views: Tensor) -> Tensor:
        """By how much (B, 36) [rad] the last target was ahead of the measured joints; 0 at the start of an episode."""
        frames = self._frame_numbers(views)
        before = (self.row[frames] - 1).clamp_min(0)
        last_of_others = torch.cat([self.last_row.new_full((1,), -1), self.last_row[:-1]])
        is_first = self.row[frames] - 1 == last_of_others[self.episode[frames].long()]
        targets = self._steps.fields(before, "target")[0]
        image = (views >= self.n_frames).long()
        targets = targets[torch.arange(len(views), device=views.device), image]
        return torch.where(is_first[:, None], 0.0, targets - self._now(views)[0])

    def actions(self, views: Tensor, T_now: Tensor | None = None) -> Tensor:
        """Actions (B, K, 36) in their own units, relative to T_now (B, 2, 4, 4), default the measured poses."""
        T_now = self._now(views)[1] if T_now is None else T_now
        T_targets, targets = self._steps.fields(self.chunk_rows(views), "T_target", "target")
        chosen = torch.arange(len(views), device=views.device), slice(None), (views >= self.n_frames).long()
        return self.config.space.encode(T_now, T_targets[chosen], targets[chosen])

    def _now(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Measured joints (B, 36) and grasp frames (B, 2, 4, 4)."""
        q, T_grasp = self._steps.fields(self.row[self._frame_numbers(views)], "q", "T_grasp")
        chosen = torch.arange(len(views), device=views.device), (views >= self.n_frames).long()
        return q[chosen], T_grasp[chosen]

    def grasp(self, views: Tensor, T_now: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The labels of the grasp, as the last fields of Batch, in T_now (B, 2, 4, 4), default the measured poses."""
        if not self.config.decoder.grasp_query:
            empty = torch.zeros(len(views), 0, device=views.device)
            return empty, empty, empty, empty.long()
        image, frames = (views >= self.n_frames).long(), self._frame_numbers(views)
        episode, T_measured = self.episode[frames].long(), self._now(views)[1]
        closed, grasps = self.grasps.closed[episode], self.grasps
        is_made = (self.row[frames] > closed)[:, None, None, None]  # it then moves with the hand
        T_world_grasp = torch.where(is_made, T_measured, grasps.T_grasp[episode, image])
        T_now = T_measured if T_now is None else T_now
        points = rotations.transform_points(rotations.inverse(T_now) @ T_world_grasp, grasps.points[episode, image])
        acting = grasps.acting[episode, image].float()
        return points, (acting > 0) * (closed >= 0)[:, None].float(), acting, grasps.strategy[episode].long()

    def stages(self, views: Tensor) -> Tensor:
        """Stages (B, K) of the steps of the chunks, as in Batch."""
        if not self.config.decoder.stage_head:
            return torch.zeros(len(views), 0, device=views.device).long()
        stages = self._steps.fields(self.chunk_rows(views), "stage")[0].long()
        return torch.where(stages < len(Stage), stages, UNKNOWN)

    def weights(self, views: Tensor) -> Tensor | None:
        """Weights (B,) float64 by `train.sampling` and the datasets' shares: how often each of all the views that are
        trained on is drawn; None where all are alike."""
        sampling = self.config.train.sampling
        weights = torch.ones(len(views), dtype=torch.double)
        alike = len(set(sampling.weights)) == 1
        if not alike:
            of_kind = torch.tensor(sampling.weights, dtype=torch.double)
            weights = torch.cat([of_kind[self._kind_of_frame(part)] for part in views.split(_BOUNDS_VIEWS)])
        if len(self.parts) > 1:
            dataset = self.dataset[self.episode[self._frame_numbers(views)].long()]
            totals = torch.zeros(len(self.parts), dtype=torch.double).index_add_(0, dataset, weights)
            share = torch.tensor(shares(self.parts, totals.tolist()), dtype=torch.double)
            factor = share * totals.sum() / totals.clamp_min(1e-12)  # 1 where the share is that of its frames
            alike = alike and bool(((factor - 1.0).abs() < 1e-9)[totals > 0.0].all())
            weights = weights * factor[dataset]
        return None if alike else weights

    def shares(self, views: Tensor) -> dict[str, tuple[float, float]]:
        """Share of each kind of SamplingConfig among `views`, and after weighting; empty where all weigh alike."""
        weights = self.weights(views)
        if weights is None:
            return {}
        kinds = torch.cat([self._kind_of_frame(part) for part in views.split(_BOUNDS_VIEWS)])
        names = [field.name for field in dataclasses.fields(SamplingConfig)][: len(self.config.train.sampling.weights)]
        return {
            name: (float((kinds == i).double().mean()), float(weights[kinds == i].sum() / weights.sum()))
            for i, name in enumerate(names)
        }

    def _kind_of_frame(self, views: Tensor) -> Tensor:
        """(B,) index into SamplingConfig.weights."""
        image, frames = (views >= self.n_frames).long(), self._frame_numbers(views)
        episode, rows = self.episode[frames].long(), self.row[frames]
        stage = self._steps.fields(rows, "stage")[0].long()
        gone = self._now(views)[1][..., :3, 3] - self.grasps.T_grasp[episode, image][..., :3, 3]
        counts = (self.grasps.acting[episode, image] > 0) & (self.grasps.closed[episode] >= 0)[:, None]
        near = (counts & (gone.norm(dim=-1) <= self.config.train.sampling.near_m)).any(dim=-1)
        grasped = (stage >= Stage.SQUEEZE) & (stage <= Stage.HOLD)
        return torch.where(grasped, stage, near.long())  # SQUEEZE is 2, as in the weights

    def bounds(self, views: Tensor) -> ActionBounds:
        """Bounds of the actions of `views`, with room for the noise of the augmentation."""
        train = self.config.train
        extremes = []
        for part in views.split(_BOUNDS_VIEWS):
            actions = self.actions(part)
            extremes += [actions.amin(dim=0), actions.amax(dim=0)]
        return self.config.space.bounds(torch.stack(extremes), train.bounds_margin, train.mirror)

    def batch(self, views: Tensor, bounds: ActionBounds, generator: torch.Generator | None = None) -> Batch:
        """The batch of `views`; augmented when a generator is given."""
        observation, train = self.config.observation, self.config.train
        mirrored = views >= self.n_frames
        stored, labels, neighbours_1, neighbours_2 = self._frames.fields(
            self._frame_numbers(views), "points", "labels", "neighbours_1", "neighbours_2"
        )
        points = stored.transpose(1, 2).float().contiguous() / METRE  # x of all, then y, then z
        points[:, 1] *= torch.where(mirrored, -1.0, 1.0)[:, None]
        points = points.transpose(1, 2)
        labels = torch.where(mirrored[:, None] & (labels > 0), LABEL_LEFT + LABEL_RIGHT - labels, labels)
        q, T_grasp = self._now(views)
        if generator is not None:
            points = self._noisy_points(points, labels, generator)
            points, T_grasp = self._move_hands(points, labels, T_grasp, generator)
            q = _noisy_hand_joints(q, train, generator)
        actions = bounds.normalise(self.actions(views, T_grasp)).clamp(-1.0, 1.0)
        grasp = self.grasp(views, T_grasp)
        if generator is not None:
            points, T_grasp = _move_scene(points, T_grasp, train, generator)
        following = None
        if observation.following_error:
            following = self.following(views)
            if generator is not None:
                following = following + train.following_noise_rad * _randn(following.shape, following, generator)
                following = following + self._touch(views, generator)
        features, beside = network_inputs(observation, points, labels, T_grasp, q, following)
        if generator is not None and train.state_dropout > 0.0:
            kept = torch.rand((len(views), 1), generator=generator, device=views.device) >= train.state_dropout
            beside[:, : state_width(observation)] *= kept
        return Batch(features, beside, neighbours_1.long(), neighbours_2.long(), actions, *grasp, self.stages(views))

    def _touch(self, views: Tensor, generator: torch.Generator) -> Tensor | float:
        """Following errors (B, 36) [rad] to add, as of hands that touch before the squeeze: no reason to lift."""
        train = self.config.train
        if train.touch_share == 0.0:
            return 0.0
        stage = self._steps.fields(self.row[self._frame_numbers(views)], "stage")[0]
        is_before = (stage < Stage.SQUEEZE)[:, None]
        size = (len(views), N_JOINTS)
        joints_rad = train.touch_rad * torch.rand(size, generator=generator, device=views.device)
        touches = torch.zeros(size, device=views.device)  # how firmly, up to 1
        for side in SIDES:
            draws = torch.rand((len(views), 2), generator=generator, device=views.device)
            firmly = (is_before & (draws[:, :1] < train.touch_share)) * draws[:, 1:]
            touches[:, part_indices(f"{side}_hand")] = firmly
        return touches * joints_rad

    def _noisy_points(self, points: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        train = self.config.train
        if train.point_noise_m == 0.0 and train.cloud_noise_m == 0.0:
            return points
        seen = slice(0, self.config.observation.n_seen or None)  # no others can be
        noise = train.point_noise_m * _randn((len(points), 3, points[:, seen].shape[1]), points, generator)
        noise += train.cloud_noise_m * _randn((len(points), 3, 1), points, generator)
        points[:, seen] += (noise * (labels[:, None, seen] == LABEL_SEEN)).transpose(1, 2)
        return points

    def _move_hands(
        self, points: Tensor, labels: Tensor, T_grasp: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Both hands, and their imaged points, at slightly other poses: the targets then lead to the demonstration."""
        train = self.config.train
        if train.hand_noise_m == 0.0 and train.hand_noise_rad == 0.0:
            return points, T_grasp
        shape = (*T_grasp.shape[:2], 3)
        shift = train.hand_noise_m * _randn(shape, points, generator)
        turn = train.hand_noise_rad * _randn(shape, points, generator)
        T_moved = T_grasp @ rotations.rigid(rotations.rotvec_to_matrix(turn), shift)
        motion = T_moved @ rotations.inverse(T_grasp)
        robot = slice(self.config.observation.n_seen, None)  # no others can be
        for side in range(len(SIDES)):
            moved = rotations.transform_points(motion[:, side], points[:, robot])
            points[:, robot] = torch.where((labels[:, robot] == LABEL_LEFT + side)[..., None], moved, points[:, robot])
        return points, T_moved


def _move_scene(
    points: Tensor, T_grasp: Tensor, train: TrainConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Points and hands elsewhere on the table; targets relative to the hands stay what they are."""
    if train.scene_shift_m == 0.0 and train.scene_turn_rad == 0.0:
        return points, T_grasp
    along_table, vertical, centre = (
        _constant(values, points.device) for values in ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0), WORLD_ORIGIN)
    )
    shift = train.scene_shift_m * _randn((len(points), 3), points, generator) * along_table
    turn = train.scene_turn_rad * _randn((len(points), 1), points, generator) * vertical
    rotation = rotations.rotvec_to_matrix(turn)
    T_move = rotations.rigid(rotation, centre - rotation @ centre + shift)
    return rotations.transform_points(T_move, points), T_move[:, None] @ T_grasp


def _noisy_hand_joints(q: Tensor, train: TrainConfig, generator: torch.Generator) -> Tensor:
    if train.joint_noise_rad == 0.0:
        return q
    noise = train.joint_noise_rad * _randn(q.shape, q, generator)
    mask = torch.zeros(q.shape[-1], device=q.device)
    for side in SIDES:
        mask[part_indices(f"{side}_hand")] = 1.0
    return q + noise * mask


def _randn(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=like.device)


@cache
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)
