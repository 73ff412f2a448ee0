"""The upper level: gradient descent on hand poses and joints, with the contact forces of the lower level held fixed.

At the optimum of the lower level the gradient of its value with respect to the pose passes through the grasp map alone
(envelope theorem), so nothing is differentiated through the solver. The contacts of all hands share one lower level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from udg_datagen.hands.model import HandModel, HandState
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.synthesis import energies, wrench
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.descent import HANDS_EVERY, SELF_EVERY, Descent
from udg_datagen.synthesis.initial import HandPose, TablePlane
from udg_datagen.synthesis.near import Near, Nearness

_BETAS = (0.9, 0.99)
_FINAL_QP_ITERATIONS = 100
_SCREEN_PROGRESS = 0.2  # weights at which candidates are compared half-way


class Optimised(NamedTuple):
    """Result of one batch; `alive` marks candidates whose gradients stayed finite."""

    pose: HandPose
    alive: Tensor  # (B,) bool
    energy: Tensor  # (B,) at the final weights
    wrench_residual: Tensor  # (B,) mean over the J wrenches of |w - G f|


class _Weights(NamedTuple):
    contact: float
    penetration: float
    own: float
    hands: float


class Optimiser:
    """Bilevel optimisation of one or two hands around one object on a table (paper IV-A, eq. 6), by Adam.

    Args:
        active: for each hand the positions of the contacts that carry the object.
        near: reference poses of the hands, in the object frame; nearer grasps have less energy.
    """

    def __init__(
        self,
        obj: GraspObject,
        hands: Sequence[HandModel],
        active: Sequence[tuple[int, ...]],
        table: TablePlane,
        config: SynthesisConfig,
        near: Near | None = None,
    ) -> None:
        self._sdf, self._hands, self._config = obj.sdf, tuple(hands), config
        device = hands[0].device
        self._near = None if near is None else Nearness(near, hands, config)
        chosen = [torch.tensor(contacts, device=device) for contacts in active]
        self._W_contacts = [hand.W_contacts[:, c] for hand, c in zip(hands, chosen, strict=True)]
        self._W_axes = [hand.W_axes[:, c] for hand, c in zip(hands, chosen, strict=True)]
        self._W = [
            torch.cat([hand.W_spheres, hand.W_palm, contacts, axes], dim=1)
            for hand, contacts, axes in zip(hands, self._W_contacts, self._W_axes, strict=True)
        ]
        self._columns = [[hand.W_spheres.shape[1], 1, len(c), len(c)] for hand, c in zip(hands, active, strict=True)]
        self._spheres = [columns[0] for columns in self._columns]
        self._contacts = [columns[2] for columns in self._columns]
        self._contact_radius = torch.cat([hand.contact_radius[c] for hand, c in zip(hands, chosen, strict=True)])
        self._com = torch.as_tensor(obj.com, dtype=torch.float32, device=device)
        self._scale = obj.wrench_scale
        self._up = torch.as_tensor(table.up, dtype=torch.float32, device=device)
        self._offset = table.offset
        self._targets = wrench.target_wrenches(self._up, config.lift_wrench, config.force_wrench)
        self._edges = wrench.cone_edges(config.friction, config.cone_edges, device)
        self._problem = (obj, self._hands, active, table, config, near)
        margins = []
        for hand, c in zip(hands, chosen, strict=True):
            margin = torch.full_like(hand.sphere_radius, config.margin_object)
            margin[torch.isin(hand.sphere_link, hand.contact_link[c])] = config.margin_active_tip
            margins.append(margin)
        self._object_radius = torch.cat([hand.sphere_radius for hand in hands]) + torch.cat(margins)
        self._table_radius = [hand.sphere_radius + config.margin_table for hand in hands]
        self._hands_radius = [hand.sphere_radius + 0.5 * config.margin_hands for hand in hands]

    def run(self, start: HandPose, keep: int) -> Optimised:
        """Optimise a batch of starts, in the object frame; after `screen_step` steps only the `keep` best go on."""
        pose, alive = self.descend(start, keep) if start.q.device.type == "cpu" else self.descend_batch(start, keep)
        energy, residual = self._energy(pose, 1.0)
        return Optimised(pose, alive & torch.isfinite(energy), energy, residual)

    def descend(self, start: HandPose, keep: int) -> tuple[HandPose, Tensor]:
        """Poses at which the candidates of a batch end, and whether they are alive (B,) bool; one by one, on a CPU."""
        config = self._config
        descent, begin = Descent(*self._problem, start), 0
        if len(start.q) > keep:
            descent.run(0, config.screen_step)
            descent.keep(self._best(descent.pose, descent.alive, keep))
            begin = config.screen_step
        descent.run(begin, config.qp_steps + config.refine_steps)
        return descent.pose, descent.alive

    def _best(self, pose: HandPose, alive: Tensor, keep: int) -> Tensor:
        """The `keep` best candidates half-way, in their order."""
        energy = self._energy(pose, _SCREEN_PROGRESS)[0].nan_to_num(torch.inf)
        return torch.argsort(torch.where(alive, energy, torch.inf), stable=True)[:keep].sort()[0]

    def descend_batch(self, start: HandPose, keep: int) -> tuple[HandPose, Tensor]:
        """As `descend`, of all candidates at once, on any device."""
        config, hands = self._config, self._hands
        center, R, q = (x.clone() for x in start)
        lower = torch.stack([hand.lower for hand in hands])
        upper = torch.stack([hand.upper for hand in hands])
        rates = torch.cat(
            [
                torch.full((3,), config.lr_translation),
                torch.full((3,), config.lr_rotation),
                torch.full((q.shape[-1],), config.lr_joints),
            ]
        ).to(q.device)
        first = torch.zeros(*q.shape[:2], len(rates), device=q.device)
        second = torch.zeros_like(first)
        alive = torch.ones(len(q), dtype=torch.bool, device=q.device)
        steps = config.qp_steps + config.refine_steps
        forces: Tensor | None = None
        edge_weights: Tensor | None = None
        reference: Tensor | None = None
        for k in range(steps):
            if k == config.screen_step and len(q) > keep:
                best = self._best(HandPose(center, R, q), alive, keep)
                center, R, q, first, second, alive = (x[best] for x in (center, R, q, first, second, alive))
                edge_weights = None
            progress = k / max(steps - 1, 1)
            states = HandPose(center, R, q).forward(hands)
            if k >= config.qp_steps:
                forces = None
            elif k % config.qp_every == 0:
                edge_weights, forces, reference = self._lower_level(states, edge_weights)
            weights = _Weights(
                _blend(config.weight_contact, progress),
                _blend(config.weight_penetration, progress),
                config.weight_self * SELF_EVERY if k % SELF_EVERY == 0 else 0.0,
                config.weight_hands * HANDS_EVERY if k % HANDS_EVERY == 0 and len(hands) == 2 else 0.0,
            )
            gradient = self._gradient(states, center, forces, reference, weights)
            if self._near is not None:
                gradient = gradient + config.weight_near * self._near.gradient(center, R, q)
            finite = torch.isfinite(gradient).flatten(1).all(-1)
            alive &= finite
            gradient = torch.where(finite[:, None, None], gradient, torch.zeros_like(gradient))
            first = _BETAS[0] * first + (1.0 - _BETAS[0]) * gradient
            second = _BETAS[1] * second + (1.0 - _BETAS[1]) * gradient.square()
            rate = rates * (0.5 * (1.0 + torch.cos(torch.tensor(torch.pi * progress))) * 0.98 + 0.02)
            step = first / (1.0 - _BETAS[0] ** (k + 1))
            step = rate * step / ((second / (1.0 - _BETAS[1] ** (k + 1))).sqrt() + 1e-8)
            center = center - step[..., :3]
            R = _rotate(R, -step[..., 3:6])
            q = torch.minimum(torch.maximum(q - step[..., 6:], lower), upper)
        return HandPose(center, R, q), alive

    def _lower_level(self, states: list[HandState], warm: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        config = self._config
        points, frames, reference = self._contact_frames(states)
        A = wrench.grasp_matrix(points, frames, self._com, self._scale, self._edges)
        a = wrench.solve_forces(A, self._targets, config.force_penalty, config.qp_iterations, warm)
        a = torch.nan_to_num(a)
        return a, wrench.local_forces(a, self._edges, points.shape[1]), reference

    def _contact_frames(self, states: list[HandState]) -> tuple[Tensor, Tensor, Tensor]:
        center = _joined(states, self._W_contacts)
        _, normal = self._sdf.trilinear(center)
        points = (center - self._contact_radius * normal).transpose(1, 2)
        normal = normal.transpose(1, 2)
        reference = wrench.reference_axes(normal)
        return points, wrench.contact_frames(normal, reference), reference

    def _gradient(
        self,
        states: list[HandState],
        center: Tensor,
        forces: Tensor | None,
        reference: Tensor | None,
        weights: _Weights,
    ) -> Tensor:
        """Gradient (B, H, 6 + n) with respect to translation, rotation about the grasp centre, and joints."""
        config = self._config
        points = [
            (state.X @ W).split(columns, dim=-1)
            for state, W, columns in zip(states, self._W, self._columns, strict=True)
        ]
        inside = energies.penetration(self._sdf, torch.cat([p[0] for p in points], -1), self._object_radius)
        sphere_gradient = list((weights.penetration * inside.gradient).split(self._spheres, dim=-1))
        palm_gradient = []
        for h, hand in enumerate(self._hands):
            spheres, palm = points[h][:2]
            table = energies.table_penetration(
                spheres, self._table_radius[h], palm, self._up, self._offset, config.pregrasp_distance
            )
            sphere_gradient[h] = sphere_gradient[h] + config.weight_table * table.gradient
            palm_gradient.append(config.weight_table * table.palm_gradient)
            if weights.own > 0.0:
                own = energies.self_penetration(spheres, hand)
                sphere_gradient[h] = sphere_gradient[h] + weights.own * own.gradient
        if weights.hands > 0.0:
            between = energies.hand_hand_penetration(
                points[0][0], self._hands_radius[0], points[1][0], self._hands_radius[1]
            )
            for h in (0, 1):
                sphere_gradient[h] = sphere_gradient[h] + weights.hands * between.gradients[h]

        tip = torch.cat([p[2] for p in points], -1).detach().requires_grad_()
        axis = torch.cat([p[3] for p in points], -1).detach().requires_grad_()
        loss = self._tip_energy(tip, axis, forces, reference, weights.contact)[0].sum()
        tip_gradient, axis_gradient = (x.split(self._contacts, dim=-1) for x in torch.autograd.grad(loss, (tip, axis)))
        parts = []
        for h, hand in enumerate(self._hands):
            gradient = torch.cat([sphere_gradient[h], palm_gradient[h], tip_gradient[h], axis_gradient[h]], dim=-1)
            force, moment, joints = hand.pose_gradient(states[h], gradient @ self._W[h].T)
            parts.append(torch.cat([force, moment - torch.linalg.cross(center[:, h], force), joints], dim=-1))
        return torch.stack(parts, dim=1)

    def _tip_energy(
        self, tip: Tensor, axis: Tensor, forces: Tensor | None, reference: Tensor | None, weight_contact: float
    ) -> tuple[Tensor, Tensor]:
        """Energy (B,) of contact distance, pad alignment and wrench error; the wrench residual (B, J, 6)."""
        config = self._config
        distance, normal = self._sdf.trilinear(tip)
        energy = weight_contact * energies.contact_distance(distance - self._contact_radius)
        energy = energy + config.weight_pad * energies.pad_alignment(axis, normal, config.pad_cosine)
        if forces is None or reference is None:
            return energy, torch.zeros(0)
        points = (tip - self._contact_radius * normal).transpose(1, 2)
        frames = wrench.contact_frames(normal.transpose(1, 2), reference)
        residual = wrench.wrench_residual(points, frames, forces, self._targets, self._com, self._scale)
        return energy + config.weight_wrench * residual.square().flatten(1).sum(-1), residual

    def _energy(self, pose: HandPose, progress: float) -> tuple[Tensor, Tensor]:
        """Energy (B,) with the weights at `progress`, the lower level solved to convergence; mean wrench residual."""
        config = self._config
        states = pose.forward(self._hands)
        points, frames, reference = self._contact_frames(states)
        A = wrench.grasp_matrix(points, frames, self._com, self._scale, self._edges)
        a = wrench.solve_forces(A, self._targets, config.force_penalty, _FINAL_QP_ITERATIONS)
        forces = wrench.local_forces(a, self._edges, points.shape[1])
        tip, axis = _joined(states, self._W_contacts), _joined(states, self._W_axes)
        weight_contact = _blend(config.weight_contact, progress)
        energy, residual = self._tip_energy(tip, axis, forces, reference, weight_contact)
        energy = energy + config.weight_wrench * config.force_penalty * a.square().flatten(1).sum(-1)
        spheres = [state.X @ hand.W_spheres for state, hand in zip(states, self._hands, strict=True)]
        inside = energies.penetration(self._sdf, torch.cat(spheres, -1), self._object_radius).energy
        energy = energy + _blend(config.weight_penetration, progress) * inside
        for h, hand in enumerate(self._hands):
            table = energies.table_penetration(
                spheres[h],
                self._table_radius[h],
                states[h].X @ hand.W_palm,
                self._up,
                self._offset,
                config.pregrasp_distance,
            )
            own = energies.self_penetration(spheres[h], hand)
            energy = energy + config.weight_table * table.energy + config.weight_self * own.energy
        if len(self._hands) == 2:
            between = energies.hand_hand_penetration(
                spheres[0], self._hands_radius[0], spheres[1], self._hands_radius[1]
            )
            energy = energy + config.weight_hands * between.energy
        if self._near is not None:
            energy = energy + config.weight_near * self._near.distance(*pose)
        return energy, residual.norm(dim=-1).mean(-1)


def _joined(states: list[HandState], W: list[Tensor]) -> Tensor:
    """Points X @ W of all hands side by side."""
    return torch.cat([state.X @ w for state, w in zip(states, W, strict=True)], -1)


def _blend(ends: tuple[float, float], progress: float) -> float:
    return float(ends[0] * (ends[1] / ends[0]) ** progress)


def _rotate(R: Tensor, rotvec: Tensor) -> Tensor:
    """exp(rotvec) R for small rotation vectors (..., 3), by a unit quaternion."""
    half = 0.5 * rotvec.norm(dim=-1, keepdim=True)
    w = torch.cos(half)[..., None]
    xyz = (rotvec * (0.5 * torch.sinc(half / torch.pi)))[..., None, :].expand(R.shape)
    columns = R.transpose(-1, -2)
    twice = 2.0 * torch.linalg.cross(xyz, columns)
    return (columns + w * twice + torch.linalg.cross(xyz, twice)).transpose(-1, -2)
