"""RobotModel: forward kinematics of the robot or a part of it; batched and differentiable in torch, quick in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from udg_description.errors import RobotModelError
from udg_description.layout import JOINT_NAMES, part_indices
from udg_description.robot import current_robot
from udg_description.sides import Side
from udg_description.transforms import turn_terms
from udg_description.urdf import Joint, Primitive, Urdf, load_urdf

__all__ = ["Primitive", "RobotModel"]


class _Level(NamedTuple):
    """Joints of one depth of the tree: their columns in q and their parents' places in the level above."""

    columns: torch.Tensor
    parents: torch.Tensor


class JointTables(NamedTuple):
    """Forward kinematics for loops of one's own: T_parent_joint(q) = constant + sin * sin(q) + cos * cos(q).

    Row i is of the i-th moving frame, in an order in which parents come first; frame 0 is the root.
    """

    constant: np.ndarray  # (n, 3, 4)
    sin: np.ndarray  # (n, 3, 4)
    cos: np.ndarray  # (n, 3, 4)
    columns: np.ndarray  # (n,) place of the joint in q
    parents: np.ndarray  # (n,) frame that carries it
    axis: np.ndarray  # (n, 3) of the joint in the frame that it moves
    link_frame: np.ndarray  # (L,) frame that carries a link
    T_frame_link: np.ndarray  # (L, 4, 4)


class RobotModel:
    """Kinematics and shapes of a URDF from a root link downwards.

    Links beyond a movable joint that is not in `joint_names` are skipped. Poses are in the root's frame.
    """

    def __init__(
        self,
        urdf: Path | str | None = None,
        root: str = "world",
        joint_names: Sequence[str] = JOINT_NAMES,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """`urdf` is by default that of this process's robot.

        Raises RobotModelError when the root or a joint is not in the URDF, or a joint is not below the root."""
        self.urdf: Urdf = load_urdf(current_robot().urdf if urdf is None else Path(urdf))
        self.root = root
        self.joint_names = tuple(joint_names)
        self.dtype = dtype
        self.device = torch.device(device)
        self._check_names()
        self._walk_tree()
        self._make_numpy_tables()
        self._make_torch_tables()

    @property
    def n_joints(self) -> int:
        """Length of q's last axis."""
        return len(self.joint_names)

    @property
    def moving_frames(self) -> tuple[int, ...]:
        """For each link the moving frame that carries it: 0 is the root, i the i-th moving joint's child."""
        return tuple(int(frame) for frame in self._np_link_frame)

    def hand(self, side: Side) -> RobotModel:
        """The hand of one side alone: root `{side}_hand_link`, its joints, poses in the hand frame."""
        names = JOINT_NAMES[part_indices(f"{side}_hand")]
        return RobotModel(self.urdf.path, f"{side}_hand_link", names, self.dtype, self.device)

    def geometry(self, link: str) -> list[Primitive]:
        """Collision shapes of a link; empty when it has none."""
        self._link_index(link)
        return list(self.urdf.links[link].primitives)

    def link_poses(self, q: torch.Tensor, links: Sequence[str] | None = None) -> torch.Tensor:
        """T_root_link (..., L, 4, 4) for q (..., n) [rad], differentiable; L follows `links` (default link_names)."""
        rotation, position = self.link_rotations_positions(q, links)
        top = torch.cat([rotation, position[..., None]], dim=-1)
        bottom = self._bottom_row.expand(top.shape[:-2] + (1, 4))
        return torch.cat([top, bottom], dim=-2)

    def link_rotations_positions(
        self, q: torch.Tensor, links: Sequence[str] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """R_root_link (..., L, 3, 3) and p_root_link (..., L, 3) [m]: link_poses without the assembly."""
        rotations, positions = self._joint_frames(q)
        picked = self._all_links if links is None else torch.tensor([self._link_index(name) for name in links])
        frames = self._link_frame[picked]
        rotation, position = rotations[..., frames, :, :], positions[..., frames, :]
        fixed = self._link_is_fixed[picked]
        if not bool(fixed.any()):
            return rotation, position
        return _compose(rotation, position, self._link_rotation[picked], self._link_position[picked])

    def link_poses_np(self, q: np.ndarray) -> dict[str, np.ndarray]:
        """T_root_link (4, 4) by name for one q (n,) [rad], float64."""
        poses = self.link_pose_array(q)
        return dict(zip(self.link_names, poses, strict=True))

    def link_pose_array(self, q: np.ndarray) -> np.ndarray:
        """T_root_link (L, 4, 4), float64, in the order of link_names, for q (n,) [rad]; (N, L, 4, 4) for (N, n)."""
        q = np.asarray(q, dtype=float)
        if q.ndim == 2 and q.shape[1] == self.n_joints:
            return self._link_pose_arrays(q)
        if q.shape != (self.n_joints,):
            raise RobotModelError(f"q has shape {q.shape}, this model has {self.n_joints} joints")
        q = q[self._np_columns]
        local = self._np_constant + self._np_sin * np.sin(q)[:, None, None] + self._np_cos * np.cos(q)[:, None, None]
        frames = np.empty((len(q) + 1, 4, 4))
        frames[0] = np.eye(4)
        for index, parent in enumerate(self._np_parents):
            np.dot(frames[parent], local[index], out=frames[index + 1])
        return frames[self._np_link_frame] @ self._np_link_offset

    @property
    def joint_tables(self) -> JointTables:
        """The tables of forward kinematics in float64."""
        return JointTables(
            constant=np.ascontiguousarray(self._np_constant[:, :3]),
            sin=np.ascontiguousarray(self._np_sin[:, :3]),
            cos=np.ascontiguousarray(self._np_cos[:, :3]),
            columns=self._np_columns,
            parents=np.array(self._np_parents, dtype=int),
            axis=self._np_joint_axis[self._np_columns],
            link_frame=self._np_link_frame,
            T_frame_link=self._np_link_offset,
        )

    def joints_above(self) -> np.ndarray:
        """Which joints move which links, (L, n) bool, in the order of link_names and of the joints."""
        above = np.zeros((len(self._moving) + 1, self.n_joints), dtype=bool)
        for frame, parent in enumerate(self._np_parents, start=1):
            above[frame] = above[parent]
            above[frame, self._np_columns[frame - 1]] = True
        return above[self._np_link_frame]

    def _link_pose_arrays(self, q: np.ndarray) -> np.ndarray:
        q = q[:, self._np_columns].T[..., None, None]
        local = self._np_constant[:, None] + self._np_sin[:, None] * np.sin(q) + self._np_cos[:, None] * np.cos(q)
        frames = np.empty((len(q) + 1, q.shape[1], 4, 4))
        frames[0] = np.eye(4)
        for index, parent in enumerate(self._np_parents):
            np.matmul(frames[parent], local[index], out=frames[index + 1])
        return (frames[self._np_link_frame] @ self._np_link_offset[:, None]).swapaxes(0, 1)

    # -- building ----------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        if self.root not in self.urdf.links:
            raise RobotModelError(f"{self.urdf.path} has no link {self.root!r}")
        for name in self.joint_names:
            joint = self.urdf.joints.get(name)
            if joint is None:
                raise RobotModelError(f"{self.urdf.path} has no joint {name!r}")
            if joint.kind not in ("revolute", "continuous"):
                raise RobotModelError(f"{self.urdf.path}: joint {name!r} is {joint.kind}, only revolute ones can move")

    def _link_index(self, name: str) -> int:
        try:
            return self._index_of_link[name]
        except KeyError:
            raise RobotModelError(f"the model from {self.root!r} has no link {name!r}") from None

    def _walk_tree(self) -> None:
        """Visit links breadth first; fold fixed joints into the offset from the last moving frame (0 = root)."""
        children: dict[str, list[Joint]] = {}
        for joint in self.urdf.joints.values():
            children.setdefault(joint.parent, []).append(joint)
        names, frames, offsets = [self.root], [0], [np.eye(4)]
        moving: list[tuple[Joint, int, np.ndarray, int]] = []  # joint, parent frame, T_parent_joint, depth
        depth_of_frame = [0]
        position = 0
        while position < len(names):
            frame, offset = frames[position], offsets[position]
            for joint in children.get(names[position], []):
                T_frame_joint = offset @ joint.T_parent_joint
                if joint.name in self.joint_names:
                    depth_of_frame.append(depth_of_frame[frame] + 1)
                    moving.append((joint, frame, T_frame_joint, depth_of_frame[-1]))
                    frames.append(len(moving))
                    offsets.append(np.eye(4))
                elif joint.kind == "fixed":
                    frames.append(frame)
                    offsets.append(T_frame_joint)
                else:
                    continue
                names.append(joint.child)
            position += 1
        missing = set(self.joint_names) - {joint.name for joint, *_ in moving}
        if missing:
            raise RobotModelError(f"joints not below root {self.root!r}: {', '.join(sorted(missing))}")
        self.link_names = tuple(names)
        self._index_of_link = {name: index for index, name in enumerate(names)}
        self._moving = moving
        self._np_link_frame = np.array(frames)
        self._np_link_offset = np.array(offsets)

    def _make_numpy_tables(self) -> None:
        """T(q) = constant + sin * sin(q) + cos * cos(q), by Rodrigues' formula, for each moving frame."""
        n = len(self._moving)
        self._np_constant, self._np_sin, self._np_cos = (np.zeros((n, 4, 4)) for _ in range(3))
        for index, (joint, _, T_frame_joint, _) in enumerate(self._moving):
            self._np_constant[index] = T_frame_joint
            terms = turn_terms(T_frame_joint[:3, :3], joint.axis)
            tables = (self._np_constant, self._np_sin, self._np_cos)
            for table, term in zip(tables, terms, strict=True):
                table[index, :3, :3] = term
        self._np_columns = np.array([self.joint_names.index(joint.name) for joint, *_ in self._moving], dtype=int)
        self._np_parents = [frame for _, frame, _, _ in self._moving]
        axes = {joint.name: joint.axis for joint, *_ in self._moving}
        self._np_joint_axis = np.array([axes[name] for name in self.joint_names], dtype=float).reshape(-1, 3)

    def _make_torch_tables(self) -> None:
        depths = np.array([depth for *_, depth in self._moving], dtype=int)
        parents = np.array(self._np_parents, dtype=int)
        levels, above = [], np.array([0])
        for depth in range(1, int(depths.max(initial=0)) + 1):
            members = np.flatnonzero(depths == depth)
            place = {frame: index for index, frame in enumerate(above)}
            levels.append(
                _Level(
                    columns=torch.as_tensor(members, device=self.device),
                    parents=torch.tensor([place[parents[member]] for member in members], device=self.device),
                )
            )
            above = members + 1  # frame numbers count the root as 0
        self._levels = levels
        # Breadth-first order makes the concatenated levels the frames' own order.
        assert np.all(np.diff(depths) >= 0)
        self._columns = torch.as_tensor(self._np_columns, device=self.device)
        self._constant, self._sin, self._cos = (
            self._tensor(table[:, :3, :3]) for table in (self._np_constant, self._np_sin, self._np_cos)
        )
        self._translation = self._tensor(self._np_constant[:, :3, 3])
        self._link_frame = torch.as_tensor(self._np_link_frame, device=self.device)
        self._link_rotation = self._tensor(self._np_link_offset[:, :3, :3])
        self._link_position = self._tensor(self._np_link_offset[:, :3, 3])
        is_fixed = np.any(self._np_link_offset != np.eye(4), axis=(1, 2))
        self._link_is_fixed = torch.as_tensor(is_fixed, device=self.device)
        self._all_links = torch.arange(len(self.link_names), device=self.device)
        self._bottom_row = self._tensor(np.array([[0.0, 0.0, 0.0, 1.0]]))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=self.dtype, device=self.device)

    def _joint_frames(self, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotation (..., 1 + n, 3, 3) and position (..., 1 + n, 3) of the root and of every moving frame."""
        if q.shape[-1] != self.n_joints:
            raise RobotModelError(f"q has shape {tuple(q.shape)}, this model has {self.n_joints} joints")
        q = q.to(self.dtype)[..., self._columns]
        local = self._constant + self._sin * q.sin()[..., None, None] + self._cos * q.cos()[..., None, None]
        batch = q.shape[:-1]
        rotation = torch.eye(3, dtype=self.dtype, device=self.device).expand(batch + (1, 3, 3))
        position = torch.zeros(batch + (1, 3), dtype=self.dtype, device=self.device)
        rotations, positions = [rotation], [position]
        for level in self._levels:
            rotation, position = _compose(
                rotation[..., level.parents, :, :],
                position[..., level.parents, :],
                local[..., level.columns, :, :],
                self._translation[level.columns],
            )
            rotations.append(rotation)
            positions.append(position)
        return torch.cat(rotations, dim=-3), torch.cat(positions, dim=-2)


def _compose(
    R_a_b: torch.Tensor, p_a_b: torch.Tensor, R_b_c: torch.Tensor, p_b_c: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """R_a_c, p_a_c; elementwise, which for many small matrices is several times faster than matmul on a CPU."""
    x, y, z = (R_a_b[..., :, k : k + 1] for k in range(3))
    rotation = x * R_b_c[..., 0:1, :] + y * R_b_c[..., 1:2, :] + z * R_b_c[..., 2:3, :]
    shift = x[..., 0] * p_b_c[..., 0:1] + y[..., 0] * p_b_c[..., 1:2] + z[..., 0] * p_b_c[..., 2:3]
    return rotation, p_a_b + shift
