"""Building blocks of simulated scenes: robot parts from the URDF, objects, the table.

A scene of another kind (one floating hand, say) is made of the same functions as World.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from udg_description.frames import TABLE
from udg_description.robot import current_robot
from udg_description.transforms import make_transform, rotvec_to_matrix
from udg_description.urdf import Inertial, Joint, Primitive, Urdf, load_urdf
from udg_sim.geometry.capsules import capsule_ends
from udg_sim.objects.library import ObjectModel
from udg_sim.physics.engine import CONTACT_OFFSET_M, convex_shape, from_pose, sapien, to_pose

if TYPE_CHECKING:
    from sapien import Entity, Pose, Scene
    from sapien.physx import (
        PhysxArticulation,
        PhysxArticulationJoint,
        PhysxArticulationLinkComponent,
        PhysxCollisionShape,
        PhysxMaterial,
        PhysxRigidBaseComponent,
        PhysxRigidBodyComponent,
        PhysxRigidDynamicComponent,
        PhysxRigidStaticComponent,
    )

TABLE_THICKNESS = 0.05  # [m]
FLOATING_JOINTS = ("float_x", "float_y", "float_z", "float_rx", "float_ry", "float_rz")
"""Virtual joints of a floating root: translation along x, y, z, then rotation about the moved x, y, z."""
_FLOATING_MASS_KG = 0.1
_X_TO_Z = make_transform(np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))  # SAPIEN's long axis is x


class Drive(NamedTuple):
    """PD drive of one joint: stiffness [Nm/rad], damping [Nms/rad], torque limit [Nm], armature [kg m^2]."""

    stiffness: float
    damping: float
    force_limit: float
    armature: float


@dataclass(kw_only=True)
class Articulation:
    """A simulated part of the robot, its joints in the order that was asked for."""

    body: PhysxArticulation
    joint_names: tuple[str, ...]
    joints: list[PhysxArticulationJoint]
    order: np.ndarray  # place of each named joint in SAPIEN's own order
    links: dict[str, PhysxArticulationLinkComponent]  # SAPIEN link by the name of the URDF link it starts with
    shape_names: dict[PhysxCollisionShape, str]  # URDF link of each collision shape
    _scratch: np.ndarray = field(init=False)
    _target: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._scratch = np.zeros(len(self.order), dtype=np.float32)
        self._target = np.full(len(self.order), np.nan)

    def _sorted(self, values: np.ndarray) -> np.ndarray:
        self._scratch[self.order] = values
        return self._scratch

    @property
    def q(self) -> np.ndarray:
        """(n,) joint positions [rad], float64."""
        return self.body.qpos[self.order].astype(float)

    @property
    def qd(self) -> np.ndarray:
        """(n,) joint velocities [rad/s], float64."""
        return self.body.qvel[self.order].astype(float)

    def set_state(self, q: np.ndarray, qd: np.ndarray | None = None) -> None:
        """Teleport the joints to q (n,) [rad] with velocities qd (zero) and take q as the drives' target."""
        self.body.set_qpos(self._sorted(q))
        self.body.set_qvel(self._sorted(np.zeros(len(self.order)) if qd is None else qd))
        self._target.fill(np.nan)
        self.set_target(q)

    def set_target(self, q: np.ndarray) -> None:
        """Position targets (n,) [rad] of the drives; those that are new, for each wakes a sleeping robot."""
        for index in np.flatnonzero(q != self._target).tolist():
            self.joints[index].set_drive_target(float(q[index]))
        self._target[:] = q

    def set_drives(self, drives: Sequence[Drive]) -> None:
        """Gains, torque limits and armatures, one per joint."""
        for joint, drive in zip(self.joints, drives, strict=True):
            joint.set_drive_properties(drive.stiffness, drive.damping, drive.force_limit, "force")
            joint.set_armature(np.array([drive.armature], dtype=np.float32))
            joint.set_friction(0.0)

    def link_pose(self, link: str) -> np.ndarray:
        """T_world_link (4, 4) of a link that a movable joint (or the root) carries."""
        return from_pose(self.links[link].entity_pose)


def build_articulation(
    scene: Scene,
    root: str,
    joint_names: Sequence[str],
    material: PhysxMaterial,
    *,
    urdf: Urdf | None = None,
    T_world_root: np.ndarray | None = None,
    floating: bool = False,
    collision_groups: Callable[[str], tuple[int, int, int, int]] | None = None,
    position_iterations: int = 15,
) -> Articulation:
    """Add the part of the robot below the URDF link `root` to the scene, with its primitives as collision shapes.

    Fixed joints are folded into their parents. The links feel no gravity, as under a controller that compensates it.
    floating: six virtual joints (FLOATING_JOINTS, to be named in joint_names) carry the root instead of a fixed base.
    collision_groups: SAPIEN's four groups by URDF link name (two shapes that share a bit of the third never touch).
    """
    urdf = load_urdf(current_robot().urdf) if urdf is None else urdf
    children: dict[str, list[Joint]] = {}
    for joint in urdf.joints.values():
        children.setdefault(joint.parent, []).append(joint)
    builder = _TreeBuilder(urdf, children, material, collision_groups)
    builder.add_root(root, floating)
    builder.entities[0].pose = to_pose(np.eye(4) if T_world_root is None else T_world_root)
    for entity in builder.entities:
        scene.add_entity(entity)
    body = builder.links[0].articulation
    body.set_solver_position_iterations(position_iterations)
    body.set_solver_velocity_iterations(1)
    body.set_sleep_threshold(0.0)
    own_order = [joint.name for joint in body.active_joints]
    assert sorted(own_order) == sorted(joint_names), "joint_names must be those below the root"
    order = np.array([own_order.index(name) for name in joint_names])
    return Articulation(
        body=body,
        joint_names=tuple(joint_names),
        joints=[body.active_joints[i] for i in order],
        order=order,
        links={link.name: link for link in builder.links},
        shape_names=builder.shape_names,
    )


class _TreeBuilder:
    """Walks the URDF and makes one SAPIEN link for each movable joint."""

    def __init__(
        self,
        urdf: Urdf,
        children: Mapping[str, list[Joint]],
        material: PhysxMaterial,
        collision_groups: Callable[[str], tuple[int, int, int, int]] | None,
    ) -> None:
        self.urdf = urdf
        self.children = children
        self.material = material
        self.collision_groups = collision_groups
        self.entities: list[Entity] = []
        self.links: list[PhysxArticulationLinkComponent] = []
        self.shape_names: dict[PhysxCollisionShape, str] = {}

    def add_root(self, root: str, floating: bool) -> None:
        parent = None
        if floating:
            parent = self._new_link("float_base", None)
            _set_inertial(parent, [(np.eye(4), _point_inertial())])
            parent.joint.type = "fixed"
            for name, axis in zip(FLOATING_JOINTS, np.tile(np.eye(3), (2, 1)), strict=True):
                link = self._new_link(root if name == FLOATING_JOINTS[-1] else f"{name}_link", parent)
                kind = "prismatic" if name in FLOATING_JOINTS[:3] else "revolute_unwrapped"
                limit = 10.0 if kind == "prismatic" else 4 * np.pi
                _set_joint(link, name, kind, np.eye(4), axis, -limit, limit)
                if name != FLOATING_JOINTS[-1]:
                    _set_inertial(link, [(np.eye(4), _point_inertial())])
                parent = link
            self._fill(parent, root)
        else:
            link = self._new_link(root, None)
            link.joint.type = "fixed"
            self._fill(link, root)

    def _new_link(self, name: str, parent: PhysxArticulationLinkComponent | None) -> PhysxArticulationLinkComponent:
        entity = sapien().Entity()
        entity.name = name
        link = sapien().physx.PhysxArticulationLinkComponent(parent)
        entity.add_component(link)
        link.name = name
        link.disable_gravity = True
        link.linear_damping = 0.0
        link.angular_damping = 0.0
        self.entities.append(entity)
        self.links.append(link)
        return link

    def _fill(self, link: PhysxArticulationLinkComponent, name: str) -> None:
        """Give `link` shapes and masses of the URDF link `name` and of all fixed to it; recurse to the children."""
        rigid: list[tuple[str, np.ndarray]] = [(name, np.eye(4))]
        moving: list[tuple[Joint, np.ndarray]] = []
        for part, T_link_part in rigid:  # grows while it is walked
            for joint in self.children.get(part, []):
                T_link_joint = T_link_part @ joint.T_parent_joint
                if joint.kind == "fixed":
                    rigid.append((joint.child, T_link_joint))
                else:
                    moving.append((joint, T_link_joint))
        inertials = []
        for part, T_link_part in rigid:
            source = self.urdf.links[part]
            if source.inertial is not None:
                inertials.append((T_link_part, source.inertial))
            for shape in primitive_shapes(source.primitives, T_link_part, self.material):
                if self.collision_groups is not None:
                    shape.set_collision_groups(list(self.collision_groups(part)))
                link.attach(shape)
                self.shape_names[shape] = part
        _set_inertial(link, inertials or [(np.eye(4), _point_inertial())])
        for joint, T_link_joint in moving:
            child = self._new_link(joint.child, link)
            _set_joint(child, joint.name, "revolute_unwrapped", T_link_joint, joint.axis, joint.lower, joint.upper)
            if np.isfinite(joint.velocity):
                child.joint.set_max_velocity(joint.velocity)
            self._fill(child, joint.child)


def _point_inertial() -> Inertial:
    return Inertial(mass=_FLOATING_MASS_KG, com=np.zeros(3), inertia=1e-3 * _FLOATING_MASS_KG * np.eye(3))


def _set_joint(
    link: PhysxArticulationLinkComponent,
    name: str,
    kind: str,
    T_parent_joint: np.ndarray,
    axis: np.ndarray,
    lower: float,
    upper: float,
) -> None:
    """SAPIEN's joints move about (or along) the x axis of the joint frame."""
    R_joint_axis = make_transform(_rotation_to(axis))
    link.joint.name = name
    link.joint.type = kind
    link.joint.pose_in_parent = _fixed_pose(T_parent_joint @ R_joint_axis)
    link.joint.pose_in_child = _fixed_pose(R_joint_axis)
    link.joint.limit = np.array([lower, upper], dtype=np.float32)


def _fixed_pose(T: np.ndarray) -> Pose:
    """SAPIEN pose of a transform that is the same each time the robot is built; not to be changed."""
    return _pose_of_bytes(np.ascontiguousarray(T, dtype=float).tobytes())


@lru_cache(maxsize=2048)
def _pose_of_bytes(matrix: bytes) -> Pose:
    return to_pose(np.frombuffer(matrix).reshape(4, 4))


def _rotation_to(axis: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) that turns x into the unit vector `axis`."""
    x = np.array([1.0, 0.0, 0.0])
    cross, cosine = np.cross(x, axis), float(x @ axis)
    sine = float(np.linalg.norm(cross))
    if sine < 1e-9:
        return np.eye(3) if cosine > 0 else np.diag([-1.0, -1.0, 1.0])
    return rotvec_to_matrix(cross / sine * np.arctan2(sine, cosine))


def _set_inertial(body: PhysxRigidBodyComponent, inertials: Sequence[tuple[np.ndarray, Inertial]]) -> None:
    """Mass, centre of mass and principal inertia of several parts, each given in its own frame."""
    mass = sum(part.mass for _, part in inertials)
    coms = [T[:3, :3] @ part.com + T[:3, 3] for T, part in inertials]
    com = sum(part.mass * c for (_, part), c in zip(inertials, coms, strict=True)) / mass
    inertia = np.zeros((3, 3))
    for (T, part), c in zip(inertials, coms, strict=True):
        d = c - com
        inertia += T[:3, :3] @ part.inertia @ T[:3, :3].T + part.mass * (d @ d * np.eye(3) - np.outer(d, d))
    set_mass_properties(body, mass, com, inertia)


def set_mass_properties(body: PhysxRigidBodyComponent, mass_kg: float, com: np.ndarray, inertia: np.ndarray) -> None:
    """Mass, centre of mass (3,) and inertia (3, 3) about it, in the body's axes."""
    values, axes = np.linalg.eigh(inertia)
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    body.set_mass(float(mass_kg))
    body.set_cmass_local_pose(_fixed_pose(make_transform(axes, com)))
    body.set_inertia(np.maximum(values, 1e-9).astype(np.float32))


def primitive_shapes(
    primitives: Sequence[Primitive], T_body_link: np.ndarray, material: PhysxMaterial
) -> list[PhysxCollisionShape]:
    """Collision shapes of a link's primitives; a cylinder with a sphere of its radius at each end is a capsule."""
    physx = sapien().physx
    capsules = capsule_ends(primitives)
    used = {id(end) for ends in capsules.values() for end in ends}
    shapes: list[PhysxCollisionShape] = []
    for primitive in primitives:
        if id(primitive) in used:
            continue
        T = T_body_link @ primitive.T_link_shape
        if primitive.kind == "box":
            shape = physx.PhysxCollisionShapeBox(np.array(primitive.size) / 2, material)
        elif primitive.kind == "sphere":
            shape = physx.PhysxCollisionShapeSphere(primitive.size[0], material)
        elif id(primitive) in capsules:
            shape = physx.PhysxCollisionShapeCapsule(primitive.size[0], primitive.size[1] / 2, material)
            T = T @ _X_TO_Z
        else:
            shape = convex_shape(_cylinder_points(primitive.size[0], primitive.size[1]), material)
        shape.local_pose = _fixed_pose(T)
        shape.contact_offset = CONTACT_OFFSET_M
        shapes.append(shape)
    return shapes


def _cylinder_points(radius: float, length: float, segments: int = 32) -> np.ndarray:
    angle = 2 * np.pi * np.arange(segments) / segments
    ring = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(segments, length / 2)])
    return np.concatenate([ring, ring * [1, 1, -1]])


def build_object(
    scene: Scene,
    model: ObjectModel,
    material: PhysxMaterial,
    T_world_object: np.ndarray,
    *,
    mass_kg: float | None = None,
    position_iterations: int = 15,
) -> PhysxRigidDynamicComponent:
    """Add the object from its convex parts: real mass and inertia, no damping. Returns the SAPIEN body."""
    body = sapien().physx.PhysxRigidDynamicComponent()
    for part in model.convex_parts:
        body.attach(convex_shape(part.vertices, material))
    mass = model.mass_kg if mass_kg is None else mass_kg
    set_mass_properties(body, mass, np.zeros(3), mass * model.unit_inertia)
    body.linear_damping = 0.0
    body.angular_damping = 0.0
    body.set_sleep_threshold(0.0)
    body.set_solver_position_iterations(position_iterations)
    body.set_solver_velocity_iterations(1)
    body.name = "object"
    _add(scene, body, "object", T_world_object)
    return body


def build_table(
    scene: Scene, material: PhysxMaterial, collision_groups: tuple[int, int, int, int] = (1, 1, 0, 0)
) -> PhysxRigidStaticComponent:
    """Add the table: a static box whose top is z = 0. Returns the SAPIEN body."""
    size = np.array([TABLE.x_max - TABLE.x_min, TABLE.y_max - TABLE.y_min, TABLE_THICKNESS])
    shape = sapien().physx.PhysxCollisionShapeBox(size / 2, material)
    shape.contact_offset = CONTACT_OFFSET_M
    shape.set_collision_groups(list(collision_groups))
    body = sapien().physx.PhysxRigidStaticComponent()
    body.attach(shape)
    body.name = "table"
    _add(scene, body, "table", make_transform(translation=TABLE.center - [0, 0, TABLE_THICKNESS / 2]))
    return body


def _add(scene: Scene, body: PhysxRigidBaseComponent, name: str, T_world_body: np.ndarray) -> None:
    entity = sapien().Entity()
    entity.name = name
    entity.add_component(body)
    entity.pose = to_pose(T_world_body)
    scene.add_entity(entity)
