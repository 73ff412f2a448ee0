"""A dataset in memory, ready for training: sub-sampled points with neighbours, hand poses, chunks of targets.

View i < F is frame i, view F + i its mirror image. A batch follows from view numbers and a generator alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_description.layout import SIDES, mirror_q
from udg_policy import rotations
from udg_policy.config import PolicyConfig, TrainConfig
from udg_policy.dataset import LABEL_LEFT, LABEL_SEEN, Episode, EpisodeDataset
from udg_policy.errors import DatasetError
from udg_policy.hands import grasp_frames
from udg_policy.observation import point_features, proprioception
from udg_policy.point_set import PointSampler
from udg_policy.representation import HANDS, ActionBounds, bounds_of, encode


class Batch(NamedTuple):
    """Inputs of the network and the normalised actions that it shall predict."""

    features: Tensor  # (B, N, f)
    proprioception: Tensor  # (B, p)
    neighbours_1: Tensor  # (B, C1, k1) int64
    neighbours_2: Tensor  # (B, C2, k2) int64
    actions: Tensor  # (B, K, 36) in [-1, 1]


class _Prepared(NamedTuple):
    """One episode after sub-sampling."""

    frames: np.ndarray  # frames that have what the network needs
    points: np.ndarray  # (F, N, 3) float16
    labels: np.ndarray  # (F, N) uint8
    neighbours_1: np.ndarray
    neighbours_2: np.ndarray
    q: np.ndarray  # (T, 36)
    target: np.ndarray  # (T, 36)
    object_name: str


@dataclass(frozen=True)
class _Preparer:
    """Picklable work of one process."""

    config: PolicyConfig

    def __call__(self, episode: Episode) -> _Prepared:
        sampler = PointSampler(self.config.observation, self.config.encoder)
        labels_needed = (LABEL_SEEN,) if self.config.observation.n_whole else (0, 1, 2)
        frames = [t for t in range(len(episode)) if all((episode.cloud_label[t] == i).any() for i in labels_needed)]
        centres = grasp_frames(torch.from_numpy(episode.q))[:, :, :3, 3].numpy()
        sets = []
        for t in frames:
            cloud = np.concatenate([episode.cloud_xyz[t].astype(np.float32),
                                    episode.cloud_label[t][:, None].astype(np.float32)], axis=1)
            sets.append(sampler(cloud, centres[t]))
        points, labels, neighbours_1, neighbours_2 = (
            (np.stack(column) for column in zip(*sets, strict=True)) if sets else [np.zeros(0)] * 4)
        return _Prepared(np.array(frames, dtype=np.int64), points.astype(np.float16), labels, neighbours_1,
                         neighbours_2, episode.q, episode.target, str(episode.meta.get("object", "")))


class _PathPreparer:
    """Reads and prepares the episode of one index."""

    def __init__(self, dataset: EpisodeDataset, config: PolicyConfig) -> None:
        self.dataset = dataset
        self.preparer = _Preparer(config)

    def __call__(self, index: int) -> _Prepared:
        torch.set_num_threads(1)
        return self.preparer(self.dataset[index])


def load_frames(dataset: EpisodeDataset, config: PolicyConfig, processes: int = 1) -> FrameStore:
    """Read and prepare all episodes of a dataset."""
    work = _PathPreparer(dataset, config)
    if processes <= 1:
        return FrameStore(config, (work(i) for i in range(len(dataset))))
    with get_context("spawn").Pool(processes) as pool:
        return FrameStore(config, pool.imap(work, range(len(dataset)), chunksize=4))


def frames_of(episodes: Iterable[Episode], config: PolicyConfig) -> FrameStore:
    """Prepare episodes that are already in memory."""
    preparer = _Preparer(config)
    return FrameStore(config, (preparer(episode) for episode in episodes))


class FrameStore:
    """All frames of a dataset and their mirror images."""

    def __init__(self, config: PolicyConfig, prepared: Iterable[_Prepared]) -> None:
        self.config = config
        kept, chunks, episodes, offset = [], [], [], 0
        self.object_of_episode: list[str] = []
        for number, one in enumerate(prepared):
            self.object_of_episode.append(one.object_name)
            steps = one.frames[:, None] + np.arange(config.decoder.chunk)
            chunks.append(offset + np.minimum(steps, len(one.q) - 1))
            episodes.append(np.full(len(one.frames), number))
            offset += len(one.q)
            kept.append(one)
        if not any(len(one.frames) for one in kept):
            raise DatasetError("dataset: no frame has points of every class that the preset needs")
        used = [one for one in kept if len(one.frames)]
        self.points = torch.from_numpy(np.concatenate([one.points for one in used]))
        self.labels = torch.from_numpy(np.concatenate([one.labels for one in used]))
        self.neighbours_1 = torch.from_numpy(np.concatenate([one.neighbours_1 for one in used]))
        self.neighbours_2 = torch.from_numpy(np.concatenate([one.neighbours_2 for one in used]))
        self.episode = torch.from_numpy(np.concatenate(episodes))
        self.n_frames = len(self.points)
        frame_of = torch.from_numpy(np.concatenate([c[:, 0] for c in chunks]))
        chunk_steps = torch.from_numpy(np.concatenate(chunks))
        steps = offset
        q = np.concatenate([one.q for one in kept]).astype(np.float64)
        target = np.concatenate([one.target for one in kept]).astype(np.float64)
        q_both = torch.from_numpy(np.concatenate([q, mirror_q(q)]))
        target_both = torch.from_numpy(np.concatenate([target, mirror_q(target)]))
        self.q = q_both.float()
        self.target = target_both.float()
        self.T_grasp = grasp_frames(q_both).float()
        self.T_target = grasp_frames(target_both).float()
        # view -> row of q, and rows of the chunk
        self.row = torch.cat([frame_of, frame_of + steps])
        self.chunk_rows = torch.cat([chunk_steps, chunk_steps + steps])

    def views(self, episodes: Tensor, mirrored: bool) -> Tensor:
        """View numbers of the frames of the given episodes, with their mirror images if asked."""
        frames = torch.isin(self.episode, episodes).nonzero()[:, 0]
        return torch.cat([frames, frames + self.n_frames]) if mirrored else frames

    def actions(self, views: Tensor, T_now: Tensor | None = None) -> Tensor:
        """Actions (B, K, 36) in their own units, relative to T_now (B, 2, 4, 4), default the measured poses."""
        rows = self.chunk_rows[views]
        T_now = self.T_grasp[self.row[views]] if T_now is None else T_now
        return encode(self.config.action_space, T_now, self.T_target[rows], self.target[rows])

    def bounds(self, views: Tensor) -> ActionBounds:
        """Bounds of the actions of `views`, with room for the noise of the augmentation."""
        train = self.config.train
        return bounds_of(self.config.action_space, self.actions(views), train.bounds_margin, train.mirror)

    def batch(self, views: Tensor, bounds: ActionBounds, generator: torch.Generator | None = None) -> Batch:
        """The batch of `views`; augmented when a generator is given."""
        observation, train = self.config.observation, self.config.train
        mirrored = views >= self.n_frames
        frames = torch.where(mirrored, views - self.n_frames, views)
        points = self.points[frames].float()
        points[..., 1] *= torch.where(mirrored, -1.0, 1.0)[:, None]
        labels = self.labels[frames]
        labels = torch.where(mirrored[:, None] & (labels > 0), 3 - labels, labels)
        rows = self.row[views]
        q, T_grasp = self.q[rows], self.T_grasp[rows]
        if generator is not None:
            points = self._noisy_points(points, labels, train, generator)
            points, T_grasp = _move_hands(points, labels, T_grasp, train, generator)
            q = _noisy_hand_joints(q, train, generator)
        features = point_features(observation, points, labels, T_grasp)
        state = proprioception(observation, features, labels, T_grasp, q)
        actions = bounds.normalise(self.actions(views, T_grasp)).clamp(-1.0, 1.0)
        return Batch(features, state, self.neighbours_1[frames].long(), self.neighbours_2[frames].long(), actions)

    @staticmethod
    def _noisy_points(points: Tensor, labels: Tensor, train: TrainConfig, generator: torch.Generator) -> Tensor:
        if train.point_noise_m == 0.0 and train.cloud_noise_m == 0.0:
            return points
        noise = train.point_noise_m * torch.randn(points.shape, generator=generator)
        noise += train.cloud_noise_m * torch.randn((len(points), 1, 3), generator=generator)
        return points + noise * (labels == LABEL_SEEN)[..., None]


def _move_hands(points: Tensor, labels: Tensor, T_grasp: Tensor, train: TrainConfig,
                generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Both hands, and their imaged points, at slightly other poses: the targets then lead back to the demonstration."""
    if train.hand_noise_m == 0.0 and train.hand_noise_rad == 0.0:
        return points, T_grasp
    shape = (*T_grasp.shape[:2], 3)
    shift = train.hand_noise_m * torch.randn(shape, generator=generator)
    turn = train.hand_noise_rad * torch.randn(shape, generator=generator)
    T_moved = T_grasp @ rotations.rigid(rotations.rotvec_to_matrix(turn), shift)
    motion = T_moved @ rotations.inverse(T_grasp)
    for side in range(len(SIDES)):
        moved = rotations.transform_points(motion[:, side], points)
        points = torch.where((labels == LABEL_LEFT + side)[..., None], moved, points)
    return points, T_moved


def _noisy_hand_joints(q: Tensor, train: TrainConfig, generator: torch.Generator) -> Tensor:
    if train.joint_noise_rad == 0.0:
        return q
    noise = train.joint_noise_rad * torch.randn(q.shape, generator=generator)
    mask = torch.zeros(q.shape[-1])
    for hand in HANDS:
        mask[hand] = 1.0
    return q + noise * mask
