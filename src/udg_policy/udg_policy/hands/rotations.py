"""Rotations and rigid transforms in torch, batched; the numpy twins are in udg_description.transforms."""

from __future__ import annotations

import torch
from torch import Tensor


def rotvec_to_matrix(rotvec: Tensor) -> Tensor:
    """Rotations (..., 3, 3) of rotation vectors (..., 3) [rad]."""
    angle = torch.linalg.vector_norm(rotvec, dim=-1)[..., None, None]
    x, y, z = rotvec.unbind(dim=-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    first = torch.sinc(angle / torch.pi)
    second = 0.5 * torch.sinc(angle / (2.0 * torch.pi)) ** 2
    return torch.eye(3, dtype=rotvec.dtype, device=rotvec.device) + first * K + second * (K @ K)


def matrix_to_rotvec(rotation: Tensor) -> Tensor:
    """Rotation vectors (..., 3) [rad] of rotations (..., 3, 3), for angles below about 3.1 rad."""
    sine_axis = 0.5 * torch.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        dim=-1,
    )
    sine = torch.linalg.vector_norm(sine_axis, dim=-1)
    cosine = 0.5 * (rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0)
    angle = torch.atan2(sine, cosine)
    return sine_axis * torch.where(sine > 1e-6, angle / sine.clamp_min(1e-6), torch.ones_like(sine))[..., None]


def inverse(T: Tensor) -> Tensor:
    """Inverses of rigid transforms (..., 4, 4)."""
    rotation = T[..., :3, :3].transpose(-1, -2)
    return rigid(rotation, -(rotation @ T[..., :3, 3:])[..., 0])


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """(..., 4, 4) of rotations (..., 3, 3) and translations (..., 3)."""
    top = torch.cat([rotation, translation[..., None]], dim=-1)
    bottom = torch.eye(4, dtype=rotation.dtype, device=rotation.device)[3:].expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def transform_points(T: Tensor, points: Tensor) -> Tensor:
    """T (..., 4, 4) applied to points (..., N, 3). Each coordinate lies together in memory: the faster product."""
    return (T[..., :3, :3] @ points.transpose(-1, -2) + T[..., :3, 3:]).transpose(-1, -2)
