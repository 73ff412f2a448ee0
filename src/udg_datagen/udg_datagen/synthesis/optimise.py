"""The upper level: gradient descent on hand pose and joints, with the contact forces of the lower level held fixed.

At the optimum of the lower level the gradient of its value with respect to the pose passes through the grasp map alone
(envelope theorem), so nothing is differentiated through the solver.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from udg_datagen.synthesis import energies, wrench
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.grasp_object import GraspObject
from udg_datagen.synthesis.hand import HandModel, HandState
from udg_datagen.synthesis.initial import HandPose, TablePlane

_BETAS = (0.9, 0.99)
_FINAL_QP_ITERATIONS = 100
_SELF_EVERY = 2  # steps between two looks at the hand's own collisions, which are rare
_SCREEN_PROGRESS = 0.2  # weights at which candidates are compared half-way


class Optimised(NamedTuple):
    """Result of one batch; `alive` marks candidates whose gradients stayed finite."""

    pose: HandPose
    alive: Tensor  # (B,) bool
    energy: Tensor  # (B,) at the final weights
    wrench_residual: Tensor  # (B,) mean over the J wrenches of |w - G f|


class Optimiser:
    """Bilevel optimisation of one hand around one object on a table."""

    def __init__(
        self, obj: GraspObject, hand: HandModel, active: tuple[int, ...], table: TablePlane, config: SynthesisConfig
    ) -> None:
        self._sdf, self._hand, self._config = obj.sdf, hand, config
        device = hand.device
        chosen = torch.tensor(active, device=device)
        self._W_contacts, self._W_axes = hand.W_contacts[:, chosen], hand.W_axes[:, chosen]
        self._W = torch.cat([hand.W_spheres, hand.W_palm, self._W_contacts, self._W_axes], dim=1)
        self._columns = [hand.W_spheres.shape[1], 1, len(active), len(active)]
        self._contact_radius = hand.contact_radius[chosen]
        self._com = torch.as_tensor(obj.com, dtype=torch.float32, device=device)
        self._scale = obj.diagonal / 4.0
        self._up = torch.as_tensor(table.up, dtype=torch.float32, device=device)
        self._offset = table.offset
        self._targets = wrench.target_wrenches(self._up, config.lift_wrench)
        self._edges = wrench.cone_edges(config.friction, config.cone_edges, device)
        margin = torch.full_like(hand.sphere_radius, config.margin_object)
        tips = hand.contact_link[chosen]
        margin[torch.isin(hand.sphere_link, tips)] = config.margin_active_tip
        self._object_radius = hand.sphere_radius + margin
        self._table_radius = hand.sphere_radius + config.margin_table

    def run(self, start: HandPose, keep: int) -> Optimised:
        """Optimise a batch of starts; after `screen_step` steps only the `keep` best of them go on."""
        config, hand = self._config, self._hand
        center, R, q = (x.clone() for x in start)
        rates = torch.cat(
            [
                torch.full((3,), config.lr_translation),
                torch.full((3,), config.lr_rotation),
                torch.full((hand.n_joints,), config.lr_joints),
            ]
        ).to(hand.device)
        first, second = torch.zeros(len(q), len(rates), device=hand.device), torch.zeros_like(rates).expand(len(q), -1)
        alive = torch.ones(len(q), dtype=torch.bool, device=hand.device)
        steps = config.qp_steps + config.refine_steps
        forces: Tensor | None = None
        edge_weights: Tensor | None = None
        reference: Tensor | None = None
        for k in range(steps):
            if k == config.screen_step and len(q) > keep:
                best = self._energy(HandPose(center, R, q), _SCREEN_PROGRESS)[0].nan_to_num(torch.inf)
                best = torch.argsort(torch.where(alive, best, torch.inf), stable=True)[:keep].sort()[0]
                center, R, q, first, second, alive = (x[best] for x in (center, R, q, first, second, alive))
                edge_weights = None
            progress = k / max(steps - 1, 1)
            state = hand.forward(HandPose(center, R, q).origin(hand), R, q)
            if k >= config.qp_steps:
                forces = None
            elif k % config.qp_every == 0:
                edge_weights, forces, reference = self._lower_level(state, edge_weights)
            weights = _blend(config.weight_contact, progress), _blend(config.weight_penetration, progress)
            weight_self = config.weight_self * _SELF_EVERY if k % _SELF_EVERY == 0 else 0.0
            gradient = self._gradient(state, center, forces, reference, *weights, weight_self)
            finite = torch.isfinite(gradient).all(-1)
            alive &= finite
            gradient = torch.where(finite[:, None], gradient, torch.zeros_like(gradient))
            first = _BETAS[0] * first + (1.0 - _BETAS[0]) * gradient
            second = _BETAS[1] * second + (1.0 - _BETAS[1]) * gradient.square()
            rate = rates * (0.5 * (1.0 + torch.cos(torch.tensor(torch.pi * progress))) * 0.98 + 0.02)
            step = first / (1.0 - _BETAS[0] ** (k + 1))
            step = rate * step / ((second / (1.0 - _BETAS[1] ** (k + 1))).sqrt() + 1e-8)
            center = center - step[:, :3]
            R = _rotate(R, -step[:, 3:6])
            q = torch.minimum(torch.maximum(q - step[:, 6:], hand.lower), hand.upper)
        pose = HandPose(center, R, q)
        energy, residual = self._energy(pose, 1.0)
        return Optimised(pose, alive & torch.isfinite(energy), energy, residual)

    def _lower_level(self, state: HandState, warm: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        config = self._config
        points, frames, reference = self._contacts(state)
        A = wrench.grasp_matrix(points, frames, self._com, self._scale, self._edges)
        a = wrench.solve_forces(A, self._targets, config.force_penalty, config.qp_iterations, warm)
        a = torch.nan_to_num(a)
        return a, wrench.local_forces(a, self._edges, points.shape[1]), reference

    def _contacts(self, state: HandState) -> tuple[Tensor, Tensor, Tensor]:
        center = state.X @ self._W_contacts
        _, normal = self._sdf.trilinear(center)
        points = (center - self._contact_radius * normal).transpose(1, 2)
        normal = normal.transpose(1, 2)
        reference = wrench.reference_axes(normal)
        return points, wrench.contact_frames(normal, reference), reference

    def _gradient(
        self,
        state: HandState,
        center: Tensor,
        forces: Tensor | None,
        reference: Tensor | None,
        weight_contact: float,
        weight_penetration: float,
        weight_self: float,
    ) -> Tensor:
        """Gradient (B, 6 + n) with respect to translation, rotation about the grasp centre, and joints."""
        config, hand = self._config, self._hand
        spheres, palm, tip, axis = (state.X @ self._W).split(self._columns, dim=-1)
        inside = energies.penetration(self._sdf, spheres, self._object_radius)
        table = energies.table_penetration(
            spheres, self._table_radius, palm, self._up, self._offset, config.pregrasp_distance
        )
        gradient = weight_penetration * inside.gradient
        gradient.add_(table.gradient, alpha=config.weight_table)
        if weight_self > 0.0:
            gradient.add_(energies.self_penetration(spheres, hand).gradient, alpha=weight_self)

        tip, axis = tip.detach().requires_grad_(), axis.detach().requires_grad_()
        loss = self._tip_energy(tip, axis, forces, reference, weight_contact)[0].sum()
        tip_gradient, axis_gradient = torch.autograd.grad(loss, (tip, axis))
        palm_gradient = config.weight_table * table.palm_gradient
        X_gradient = torch.cat([gradient, palm_gradient, tip_gradient, axis_gradient], dim=-1) @ self._W.T

        force, moment, joints = hand.pose_gradient(state, X_gradient)
        return torch.cat([force, moment - torch.linalg.cross(center, force), joints], dim=-1)

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
        config, hand = self._config, self._hand
        state = hand.forward(pose.origin(hand), pose.R, pose.q)
        points, frames, reference = self._contacts(state)
        A = wrench.grasp_matrix(points, frames, self._com, self._scale, self._edges)
        a = wrench.solve_forces(A, self._targets, config.force_penalty, _FINAL_QP_ITERATIONS)
        forces = wrench.local_forces(a, self._edges, points.shape[1])
        tip, axis = state.X @ self._W_contacts, state.X @ self._W_axes
        weight_contact = _blend(config.weight_contact, progress)
        energy, residual = self._tip_energy(tip, axis, forces, reference, weight_contact)
        energy = energy + config.weight_wrench * config.force_penalty * a.square().flatten(1).sum(-1)
        spheres, palm = state.X @ hand.W_spheres, state.X @ hand.W_palm
        inside = energies.penetration(self._sdf, spheres, self._object_radius).energy
        table = energies.table_penetration(
            spheres, self._table_radius, palm, self._up, self._offset, config.pregrasp_distance
        ).energy
        own = energies.self_penetration(spheres, hand).energy
        energy = energy + _blend(config.weight_penetration, progress) * inside
        return energy + config.weight_table * table + config.weight_self * own, residual.norm(dim=-1).mean(-1)


def _blend(ends: tuple[float, float], progress: float) -> float:
    return float(ends[0] * (ends[1] / ends[0]) ** progress)


def _rotate(R: Tensor, rotvec: Tensor) -> Tensor:
    """exp(rotvec) R for small rotation vectors (B, 3), by a unit quaternion."""
    angle = rotvec.norm(dim=-1, keepdim=True)
    half = 0.5 * angle
    w = torch.cos(half)
    xyz = rotvec * (0.5 * torch.sinc(half / torch.pi))
    twice = 2.0 * torch.linalg.cross(xyz[:, None, :].expand(-1, 3, -1), R.transpose(1, 2))
    turned = R.transpose(1, 2) + w[..., None] * twice + torch.linalg.cross(xyz[:, None, :].expand(-1, 3, -1), twice)
    return turned.transpose(1, 2)
