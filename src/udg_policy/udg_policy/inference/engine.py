"""Inference: scene cloud and joint angles in, a chunk of joint targets out. The same for node, benchmark, rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from udg_description.cloud_labels import LABEL_RIGHT, LABEL_SEEN, LABELS
from udg_description.layout import N_JOINTS
from udg_description.limits import joint_limits
from udg_description.transforms import transform_points
from udg_policy.episodes.grasp import PredictedGrasp
from udg_policy.errors import ObservationError
from udg_policy.hands.poses import grasp_frames_np
from udg_policy.heads import ActionDistribution
from udg_policy.inference.prepared import InferenceConfig, InferenceNetwork
from udg_policy.network.checkpoint import Checkpoint, load_checkpoints
from udg_policy.network.network import GraspOutput, PolicyOutput
from udg_policy.network.observation import network_inputs
from udg_policy.network.point_set import PointSampler
from udg_policy.threads import Team, one_thread

MAX_COORDINATE_M = 10.0  # of a point; what the cameras see is within 2 m
MIN_SEEN_POINTS = 8  # fewer: there is no object to act on, the chunk holds the measured pose


class Prediction(NamedTuple):
    """What a policy wants to do, and the grasp that it is going for."""

    chunk: np.ndarray  # (K, 36) joint targets [rad], one each 0.1 s
    grasp: PredictedGrasp | None  # None without an object, and of a network without grasp queries


class PolicyEngine:
    """A loaded policy. Deterministic: the same observation gives the same chunk."""

    def __init__(
        self, checkpoint: Checkpoint, inference: InferenceConfig | None = None, again: PolicyEngine | None = None
    ) -> None:
        """`inference`: device, threads and precision; default: one thread of the CPU. `again`: another policy, for
        every other attempt; what one gets wrong, another one may not."""
        inference = inference or InferenceConfig()
        self._again = again
        self.config = checkpoint.config
        self.checkpoint = checkpoint
        self._bounds = checkpoint.bounds
        self._seed = inference.seed
        team = Team(inference.threads)
        self._network = InferenceNetwork(self.config, checkpoint.network().state_dict(), inference, team)
        self._sampler = PointSampler(self.config.observation, self.config.encoder, team)

    @classmethod
    def load(cls, folder: str | Path, inference: InferenceConfig | None = None) -> PolicyEngine:
        """The policy of a checkpoint folder, with that of its folder `again`; CheckpointError says what does not
        fit."""
        first, *others = load_checkpoints(folder)
        return cls(first, inference, cls(others[0], inference) if others else None)

    def for_attempt(self, retries: int) -> PolicyEngine:
        """The policy that acts after so many retries: this one first, then by turns."""
        return self if self._again is None or retries % 2 == 0 else self._again

    @property
    def sees_following_error(self) -> bool:
        """Whether it makes a difference what was commanded last."""
        own = self.config.observation.following_error
        return own or (self._again is not None and self._again.sees_following_error)

    @property
    def chunk(self) -> int:
        """Steps of 0.1 s in a chunk."""
        return self.config.decoder.chunk

    @property
    def train_objects(self) -> tuple[str, ...]:
        """Names of the objects that the policy, or the other one, was trained on."""
        again = () if self._again is None else self._again.train_objects
        return tuple(sorted({*self.checkpoint.train_objects, *again}))

    @staticmethod
    def sees_object(points: np.ndarray) -> bool:
        """Whether a cloud (M, 4) has enough seen points to act on."""
        return int(np.count_nonzero(points[:, 3] == LABEL_SEEN)) >= MIN_SEEN_POINTS

    def act(self, points: np.ndarray, q: np.ndarray, commanded: np.ndarray | None = None) -> np.ndarray:
        """Chunk (K, 36) of absolute joint targets [rad], one each 0.1 s, finite and within the limits.

        points (M, 4) float: x, y, z [m, world], label; q (36,) measured joint angles [rad]; commanded (36,): where the
        last command wanted them to be by now, default q. Without an object the chunk holds q. Raises ObservationError
        on a wrong shape, values that are not finite, unknown labels.
        """
        return self.predict(points, q, commanded=commanded).chunk

    def predict(
        self, points: np.ndarray, q: np.ndarray, steps: int | None = None, commanded: np.ndarray | None = None
    ) -> Prediction:
        """The chunk of `act`, and the predicted grasp. `steps`: only the first this many are needed, by a caller who
        plans again before the others: a step costs inverse kinematics of both arms."""
        now = _numbers("joint angles", q)
        last = now if commanded is None else _numbers("commanded joint angles", commanded)
        return self._predict(_numbers("scene cloud", points)[None], now[None], last[None], steps)[0]

    def act_batch(self, points: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Chunks (B, K, 36) for several observations: points (B, M, 4), q (B, 36)."""
        return np.stack([one.chunk for one in self._predict(points, q, q)])

    @torch.inference_mode()
    @one_thread()  # a helper of torch's, woken by one small product, waits busily on a core that the team needs
    def _predict(
        self, points: np.ndarray, q: np.ndarray, commanded: np.ndarray, steps: int | None = None
    ) -> list[Prediction]:
        points, q = _numbers("scene cloud", points), _numbers("joint angles", q).astype(np.float64)
        self._check(points, q)
        if commanded.shape != q.shape or not np.isfinite(commanded).all():
            raise ObservationError(f"commanded joint angles: valid are {N_JOINTS} finite numbers")
        wanted = self.chunk if steps is None else min(steps, self.chunk)
        held = np.repeat(joint_limits().clip(q)[:, None], wanted, axis=1)
        predictions = [Prediction(chunk, None) for chunk in held]
        active = [i for i in range(len(q)) if self.sees_object(points[i])]
        if not active:
            return predictions
        output = self._output(points[active], q[active], commanded[active] - q[active])
        normalised = self._network.action_head.act(output.actions, self._seed)
        actions = self._bounds.denormalise(normalised.numpy())
        for row, i in enumerate(active):
            chunk = self.config.space.decode(actions[row, :wanted], q[i])
            if np.isfinite(actions[row]).all() and np.isfinite(chunk).all():
                predictions[i] = Prediction(chunk, _grasp(output.grasp, row, q[i]))
        return predictions

    @torch.inference_mode()
    @one_thread()
    def distribution(self, points: np.ndarray, q: np.ndarray) -> ActionDistribution:
        """Predicted distribution (1, K, A) of the normalised actions for points (M, 4) and q (36,), as for `act`."""
        points, q = _numbers("scene cloud", points)[None], _numbers("joint angles", q).astype(np.float64)[None]
        self._check(points, q)
        return self._network.action_head.distribution(self._output(points, q).actions)

    def _output(self, points: np.ndarray, q: np.ndarray, following: np.ndarray | None = None) -> PolicyOutput:
        """Of checked observations: points (B, M, 4), q (B, 36), following errors (B, 36)."""
        T_grasp = np.stack([grasp_frames_np(one) for one in q])
        sets = [self._sampler(cloud, T[:, :3, 3]) for cloud, T in zip(points, T_grasp, strict=True)]
        xyz, labels, neighbours_1, neighbours_2 = (
            torch.from_numpy(np.stack(column)) for column in zip(*sets, strict=True)
        )
        frames = torch.from_numpy(T_grasp.astype(np.float32))
        features, beside = network_inputs(
            self.config.observation,
            xyz,
            labels,
            frames,
            torch.from_numpy(q.astype(np.float32)),
            None if following is None else torch.from_numpy(following.astype(np.float32)),
        )
        return self._network(features, beside, neighbours_1, neighbours_2)

    def _check(self, points: np.ndarray, q: np.ndarray) -> None:
        if points.ndim != 3 or points.shape[-1] != 4 or points.shape[1] == 0:
            raise ObservationError(f"scene cloud: shape {points.shape[1:]}, expected (points, 4): x, y, z, label")
        if q.ndim != 2 or q.shape[-1] != N_JOINTS or len(q) != len(points):
            raise ObservationError(f"joint angles: shape {q.shape[1:]}, expected ({N_JOINTS},)")
        if not np.isfinite(points).all():
            raise ObservationError(f"scene cloud: {np.count_nonzero(~np.isfinite(points))} values are not finite")
        if not np.isfinite(q).all():
            raise ObservationError(f"joint angles: joint {int(np.argmax(~np.isfinite(q).all(axis=0)))} is not finite")
        farthest = float(np.abs(points[..., :3]).max())
        if farthest > MAX_COORDINATE_M:
            raise ObservationError(
                f"scene cloud: a coordinate of {farthest:.6g} m; valid are up to "
                f"{MAX_COORDINATE_M:g} m from the world's origin (are these millimetres?)"
            )
        labels = points[..., 3]
        if not ((labels >= LABEL_SEEN) & (labels <= LABEL_RIGHT) & (labels == np.rint(labels))).all():
            raise ObservationError(f"scene cloud: unknown labels; valid are {LABELS}")


def _grasp(grasp: GraspOutput | None, row: int, q: np.ndarray) -> PredictedGrasp | None:
    """One row of the network's output, in the world; None if it is not finite."""
    if grasp is None or not all(bool(torch.isfinite(part[row]).all()) for part in grasp):
        return None
    points_world = transform_points(grasp_frames_np(q), grasp.points[row].numpy().astype(np.float64))
    acting, strategies = grasp.acting[row].sigmoid(), grasp.strategy[row].softmax(dim=-1)
    return PredictedGrasp(points_world, acting.numpy(), strategies.numpy())


def _numbers(what: str, values: np.ndarray) -> np.ndarray:
    """`values` as they are, or as float32 if they are of another kind; numpy would take text and ragged lists."""
    try:
        array = np.asarray(values)
        return array if array.dtype.kind == "f" else array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ObservationError(f"{what}: not an array of numbers: {error}") from error
