"""One hand as flat tensors: kinematic tree, collision spheres, fingertip contacts; quick forward and reverse passes.

The reverse pass turns gradients at points of the hand into gradients of pose and joints by force balance: sum force and
moment over the links that a joint moves, project on its axis. It is about twice as quick as automatic differentiation.
Link 0 is the hand link (root); link k > 0 is the child of joint k - 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_datagen.synthesis.errors import HandModelError


@dataclass(frozen=True, kw_only=True)
class HandSpec:
    """Everything the synthesiser asks of a hand. Joint j moves link j + 1; parents come before children."""

    side: str
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


class HandState(NamedTuple):
    """Poses of all links of a batch, in the frame of the root pose."""

    R: Tensor  # (B, n + 1, 3, 3)
    o: Tensor  # (B, n + 1, 3) [m]
    axis: Tensor  # (B, n, 3)


class HandModel:
    """`HandSpec` as float32 tensors on one device."""

    def __init__(self, spec: HandSpec, device: str = "cpu") -> None:
        self.spec = spec
        self.device = device

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

        R_fix = tensor(spec.T_parent_joint[:, :3, :3])
        K = tensor(_skew(np.asarray(spec.axis, dtype=np.float64)))
        eye = torch.eye(3, device=device)
        self._local_const = R_fix @ (eye + K @ K)
        self._local_sin = R_fix @ K
        self._local_cos = -R_fix @ K @ K
        self._offset = tensor(spec.T_parent_joint[:, :3, 3])
        self._axis = tensor(spec.axis)

        self.lower, self.upper, self.effort = tensor(spec.lower), tensor(spec.upper), tensor(spec.effort)
        self.preshape = tensor(spec.preshape)
        self.grasp_center, self.palm_normal = tensor(spec.grasp_center), tensor(spec.palm_normal)
        links = np.concatenate([spec.sphere_link, np.zeros(len(spec.guard_radius), dtype=np.int64)])
        self.sphere_link = torch.as_tensor(links.astype(np.int64), device=device)
        self._sphere_center = tensor(np.concatenate([spec.sphere_center, spec.guard_center]))
        self.sphere_radius = tensor(np.concatenate([spec.sphere_radius, spec.guard_radius]))
        self.contact_link = torch.as_tensor(np.asarray(spec.contact_link, dtype=np.int64), device=device)
        self._contact_center = tensor(spec.contact_center)
        self.contact_radius = tensor(spec.contact_radius)
        self._contact_axis = tensor(spec.contact_axis)
        self.self_a, self.self_b = (
            torch.as_tensor(np.asarray(s, dtype=np.int64), device=device) for s in spec.self_pairs
        )

        # moves[l, j] = 1 where joint j moves link l; the last column (root) moves all.
        moves = torch.zeros((n + 1, n + 1), device=device)
        moves[:, n] = 1.0
        for link in range(1, n + 1):
            walk = link
            while walk > 0:
                moves[link, walk - 1] = 1.0
                walk = int(spec.parent_link[walk - 1])
        self.moves = moves
        self._sphere_moves = moves[self.sphere_link]
        self._contact_moves = moves[self.contact_link]

    @property
    def n_joints(self) -> int:
        return len(self.spec.joint_names)

    def forward(self, origin: Tensor, R: Tensor, q: Tensor) -> HandState:
        """Link poses for root origin (B, 3) [m], root rotation (B, 3, 3) and joints (B, n) [rad]."""
        sin, cos = torch.sin(q)[..., None, None], torch.cos(q)[..., None, None]
        local = self._local_const + sin * self._local_sin + cos * self._local_cos
        all_R, all_o = R[:, None], origin[:, None]
        for level, parents in zip(self._levels, self._level_parents, strict=True):
            R_parent, o_parent = all_R[:, parents], all_o[:, parents]
            R_link = (R_parent[..., :, :, None] * local[:, level][..., None, :, :]).sum(-2)
            o_link = o_parent + (R_parent * self._offset[level][:, None, :]).sum(-1)
            all_R, all_o = torch.cat([all_R, R_link], 1), torch.cat([all_o, o_link], 1)
        all_R, all_o = all_R[:, self._to_link_order], all_o[:, self._to_link_order]
        axis = (all_R[:, 1:] * self._axis[:, None, :]).sum(-1)
        return HandState(all_R, all_o, axis)

    def sphere_points(self, state: HandState) -> Tensor:
        """Centres (B, S, 3) [m] of collision and guard spheres."""
        return (state.R[:, self.sphere_link] * self._sphere_center[:, None, :]).sum(-1) + state.o[:, self.sphere_link]

    def contact_points(self, state: HandState) -> tuple[Tensor, Tensor]:
        """Centres (B, C, 3) [m] of the pads' spheres and their outward axes (B, C, 3)."""
        R = state.R[:, self.contact_link]
        center = (R * self._contact_center[:, None, :]).sum(-1) + state.o[:, self.contact_link]
        return center, (R * self._contact_axis[:, None, :]).sum(-1)

    def pull_spheres(self, points: Tensor, gradient: Tensor) -> Tensor:
        """Force and moment about the frame's origin (B, n + 1, 6) that act on the links each joint (last: root) moves."""
        return _pull(points, gradient, None, self._sphere_moves)

    def pull_contacts(self, points: Tensor, gradient: Tensor, moment: Tensor | None = None) -> Tensor:
        """As `pull_spheres` for contact points (B, C, 3), with an optional free moment (B, C, 3)."""
        return _pull(points, gradient, moment, self._contact_moves)

    def joint_gradient(self, state: HandState, pull: Tensor) -> Tensor:
        """Gradient (B, n) of the joints from `pull` (B, n + 1, 6)."""
        force, moment = pull[:, :-1, :3], pull[:, :-1, 3:]
        return (state.axis * (moment - torch.linalg.cross(state.o[:, 1:], force))).sum(-1)


def _pull(points: Tensor, gradient: Tensor, moment: Tensor | None, moves: Tensor) -> Tensor:
    turn = torch.linalg.cross(points, gradient)
    if moment is not None:
        turn = turn + moment
    both = torch.cat([gradient, turn], dim=-1)  # (B, k, 6)
    return (both.transpose(1, 2) @ moves).transpose(1, 2)


def _skew(v: np.ndarray) -> np.ndarray:
    out = np.zeros(v.shape[:-1] + (3, 3))
    out[..., 0, 1], out[..., 0, 2] = -v[..., 2], v[..., 1]
    out[..., 1, 0], out[..., 1, 2] = v[..., 2], -v[..., 0]
    out[..., 2, 0], out[..., 2, 1] = -v[..., 1], v[..., 0]
    return out
