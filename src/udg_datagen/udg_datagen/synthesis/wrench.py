"""The lower level: contact forces in linearised friction cones that best produce given wrenches.

Wrenches are (force, torque / length scale) about the centre of mass, both in the object frame. Forces are in units of
the targets, friction is Coulomb's: |tangential| <= friction * normal, the cone a pyramid of E edges. B candidates, C
contacts, J targets; points [m] and unit normals out of the object, in the object frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def target_wrenches(up: Tensor, lift: float = 1.0, force: float = 1.0) -> Tensor:
    """The J = 12 wrenches (12, 6) to be made: force along and torque about three axes, both ways; torques of size 1.

    The third axis is `up` (3,); the force along it, which holds the weight, has the size `lift`, the other forces,
    which resist pulls, the size `force`.
    """
    first = torch.linalg.cross(up, reference_axes(up))
    first = first / first.norm()
    axes = torch.stack([first, torch.linalg.cross(up, first), up])
    half = torch.block_diag(axes, axes)
    targets = torch.cat([half, -half])
    targets[:, :3] *= force
    targets[2, :3] *= lift / force
    return targets


def reference_axes(normals: Tensor) -> Tensor:
    """Coordinate axis (..., 3) least aligned with each normal (..., 3): it fixes the direction of the tangents."""
    return torch.nn.functional.one_hot(normals.abs().argmin(-1), 3).to(normals.dtype)


def contact_frames(normals: Tensor, reference: Tensor) -> Tensor:
    """Frames (..., 3, 3) whose columns are the inward normal (-normals) and two tangents; differentiable in normals.

    normals, reference: (..., 3); the first tangent is the part of `reference` across the normal.
    """
    inward = -normals
    first = reference - (reference * inward).sum(-1, keepdim=True) * inward
    first = first / first.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return torch.stack([inward, first, torch.linalg.cross(inward, first)], dim=-1)


def cone_edges(friction: float, n_edges: int, device: str = "cpu") -> Tensor:
    """Edges (n_edges, 3) of the friction pyramid with unit normal force, in the contact frame."""
    angle = torch.arange(n_edges, device=device) * (2.0 * math.pi / n_edges)
    return torch.stack([torch.ones_like(angle), friction * torch.cos(angle), friction * torch.sin(angle)], dim=-1)


def grasp_map(points: Tensor, frames: Tensor, com: Tensor, scale: float) -> Tensor:
    """Transposed grasp map G' (B, C * 3, 6) of contacts at `points` (B, C, 3) with `frames` (B, C, 3, 3).

    Row (c, i) is the wrench of a unit force along axis i of contact c. `com` (3,) [m] is the centre of mass, `scale`
    [m] the length that torques are divided by. Differentiable.
    """
    forces = frames.transpose(-1, -2)
    arms = (points - com)[:, :, None].expand_as(forces)
    return torch.cat([forces, torch.linalg.cross(arms, forces) / scale], dim=-1).flatten(1, 2)


def grasp_matrix(points: Tensor, frames: Tensor, com: Tensor, scale: float, edges: Tensor) -> Tensor:
    """Wrench basis (B, 6, C * E) of the edges (E, 3) of the friction pyramids; the rest as for `grasp_map`."""
    basis = edges @ grasp_map(points, frames, com, scale).unflatten(1, (-1, 3))
    return basis.flatten(1, 2).transpose(1, 2)


def solve_forces(A: Tensor, targets: Tensor, penalty: float, iterations: int, start: Tensor | None = None) -> Tensor:
    """Minimise |w - A a|^2 + penalty |a|^2 over a >= 0 by accelerated projected gradient.

    FISTA (Beck and Teboulle 2009), `iterations` steps from `start`, or from zero.

    `A` (B, 6, k), `targets` (J, 6) or (B, J, 6), `start` (B, J, k); returns a (B, J, k). The step comes from the
    Frobenius norm of A A', an upper bound of its largest eigenvalue: a power iteration under-estimates and diverges.
    """
    if targets.dim() == 2:
        targets = targets.expand(A.shape[0], -1, -1)
    At = A.transpose(1, 2)
    bound = (A @ At).flatten(1).norm(dim=1) + penalty
    step = (1.0 / bound.clamp(min=1e-6))[:, None, None]
    eye = torch.eye(A.shape[2], device=A.device)
    descend = eye - step * (At @ A + penalty * eye)  # one gradient step is y @ descend + shift
    shift = step * (targets @ A)
    a = torch.zeros_like(shift) if start is None else start
    y, t = a, 1.0
    for _ in range(iterations):
        new = torch.baddbmm(shift, y, descend).clamp_(min=0.0)
        t_new = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
        y = torch.lerp(a, new, 1.0 + (t - 1.0) / t_new)
        a, t = new, t_new
    return a


def local_forces(a: Tensor, edges: Tensor, n_contacts: int) -> Tensor:
    """Forces (B, J, C, 3) in the contact frames from edge weights a (B, J, C * E)."""
    return a.unflatten(-1, (n_contacts, edges.shape[0])) @ edges


def wrench_residual(
    points: Tensor, frames: Tensor, forces: Tensor, targets: Tensor, com: Tensor, scale: float
) -> Tensor:
    """Residual w - G f (B, J, 6) of `forces` (B, J, C, 3) in the contact frames; differentiable in points and frames.

    `targets` (J, 6) are the wrenches w; the rest as for `grasp_map`.
    """
    return targets - forces.flatten(2) @ grasp_map(points, frames, com, scale)
