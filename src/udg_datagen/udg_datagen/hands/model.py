"""One hand as flat tensors: kinematic tree, collision spheres, fingertip contacts; quick forward and reverse passes.

The reverse pass turns gradients at points of the hand into gradients of pose and joints by force balance: sum force and
moment over the links that a joint moves, project on its axis; faster than automatic differentiation.
Link 0 is the hand link (root); link k > 0 is the child of joint k - 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_datagen.device import checked_device
from udg_description.errors import HandModelError
from udg_description.layout import Side
from udg_description.transforms import turn_terms


@dataclass(frozen=True, kw_only=True)
class HandSpec:
    """Everything the synthesiser asks of a hand. Joint j moves link j + 1; parents come before children."""

    side: Side
    joint_names: tuple[str, ...]
    parent_link: np.ndarray  # (n,) link that carries joint j
    T_parent_joint: np.ndarray  # (n, 4, 4)
    axis: np.ndarray  # (n, 3) in the joint frame
    lower: np.ndarray  # (n,) [rad]
    upper: np.ndarray  # (n,) [rad]
    effort: np.ndarray  # (n,) [Nm]
    sphere_link: np.ndarray  # (s,)
    sphere_center: np.ndarray  # (s, 3) [m] in the link frame
    sphere_radius: np.ndarray  # (s,) [m]
    guard_center: np.ndarray  # (g, 3) [m] in the hand frame: wrist, kept off table and object like the spheres
    guard_radius: np.ndarray  # (g,) [m]
    surface_link: np.ndarray  # (m,) points on the surface of the collision geometry, for the final check
    surface_point: np.ndarray  # (m, 3) [m] in the link frame
    contact_names: tuple[str, ...]
    contact_link: np.ndarray  # (c,)
    contact_center: np.ndarray  # (c, 3) [m] centre of the pad's sphere in the link frame
    contact_radius: np.ndarray  # (c,) [m]
    contact_axis: np.ndarray  # (c, 3) outward axis of the pad in the link frame
    self_pairs: tuple[np.ndarray, np.ndarray]  # two disjoint sets of spheres that must not meet
    grasp_center: np.ndarray  # (3,) [m] in the hand frame
    palm_normal: np.ndarray  # (3,) in the hand frame, out of the palm
    preshape: np.ndarray  # (n,) [rad] joints at the start of the optimisation

    def __post_init__(self) -> None:
        n = len(self.joint_names)
        for name in ("parent_link", "T_parent_joint", "axis", "lower", "upper", "effort", "preshape"):
            if len(getattr(self, name)) != n:
                raise HandModelError(f"hand '{self.side}': {name} has {len(getattr(self, name))} entries, expected {n}")
        if any(self.parent_link[j] > j for j in range(n)):
            raise HandModelError(f"hand '{self.side}': a joint comes before the joint that carries it")
        if len(self.contact_names) < 2:
            raise HandModelError(f"hand '{self.side}': {len(self.contact_names)} contacts, at least 2 are needed")

    @property
    def finger_direction(self) -> np.ndarray:
        """Unit vector (3,) in the hand frame, across the palm normal, from what carries the hand to the grasp centre.

        Where the one lies straight in front of the other: the coordinate axis that is least along the palm normal.
        """
        back = np.mean(self.guard_center, axis=0) if len(self.guard_center) else np.zeros(3)
        along = np.asarray(self.grasp_center, dtype=np.float64) - back
        across = along - along @ self.palm_normal * np.asarray(self.palm_normal)
        if np.linalg.norm(across) < 1e-6:
            axis = np.eye(3)[np.abs(self.palm_normal).argmin()]
            across = axis - axis @ self.palm_normal * np.asarray(self.palm_normal)
        return across / np.linalg.norm(across)


class HandState(NamedTuple):
    """Poses of all links of a batch, in the frame of the root pose."""

    X: Tensor  # (B, 3, L * 4) rotation columns and origin of each link, side by side
    R: Tensor  # (B, L, 3, 3)
    o: Tensor  # (B, L, 3) [m]
    axis: Tensor  # (B, n, 3) joint axes


class HandModel:
    """`HandSpec` as float32 tensors on one device.

    Points of the hand are columns of X @ W with a constant W (4 L, k) that holds their link coordinates: one matrix
    product for all; the reverse pass is the product with W transposed. Points have the layout (B, 3, k).
    """

    def __init__(self, spec: HandSpec, device: str = "cpu") -> None:
        self.spec = spec
        self.device = checked_device(device)

        def tensor(array: np.ndarray) -> Tensor:
            return torch.tensor(np.asarray(array), dtype=torch.float32, device=device)

        n = len(spec.joint_names)
        depth = [0] * (n + 1)
        for j in range(n):
            depth[j + 1] = depth[spec.parent_link[j]] + 1
        self._levels = [
            torch.tensor([j for j in range(n) if depth[j + 1] == d], device=device) for d in range(1, max(depth) + 1)
        ]
        # Links in order of depth; the position of each joint's parent in that order.
        order = [0] + [int(j) + 1 for level in self._levels for j in level]
        self._to_link_order = torch.tensor(np.argsort(order), device=device)
        position = {link: k for k, link in enumerate(order)}
        parent = torch.tensor([position[int(p)] for p in spec.parent_link], device=device)
        self._level_parents = [parent[level] for level in self._levels]

        terms = turn_terms(np.asarray(spec.T_parent_joint, dtype=np.float64)[:, :3, :3], spec.axis)
        self._local_const, self._local_sin, self._local_cos = map(tensor, terms)
        self._offset = tensor(spec.T_parent_joint[:, :3, 3])
        self._axis = tensor(spec.axis)

        self.lower, self.upper, self.effort = tensor(spec.lower), tensor(spec.upper), tensor(spec.effort)
        self.grasp_center, self.palm_normal = tensor(spec.grasp_center), tensor(spec.palm_normal)
        guards = np.zeros(len(spec.guard_radius), dtype=np.int64)
        links = np.concatenate([spec.sphere_link, guards]).astype(np.int64)
        self.sphere_link = torch.tensor(links, device=device)
        self.sphere_radius = tensor(np.concatenate([spec.sphere_radius, spec.guard_radius]))
        self.contact_link = torch.tensor(np.asarray(spec.contact_link, dtype=np.int64), device=device)
        self.contact_radius = tensor(spec.contact_radius)
        self.self_a, self.self_b = (_index(s, device) for s in spec.self_pairs)

        def columns(link: np.ndarray, xyz: np.ndarray, one: float) -> Tensor:
            W = np.zeros((n + 1, 4, len(link)))
            W[link, :3, np.arange(len(link))] = xyz
            W[link, 3, np.arange(len(link))] = one
            return tensor(W.reshape(4 * (n + 1), len(link)))

        self.W_spheres = columns(links, np.concatenate([spec.sphere_center, spec.guard_center]), 1.0)
        self.W_contacts = columns(spec.contact_link, spec.contact_center, 1.0)
        self.W_axes = columns(spec.contact_link, spec.contact_axis, 0.0)
        self.W_surface = columns(spec.surface_link, spec.surface_point, 1.0)
        self.W_palm = columns(np.zeros(1, dtype=np.int64), np.asarray(spec.palm_normal)[None], 0.0)

        # moves[l, j] = 1 where joint j moves link l; the last column (root) moves all.
        moves = torch.zeros((n + 1, n + 1), device=device)
        moves[:, n] = 1.0
        for link in range(1, n + 1):
            walk = link
            while walk > 0:
                moves[link, walk - 1] = 1.0
                walk = int(spec.parent_link[walk - 1])
        self._moves = moves

    @property
    def n_joints(self) -> int:
        return len(self.spec.joint_names)

    @cached_property
    def span(self) -> float:
        """Distance [m] from the first contact (thumb) to the furthest other one with all joints nearest to zero."""
        q = torch.zeros(1, self.n_joints, device=self.device).clamp(self.lower, self.upper)
        state = self.forward(torch.zeros(1, 3, device=self.device), torch.eye(3, device=self.device)[None], q)
        pads = (state.X @ self.W_contacts)[0]
        return float((pads[:, 1:] - pads[:, :1]).norm(dim=0).max())

    def opposition(self, contacts: tuple[int, ...]) -> np.ndarray:
        """Unit vector (3,) in the hand frame from the first contact to the mean of the others, at the preshape."""
        q = torch.as_tensor(self.spec.preshape, dtype=torch.float32, device=self.device)[None]
        state = self.forward(torch.zeros(1, 3, device=self.device), torch.eye(3, device=self.device)[None], q)
        pads = (state.X @ self.W_contacts)[0].T.double().cpu().numpy()[list(contacts)]
        line = pads[1:].mean(axis=0) - pads[0]
        return line / np.linalg.norm(line)

    def forward(self, origin: Tensor, R: Tensor, q: Tensor) -> HandState:
        """Link poses for root origin (B, 3) [m], root rotation (B, 3, 3) and joints (B, n) [rad]."""
        sin, cos = torch.sin(q)[..., None, None], torch.cos(q)[..., None, None]
        local = self._local_const + sin * self._local_sin + cos * self._local_cos
        all_R, all_o = R[:, None], origin[:, None]
        for level, parents in zip(self._levels, self._level_parents, strict=True):
            R_parent, o_parent = all_R[:, parents], all_o[:, parents]
            R_link = _product(R_parent, local[:, level])
            o_link = o_parent + _product(R_parent, self._offset[level][..., None])[..., 0]
            all_R, all_o = torch.cat([all_R, R_link], 1), torch.cat([all_o, o_link], 1)
        all_R, all_o = all_R[:, self._to_link_order], all_o[:, self._to_link_order]
        axis = _product(all_R[:, 1:], self._axis[..., None])[..., 0]
        X = torch.cat([all_R, all_o[..., None]], dim=-1).permute(0, 2, 1, 3).flatten(2)
        return HandState(X, all_R, all_o, axis)

    def pose_gradient(self, state: HandState, X_gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Force (B, 3), moment about the frame's origin (B, 3) on the whole hand, and joint gradient (B, n).

        `X_gradient` (B, 3, 4 L) is the gradient with respect to `state.X`: sum over terms of G @ W.T for gradients G
        (B, 3, k) of the points X @ W.
        """
        G = X_gradient.unflatten(-1, (self.n_joints + 1, 4)).permute(0, 2, 1, 3)  # (B, L, 3, 4)
        X = state.X.unflatten(-1, (self.n_joints + 1, 4)).permute(0, 2, 1, 3)
        N = (G[..., :, None, :] * X[..., None, :, :]).sum(-1)  # sum over points of g p'
        moment = torch.stack([N[..., 2, 1] - N[..., 1, 2], N[..., 0, 2] - N[..., 2, 0], N[..., 1, 0] - N[..., 0, 1]], 1)
        pull = torch.cat([G[..., 3].transpose(1, 2), moment], dim=1) @ self._moves  # (B, 6, n + 1)
        force, turn = pull[:, :3].transpose(1, 2), pull[:, 3:].transpose(1, 2)
        arm = torch.linalg.cross(state.o[:, 1:], force[:, :-1])
        return force[:, -1], turn[:, -1], (state.axis * (turn[:, :-1] - arm)).sum(-1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b for many 3x3 matrices a (..., 3, 3) and b (..., 3, k): several times faster than matmul on a CPU."""
    out = a[..., :, 0:1] * b[..., 0:1, :]
    out = torch.addcmul(out, a[..., :, 1:2], b[..., 1:2, :])
    return torch.addcmul(out, a[..., :, 2:3], b[..., 2:3, :])


def _index(values: np.ndarray, device: str) -> slice | Tensor:
    """A slice where the positions are consecutive (a view, no copy), else a tensor."""
    values = np.asarray(values, dtype=np.int64)
    if len(values) and np.array_equal(values, np.arange(values[0], values[0] + len(values))):
        return slice(int(values[0]), int(values[0]) + len(values))
    return torch.tensor(values, device=device)
