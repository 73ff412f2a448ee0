"""The descent of a batch by tensors, all candidates at once, on any device: the steps of `descent`, by Adam."""

from __future__ import annotations

import torch
from torch import Tensor

from udg_datagen.synthesis.descent import HANDS_EVERY, SELF_EVERY
from udg_datagen.synthesis.initial import HandPose
from udg_datagen.synthesis.objective import Objective, Weights, blend
from udg_datagen.synthesis.problem import Problem

_BETAS = (0.9, 0.99)


class BatchDescent:
    """As `Descent`, in single precision."""

    def __init__(self, problem: Problem, start: HandPose) -> None:
        """Take the B candidates to start from, in the object frame."""
        self._objective, self._config = Objective(problem), problem.config
        self.pose = HandPose(*(x.clone() for x in start))
        """Where the candidates are, in the object frame."""
        q = self.pose.q
        self._lower = torch.stack([hand.lower for hand in problem.hands])
        self._upper = torch.stack([hand.upper for hand in problem.hands])
        self._hands, config = problem.hands, problem.config
        self._rates = torch.cat(
            [
                torch.full((3,), config.lr_translation),
                torch.full((3,), config.lr_rotation),
                torch.full((q.shape[-1],), config.lr_joints),
            ]
        ).to(q.device)
        self._first = torch.zeros(*q.shape[:2], len(self._rates), device=q.device)
        self._second = torch.zeros_like(self._first)
        self.alive = torch.ones(len(q), dtype=torch.bool, device=q.device)
        """Candidates (B,) bool whose gradients stayed finite."""
        self._forces: Tensor | None = None
        self._edge_weights: Tensor | None = None
        self._reference: Tensor | None = None

    def run(self, begin: int, end: int) -> None:
        """Do the steps from `begin` to before `end`, of all candidates that there still are."""
        for k in range(begin, end):
            self._step(k)

    def keep(self, index: Tensor) -> None:
        """Go on with the candidates at `index` (K,) alone, in that order; the lower level is solved anew."""
        self.pose, self.alive = self.pose.take(index), self.alive[index]
        self._first, self._second = self._first[index], self._second[index]
        self._forces = self._edge_weights = self._reference = None

    def _step(self, k: int) -> None:
        config, (center, R, q) = self._config, self.pose
        steps = config.qp_steps + config.refine_steps
        progress = k / max(steps - 1, 1)
        states = self.pose.forward(self._hands)
        if k >= config.qp_steps:
            self._forces = None
        elif k % config.qp_every == 0:
            self._edge_weights, self._forces, self._reference = self._objective.lower_level(states, self._edge_weights)
        weights = Weights(
            blend(config.weight_contact, progress),
            blend(config.weight_penetration, progress),
            config.weight_self * SELF_EVERY if k % SELF_EVERY == 0 else 0.0,
            config.weight_hands * HANDS_EVERY if k % HANDS_EVERY == 0 and len(self._hands) == 2 else 0.0,
        )
        gradient = self._objective.gradient(self.pose, states, self._forces, self._reference, weights)
        finite = torch.isfinite(gradient).flatten(1).all(-1)
        self.alive = self.alive & finite
        gradient = torch.where(finite[:, None, None], gradient, torch.zeros_like(gradient))
        self._first = _BETAS[0] * self._first + (1.0 - _BETAS[0]) * gradient
        self._second = _BETAS[1] * self._second + (1.0 - _BETAS[1]) * gradient.square()
        rate = self._rates * (0.5 * (1.0 + torch.cos(torch.tensor(torch.pi * progress))) * 0.98 + 0.02)
        step = self._first / (1.0 - _BETAS[0] ** (k + 1))
        step = rate * step / ((self._second / (1.0 - _BETAS[1] ** (k + 1))).sqrt() + 1e-8)
        self.pose = HandPose(
            center - step[..., :3],
            rotate(R, -step[..., 3:6]),
            torch.minimum(torch.maximum(q - step[..., 6:], self._lower), self._upper),
        )


def rotate(R: Tensor, rotvec: Tensor) -> Tensor:
    """exp(rotvec) R for small rotation vectors (..., 3), by a unit quaternion."""
    half = 0.5 * rotvec.norm(dim=-1, keepdim=True)
    w = torch.cos(half)[..., None]
    xyz = (rotvec * (0.5 * torch.sinc(half / torch.pi)))[..., None, :].expand(R.shape)
    columns = R.transpose(-1, -2)
    twice = 2.0 * torch.linalg.cross(xyz, columns)
    return (columns + w * twice + torch.linalg.cross(xyz, twice)).transpose(-1, -2)
