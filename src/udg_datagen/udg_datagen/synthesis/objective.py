"""What the descents go down: energies of hand poses and joints, the contact forces of the lower level held fixed.

At the optimum of the lower level the gradient of its value with respect to the pose passes through the grasp map alone
(envelope theorem), so nothing is differentiated through the solver. The contacts of all hands share one lower level.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from udg_datagen.hands.model import HandState
from udg_datagen.synthesis import energies, wrench
from udg_datagen.synthesis.initial import HandPose
from udg_datagen.synthesis.near import Nearness
from udg_datagen.synthesis.problem import Problem

_FINAL_QP_ITERATIONS = 100


class Weights(NamedTuple):
    """Weights of the terms that change from step to step."""

    contact: float
    penetration: float
    own: float
    hands: float


class Objective:
    """Bilevel objective of one or two hands around one object on a table (paper IV-A, eq. 6), of batches of poses."""

    def __init__(self, problem: Problem) -> None:
        obj, hands, active, table, config, _, near = problem
        self._sdf, self._hands, self._config = obj.sdf, hands, config
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
        margins = []
        for hand, c in zip(hands, chosen, strict=True):
            margin = torch.full_like(hand.sphere_radius, config.margin_object)
            margin[torch.isin(hand.sphere_link, hand.contact_link[c])] = config.margin_active_tip
            margins.append(margin)
        self._object_radius = torch.cat([hand.sphere_radius for hand in hands]) + torch.cat(margins)
        self._table_radius = [hand.sphere_radius + config.margin_table for hand in hands]
        self._hands_radius = [hand.sphere_radius + 0.5 * config.margin_hands for hand in hands]

    def lower_level(self, states: list[HandState], warm: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Contact forces: weights of the cones' edges, found from `warm` on; forces; reference axes of the frames."""
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

    def gradient(
        self,
        pose: HandPose,
        states: list[HandState],
        forces: Tensor | None,
        reference: Tensor | None,
        weights: Weights,
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
            parts.append(torch.cat([force, moment - torch.linalg.cross(pose.center[:, h], force), joints], dim=-1))
        gradient = torch.stack(parts, dim=1)
        if self._near is None:
            return gradient
        return gradient + config.weight_near * self._near.gradient(*pose)

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

    def energy(self, pose: HandPose, progress: float) -> tuple[Tensor, Tensor]:
        """Energy (B,) with the weights at `progress`, the lower level solved to convergence; mean wrench residual."""
        config = self._config
        states = pose.forward(self._hands)
        points, frames, reference = self._contact_frames(states)
        A = wrench.grasp_matrix(points, frames, self._com, self._scale, self._edges)
        a = wrench.solve_forces(A, self._targets, config.force_penalty, _FINAL_QP_ITERATIONS)
        forces = wrench.local_forces(a, self._edges, points.shape[1])
        tip, axis = _joined(states, self._W_contacts), _joined(states, self._W_axes)
        weight_contact = blend(config.weight_contact, progress)
        energy, residual = self._tip_energy(tip, axis, forces, reference, weight_contact)
        energy = energy + config.weight_wrench * config.force_penalty * a.square().flatten(1).sum(-1)
        spheres = [state.X @ hand.W_spheres for state, hand in zip(states, self._hands, strict=True)]
        inside = energies.penetration(self._sdf, torch.cat(spheres, -1), self._object_radius).energy
        energy = energy + blend(config.weight_penetration, progress) * inside
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


def blend(ends: tuple[float, float], progress: float) -> float:
    """A weight at a progress of 0 to 1 between its values at both ends, geometrically."""
    return float(ends[0] * (ends[1] / ends[0]) ** progress)
